"""The autopsy of the linearized iteration, as a page and a table."""

import os
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from bayesnn.files import written_whole
from bayesnn.optimum import Autopsy, judge_conjectures
from bayesnn.optimum.autopsy import CONTENDERS, Cell
from bayesnn.report.html import make_table, render_page
from bayesnn.tree import library_versions
from bayesnn.version import __version__

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = dict(
    zip(
        (contender.name for contender in CONTENDERS),
        ("#c23b22", "#e08a3c", "#b98900", "#2f6db5", "#6a51a3", "#2c8a4b"),
        strict=True,
    )
)
# Rms residuals beyond this many optima are drawn at the edge.
EDGE = 1e3


def autopsy_table(autopsy: Autopsy) -> Table:
    """Return one row for each network, size and contender, as a rich table."""
    table = Table(title="Started at the optimum, and from random starts", title_justify="left")
    for name in _HEADER:
        table.add_column(name, justify="left" if name in ("network", "rule", "ends") else "right")
    for cell in autopsy.cells:
        table.add_row(*_row(cell))
    return table


def write_autopsy(autopsy: Autopsy, path: str | os.PathLike[str]) -> None:
    """Write the page: verdicts on the blog's conjectures, table and figures.

    Parameters
    ----------
    autopsy : Autopsy
        From :func:`bayesnn.optimum.run_autopsy`.
    path : path-like
        The HTML file, written whole or not at all.
    """
    conjectures = judge_conjectures(autopsy)
    cause = conjectures[-1]
    page = render_page(
        title="Why the linearized iteration cycles",
        verdict={
            "kind": "good" if cause.holds else "open",
            "sentence": f"The cause, {cause.verdict}: {cause.claim}. {cause.evidence}.",
        },
        tables=[
            make_table(
                "Conjectures",
                ["claim", "verdict", "evidence"],
                [[c.claim, c.verdict, c.evidence] for c in conjectures],
            ),
            make_table("All runs", list(_HEADER), [list(_row(cell)) for cell in autopsy.cells]),
        ],
        figures=[
            ("Residual against iteration, started at the optimum", losses_figure(autopsy)),
            ("Orbits of polynomial networks, and eigenvalues at the optimum", orbits_figure(autopsy)),
            ("Success from random starts", success_figure(autopsy)),
        ],
        settings={"version": __version__, "sizes": sorted({cell.n for cell in autopsy.cells})},
        libraries=library_versions(),
    )
    with written_whole(path) as partial:
        partial.write_text(page, encoding="utf-8")


_HEADER = ("network", "n", "rule", "optimum rms", "after 1 step", "at the end", "ends", "successes")


def _row(cell: Cell) -> tuple[str, ...]:
    status, period = cell.from_optimum.status, cell.from_optimum.cycle_period
    return (
        cell.activation,
        str(cell.n),
        cell.contender.name,
        f"{cell.optimum_rms:.4f}",
        f"{cell.from_optimum.rms[min(1, len(cell.from_optimum.rms) - 1)]:.4f}",
        f"{cell.tail_rms:.4f}",
        f"{status} of period {period}" if period else str(status),
        f"{cell.n_success} of {cell.n_starts}",
    )


def _panels(count: int, width: float, height: float) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes: list[Axes] = [figure.add_subplot(1, count, place + 1) for place in range(count)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _legend_below(figure: "Figure", axis: "Axes") -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=8)


def _middle_size(autopsy: Autopsy) -> int:
    sizes = sorted({cell.n for cell in autopsy.cells})
    return sizes[len(sizes) // 2] if len(sizes) < 3 else sizes[1]


def losses_figure(autopsy: Autopsy) -> "Figure":
    """Rms residual over its optimum against iteration, one line a contender, one panel a network."""
    figure, axes = _panels(2, 10, 3.8)
    n = _middle_size(autopsy)
    for axis, activation in zip(axes, ("tanh", "relu"), strict=True):
        for cell in autopsy.cells:
            if cell.n == n and cell.activation == activation:
                ratio = np.minimum(cell.from_optimum.rms / cell.optimum_rms, EDGE)
                ratio = np.concatenate([ratio, np.full(max(0, 25 - len(ratio)), ratio[-1])])[:25]
                if cell.from_optimum.cycle_period:  # a cycle goes on as it went when it was recognised
                    period, known = cell.from_optimum.cycle_period, len(cell.from_optimum.rms)
                    for i in range(known, 25):
                        ratio[i] = ratio[i - period]
                axis.semilogy(ratio, "o-", ms=2.5, lw=1.2, color=COLORS[cell.contender.name], label=cell.contender.name)
        axis.set(title=f"{activation}, n = {n}", xlabel="iteration", ylabel="rms residual / optimum")
    _legend_below(figure, axes[0])
    return figure


def orbits_figure(autopsy: Autopsy) -> "Figure":
    """Scales along the seed's orbit for products of weights, and eigenvalues of the maps at an optimum."""
    figure, (orbit_axis, disc_axis) = _panels(2, 10, 3.8)
    for orbit, color in zip(autopsy.orbits, ("#c23b22", "#2f6db5"), strict=True):
        label = f"{orbit.depth} factors: {orbit.status}"
        orbit_axis.semilogy(np.clip(orbit.scales, 1 / EDGE, EDGE), "o-", ms=4, color=color, label=label)
    orbit_axis.set(title="seed's rule from the optimum of w1 w2 ...", xlabel="iteration", ylabel="weight / optimum")
    orbit_axis.legend(frameon=False)
    angles = np.linspace(0, 2 * np.pi, 200)
    disc_axis.plot(np.cos(angles), np.sin(angles), color="#8a8f98", lw=1)
    n = _middle_size(autopsy)
    for name, marker in (("seed", "x"), ("Gauss-Newton", "o")):
        cell = next(c for c in autopsy.cells if (c.activation, c.n, c.contender.name) == ("tanh", n, name))
        values = cell.map_eigenvalues_at_optimum
        places = (np.clip(values.real, -3, 3), np.clip(values.imag, -3, 3))
        disc_axis.plot(*places, marker, ms=6, mfc="none", color=COLORS[name], label=name)
    disc_axis.set(title=f"eigenvalues at the optimum (tanh, n = {n}; clipped at 3)", aspect="equal")
    disc_axis.legend(frameon=False, loc="upper right")
    return figure


def success_figure(autopsy: Autopsy) -> "Figure":
    """Share of random starts that reach an optimum, by size and contender."""
    figure, axes = _panels(2, 10, 3.4)
    sizes = sorted({cell.n for cell in autopsy.cells})
    width = 0.8 / len(CONTENDERS)
    for axis, activation in zip(axes, ("tanh", "relu"), strict=True):
        for place, contender in enumerate(CONTENDERS):
            shares = [
                cell.n_success / cell.n_starts
                for n in sizes
                for cell in autopsy.cells
                if (cell.activation, cell.n, cell.contender.name) == (activation, n, contender.name)
            ]
            left = np.arange(len(sizes)) + (place - 0.5 * (len(CONTENDERS) - 1)) * width
            axis.bar(left, shares, width, color=COLORS[contender.name], label=contender.name)
        axis.set_xticks(range(len(sizes)), [str(n) for n in sizes])
        axis.set(title=activation, xlabel="rows", ylabel="share of starts", ylim=(0, 1))
    _legend_below(figure, axes[0])
    return figure
