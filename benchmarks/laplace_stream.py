"""Curvature of five million rows in a memory map: peak memory, and time against the number of rows.

`measure` writes the map to a temporary folder and runs this file in processes of its own, one a measurement.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from setting import on_cores

from bayesnn import MLP, Gaussian, NormalPrior, Posterior, fit_laplace

# 8 (8 + 1) + 4 (8 + 1) + 1 (4 + 1) = 113 weights; with one hidden layer of h units and 8 inputs it would be 10 h + 1.
MODEL = MLP(8, (8, 4), 1)
NAME = "8-8-4-1"
N_ROWS = 5_000_000
SIGMA = 0.1
ROWS_AT_A_TIME = 100_000
N_REPEATS = 7
SAMPLE_EVERY = 0.002
MEMORY_WANTED = 400.0
SLOPE_WANTED = (0.95, 1.05)
MB = 1e6


def teacher_weights() -> np.ndarray:
    """Return the weights that make the targets, and around which everything is linearized."""
    return MODEL.initial_weights(np.random.default_rng(113))


def write_maps(folder: Path, n_rows: int) -> None:
    """Write inputs and targets, a block at a time."""
    rng = np.random.default_rng(8)
    x = open_memmap(folder / "x.npy", mode="w+", dtype=np.float64, shape=(n_rows, MODEL.in_features))
    y = open_memmap(folder / "y.npy", mode="w+", dtype=np.float64, shape=(n_rows, 1))
    for start in range(0, n_rows, ROWS_AT_A_TIME):
        rows = slice(start, start + ROWS_AT_A_TIME)
        x[rows] = rng.standard_normal(x[rows].shape)
        y[rows] = MODEL.predict(teacher_weights(), x[rows]) + SIGMA * rng.standard_normal(y[rows].shape)
    x.flush()
    y.flush()


def posterior_of(folder: Path, n_rows: int) -> Posterior:
    """Open the map and take its first rows."""
    x, y = (np.load(folder / f"{name}.npy", mmap_mode="r")[:n_rows] for name in ("x", "y"))
    return Posterior(MODEL, x, y, Gaussian(SIGMA), NormalPrior(1.0))


def status(*fields: str) -> list[float]:
    """Read fields of this process's status, in MB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return [int(lines[field].split()[0]) * 1024 / MB for field in fields]


def peak_memory(run: Callable[[], object]) -> dict[str, float]:
    """Run something and return the rise of the resident set, in MB, over that after import.

    The peak resident set is VmHWM, not getrusage's ru_maxrss, which begins at what the parent process held. It counts
    the pages of the map that happen to be in memory, which the system takes back when it wants them. Memory that the
    process itself holds is RssAnon; Linux keeps no peak of it, so a thread samples.
    """
    resident, anonymous = status("VmRSS", "RssAnon")
    peak, done = [anonymous], threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLE_EVERY):
            peak[0] = max(peak[0], *status("RssAnon"))

    sampler = threading.Thread(target=sample)
    sampler.start()
    begin = perf_counter()
    try:
        run()
    finally:
        done.set()
        sampler.join()
    (highest,) = status("VmHWM")
    return {
        "resident_mb": highest - resident,
        "anonymous_mb": peak[0] - anonymous,
        "after_import_mb": resident,
        "seconds": perf_counter() - begin,
    }


def seconds_to_linearize(folder: Path, sizes: list[int]) -> list[float]:
    """Time `linearize` on the first rows of the map, sizes in turn, and return the medians."""
    posteriors, w = [posterior_of(folder, n) for n in sizes], teacher_weights()
    seconds: list[list[float]] = [[] for _ in sizes]
    for _ in range(N_REPEATS):
        for posterior, each in zip(posteriors, seconds, strict=True):
            begin = perf_counter()
            posterior.linearize(w)
            each.append(perf_counter() - begin)
    return [statistics.median(each) for each in seconds]


def child(folder: Path, task: str, sizes: list[int], cores: int) -> Any:
    """Run one task in a process of its own."""
    command = [sys.executable, __file__, str(folder), task, str(cores), *map(str, sizes)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure(cores: list[int], n_rows: int) -> dict[str, Any]:
    """Measure time at `n_rows` and at 1/5, 1/50 and 1/500 of them, and memory at all of them on the most cores."""
    sizes = [n_rows // 500, n_rows // 50, n_rows // 5, n_rows]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_maps(folder, n_rows)
        times = [time_of(sizes, child(folder, "time", sizes, n), n) for n in cores]
        memory = {task: child(folder, task, [n_rows], max(cores)) for task in ("linearize", "fit_laplace")}
    return {
        "network": NAME,
        "k": MODEL.n_weights,
        "n_inputs": MODEL.in_features,
        "map_mb": n_rows * (MODEL.in_features + 1) * 8 / MB,
        "wanted": {"log_log_slope": SLOPE_WANTED, "resident_mb": MEMORY_WANTED},
        "times": times,
        "memory_above_import": {"rows": n_rows, "cores": max(cores), **memory},
    }


def time_of(sizes: list[int], seconds: list[float], cores: int) -> dict[str, Any]:
    """Fit the slope of log time against log rows."""
    return {
        "cores": cores,
        "rows": sizes,
        "seconds": seconds,
        "rows_per_second": [rows / s for rows, s in zip(sizes, seconds, strict=True)],
        "log_log_slope": float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0]),
    }


def main() -> None:
    """Run one task, on behalf of `measure`, and print its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("task", choices=("time", "linearize", "fit_laplace"))
    parser.add_argument("cores", type=int)
    parser.add_argument("rows", type=int, nargs="+")
    options = parser.parse_args()
    with on_cores(options.cores):
        if options.task == "time":
            print(json.dumps(seconds_to_linearize(options.folder, options.rows)))
            return
        (n_rows,), w = options.rows, teacher_weights()

        def run() -> object:
            posterior = posterior_of(options.folder, n_rows)
            return posterior.linearize(w) if options.task == "linearize" else fit_laplace(posterior, w)

        print(json.dumps(peak_memory(run)))


if __name__ == "__main__":
    main()
