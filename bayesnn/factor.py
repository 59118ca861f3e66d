r"""Triangular factors of precision matrices: factor, never invert.

A precision matrix :math:`P = A'A`, with `A` the stacked rows :math:`[\Lambda^{1/2} B; \sqrt{\mathrm{prior}}]`,
is kept as its upper triangular factor `R`, :math:`P = R'R`. Covariance, draws, log determinants and
distances all follow from triangular solves.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import qr, solve_triangular, svdvals
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs, dtrcon, dtrtri, dtrtrs

from bayesnn.arrays import FloatArray

# Cholesky of A'A loses twice the digits QR of A loses (Golub & Van Loan, 4th ed., 5.3.8). Below this
# reciprocal condition of R (columns scaled to unit length) fewer than half the digits would be left.
CHOLESKY_RCOND_FLOOR = 1e-5
# Units of inputs may differ by twenty digits; a column that is shorter yet than the longest informs nothing.
SHORTEST_COLUMN = 1e-20


@dataclass(frozen=True)
class PrecisionFactor:
    """Upper triangular `R` with precision ``R.T @ R``.

    Parameters
    ----------
    upper : ndarray (k, k)
        The factor, positive diagonal.
    rank : int
        Numerical rank of the stacked rows; below `k` the covariance does not exist.
    method : str
        ``"cholesky"`` or ``"qr"``: how it was obtained.
    """

    upper: FloatArray
    rank: int
    method: str

    @property
    def size(self) -> int:
        """Number of weights, k."""
        return self.upper.shape[0]

    @property
    def is_full_rank(self) -> bool:
        """Whether every direction has finite variance."""
        return self.rank == self.size

    @property
    def precision(self) -> FloatArray:
        """The precision matrix (k, k)."""
        return self.upper.T @ self.upper

    @cached_property
    def scale(self) -> FloatArray:
        """`S` = inverse of `R` (k, k), upper triangular: ``S @ S.T`` is the covariance."""
        return dtrtri(self.upper)[0]

    @property
    def covariance(self) -> FloatArray:
        """The covariance matrix (k, k)."""
        half = dpotri(self.upper)[0]  # its upper triangle; what is below is R's, zero
        whole = half + half.T
        whole.reshape(-1)[:: self.size + 1] *= 0.5
        return whole

    @property
    def log_det(self) -> float:
        """Log determinant of the precision."""
        return 2.0 * float(np.log(np.diag(self.upper)).sum())

    def whiten(self, deviations: FloatArray) -> FloatArray:
        """Turn deviations (..., k) from the mean into standard normal coordinates ``R @ d``."""
        return deviations @ self.upper.T

    def color(self, standard: FloatArray) -> FloatArray:
        """Turn standard normal coordinates (..., k) into deviations ``S @ z``."""
        return standard @ self.scale.T

    def half_solve(self, gradients: FloatArray) -> FloatArray:
        """Solve ``R.T @ x = g`` for each row of `gradients` (..., k); |x| is the length of g in the metric."""
        if gradients.ndim == 1:  # straight to LAPACK: searches do this a thousand times a second
            return dtrtrs(self.upper, gradients, trans=1)[0]
        flat = gradients.reshape(-1, self.size)
        return solve_triangular(self.upper, flat.T, trans="T").T.reshape(gradients.shape)

    def solve(self, gradient: FloatArray) -> FloatArray:
        """Solve ``P @ x = g`` for `gradient` (k,)."""
        return dpotrs(self.upper, gradient)[0]


def _positive_diagonal(upper: FloatArray) -> FloatArray:
    return upper * np.where(np.diag(upper) < 0, -1.0, 1.0)[:, None]


def factor_gram(gram: FloatArray) -> PrecisionFactor | None:
    """Factor an accumulated matrix ``A'A`` by Cholesky, or return None where that would lose the answer.

    Parameters
    ----------
    gram : ndarray (k, k)
        Symmetric, positive semi-definite up to rounding.

    Returns
    -------
    PrecisionFactor or None
        None if `gram` is not positive definite or too ill-conditioned for Cholesky: use
        :func:`factor_rows` on the rows themselves then. Nothing is ever added to the diagonal.
    """
    diagonal = gram.diagonal()
    if not (diagonal > SHORTEST_COLUMN**2 * diagonal.max()).all():
        return None
    scale = np.sqrt(diagonal)
    # Unit columns first (van der Sluis 1969): inputs in odd units are not ill-conditioned.
    upper, failed_at = dpotrf(gram / scale / scale[:, None], overwrite_a=True)
    # LAPACK may pass over a NaN; it has then reached the diagonal.
    if failed_at or not np.isfinite(upper.diagonal()).all() or dtrcon(upper)[0] < CHOLESKY_RCOND_FLOOR:
        return None
    return PrecisionFactor(upper * scale, rank=gram.shape[0], method="cholesky")


def factor_rows(blocks: Iterable[FloatArray], size: int) -> PrecisionFactor:
    """Factor stacked rows by QR, a block at a time, so that memory does not grow with the rows.

    Parameters
    ----------
    blocks : iterable of ndarray (m, k)
        Row blocks of A.
    size : int
        Number of columns, k.

    Returns
    -------
    PrecisionFactor
        With `rank` the number of singular values of the column-scaled rows above
        ``max(rows, k) * eps`` times the largest; columns shorter than 1e-20 of the longest count as zero.
    """
    upper = np.zeros((0, size))
    n_rows = 0
    for block in blocks:
        n_rows += block.shape[0]
        (upper,) = qr(np.vstack([upper, block]), mode="r", check_finite=False)
        upper = upper[:size]
    if upper.shape[0] < size:
        upper = np.vstack([upper, np.zeros((size - upper.shape[0], size))])
    lengths = np.linalg.norm(upper, axis=0)
    heard = lengths > SHORTEST_COLUMN * lengths.max()
    singular = svdvals(np.where(heard, upper / np.where(heard, lengths, 1.0), 0.0))
    threshold = max(n_rows, size) * np.finfo(float).eps * singular[0]
    return PrecisionFactor(_positive_diagonal(upper), rank=int((singular > threshold).sum()), method="qr")
