"""Building the Gaussian posterior at an optimum."""

import numpy as np

from bayesnn.arrays import ArrayLike, IntArray
from bayesnn.checks import finite_array, integer_at_least, one_of
from bayesnn.errors import ArgumentError
from bayesnn.laplace.laplace import Laplace
from bayesnn.laplace.precision import CURVATURES, STRUCTURES, build_precision, check_memory, is_dual
from bayesnn.optimum import Certificate, Optimum, certify
from bayesnn.posterior import Posterior
from bayesnn.threads import on_one_blas_thread


@on_one_blas_thread
@np.errstate(over="ignore", invalid="ignore")
def fit_laplace(
    posterior: Posterior,
    optimum: Optimum | ArrayLike,
    *,
    curvature: str = "ggn",
    structure: str = "full",
    rank: int = 100,
) -> Laplace:
    """Build the Gaussian posterior at an optimum.

    Parameters
    ----------
    posterior : Posterior
        What to approximate.
    optimum : Optimum or array_like (k,)
        Where to linearize. Unless it is an optimum of this very `posterior`, which has its certificate, the point is
        certified under it; read ``laplace.certificate``.
    curvature : {"ggn", "hessian", "fisher"}
        ``"ggn"``: ``B' Lambda B + prior``, positive definite under a proper prior. ``"hessian"``: the exact one, the
        better Gaussian at a mode. ``"fisher"``: the empirical Fisher information, sum of outer products of the rows'
        gradients, plus the prior.
    structure : {"full", "layer", "diag", "lowrank", "last_layer"}
        What to keep of it: everything; the blocks of the layers; the diagonal; the prior and the `rank` directions
        about which the data say most; the last layer alone, all other weights held fixed (Kristiadi et al. 2020). With
        fewer targets than weights a full GGN is kept in the space of the data; the result is the same.
    rank : int
        Directions that ``"lowrank"`` keeps.

    Returns
    -------
    Laplace

    Raises
    ------
    ArgumentError
        If the precision is singular (flat prior, directions the data leave free) or the Hessian indefinite, or a full
        precision would not fit in memory.

    Examples
    --------
    >>> from bayesnn import MLP, Gaussian, NormalPrior, find_optimum
    >>> x = np.linspace(-1, 1, 30)[:, None]
    >>> post = Posterior(MLP(1, (2,), 1), x, np.sin(3 * x), Gaussian(0.1), NormalPrior(1.0))
    >>> laplace = fit_laplace(post, find_optimum(post, n_starts=4, seed=0))
    >>> laplace.certificate.is_optimum, laplace.predict(x).sd.shape
    (True, (30, 1))
    """
    one_of("curvature", curvature, CURVATURES)
    one_of("structure", structure, STRUCTURES)
    rank = integer_at_least("rank", rank, 1)
    point = optimum.weights if isinstance(optimum, Optimum) else optimum
    mean = posterior.check_weights(finite_array("optimum", point, (1,), f"shape ({posterior.n_weights},)"), batch=False)
    if structure == "full" and not is_dual(posterior, curvature):
        check_memory(structure, posterior.n_weights)
    if isinstance(optimum, Optimum) and optimum.posterior is posterior:
        certificate = optimum.certificate
    else:
        certificate = certify(posterior, mean)
    if not np.isfinite(certificate.gradient_norm):
        raise ArgumentError("optimum", "a point where log density or curvature is not finite", "an optimum")
    mean.flags.writeable = False
    precision = build_precision(posterior, mean, curvature, structure, rank, along=_along(posterior, certificate))
    return Laplace(posterior, mean, precision, curvature, structure, certificate)


def _along(posterior: Posterior, certificate: Certificate) -> str:
    """Name the weights that make up most of the direction of negative curvature."""
    if certificate.negative_direction is None:
        return ""
    most: IntArray = np.argsort(-np.abs(certificate.negative_direction))[:3]
    return " along " + ", ".join(posterior.weight_names[int(i)] for i in most) + " (saddle)"
