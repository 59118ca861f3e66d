"""Polyak's constant and weak quasi-convexity over a set: the worst point a search finds."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, finite_array, integer_at_least
from bayesnn.errors import ArgumentError
from bayesnn.landscape.along_path import ROUNDING
from bayesnn.landscape.loss import Loss, loss_of, point_of
from bayesnn.landscape.regions import Region
from bayesnn.posterior import Posterior
from bayesnn.seeds import generator

# Of the budget so much is spent on random points; the rest on descents from the worst of them.
RANDOM_SHARE = 0.5
N_DESCENTS = 4
# A gradient of a ratio takes a Hessian times a vector, by central differences: two evaluations and the point's own.
DIFFERENCE = float(np.finfo(float).eps ** (1.0 / 3.0))
# First length of a descent's step, relative to the spread of the random points; it ends at the last.
FIRST_LENGTH, LAST_LENGTH = 0.1, 1e-9
# Where the gap is less than this share of the largest seen, or of the least loss, ratios are not told from rounding.
LEAST_GAP, LEAST_GAP_OF_LOSS = 1e-13, 1e-10


# Of weights and gradient (k,); and its gradient, which may ask for the Hessian times a vector.
type Numerator = Callable[[FloatArray, FloatArray], float]
type Slope = Callable[[FloatArray, FloatArray, Callable[[FloatArray], FloatArray]], FloatArray]


@dataclass(frozen=True, eq=False)
class WorstFound:
    """The smallest ratio a search found: an upper bound on the constant of the set, which may be smaller.

    Parameters
    ----------
    value : float
        The ratio.
    weights : ndarray (k,)
        Where.
    gap : float
        Loss there, less the least.
    by_random_points : float
        The smallest among the random points alone.
    n_evaluations : int
        Of value and gradient; the cost is theirs, linear in the budget.
    """

    value: float
    weights: FloatArray
    gap: float
    by_random_points: float
    n_evaluations: int


def polyak_over(loss: Loss | Posterior, region: Region, least: float, budget: int = 2000, seed: int = 0) -> WorstFound:
    r"""Search a set for the smallest :math:`|\nabla f|^2 / (f - f^*)`.

    Half of the budget goes to random points, the other half to projected descents of the ratio from the worst of them.
    What is found is an upper bound on the Polyak constant of the set, never a proof of it.

    Parameters
    ----------
    loss : Loss or Posterior
        Of a posterior, minus its log density.
    region : Region
        Such as :class:`Ball`, :class:`Box`, :class:`SpectralBall`, or an object of your own with their methods.
    least : float
        :math:`f^*`.
    budget : int
        Evaluations of value and gradient, at least 10.
    seed : int
        Of the random points.

    Returns
    -------
    WorstFound

    Raises
    ------
    ArgumentError
        If an argument is not as above, or a point of the set is lower than `least`.

    Examples
    --------
    >>> from bayesnn import LogDensity
    >>> from bayesnn.landscape import Ball
    >>> bowl = LogDensity(
    ...     lambda w: -0.5 * w[0] ** 2 - 2.0 * w[1] ** 2, ["a", "b"], gradient=lambda w: -w * np.array([1.0, 4.0])
    ... )
    >>> round(polyak_over(bowl, Ball([0.0, 0.0], 1.0), 0.0).value, 6)
    2.0
    """

    def numerator(w: FloatArray, gradient: FloatArray) -> float:
        return float(gradient @ gradient)

    def slope(w: FloatArray, gradient: FloatArray, times_hessian: Callable[[FloatArray], FloatArray]) -> FloatArray:
        return 2.0 * times_hessian(gradient)

    return _search(loss, region, least, budget, seed, numerator, slope)


def weak_quasi_convexity_over(
    loss: Loss | Posterior,
    region: Region,
    least: float,
    minimizer: ArrayLike,
    budget: int = 2000,
    seed: int = 0,
) -> WorstFound:
    r"""Search a set for the smallest :math:`\langle \nabla f, w - w^* \rangle / (f - f^*)`.

    Parameters
    ----------
    loss, region, least, budget, seed
        As of :func:`polyak_over`.
    minimizer : array_like (k,)
        :math:`w^*`.

    Returns
    -------
    WorstFound
        Negative where descent leads away from :math:`w^*`.

    Raises
    ------
    ArgumentError
        As of :func:`polyak_over`.
    """
    centre = point_of(loss_of(loss), minimizer, "minimizer")

    def numerator(w: FloatArray, gradient: FloatArray) -> float:
        return float(gradient @ (w - centre))

    def slope(w: FloatArray, gradient: FloatArray, times_hessian: Callable[[FloatArray], FloatArray]) -> FloatArray:
        return gradient + times_hessian(w - centre)

    return _search(loss, region, least, budget, seed, numerator, slope)


@dataclass(frozen=True, eq=False)
class _Ratio:
    """The ratio at a point, with what its slope needs."""

    value: float
    gap: float
    weights: FloatArray
    gradient: FloatArray


class _Counted:
    """The loss, evaluated no more often than the budget allows."""

    def __init__(self, loss: Loss, least: float, budget: int, numerator: Numerator) -> None:
        self.loss, self.least, self.left, self.numerator = loss, least, budget, numerator
        self.largest_gap = 0.0

    def gradient(self, w: FloatArray) -> FloatArray:
        self.left -= 1
        return self.loss.value_and_gradient(w)[1]

    def ratio(self, w: FloatArray) -> _Ratio:
        self.left -= 1
        value, gradient = self.loss.value_and_gradient(w)
        gap = value - self.least
        if gap < -ROUNDING * max(abs(self.least), abs(value)):
            raise ArgumentError("least", f"{self.least:g}", f"no more than a value in the region, {value:g}")
        self.largest_gap = max(self.largest_gap, gap) if np.isfinite(gap) else self.largest_gap
        # Near the least loss, and where the loss is not finite, there is no ratio to speak of.
        known = gap > max(LEAST_GAP * self.largest_gap, LEAST_GAP_OF_LOSS * abs(self.least))
        known = known and bool(np.isfinite(gradient).all())
        ratio = self.numerator(w, gradient) / gap if known and np.isfinite(gap) else np.inf
        return _Ratio(ratio, gap, w, gradient)

    def times_hessian(self, w: FloatArray, direction: FloatArray) -> FloatArray:
        length = float(np.linalg.norm(direction))
        if length == 0.0:
            return np.zeros_like(w)
        move = direction * (DIFFERENCE * max(1.0, float(np.linalg.norm(w))) / length)
        return (self.gradient(w + move) - self.gradient(w - move)) * (length / (2.0 * float(np.linalg.norm(move))))


def _search(
    loss: Loss | Posterior,
    region: Region,
    least: float,
    budget: int,
    seed: int,
    numerator: Numerator,
    slope: Slope,
) -> WorstFound:
    loss = loss_of(loss)
    if isinstance(region, type) or not isinstance(region, Region):  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
        raise ArgumentError("region", describe(region), "a Region, such as Ball(centre, radius)")
    total = integer_at_least("budget", budget, 10)
    counted = _Counted(loss, float(finite_array("least", least, (0,), "a number")), total, numerator)
    points = region.sample(generator(seed, "search of a set"), int(RANDOM_SHARE * total))
    if points.ndim != 2 or points.shape[1] != loss.n_weights:
        raise ArgumentError("region", f"points of shape {points.shape[1:]}", f"points of shape ({loss.n_weights},)")
    found = sorted((counted.ratio(w) for w in points), key=lambda r: r.value)
    best = worst_random = found[0]
    if not np.isfinite(best.value):
        raise ArgumentError("region", "no point where the loss is finite and above its least", "a larger set")
    spread = float(np.linalg.norm(points - points.mean(axis=0), axis=1).mean())
    starts = found[:N_DESCENTS]
    for place, start in enumerate(starts):
        reserve = counted.left * (len(starts) - place - 1) // (len(starts) - place)
        end = _descend(counted, region, start, slope, spread, reserve)
        best = min(best, end, key=lambda r: r.value)
    return WorstFound(best.value, best.weights, best.gap, worst_random.value, total - counted.left)


def _descend(
    counted: _Counted,
    region: Region,
    here: _Ratio,
    slope: Slope,
    spread: float,
    reserve: int,
) -> _Ratio:
    """Follow the ratio down within the region, until the steps vanish or all but `reserve` evaluations are spent."""
    length = FIRST_LENGTH * spread
    while counted.left >= reserve + 3 and length > LAST_LENGTH * spread:
        w = here.weights
        of_numerator = slope(w, here.gradient, lambda v, at=w: counted.times_hessian(at, v))
        # d(N / D) = (dN - (N / D) dD) / D, and D = f - f* has the loss's own gradient
        down = of_numerator - here.value * here.gradient
        norm = float(np.linalg.norm(down))
        if norm == 0.0 or not np.isfinite(norm):
            break
        while counted.left > reserve and length > LAST_LENGTH * spread:
            trial = counted.ratio(region.project(w - length * down / norm))
            if trial.value < here.value:
                here, length = trial, 1.5 * length
                break
            length *= 0.5
    return here
