"""Distances of one-dimensional projections of draws from a standard normal."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from bayesnn.agreement.null import BAND_LEVEL, Distance
from bayesnn.arrays import FloatArray
from bayesnn.chain_statistics import Layout

# Random directions, samples by which the null bands are found, and their largest size; what larger ones would give
# follows from it.
N_DIRECTIONS, N_REPLICATES, LARGEST = 50, 200, 1000
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


def sliced_distances(z: FloatArray, layout: Layout, random: np.random.Generator) -> Sliced:
    r"""Compare projections of whitened draws (chains, draws, k) with a standard normal, along random directions.

    The bands are simulated, by normal samples along the same directions of the effective sample size of the
    projections, or of their squares if that is less. From samples of 1000 to larger ones, `s`, the Kolmogorov-Smirnov distance shrinks as
    :math:`1 / (\sqrt s + 0.12 + 0.11/\sqrt s)` (Stephens 1970, JRSS B 32, 115), the squared Wasserstein distance as
    :math:`(\log\log s + c) / s` (del Barrio, Giné & Utzet 2005, Bernoulli 11, 131) with `c` fitted to simulations.
    """
    k = z.shape[-1]
    directions = random.standard_normal((k, N_DIRECTIONS)) if k > 1 else np.ones((1, 1))
    directions /= np.linalg.norm(directions, axis=0)
    along = z @ directions
    # The least of many estimates would be too small by chance.
    effective = min(float(1.0 / np.mean(1.0 / layout.ess(part, "mean"))) for part in (along, along**2))
    size = max(2, min(round(effective), LARGEST))
    null = np.array([_distances(random.standard_normal((size, k)) @ directions) for _ in range(N_REPLICATES)])
    null *= _scale(effective) / _scale(size)
    noise, band = np.sqrt(np.mean(null**2, axis=0)), np.quantile(null, 1.0 - BAND_LEVEL, axis=0)
    values = _distances(along.reshape(-1, along.shape[-1]))
    w2, max_ks = (Distance(*(float(part[i]) for part in (values, noise, band))) for i in range(2))
    return Sliced(w2, max_ks)


def _scale(size: float) -> FloatArray:
    """How large distances of samples of a size are by chance, each up to a factor (2,)."""
    root = np.sqrt(size)
    return np.array(
        [np.sqrt(np.log(np.log(max(size, 3.0))) + LOG_LOG_OFFSET) / root, 1.0 / (root + 0.12 + 0.11 / root)]
    )


def _distances(along: FloatArray) -> FloatArray:
    """Return sliced W2 and largest KS distance (2,) of projections (s, directions) from a standard normal."""
    ordered = np.sort(along, axis=0)
    size = len(ordered)
    ends = np.arange(size + 1) / size
    cumulative = ndtr(ordered)
    ks = np.maximum(cumulative - ends[:-1, None], ends[1:, None] - cumulative).max(axis=0)
    # Between two ends of the distribution function the normal's quantile has mean m and mean square s.
    edges = ndtri(ends)
    density = np.exp(-0.5 * edges**2) / np.sqrt(2.0 * np.pi)
    edges[[0, -1]] = 0.0  # times a density of 0
    means = size * -np.diff(density)
    squares = 1.0 - size * np.diff(edges * density)
    w2 = (ordered**2 - 2.0 * ordered * means[:, None] + squares[:, None]).mean(axis=0)
    return np.array([np.sqrt(max(float(w2.mean()), 0.0)), float(ks.max())])
