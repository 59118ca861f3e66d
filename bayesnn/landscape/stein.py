"""Discrete Lyapunov (Stein) equations by doubling."""

from collections.abc import Sequence

import numpy as np

from bayesnn.arrays import FloatArray

# The sum holds twice as many terms as the last power: what is left out is below the square of this.
NEGLIGIBLE = 1e-10
# 2**60 terms: a spectral radius that is below 1 in double precision needs no more.
MOST_DOUBLINGS = 60


def doubled_powers(matrix: FloatArray) -> list[FloatArray] | None:
    """Return ``A, A^2, A^4, ...`` until they are negligible; None where they never are: a spectral radius of 1 or more.

    Parameters
    ----------
    matrix : ndarray (n, n)
        `A`.

    Returns
    -------
    list of ndarray (n, n), or None
    """
    powers = [matrix]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(MOST_DOUBLINGS):
            size = float(np.linalg.norm(powers[-1]))
            if size < NEGLIGIBLE:
                return powers
            if not np.isfinite(size):
                return None
            powers.append(powers[-1] @ powers[-1])
    return None


def solve_stein(left: Sequence[FloatArray], right: Sequence[FloatArray], constant: FloatArray) -> FloatArray:
    """Solve ``X = L X R' + Q``, the sum of ``L^k Q R'^k``, doubling the number of its terms.

    Parameters
    ----------
    left, right : sequence of ndarray (n, n), (m, m)
        :func:`doubled_powers` of `L` and `R`.
    constant : ndarray (n, m)
        `Q`.

    Returns
    -------
    ndarray (n, m)

    References
    ----------
    Smith (1968), Matrix equation XA + BX = C, SIAM J. Applied Mathematics 16.

    Examples
    --------
    >>> half = doubled_powers(np.array([[0.5]]))
    >>> solve_stein(half, half, np.array([[3.0]]))
    array([[4.]])
    """
    solved = constant
    # Where one side's powers end earlier, they make the later terms negligible whatever the other's are.
    for of_left, of_right in zip(left, right, strict=False):
        solved = solved + of_left @ solved @ of_right.T
    return solved
