"""What every structure of a precision offers to the Laplace posterior."""

from typing import Protocol

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.errors import ArgumentError
from bayesnn.factor import PrecisionFactor


class Structure(Protocol):
    """A Gaussian's precision `P` (k, k), kept in the form its structure allows.

    Deviations are differences from the mean. A structure may hold weights fixed: these have variance 0, and zero rows
    and columns in both :meth:`precision` and :meth:`covariance`, which are each other's inverse over the free weights.
    """

    @property
    def size(self) -> int:
        """Number of weights, k."""
        ...

    @property
    def n_free(self) -> int:
        """Number of weights that are not held fixed."""
        ...

    @property
    def log_det(self) -> float:
        """Log determinant of the precision over the free weights."""
        ...

    def draw(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Draw deviations (n, k)."""
        ...

    def squared_length(self, deviations: FloatArray) -> FloatArray:
        """Squared Mahalanobis length ``d' P d`` (...) of deviations (..., k); infinite if a fixed weight deviates."""
        ...

    def functional_covariance(self, rows: FloatArray) -> FloatArray:
        """Joint covariance ``J P^-1 J'`` (m, m) of linear functions with coefficients `rows` (m, k)."""
        ...

    def row_covariance(self, jacobian: FloatArray) -> FloatArray:
        """Joint covariance (n, out, out) of the outputs at each input, given the `jacobian` (n, out, k)."""
        ...

    def variance(self) -> FloatArray:
        """Marginal variances (k,)."""
        ...

    def covariance(self) -> FloatArray:
        """Covariance matrix (k, k)."""
        ...

    def precision(self) -> FloatArray:
        """Precision matrix (k, k)."""
        ...

    def factor(self) -> PrecisionFactor:
        """Dense upper triangular factor of the precision.

        Raises
        ------
        ArgumentError
            If weights are held fixed: the precision is then infinite along them.
        """
        ...


def require_full_rank(factor: PrecisionFactor) -> None:
    """Raise ArgumentError if `factor` has no covariance: the prior is flat where the data say nothing."""
    if not factor.is_full_rank:
        raise ArgumentError(
            "prior",
            f"a precision of rank {factor.rank} for {factor.size} weights",
            "a NormalPrior, or a model without redundant weights",
        )
