"""A growth study as a page and figures."""

import os

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesnn.arrays import FloatArray
from bayesnn.files import written_whole
from bayesnn.growth import Growth
from bayesnn.growth.rates import THEORY, medians, medians_seen
from bayesnn.growth.record import OK
from bayesnn.report.figures import DRAWS, GAUSSIAN, QUIET, new_figure
from bayesnn.report.html import make_table, render_page
from bayesnn.tree import library_versions
from bayesnn.version import __version__

# What is shown of each curvature, in words.
SHOWN = {
    "hessian_kl": "KL, nats",
    "hessian_mean_error": "mean, whitened",
    "hessian_covariance_error": "covariance, whitened",
    "hessian_skewness": "skewness",
}
# Size from which PSIS may not be trusted, for any number of draws.
KHAT_LIMIT = 0.7


def write_growth(growth: Growth, path: str | os.PathLike[str], kl: float = 0.05, title: str = "As data grow") -> None:
    """Write the page: whether the Gaussian is approached, how fast, and from which size it is good enough.

    Parameters
    ----------
    growth : Growth
        From :func:`bayesnn.data_growth`.
    path : path-like
        The HTML file, written whole or not at all.
    kl : float
        KL divergence that is good enough, nats.
    title : str
        Heading.
    """
    rates, enough = growth.rates(), growth.good_enough(kl)
    has_learning = any("learning_coefficient" in record.numbers for record in growth.records)
    verdict = {
        "kind": "good" if np.isfinite(enough.n) else "open",
        "sentence": f"KL {kl:g} nats: {enough.sentence}.",
    }
    if has_learning and growth.is_singular:
        verdict = {
            "kind": "bad",
            "sentence": "Singular: the learning coefficient stays well below a regular model's at every size whose "
            "chains agree. No amount of data makes these weights Gaussian; predictions may still be.",
        }
    names = ("n", "replicate", "status", "verdict", "KL", "k-hat", "R-hat")
    cells = [
        [str(r.n), str(r.replicate), r.message or r.status, r.verdict]
        + [f"{r.numbers.get(name, np.nan):.3g}" for name in ("hessian_kl", "hessian_pareto_k", "rhat")]
        for r in growth.records
    ]
    slopes = [
        [
            name,
            f"{r.slope:.2f}",
            "{:.2f} to {:.2f}".format(*r.slope_interval) if np.isfinite(r.slope_interval).all() else "none",
            f"{r.theory:g}",
            f"{r.holds_from:g}" if np.isfinite(r.holds_from) else "no size",
        ]
        for name, r in rates.items()
    ]
    figures = [("Distances against rows", growth_figure(growth)), ("Marginals narrowing", narrowing_figure(growth))]
    if has_learning:
        figures.append(("Learning coefficient", learning_figure(growth)))
    page = render_page(
        title=title,
        verdict=verdict,
        tables=[
            make_table(
                "Slopes on logarithmic axes", ["distance", "slope", "95 %", "theory", "theory's from n ="], slopes
            ),
            make_table("Cells", list(names), cells),
        ],
        figures=figures,
        settings={"version": __version__, "sizes": [int(n) for n in growth.sizes], "replicates": growth.n_replicates},
        libraries=library_versions(),
    )
    with written_whole(path) as partial:
        partial.write_text(page, encoding="utf-8")


def growth_figure(growth: Growth) -> Figure:
    """Distances against the number of rows on logarithmic axes, with the theory's lines through the largest size."""
    figure, axes = new_figure(11, 7.5, 2, 3)
    sizes, rates = growth.sizes, growth.rates()
    for axis, (name, words) in zip(axes, SHOWN.items(), strict=False):
        for curvature, color in (("hessian", DRAWS), ("ggn", GAUSSIAN)):
            of_curvature = name.replace("hessian", curvature)
            values = growth.values(of_curvature)
            seen = np.where(values > 0.0, values, np.nan)
            label = f"{'Hessian' if curvature == 'hessian' else "B'B"}"
            if of_curvature in rates and np.isfinite(rates[of_curvature].slope):
                label += f", slope {rates[of_curvature].slope:.2f}"
            axis.plot(sizes, seen, ".", color=color, alpha=0.35, ms=5)
            axis.plot(sizes, medians_seen(values), "o-", color=color, ms=4, lw=1.2, label=label)
        shown = medians_seen(growth.values(name))
        _theory(axis, sizes, shown, THEORY[name])
        scale = "log" if np.isfinite(shown).any() else "linear"
        _rows(axis, sizes)
        axis.set(yscale=scale, title=words)
        axis.legend(frameon=False, fontsize=8)
    khat, ratio = axes[4], axes[5]
    khat.plot(sizes, growth.values("hessian_pareto_k"), ".", color=DRAWS, ms=5)
    khat.axhline(KHAT_LIMIT, color=QUIET, ls="--", lw=1)
    khat.set(title="k-hat of importance weights")
    ratio.plot(sizes, growth.values("hessian_worst_sd_ratio"), ".", color=DRAWS, ms=5)
    ratio.axhline(1.0, color=QUIET, lw=1)
    ratio.set(title="sd ratio, worst direction")
    for axis in (khat, ratio):
        _rows(axis, sizes)
    return figure


def narrowing_figure(growth: Growth, replicate: int = 0, count: int = 6) -> Figure:
    """Quantiles of some weights' draws against the number of rows, with the Gaussian's band."""
    records = [r for r in growth.records if r.replicate == replicate and r.status == OK]
    k = len(records[-1].weights) if records else 0
    chosen = np.unique(np.linspace(0, k - 1, min(count, k)).astype(int)) if k else np.array([], dtype=int)
    rows = max(1, -(-len(chosen) // 3))
    figure, axes = new_figure(11, 2.7 * rows, rows, 3)
    sizes = np.array([float(record.n) for record in records])
    weights, sds = np.array([record.weights for record in records]), np.array([record.sds for record in records])
    levels = np.array([record.quantiles for record in records])
    for axis, weight in zip(axes, chosen, strict=False):
        middle, sd = weights[:, weight], sds[:, weight]
        quantiles = levels[:, weight]
        axis.fill_between(
            sizes, middle - 2 * sd, middle + 2 * sd, color=GAUSSIAN, alpha=0.2, lw=0, label="Gaussian, 2 sd"
        )
        axis.plot(sizes, quantiles[:, [0, 4]], "o-", color=DRAWS, ms=3, lw=1)
        axis.plot(sizes, quantiles[:, 2], "o-", color=DRAWS, ms=3, lw=1.4, label="draws: 2.3, 50, 97.7 %")
        _rows(axis, sizes)
        axis.set_title(records[-1].weight_names[int(weight)])
    for axis in axes[len(chosen) :]:
        axis.set_visible(False)
    if k:
        axes[0].legend(frameon=False, fontsize=8)
    return figure


def learning_figure(growth: Growth) -> Figure:
    """Learning coefficients against the number of rows, with half of the number of weights."""
    figure, (axis,) = new_figure(5.5, 3.8)
    found = growth.learning_coefficient()
    values = np.asarray(found["learning_coefficient"])
    axis.plot(growth.sizes, values, ".", color=DRAWS, ms=5)
    axis.plot(growth.sizes, medians(values), "o-", color=DRAWS, ms=4, label="estimated")
    regular = medians(np.asarray(found["learning_coefficient_regular"]))
    axis.plot(growth.sizes, regular, "--", color=QUIET, lw=1.2, label="a regular model's, prior felt")
    axis.axhline(float(found["half_of_k"]), color=GAUSSIAN, lw=1.2, label="k / 2: the Gaussian's")
    _rows(axis, growth.sizes)
    axis.set(ylim=(0, None), title="Learning coefficient")
    axis.legend(frameon=False)
    return figure


def _rows(axis: Axes, sizes: FloatArray) -> None:
    """Lay out the axis of rows, where there is nothing to see, too."""
    axis.set(xlim=(0.8 * sizes[0], 1.25 * sizes[-1]), xscale="log", xlabel="rows n")
    axis.set_xticks(sizes, [f"{n:g}" for n in sizes], minor=False)
    axis.minorticks_off()


def _theory(axis: Axes, sizes: FloatArray, middle: FloatArray, slope: float) -> None:
    finite = np.flatnonzero(np.isfinite(middle))
    if len(finite):
        last = finite[-1]
        line = middle[last] * (sizes / sizes[last]) ** slope
        axis.plot(sizes, line, color=QUIET, ls="--", lw=1, label=f"theory, {slope:g}")
