"""Student's t likelihood."""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from bayesnn.arrays import FloatArray
from bayesnn.checks import positive_number
from bayesnn.posterior.independent import IndependentLikelihood, diagonal_matrices, marginal_variances


@dataclass(frozen=True)
class StudentT(IndependentLikelihood):
    r"""Targets with independent Student-t noise, for data with outliers.

    .. math:: p(y \mid f) = \frac{\Gamma(\frac{\nu+1}2)}{\Gamma(\frac\nu2)\sqrt{\pi\nu}\,s}
              \left(1 + \frac{(y - f)^2}{\nu s^2}\right)^{-\frac{\nu+1}2}

    Parameters
    ----------
    df : float
        Degrees of freedom :math:`\nu` above 0.
    scale : float
        Scale `s` above 0, in the units of `y`.

    References
    ----------
    Lange, Little & Taylor (1989), Robust statistical modeling using the t distribution, JASA 84, 881.

    Examples
    --------
    >>> StudentT(df=4.0, scale=1.0).log_density(np.zeros((1, 1)), np.zeros((1, 1))).round(6)
    array([-0.980829])
    """

    df: float
    scale: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "df", positive_number("df", self.df))
        object.__setattr__(self, "scale", positive_number("scale", self.scale))

    @property
    def is_canonical(self) -> bool:
        """False: outliers have negative information."""
        return False

    def log_density(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Log density of each row (..., n) at outputs (..., n, out)."""
        z = (y - outputs) / self.scale
        normaliser = gammaln(0.5 * (self.df + 1.0)) - gammaln(0.5 * self.df) - 0.5 * np.log(np.pi * self.df)
        each = normaliser - np.log(self.scale) - 0.5 * (self.df + 1.0) * np.log1p(z * z / self.df)
        return each.sum(axis=-1)

    def gradient(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Return the derivative of the log density by the outputs (..., n, out)."""
        z = (y - outputs) / self.scale
        return (self.df + 1.0) * z / (self.scale * (self.df + z * z))

    def fisher_diagonal(self, outputs: FloatArray) -> FloatArray:
        r""":math:`(\nu + 1) / ((\nu + 3) s^2)`, whatever the outputs."""
        return np.full(outputs.shape, (self.df + 1.0) / ((self.df + 3.0) * self.scale**2))

    def observed_information(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Minus the second derivative (..., n, out, out); negative for outliers."""
        square = ((y - outputs) / self.scale) ** 2
        return diagonal_matrices((self.df + 1.0) * (self.df - square) / (self.scale * (self.df + square)) ** 2)

    def simulate(self, outputs: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Draw targets around the outputs."""
        return outputs + self.scale * rng.standard_t(self.df, outputs.shape)

    def mean(self, outputs: FloatArray) -> FloatArray:
        """Return the outputs; NaN for ``df <= 1``, where there is no mean."""
        return outputs if self.df > 1.0 else np.full(outputs.shape, np.nan)

    def variance(self, outputs: FloatArray) -> FloatArray:
        """``scale**2 df / (df - 2)``; infinite for ``df <= 2``."""
        return np.full(outputs.shape, self.scale**2 * self.df / (self.df - 2.0) if self.df > 2.0 else np.inf)

    def predictive_moments(self, mean: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Exact mean and variance (n, out) under normal outputs."""
        return self.mean(mean), marginal_variances(covariance) + self.variance(mean)
