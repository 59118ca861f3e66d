"""A growth study from a run file: nested subsamples of its data."""

from pathlib import Path
from tempfile import TemporaryFile

from bayesnn.config import RunConfig
from bayesnn.errors import ArgumentError
from bayesnn.growth import Growth, Subsamples, Twin, data_growth
from bayesnn.growth.study import check_study
from bayesnn.job import load_data, tuned_optimum, untuned_posterior
from bayesnn.report.growth import write_growth
from bayesnn.sampling.ensembles import DEFAULT_CHAINS

# The smallest size where none are given.
FIRST_SIZE = 60


def run_growth(config: RunConfig, *, progress: bool | None = None) -> tuple[Growth, Path]:
    """Run a growth study and write ``growth.html``; records of cells lie beside it, and are not made twice.

    Noise and prior are those of all rows, tuned by the evidence if the run file says so.

    Parameters
    ----------
    config : RunConfig
        Of which ``[growth]``, ``[data]``, ``[model]``, ``[posterior]``, ``[optimum]`` and the numbers of ``[sampling]``
        count.
    progress : bool, optional
        Whether to show bars; by default where stderr is a terminal.

    Returns
    -------
    growth : Growth
    page : pathlib.Path

    Raises
    ------
    ArgumentError
        If data, sizes, executor or folder cannot be used: before the work, but for a dask scheduler that does not
        answer.
    """
    folder = Path(config.output.directory)
    whole = load_data(config, Path())
    data = whole.scaling().apply(whole)
    untuned = untuned_posterior(config, data)
    sizes = config.growth.sizes or doubling(untuned.n_rows)
    sizes = check_study(Subsamples(untuned), sizes, config.growth.executor, config.growth.learning)
    cells = folder / "cells"
    _check_writable(cells)
    posterior, optimum = tuned_optimum(untuned, config, progress)
    found = data_growth(
        Twin(posterior, optimum.weights) if config.growth.twin else Subsamples(posterior),
        sizes,
        config.growth.replicates,
        config.seed,
        config.growth.executor,
        directory=cells,
        num_chains=config.sampling.num_chains or DEFAULT_CHAINS,
        num_warmup=config.sampling.num_warmup,
        num_samples=config.sampling.num_samples,
        n_starts=config.optimum.n_starts,
        learning=config.growth.learning,
        progress=progress,
    )
    page = folder / "growth.html"
    of = f"a synthetic twin of {data.name}" if config.growth.twin else data.name
    write_growth(found, page, config.growth.kl, f"{posterior.network!r} on {of}, as data grow")
    return found, page


def _check_writable(folder: Path) -> None:
    """Make a folder, and refuse one that cannot be written in."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ArgumentError("output.directory", f"{folder} ({error.strerror})", "a folder to write in") from None


def doubling(n_rows: int) -> list[int]:
    """Sizes that double from 60 to all rows.

    Examples
    --------
    >>> doubling(1000)
    [60, 120, 240, 480, 1000]
    """
    sizes = [n_rows]
    while sizes[0] // 2 >= FIRST_SIZE:
        sizes.insert(0, sizes[0] // 2)
    first = [FIRST_SIZE * 2**i for i in range(len(sizes) - 1)]
    return [*first, n_rows]
