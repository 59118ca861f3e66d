"""Polyak's constant and weak quasi-convexity along a path, and the rates they imply."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, finite_array
from bayesnn.errors import ArgumentError
from bayesnn.landscape.descent_path import DescentPath

# A loss this near to the least one, relative to its size, is rounding: no ratio is formed with it.
ROUNDING = 8.0 * float(np.finfo(float).eps)


@dataclass(frozen=True, eq=False)
class AlongPath:
    r"""Conditions measured at each point of a path; NaN where the loss is its least up to rounding.

    Parameters
    ----------
    gap : ndarray (t,)
        :math:`f - f^*`.
    polyak : ndarray (t,)
        :math:`\alpha_t = |\nabla f|^2 / (f - f^*)` (Polyak 1963).
    weak_quasi_convexity : ndarray (t,) or None
        :math:`\tau_t = \langle \nabla f, w - w^* \rangle / (f - f^*)`; None without a :math:`w^*`.
    step : float
        Step size of the descent, :math:`\eta`.
    """

    gap: FloatArray
    polyak: FloatArray
    weak_quasi_convexity: FloatArray | None
    step: float

    @property
    def polyak_so_far(self) -> FloatArray:
        """Running minimum (t,) of `polyak`."""
        return np.fmin.accumulate(self.polyak)

    @property
    def weak_quasi_convexity_so_far(self) -> FloatArray | None:
        """Running minimum (t,) of `weak_quasi_convexity`."""
        return None if self.weak_quasi_convexity is None else np.fmin.accumulate(self.weak_quasi_convexity)

    @property
    def least_polyak(self) -> float:
        """Smallest `polyak` of the path; NaN if the path is at the least loss throughout."""
        return float(np.fmin.reduce(self.polyak))

    @property
    def least_weak_quasi_convexity(self) -> float | None:
        """Smallest `weak_quasi_convexity` of the path."""
        return None if self.weak_quasi_convexity is None else float(np.fmin.reduce(self.weak_quasi_convexity))

    @property
    def implied_rate(self) -> FloatArray:
        r""":math:`1 - \eta \alpha_t` (t,): what a step makes of the gap to first order in the step size."""
        return 1.0 - self.step * self.polyak

    @property
    def safe_rate(self) -> FloatArray:
        r""":math:`1 - \eta \alpha_t / 2` (t,): what a step leaves at most, for steps up to 1 over the smoothness."""
        return 1.0 - 0.5 * self.step * self.polyak

    @property
    def observed_rate(self) -> FloatArray:
        """Gap after a step over the gap before it (t - 1,)."""
        return np.where(
            np.isfinite(self.polyak[:-1]), self.gap[1:] / np.where(self.gap > 0, self.gap, 1.0)[:-1], np.nan
        )


def along_path(path: DescentPath, least: float, minimizer: ArrayLike | None = None) -> AlongPath:
    """Measure both conditions at the points of a path.

    Parameters
    ----------
    path : DescentPath
        From :func:`descend`.
    least : float
        The least loss, or the lowest known.
    minimizer : array_like (k,), optional
        Where it is taken: of a set of minimizers the one the path goes to, such as its end.

    Returns
    -------
    AlongPath

    Raises
    ------
    ArgumentError
        If a point of the path is lower than `least` by more than rounding, or a shape is another.

    Examples
    --------
    >>> from bayesnn import LogDensity
    >>> from bayesnn.landscape import descend
    >>> bowl = LogDensity(lambda w: -0.5 * w[0] ** 2, ["a"], gradient=lambda w: -w)
    >>> found = along_path(descend(bowl, [1.0], 0.1, 20), 0.0, [0.0])
    >>> float(round(found.least_polyak, 12)), float(round(found.observed_rate[0], 12))
    (2.0, 0.81)
    """
    if not isinstance(path, DescentPath):  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
        raise ArgumentError("path", describe(path), "a DescentPath, as descend returns")
    lowest = float(finite_array("least", least, (0,), "a number"))
    gap = path.values - lowest
    noise = ROUNDING * abs(lowest)
    if gap.min() < -noise:
        raise ArgumentError("least", f"{lowest:g}", f"no more than the path's lowest value, {path.values.min():g}")
    known = gap > noise
    safe = np.where(known, gap, 1.0)
    polyak = np.where(known, (path.gradients**2).sum(axis=1) / safe, np.nan)
    quasi = None
    if minimizer is not None:
        wants = f"shape ({path.weights.shape[1]},)"
        end = finite_array("minimizer", minimizer, (1,), wants)
        if end.shape != path.weights.shape[1:]:
            raise ArgumentError("minimizer", f"shape {end.shape}", wants)
        quasi = np.where(known, (path.gradients * (path.weights - end)).sum(axis=1) / safe, np.nan)
    return AlongPath(gap, polyak, quasi, path.step)
