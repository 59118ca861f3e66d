"""Hops beside more starts: log density of the best optimum that either finds, and seconds.

Both begin with the same eight starts. Then one draws single units anew from the best of them, the other draws as many
more starts.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from setting import machine, versions

from bayesnn import MLP, Gaussian, NormalPrior, Posterior, datasets, find_optimum

RESULTS = Path(__file__).parent / "results" / "hops.json"
# Data sets, hidden units, noise and prior precision, about those of the highest evidence.
ENTRIES = {
    "yacht 6-8-1": ("yacht", 8, 0.02, 0.1),
    "energy 8-8-1": ("energy", 8, 0.04, 0.3),
    "concrete 8-8-1": ("concrete", 8, 0.25, 0.3),
    "airfoil 5-16-1": ("airfoil", 16, 0.25, 0.3),
}
N_STARTS, N_HOPS, SEEDS = 8, 200, (0, 1, 2)


def posterior_of(name: str, noise: str) -> Posterior:
    """Return a posterior of standardised rows."""
    data_name, hidden, sigma, precision = ENTRIES[name]
    data = datasets.load(data_name)
    x, y = np.asarray(data.x, dtype=float), np.asarray(data.y, dtype=float).reshape(len(data.x), -1)
    x, y = (x - x.mean(axis=0)) / x.std(axis=0), (y - y.mean(axis=0)) / y.std(axis=0)
    likelihood = Gaussian("infer") if noise == "inferred" else Gaussian(sigma)
    return Posterior(MLP(x.shape[1], (hidden,), 1), x, y, likelihood, NormalPrior(precision))


def main() -> None:
    """Search, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=ENTRIES, default=list(ENTRIES))
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    table = Table(title=f"best log density, {N_STARTS + N_HOPS} starts and {N_STARTS} starts with {N_HOPS} hops")
    for column in ("problem", "noise", "seed", "starts", "seconds", "hops", "seconds", "hops higher by"):
        table.add_column(column)
    for name in arguments.only:
        for noise in ("fixed", "inferred"):
            posterior = posterior_of(name, noise)
            find_optimum(posterior, n_starts=2, n_hops=2, max_steps=2, progress=False)  # loads what there is
            for seed in SEEDS:
                row: dict[str, Any] = {"problem": name, "noise": noise, "seed": seed}
                for side, how in (
                    ("starts", {"n_starts": N_STARTS + N_HOPS}),
                    ("hops", {"n_starts": N_STARTS, "n_hops": N_HOPS}),
                ):
                    begin = time.perf_counter()
                    found = find_optimum(posterior, seed=seed, progress=False, **how)
                    seconds = time.perf_counter() - begin
                    row[side] = {"log_density": found.log_density, "seconds": seconds}
                results.append(row)
                starts, hops = row["starts"], row["hops"]
                numbers = (starts["log_density"], starts["seconds"], hops["log_density"], hops["seconds"])
                higher = hops["log_density"] - starts["log_density"]
                table.add_row(name, noise, str(seed), *(f"{number:.1f}" for number in numbers), f"{higher:.1f}")
                written = {"versions": versions(), "machine": machine(), "results": results}
                arguments.output.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
