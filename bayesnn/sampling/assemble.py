"""From chains to the tree ArviZ reads."""

import math
from typing import Any, cast

import numpy as np
import xarray as xr

from bayesnn.arrays import FloatArray, IntArray, spread_indices
from bayesnn.executors import is_dask
from bayesnn.laplace import Laplace
from bayesnn.posterior import Posterior
from bayesnn.sampling.chains import Chains
from bayesnn.sampling.monitor import Monitor
from bayesnn.sampling.target import Target
from bayesnn.seeds import generator
from bayesnn.tree import TREE_NAME, input_variable, laplace_groups, settings_attribute, target_dim, weight_variables

# Draws of each chain in the posterior predictive: enough for any plot, a tenth of the room.
PREDICTIVE_DRAWS = 50
# Pointwise log likelihoods beyond this many numbers (512 MiB) are left out; the settings say so. Of the posterior
# predictive fewer draws are kept, or none.
LARGEST_LOG_LIKELIHOOD = 2**26


def chains_tree(
    target: Target, chains: Chains, settings: dict[str, Any], seed: int, keeps_modes: bool = False
) -> xr.DataTree:
    """Assemble all groups of a finished run.

    Parameters
    ----------
    target : Target
        What the chains were started and preconditioned with; of several optima, the Gaussian of the highest evidence
        makes the groups of one, and where none is known there are none.
    chains : Chains
        The draws.
    settings : dict
        What the root attribute shall say.
    seed : int
        Seed of the Gaussian and predictive draws.
    keeps_modes : bool
        Whether each chain is of the mode that it began in.

    Returns
    -------
    xarray.DataTree
    """
    posterior = target.posterior
    model, weights = posterior.model, chains.weights
    num_chains, n_draws = weights.shape[:2]
    sampled: dict[str, IntArray] = {"chain": np.arange(num_chains), "draw": np.arange(n_draws)}
    of_chains = {"mode": ("chain", target.mode_of_chains(num_chains))} if keeps_modes else {}
    over_draws, step_size = ("chain", "draw"), chains.step_size
    variables = weight_variables(posterior.network.weight_blocks, posterior.network_weights(weights), over_draws)
    variables |= weight_variables(model.weight_blocks, weights, over_draws)  # the same ones, or what they are made of
    groups = {
        "posterior": xr.Dataset(variables, coords={**sampled, **of_chains}),
        "sample_stats": xr.Dataset(
            {
                "lp": (over_draws, chains.log_density),
                "acceptance_rate": (over_draws, chains.acceptance_rate),
                "energy": (over_draws, chains.energy),
                "diverging": (over_draws, chains.diverging),
                "n_steps": (over_draws, chains.n_steps),
                **({"step_size": (over_draws, np.full(chains.n_steps.shape, step_size))} if step_size > 0 else {}),
            },
            coords=sampled,
        ),
    }
    stores_log_likelihood = 0 < num_chains * n_draws * posterior.n_rows <= LARGEST_LOG_LIKELIHOOD
    if posterior.n_rows > 0:
        groups |= _groups_of_data(posterior, weights, sampled, stores_log_likelihood, seed)
    monitor = Monitor.of(posterior)
    groups["monitor"] = xr.Dataset(
        {"f": ((*over_draws, "obs", "output"), monitor.outputs(weights))}, coords={**sampled, "obs": monitor.rows}
    )
    if target.laplaces:
        groups["laplace_monitor"] = _laplace_monitor(target.best, monitor)
        groups |= laplace_groups(target.best, seed)
    if keeps_modes:
        groups["modes"] = target.to_dataset(num_chains)
    tree = xr.DataTree.from_dict(groups, name=TREE_NAME)
    described = {
        "model": repr(model),
        **({"likelihood": repr(posterior.likelihood), "prior": repr(posterior.prior)} if posterior.n_rows else {}),
        "stores_log_likelihood": stores_log_likelihood,
    }
    tree.attrs.update(settings_attribute({**settings, **described}))
    return tree


def _laplace_monitor(laplace: Laplace, monitor: Monitor) -> xr.Dataset:
    """Mean and standard deviation that the Gaussian gives what the monitor watches."""
    if laplace.posterior.n_rows > 0:
        linearized = laplace.predict(monitor.x)
        mean, sd = linearized.mean, linearized.sd
    else:
        mean, sd = laplace.mean[None], np.sqrt(laplace.posterior_variance)[None]
    variables = {"mean": (("obs", "output"), mean), "sd": (("obs", "output"), sd)}
    return xr.Dataset(variables, coords={"obs": monitor.rows})


def _groups_of_data(
    posterior: Posterior, weights: FloatArray, sampled: dict[str, IntArray], stores_log_likelihood: bool, seed: int
) -> dict[str, xr.Dataset]:
    """Make the groups that speak of the training data."""
    over_draws = ("chain", "draw")
    # What is read from a file may be a column without a second axis.
    observed = posterior.y if posterior.y.ndim > 1 else np.asarray(posterior.y)[:, None]
    groups = {"observed_data": xr.Dataset({"y": (("obs", target_dim(posterior)), observed)})}
    fits = posterior.is_in_memory or math.prod(posterior.x.shape) <= LARGEST_LOG_LIKELIHOOD
    if fits or is_dask(posterior.x) or isinstance(cast("object", posterior.x), np.ndarray):  # else it is read here
        groups["constant_data"] = xr.Dataset({"x": input_variable(posterior.x)})
    of_a_draw = len(weights) * posterior.n_rows * posterior.model.n_outputs
    n_kept = min(PREDICTIVE_DRAWS, LARGEST_LOG_LIKELIHOOD // of_a_draw) if fits else 0
    if n_kept > 0:
        kept = spread_indices(weights.shape[1], n_kept)
        x, _ = posterior.block(slice(0, posterior.n_rows))
        outputs = posterior.model.predict(weights[:, kept], x)
        simulated = posterior.likelihood.simulate(outputs, generator(seed, "posterior predictive"))
        groups["posterior_predictive"] = xr.Dataset(
            {"y": ((*over_draws, "obs", target_dim(posterior)), simulated)}, coords={**sampled, "draw": kept}
        )
    if stores_log_likelihood:
        groups["log_likelihood"] = xr.Dataset(
            {"y": ((*over_draws, "obs"), posterior.log_likelihood(weights))}, coords=sampled
        )
    return groups
