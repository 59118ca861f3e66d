"""What the pilot of ``sample(metric="auto")`` chooses, beside fixed metrics and trajectory lengths.

Effective draws of the function value that mixes worst, over the outputs at the inputs held out, per gradient and chain:
no time is measured, so that the machine may do other things. Every setting runs with the same seeds; those whose chains
disagree (R-hat) are marked, and are not the best of the fixed ones.
"""

import argparse
import json
import statistics
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from panel import PROBLEMS, Entry, entry_of
from rich.console import Console
from rich.table import Table
from setting import machine, versions

from bayesnn import sample
from bayesnn.diagnostics import ess, rhat
from bayesnn.tree import weight_matrix

RESULTS = Path(__file__).parent / "results" / "metric.json"
FIXED = (*product(("averaged", "laplace", "diagonal"), (4, 8, 16, 32)), ("unit", 16), ("unit", 64))
SEEDS = (0, 1, 2, 3, 4)
SIZES = {"num_chains": 16, "num_warmup": 200, "num_samples": 500}
RHAT_LIMIT = 1.01
SHARE_WANTED = 0.8


def measure(entry: Entry, **how: Any) -> dict[str, Any]:
    """Run every seed; return medians."""
    rates, disagreements, chosen = [], [], []
    model = entry.laplace.posterior.model
    for seed in SEEDS:
        tree = sample(entry.laplace, seed=seed, progress=False, **SIZES, **how)
        weights = weight_matrix(tree["posterior"].to_dataset(), model.weight_blocks)
        f = np.stack([model.predict(chain, entry.new_x)[..., 0] for chain in weights])
        gradients = float(tree["sample_stats"]["n_steps"].values[0].sum())
        rates.append(float(ess(f).min()) / gradients / len(f))
        disagreements.append(float(rhat(f).max()))
        if "num_integration_steps" not in how:
            chosen.append(f"{tree['pilot'].attrs['metric']} {tree['pilot'].attrs['length']}")
    return {
        "ess_per_gradient": statistics.median(rates),
        "each": rates,
        "rhat": statistics.median(disagreements),
        "chosen": chosen,
    }


def compare(name: str) -> dict[str, Any]:
    """Measure the pilot's choice and all fixed ones on one problem."""
    entry = entry_of(name)
    auto = measure(entry)
    fixed = {f"{metric} {n}": measure(entry, metric=metric, num_integration_steps=n) for metric, n in FIXED}
    converged = {setting: run for setting, run in fixed.items() if run["rhat"] < RHAT_LIMIT} or fixed
    best = max(converged, key=lambda setting: converged[setting]["ess_per_gradient"])
    share = auto["ess_per_gradient"] / fixed[best]["ess_per_gradient"]
    k = entry.laplace.n_weights
    return {"problem": name, "k": k, "auto": auto, "fixed": fixed, "best": best, "share_of_best": share}


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
    parser.add_argument("--only", nargs="+", choices=PROBLEMS, default=PROBLEMS, help="problems to run")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    for name in arguments.only:
        results.append(compare(name))
        Console(width=240).print(table_of(results[-1:]))
        found = {"sizes": SIZES, "seeds": SEEDS, "versions": versions(), "machine": machine(), "results": results}
        arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
