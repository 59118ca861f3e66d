"""Acquiescent systems: those whose denominators stay in a cone on a circle."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from bayesnn.arrays import ArrayLike, ComplexArray, FloatArray, IntArray
from bayesnn.checks import finite_array, positive_number
from bayesnn.errors import ArgumentError

# A constraint is a trigonometric polynomial of degree n, with at most 2 n extrema: so many points for each degree, and
# Newton steps from the least of them.
POINTS_PER_DEGREE = 32
NEWTON_STEPS = 6
# A projection ends where no constraint is violated by more.
VIOLATION = 1e-10
ROUNDING = 1e3 * float(np.finfo(float).eps)
MOST_CUTS = 200


@dataclass(frozen=True)
class AcquiescentSet:
    r"""Denominators `a` whose :math:`p_a(z) / z^n` lies in a cone, and in a strip, for every ``|z| = radius``.

    .. math:: \mathcal{C} = \{w : \Re w \ge (1 + t_0) |\Im w|, \; t_1 < \Re w < t_2\}

    The set is convex, its members are stable with spectral radius below `radius`, and between two of its members the
    idealised risk is weakly quasi-convex.

    Parameters
    ----------
    t0, t1, t2 : float
        Of the cone; above 0, and ``t1 < 1 < t2``, for the system without memory to be in it.
    radius : float
        Of the circle, above 0 and at most 1.

    Raises
    ------
    ArgumentError
        If a parameter is out of its range.

    References
    ----------
    Hardt, Ma & Recht (2018), Gradient descent learns linear dynamical systems, JMLR 19.

    Examples
    --------
    Of order 1, those with ``|a| < sin(arctan(1 / (1 + t0)))``:

    >>> region = AcquiescentSet(t0=0.2, t1=0.05, t2=6.0)
    >>> region.contains([0.64]), region.contains([0.641]), region.project([0.9]).round(4)
    (True, False, array([0.6402]))
    """

    t0: float = 0.2
    t1: float = 0.05
    t2: float = 6.0
    radius: float = 1.0

    def __post_init__(self) -> None:
        for name in ("t0", "t1", "t2", "radius"):
            object.__setattr__(self, name, positive_number(name, getattr(self, name)))
        if not self.t1 < 1.0:
            raise ArgumentError("t1", f"{self.t1:g}", "a number below 1")
        if not self.t2 > 1.0:
            raise ArgumentError("t2", f"{self.t2:g}", "a number above 1")
        if not self.radius <= 1.0:
            raise ArgumentError("radius", f"{self.radius:g}", "a number above 0, at most 1")

    @property
    def angle(self) -> float:
        """Half the angle of the cone, radians, below pi / 4."""
        return float(np.arctan(1.0 / (1.0 + self.t0)))

    @property
    def least_quasi_convexity(self) -> float:
        r"""Bound on τ between two members, :math:`2 (t_1 / t_2) \cos\phi \cos 2\phi`.

        The angle alone bounds nothing: the moduli of the two denominators may differ by a factor of
        :math:`t_2 / (t_1 \cos \phi)`.
        """
        return 2.0 * self.t1 / self.t2 * float(np.cos(self.angle) * np.cos(2.0 * self.angle))

    def margin(self, a: ArrayLike) -> float:
        """Distance of the curve of ``p_a(z) / z^n`` from the edge of the cone and the strip; negative outside.

        Parameters
        ----------
        a : array_like (n,)
            Denominator.

        Returns
        -------
        float

        Raises
        ------
        ArgumentError
            If the shape is another or a value is not finite.
        """
        return float(self._minima(_denominator(a))[2].min())

    def contains(self, a: ArrayLike) -> bool:
        """Whether the margin of `a` (n,) is above 0."""
        return self.margin(a) > 0.0

    def curve(self, a: ArrayLike, n_points: int = 512) -> ComplexArray:
        """Evaluate ``p_a(z) / z^n`` at points (n_points,) once around ``|z| = radius``."""
        angles = np.linspace(0.0, 2.0 * np.pi, n_points)
        return 1.0 + self._powers(angles, len(_denominator(a))) @ _denominator(a)

    def project(self, a: ArrayLike) -> FloatArray:
        """Return the member of the closed set nearest to `a` (n,): within 1e-9, and inside to rounding.

        Each constraint is linear in `a` and there is one for every angle: those that are violated most are taken in one
        round after the other, and the point nearest to `a` under all of them found by nonnegative least squares.

        Raises
        ------
        ArgumentError
            If the shape is another or a value is not finite.

        References
        ----------
        Lawson & Hanson (1974), Solving Least Squares Problems, chapter 23 (least distance programming).
        """
        given = _denominator(a)
        # Of a point so far away that it has no more digits, the nearest is not known better.
        allowed = max(VIOLATION, ROUNDING * float(np.linalg.norm(given)))
        point, rows, limits = given, np.zeros((0, len(given))), np.zeros(0)
        for _ in range(MOST_CUTS):
            which, angles, values = self._minima(point)
            violated = values < -allowed
            if not violated.any():
                if point is given:
                    return given
                # The set is convex and 0 has this slack: so much nearer to it, every constraint holds.
                slack = min(float(np.sin(self.angle)), 1.0 - self.t1, self.t2 - 1.0)
                return point * (slack / (slack + max(0.0, -float(values.min()))))
            normals, edges = self._normals[which[violated]], self._edges[which[violated]]
            new = np.real(normals[:, None] * self._powers(angles[violated], len(given)))
            rows = np.vstack([rows, new])
            limits = np.append(limits, edges - normals.real)
            point, active = _nearest(given, rows, limits)
            rows, limits = rows[active], limits[active]
        got = f"a denominator of length {np.linalg.norm(given):.3g}, whose nearest member was not found"
        raise ArgumentError("a", got, f"one that is found in {MOST_CUTS} rounds")

    @property
    def _normals(self) -> ComplexArray:
        """Inner normals of the cone's edge (its mirror image is met at the opposite angle), and of the strip's."""
        edge = (1.0 + 1j * (1.0 + self.t0)) / np.hypot(1.0, 1.0 + self.t0)
        return np.array([edge, 1.0, -1.0], dtype=np.complex128)

    @property
    def _edges(self) -> FloatArray:
        return np.array([0.0, self.t1, -self.t2])

    def _powers(self, angles: FloatArray, n: int) -> ComplexArray:
        """``z^-1, ..., z^-n`` (angles, n) on the circle."""
        inverse = np.asarray(np.exp(-1j * angles) / self.radius, dtype=np.complex128)
        return np.asarray(inverse[:, None] ** np.arange(1, n + 1), dtype=np.complex128)

    def _minima(self, a: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
        """Local minima over the circle of every constraint's slack: which constraint, angle, value."""
        n, lags = len(a), np.arange(1, len(a) + 1)
        size = 2 ** int(np.ceil(np.log2(POINTS_PER_DEGREE * (n + 1))))
        scaled = a / self.radius**lags
        curve = np.fft.fft(np.append(1.0, scaled), size)
        slack = np.real(self._normals[:, None] * curve) - self._edges[:, None]
        low = (slack <= np.roll(slack, 1, axis=1)) & (slack <= np.roll(slack, -1, axis=1))
        which, place = np.nonzero(low)
        spacing = 2.0 * np.pi / size
        from_grid: FloatArray = slack[which, place]
        on_grid: FloatArray = place * spacing
        angles = on_grid
        normals = self._normals[which]
        for _ in range(NEWTON_STEPS):
            waves = np.exp(-1j * angles[:, None] * lags) * scaled
            slope = np.real(normals * (waves @ (-1j * lags)))
            bend = np.real(normals * (waves @ (-1.0 * lags**2)))
            step = np.where(bend > 0.0, -slope / np.where(bend > 0.0, bend, 1.0), 0.0)
            angles = angles + np.clip(step, -spacing, spacing)
        polished: FloatArray = (
            np.real(normals * (1.0 + np.exp(-1j * angles[:, None] * lags) @ scaled)) - self._edges[which]
        )
        better = polished < from_grid
        return which, np.where(better, angles, on_grid), np.where(better, polished, from_grid)


def _denominator(a: ArrayLike) -> FloatArray:
    array = finite_array("a", a, (1,), "a denominator, shape (n,)")
    if array.size == 0:
        raise ArgumentError("a", "shape (0,)", "a denominator, shape (n,), n at least 1")
    return array


def _nearest(given: FloatArray, rows: FloatArray, limits: FloatArray) -> tuple[FloatArray, IntArray]:
    """Return the point nearest to `given` with ``rows @ point >= limits``, and the rows that hold it there."""
    missing = limits - rows @ given
    scale = float(np.abs(missing).max())
    multipliers, _ = nnls(np.vstack([rows.T, missing / scale]), np.append(np.zeros(len(given)), 1.0))
    left = 1.0 - float(missing @ multipliers) / scale
    return given + scale * (rows.T @ multipliers) / left, np.flatnonzero(multipliers > 0.0)
