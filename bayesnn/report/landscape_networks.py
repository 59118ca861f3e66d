"""Landscapes of linear networks as figures."""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure

from bayesnn.landscape import DescentPath, PopulationRisk, ResidualDescent, along_path
from bayesnn.models import DeepLinear
from bayesnn.report.figures import DRAWS, GAUSSIAN, QUIET, new_figure

COLORS = (GAUSSIAN, DRAWS, "#2c8a4b", "#6a51a3")


def rates_figure(descents: Sequence[tuple[str, ResidualDescent]], least: float = 0.0) -> Figure:
    r"""Draw loss, gradient norm and rate against the step, each beside what theory guarantees or implies.

    Guaranteed is :math:`1 - \eta\alpha/2` with the Polyak constant of the ball that the path stays in, implied
    :math:`1 - \eta\alpha_t` with the one measured at each step.

    Parameters
    ----------
    descents : sequence of pairs of str and ResidualDescent
        Names and paths.
    least : float
        Least loss.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, (loss, norm, rate) = new_figure(13, 3.9, 1, 3)
    for color, (name, found) in zip(cycle(COLORS), descents, strict=False):
        path, steps = found.path, np.arange(len(found.path.values))
        measured = along_path(path, least)
        gap = np.where(measured.gap > 0.0, measured.gap, np.nan)
        bound = 1.0 - 0.5 * path.step * found.guaranteed
        loss.semilogy(steps, gap, color=color, lw=1.4, label=name)
        loss.semilogy(steps, gap[0] * bound**steps, color=color, ls="--", lw=1)
        norm.semilogy(steps, path.gradient_norms, color=color, lw=1.4)
        norm.semilogy(steps, np.sqrt(found.guaranteed * gap), color=color, ls="--", lw=1)
        rate.plot(steps[1:], measured.observed_rate, color=color, lw=1.4)
        rate.plot(steps, measured.implied_rate, color="black", ls=":", lw=1)
        rate.axhline(bound, color=color, ls="--", lw=1)
    loss.set(title="loss; dashed: guaranteed at most", xlabel="step", ylabel="f - C")
    norm.set(title="gradient norm; dashed: guaranteed at least", xlabel="step")
    rate.set(title="gap after a step over before; dotted: implied", xlabel="step", ylim=(0.8, 1.0))
    loss.set_ylim(bottom=1e-23)
    loss.legend(frameon=False)
    return figure


def product_figure() -> Figure:
    r"""Draw :math:`(1 - w_1 w_2)^2` and its section along :math:`w_1 = w_2`, which is not convex."""
    risk = PopulationRisk(DeepLinear((1, 1, 1)), [[1.0]])
    figure, (plane, section) = new_figure(9.5, 3.9, 1, 2)
    side = np.linspace(-2.0, 2.0, 161)
    w1, w2 = np.meshgrid(side, side)
    plane.contour(w1, w2, (1.0 - w1 * w2) ** 2, levels=[0.05, 0.3, 1.0, 2.0, 4.0, 8.0], colors=QUIET, linewidths=0.8)
    branch = np.linspace(0.5, 2.0, 60)
    for sign in (1.0, -1.0):
        label = "minima, w1 w2 = 1" if sign > 0.0 else None
        plane.plot(sign * branch, sign / branch, color=GAUSSIAN, lw=2, label=label)
    plane.plot([-1.6, 1.6], [-1.6, 1.6], color=DRAWS, lw=1.4, label="section")
    plane.plot(0.0, 0.0, "o", color="black", ms=4, label="saddle")
    plane.set(aspect="equal", xlabel="w1", ylabel="w2", title="(1 - w1 w2)²")
    plane.legend(framealpha=1.0, edgecolor="white", fontsize=8, loc="upper left")
    line = np.linspace(-1.5, 1.5, 201)
    values = [risk.value_and_gradient(np.array([w, w]))[0] for w in line]
    section.plot(line, values, color=DRAWS, lw=1.6, label="along w1 = w2")
    section.plot([-1.0, 1.0], [0.0, 0.0], "o--", color=GAUSSIAN, ms=5, lw=1, label="chord between two minima")
    section.set(xlabel="w1 = w2", title="section: above its chord, not convex")
    section.legend(frameon=False, fontsize=8)
    return figure


def side_by_side_figure(plain: DescentPath, residual: DescentPath) -> Figure:
    """Draw the losses of a plain and a residual parametrisation of one map, both descended from zero.

    Parameters
    ----------
    plain, residual : DescentPath
        From zero.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, (axis,) = new_figure(5.5, 3.8)
    longest = max(len(plain.values), len(residual.values))
    for path, name, color in ((plain, "plain", DRAWS), (residual, "residual", GAUSSIAN)):
        values = np.concatenate([path.values, np.full(longest - len(path.values), path.values[-1])])
        axis.semilogy(np.maximum(values, 1e-16), color=color, lw=1.6, label=f"{name}: {path.ending}")
    axis.set(xlabel="step", ylabel="loss", title="Both parametrisations from zero")
    axis.legend(frameon=False)
    return figure
