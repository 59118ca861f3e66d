"""Predictions of outputs and of new targets."""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from bayesnn.arrays import FloatArray
from bayesnn.posterior import Gaussian, Likelihood
from bayesnn.posterior.heteroscedastic import LOG_2PI

LINKS = ("probit", "monte-carlo")


class Prediction(NamedTuple):
    """Predictive mean and standard deviation, each (n, out), in the units of the targets."""

    mean: FloatArray
    sd: FloatArray


def draw_outputs(mean: FloatArray, covariance: FloatArray, n_draws: int, rng: np.random.Generator) -> FloatArray:
    """Draw normal outputs (draws, n, out), of `mean` (n, out) and `covariance` (n, out, out), independent by row."""
    values, directions = np.linalg.eigh(covariance)
    root = directions * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    standard = rng.standard_normal((n_draws, *mean.shape))
    return mean + np.einsum("nop,snp->sno", root, standard)


def moments_of_targets(likelihood: Likelihood, outputs: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and variance (n, t) of a new target, given draws of the outputs (draws, n, out)."""
    means = likelihood.mean(outputs)
    return means.mean(axis=0), likelihood.variance(outputs).mean(axis=0) + means.var(axis=0)


def log_density_of_gaussian(
    likelihood: Gaussian, mean: FloatArray, covariance: FloatArray, y: FloatArray
) -> FloatArray:
    """Log predictive density (n,) of targets with Gaussian noise around normal outputs: joint over the outputs."""
    total = covariance + (likelihood.noise_sd(len(mean)) ** 2)[..., None] * np.eye(mean.shape[1])
    residual = y - mean
    solved = np.linalg.solve(total, residual[..., None])[..., 0]
    log_det = np.linalg.slogdet(total)[1]
    return -0.5 * ((residual * solved).sum(axis=-1) + log_det + mean.shape[1] * LOG_2PI)


def log_density_over_draws(likelihood: Likelihood, outputs: FloatArray, y: FloatArray) -> FloatArray:
    """Log of the mean density (n,) over draws of the outputs (draws, n, out)."""
    return logsumexp(likelihood.log_density(outputs, y), axis=0) - np.log(len(outputs))


def check_new_rows(likelihood: Likelihood, n_rows: int) -> None:
    """Raise ArgumentError where each training row has noise of its own, so that new rows have none."""
    if isinstance(likelihood, Gaussian):
        likelihood.noise_sd(n_rows)
