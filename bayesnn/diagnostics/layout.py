"""How the chains of a tree belong together."""

import numpy as np
import xarray as xr

from bayesnn.arrays import IntArray
from bayesnn.chain_statistics import Layout
from bayesnn.tree import values_of


def layout_of(tree: xr.DataTree) -> Layout:
    """Read the layout of a tree's chains from the coordinates of its group ``posterior``.

    These are, over the dimension `chain` and where there are any: `ensemble`, the interacting ensemble of each walker;
    `superchain`, which chains that started at the same place share; `mode`, the optimum near which each chain started.

    Parameters
    ----------
    tree : xarray.DataTree
        From :func:`bayesnn.sample`.

    Returns
    -------
    Layout
    """
    num_chains, num_draws = values_of(tree, "sample_stats", "lp").shape
    posterior = tree.children.get("posterior")

    def labels(name: str) -> IntArray | None:
        if posterior is None or name not in posterior.coords:
            return None
        return np.asarray(posterior.coords[name].values, dtype=np.int64)

    return Layout(num_chains, num_draws, labels("ensemble"), labels("superchain"), labels("mode"))
