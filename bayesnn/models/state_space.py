"""State spaces of one input and one output: matrices, recursions, and windows of a series."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import finite_array, integer_at_least
from bayesnn.errors import ArgumentError

# So few recursions run one after the other in compiled code; more run side by side, a time step at a time.
FEW_CHAINS = 8


@dataclass(frozen=True, eq=False)
class StateSpace:
    """Matrices of ``h[t+1] = A h[t] + B x[t]``, ``y[t] = C h[t] + D x[t]``.

    Parameters
    ----------
    A : ndarray (order, order)
        Companion matrix: ones above the diagonal, last row ``-(a_n, ..., a_1)``.
    B, C : ndarray (order,)
        Last unit vector; coefficients of the numerator.
    D : float
        What passes straight through.
    """

    A: FloatArray
    B: FloatArray
    C: FloatArray
    D: float


def companion(a: FloatArray) -> FloatArray:
    """Companion matrices (..., n, n) of ``z^n + a_1 z^(n-1) + ... + a_n``, a (..., n)."""
    n = a.shape[-1]
    matrix = np.zeros((*a.shape, n))
    matrix[..., :-1, 1:] = np.eye(n - 1)
    matrix[..., -1, :] = -a[..., ::-1]
    return matrix


def windows(inputs: ArrayLike, length: int) -> FloatArray:
    """Cut every window of `length` values out of one long series.

    A window that would begin before the series is left out: no past is made up. Row `i` ends with
    ``inputs[i + length - 1]``.

    Parameters
    ----------
    inputs : array_like (S,)
        The series, evenly spaced in time.
    length : int
        Values of each window, T.

    Returns
    -------
    ndarray (S - T + 1, T)
        A copy: inputs of a :class:`LinearSystem`.

    Raises
    ------
    ArgumentError
        If the series is shorter than a window or a value is not finite.

    Examples
    --------
    >>> windows([1, 2, 3, 4], 3)
    array([[1., 2., 3.],
           [2., 3., 4.]])
    """
    series = finite_array("inputs", inputs, (1,), "one series (S,)")
    width = integer_at_least("length", length, 1)
    if len(series) < width:
        raise ArgumentError("inputs", f"{len(series)} values", f"at least one window of {width}")
    return np.lib.stride_tricks.sliding_window_view(series, width).copy()


def filtered(numerator: FloatArray, denominator: FloatArray, series: FloatArray) -> FloatArray:
    """Run series (..., T) from rest through a filter of polynomials in 1/z."""
    result: FloatArray = lfilter(numerator, denominator, series)
    return result


def solve_recursion(a: FloatArray, drive: FloatArray) -> FloatArray:
    """Solve ``s[t] = drive[t] - a_1 s[t-1] - ... - a_n s[t-n]`` from rest: a (..., n), drive (..., T)."""
    n, length = a.shape[-1], drive.shape[-1]
    each_a, each_drive = a.reshape(-1, n), drive.reshape(-1, length)
    chains = len(each_a)
    if chains <= FEW_CHAINS:
        rows = [filtered(np.ones(1), np.append(1.0, each_a[i]), each_drive[i]) for i in range(chains)]
        return np.stack(rows).reshape(drive.shape)
    solved = np.zeros((n + length, chains))
    oldest_first = np.ascontiguousarray(-each_a[:, ::-1].T)
    solved[n:] = each_drive.T
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(length):
            solved[n + t] += (oldest_first * solved[t : n + t]).sum(axis=0)
    return solved[n:].T.reshape(drive.shape)
