"""The modes chains began in, and what they weigh."""

from typing import Any

import numpy as np
import xarray as xr

from bayesnn.diagnostics import MODE_WEIGHTINGS
from bayesnn.tree import group_of, values_of

NOTE = (
    "Chains of one mode say nothing of what it weighs against the others: the evidence does, and stacking asks which "
    "mixture of modes predicts rows best that it has not seen."
)


def modes_in_words(tree: xr.DataTree) -> str:
    """Say in one line how many chains began in each mode, and its weights."""
    chains = ", ".join(f"{count:.0f}" for count in values_of(tree, "modes", "num_chains"))
    weights = [f"{name} {' '.join(f'{w:.2f}' for w in of_modes)}" for name, of_modes in _weightings(tree).items()]
    return "; ".join([f"chains {chains}", *weights])


def modes_rows(tree: xr.DataTree) -> tuple[list[str], list[list[Any]], str]:
    """Return header, rows and note of the report's table of modes."""
    modes = group_of(tree, "modes")
    columns: dict[str, Any] = {
        "mode": np.arange(modes.sizes["mode"]),
        "chains": modes["num_chains"].values,
        "log density": modes["log_density"].values,
        "log evidence": modes["log_marginal_likelihood"].values,
    }
    if "log_symmetry_order" in modes:  # by which it is weighed
        columns["log evidence, all images"] = columns["log evidence"] + modes["log_symmetry_order"].values
    columns |= {f"weight, {name}": weights for name, weights in _weightings(tree).items()}
    if "elpd" in modes:
        columns |= {
            "elpd, leave-one-out": modes["elpd"].values,
            "Monte-Carlo error": modes["elpd_error"].values,
            "rows of large Pareto k": (modes["pareto_k"] > modes["pareto_k_limit"]).sum("obs").values,
        }
    return list(columns), [list(row) for row in zip(*columns.values(), strict=True)], NOTE


def _weightings(tree: xr.DataTree) -> dict[str, Any]:
    modes = group_of(tree, "modes")
    return {name: modes[f"{name}_weights"].values for name in MODE_WEIGHTINGS if f"{name}_weights" in modes}
