"""A heteroscedastic network on airfoil: bayesnn beside bde (MILE) on bde's own ground, seed by seed.

Rows, standardisation and scores are those of bde's own script (scikit-learn-contrib/bde,
``paper/scripts/benchmark.py``): the first 301 of ``numpy.random.RandomState(0).permutation(1503)`` are the test set,
everything is standardised by the training rows, and the NLL is that of a Gaussian with mean and standard deviation of
the pooled draws. Each side runs in a process of its own and has both cores; its time counts from that process's start
to its predictions. What was run is written at once, and a seed that has been run is not run again: the whole takes half
an hour, in pieces if wanted.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import logsumexp
from setting import machine, versions

from bayesnn import datasets

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results" / "airfoil_bde.json"
OUR_SCRIPT, PEER_SCRIPT = FOLDER / "airfoil_bde_ours.py", FOLDER / "peers" / "bde_run.py"
PEER_PYTHON = FOLDER / "peers" / ".venv-bde" / "bin" / "python"
N_TEST, SEEDS, CORES = 301, (0, 1, 2, 3, 4), 2
SIDES = ("bayesnn", "bde")
HALF_LOG_2PI = 0.5 * np.log(2.0 * np.pi)
# bde's script, but for n_samples, 1,000 there: 100 draws a member.
PEER_SETTINGS: dict[str, Any] = {
    "n_members": 10,
    "hidden_layers": [16, 16, 16, 16],
    "epochs": 1200,
    "validation_split": 0.15,
    "lr": 1e-3,
    "weight_decay": 1e-4,
    "warmup_steps": 50_000,
    "n_samples": 10_000,
    "n_thinning": 10,
    "patience": 20,
}
# Chosen on rows held out of the training rows: docs/notes/airfoil_bde.md.
OUR_SETTINGS: dict[str, Any] = {
    "hidden": [16, 16, 16, 16],
    "activation": "tanh",
    "prior_precision": 1.0,
    "members": 16,
    "journey_steps": 80_000,
    "energy_variance": [0.5, 0.03],
    "draw_steps": 12_000,
    "thinning": 40,
}


def problem() -> dict[str, np.ndarray]:
    """Return bde's rows, standardised by the training ones."""
    data = datasets.load("airfoil")
    x, y = np.asarray(data.x, dtype=float), np.asarray(data.y, dtype=float).reshape(-1)
    order = np.random.RandomState(0).permutation(len(x))
    test, rows = order[:N_TEST], order[N_TEST:]
    x = (x - x[rows].mean(axis=0)) / x[rows].std(axis=0)
    y = (y - y[rows].mean()) / y[rows].std()
    return {"x": x[rows], "y": y[rows], "new_x": x[test], "new_y": y[test]}


def scores(mean: np.ndarray, sd: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Score draws (draws, m) of mean and noise at targets (m,).

    ``nll`` is bde's, of one Gaussian with the moments of all draws together; ``nll_mixture`` that of the mean density.
    """
    centre = mean.mean(axis=0)
    spread = np.sqrt((sd**2).mean(axis=0) + mean.var(axis=0))
    each = -0.5 * ((y - mean) / sd) ** 2 - np.log(sd) - HALF_LOG_2PI
    mixture = logsumexp(each, axis=0) - np.log(len(mean))
    return {
        "rmse": float(np.sqrt(((y - centre) ** 2).mean())),
        "nll": float((0.5 * ((y - centre) / spread) ** 2 + np.log(spread) + HALF_LOG_2PI).mean()),
        "nll_mixture": float(-mixture.mean()),
    }


def run(side: str, seed: int, settings: dict[str, Any], peer_python: Path, folder: Path) -> dict[str, Any] | None:
    """Run one side with one seed; None if it fails, with what it said on stderr."""
    arrays, path, found = problem(), folder / "problem.npz", folder / "found.npz"
    np.savez(path, **arrays)
    request = {"problem": str(path), "found": str(found), "seed": seed, "cores": CORES, "settings": settings}
    command = [sys.executable, str(OUR_SCRIPT)] if side == "bayesnn" else [str(peer_python), str(PEER_SCRIPT)]
    environment = {**os.environ, "BENCHMARK_BEGAN": repr(time.time())}
    try:
        done = subprocess.run(
            command, input=json.dumps(request), capture_output=True, text=True, env=environment, check=True
        )
    except subprocess.CalledProcessError as error:
        Console(stderr=True).print(error.stderr[-2000:], markup=False, highlight=False)
        return None
    with np.load(found, allow_pickle=False) as file:
        mean, sd = file["mean"], file["sd"]
    members = [scores(m, s, arrays["new_y"]) for m, s in zip(mean, sd, strict=True)]
    return {
        "seed": seed,
        "side": side,
        **scores(mean.reshape(-1, mean.shape[-1]), sd.reshape(-1, sd.shape[-1]), arrays["new_y"]),
        "mean_of_members": {name: float(np.mean([each[name] for each in members])) for name in members[0]},
        "draws": list(mean.shape[:2]),
        **json.loads(done.stdout.strip().splitlines()[-1]),
        "settings": settings,
        "versions": versions(),
        "machine": machine(),
    }


def table_of(results: list[dict[str, Any]]) -> Table:
    """Lay out what has been run."""
    table = Table(title="airfoil, heteroscedastic")
    for column in ("seed", "side", "RMSE", "NLL", "NLL of the mixture", "a member's RMSE", "NLL", "seconds"):
        table.add_column(column)
    for row in sorted(results, key=lambda row: (row["seed"], row["side"])):
        alone = row["mean_of_members"]
        numbers = [row["rmse"], row["nll"], row["nll_mixture"], alone["rmse"], alone["nll"]]
        table.add_row(str(row["seed"]), row["side"], *[f"{v:.4f}" for v in numbers], f"{row['seconds']:.0f}")
    return table


def main() -> None:
    """Run what has not been run, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--only", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--peer-python", type=Path, default=PEER_PYTHON)
    parser.add_argument("--shorten", type=int, default=1, help="divide all numbers of steps by this, to try it out")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    settings = {
        "bayesnn": shortened(OUR_SETTINGS, arguments.shorten),
        "bde": shortened(PEER_SETTINGS, arguments.shorten),
    }
    results: list[dict[str, Any]] = []
    if arguments.output.exists():
        results = json.loads(arguments.output.read_text(encoding="utf-8"))["results"]
    with tempfile.TemporaryDirectory() as folder:
        for seed in arguments.seeds:
            for side in arguments.only:
                if any((row["seed"], row["side"], row["settings"]) == (seed, side, settings[side]) for row in results):
                    continue
                row = run(side, seed, settings[side], arguments.peer_python, Path(folder))
                if row is None:
                    continue
                results = [old for old in results if (old["seed"], old["side"]) != (seed, side)] + [row]
                arguments.output.write_text(json.dumps({"results": results}, indent=1) + "\n", encoding="utf-8")
    Console(width=120).print(table_of(results))


def shortened(settings: dict[str, Any], by: int) -> dict[str, Any]:
    """Return settings with fewer steps."""
    return {
        name: max(1, value // by) if name.endswith(("_steps", "n_samples")) else value
        for name, value in settings.items()
    }


if __name__ == "__main__":
    main()
