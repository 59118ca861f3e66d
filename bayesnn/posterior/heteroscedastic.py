"""Gaussian likelihoods whose noise is an output: of the network, or one number for all rows."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.errors import ArgumentError
from bayesnn.posterior.independent import IndependentLikelihood, checked_targets, marginal_variances

LOG_2PI = float(np.log(2.0 * np.pi))


class LogSdGaussian(IndependentLikelihood):
    r"""Targets around the first outputs, with the last output as the log of their common standard deviation.

    .. math:: \log p(y_i \mid f_i, s_i) = \sum_o -\tfrac12 e^{-2 s_i} (y_{io} - f_{io})^2 - s_i - \tfrac12 \log 2\pi
    """

    @property
    def is_canonical(self) -> bool:
        """False: the observed information depends on the residuals."""
        return False

    def check_targets(self, y: ArrayLike, n_rows: int, n_outputs: int) -> FloatArray:
        """Return `y` as (n, out - 1), or raise ArgumentError."""
        if n_outputs < 2:
            raise ArgumentError("model", f"{n_outputs} output", "2 outputs, mean and log standard deviation")
        return checked_targets(y, n_rows, n_outputs - 1)

    def log_density(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Log density of each row (..., n) at outputs (..., n, out)."""
        means, log_sd = outputs[..., :-1], outputs[..., -1]
        square = ((y - means) ** 2).sum(axis=-1)
        return -0.5 * np.exp(-2.0 * log_sd) * square - y.shape[-1] * (log_sd + 0.5 * LOG_2PI)

    def gradient(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Return the derivative of the log density by the outputs (..., n, out)."""
        precision, residual = np.exp(-2.0 * outputs[..., -1:]), y - outputs[..., :-1]
        by_log_sd = (precision * residual**2).sum(axis=-1, keepdims=True) - y.shape[-1]
        return np.concatenate([precision * residual, by_log_sd], axis=-1)

    def fisher_diagonal(self, outputs: FloatArray) -> FloatArray:
        """``exp(-2 s)`` for each mean, 2 a target for the log standard deviation."""
        diagonal = np.repeat(np.exp(-2.0 * outputs[..., -1:]), outputs.shape[-1], axis=-1)
        diagonal[..., -1] = 2.0 * (outputs.shape[-1] - 1)
        return diagonal

    def observed_information(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Minus the second derivative of the log density by the outputs (..., n, out, out)."""
        precision, residual = np.exp(-2.0 * outputs[..., -1:]), y - outputs[..., :-1]
        information = self.fisher(outputs)
        information[..., :-1, -1] = information[..., -1, :-1] = 2.0 * precision * residual
        information[..., -1, -1] = 2.0 * (precision * residual**2).sum(axis=-1)
        return information

    def simulate(self, outputs: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Draw targets (..., n, out - 1) around the means."""
        means = outputs[..., :-1]
        return means + np.exp(outputs[..., -1:]) * rng.standard_normal(means.shape)

    def mean(self, outputs: FloatArray) -> FloatArray:
        """Return the means (..., n, out - 1)."""
        return outputs[..., :-1]

    def variance(self, outputs: FloatArray) -> FloatArray:
        """``exp(2 s)`` for each target (..., n, out - 1)."""
        return np.repeat(np.exp(2.0 * outputs[..., -1:]), outputs.shape[-1] - 1, axis=-1)

    def predictive_moments(self, mean: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Exact mean and variance (n, out - 1) under normal outputs: the variance of the noise is lognormal."""
        variances = marginal_variances(covariance)
        noise = np.exp(2.0 * mean[..., -1:] + 2.0 * variances[..., -1:])
        return mean[..., :-1], variances[..., :-1] + noise


@dataclass(frozen=True)
class HeteroscedasticGaussian(LogSdGaussian):
    """Targets with Gaussian noise whose size the network gives: two outputs, mean and log standard deviation.

    Nix & Weigend (1994), Estimating the mean and variance of the target probability distribution, ICNN.

    Examples
    --------
    >>> likelihood = HeteroscedasticGaussian()
    >>> likelihood.log_density(np.array([[0.0, np.log(0.5)]]), np.zeros((1, 1))).round(6)
    array([-0.225791])
    """

    def check_targets(self, y: ArrayLike, n_rows: int, n_outputs: int) -> FloatArray:
        """Return `y` as (n, 1).

        Raises
        ------
        ArgumentError
            If the model has not two outputs, or `y` does not fit the rows or is not finite.
        """
        if n_outputs != 2:
            raise ArgumentError("model", f"{n_outputs} output(s)", "2 outputs, mean and log standard deviation")
        return checked_targets(y, n_rows, 1)


@dataclass(frozen=True)
class InferredGaussian(LogSdGaussian):
    """The likelihood ``Gaussian("infer")`` becomes in a posterior: the last output is ``log_sigma_noise``."""

    def __repr__(self) -> str:
        return "Gaussian('infer')"
