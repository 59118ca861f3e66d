"""Figures of linear systems: poles, transfer functions, descent, and the integrand of weak quasi-convexity."""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from bayesnn.arrays import FloatArray, spread_indices
from bayesnn.landscape.acquiescence import AcquiescentSet
from bayesnn.landscape.quasi_convexity import QuasiConvexity
from bayesnn.landscape.system_descent import SystemDescent
from bayesnn.models import LinearSystem
from bayesnn.report.figures import DRAWS, GAUSSIAN, QUIET, new_figure

# Draws shown as points or curves.
MOST_SHOWN = 400
LINES = (GAUSSIAN, "#3c8d57", "#8a4fa3", "black")


def pole_figure(
    systems: Mapping[str, FloatArray], region: AcquiescentSet, draws: FloatArray | None = None, title: str = "Poles"
) -> Figure:
    """Poles beside the unit circle, and the curves of ``p_a(z) / z^n`` beside the cone that makes them acquiescent.

    Parameters
    ----------
    systems : mapping of str to ndarray (k,)
        Weights by name.
    region : AcquiescentSet
        Its circle and its cone.
    draws : ndarray (S, k), optional
        Posterior draws, shown behind.
    title : str
        Of the poles.

    Returns
    -------
    Figure
    """
    figure, (plane, cone) = new_figure(10, 4.8, 1, 2)
    shown = np.zeros((0, 3)) if draws is None else draws[spread_indices(len(draws), MOST_SHOWN)]
    around = np.linspace(0.0, 2.0 * np.pi, 400)
    plane.plot(np.cos(around), np.sin(around), color=QUIET, lw=1)
    if region.radius < 1.0:
        plane.plot(region.radius * np.cos(around), region.radius * np.sin(around), color=QUIET, ls="--", lw=1)
    if len(shown):
        poles = _system_of(shown[0]).poles(shown).ravel()
        plane.plot(poles.real, poles.imag, ".", color=DRAWS, ms=2.5, alpha=0.25, label="draws")
    far = 1.0
    for (name, weights), color in zip(systems.items(), cycle(LINES), strict=False):
        system = _system_of(weights)
        poles = system.poles(weights)
        plane.plot(poles.real, poles.imag, "x", color=color, ms=7, mew=1.6, label=name)
        curve = region.curve(weights[: system.order])
        cone.plot(curve.real, curve.imag, color=color, lw=1.4, label=name)
        far = max(far, float(curve.real.max()), float(np.abs(curve.imag).max()))
    for weights in shown[:60]:
        curve = region.curve(weights[: _system_of(weights).order], 200)
        cone.plot(curve.real, curve.imag, color=DRAWS, lw=0.5, alpha=0.15)
    right = min(region.t2, 1.3 * far)
    corner = region.t1 / (1.0 + region.t0)
    edge = [(region.t1, -corner), (right, -right / (1.0 + region.t0)), (right, right / (1.0 + region.t0))]
    cone.add_patch(Polygon([*edge, (region.t1, corner)], color=GAUSSIAN, alpha=0.12, lw=0, label="cone of the set"))
    plane.set(aspect="equal", xlabel="real part", ylabel="imaginary part", title=title)
    plane.set(xticks=[-1, -0.5, 0, 0.5, 1], yticks=[-1, -0.5, 0, 0.5, 1])
    words = f"$p(z) / z^n$ on $|z| = {region.radius:g}$"
    cone.set(aspect="equal", xlabel="real part", ylabel="imaginary part", title=words)
    handles, names = plane.get_legend_handles_labels()
    figure.legend(
        [*handles, *cone.patches], [*names, "cone of the set"], loc="outside lower center", ncols=5, frameon=False
    )
    return figure


def transfer_figure(systems: Mapping[str, FloatArray], draws: FloatArray | None = None) -> Figure:
    """Modulus and phase of transfer functions on the unit circle, with the 90 % band of posterior draws.

    Parameters
    ----------
    systems : mapping of str to ndarray (k,)
        Weights by name.
    draws : ndarray (S, k), optional
        Posterior draws.

    Returns
    -------
    Figure
    """
    figure, (modulus, phase) = new_figure(10, 3.8, 1, 2)
    angles = np.linspace(0.0, np.pi, 300)
    z = np.exp(1j * angles)
    if draws is not None:
        drawn = _system_of(draws[0]).transfer_function(draws[spread_indices(len(draws), 10 * MOST_SHOWN)], z)
        turned = np.unwrap(np.angle(drawn), axis=-1)
        for axis, values in ((modulus, np.abs(drawn)), (phase, turned)):
            low, middle, high = np.quantile(values, [0.05, 0.5, 0.95], axis=0)
            axis.fill_between(angles, low, high, color=DRAWS, alpha=0.25, lw=0, label="draws, 90 %")
            axis.plot(angles, middle, color=DRAWS, lw=1.2, label="draws, median")
    for (name, weights), color in zip(systems.items(), cycle(LINES), strict=False):
        response = _system_of(weights).transfer_function(weights, z)
        modulus.plot(angles, np.abs(response), color=color, lw=1.4, label=name)
        phase.plot(angles, np.unwrap(np.angle(response)), color=color, lw=1.4, label=name)
    modulus.set(title="|G|", ylim=(0, None))
    phase.set(title="phase of G, radians")
    for axis in (modulus, phase):
        _circle(axis)
    modulus.legend(frameon=False, fontsize=8)
    return figure


def quasi_convexity_figure(found: QuasiConvexity) -> Figure:
    """Both factors of the integrand of the identity, and the integrand with what τ guarantees."""
    figure, (factor, integrand) = new_figure(10, 3.8, 1, 2)
    factor.plot(found.angles, found.ratio, color=GAUSSIAN, lw=1.5, label=r"$2\,\mathrm{Re}(p/\hat p)$")
    factor.axhline(found.tau, color=QUIET, ls="--", lw=1, label=rf"$\tau$ = {found.tau:.3g}")
    factor.axhline(0.0, color="black", lw=0.8)
    factor.plot([found.angle_of_tau], [found.tau], "o", color=DRAWS, ms=5)
    factor.set(title="Ratio of the denominators")
    integrand.fill_between(
        found.angles, found.ratio * found.gap, color=DRAWS, alpha=0.25, lw=0, label="integrand: mean = inner product"
    )
    integrand.plot(found.angles, found.ratio * found.gap, color=DRAWS, lw=1.2)
    guarantee = "a negative ratio: nothing is guaranteed"
    if found.tau > 0.0:
        integrand.plot(
            found.angles, found.tau * found.gap, color=GAUSSIAN, lw=1.2, label=r"$\tau\,|\hat G - G|^2$, guaranteed"
        )
        guarantee = rf"at least $\tau g$ = {found.tau * found.excess:.3g}"
    integrand.axhline(0.0, color="black", lw=0.8)
    integrand.set(title=f"mean {found.integral:.3g}, {guarantee}")
    for axis in (factor, integrand):
        _circle(axis)
        axis.legend(frameon=False, fontsize=8)
    return figure


def descent_figure(paths: Mapping[str, SystemDescent]) -> Figure:
    """Risk, and length of the gradient, against the number of steps."""
    figure, (risk, gradient) = new_figure(10, 3.8, 1, 2)
    for (name, path), color in zip(paths.items(), cycle(LINES), strict=False):
        risk.plot(np.arange(len(path.risk)), path.risk, color=color, lw=1.4, label=name)
        gradient.plot(np.arange(len(path.gradient_norm)), path.gradient_norm, color=color, lw=1.0, label=name)
    for axis, words in ((risk, "idealised risk"), (gradient, "length of the gradient")):
        axis.set(yscale="log", xlabel="step", title=words)
    risk.legend(frameon=False, fontsize=8)
    return figure


def _system_of(weights: FloatArray) -> LinearSystem:
    return LinearSystem(len(weights) // 2)


def _circle(axis: Axes) -> None:
    axis.set(xlim=(0.0, np.pi), xlabel="angle on the circle, radians")
    axis.set_xticks([0.0, np.pi / 2, np.pi], ["0", "π/2", "π"])
