"""Array types and indices shared by the package."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

type FloatArray = NDArray[np.float64]
type IntArray = NDArray[np.int64]
type BoolArray = NDArray[np.bool_]
type ComplexArray = NDArray[np.complex128]
type AnyArray = NDArray[Any]

__all__ = ["AnyArray", "ArrayLike", "BoolArray", "ComplexArray", "FloatArray", "IntArray", "spread_indices"]


def spread_indices(size: int, count: int) -> IntArray:
    """Return at most `count` different indices spread evenly over ``range(size)``, both ends included.

    Examples
    --------
    >>> spread_indices(10, 4).tolist(), spread_indices(2, 4).tolist()
    ([0, 3, 6, 9], [0, 1])
    """
    return np.unique(np.linspace(0, size - 1, min(size, count)).astype(np.int64))
