"""In and out of ``xarray.DataTree``, the form ArviZ reads."""

import importlib.metadata
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from bayesnn.arrays import FloatArray
from bayesnn.errors import ArgumentError
from bayesnn.files import written_whole
from bayesnn.laplace import Laplace
from bayesnn.models import WeightBlock, block_slices
from bayesnn.optimum import Optimum
from bayesnn.posterior import Posterior
from bayesnn.version import __version__

# The one attribute of the root: netCDF refuses bool, None and dict attributes, JSON text takes them all.
SETTINGS = "bayesnn"
TREE_NAME = "bayesnn"
LIBRARIES = ("numpy", "scipy", "emcee", "arviz", "xarray")
# Draws from the Gaussian kept in the tree: importance weights need thousands (theory: khat has noise below that).
LAPLACE_DRAWS = 4000

type Variable = tuple[tuple[str, ...], Any]


def weight_variables(blocks: Sequence[WeightBlock], weights: FloatArray, lead: tuple[str, ...]) -> dict[str, Variable]:
    """Cut weight vectors (..., k) into named arrays with layer dimensions, `lead` naming the axes before `k`."""
    return {
        block.name: (
            (*lead, *block.dims),
            weights[..., place].reshape(*weights.shape[:-1], *block.shape),
        )
        for block, place in zip(blocks, block_slices(blocks), strict=True)
    }


def weight_matrix(group: xr.Dataset, blocks: Sequence[WeightBlock]) -> FloatArray:
    """Join the named arrays of a group (chain, draw, ...) into weight vectors (chain, draw, k).

    Raises
    ------
    ArgumentError
        If the group holds other weights than `blocks` names.
    """
    parts: list[FloatArray] = []
    for block in blocks:
        dims = ("chain", "draw", *block.dims)
        found = group.get(block.name)
        if found is None or set(found.dims) != set(dims) or found.transpose(*dims).shape[2:] != block.shape:
            raise ArgumentError("tree", f"weights {sorted(map(str, group.data_vars))}", f"{block.name} {block.shape}")
        values = np.asarray(found.transpose(*dims).values, dtype=np.float64)
        parts.append(values.reshape(*values.shape[:2], -1))
    return np.concatenate(parts, axis=-1)


def uninterrupted_draws(tree: xr.DataTree) -> xr.DataTree:
    """Hand on the KeyboardInterrupt that :func:`bayesnn.sample`, used by itself, turns into fewer draws."""
    if settings_of(tree)["interrupted"]:
        raise KeyboardInterrupt
    return tree


def target_dim(posterior: Posterior) -> str:
    """Name the dimension of the targets: ``output`` where there is one for each output of the network."""
    n_targets = posterior.y.shape[1] if posterior.y.ndim > 1 else 1
    return "output" if n_targets == posterior.network.n_outputs else "target"


def input_variable(x: FloatArray) -> Variable:
    """Name the dimensions of inputs: rows, then ``input``, then further ones numbered."""
    further = ("input", *(f"input{axis}" for axis in range(1, x.ndim - 1)))
    return (("obs", *further[: x.ndim - 1]), x)


def laplace_groups(laplace: Laplace, seed: int) -> dict[str, xr.Dataset]:
    """Make the groups ``laplace``, ``laplace_posterior`` and ``laplace_stats`` of a Gaussian posterior.

    ``laplace_stats`` holds `log_p`, the unnormalised posterior, and `log_q`, the Gaussian, at each draw.
    """
    posterior = laplace.posterior
    names = list(posterior.weight_names)
    draws = laplace.sample(LAPLACE_DRAWS, seed)
    with np.errstate(over="ignore", invalid="ignore"):
        log_p = posterior.log_density(draws)
    log_p = np.where(np.isnan(log_p), -np.inf, log_p)
    coords = {"chain": [0], "draw": np.arange(LAPLACE_DRAWS)}
    return {
        "laplace": xr.Dataset(
            {
                "mean": (("weight",), laplace.mean),
                "precision_factor": (("weight_row", "weight"), laplace.factor.upper),
                "prior_precision": (("weight",), posterior.prior_precision),
                "log_marginal_likelihood": ((), laplace.log_marginal_likelihood),
                "log_symmetry_order": ((), laplace.log_symmetry_order),
            },
            coords={"weight": names, "weight_row": names},
            attrs={"curvature": laplace.curvature, "structure": laplace.structure},
        ),
        "laplace_posterior": xr.Dataset(
            weight_variables(posterior.model.weight_blocks, draws[None], ("chain", "draw")), coords=coords
        ),
        "laplace_stats": xr.Dataset(
            {
                "log_p": (("chain", "draw"), log_p[None]),
                "log_q": (("chain", "draw"), laplace.log_prob(draws)[None]),
            },
            coords=coords,
        ),
    }


def optimizer_group(optimum: Optimum, weight_names: Sequence[str]) -> xr.Dataset:
    """Group ``optimizer_result``: every distinct optimum found, the best first, with its certificate's numbers."""
    found = (optimum, *optimum.others)
    numbers = ("newton_decrement", "gradient_norm", "smallest_hessian_eigenvalue", "ggn_hessian_gap")
    counts = ("rank", "n_informed")
    return xr.Dataset(
        {
            "weights": (("optimum", "weight"), np.stack([o.weights for o in found])),
            "log_density": (("optimum",), [o.log_density for o in found]),
            "n_found": (("optimum",), [o.n_found for o in found]),
            "n_steps": (("optimum",), [o.n_steps for o in found]),
            "status": (("optimum",), [o.status.value for o in found]),
            "is_optimum": (("optimum",), [int(o.certificate.is_optimum) for o in found]),
            **{name: (("optimum",), [getattr(o.certificate, name) for o in found]) for name in (*numbers, *counts)},
        },
        coords={"optimum": np.arange(len(found)), "weight": list(weight_names)},
        attrs={"reasons": "; ".join(optimum.certificate.reasons)},
    )


def group_of(tree: xr.DataTree, group: str) -> xr.Dataset:
    """Return one group of a tree.

    Raises
    ------
    ArgumentError
        If the tree has no such group.
    """
    if group not in tree.children:
        raise ArgumentError("tree", f"groups {', '.join(tree.children)}", f"a group {group!r}")
    return tree.children[group].to_dataset()


def values_of(tree: xr.DataTree, group: str, variable: str) -> FloatArray:
    """Return the numbers of one variable of a group.

    Raises
    ------
    ArgumentError
        If the tree has no such group or variable.
    """
    dataset = group_of(tree, group)
    if variable not in dataset:
        raise ArgumentError("tree", f"group {group!r} without {variable!r}", "a tree made by bayesnn")
    return np.asarray(dataset[variable].values, dtype=np.float64)


def settings_of(tree: xr.DataTree) -> dict[str, Any]:
    """Return the settings, seeds and versions a tree was made with.

    Raises
    ------
    ArgumentError
        If the tree was not made by this package.
    """
    if SETTINGS not in tree.attrs:
        raise ArgumentError("tree", f"attributes {list(tree.attrs)}", f"a tree made by bayesnn.sample ({SETTINGS!r})")
    return json.loads(tree.attrs[SETTINGS])


def settings_attribute(settings: Mapping[str, Any]) -> dict[str, str]:
    """Root attributes carrying settings and the versions of all that computed them."""
    return {SETTINGS: json.dumps({"version": __version__, "libraries": library_versions(), **settings}, sort_keys=True)}


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that compute results."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def save_tree(tree: xr.DataTree, path: str | os.PathLike[str]) -> None:
    """Write a tree as netCDF, whole or not at all; ``arviz.from_netcdf`` opens it.

    Parameters
    ----------
    tree : xarray.DataTree
        Such as :func:`bayesnn.sample` returns.
    path : path-like
        Where to; an older file is replaced in one step.
    """
    with written_whole(path) as partial:
        tree.to_netcdf(partial, engine="h5netcdf")


def load_tree(path: str | os.PathLike[str]) -> xr.DataTree:
    """Read a tree wholly into memory and close the file, so that it may be written again.

    Parameters
    ----------
    path : path-like
        A netCDF file.

    Returns
    -------
    xarray.DataTree

    Raises
    ------
    ArgumentError
        If there is no such file, or it is not netCDF.
    """
    try:
        with xr.open_datatree(path, engine="h5netcdf") as lazy:
            tree = lazy.load()
    except OSError as error:
        raise ArgumentError("path", f"{os.fspath(path)} ({error})", "a netCDF file written by bayesnn") from None
    tree.name = TREE_NAME  # netCDF keeps no name of the root
    return tree


def add_settings(tree: xr.DataTree, **more: Any) -> None:
    """Add to the settings a tree carries, in place."""
    tree.attrs[SETTINGS] = json.dumps({**settings_of(tree), **more}, sort_keys=True)


def name_inputs(tree: xr.DataTree, feature_names: Sequence[str]) -> None:
    """Label the input dimension of every group that has one with the features' names, in place."""
    for name, node in list(tree.children.items()):
        if "input" in node.dims:
            tree[name] = xr.DataTree(node.to_dataset().assign_coords(input=list(feature_names)))
