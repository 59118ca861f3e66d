"""Going on with what was interrupted, whatever made it."""

import os
from pathlib import Path

import xarray as xr

from bayesnn.errors import ArgumentError
from bayesnn.report import write_report
from bayesnn.sampling import sample
from bayesnn.sampling.call import StoredCall
from bayesnn.sampling.store import is_store
from bayesnn.tree import load_tree


def resume(directory: str | os.PathLike[str], *, progress: bool | None = None) -> xr.DataTree:
    """Go on with an interrupted run, to the same results, to the bit, as if it had never been interrupted.

    Parameters
    ----------
    directory : path-like
        The output folder of ``bayesnn run`` or ``bayesnn demo``, or the store of :func:`bayesnn.sample`.
    progress : bool, optional
        Whether to show bars; by default where stderr is a terminal.

    Returns
    -------
    xarray.DataTree
        Of a finished run, what it left.

    Raises
    ------
    ArgumentError
        If the folder holds no run, its files are damaged, its data have changed, or part of it is a script's own code,
        such as a :class:`bayesnn.LogDensity`: the script itself must be run again then, and goes on.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from bayesnn import MLP, Gaussian, NormalPrior, Posterior, find_optimum, fit_laplace
    >>> x = np.linspace(-1, 1, 30)[:, None]
    >>> post = Posterior(MLP(1, (2,), 1), x, np.sin(3 * x), Gaussian(0.1), NormalPrior(1.0))
    >>> laplace = fit_laplace(post, find_optimum(post, n_starts=4, seed=0))
    >>> store = tempfile.mkdtemp()
    >>> tree = sample(laplace, num_chains=4, num_warmup=50, num_samples=20, store=store)
    >>> resume(store).identical(tree)
    True
    """
    # pydantic is loaded only where a run file is read.
    from bayesnn.job import resume_job
    from bayesnn.job_folder import JobFolder

    folder = JobFolder(directory)
    if folder.is_unfinished:
        return resume_job(directory, progress=progress).tree
    if is_store(directory):
        target, arguments = StoredCall.of(directory).rebuilt()
        return sample(target, **arguments, store=directory, progress=progress)
    if not folder.is_finished:
        wants = "the output folder of `bayesnn run`, or a store of bayesnn.sample"
        raise ArgumentError("directory", f"{Path(directory)}, which holds no run", wants)
    tree = load_tree(folder.results)
    if not folder.report.exists():
        write_report(tree, folder.report)
    return tree
