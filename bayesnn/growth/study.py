"""A growth study: sizes times replicates, each cell once."""

import os
import pickle
import warnings
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from bayesnn.checks import describe, integer_at_least
from bayesnn.errors import ArgumentError
from bayesnn.growth.cell import Cell, CellSettings, MakePosterior, run_cell
from bayesnn.growth.growth import Growth
from bayesnn.growth.record import FAILED, OK, OUT_OF_MEMORY, Record
from bayesnn.growth.workers import TRIES, Workers, check_executor, not_of_better_optima, workers_of
from bayesnn.progress import Tick, progress_bar

# The smallest size: an optimum with a certificate needs rows.
LEAST_ROWS = 2
# And the temperature of learning coefficients, 1 / log n, one that is below 1.
LEAST_TO_LEARN = 3


def data_growth(
    make_posterior: MakePosterior,
    sizes: Sequence[int],
    replicates: int = 5,
    seed: int = 0,
    executor: str | Executor = "serial",
    *,
    directory: str | os.PathLike[str] | None = None,
    num_chains: int = 16,
    num_warmup: int = 200,
    num_samples: int = 500,
    n_starts: int = 8,
    learning: bool = False,
    progress: bool | None = None,
) -> Growth:
    """Watch the posterior become Gaussian, or not, as data grow.

    Each cell, one size of one replicate, gets an optimum, its certificate, the Gaussians of both curvatures, draws and
    their comparison. The sizes of a replicate are nested, and each starts where the one before ended.

    Parameters
    ----------
    make_posterior : callable
        From a size and a seed to the posterior, such as :class:`Subsamples` or :class:`Teacher`: the same seed gives
        nested data. For other processes it must be picklable.
    sizes : sequence of int
        Rows, increasing.
    replicates : int
        How many orders of the rows, or draws from the teacher.
    seed : int
        Of everything.
    executor : {"serial", "process"}, str or concurrent.futures.Executor
        Who computes: this process, one process per core, a dask scheduler at an address, or any executor. The records
        are the same.
    directory : path-like, optional
        Where each record is kept, in a file of its own: the same call goes on from there.
    num_chains, num_warmup, num_samples : int
        As of :func:`bayesnn.sample`.
    n_starts : int
        Searches for each optimum.
    learning : bool
        Whether to estimate the learning coefficient of each cell.
    progress : bool, optional
        Whether to show a bar; by default where stderr is a terminal.

    Returns
    -------
    Growth

    Raises
    ------
    ArgumentError
        If sizes do not increase or are too small or large, the executor is not one, or the directory holds records that
        are not whole or of another version.

    Examples
    --------
    >>> from bayesnn import MLP, Gaussian, NormalPrior, Posterior, Subsamples
    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 80)[:, None]
    >>> post = Posterior(MLP(1, (), 1), x, 2 * x, Gaussian(0.5), NormalPrior(1.0))
    >>> found = data_growth(Subsamples(post), [20, 40], replicates=1, num_warmup=50, num_samples=50)
    >>> [record.n for record in found.records], found.records[0].status
    ([20, 40], 'ok')
    """
    sizes = check_study(make_posterior, sizes, executor, learning)
    settings = CellSettings(
        seed=integer_at_least("seed", seed, 0),
        num_chains=integer_at_least("num_chains", num_chains, 2),
        num_warmup=integer_at_least("num_warmup", num_warmup, 0),
        num_samples=integer_at_least("num_samples", num_samples, 4),
        n_starts=integer_at_least("n_starts", n_starts, 1),
        learning=learning,
    )
    replicates = integer_at_least("replicates", replicates, 1)
    folder = None if directory is None else Path(directory)
    study = _Study(make_posterior, sizes, settings, folder)
    with (
        warnings.catch_warnings(),
        workers_of(executor) as workers,
        progress_bar("cells", len(sizes) * replicates, progress) as tick,
    ):
        not_of_better_optima()
        return Growth(tuple(study.run(range(replicates), workers, tick)))


def check_study(
    make_posterior: MakePosterior, sizes: Sequence[int], executor: str | Executor, learning: bool = False
) -> tuple[int, ...]:
    """Return the sizes, or raise ArgumentError: what cannot be made is refused before hours are spent.

    Parameters
    ----------
    make_posterior, sizes, executor, learning
        As of :func:`data_growth`.
    """
    checked = _checked_sizes(sizes)
    if not callable(make_posterior):  # pyright: ignore[reportUnnecessaryComparison] -- public door
        raise ArgumentError("make_posterior", describe(make_posterior), "a callable from size and seed to a Posterior")
    if learning and checked[0] < LEAST_TO_LEARN:
        raise ArgumentError("sizes", str(checked[0]), f"at least {LEAST_TO_LEARN} rows with learning=True")
    make_posterior(checked[-1], 0)
    check_executor(executor)
    if executor == "process" or isinstance(executor, ProcessPoolExecutor):
        _check_travels(make_posterior)
    return checked


def _checked_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    checked = tuple(integer_at_least("sizes", size, LEAST_ROWS) for size in sizes)
    if not checked or any(later <= earlier for earlier, later in pairwise(checked)):
        raise ArgumentError("sizes", describe(sizes), "one or more increasing numbers of rows")
    return checked


def _check_travels(make_posterior: MakePosterior) -> None:
    """Raise ArgumentError if other processes cannot be handed the maker."""
    try:
        pickle.dumps(make_posterior)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        wants = "a function, or an instance of a class, that other processes can import"
        raise ArgumentError("make_posterior", f"{describe(make_posterior)} ({error})", wants) from None


class _Study:
    """The cells of a study, each after the one before it in its replicate."""

    def __init__(
        self, make_posterior: MakePosterior, sizes: tuple[int, ...], settings: CellSettings, directory: Path | None
    ) -> None:
        self._make, self._sizes, self._settings, self._directory = make_posterior, sizes, settings, directory
        self._records: dict[tuple[int, int], Record] = {}
        # Cells that may be computed; those that were under way when a worker died, each of which is tried alone, for
        # nobody knows who did it; and how often a cell that was alone took its worker with it.
        self._ready: deque[_Job] = deque()
        self._suspects: deque[_Job] = deque()
        self._deaths: Counter[str] = Counter()

    def run(self, replicates: range, workers: Workers, tick: Tick) -> list[Record]:
        """Compute what is missing; return all records, by size and replicate."""
        self._tick = tick
        waiting: dict[Future[Record], _Job] = {}
        for replicate in replicates:
            self._go_on(replicate, 0)
        is_trial = False
        try:
            while self._ready or self._suspects or waiting:
                if self._suspects and not waiting:
                    is_trial = True
                    self._submit(self._suspects.popleft(), workers, waiting)
                elif not self._suspects and not (is_trial and waiting):
                    is_trial = False
                    # What is computed where it is handed over has ended then, and is kept before the next one begins.
                    while self._ready and not any(future.done() for future in waiting):
                        self._submit(self._ready.popleft(), workers, waiting)
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    self._finish(future, waiting.pop(future), workers, is_trial)
        finally:
            for future in waiting:
                future.cancel()
        return [self._records[n, replicate] for n in self._sizes for replicate in replicates]

    def _submit(self, job: "_Job", workers: Workers, waiting: dict[Future[Record], "_Job"]) -> None:
        waiting[workers.submit(run_cell, self._make, job.cell, self._settings, job.key, workers.threads)] = job

    def _finish(self, future: Future[Record], job: "_Job", workers: Workers, is_trial: bool) -> None:
        error = future.exception()
        if error is None:
            record = future.result()
            # No file of a cell for which there was no room: with more memory it may live.
            self._keep(record, is_new=not record.message.startswith(OUT_OF_MEMORY))
        elif not workers.has_died(error):
            raise error
        else:
            workers.replace(error)
            self._deaths[job.key] += is_trial
            if self._deaths[job.key] < TRIES:
                self._suspects.append(job)
                return
            message = f"its worker died {1 + TRIES} times ({type(error).__name__})"
            # No file: with more memory, or another machine, it may live.
            self._keep(Record(job.cell.n, job.cell.replicate, job.key, FAILED, message), is_new=False)
        self._go_on(job.cell.replicate, self._sizes.index(job.cell.n) + 1)

    def _go_on(self, replicate: int, index: int) -> None:
        """Find the next cell of a replicate, from a size on, that has no record yet."""
        for n in self._sizes[index:]:
            cell = Cell(n, replicate, self._start_of(n, replicate))
            try:
                key = cell.key(self._make, self._settings)
            except Exception as error:  # whatever a user's maker raises, the rest goes on
                words = f"{type(error).__name__}: {error}"
                self._keep(Record(n, replicate, "", FAILED, words), is_new=False)
                continue
            known = None if self._directory is None else Record.read(self._directory, n, replicate, key)
            if known is None:
                self._ready.append(_Job(cell, key))
                return
            self._keep(known, is_new=False)

    def _start_of(self, n: int, replicate: int) -> tuple[float, ...]:
        """Optimum of the largest size below that ended well."""
        for smaller in reversed(self._sizes[: self._sizes.index(n)]):
            record = self._records[smaller, replicate]
            if record.status == OK:
                return record.weights
        return ()

    def _keep(self, record: Record, is_new: bool) -> None:
        if self._directory is not None and is_new:
            record.write(self._directory)
        self._records[record.n, record.replicate] = record
        self._tick(n=record.n)


class _Job(NamedTuple):
    """A cell, and the key of its record."""

    cell: Cell
    key: str
