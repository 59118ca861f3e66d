"""How fast distances shrink: slopes on log axes, with intervals, beside the theory's."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.seeds import generator

# Slopes of the distances for a regular model; those of the whitened covariance depend on the curvature.
THEORY = {
    "hessian_kl": -1.0,
    "hessian_mean_error": -0.5,
    "hessian_covariance_error": -1.0,
    "hessian_skewness": -0.5,
    "hessian_sliced_w2": -0.5,
    "hessian_kl_leading_order": -1.0,
    "ggn_kl": -1.0,
    "ggn_mean_error": -0.5,
    "ggn_covariance_error": -0.5,
    "rejection_of_independence": -0.5,
}
N_BOOTSTRAP, LEVEL = 1000, 0.95
# Sizes at which at least so many replicates count.
LEAST_SIZES = 3


@dataclass(frozen=True)
class Rate:
    """A fitted power law, ``exp(intercept) * n**slope``.

    Parameters
    ----------
    name : str
        Of the distance.
    slope, intercept : float
        Least squares on logarithms of the medians over replicates; NaN where there are too few.
    slope_interval : tuple of float
        95 %, by bootstrap over replicates.
    theory : float
        The slope for a regular model.
    n_sizes : int
        Sizes that count.
    """

    name: str
    slope: float
    intercept: float
    slope_interval: tuple[float, float]
    theory: float
    n_sizes: int

    @property
    def follows(self) -> bool:
        """Whether the theory's slope is within the interval."""
        return bool(self.slope_interval[0] <= self.theory <= self.slope_interval[1])


def fit_rate(name: str, sizes: FloatArray, values: FloatArray, theory: float, seed: int = 0) -> tuple[Rate, FloatArray]:
    """Fit the slope of one distance.

    Parameters
    ----------
    name : str
        Of the distance.
    sizes : ndarray (s,)
        Rows.
    values : ndarray (s, r)
        The distance, NaN or 0 where there is none to be seen.
    theory : float
        Slope for a regular model.
    seed : int
        Of the bootstrap.

    Returns
    -------
    rate : Rate
    lines : ndarray (N_BOOTSTRAP, 2)
        Intercepts and slopes of the bootstrap.
    """
    seen = np.where(values > 0.0, values, np.nan)
    counted = (np.isfinite(seen).mean(axis=1) > 0.5).sum()
    intercept, slope = _line(sizes, seen)
    random, replicates = generator(seed, "growth bootstrap"), values.shape[1]
    lines = np.array([_line(sizes, seen[:, random.integers(0, replicates, replicates)]) for _ in range(N_BOOTSTRAP)])
    if not np.isfinite(slope):
        return Rate(name, np.nan, np.nan, (np.nan, np.nan), theory, int(counted)), lines
    low, high = np.nanquantile(lines[:, 1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Rate(name, slope, intercept, (float(low), float(high)), theory, int(counted)), lines


def _line(sizes: FloatArray, seen: FloatArray) -> tuple[float, float]:
    """Intercept and slope of the logarithms of medians over the replicates at each size where most can be seen."""
    most = np.isfinite(seen).mean(axis=1) > 0.5
    if most.sum() < LEAST_SIZES:
        return np.nan, np.nan
    slope, intercept = np.polyfit(np.log(sizes[most]), np.log(np.nanmedian(seen[most], axis=1)), 1)
    return float(intercept), float(slope)
