"""A growth study by one worker and by two: how much faster two are.

A worker is a process with one core, started anew each time; the study is that of the teacher of two units. Turns
alternate, and medians are compared.
"""

import argparse
import json
import statistics
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from setting import machine, versions

from bayesnn import MLP, NormalPrior, Teacher, data_growth
from bayesnn.executors import at_most_cores

RESULTS = Path(__file__).parent / "results" / "growth.json"
TEACHER = Teacher(
    MLP(2, (2,), 1),
    np.array([1.2, -0.6, 0.5, 1.4, 0.3, -0.4, 1.0, -1.2, 0.2]),
    sigma_noise=0.3,
    prior=NormalPrior(1.0 / 9.0),
)
SIZES, REPLICATES, TURNS = [250, 500, 1000, 2000], 6, 3
WANTED = 1.6


def seconds(executor: str | Executor, cores: int) -> float:
    """Run the study, and take the time from the start of the workers to the last record."""
    began = time.perf_counter()
    with at_most_cores(cores):
        found = data_growth(TEACHER, SIZES, REPLICATES, executor=executor, progress=False)
    assert all(record.status == "ok" for record in found.records)
    return time.perf_counter() - began


def with_workers(count: int) -> float:
    """Run it in so many processes, of one core each."""
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as executor:
        return seconds(executor, count)


def main() -> None:
    """Take turns, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    ways = {
        "one worker": lambda: with_workers(1),
        "two workers": lambda: with_workers(2),
        "serial, both cores": lambda: seconds("serial", 2),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TURNS):
        for name, way in ways.items():
            times[name].append(way())
    middle = {name: statistics.median(each) for name, each in times.items()}
    ratio = middle["one worker"] / middle["two workers"]
    table = Table(title=f"{len(SIZES) * REPLICATES} cells; two workers are {ratio:.2f} times one (wanted {WANTED})")
    for column in ("who", "seconds"):
        table.add_column(column)
    for name, value in middle.items():
        table.add_row(name, f"{value:.1f}")
    Console().print(table)
    found = {
        "sizes": SIZES,
        "replicates": REPLICATES,
        "seconds": times,
        "two_over_one": ratio,
        "wanted": WANTED,
        "versions": versions(),
        "machine": machine(),
    }
    arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
