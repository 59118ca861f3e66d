"""From a curvature at a point to a precision of the structure asked for."""

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.errors import ArgumentError
from bayesnn.factor import PrecisionFactor, factor_gram, factor_rows
from bayesnn.laplace.structures import (
    BlockDiagonal,
    Diagonal,
    Full,
    LastLayer,
    Structure,
    dual,
    layer_slices,
    low_rank,
)
from bayesnn.memory import memory_for_square, memory_present, square_fits
from bayesnn.posterior import Posterior
from bayesnn.posterior.coordinates import LOG_NOISE

CURVATURES = ("ggn", "hessian", "fisher")
STRUCTURES = ("full", "layer", "diag", "lowrank", "last_layer")


def check_memory(structure: str, n_weights: int) -> None:
    """Raise ArgumentError if a full precision would not fit in memory, naming what it takes and what to use instead."""
    if square_fits(n_weights):
        return
    needed, present = memory_for_square(n_weights) / 2**30, memory_present() / 2**30
    raise ArgumentError(
        "structure",
        f"{structure!r} for {n_weights} weights, which takes {needed:.3g} GiB of {present:.3g}",
        "'lowrank', 'diag', 'layer' or 'last_layer' with curvature 'ggn'",
    )


def build_precision(
    posterior: Posterior, weights: FloatArray, curvature: str, structure: str, rank: int, *, along: str = ""
) -> Structure:
    """Build the precision at weights (k,).

    Parameters
    ----------
    posterior : Posterior
        Whose curvature.
    weights : ndarray (k,)
        Where.
    curvature : {"ggn", "hessian", "fisher"}
        Which.
    structure : {"full", "layer", "diag", "lowrank", "last_layer"}
        What to keep of it.
    rank : int
        Directions that ``"lowrank"`` keeps.
    along : str
        What to say of the Hessian's negative direction, if it has one.

    Raises
    ------
    ArgumentError
        If the precision is not positive definite, or does not fit in memory.
    """
    if structure == "lowrank":
        return _low_rank(posterior, weights, curvature, rank)
    if structure == "full" and is_dual(posterior, curvature):
        return dual(np.concatenate([*posterior.likelihood_rows(weights)]), posterior.prior_precision)
    if structure == "diag" and curvature == "ggn":
        return _diagonal(posterior, posterior.fisher_diagonal(weights) + posterior.prior_precision, curvature, along)
    places = _places(posterior, structure)
    if structure != "full" and curvature == "ggn":
        grams = posterior.fisher_grams(weights, places)
    else:
        check_memory(structure, posterior.n_weights)
        whole = _whole(posterior, weights, curvature)
        if structure == "diag":
            return _diagonal(posterior, whole.diagonal().copy(), curvature, along)
        grams = [whole[place, place] for place in places]
    factors = tuple(
        _factor(posterior, weights, curvature, gram, place, along) for gram, place in zip(grams, places, strict=True)
    )
    if structure == "full":
        return Full(factors[0])
    if structure == "layer":
        return BlockDiagonal(factors, places)
    return LastLayer(factors[0], places[0], posterior.n_weights)


def _places(posterior: Posterior, structure: str) -> tuple[slice, ...]:
    """Return the weights of each block of the structure."""
    if structure == "full" or structure == "diag":
        return (slice(0, posterior.n_weights),)
    layers = layer_slices(posterior.model.weight_blocks)
    if structure == "layer":
        return layers
    # Noise that is inferred beside the network goes with the layer it follows.
    first = layers[len(layer_slices(posterior.network.weight_blocks)) - 1].start
    return (slice(first, posterior.n_weights),)


def is_dual(posterior: Posterior, curvature: str) -> bool:
    """Whether a full precision is kept in the space of the data: fewer targets than weights, and a proper prior."""
    n_rows = posterior.n_rows * posterior.model.n_outputs
    return curvature == "ggn" and n_rows < posterior.n_weights and bool(np.all(posterior.prior_precision > 0))


def _whole(posterior: Posterior, weights: FloatArray, curvature: str) -> FloatArray:
    if curvature == "ggn":
        return posterior.ggn(weights)
    if curvature == "hessian":
        return posterior.hessian(weights)
    return posterior.scores_gram(weights) + np.diag(posterior.prior_precision)


def _factor(
    posterior: Posterior, weights: FloatArray, curvature: str, gram: FloatArray, place: slice, along: str
) -> PrecisionFactor:
    """Factor one block, by Cholesky where conditioning allows and by QR of its rows where not."""
    factor = factor_gram(gram)
    if factor is None and curvature == "hessian":
        least = float(np.linalg.eigvalsh(gram)[0])
        got = f"'hessian' with smallest eigenvalue {least:.3g}{along}"
        raise ArgumentError("curvature", got, "a certified optimum, or 'ggn'")
    if factor is None:
        rows = posterior.scaled_rows(weights) if curvature == "ggn" else posterior.score_rows(weights)
        factor = factor_rows((block[:, place] for block in rows), gram.shape[0])
    if not factor.is_full_rank:
        raise ArgumentError(
            "prior",
            f"a precision of rank {factor.rank} for {factor.size} weights (rank_deficient)",
            "a NormalPrior, or a model without redundant weights",
        )
    return factor


def _diagonal(posterior: Posterior, diagonal: FloatArray, curvature: str, along: str) -> Diagonal:
    if not np.all(diagonal > 0):
        worst = int(np.argmin(diagonal))
        name = posterior.weight_names[worst]
        if curvature == "hessian":
            got = f"'hessian' with diagonal {diagonal[worst]:.3g} for {name}{along}"
            raise ArgumentError("curvature", got, "a certified optimum, or 'ggn'")
        raise ArgumentError("prior", f"no information on {name} (rank_deficient)", "a NormalPrior")
    return Diagonal(diagonal)


def _low_rank(posterior: Posterior, weights: FloatArray, curvature: str, rank: int) -> Structure:
    if curvature == "hessian":
        raise ArgumentError("curvature", "'hessian' with structure 'lowrank'", "'ggn' or 'fisher'")
    if LOG_NOISE in posterior.weight_names and posterior.prior_precision[posterior.weight_names.index(LOG_NOISE)] == 0:
        got = f"'lowrank' where {LOG_NOISE} has a flat prior"
        raise ArgumentError("structure", got, "Gaussian('infer', log_sigma_prior=...), or structure 'full'")
    if curvature == "ggn":

        def product(columns: FloatArray) -> FloatArray:
            return posterior.fisher_product(weights, columns)
    else:
        check_memory("lowrank", posterior.n_weights)
        scores = posterior.scores_gram(weights)

        def product(columns: FloatArray) -> FloatArray:
            return scores @ columns

    return low_rank(product, posterior.prior_precision, rank)
