"""Metropolis steps of single hidden units, as they are drawn."""

from typing import NamedTuple

from bayesnn.arrays import BoolArray, FloatArray, IntArray


class UnitSteps(NamedTuple):
    """Steps to try one after the other; every array C-contiguous.

    Parameters
    ----------
    units : ndarray of int (chains, steps)
        Whose weights.
    is_fresh : ndarray of bool (chains, steps)
        Whether the new weights are a draw from the prior; if not, they are the old ones moved.
    moves : ndarray (chains, steps, fan in + bias)
        The draws, or how far the weights are moved; the bias comes last.
    thresholds : ndarray (chains, steps)
        Logarithms of uniform draws.
    """

    units: IntArray
    is_fresh: BoolArray
    moves: FloatArray
    thresholds: FloatArray
