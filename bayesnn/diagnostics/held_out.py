"""Predictions at inputs the fit did not see, by the optimum alone, the Gaussian, and the draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.diagnostics.mode_predictions import MixturePrediction, predict_over_modes
from bayesnn.diagnostics.mode_weights import ModeWeights
from bayesnn.errors import ArgumentError
from bayesnn.laplace import Laplace
from bayesnn.laplace.predictive import check_new_rows
from bayesnn.posterior import Categorical, Gaussian, Posterior
from bayesnn.posterior.heteroscedastic import LogSdGaussian
from bayesnn.sampling.target import Gaussians, Target
from bayesnn.seeds import generator
from bayesnn.threads import on_one_blas_thread
from bayesnn.tree import group_of, input_variable, settings_of, target_dim, values_of, weight_matrix

SAMPLED = "sampled"
NORMAL = (Gaussian, LogSdGaussian)
PREDICTIVES = ("plug-in optimum", "linearized Laplace", SAMPLED)


@dataclass(frozen=True)
class Scores:
    """Held-out scores of each predictive, in the units of the targets given.

    Parameters
    ----------
    rmse : ndarray (p,)
        Root mean squared error of the predictive means, in the order of `predictives`.
    lpd : ndarray (p,)
        Mean log predictive density of a row, all its targets together, nats.
    predictives : tuple of str
        What was scored: ``PREDICTIVES``, and ``"sampled, stacking"`` and so on for each weighting of several modes.
    """

    rmse: FloatArray
    lpd: FloatArray
    predictives: tuple[str, ...] = PREDICTIVES


@on_one_blas_thread
def add_predictions(
    tree: xr.DataTree,
    laplace: Gaussians | Posterior,
    x: ArrayLike,
    y: ArrayLike | None = None,
    weights: Sequence[ModeWeights] = (),
) -> Scores | None:
    """Add predictions at new inputs to a tree, by draws and by the Gaussian, and score them.

    Groups added: ``predictions`` (`f`, the network's outputs, and `y`, with noise, for every draw),
    ``laplace_predictions`` (`mean` and `sd` of the linearized outputs; under Gaussian noise also `target_mean` and
    `target_sd`, noise in them), ``predictions_constant_data`` (`x`, and `y` if
    given) and, with `y`, ``scores``. With `weights`, ``mode_predictions``: mean and sd of new targets, noise in them,
    by the mixture of the modes under each weighting, and `log_density` where there is `y`.

    Parameters
    ----------
    tree : xarray.DataTree
        From :func:`bayesnn.sample`; extended in place.
    laplace : Laplace, sequence of Laplace, LaplaceMixture or Posterior
        What it was sampled from; of several, the Gaussian is that of the highest evidence, and ``"sampled"`` all chains
        alike. Of a Posterior there is no Gaussian, and draws alone predict.
    x : array_like (n, d)
        New inputs.
    y : array_like (n,) or (n, out), optional
        Their targets.
    weights : sequence of ModeWeights
        Weightings of the modes, such as :func:`bayesnn.mode_weights` returns, each to be predicted with and scored.

    Returns
    -------
    Scores or None
        None without `y`.

    Raises
    ------
    ArgumentError
        If shapes do not fit the model, each training row has noise of its own, so that new rows have none, or
        weightings of modes are given with a Posterior.
    """
    target = Target.of(laplace, needs_laplace=False)
    posterior, gaussian = target.posterior, target.best if target.laplaces else None
    model, likelihood = posterior.model, posterior.likelihood
    inputs = model.check_inputs(x)
    check_new_rows(likelihood, len(inputs))
    targets = None if y is None else likelihood.check_targets(y, len(inputs), model.n_outputs)
    draws = group_of(tree, "posterior")
    coordinates = weight_matrix(draws, model.weight_blocks)
    outputs = model.predict(coordinates, inputs)
    rng = generator(int(settings_of(tree)["seed"]), "predictions")
    each_draw = ("chain", "draw", "obs", "output")
    simulated = likelihood.simulate(outputs, rng)
    target_name = target_dim(posterior)
    each_target = ("chain", "draw", "obs", target_name)
    sampled = {name: draws[name] for name in ("chain", "draw")}
    groups = {
        "predictions": xr.Dataset(
            {"f": (each_draw, posterior.outputs(coordinates, inputs)), "y": (each_target, simulated)}, coords=sampled
        ),
        "predictions_constant_data": xr.Dataset({"x": input_variable(inputs)}),
    }
    if gaussian is not None:
        linearized = gaussian.predict(inputs)
        groups["laplace_predictions"] = xr.Dataset(
            {"mean": (("obs", "output"), linearized.mean), "sd": (("obs", "output"), linearized.sd)}
        )
        if isinstance(likelihood, NORMAL):
            noisy = gaussian.predict(inputs, noise=True)
            of_targets = {"target_mean": noisy.mean, "target_sd": noisy.sd}
            variables = {name: (("obs", target_name), values) for name, values in of_targets.items()}
            groups["laplace_predictions"] = groups["laplace_predictions"].assign(variables)
    mixtures: dict[str, MixturePrediction] = {}
    if gaussian is not None:
        mixtures = {each.method: predict_over_modes(tree, gaussian, inputs, each, targets) for each in weights}
    elif weights:
        raise ArgumentError("weights", f"{len(weights)} for a Posterior", "none: its chains begin in no known mode")
    if mixtures:
        groups["mode_predictions"] = _mixtures_dataset(mixtures, target_name)
    scores = None
    if targets is not None:
        groups["predictions_constant_data"]["y"] = (("obs", target_name), targets)
        scores = _scores(posterior, gaussian, inputs, targets, outputs, mixtures)
        groups["scores"] = xr.Dataset(
            {"rmse": (("predictive",), scores.rmse), "lpd": (("predictive",), scores.lpd)},
            coords={"predictive": list(scores.predictives)},
        )
    for name in ("laplace_predictions", "mode_predictions", "scores"):  # of earlier inputs
        if name in tree.children and name not in groups:
            del tree[name]
    of_convergence = tree["convergence"].attrs if "convergence" in tree.children else {}
    if of_convergence.get("function_group") == "predictions":
        earlier, now = values_of(tree, "predictions", "f"), groups["predictions"]["f"].values
        if not np.array_equal(earlier, now, equal_nan=True):
            of_convergence["function_group"] = ""  # those that it speaks of are gone
    for name, group in groups.items():
        tree[name] = xr.DataTree(group)
    return scores


def _scores(
    posterior: Posterior,
    gaussian: Laplace | None,
    x: FloatArray,
    y: FloatArray,
    outputs: FloatArray,
    mixtures: Mapping[str, MixturePrediction],
) -> Scores:
    likelihood = posterior.likelihood
    log_density = likelihood.log_density(outputs, y)
    mixture = logsumexp(log_density, axis=(0, 1)) - np.log(log_density.shape[0] * log_density.shape[1])
    means, densities = [likelihood.mean(outputs).mean(axis=(0, 1))], [mixture]
    names = list(PREDICTIVES)
    if gaussian is None:
        names = [SAMPLED]
    else:
        plug_in = posterior.model.predict(gaussian.mean, x)
        means = [likelihood.mean(plug_in), gaussian.predict(x, noise=True).mean, *means]
        densities = [likelihood.log_density(plug_in, y), gaussian.log_predictive_density(x, y), *densities]
    means += [each.mean for each in mixtures.values()]
    densities += [each.log_density for each in mixtures.values() if each.log_density is not None]
    # Classes are scored by the probability they were given.
    wanted = np.equal(y, np.arange(float(outputs.shape[-1]))) if isinstance(likelihood, Categorical) else y
    return Scores(
        rmse=np.array([float(np.sqrt(((mean - wanted) ** 2).mean())) for mean in means]),
        lpd=np.array([float(np.mean(density)) for density in densities]),
        predictives=(*names, *(f"{SAMPLED}, {method}" for method in mixtures)),
    )


def _mixtures_dataset(mixtures: Mapping[str, MixturePrediction], target: str) -> xr.Dataset:
    """Group ``mode_predictions``."""
    each_target = ("weighting", "obs", target)
    group = xr.Dataset(
        {
            "mean": (each_target, np.stack([each.mean for each in mixtures.values()])),
            "sd": (each_target, np.stack([each.sd for each in mixtures.values()])),
        },
        coords={"weighting": list(mixtures)},
    )
    densities = [each.log_density for each in mixtures.values() if each.log_density is not None]
    return group.assign(log_density=(("weighting", "obs"), np.stack(densities))) if densities else group
