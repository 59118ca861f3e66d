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
    "hessian_mean_error_by_weights": -0.5,
    "hessian_covariance_error_by_weights": -1.0,
    "hessian_skewness": -0.5,
    "hessian_sliced_w2": -0.5,
    "hessian_kl_leading_order": -1.0,
    "ggn_kl": -1.0,
    "ggn_mean_error": -0.5,
    "ggn_covariance_error": -0.5,
    "ggn_mean_error_by_weights": -0.5,
    "ggn_covariance_error_by_weights": -0.5,
    "rejection_of_independence": -0.5,
}
N_BOOTSTRAP, LEVEL = 1000, 0.95
# Sizes that a slope takes.
LEAST_SIZES = 3
# Replicates that an interval takes.
LEAST_REPLICATES = 2
# By so much slopes of finite sizes differ from those in the limit: 1 / n of the next order.
TOLERANCE = 0.1


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
        95 %, by bootstrap over replicates; NaN of a single one, which has no spread.
    theory : float
        The slope for a regular model.
    n_sizes : int
        Sizes that count.
    holds_from : float
        Smallest size from which on the slope is the theory's, NaN if from none.
    """

    name: str
    slope: float
    intercept: float
    slope_interval: tuple[float, float]
    theory: float
    n_sizes: int
    holds_from: float = np.nan

    @property
    def follows(self) -> bool:
        """Whether the theory's slope is that of all sizes."""
        return _follows(self.slope_interval, self.theory)


def _follows(interval: tuple[float, float], theory: float) -> bool:
    """Whether an interval of the slope has the theory's in it, up to the tolerance, and is clear of no fall at all."""
    low, high = interval
    return bool(low - TOLERANCE <= theory <= high + TOLERANCE and high < 0.0)


def fit_rate(name: str, sizes: FloatArray, values: FloatArray, theory: float, seed: int = 0) -> tuple[Rate, FloatArray]:
    """Fit the slope of one distance.

    Parameters
    ----------
    name : str
        Of the distance.
    sizes : ndarray (s,)
        Rows.
    values : ndarray (s, r)
        The distance; 0 where it is too small to be seen, NaN where it is not known.
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
    count = values.shape[1]
    chosen = generator(seed, "growth bootstrap").integers(0, count, (N_BOOTSTRAP, count))
    again = values[:, chosen].transpose(1, 0, 2)

    def interval_from(first: int) -> tuple[float, float]:
        if count < LEAST_REPLICATES:
            return np.nan, np.nan
        slopes = _lines(sizes[first:], again[:, first:])[:, 1]
        low, high = np.quantile(slopes[np.isfinite(slopes)], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)

    most = np.isfinite(medians_seen(values))
    n_sizes, ((intercept, slope),) = int(most.sum()), _lines(sizes, values[None])
    if not np.isfinite(slope):
        return Rate(name, np.nan, np.nan, (np.nan, np.nan), theory, n_sizes), np.full((N_BOOTSTRAP, 2), np.nan)
    starts = [int(i) for i in np.flatnonzero(most) if most[i:].sum() >= LEAST_SIZES]
    holds = next((float(sizes[i]) for i in starts if _follows(interval_from(i), theory)), np.nan)
    rate = Rate(name, float(slope), float(intercept), interval_from(0), theory, n_sizes, holds)
    return rate, _lines(sizes, again)


def medians(values: FloatArray) -> FloatArray:
    """Median (...) of what is known among values (..., r), NaN where nothing is.

    Examples
    --------
    >>> medians(np.array([[3.0, np.nan, 1.0], [np.nan, np.nan, np.nan]]))
    array([ 2., nan])
    """
    count = (~np.isnan(values)).sum(axis=-1, keepdims=True)
    ordered = np.sort(values, axis=-1)  # NaN go to the end
    ends = [np.take_along_axis(ordered, np.maximum(place, 0), axis=-1) for place in ((count - 1) // 2, count // 2)]
    return np.where(count > 0, 0.5 * (ends[0] + ends[1]), np.nan)[..., 0]


def medians_seen(values: FloatArray) -> FloatArray:
    """Median (...) of distances (..., r) where most of the replicates can be seen, NaN elsewhere.

    Those that cannot are smaller than chance, and have their place below the others.

    Examples
    --------
    >>> medians_seen(np.array([[0.0, 0.3, 0.2], [0.0, 0.0, 0.2]]))
    array([0.2, nan])
    """
    most = (np.isfinite(values) & (values > 0.0)).mean(axis=-1) > 0.5
    return np.where(most, medians(values), np.nan)


def _lines(sizes: FloatArray, values: FloatArray) -> FloatArray:
    """Fit intercepts and slopes (b, 2) to logarithms of medians of distances (b, s, r), where most can be seen."""
    middle = medians_seen(values)
    most = np.isfinite(middle)
    x, y = np.log(sizes), np.log(np.where(most, middle, 1.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        count = np.where(most.sum(axis=1) >= LEAST_SIZES, most.sum(axis=1), np.nan)
        x_mean, y_mean = (most * x).sum(axis=1) / count, y.sum(axis=1) / count
        away = most * (x - x_mean[:, None])
        slopes = (away * y).sum(axis=1) / (away**2).sum(axis=1)
    return np.column_stack([y_mean - slopes * x_mean, slopes])
