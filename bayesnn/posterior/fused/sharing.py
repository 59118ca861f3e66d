"""How chains are shared out over the cores."""

import os
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numba

from bayesnn.executors import n_cores, split_among_threads

# Multiplications from which a second thread saves more than it costs: OpenMP's threads wait awake for some
# microseconds of work; Python's are woken, which takes a fifth of a millisecond.
WORTH_A_THREAD = 2**15
WORTH_WAKING_ONE = 2**22

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


def share_out(run: Callable[[slice], None], run_shared: Callable[[int], None], n_chains: int, work: int) -> None:
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
    """
    # Asking for the cores takes a microsecond: not for the smallest work.
    parts = 1 if work < WORTH_A_THREAD else min(n_cores(), n_chains, numba.get_num_threads())
    if parts == 1:
        run(slice(0, n_chains))
    elif has_openmp() and _started_in in ([], [os.getpid()]):
        _started_in[:] = [os.getpid()]
        run_shared(parts)
    else:
        split_among_threads(run, n_chains, parts if work >= WORTH_WAKING_ONE else 1)
