"""Who computes the cells: this process, others beside it, or the workers of dask."""

from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing import get_context
from typing import Any

from bayesnn.checks import describe
from bayesnn.errors import ArgumentError
from bayesnn.executors import n_cores

# A cell whose worker died is tried so many times in all.
TRIES = 3
WANTS = "'serial', 'process', the address of a dask scheduler, or a concurrent.futures.Executor"
# Seconds to wait for a scheduler.
TIMEOUT = 10


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
        Makes another executor where one has broken.
    """

    executor: Executor
    threads: int
    renew: Callable[[], Executor] | None = None
    _tries: dict[object, int] = field(default_factory=dict[object, int])

    def submit(self, label: object, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Hand work to a worker; `label` tells what is tried how often."""
        self._tries[label] = self._tries.get(label, 0) + 1
        try:
            return self.executor.submit(function, *arguments)
        except BrokenProcessPool:
            self._replace()
            return self.executor.submit(function, *arguments)

    def may_try_again(self, label: object, error: BaseException) -> bool:
        """Whether work is worth another try: its worker died, and not too often."""
        if not isinstance(error, BrokenProcessPool) and type(error).__name__ != "KilledWorker":
            return False
        return self._tries[label] < TRIES and self._replace()

    def _replace(self) -> bool:
        """Make another executor, if there is a way."""
        if self.renew is None:
            return False
        try:
            # Several cells learn of one death: the first of them has done this.
            self.executor.submit(n_cores).cancel()
        except BrokenProcessPool:
            self.executor.shutdown(wait=False, cancel_futures=True)
            self.executor = self.renew()
        return True


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
    if isinstance(executor, Executor):
        count = int(getattr(executor, "_max_workers", 1))
        yield Workers(executor, max(1, n_cores() // max(1, count)))
    elif executor == "serial":
        yield Workers(_Here(), n_cores())
    elif executor == "process":
        count = n_cores()

        def spawned() -> Executor:
            # A forked process would begin with threads of Numba and BLAS that are not there.
            return ProcessPoolExecutor(count, mp_context=get_context("spawn"))

        workers = Workers(spawned(), 1, spawned)
        try:
            yield workers
        finally:
            workers.executor.shutdown(wait=True, cancel_futures=True)
    elif isinstance(executor, str) and ":" in executor:  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
        with _client(executor) as client:
            yield Workers(client.get_executor(pure=False, retries=TRIES - 1), 1)
    else:
        raise ArgumentError("executor", describe(executor), WANTS)


@contextmanager
def _client(address: str) -> Generator[Any]:
    try:
        distributed = import_module("distributed")
    except ImportError:
        raise ArgumentError("executor", repr(address), "dask: pip install 'bayesnn[dask]'") from None
    try:
        client = distributed.Client(address, timeout=TIMEOUT)
    except (OSError, ValueError) as error:
        wants = "the address of a dask scheduler that answers, such as 'tcp://127.0.0.1:8786'"
        raise ArgumentError("executor", f"{address!r} ({error})", wants) from None
    try:
        yield client
    finally:
        client.close()
