"""Distances of one-dimensional projections of draws from a standard normal."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri

from bayesnn.agreement.null import BAND_LEVEL, Distance
from bayesnn.arrays import FloatArray
from bayesnn.chain_statistics import Layout
from bayesnn.seeds import generator

# Random directions, samples by which the null bands are found, and their largest size; what larger ones would give
# follows from it.
N_DIRECTIONS, N_REPLICATES, LARGEST = 50, 400, 1000
LOG_LOG_OFFSET = 1.17


@dataclass(frozen=True)
class Sliced:
    """Over projections of whitened draws.

    Parameters
    ----------
    w2 : Distance
        Root mean square over the directions of the 2-Wasserstein distance (Bonneel, Rabin, Peyré & Pfister 2015).
    max_ks : Distance
        Largest Kolmogorov-Smirnov distance.
    """

    w2: Distance
    max_ks: Distance


def sliced_distances(z: FloatArray, layout: Layout) -> Sliced:
    r"""Compare projections of whitened draws (chains, draws, k) with a standard normal, along random directions.

    The directions are the same for all draws of as many dimensions. The bands are simulated, by normal samples along
    them of the effective sample size of the projections, or of their squares if that is less. From samples of 1000 to
    larger ones, `s`, the Kolmogorov-Smirnov distance shrinks as :math:`1 / (\sqrt s + 0.12 + 0.11/\sqrt s)` (Stephens
    1970, JRSS B 32, 115), the squared Wasserstein distance as :math:`(\log\log s + c) / s` (del Barrio, Giné & Utzet
    2005, Bernoulli 11, 131) with `c` fitted to simulations.
    """
    along = z @ _directions(z.shape[-1])
    # The least of many estimates would be too small by chance.
    effective = min(float(1.0 / np.mean(1.0 / layout.ess(part, "mean"))) for part in (along, along**2))
    size = max(2, min(round(effective), LARGEST))
    null = _null(z.shape[-1], size) * (_scale(effective) / _scale(size))
    noise, band = np.sqrt(np.mean(null**2, axis=0)), np.quantile(null, 1.0 - BAND_LEVEL, axis=0)
    values = _distances(along.reshape(-1, along.shape[-1]))
    w2, max_ks = (Distance(*(float(part[i]) for part in (values, noise, band))) for i in range(2))
    return Sliced(w2, max_ks)


@lru_cache(maxsize=64)
def _directions(k: int) -> FloatArray:
    """Draw unit vectors (k, directions)."""
    if k == 1:
        return np.ones((1, 1))
    directions = generator(k, "sliced directions").standard_normal((k, N_DIRECTIONS))
    return directions / np.linalg.norm(directions, axis=0)


@lru_cache(maxsize=64)
def _null(k: int, size: int) -> FloatArray:
    """Both distances (replicates, 2) of normal samples of a size."""
    random, directions = generator(k, "sliced null", size), _directions(k)
    return np.array([_distances(random.standard_normal((size, k)) @ directions) for _ in range(N_REPLICATES)])


def _scale(size: float) -> FloatArray:
    """How large distances of samples of a size are by chance, each up to a factor (2,)."""
    root = np.sqrt(size)
    return np.array(
        [np.sqrt(np.log(np.log(max(size, 3.0))) + LOG_LOG_OFFSET) / root, 1.0 / (root + 0.12 + 0.11 / root)]
    )


def _distances(along: FloatArray) -> FloatArray:
    """Return sliced W2 and largest KS distance (2,) of projections (s, directions) from a standard normal."""
    ordered = np.sort(np.ascontiguousarray(along.T), axis=-1)
    size = ordered.shape[1]
    ends: FloatArray = np.linspace(0.0, 1.0, size + 1)
    cumulative = ndtr(ordered)
    ks = max(float((cumulative - ends[:-1]).max()), float((ends[1:] - cumulative).max()))
    # Between two ends of the distribution function the normal's quantile has mean m and mean square s.
    edges = np.asarray(ndtri(ends), dtype=np.float64)
    density = np.exp(-0.5 * edges**2) / np.sqrt(2.0 * np.pi)
    edges[[0, -1]] = 0.0  # times a density of 0
    means = size * -np.diff(density)
    squares = 1.0 - size * np.diff(edges * density)
    w2 = (np.einsum("ds,ds->", ordered, ordered) - 2.0 * (ordered @ means).sum()) / ordered.size + squares.mean()
    return np.array([np.sqrt(max(float(w2), 0.0)), ks])
