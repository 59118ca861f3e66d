"""The curvature of the Laplace posterior: its speed beside a matrix product's, its memory, and laplace-torch's time.

Three measurements. How fast B'B is accumulated, as a share of what this machine's BLAS does in float64 on a square
product. Peak memory and time on a memory map of five million rows. And the whole posterior, full and diagonal, beside
laplace-torch's, which runs in an environment of its own: README.md tells how to make it.
"""

import argparse
import json
import os
import statistics
from pathlib import Path
from time import perf_counter
from typing import Any

import laplace_peer
import laplace_stream
import numpy as np
from rich.console import Console
from rich.table import Table
from setting import machine, on_cores, versions

from bayesnn import MLP, Gaussian, NormalPrior, Posterior

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results" / "laplace.json"
PEER_PYTHON = FOLDER / "peers" / ".venv" / "bin" / "python"
WIDTHS = (12, 50)
ACCUMULATED_ROWS = 20_000
SQUARE = 2048
N_REPEATS = 15
SHARE_WANTED = 0.4


def accumulation(n_hidden: int, cores: int) -> dict[str, Any]:
    """Time `linearize` and a square matrix product in turn.

    B'B is symmetric, and BLAS computes half of it: n k^2 operations, against 2 n k^2 for a product without symmetry.
    """
    rng = np.random.default_rng(n_hidden)
    model = MLP(8, (n_hidden,), 1)
    x, y = rng.standard_normal((ACCUMULATED_ROWS, 8)), rng.standard_normal((ACCUMULATED_ROWS, 1))
    posterior = Posterior(model, x, y, Gaussian(0.1), NormalPrior(1.0))
    weights = model.initial_weights(rng)
    left, right = rng.standard_normal((2, SQUARE, SQUARE))
    half = ACCUMULATED_ROWS * model.n_weights**2
    ours, gemm = [], []
    with on_cores(cores):
        for _ in range(N_REPEATS):
            begin = perf_counter()
            posterior.linearize(weights)
            between = perf_counter()
            left @ right
            gemm.append(2 * SQUARE**3 / (perf_counter() - between))
            ours.append(half / (between - begin))
    share = statistics.median(o / g for o, g in zip(ours, gemm, strict=True))
    return {
        "network": f"8-{n_hidden}-1",
        "k": model.n_weights,
        "n": ACCUMULATED_ROWS,
        "cores": cores,
        "seconds": half / statistics.median(ours),
        "gflops": statistics.median(ours) / 1e9,
        "gemm_gflops": statistics.median(gemm) / 1e9,
        "share_of_gemm": share,
        "share_of_gemm_without_symmetry": 2.0 * share,
    }


def accumulation_table(rows: list[dict[str, Any]]) -> Table:
    """Lay out the first measurement."""
    table = Table(title=f"Accumulating B'B, n k^2 operations; wanted {SHARE_WANTED:.0%} of GEMM")
    for column in ("network", "k", "n", "cores", "ms", "GFLOP/s", "GEMM", "share", "as 2 n k^2"):
        table.add_column(column)
    for r in rows:
        table.add_row(
            *(str(r[key]) for key in ("network", "k", "n", "cores")),
            f"{1e3 * r['seconds']:.1f}",
            f"{r['gflops']:.1f}",
            f"{r['gemm_gflops']:.1f}",
            f"{r['share_of_gemm']:.0%}",
            f"{r['share_of_gemm_without_symmetry']:.0%}",
        )
    return table


def stream_tables(stream: dict[str, Any]) -> list[Table]:
    """Lay out the second measurement."""
    low, high = stream["wanted"]["log_log_slope"]
    times = Table(title=f"linearize on a memory map, {stream['network']}, k = {stream['k']}; slope {low} .. {high}")
    for column in ("cores", *(f"n = {n:,}, s" for n in stream["times"][0]["rows"]), "log-log slope"):
        times.add_column(column)
    for each in stream["times"]:
        times.add_row(str(each["cores"]), *(f"{s:.4f}" for s in each["seconds"]), f"{each['log_log_slope']:.3f}")
    memory = stream["memory_above_import"]
    title = f"MB above import, {memory['rows']:,} rows, {memory['cores']} cores, map of {stream['map_mb']:.0f} MB"
    table = Table(title=f"{title}; wanted {stream['wanted']['resident_mb']:.0f}")
    for column in ("", "resident, pages of the map included", "anonymous", "s"):
        table.add_column(column)
    for task in ("linearize", "fit_laplace"):
        peak = memory[task]
        numbers = (f"{peak[key]:.0f}" for key in ("resident_mb", "anonymous_mb", "seconds"))
        table.add_row(task, *numbers)
    return [times, table]


def peer_table(peer: dict[str, Any]) -> Table:
    """Lay out the third measurement."""
    title = f"laplace-torch {peer['versions']['laplace-torch']} beside bayesnn, {peer['threads_each']} thread(s) each"
    table = Table(title=f"{title}; wanted {peer['wanted']['time_ratio']:.0f} times with its default backend")
    columns = ["network", "n", "structure", "ms: bare", "fit_laplace", "backend", "batch", "ms", "over bare"]
    for column in [*columns, "over fit_laplace", "covariance", "log evidence"]:
        table.add_column(column)
    for r in peer["results"]:
        for backend, theirs in r["theirs"].items():
            table.add_row(
                *(str(r[key]) for key in ("network", "n", "structure")),
                *(f"{1e3 * r['ours_seconds'][key]:.1f}" for key in ("bare", "fit_laplace")),
                f"{backend}{', default' if backend == peer['default_backend'] else ''}",
                str(theirs["batch_size"]),
                f"{1e3 * theirs['seconds']:.1f}",
                f"{theirs['time_over_bare']:.1f}",
                f"{theirs['time_over_fit_laplace']:.1f}",
                f"{theirs['covariance_disagreement']:.1e}",
                f"{theirs['log_marginal_likelihood_disagreement']:.1e}",
            )
    return table


def main() -> None:
    """Run, print the tables, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=laplace_stream.N_ROWS, help="rows of the memory map")
    parser.add_argument("--threads", type=int, default=1, help="threads of bayesnn and of laplace-torch in the race")
    parser.add_argument("--peer-python", type=Path, default=PEER_PYTHON, help="Python of laplace-torch's environment")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the result goes")
    options = parser.parse_args()
    if not options.peer_python.exists():
        parser.error("laplace-torch's environment is not there: benchmarks/README.md tells how to make it")
    console = Console(width=180)
    begin = perf_counter()
    cores = sorted({1, os.cpu_count() or 1})
    accumulated = [accumulation(width, n) for n in cores for width in WIDTHS]
    console.print(accumulation_table(accumulated))
    with on_cores(options.threads):
        peer = laplace_peer.measure(options.peer_python, options.threads)
    console.print(peer_table(peer))
    stream = laplace_stream.measure(cores, options.rows)
    console.print(*stream_tables(stream))
    record = {
        "what": "speed of B'B as a share of GEMM's, memory and time on a memory map, laplace-torch's time over ours",
        "versions": versions(),
        "machine": machine(),
        "seconds": perf_counter() - begin,
        "accumulation": {"wanted_share_of_gemm": SHARE_WANTED, "results": accumulated},
        "memory_map": stream,
        "laplace_torch": peer,
    }
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
