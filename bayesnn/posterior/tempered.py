"""Likelihoods to a power: posteriors at another temperature."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import positive_number
from bayesnn.posterior.gaussian import Gaussian
from bayesnn.posterior.likelihood import Likelihood


@dataclass(frozen=True, eq=False)
class Tempered:
    r"""A likelihood to the power of an inverse temperature, :math:`p(y \mid f)^\beta`.

    What is said of new targets is said by the likelihood itself.

    Parameters
    ----------
    likelihood : Likelihood
        Of one or more targets.
    inverse_temperature : float
        :math:`\beta > 0`.

    Examples
    --------
    >>> from bayesnn import Bernoulli
    >>> half = Tempered(Bernoulli(), 0.5)
    >>> half.log_density(np.zeros((1, 1)), np.ones((1, 1))).round(6)  # log(1/2) / 2
    array([-0.346574])
    """

    likelihood: Likelihood
    inverse_temperature: float

    def __post_init__(self) -> None:
        positive_number("inverse_temperature", self.inverse_temperature)

    @property
    def is_least_squares(self) -> bool:
        """As of the likelihood."""
        return self.likelihood.is_least_squares

    @property
    def is_canonical(self) -> bool:
        """As of the likelihood."""
        return self.likelihood.is_canonical

    @property
    def has_diagonal_fisher(self) -> bool:
        """As of the likelihood."""
        return self.likelihood.has_diagonal_fisher

    @property
    def uniform_fisher(self) -> float | None:
        """The likelihood's times the inverse temperature."""
        uniform = self.likelihood.uniform_fisher
        return None if uniform is None else uniform * self.inverse_temperature

    def check_targets(self, y: ArrayLike, n_rows: int, n_outputs: int) -> FloatArray:
        """Return targets (n, t) the likelihood can use, or raise ArgumentError."""
        return self.likelihood.check_targets(y, n_rows, n_outputs)

    def rows(self, rows: slice) -> Self:
        """Return the likelihood of some rows only."""
        return type(self)(self.likelihood.rows(rows), self.inverse_temperature)

    def log_density(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Log density of each row (..., n), times the inverse temperature."""
        return self.inverse_temperature * self.likelihood.log_density(outputs, y)

    def gradient(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Return the derivative of that by the outputs (..., n, out)."""
        return self.inverse_temperature * self.likelihood.gradient(outputs, y)

    def fisher(self, outputs: FloatArray) -> FloatArray:
        """Fisher information of the outputs (..., n, out, out), times the inverse temperature."""
        return self.inverse_temperature * self.likelihood.fisher(outputs)

    def observed_information(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Minus the second derivative of the log density by the outputs (..., n, out, out)."""
        return self.inverse_temperature * self.likelihood.observed_information(outputs, y)

    def fisher_rows(self, outputs: FloatArray, jacobian: FloatArray) -> FloatArray:
        """Rows (..., m, k) of the root of that times the Jacobian, which they may replace."""
        return np.sqrt(self.inverse_temperature) * self.likelihood.fisher_rows(outputs, jacobian)

    def scaled_residual(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Return residuals over the standard deviation at this temperature (..., n, t)."""
        return np.sqrt(self.inverse_temperature) * self.likelihood.scaled_residual(outputs, y)

    def simulate(self, outputs: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Draw targets (..., n, t) of the likelihood itself."""
        return self.likelihood.simulate(outputs, rng)

    def mean(self, outputs: FloatArray) -> FloatArray:
        """Mean of a new target (..., n, t)."""
        return self.likelihood.mean(outputs)

    def variance(self, outputs: FloatArray) -> FloatArray:
        """Variance of a new target (..., n, t)."""
        return self.likelihood.variance(outputs)

    def predictive_moments(self, mean: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and variance (n, t) of a new target under normal outputs."""
        return self.likelihood.predictive_moments(mean, covariance)


def tempered(likelihood: Likelihood, inverse_temperature: float) -> Likelihood:
    """Return a likelihood to a power, as a Gaussian of wider noise where it is one: that has compiled code.

    A Gaussian to a power is not normalised: its constant is another, and of no consequence to draws.

    Examples
    --------
    >>> tempered(Gaussian(0.5), 0.25).sigma_noise
    1.0
    """
    if isinstance(likelihood, Gaussian) and not likelihood.is_inferred:
        return Gaussian(np.asarray(likelihood.sigma_noise) / np.sqrt(inverse_temperature))
    return Tempered(likelihood, inverse_temperature)
