"""What the pilot of ``sample(metric="auto")`` chooses, beside fixed metrics and trajectory lengths.

Effective draws of the function value that mixes worst, per gradient and chain: no time is measured, so that the machine
may do other things. Every setting runs with the same seeds; those whose chains disagree (R-hat) are marked.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from setting import machine, versions

from bayesnn import (
    MLP,
    Gaussian,
    Laplace,
    NormalPrior,
    Posterior,
    datasets,
    find_optimum,
    fit_laplace,
    maximize_evidence,
    sample,
)
from bayesnn.diagnostics import ess, rhat

RESULTS = Path(__file__).parent / "results" / "metric.json"
REAL = {
    "concrete 8-2-1": ("concrete", 2),
    "concrete 8-3-1": ("concrete", 3),
    "airfoil 5-3-1": ("airfoil", 3),
    "airfoil 5-4-1": ("airfoil", 4),
    "energy 8-2-1": ("energy", 2),
}
# Rows and hidden units of networks drawn as teachers, with noise 0.3 and a standard normal prior.
TEACHERS = {"teacher 5-8-1": (100, 8), "teacher 5-4-1": (2000, 4)}
FIXED = [("averaged", 8), ("averaged", 16), ("averaged", 32), ("diagonal", 64), ("laplace", 32)]
SEEDS = (0, 1, 2)
SIZES = {"num_chains": 16, "num_warmup": 300, "num_samples": 500}
N_STARTS = 8
RHAT_LIMIT = 1.01
SHARE_WANTED = 0.8


def laplace_of(name: str) -> Laplace:
    """Return the Gaussian at the best optimum of a problem; noise and prior of real data by the evidence."""
    if name in TEACHERS:
        n_rows, hidden = TEACHERS[name]
        rng = np.random.default_rng(0)
        net, x = MLP(5, (hidden,), 1), rng.standard_normal((n_rows, 5))
        y = net.predict(rng.standard_normal(net.n_weights), x) + 0.3 * rng.standard_normal((n_rows, 1))
        posterior = Posterior(net, x, y, Gaussian(0.3), NormalPrior(1.0))
    else:
        data, hidden = datasets.load(REAL[name][0]), REAL[name][1]
        x, y = (
            (a - a.mean(axis=0)) / a.std(axis=0)
            for a in (np.asarray(data.x), np.asarray(data.y).reshape(len(data.x), -1))
        )
        first = Posterior(MLP(x.shape[1], (hidden,), 1), x, y, Gaussian(0.3), NormalPrior(1.0))
        posterior = maximize_evidence(first, find_optimum(first, n_starts=N_STARTS, seed=0))
    return fit_laplace(posterior, find_optimum(posterior, n_starts=N_STARTS, seed=0))


def measure(laplace: Laplace, **how: Any) -> dict[str, Any]:
    """Run every seed; return medians."""
    rates, disagreements, chosen = [], [], []
    for seed in SEEDS:
        tree = sample(laplace, seed=seed, progress=False, **SIZES, **how)
        f = tree["monitor"]["f"].values
        f = f.reshape(*f.shape[:2], -1)
        gradients = float(tree["sample_stats"]["n_steps"].values[0].sum())
        rates.append(float(ess(f).min()) / gradients / f.shape[0])
        disagreements.append(float(rhat(f).max()))
        if "pilot" in tree.children:
            chosen.append(f"{tree['pilot'].attrs['metric']} {tree['pilot'].attrs['length']}")
    return {
        "ess_per_gradient": statistics.median(rates),
        "each": rates,
        "rhat": statistics.median(disagreements),
        "chosen": chosen,
    }


def compare(name: str) -> dict[str, Any]:
    """Measure the pilot's choice and all fixed ones on one problem."""
    laplace = laplace_of(name)
    auto = measure(laplace)
    fixed = {f"{metric} {n}": measure(laplace, metric=metric, num_integration_steps=n) for metric, n in FIXED}
    best = max(fixed, key=lambda setting: fixed[setting]["ess_per_gradient"])
    share = auto["ess_per_gradient"] / fixed[best]["ess_per_gradient"]
    return {"problem": name, "k": laplace.n_weights, "auto": auto, "fixed": fixed, "best": best, "share_of_best": share}


def table_of(results: list[dict[str, Any]]) -> Table:
    """Lay the results out."""
    table = Table(
        title=f"Effective draws per gradient and chain; wanted {SHARE_WANTED:.0%} of the best; * R-hat > {RHAT_LIMIT}"
    )
    for column in ("problem", "k", "auto", "chosen", *(f"{metric} {n}" for metric, n in FIXED), "share of best"):
        table.add_column(column)

    def words(run: dict[str, Any]) -> str:
        return f"{run['ess_per_gradient']:.2g}{'*' if run['rhat'] > RHAT_LIMIT else ''}"

    for r in results:
        fixed = (words(run) for run in r["fixed"].values())
        chosen = ", ".join(r["auto"]["chosen"])
        table.add_row(r["problem"], str(r["k"]), words(r["auto"]), chosen, *fixed, f"{r['share_of_best']:.0%}")
    return table


def main() -> None:
    """Run the problems asked for, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    problems = [*REAL, *TEACHERS]
    parser.add_argument("--only", nargs="+", choices=problems, default=problems, help="problems to run")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    for name in arguments.only:
        results.append(compare(name))
        Console(width=200).print(table_of(results[-1:]))
        found = {"sizes": SIZES, "seeds": SEEDS, "versions": versions(), "machine": machine(), "results": results}
        arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
