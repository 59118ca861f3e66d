"""What chains say of their own convergence: R-hat and effective sample sizes."""

from collections.abc import Callable

import numpy as np
from arviz_stats.base import array_stats

from bayesnn.arrays import FloatArray

TAIL = (0.05, 0.95)


def rhat(draws: FloatArray) -> FloatArray:
    """Rank-normalised split R-hat of draws (chains, draws, ...); 1 where all draws are one number."""
    return _where_it_varies(draws, lambda values: array_stats.rhat(values, chain_axis=0, draw_axis=1), 1.0)


def ess(draws: FloatArray, method: str = "bulk") -> FloatArray:
    """Effective sample size of draws (chains, draws, ...), by `method` of arviz_stats.

    Where all draws are one number each of them counts: there is nothing to be uncertain about.
    """
    size = float(draws.shape[0] * draws.shape[1])
    prob = TAIL if method == "tail" else None
    return _where_it_varies(
        draws,
        lambda values: array_stats.ess(values, chain_axis=0, draw_axis=1, method=method, prob=prob),
        size,
    )


def _where_it_varies(draws: FloatArray, statistic: Callable[[FloatArray], FloatArray], constant: float) -> FloatArray:
    flat = draws.reshape(*draws.shape[:2], -1)
    varies = np.ptp(flat, axis=(0, 1)) > 0
    result = np.full(flat.shape[2], constant)
    if varies.any():
        values = np.asarray(statistic(flat[..., varies]), dtype=np.float64)
        result[varies] = values
    return result.reshape(draws.shape[2:])
