"""The fused kernel beside JAX: value and gradient of the log posterior of many chains at once.

JAX runs in an environment of its own, in float64 on all cores: README.md tells how to make it. Each case is timed in
turn, several calls at a time, and ratios are taken turn by turn.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from setting import machine, versions

from bayesnn import MLP, Gaussian, NormalPrior, Posterior

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results" / "fused.json"
PEER_PYTHON = FOLDER / "peers" / ".venv-jax" / "bin" / "python"
PEER_SCRIPT = FOLDER / "peers" / "jax_run.py"
# Widths, rows, and how many times sooner than JAX the kernel should be.
CASES = (
    ((5, 8, 1), 100, 3.0),
    ((5, 16, 1), 500, 3.0),
    ((5, 50, 1), 1000, 3.0),
    ((8, 16, 16, 1), 1000, 3.0),
    ((8, 50, 50, 1), 2000, 1.0),
)
CHAINS = (4, 16, 64)
# What is wanted is wanted for so many chains, as many as `sample` runs.
CHAINS_WANTED = 16
SIGMA, PRIOR_PRECISION = 0.1, 1.0
WAYS = ("vmap", "batched")
N_TURNS = 15
# Calls are repeated until they take so many seconds together.
LEAST_SECONDS = 0.02


class Peer:
    """The process that runs JAX."""

    def __init__(self, python: Path) -> None:
        command = [str(python), str(PEER_SCRIPT)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.versions: dict[str, str] = self._answer()["versions"]

    def seconds(self, request: dict[str, Any], way: str, calls: int, save: str | None = None) -> float:
        """Ask for the time of one call, averaged over some."""
        assert self._process.stdin is not None
        print(json.dumps(request | {"way": way, "calls": calls, "save": save}), file=self._process.stdin, flush=True)
        return self._answer()["seconds"]

    def close(self) -> None:
        """Let the process end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("JAX's process ended; its message stands above")
        return json.loads(line)


def seconds_of(run: Callable[[], object], calls: int) -> float:
    """Time one call, averaged over some."""
    begin = perf_counter()
    for _ in range(calls):
        run()
    return (perf_counter() - begin) / calls


def calls_for(seconds: float) -> int:
    """Return how many calls take long enough to be timed."""
    return max(1, round(LEAST_SECONDS / seconds))


def compare(peer: Peer, widths: tuple[int, ...], n_rows: int, chains: int, folder: Path) -> dict[str, Any]:
    """Compare on one case."""
    rng = np.random.default_rng(n_rows)
    model = MLP(widths[0], widths[1:-1], 1)
    x, y = rng.standard_normal((n_rows, widths[0])), rng.standard_normal((n_rows, 1))
    posterior = Posterior(model, x, y, Gaussian(SIGMA), NormalPrior(PRIOR_PRECISION))
    weights = rng.standard_normal((chains, model.n_weights)) / 2.0
    data, found = folder / "data.npz", folder / "found.npz"
    np.savez(data, x=x, y=y, weights=weights)
    request = {"data": str(data), "widths": widths, "sigma": SIGMA, "prior_precision": PRIOR_PRECISION}
    request["case"] = [widths, n_rows, chains]  # so that a file of the same name is read again
    fused = posterior.fused()
    value, gradient = fused(weights)
    disagreement = {}
    jax_calls = {}
    for way in WAYS:
        peer.seconds(request, way, 1, str(found))
        with np.load(found, allow_pickle=False) as theirs:
            disagreement[way] = max(
                float(np.max(np.abs(theirs["value"] / value - 1.0))),
                float(np.max(np.abs(theirs["gradient"] - gradient)) / np.max(np.abs(gradient))),
            )
        jax_calls[way] = calls_for(peer.seconds(request, way, 5))
    ours = {"fused": lambda: fused(weights), "numpy": lambda: posterior.value_and_gradient(weights)}
    our_calls = {name: calls_for(seconds_of(run, 3)) for name, run in ours.items()}
    times: dict[str, list[float]] = {name: [] for name in (*ours, *WAYS)}
    for _ in range(N_TURNS):
        for name, run in ours.items():
            times[name].append(seconds_of(run, our_calls[name]))
        for way in WAYS:
            times[way].append(peer.seconds(request, way, jax_calls[way]))
    best = min(WAYS, key=lambda way: statistics.median(times[way]))
    return {
        "network": "-".join(map(str, widths)),
        "k": model.n_weights,
        "n": n_rows,
        "chains": chains,
        "seconds": {name: statistics.median(each) for name, each in times.items()},
        "jax_way": best,
        "disagreement": disagreement,
        "jax_over_fused": quartiles(times[best], times["fused"]),
        "numpy_over_fused": quartiles(times["numpy"], times["fused"]),
    }


def quartiles(theirs: list[float], ours: list[float]) -> dict[str, float]:
    """Return the quartiles of their time over ours, turn by turn."""
    low, median, high = statistics.quantiles([t / o for t, o in zip(theirs, ours, strict=True)], n=4)
    return {"lower": low, "median": median, "upper": high}


def table_of(results: list[dict[str, Any]]) -> Table:
    """Show what counts."""
    table = Table(title="Value and gradient of many chains, microseconds a call")
    for column in (
        "network",
        "n",
        "chains",
        "fused",
        "NumPy",
        "JAX",
        "its way",
        "JAX over fused",
        "wanted",
        "NumPy over",
    ):
        table.add_column(column)
    for each in results:
        seconds, ratio = each["seconds"], each["jax_over_fused"]
        micro = [f"{1e6 * seconds[name]:.0f}" for name in ("fused", "numpy", each["jax_way"])]
        spread = f"{ratio['median']:.1f} ({ratio['lower']:.1f} to {ratio['upper']:.1f})"
        wanted = f"{each['wanted']:g}" if "wanted" in each else ""
        over_numpy = f"{each['numpy_over_fused']['median']:.1f}"
        table.add_row(
            each["network"], str(each["n"]), str(each["chains"]), *micro, each["jax_way"], spread, wanted, over_numpy
        )
    return table


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", type=Path, default=PEER_PYTHON, help="Python of JAX's environment")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    peer, results = Peer(options.peer_python), []
    with tempfile.TemporaryDirectory() as folder:
        for widths, n_rows, wanted in CASES:
            for chains in CHAINS:
                result = compare(peer, widths, n_rows, chains, Path(folder))
                if chains == CHAINS_WANTED:
                    result |= {"wanted": wanted, "reached": result["jax_over_fused"]["median"] >= wanted}
                results.append(result)
    peer.close()
    report = {
        "what": "seconds of one call for value and gradient of the log posterior of all chains; JAX's time over ours",
        "versions": versions() | {"peer": peer.versions},
        "machine": machine(),
        "results": results,
    }
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    Console(width=140).print(table_of(results))


if __name__ == "__main__":
    main()
