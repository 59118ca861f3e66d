"""The Poisson likelihood."""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.posterior.independent import (
    IndependentLikelihood,
    checked_integers,
    checked_targets,
    marginal_variances,
)

# NumPy draws no counts of larger rates.
LARGEST_RATE = 9e18


@dataclass(frozen=True)
class Poisson(IndependentLikelihood):
    """Counts; the outputs are log rates.

    Examples
    --------
    >>> Poisson().log_density(np.zeros((1, 1)), np.array([[2.0]])).round(6)
    array([-1.693147])
    """

    def check_targets(self, y: ArrayLike, n_rows: int, n_outputs: int) -> FloatArray:
        """Return `y` as (n, out).

        Raises
        ------
        ArgumentError
            If a count is negative or not an integer, or `y` does not fit the rows and outputs.
        """
        return checked_integers(checked_targets(y, n_rows, n_outputs), 0, np.inf, "counts 0, 1, 2, ...")

    def log_density(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Log probability of each row (..., n) at log rates (..., n, out)."""
        return (y * outputs - np.exp(outputs) - gammaln(y + 1.0)).sum(axis=-1)

    def gradient(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Return the derivative of the log probability by the log rates (..., n, out)."""
        return y - np.exp(outputs)

    def fisher_diagonal(self, outputs: FloatArray) -> FloatArray:
        """Return the rates."""
        return np.exp(outputs)

    def simulate(self, outputs: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Draw counts."""
        rates = np.exp(outputs)
        counts = rng.poisson(np.minimum(rates, LARGEST_RATE)).astype(np.float64)
        beyond = rates > LARGEST_RATE  # where a count's own spread is below the rounding of the rate
        return np.where(beyond, rates, counts)

    def mean(self, outputs: FloatArray) -> FloatArray:
        """Return the rates."""
        return np.exp(outputs)

    def variance(self, outputs: FloatArray) -> FloatArray:
        """Return the rates."""
        return np.exp(outputs)

    def predictive_moments(self, mean: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Exact mean and variance (n, out) of counts whose log rates are normal."""
        variances = marginal_variances(covariance)
        rate = np.exp(mean + 0.5 * variances)
        return rate, rate + rate**2 * np.expm1(variances)
