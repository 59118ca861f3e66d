"""Who computes the cells: this process, others beside it, or the workers of dask."""

import warnings
from collections.abc import Callable, Generator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from typing import Any

from bayesnn.checks import describe
from bayesnn.errors import ArgumentError
from bayesnn.executors import n_cores
from bayesnn.sampling import BetterOptimumWarning

# A cell whose worker died beside others is tried alone so many times.
TRIES = 2
WANTS = "'serial', 'process', the address of a dask scheduler, or a concurrent.futures.Executor"
# Seconds to wait for a scheduler.
TIMEOUT = 10


def not_of_better_optima() -> None:
    """Leave out a warning on which cells act: draws are compared with the Gaussian where their chains have gone."""
    warnings.simplefilter("ignore", BetterOptimumWarning)


class _Here(Executor):
    """Computes where it is called."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Compute now."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@dataclass
class Workers:
    """An executor that outlives its workers.

    Parameters
    ----------
    executor : Executor
        At work.
    threads : int
        Share of the cores that each worker may use.
    renew : callable or None
        Makes another executor where one has broken; None where the user brought it.
    """

    executor: Executor
    threads: int
    renew: Callable[[], Executor] | None = None

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Hand work to a worker; what cannot be handed over is a future that has failed."""
        try:
            return self.executor.submit(function, *arguments)
        except BrokenExecutor as error:
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed

    @staticmethod
    def has_died(error: BaseException) -> bool:
        """Whether an error is that of a worker that died: dask's has this name."""
        return isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker"

    def replace(self, error: BaseException) -> None:
        """See to it that there are workers again, or raise the error where nothing can be done."""
        if not isinstance(error, BrokenExecutor):
            return  # dask starts its workers anew
        if self.renew is None:
            raise error
        try:
            # Several cells learn of one death: the first of them has done this.
            self.executor.submit(n_cores).result()
        except BrokenExecutor:
            self.executor.shutdown(wait=False, cancel_futures=True)
            self.executor = self.renew()


def check_executor(executor: object) -> None:
    """Raise ArgumentError if :func:`workers_of` would not know what is asked for."""
    is_named = isinstance(executor, str) and (executor in ("serial", "process") or ":" in executor)
    if not (is_named or isinstance(executor, Executor)):
        raise ArgumentError("executor", describe(executor), WANTS)


@contextmanager
def workers_of(executor: str | Executor) -> Generator[Workers]:
    """Open what a user asks for.

    Parameters
    ----------
    executor : {"serial", "process"}, str or Executor
        This process; as many processes as cores, spawned; the address of a dask scheduler; or an executor, which is
        left open.

    Raises
    ------
    ArgumentError
        If it is none of these, dask is not installed, or nobody answers at the address.
    """
    check_executor(executor)
    if isinstance(executor, Executor):
        count = int(getattr(executor, "_max_workers", 1))
        yield Workers(executor, max(1, n_cores() // max(1, count)))
    elif executor == "serial":
        yield Workers(_Here(), n_cores())
    elif executor == "process":
        count = n_cores()

        def spawned() -> Executor:
            # A forked process would begin with threads of Numba and BLAS that are not there.
            return ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=not_of_better_optima)

        workers = Workers(spawned(), 1, spawned)
        try:
            workers.executor.submit(n_cores).result()
        except BrokenExecutor:
            workers.executor.shutdown(wait=False, cancel_futures=True)
            wants = (
                "processes that can begin: they import the script, whose work must be in a function, called under "
                "`if __name__ == '__main__':`"
            )
            raise ArgumentError("executor", "'process', whose workers died as they began", wants) from None
        try:
            yield workers
        finally:
            workers.executor.shutdown(wait=True, cancel_futures=True)
    else:
        with _client(executor) as client:
            yield Workers(client.get_executor(pure=False), 1)


@contextmanager
def _client(address: str) -> Generator[Any]:
    try:
        distributed = import_module("distributed")
    except ImportError:
        raise ArgumentError("executor", repr(address), "dask: pip install 'dask[array,distributed]'") from None
    try:
        client = distributed.Client(address, timeout=TIMEOUT)
    except (OSError, ValueError) as error:
        wants = "the address of a dask scheduler that answers, such as 'tcp://127.0.0.1:8786'"
        raise ArgumentError("executor", f"{address!r} ({error})", wants) from None
    try:
        yield client
    finally:
        client.close()
