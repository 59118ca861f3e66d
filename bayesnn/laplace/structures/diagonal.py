"""The precision without its correlations."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.errors import ArgumentError
from bayesnn.factor import PrecisionFactor


@dataclass(frozen=True, eq=False)
class Diagonal:
    """Independent weights: the diagonal of the precision, the rest set to zero.

    Each variance is thereby that of a weight *given* all others, at most its variance under the full precision.

    Parameters
    ----------
    diagonal : ndarray (k,)
        Precision of each weight, above 0.

    Raises
    ------
    ArgumentError
        If an entry is not above 0.
    """

    diagonal: FloatArray

    def __post_init__(self) -> None:
        improper = np.flatnonzero(~(self.diagonal > 0))
        if improper.size:
            first = int(improper[0])
            raise ArgumentError(
                "prior",
                f"a posterior precision of {self.diagonal[first]:.3g} for weight {first}",
                "a NormalPrior, and curvature 'ggn' where the Hessian is indefinite",
            )

    @cached_property
    def _root(self) -> FloatArray:
        return np.sqrt(self.diagonal)

    @property
    def size(self) -> int:
        """Number of weights, k."""
        return self.diagonal.size

    @property
    def n_free(self) -> int:
        """Number of weights, k."""
        return self.size

    @property
    def log_det(self) -> float:
        """Log determinant of the precision."""
        return float(np.log(self.diagonal).sum())

    def draw(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Draw deviations (n, k)."""
        return rng.standard_normal((n, self.size)) / self._root

    def squared_length(self, deviations: FloatArray) -> FloatArray:
        """Squared Mahalanobis length ``d' P d`` (...) of deviations (..., k)."""
        return ((deviations * self._root) ** 2).sum(axis=-1)

    def functional_covariance(self, rows: FloatArray) -> FloatArray:
        """Joint covariance ``J P^-1 J'`` (m, m) of linear functions with coefficients `rows` (m, k)."""
        half = rows / self._root
        return half @ half.T

    def row_covariance(self, jacobian: FloatArray) -> FloatArray:
        """Joint covariance (n, out, out) of the outputs at each input, given the `jacobian` (n, out, k)."""
        half = jacobian / self._root
        return half @ half.mT

    def variance(self) -> FloatArray:
        """Marginal variances (k,)."""
        return 1.0 / self.diagonal

    def covariance(self) -> FloatArray:
        """Covariance matrix (k, k)."""
        return np.diag(self.variance())

    def precision(self) -> FloatArray:
        """Precision matrix (k, k)."""
        return np.diag(self.diagonal)

    def factor(self) -> PrecisionFactor:
        """Dense upper triangular factor of the precision."""
        return PrecisionFactor(np.diag(self._root), rank=self.size, method="cholesky")
