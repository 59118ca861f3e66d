"""Weak quasi-convexity of the idealised risk between two systems."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.errors import ArgumentError
from bayesnn.landscape.idealised_risk import IdealisedRisk

# Points on the upper half of the circle, doubled until the mean settles.
FEWEST, MOST = 2**10, 2**20
SETTLED = 1e-13
# Change by the last doubling above which the mean is none.
UNSETTLED = 1e-9
# Minima of the ratio over the grid that are refined.
REFINED = 4


@dataclass(frozen=True, eq=False)
class QuasiConvexity:
    r"""Both sides of the identity behind the weak quasi-convexity of the idealised risk `g`, and its constant.

    .. math:: \langle \nabla_a g, \hat a - a \rangle + \langle \nabla_C g, \hat C - C \rangle
        = \frac{1}{2 \pi} \int_0^{2 \pi} 2 \Re \frac{p_a}{p_{\hat a}} \, |\hat G - G|^2 \, dt
        \ge \tau \, g, \quad \tau = 2 \min_t \Re \frac{p_a}{p_{\hat a}}

    Parameters
    ----------
    inner_product : float
        Left side: of the gradient with the way from the target.
    integral : float
        Right side.
    excess : float
        `g` without what passes straight through.
    tau : float
        The constant at this system; not above 0 where the identity promises nothing.
    angle_of_tau : float
        Where on the circle the least ratio is, radians.
    angles : ndarray (m,)
        From 0 to π; the other half of the circle is the mirror image.
    ratio : ndarray (m,)
        :math:`2 \Re (p_a / p_{\hat a})`.
    gap : ndarray (m,)
        :math:`|\hat G - G|^2`.

    References
    ----------
    Hardt, Ma & Recht (2018), Gradient descent learns linear dynamical systems, JMLR 19.
    """

    inner_product: float
    integral: float
    excess: float
    tau: float
    angle_of_tau: float
    angles: FloatArray
    ratio: FloatArray
    gap: FloatArray

    @property
    def measured(self) -> float:
        """The inner product over the excess: the quasi-convexity in this one direction, at least τ; NaN at target."""
        return self.inner_product / self.excess if self.excess > 0.0 else float("nan")


def quasi_convexity(risk: IdealisedRisk, weights: ArrayLike) -> QuasiConvexity:
    """Take both sides of the identity at a system, and the constant.

    Parameters
    ----------
    risk : IdealisedRisk
        Against the target.
    weights : array_like (k,)
        A stable system.

    Returns
    -------
    QuasiConvexity

    Raises
    ------
    ArgumentError
        If the system is unstable, misshaped or not finite, or it or the target is so near to instability that the
        integral cannot be taken.

    Examples
    --------
    >>> found = quasi_convexity(IdealisedRisk([-0.5, 1.0, 0.0]), [0.3, 1.0, 0.0])
    >>> abs(found.inner_product - found.integral) < 1e-12, round(found.tau, 4), round(found.measured, 4)
    (True, 0.7692, 1.7091)
    """
    _, gradient = risk.value_and_gradient(weights)
    w = risk.system.check_weights(weights, batch=False)
    change = w - risk.target
    size, before = FEWEST, np.inf
    while True:
        angles = np.linspace(0.0, np.pi, size + 1)
        ratio, gap = _on_circle(risk, w, angles)
        share = np.full(size + 1, 1.0 / size)
        share[[0, -1]] *= 0.5
        integral = float(share @ (ratio * gap))
        change_of_integral = abs(integral - before)
        if change_of_integral <= SETTLED * abs(integral):
            break
        if size >= MOST:
            if change_of_integral > UNSETTLED * abs(integral):
                radius = max(float(risk.system.spectral_radius(each)) for each in (w, risk.target))
                raise ArgumentError("weights", f"spectral radius {radius:.9g}, or the target's", "one further from 1")
            break
        size, before = 2 * size, integral
    tau, at = _least(risk, w, angles, ratio)
    excess = float(share @ gap)
    return QuasiConvexity(float(gradient[:-1] @ change[:-1]), integral, excess, tau, at, angles, ratio, gap)


def _on_circle(risk: IdealisedRisk, w: FloatArray, angles: FloatArray) -> tuple[FloatArray, FloatArray]:
    n, z = risk.system.order, np.exp(1j * angles)
    of_target, below = np.polyval(np.append(1.0, risk.target[:n]), z), np.polyval(np.append(1.0, w[:n]), z)
    # (c^ - c) / p^ - c (p^ - p) / (p p^): no difference of large numbers near the target
    change = w - risk.target
    top = np.polyval(change[n:-1][::-1], z) * of_target
    top -= np.polyval(risk.target[n:-1][::-1], z) * np.polyval(change[:n], z)
    return 2.0 * np.real(of_target / below), np.abs(top / (of_target * below)) ** 2


def _least(risk: IdealisedRisk, w: FloatArray, angles: FloatArray, ratio: FloatArray) -> tuple[float, float]:
    """Least ratio and its angle, refined from the lowest points of the grid."""
    padded = np.concatenate([[np.inf], ratio, [np.inf]])
    minima = np.flatnonzero((ratio <= padded[:-2]) & (ratio <= padded[2:]))
    minima = minima[np.argsort(ratio[minima])][:REFINED]
    best = int(minima[0])
    tau, at = float(ratio[best]), float(angles[best])
    for place in minima:
        ends = float(angles[max(place - 1, 0)]), float(angles[min(place + 1, len(angles) - 1)])
        found = minimize_scalar(
            lambda angle: float(_on_circle(risk, w, np.array([angle]))[0][0]),
            bounds=ends,
            method="bounded",
            options={"xatol": 1e-10},
        )
        if float(found.fun) < tau:
            tau, at = float(found.fun), float(found.x)
    return tau, at
