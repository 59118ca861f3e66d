"""How chains are shared out over the cores."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from math import inf
from time import perf_counter
from typing import Any

import numba

from bayesnn.executors import n_cores, split_among_threads

# Multiplications from which a second thread saves more than it costs: OpenMP's threads wait awake for some 30
# microseconds of work; Python's are woken, which takes a fifth of a millisecond.
WORTH_A_THREAD = 2**19
WORTH_WAKING_ONE = 2**22

# Where other programs hold the other cores, a call waits for its threads until the operating system gives them a turn:
# milliseconds. A shared call that took so many times as long as one thread alone is not tried again until so many times
# what it took has passed.
TOO_LONG, PAUSE = 2.0, 20.0

# GNU's OpenMP ends a process that was forked from one whose threads had started.
_started_in: list[int] = []


@cache
def has_openmp() -> bool:
    """Whether Numba's OpenMP layer can be loaded and nothing else is asked for."""
    config: Any = import_module("numba.core.config")
    if config.THREADING_LAYER not in ("default", "omp", "threadsafe"):
        return False
    try:
        import_module("numba.np.ufunc.omppool")
    except ImportError:
        return False
    return True


@dataclass
class Pace:
    """How long calls of one density take.

    Parameters
    ----------
    alone : float
        Seconds a multiplication on one thread, the least seen.
    is_warm : bool
        Whether threads were used, so that nothing is compiled and none is started in the next call.
    again : float
        When sharing is worth another try, by `time.perf_counter`.
    """

    alone: float = inf
    is_warm: bool = False
    again: float = 0.0


def share_out(
    run: Callable[[slice], None], run_shared: Callable[[int], None], n_chains: int, work: int, pace: Pace
) -> None:
    """Run a kernel on all chains, on several cores where that is worth it and possible.

    Parameters
    ----------
    run : callable
        Runs some of the chains in this thread.
    run_shared : callable
        Runs all chains on so many threads of OpenMP.
    n_chains : int
        Number of chains.
    work : int
        About how many multiplications they take.
    pace : Pace
        Of this kernel, kept from call to call.
    """
    if work >= WORTH_A_THREAD and not _started_in:
        _started_in[:] = [os.getpid()]  # Numba starts its threads when it is asked how many there are
    # Asking for the cores takes a microsecond: not for the smallest work.
    parts = 1 if work < WORTH_A_THREAD else min(n_cores(), n_chains, numba.get_num_threads())
    if parts == 1:
        run(slice(0, n_chains))
    elif has_openmp() and _started_in == [os.getpid()]:
        _run_timed(run, run_shared, n_chains, work, parts, pace)
    else:
        split_among_threads(run, n_chains, parts if work >= WORTH_WAKING_ONE else 1)


def _run_timed(
    run: Callable[[slice], None], run_shared: Callable[[int], None], n_chains: int, work: int, parts: int, pace: Pace
) -> None:
    if pace.alone == inf:
        run(slice(0, 0))  # what is compiled is not timed
    begin = perf_counter()
    if pace.alone == inf or begin < pace.again:
        run(slice(0, n_chains))
        pace.alone = min(pace.alone, (perf_counter() - begin) / work)
        return
    run_shared(parts)
    end = perf_counter()
    if pace.is_warm and end - begin > TOO_LONG * pace.alone * work:
        pace.again = end + PAUSE * (end - begin)
    pace.is_warm = True
