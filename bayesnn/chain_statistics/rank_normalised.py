"""Rank-normalised R-hat and effective sample sizes of independent chains."""

from collections.abc import Callable

import numpy as np
from scipy.special import ndtri

from bayesnn.arrays import FloatArray

TAIL = (0.05, 0.95)


def rhat(draws: FloatArray) -> FloatArray:
    """Rank-normalised split R-hat of draws (chains, draws, ...); 1 where all draws are one number."""
    from arviz_stats.base import array_stats  # SciPy's statistics and ArviZ take most of a second: not to sample

    return where_it_varies(draws, lambda values: array_stats.rhat(values, chain_axis=0, draw_axis=1), 1.0)


def ess(draws: FloatArray, method: str = "bulk") -> FloatArray:
    """Effective sample size of draws (chains, draws, ...), by `method` of arviz_stats.

    Where all draws are one number each of them counts: there is nothing to be uncertain about.
    """
    from arviz_stats.base import array_stats

    size = float(draws.shape[0] * draws.shape[1])
    prob = TAIL if method == "tail" else None
    return where_it_varies(
        draws,
        lambda values: array_stats.ess(values, chain_axis=0, draw_axis=1, method=method, prob=prob),
        size,
    )


def where_it_varies(draws: FloatArray, statistic: Callable[[FloatArray], FloatArray], constant: float) -> FloatArray:
    """Compute a statistic (q,) of draws (chains, draws, q) that vary, and `constant` for those that do not.

    Parameters
    ----------
    draws : ndarray (chains, draws, ...)
        Any quantities.
    statistic : callable
        From (chains, draws, q) to (q,).
    constant : float
        What it is where all draws are one number.

    Returns
    -------
    ndarray (...)
    """
    flat = draws.reshape(*draws.shape[:2], -1)
    with np.errstate(invalid="ignore"):
        varies = ~(np.ptp(flat, axis=(0, 1)) == 0)  # what is no number is not constant
    result = np.full(flat.shape[2], constant)
    if varies.any():
        values = np.asarray(statistic(flat[..., varies]), dtype=np.float64)
        result[varies] = values
    return result.reshape(draws.shape[2:])


def normal_scores(draws: FloatArray) -> FloatArray:
    """Replace draws (chains, draws, q) by normal quantiles of their ranks, each quantity by itself.

    Vehtari, Gelman, Simpson, Carpenter & Buerkner (2021), Bayesian Analysis 16, equation 14.
    """
    from scipy.stats import rankdata

    flat = draws.reshape(-1, draws.shape[-1])
    ranks = np.asarray(rankdata(flat, axis=0), dtype=np.float64)
    return ndtri((ranks - 0.375) / (len(flat) + 0.25)).reshape(draws.shape)


def folded(draws: FloatArray) -> FloatArray:
    """Return distances of draws (chains, draws, q) from their medians, which show where chains differ in spread."""
    return np.abs(draws - np.median(draws, axis=(0, 1)))


def halves(draws: FloatArray) -> FloatArray:
    """Cut draws (chains, draws, ...) in time: (2 chains, draws // 2, ...), both halves of a chain side by side."""
    half = draws.shape[1] // 2
    parts = np.stack([draws[:, :half], draws[:, draws.shape[1] - half :]], axis=1)
    return parts.reshape(2 * len(draws), half, *draws.shape[2:])
