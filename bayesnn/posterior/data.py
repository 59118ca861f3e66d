"""Training data, in memory or read a block at a time."""

import mmap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.errors import ArgumentError

# Packages whose arrays slice by rows and may be larger than memory.
OUTSIDE = ("dask", "h5py", "zarr")


@dataclass(frozen=True)
class TrainingData:
    """Inputs and targets of the same rows.

    Arrays in memory are checked, copied and frozen once. Memory maps, and arrays of h5py, zarr and dask, stay where
    they are: each block is read, converted and checked when it is used.

    Parameters
    ----------
    x : ndarray or array-like of rows
        Inputs (n, ...).
    y : ndarray or array-like of rows
        Targets (n, t).
    check_x : callable
        Turns a block of inputs into floats, or raises ArgumentError.
    check_y : callable
        The same for targets, their number, and which rows they are.
    """

    x: Any
    y: Any
    check_x: Callable[[ArrayLike], FloatArray]
    check_y: Callable[[ArrayLike, int, slice], FloatArray]

    @staticmethod
    def of(
        x: ArrayLike, y: ArrayLike, check_x: Callable[[ArrayLike], FloatArray], check_y: Callable[..., FloatArray]
    ) -> "TrainingData":
        """Take data in, checking what is in memory.

        Raises
        ------
        ArgumentError
            If data in memory do not fit, or `x` and `y` have different numbers of rows.
        """
        inputs = x if stays_outside(x) else _frozen(check_x(x))
        n_rows = _count_rows("x", inputs)
        if n_rows == 0:
            raise ArgumentError("x", "no rows", "at least one row")
        targets = y if stays_outside(y) else _frozen(check_y(y, n_rows, slice(0, n_rows)))
        rows_of_y = _count_rows("y", targets)
        if rows_of_y != n_rows:
            raise ArgumentError("y", f"{rows_of_y} rows", f"{n_rows} rows, as many as x")
        data = TrainingData(inputs, targets, check_x, check_y)
        if not data.in_memory:
            data.block(slice(0, 1))  # shapes and types show in the first row already
        return data

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.x.shape[0])

    @property
    def in_memory(self) -> bool:
        """Whether all rows are at hand, checked."""
        return not (stays_outside(self.x) or stays_outside(self.y))

    def block(self, rows: slice) -> tuple[FloatArray, FloatArray]:
        """Return inputs and targets of some rows, checked.

        Raises
        ------
        ArgumentError
            If a block read from outside does not fit or is not finite.
        """
        x, y = self.x[rows], self.y[rows]
        if self.in_memory:
            return x, y
        checked = self.checked(x, y, rows)
        _unmap_pages(self.x)
        _unmap_pages(self.y)
        return checked

    def checked(self, x: Any, y: Any, rows: slice) -> tuple[FloatArray, FloatArray]:
        """Convert and check a block that was read from outside."""
        try:
            inputs = self.check_x(np.asarray(x))
            return inputs, self.check_y(np.asarray(y), len(inputs), rows)
        except ArgumentError as error:
            where = f"{error.got}, in rows {rows.start} to {rows.stop}"
            raise ArgumentError(error.argument, where, error.wants) from None

    def without_arrays(self) -> "TrainingData":
        """Return the checks alone, for a worker that has a block already."""
        return TrainingData(None, None, self.check_x, self.check_y)


def _count_rows(argument: str, array: object) -> int:
    rows = cast("Any", array).shape[0]
    if rows != rows:  # NaN: dask does not know before it has computed
        raise ArgumentError(argument, "a dask array of unknown length", "compute_chunk_sizes() called on it first")
    return int(rows)


def _unmap_pages(array: object) -> None:
    """Let go of the pages of a memory map that were read: they stay in the system's cache, and leave this process."""
    if not isinstance(array, np.memmap) or array.mode not in ("r", "r+"):
        return  # pages of a private map may hold changes that are nowhere else
    pages: Any = getattr(cast("Any", array), "_mmap", None)
    if pages is not None and hasattr(pages, "madvise"):
        pages.madvise(mmap.MADV_DONTNEED)


def stays_outside(array: object) -> bool:
    """Whether an array is read a block at a time: a memory map, or one of h5py, zarr or dask.

    Copies of memory maps, and what is computed from them, have their class and are in memory.
    """
    given = cast("Any", array)
    is_mapped = isinstance(given, np.memmap) and getattr(cast("Any", given), "_mmap", None) is not None
    return is_mapped or type(array).__module__.split(".")[0] in OUTSIDE


def _frozen(array: FloatArray) -> FloatArray:
    """Copy, so that neither the caller nor we can change data a result rests on."""
    copy = np.array(array)
    copy.flags.writeable = False
    return copy
