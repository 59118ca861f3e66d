"""The precision as it is."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.factor import PrecisionFactor
from bayesnn.laplace.structures.structure import require_full_rank


@dataclass(frozen=True, eq=False)
class Full:
    """Every correlation kept: ``P = R'R``.

    Parameters
    ----------
    upper_factor : PrecisionFactor
        `R` (k, k), of full rank.

    Raises
    ------
    ArgumentError
        If the precision is singular.
    """

    upper_factor: PrecisionFactor

    def __post_init__(self) -> None:
        require_full_rank(self.upper_factor)

    @property
    def size(self) -> int:
        """Number of weights, k."""
        return self.upper_factor.size

    @property
    def n_free(self) -> int:
        """Number of weights, k."""
        return self.size

    @property
    def log_det(self) -> float:
        """Log determinant of the precision."""
        return self.upper_factor.log_det

    def draw(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Draw deviations (n, k)."""
        return self.upper_factor.color(rng.standard_normal((n, self.size)))

    def squared_length(self, deviations: FloatArray) -> FloatArray:
        """Squared Mahalanobis length ``d' P d`` (...) of deviations (..., k)."""
        return (self.upper_factor.whiten(deviations) ** 2).sum(axis=-1)

    def functional_covariance(self, rows: FloatArray) -> FloatArray:
        """Joint covariance ``J P^-1 J'`` (m, m) of linear functions with coefficients `rows` (m, k)."""
        half = self.upper_factor.half_solve(rows)
        return half @ half.T

    def row_covariance(self, jacobian: FloatArray) -> FloatArray:
        """Joint covariance (n, out, out) of the outputs at each input, given the `jacobian` (n, out, k)."""
        half = self.upper_factor.half_solve(jacobian)
        return half @ half.mT

    def variance(self) -> FloatArray:
        """Marginal variances (k,)."""
        return (self.upper_factor.scale**2).sum(axis=1)

    def covariance(self) -> FloatArray:
        """Covariance matrix (k, k)."""
        return self.upper_factor.covariance

    def precision(self) -> FloatArray:
        """Precision matrix (k, k)."""
        return self.upper_factor.precision

    def factor(self) -> PrecisionFactor:
        """Upper triangular factor of the precision."""
        return self.upper_factor
