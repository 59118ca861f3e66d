"""Convergence of the chains of a tree, kept in it."""

import numpy as np
import xarray as xr

from bayesnn.diagnostics.convergence import Convergence, converge
from bayesnn.errors import ArgumentError
from bayesnn.models import nearest_images
from bayesnn.posterior import Posterior
from bayesnn.threads import on_one_blas_thread
from bayesnn.tree import group_of, values_of, weight_matrix


@on_one_blas_thread
def diagnose(tree: xr.DataTree, posterior: Posterior) -> Convergence:
    """Measure the convergence of chains, with no Gaussian to compare them with.

    Function values are judged, and the log density; weights are first folded to the symmetric images nearest to the
    draw of the highest log density. :func:`bayesnn.compare` does the same beside its comparison.

    Parameters
    ----------
    tree : xarray.DataTree
        From :func:`bayesnn.sample`; extended by the group ``convergence``, where :func:`bayesnn.write_report` finds it.
    posterior : Posterior
        What was sampled.

    Returns
    -------
    Convergence

    Raises
    ------
    ArgumentError
        If the tree is of another posterior, or has fewer than 2 chains or 4 draws.

    Examples
    --------
    >>> from bayesnn import MLP, Gaussian, NormalPrior, sample
    >>> x = np.linspace(-1, 1, 40)[:, None]
    >>> post = Posterior(MLP(1, (), 1), x, 2 * x, Gaussian(0.5), NormalPrior(1.0))
    >>> tree = sample(post, start="prior", num_chains=4, num_warmup=100, num_samples=1500, seed=0)
    >>> diagnose(tree, post).has_converged
    True
    """
    draws, blocks = group_of(tree, "posterior"), posterior.model.weight_blocks
    missing = [block.name for block in blocks if block.name not in draws or draws[block.name].shape[2:] != block.shape]
    if missing:
        raise ArgumentError("tree", f"draws without {missing[0]} of {posterior.model!r}", "draws of this posterior")
    weights, lp = weight_matrix(draws, blocks), values_of(tree, "sample_stats", "lp")
    highest = weights.reshape(-1, weights.shape[-1])[int(np.argmax(lp))]
    if not np.isclose(posterior.log_density(highest), lp.max(), rtol=1e-9, atol=1e-6):
        got = f"a log density of {lp.max():.6g} where this posterior has {posterior.log_density(highest):.6g}"
        raise ArgumentError("tree", got, "draws of this posterior")
    convergence = converge(tree, nearest_images(posterior.model, weights, highest, posterior.symmetries)[0])
    tree["convergence"] = xr.DataTree(convergence.to_dataset())
    return convergence
