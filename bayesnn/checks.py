"""Validation at the door: every public function checks its arguments with these."""

import re
from collections.abc import Iterable
from numbers import Integral, Real

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.errors import ArgumentError

# What a class without a repr of its own, or a function, says of where in memory it is.
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def describe(value: object) -> str:
    """Name a value shortly enough for a one-line message."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def stable_repr(part: object) -> str:
    """Return the repr without addresses: the same in every process, for classes that have none of their own, too.

    Examples
    --------
    >>> class Net:
    ...     pass
    >>> stable_repr(Net()) == stable_repr(Net())
    True
    """
    return ADDRESS.sub("", repr(part))


def finite_array(argument: str, value: ArrayLike, ndim: tuple[int, ...], wants: str) -> FloatArray:
    """Convert to a float64 array, refusing other dimensions, non-numbers, NaN and infinity.

    Parameters
    ----------
    argument : str
        Name for the message.
    value : array_like
        What the user passed.
    ndim : tuple of int
        Accepted numbers of dimensions.
    wants : str
        Description of the accepted shape, for the message.

    Returns
    -------
    ndarray of float64
        A C-contiguous copy.

    Raises
    ------
    ArgumentError
        If `value` is not numeric, has another dimension, or holds NaN or infinity.
    """
    try:
        raw = np.asarray(value)
    except ValueError:  # rows of different lengths
        raise ArgumentError(argument, describe(value), f"{wants}, numbers only") from None
    if raw.dtype.kind not in "iuf":  # NumPy would make numbers of "1.0", True and None
        raise ArgumentError(argument, describe(value), f"{wants}, numbers only")
    array = np.array(raw, dtype=np.float64, order="C")
    if array.ndim not in ndim:
        raise ArgumentError(argument, f"shape {array.shape}", wants)
    finite = np.isfinite(array)
    if not finite.all():
        first = tuple(int(i) for i in np.argwhere(~finite)[0])
        count = int((~finite).sum())
        where = f"first at index {first}" if first else "the value itself"
        raise ArgumentError(argument, f"{count} NaN or infinite value(s), {where}", f"{wants}, all finite")
    return array


def positive_number(argument: str, value: object) -> float:
    """Return `value` as float if it is a finite number above 0, else raise ArgumentError."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < np.inf:
        raise ArgumentError(argument, describe(value), "a finite number above 0")
    return float(value)


def integer_at_least(argument: str, value: object, least: int) -> int:
    """Return `value` as int if it is an integer not below `least`, else raise ArgumentError."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise ArgumentError(argument, describe(value), f"an integer of at least {least}")
    return int(value)


def one_of(argument: str, value: object, allowed: Iterable[str]) -> str:
    """Return `value` if it is among `allowed`, else raise ArgumentError listing them."""
    choices = tuple(allowed)
    if not isinstance(value, str) or value not in choices:
        raise ArgumentError(argument, describe(value), "one of " + ", ".join(repr(c) for c in choices))
    return value


def normal_pair(argument: str, value: object, of: str) -> tuple[float, float]:
    """Return mean and standard deviation of a normal prior, two numbers, the second above 0; or raise ArgumentError."""
    wants = f"mean and standard deviation of {of}, two numbers, the second above 0"
    pair = finite_array(argument, np.asarray(value), (1,), wants)
    if pair.shape != (2,) or not pair[1] > 0:
        raise ArgumentError(argument, describe(value), wants)
    return float(pair[0]), float(pair[1])


def probabilities(argument: str, value: ArrayLike, size: int) -> FloatArray:
    """Return `size` numbers, none negative and not all 0, over their sum; or raise ArgumentError."""
    wants = f"{size} numbers, none negative, not all 0"
    weights = finite_array(argument, value, (1,), wants)
    if weights.shape != (size,) or np.any(weights < 0) or not np.any(weights > 0):
        raise ArgumentError(argument, describe(value), wants)
    weights = weights / weights.max()  # whose sum does not overflow
    return weights / weights.sum()
