"""The prior and a few directions the data inform."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import eigh
from scipy.sparse.linalg import LinearOperator, eigsh

from bayesnn.arrays import FloatArray
from bayesnn.checks import integer_at_least
from bayesnn.errors import ArgumentError
from bayesnn.factor import PrecisionFactor, factor_gram, factor_rows

# The directions leave 1 - |V_i|^2 of a weight's prior variance; below this the difference has lost four digits.
CANCELLED = 1e-4
WEIGHTS_AT_A_TIME = 256


@dataclass(frozen=True, eq=False)
class LowRank:
    r"""A prior, updated along a few directions.

    .. math:: P = P_0^{1/2} (I + V \Lambda V') P_0^{1/2}, \qquad
              P^{-1} = P_0^{-1/2} \left( (I - VV') + V (I + \Lambda)^{-1} V' \right) P_0^{-1/2}

    with `P_0` diagonal and `V` orthonormal: Woodbury's formula (Golub & Van Loan, 4th ed., 2.1.4) in the eigenbasis
    of the prior-preconditioned data term (Bui-Thanh et al. 2013, SIAM J. Sci. Comput. 35, A2494; Isaac et al. 2015,
    J. Comput. Phys. 296, 348). The covariance is evaluated as this sum of two squares: subtracting
    :math:`V \Lambda (I + \Lambda)^{-1} V'` from the identity would cancel the digits of what the data determine well.

    Parameters
    ----------
    prior_precision : ndarray (k,)
        Diagonal of `P_0`, above 0.
    eigenvalues : ndarray (r,)
        Diagonal of `Lambda`: how much more than the prior the data say about each direction; at least 0.
    directions : ndarray (k, r)
        `V`, orthonormal columns.
    """

    prior_precision: FloatArray
    eigenvalues: FloatArray
    directions: FloatArray

    @cached_property
    def _root(self) -> FloatArray:
        return prior_root(self.prior_precision)

    @property
    def size(self) -> int:
        """Number of weights, k."""
        return self.prior_precision.size

    @property
    def n_free(self) -> int:
        """Number of weights, k."""
        return self.size

    @property
    def log_det(self) -> float:
        """Log determinant of the precision."""
        return 2.0 * float(np.log(self._root).sum()) + float(np.log1p(self.eigenvalues).sum())

    def draw(self, n: int, rng: np.random.Generator) -> FloatArray:
        r"""Draw deviations (n, k) with the exact root :math:`P_0^{-1/2} (I - V (I - (I + \Lambda)^{-1/2}) V')`."""
        standard = rng.standard_normal((n, self.size))
        shrunk = (standard @ self.directions) * (1.0 - 1.0 / np.sqrt(1.0 + self.eigenvalues))
        return (standard - shrunk @ self.directions.T) / self._root

    def squared_length(self, deviations: FloatArray) -> FloatArray:
        """Squared Mahalanobis length ``d' P d`` (...) of deviations (..., k)."""
        whitened = deviations * self._root
        return (whitened**2).sum(axis=-1) + (whitened @ self.directions) ** 2 @ self.eigenvalues

    def functional_covariance(self, rows: FloatArray) -> FloatArray:
        """Joint covariance ``J P^-1 J'`` (m, m) of linear functions with coefficients `rows` (m, k)."""
        outside, along = self._split(rows)
        return outside @ outside.T + along @ along.T

    def row_covariance(self, jacobian: FloatArray) -> FloatArray:
        """Joint covariance (n, out, out) of the outputs at each input, given the `jacobian` (n, out, k)."""
        outside, along = self._split(jacobian)
        return outside @ outside.mT + along @ along.mT

    def variance(self) -> FloatArray:
        """Marginal variances (k,), in O(k r) but for weights that the directions determine almost fully."""
        outside = 1.0 - (self.directions**2).sum(axis=1)
        cancelled = np.flatnonzero(outside < CANCELLED)
        for start in range(0, cancelled.size, WEIGHTS_AT_A_TIME):
            weights = cancelled[start : start + WEIGHTS_AT_A_TIME]
            residual = -self.directions[weights] @ self.directions.T
            residual[np.arange(weights.size), weights] += 1.0
            outside[weights] = (residual**2).sum(axis=1)
        return (outside + self.directions**2 @ (1.0 / (1.0 + self.eigenvalues))) / self.prior_precision

    def covariance(self) -> FloatArray:
        """Covariance matrix (k, k)."""
        return self.functional_covariance(np.eye(self.size))

    def precision(self) -> FloatArray:
        """Precision matrix (k, k)."""
        rows = self._data_rows()
        return rows.T @ rows + np.diag(self.prior_precision)

    def factor(self) -> PrecisionFactor:
        """Dense upper triangular factor of the precision: Cholesky where conditioning allows, else QR."""
        factor = factor_gram(self.precision())
        return factor_rows([self._data_rows(), np.diag(self._root)], self.size) if factor is None else factor

    def _data_rows(self) -> FloatArray:
        """Return rows (r, k) whose Gram matrix is the precision less the prior."""
        return (self.directions * self._root[:, None] * np.sqrt(self.eigenvalues)).T

    def _split(self, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return prior-whitened rows (..., k) less their part along the directions, and that part (..., r) shrunk."""
        flat = rows.reshape(-1, self.size) / self._root  # one matrix product instead of one for each input
        along = flat @ self.directions
        outside = flat - along @ self.directions.T
        along /= np.sqrt(1.0 + self.eigenvalues)
        return outside.reshape(rows.shape), along.reshape(*rows.shape[:-1], self.eigenvalues.size)


def prior_root(prior_precision: FloatArray) -> FloatArray:
    """Return the root (k,) of the prior's precision; raise ArgumentError where the prior is flat and has no units."""
    flat = int((~(prior_precision > 0)).sum())
    if flat:
        raise ArgumentError(
            "prior",
            f"precision 0 for {flat} of {prior_precision.size} weights",
            "a NormalPrior with a precision above 0 for every weight, or structure 'full'",
        )
    return np.sqrt(prior_precision)


def low_rank(product: Callable[[FloatArray], FloatArray], prior_precision: FloatArray, rank: int) -> LowRank:
    r"""Keep the directions about which the data say most, in units of the prior.

    The top eigenpairs of :math:`P_0^{-1/2} B'\Lambda B P_0^{-1/2}` by Lanczos, which only multiplies: of its rank the
    best update of the prior (Spantini et al. 2015, SIAM J. Sci. Comput. 37, A2451). At a `rank` of k - 1 or more the
    matrix is formed and decomposed instead.

    Parameters
    ----------
    product : callable (k, m) -> (k, m)
        Multiplies the data part of the precision, without the prior, with columns.
    prior_precision : ndarray (k,)
        Above 0.
    rank : int
        How many directions to keep, at least 1; from k on the precision is exact.

    Returns
    -------
    LowRank
        Largest eigenvalue first; without the eigenvalues that are rounding errors of the largest.

    Raises
    ------
    ArgumentError
        If the prior is flat along a weight, or `rank` is not a positive integer.

    Examples
    --------
    >>> A = np.array([[3.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]])
    >>> low_rank(lambda columns: A.T @ (A @ columns), np.ones(4), rank=2).eigenvalues.round(12).tolist()
    [9.0, 2.0]
    """
    rank = integer_at_least("rank", rank, 1)
    root = prior_root(prior_precision)
    size = root.size
    if rank >= size - 1:
        whitened = product(np.diag(1.0 / root)) / root[:, None]
        eigenvalues, directions = eigh(0.5 * (whitened + whitened.T))
    else:
        eigenvalues, directions = _top_eigenpairs(product, root, rank)
    order = np.argsort(-eigenvalues)[:rank]
    order = order[eigenvalues[order] > np.finfo(float).eps * max(float(eigenvalues.max()), 0.0)]
    return LowRank(prior_precision, eigenvalues[order], directions[:, order])


def _top_eigenpairs(
    product: Callable[[FloatArray], FloatArray], root: FloatArray, rank: int
) -> tuple[FloatArray, FloatArray]:
    def multiply(vector: FloatArray) -> FloatArray:
        whitened = vector.ravel()
        # The whitened precision, not its data part alone: ARPACK refuses a matrix that is zero.
        return whitened + product((whitened / root)[:, None])[:, 0] / root

    operator = LinearOperator((root.size, root.size), matvec=multiply, dtype=np.float64)
    # Symmetric nets have eigenvectors orthogonal to any patterned start; a fixed random one meets them all.
    start = np.random.default_rng(0).standard_normal(root.size)
    values, directions = eigsh(operator, k=rank, which="LA", v0=start)
    return values - 1.0, directions
