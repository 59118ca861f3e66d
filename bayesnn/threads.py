"""BLAS threads held to one while many small matrices are factored.

On matrices of a few hundred rows a second BLAS thread costs more than it gives, and where other processes want the
cores it costs a great deal: both threads wait for each other in busy loops.
One thread also makes results independent of how many the machine has.
"""

from collections.abc import Callable
from contextvars import ContextVar
from functools import cache, wraps

from threadpoolctl import ThreadpoolController

_limited: ContextVar[bool] = ContextVar("limited", default=False)


@cache
def _controller() -> ThreadpoolController:
    # Looking for the loaded libraries takes milliseconds; NumPy's and SciPy's are all loaded by now.
    return ThreadpoolController()


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
            with _controller().limit(limits=1, user_api="blas"):
                return function(*args, **kwargs)
        finally:
            _limited.reset(before)

    return limited
