"""Predictions at inputs the fit did not see, by the optimum alone, the Gaussian, and the draws."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.laplace import Laplace
from bayesnn.posterior import Categorical
from bayesnn.seeds import generator
from bayesnn.threads import on_one_blas_thread
from bayesnn.tree import group_of, input_variable, settings_of, target_dim, weight_matrix

PREDICTIVES = ("plug-in optimum", "linearized Laplace", "sampled")


@dataclass(frozen=True)
class Scores:
    """Held-out scores of each predictive, in the units of the targets given.

    Parameters
    ----------
    rmse : ndarray (3,)
        Root mean squared error of the predictive means, in the order of ``PREDICTIVES``.
    lpd : ndarray (3,)
        Mean log predictive density of a target, nats.
    """

    rmse: FloatArray
    lpd: FloatArray


@on_one_blas_thread
def add_predictions(tree: xr.DataTree, laplace: Laplace, x: ArrayLike, y: ArrayLike | None = None) -> Scores | None:
    """Add predictions at new inputs to a tree, by draws and by the Gaussian, and score them.

    Groups added: ``predictions`` (`f`, the network's outputs, and `y`, with noise, for every draw),
    ``laplace_predictions`` (mean and sd of the linearized outputs), ``predictions_constant_data`` (`x`, and `y` if
    given) and, with `y`, ``scores``.

    Parameters
    ----------
    tree : xarray.DataTree
        From :func:`bayesnn.sample`; extended in place.
    laplace : Laplace
        What it was sampled from.
    x : array_like (n, d)
        New inputs.
    y : array_like (n,) or (n, out), optional
        Their targets.

    Returns
    -------
    Scores or None
        None without `y`.

    Raises
    ------
    ArgumentError
        If shapes do not fit the model.
    """
    posterior = laplace.posterior
    model, likelihood = posterior.model, posterior.likelihood
    inputs = model.check_inputs(x)
    targets = None if y is None else likelihood.check_targets(y, len(inputs), model.n_outputs)
    draws = group_of(tree, "posterior")
    weights = weight_matrix(draws, model.weight_blocks)
    outputs = model.predict(weights, inputs)
    linearized = laplace.predict(inputs)
    rng = generator(int(settings_of(tree)["seed"]), "predictions")
    each_draw = ("chain", "draw", "obs", "output")
    simulated = likelihood.simulate(outputs, rng)
    target = target_dim(posterior)
    each_target = ("chain", "draw", "obs", target)
    sampled = {name: draws[name] for name in ("chain", "draw")}
    groups = {
        "predictions": xr.Dataset(
            {"f": (each_draw, posterior.outputs(weights, inputs)), "y": (each_target, simulated)}, coords=sampled
        ),
        "laplace_predictions": xr.Dataset(
            {"mean": (("obs", "output"), linearized.mean), "sd": (("obs", "output"), linearized.sd)}
        ),
        "predictions_constant_data": xr.Dataset({"x": input_variable(inputs)}),
    }
    scores = None
    if targets is not None:
        groups["predictions_constant_data"]["y"] = (("obs", target), targets)
        scores = _scores(laplace, inputs, targets, outputs)
        groups["scores"] = xr.Dataset(
            {"rmse": (("predictive",), scores.rmse), "lpd": (("predictive",), scores.lpd)},
            coords={"predictive": list(PREDICTIVES)},
        )
    for name, group in groups.items():
        tree[name] = xr.DataTree(group)
    return scores


def _scores(laplace: Laplace, x: FloatArray, y: FloatArray, outputs: FloatArray) -> Scores:
    likelihood = laplace.posterior.likelihood
    plug_in = laplace.posterior.model.predict(laplace.mean, x)
    log_density = likelihood.log_density(outputs, y)
    mixture = logsumexp(log_density, axis=(0, 1)) - np.log(log_density.shape[0] * log_density.shape[1])
    means = (
        likelihood.mean(plug_in),
        laplace.predict(x, noise=True).mean,
        likelihood.mean(outputs).mean(axis=(0, 1)),
    )
    # Classes are scored by the probability they were given.
    wanted = np.equal(y, np.arange(float(outputs.shape[-1]))) if isinstance(likelihood, Categorical) else y
    densities = (likelihood.log_density(plug_in, y), laplace.log_predictive_density(x, y), mixture)
    return Scores(
        rmse=np.array([float(np.sqrt(((mean - wanted) ** 2).mean())) for mean in means]),
        lpd=np.array([float(np.mean(density)) for density in densities]),
    )
