"""Sums over blocks of rows: on the cores of this machine, or by the workers of dask."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from importlib import import_module
from itertools import pairwise
from operator import getitem
from typing import Any

from bayesnn.arrays import FloatArray
from bayesnn.threads import on_one_blas_thread

type Sums = tuple[FloatArray, ...]


def add(left: Sums, right: Sums) -> Sums:
    """Add the parts of two sums."""
    return tuple(a + b for a, b in zip(left, right, strict=True))


_share: ContextVar[int | None] = ContextVar("share", default=None)


def n_cores() -> int:
    """Cores this process may use, or the share of them that :func:`at_most_cores` allows."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = _share.get()
    return there if share is None else max(1, min(there, share))


@contextmanager
def at_most_cores(count: int) -> Generator[None]:
    """Use at most so many cores within the block: others work beside.

    Examples
    --------
    >>> with at_most_cores(1):
    ...     n_cores()
    1
    """
    before = _share.set(count)
    try:
        yield
    finally:
        _share.reset(before)


@on_one_blas_thread
def sum_in_threads(tasks: Iterable[Callable[[], Sums]], workers: int) -> Sums:
    """Sum what the tasks return, in the order of the tasks: the same for any number of threads."""
    results = _in_order(tasks, workers) if workers > 1 else (task() for task in tasks)
    total = next(results)
    for part in results:
        total = add(total, part)
    return total


def _in_order(tasks: Iterable[Callable[[], Sums]], workers: int) -> Iterator[Sums]:
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Sums]] = deque()
        try:
            for task in tasks:
                # A thread begins with NumPy's own error handling and no limit on cores, not with the caller's.
                waiting.append(pool.submit(copy_context().run, task))
                if len(waiting) > workers:  # no more results held than there are threads, and one
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


_pools: dict[int, ThreadPoolExecutor] = {}


def _pool() -> ThreadPoolExecutor:
    """Return threads that stay, because starting them takes longer than small work; a fork begins without any."""
    if os.getpid() not in _pools:
        _pools.clear()
        _pools[os.getpid()] = ThreadPoolExecutor(n_cores(), thread_name_prefix="bayesnn")
    return _pools[os.getpid()]


def split_among_threads(run: Callable[[slice], None], count: int, workers: int) -> None:
    """Call `run` on about equal parts of `count` things, one part here and the others in threads that stay."""
    workers = min(workers, count)
    if workers <= 1:
        run(slice(0, count))
        return
    ends = [count * worker // workers for worker in range(workers + 1)]
    futures = [_pool().submit(run, slice(*pair)) for pair in pairwise(ends[1:])]
    try:
        run(slice(0, ends[1]))
    finally:
        wait(futures)  # they write into arrays of the caller's
    for future in futures:
        future.result()


def is_dask(array: object) -> bool:
    """Whether an array is one of dask's, without importing dask."""
    return type(array).__module__.split(".")[0] == "dask"


def row_chunks(x: Any) -> list[slice]:
    """Return the rows of each chunk of a dask array."""
    ends = [0]
    for size in x.chunks[0]:
        ends.append(ends[-1] + int(size))
    return [slice(start, end) for start, end in pairwise(ends)]


def sum_by_dask(function: Callable[[Any, Any, slice], Sums], x: Any, y: Any) -> Sums:
    """Sum `function` over the chunks of a dask array, where the chunks are.

    Each worker computes the sums of its chunks; pairs are added until one is left.

    Parameters
    ----------
    function : callable
        Takes the inputs and targets of a chunk, and its rows.
    x : dask array (n, ...)
        Chunked along its rows alone.
    y : array (n, t)
        A dask array, or one that slices by rows.
    """
    delayed: Any = import_module("dask").delayed  # optional: whoever hands in a dask array has it
    whole_rows = x.rechunk(dict.fromkeys(range(1, x.ndim), -1)) if x.ndim > 1 else x
    evaluate, combine = delayed(function, pure=False), delayed(add, pure=False)
    # Slicing an array that is not dask's would read it here and now.
    part_of = getitem if is_dask(y) else delayed(getitem, pure=False)
    filled = [rows for rows in row_chunks(whole_rows) if rows.stop > rows.start]
    parts: list[Any] = [evaluate(whole_rows[rows], part_of(y, rows), rows) for rows in filled]
    while len(parts) > 1:
        pairs = [combine(parts[i], parts[i + 1]) for i in range(0, len(parts) - 1, 2)]
        parts = pairs + parts[len(pairs) * 2 :]
    total: Sums = parts[0].compute()
    return total
