"""The Bernoulli likelihood."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.posterior.independent import (
    IndependentLikelihood,
    checked_integers,
    checked_targets,
    marginal_variances,
)


def probit_shrinkage(variances: FloatArray) -> FloatArray:
    """Factor on a logit for which the logistic function gives its mean under normal noise of these variances.

    MacKay (1992), The evidence framework applied to classification networks, Neural Computation 4, eq. 14.
    """
    return 1.0 / np.sqrt(1.0 + np.pi * variances / 8.0)


@dataclass(frozen=True)
class Bernoulli(IndependentLikelihood):
    """Targets 0 or 1; the outputs are logits.

    Examples
    --------
    >>> Bernoulli().log_density(np.array([[0.0], [800.0]]), np.array([[1.0], [0.0]])).round(6).tolist()
    [-0.693147, -800.0]
    """

    def check_targets(self, y: ArrayLike, n_rows: int, n_outputs: int) -> FloatArray:
        """Return `y` as (n, out).

        Raises
        ------
        ArgumentError
            If a label is neither 0 nor 1, or `y` does not fit the rows and outputs.
        """
        return checked_integers(checked_targets(y, n_rows, n_outputs, booleans=True), 0, 1, "labels 0 or 1")

    def log_density(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Log probability of each row (..., n) at logits (..., n, out)."""
        return -np.logaddexp(0.0, (1.0 - 2.0 * y) * outputs).sum(axis=-1)

    def gradient(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Return the derivative of the log probability by the logits, ``y - p``."""
        return (2.0 * y - 1.0) * expit((1.0 - 2.0 * y) * outputs)

    def fisher_diagonal(self, outputs: FloatArray) -> FloatArray:
        """``p (1 - p)``."""
        return expit(outputs) * expit(-outputs)

    def simulate(self, outputs: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Draw labels."""
        return (rng.random(outputs.shape) < expit(outputs)).astype(np.float64)

    def mean(self, outputs: FloatArray) -> FloatArray:
        """Probability of 1."""
        return expit(outputs)

    def variance(self, outputs: FloatArray) -> FloatArray:
        """``p (1 - p)``."""
        return self.fisher_diagonal(outputs)

    def predictive_moments(self, mean: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Probability of 1 under normal logits by MacKay's probit approximation, and its variance of a label."""
        logits = mean * probit_shrinkage(marginal_variances(covariance))
        return self.mean(logits), self.variance(logits)
