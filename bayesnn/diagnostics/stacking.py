"""Weights of a mixture of predictive densities by their leave-one-out score: a concave problem on the simplex."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import bisect

from bayesnn.arrays import FloatArray

# Nats of the summed log score by which the weights may fall short of the best.
GAP = 1e-8
MAX_STEPS = 10_000


@dataclass(frozen=True, eq=False)
class Stacking:
    """The weights that maximise a log score, and how surely they do.

    Parameters
    ----------
    weights : ndarray (m,)
        Summing to 1; 0 for what the best mixture does without.
    score : float
        Summed log density of the mixture, nats.
    gap : float
        The largest amount by which another mixture's score could be higher, nats.
    """

    weights: FloatArray
    score: float
    gap: float


def stack(log_density: FloatArray) -> Stacking:
    r"""Maximise :math:`\sum_i \log \sum_m w_m p_m(y_i)` over the simplex.

    Yao, Vehtari & Gelman (2022), Stacking for non-mixing Bayesian computations, JMLR 23, eq. 3, without their prior for
    the weights. Each step is one of EM, which lowers nothing, and one that moves weight from the worst component in use
    to the best, as far as is best (vertex exchange, Böhning 1986, Metrika 33): this is what reaches weights of 0. The
    score is concave and its slope along component `m` is :math:`n g_m`, where
    :math:`g_m = \tfrac1n \sum_i p_m(y_i) / \sum_l w_l p_l(y_i)`; as :math:`\sum_m w_m g_m = 1`, no mixture is better by
    more than :math:`n (\max_m g_m - 1)`, and the steps end where that is next to nothing.

    Parameters
    ----------
    log_density : ndarray (m, n)
        Log density of each target under each component; finite.

    Returns
    -------
    Stacking

    Examples
    --------
    >>> found = stack(np.log([[0.9, 0.1, 0.9], [0.1, 0.9, 0.1], [0.1, 0.1, 0.1]]))
    >>> found.weights.round(3) + 0.0
    array([0.708, 0.292, 0.   ])
    """
    m, n = log_density.shape
    highest = log_density.max(axis=0)
    density = np.exp(log_density - highest)
    weights = np.full(m, 1.0 / m)
    gap = np.inf
    for _ in range(MAX_STEPS):
        relative = density / (weights @ density)
        slopes = relative.mean(axis=1)
        gap = max(0.0, n * float(slopes.max() - 1.0))
        if gap <= GAP:
            break
        weights = weights * slopes
        weights = _exchanged(weights / weights.sum(), density)
    return Stacking(weights, float(np.log(weights @ density).sum() + highest.sum()), gap)


def _exchanged(weights: FloatArray, density: FloatArray) -> FloatArray:
    """Move weight from the component in use with the least slope to that with the largest."""
    mixed = weights @ density
    slopes = (density / mixed).mean(axis=1)
    best = int(np.argmax(slopes))
    worst = int(np.argmin(np.where(weights > 0.0, slopes, np.inf)))
    difference, most = density[best] - density[worst], float(weights[worst])

    def slope(moved: float) -> float:
        return float((difference / np.maximum(mixed + moved * difference, 0.0)).sum())

    if slope(0.0) <= 0.0:
        return weights
    with np.errstate(divide="ignore"):  # without the worst one a target may have no density at all: slope -inf
        moved = most if slope(most) >= 0.0 else float(bisect(slope, 0.0, most, xtol=1e-16))
    weights = weights.copy()
    weights[best] += moved
    weights[worst] -= moved
    return weights
