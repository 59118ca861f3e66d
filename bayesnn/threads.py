"""BLAS threads held to one while many small matrices are factored.

On matrices of a few hundred rows a second BLAS thread costs more than it gives, and where other processes want the
cores it costs a great deal: both threads wait for each other in busy loops.
One thread also makes results independent of how many the machine has.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from threading import Lock
from typing import Any

import threadpoolctl

_limited: ContextVar[bool] = ContextVar("limited", default=False)


@cache
def _controller() -> threadpoolctl.ThreadpoolController:
    # Looking for the loaded libraries takes milliseconds; NumPy's and SciPy's are all loaded by now.
    return threadpoolctl.ThreadpoolController()


@cache
def _is_of_process() -> bool:
    """Whether limits are of the whole process; those of OpenMP are of each thread."""
    layers = [str(library.get("threading_layer")) for library in _controller().info() if library["user_api"] == "blas"]
    return "openmp" not in layers


class _OneThread:
    """The limit of the whole process: set by the first thread that wants it, lifted by the last."""

    def __init__(self) -> None:
        self._lock, self._holders = Lock(), 0
        self._limit: Any = None

    @contextmanager
    def held(self) -> Generator[None]:
        if not _is_of_process():
            with _controller().limit(limits=1, user_api="blas"):
                yield
            return
        with self._lock:
            if self._holders == 0:
                self._limit = _controller().limit(limits=1, user_api="blas")
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if self._holders == 0:
                    _let_any_thread_set_limits()  # another thread may have set this one
                    self._limit.restore_original_limits()
                    _let_any_thread_set_limits()


def _let_any_thread_set_limits() -> None:
    """From threadpoolctl 3.8 on, what others than the first thread that set a limit ask for is passed over."""
    clear: Any = getattr(getattr(threadpoolctl, "OpenBLASController", None), "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)


_one_thread = _OneThread()


def on_one_blas_thread[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` with one BLAS thread, and give the threads back afterwards.

    Examples
    --------
    >>> @on_one_blas_thread
    ... def double(x):
    ...     return 2 * x
    >>> double(3)
    6
    """

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        if _limited.get():
            return function(*args, **kwargs)  # by a caller: looking again takes longer than small work
        before = _limited.set(True)
        try:
            with _one_thread.held():
                return function(*args, **kwargs)
        finally:
            _limited.reset(before)

    return limited
