"""All weights held fixed but those of one layer."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.errors import ArgumentError
from bayesnn.factor import PrecisionFactor
from bayesnn.laplace.structures.full import Full
from bayesnn.laplace.structures.structure import require_full_rank


@dataclass(frozen=True, eq=False)
class LastLayer:
    """A Gaussian over one layer given that all other weights are at their optimum (Kristiadi et al. 2020, ICML).

    Parameters
    ----------
    inner : PrecisionFactor
        Of the layer's own block of the precision, of full rank.
    place : slice
        Where the layer lies in the flat weight vector.
    size : int
        Number of all weights, k.

    Raises
    ------
    ArgumentError
        If the layer's precision is singular.
    """

    inner: PrecisionFactor
    place: slice
    size: int

    def __post_init__(self) -> None:
        require_full_rank(self.inner)

    @property
    def n_free(self) -> int:
        """Number of weights of the layer."""
        return self.inner.size

    @property
    def log_det(self) -> float:
        """Log determinant of the layer's precision."""
        return self.inner.log_det

    @property
    def _layer(self) -> Full:
        return Full(self.inner)

    def draw(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Draw deviations (n, k), zero for the fixed weights."""
        draws = np.zeros((n, self.size))
        draws[:, self.place] = self._layer.draw(n, rng)
        return draws

    def squared_length(self, deviations: FloatArray) -> FloatArray:
        """Squared Mahalanobis length (...) of deviations (..., k); infinite if a fixed weight deviates."""
        fixed = deviations.copy()
        fixed[..., self.place] = 0.0
        return np.where(fixed.any(axis=-1), np.inf, self._layer.squared_length(deviations[..., self.place]))

    def functional_covariance(self, rows: FloatArray) -> FloatArray:
        """Joint covariance ``J P^-1 J'`` (m, m) of linear functions with coefficients `rows` (m, k)."""
        return self._layer.functional_covariance(rows[:, self.place])

    def row_covariance(self, jacobian: FloatArray) -> FloatArray:
        """Joint covariance (n, out, out) of the outputs at each input, given the `jacobian` (n, out, k)."""
        return self._layer.row_covariance(jacobian[..., self.place])

    def variance(self) -> FloatArray:
        """Marginal variances (k,), zero for the fixed weights."""
        variance = np.zeros(self.size)
        variance[self.place] = self._layer.variance()
        return variance

    def covariance(self) -> FloatArray:
        """Covariance matrix (k, k), with zero rows and columns for the fixed weights."""
        return self._embed(self.inner.covariance)

    def precision(self) -> FloatArray:
        """Precision (k, k) of the free weights, with zero rows and columns for the fixed ones, where it is infinite."""
        return self._embed(self.inner.precision)

    def factor(self) -> PrecisionFactor:
        """Refuse: along the fixed weights the precision is infinite.

        Raises
        ------
        ArgumentError
            Always.
        """
        raise ArgumentError(
            "structure",
            "'last_layer'",
            "a structure in which all weights are free, such as 'full': fixed weights have no precision",
        )

    def _embed(self, block: FloatArray) -> FloatArray:
        whole = np.zeros((self.size, self.size))
        whole[self.place, self.place] = block
        return whole
