"""Figures of the report, each from a tree alone."""

from collections.abc import Callable

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtr
from scipy.stats import chi2, norm, rankdata

from bayesnn.arrays import FloatArray, IntArray, spread_indices
from bayesnn.seeds import generator
from bayesnn.tree import group_of, values_of

GAUSSIAN, DRAWS, QUIET = "#2f6db5", "#d9660f", "#8a8f98"
# Directions drawn as histograms: those where Gaussian and draws differ most.
HISTOGRAMS = 6


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure of so many inches and its axes, row by row."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes: list[Axes] = [figure.add_subplot(rows, columns, place + 1) for place in range(rows * columns)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def predictions_figure(tree: xr.DataTree) -> Figure:
    """Observed against predicted held-out targets, with the sampled 90 % interval, and how often intervals cover."""
    figure, (scatter, coverage) = new_figure(10, 4.2, 1, 2)
    observed = values_of(tree, "predictions_constant_data", "y").ravel()
    drawn = values_of(tree, "predictions", "y")
    drawn = drawn.reshape(-1, observed.size)
    low, middle, high = np.quantile(drawn, [0.05, 0.5, 0.95], axis=0)
    scatter.vlines(middle, np.minimum(low, high), high, color=DRAWS, alpha=0.25, lw=1.2, label="90 % interval")
    scatter.plot(middle, observed, ".", color="black", ms=3.5, label="held-out target")
    span = [min(observed.min(), low.min()), max(observed.max(), high.max())]
    scatter.plot(span, span, color=QUIET, lw=1)
    scatter.set(xlabel="predictive median", ylabel="target", title="Held-out predictions (sampled)")
    scatter.legend(frameon=False, loc="upper left")
    levels = np.linspace(0.05, 0.95, 19)
    # Of targets that are counts or classes many draws are the same: among these the place is drawn (Czado, Gneiting &
    # Held 2009, Biometrics 65).
    same = (drawn == observed).mean(axis=0)
    below = (drawn < observed).mean(axis=0) + generator(0, "coverage").random(observed.size) * same
    positions: dict[str, FloatArray] = {"draws": below}
    # Only under Gaussian noise does the Gaussian have normal targets.
    if "laplace_predictions" in tree.children and "target_sd" in tree["laplace_predictions"]:
        mean = values_of(tree, "laplace_predictions", "target_mean").ravel()
        sd = values_of(tree, "laplace_predictions", "target_sd").ravel()
        positions["Gaussian"] = ndtr((observed - mean) / sd)
    for (name, position), color in zip(positions.items(), (DRAWS, GAUSSIAN), strict=False):
        inside = [(np.abs(2 * position - 1) <= level).mean() for level in levels]
        coverage.plot(levels, inside, "o-", ms=3, color=color, label=name)
    error = 1.96 * np.sqrt(levels * (1 - levels) / observed.size)
    coverage.fill_between(levels, levels - error, levels + error, color=QUIET, alpha=0.2, lw=0, label="chance, 95 %")
    coverage.plot([0, 1], [0, 1], color=QUIET, lw=1)
    coverage.set(xlabel="nominal", ylabel="share of targets inside", title="Coverage of central intervals")
    coverage.legend(frameon=False)
    return figure


def directions_figure(tree: xr.DataTree) -> Figure:
    """Mean shift and sd ratio along every eigendirection of the Gaussian, with null bands."""
    figure, (shift_axis, ratio_axis) = new_figure(10, 3.6, 1, 2)
    for axis, name, center, title in (
        (shift_axis, "mean_shift", 0.0, "Mean of the draws, in Gaussian sd"),
        (ratio_axis, "sd_ratio", 1.0, "Sd of the draws over Gaussian sd"),
    ):
        values, band = values_of(tree, "agreement", name), values_of(tree, "agreement", f"{name}_band")
        place = np.arange(1, values.size + 1)
        axis.fill_between(place, center - band, center + band, color=GAUSSIAN, alpha=0.2, lw=0, step="mid")
        axis.axhline(center, color=GAUSSIAN, lw=1, label="Gaussian, 95 % band of chance")
        axis.plot(place, values, "o", color=DRAWS, ms=4, label="draws")
        axis.set(xlabel="eigendirection, widest first", title=title)
    shift_axis.legend(frameon=False)
    return figure


def _by_disagreement(along: FloatArray) -> IntArray:
    """Directions, those first where mean and spread of the draws (chains, draws, k) differ most from N(0, 1)."""
    return np.argsort(-np.abs(along.mean(axis=(0, 1))) - np.abs(np.log(along.std(axis=(0, 1)))))


def marginals_figure(tree: xr.DataTree) -> Figure:
    """Histograms of the draws along the directions where they differ most from the Gaussian, with its curve."""
    along = values_of(tree, "agreement", "along")
    order = _by_disagreement(along)
    count = min(HISTOGRAMS, along.shape[-1])
    figure, axes = new_figure(10, 2.7 * -(-count // 3), -(-count // 3), 3)
    names = group_of(tree, "agreement")["weight"].values
    directions = values_of(tree, "agreement", "directions")
    for axis, direction in zip(axes, order[:count], strict=False):
        values = along[..., direction].ravel()
        low, high = min(float(np.quantile(values, 0.001)), -3.5), max(float(np.quantile(values, 0.999)), 3.5)
        grid = np.linspace(low, high, 200)
        axis.hist(values, bins=60, range=(low, high), density=True, color=DRAWS, alpha=0.6, label="draws")
        axis.plot(grid, norm.pdf(grid), color=GAUSSIAN, lw=1.8, label="Gaussian")
        largest = names[np.argmax(np.abs(directions[:, direction]))]
        axis.set(title=f"direction {direction + 1}, mostly {largest}", yticks=[])
        axis.set_xlabel("Gaussian sd")
    for axis in axes[count:]:
        axis.set_visible(False)
    axes[0].legend(frameon=False)
    return figure


def chains_figure(tree: xr.DataTree) -> Figure:
    """Rank plot of the function value that converged worst, traces, and R-hat and ESS of all function values."""
    figure, (rhat_axis, ess_axis, rank_axis, trace_axis) = new_figure(10, 6.4, 2, 2)
    rhat, bulk = (values_of(tree, "convergence", name) for name in ("function_rhat", "function_ess_bulk"))
    convergence = group_of(tree, "convergence")
    if convergence.attrs["is_short"]:  # judged by nested R-hat, each against its own null band
        nested, band = (values_of(tree, "convergence", f"nested_rhat{end}")[: rhat.size] for end in ("", "_band"))
        judged = (nested - 1.0) / (np.maximum(band, 1.01) - 1.0)
        limit, kind, words = 1.0, "Nested R-hat", "(nested R-hat - 1) / (limit - 1)"
    else:
        judged, limit, kind, words = rhat, 1.01, "R-hat", "R-hat"
    rhat_axis.hist(judged[np.isfinite(judged)], bins=40, color=DRAWS, alpha=0.7)
    rhat_axis.axvline(limit, color="black", lw=1, ls="--", label=f"limit {limit:.4g}")
    rhat_axis.set(title=f"{kind} of predictions", xlabel=words, ylabel="function values")
    rhat_axis.legend(frameon=False)
    ess_axis.hist(bulk[np.isfinite(bulk)], bins=40, color=DRAWS, alpha=0.7, label="bulk")
    ess_axis.axvline(400, color="black", lw=1, ls="--", label="limit 400")
    ess_axis.set(title="Effective sample size of predictions", xlabel="ESS")
    ess_axis.legend(frameon=False)
    if convergence.attrs["function_group"] and np.isfinite(judged).any():
        functions = values_of(tree, str(convergence.attrs["function_group"]), "f")
        worst = functions.reshape(*functions.shape[:2], -1)[..., int(np.nanargmax(judged))]
        ranks = rankdata(worst).reshape(worst.shape) / worst.size
        for chain in ranks:
            counts = np.bincount(np.minimum((chain * 20).astype(np.int64), 19), minlength=20)
            rank_axis.stairs(counts / worst.shape[1] * 20, np.linspace(0, 1, 21), color=DRAWS, alpha=0.5)
        rank_axis.axhline(1.0, color="black", lw=1)
        rank_axis.set(title="Ranks of the worst prediction, by chain", xlabel="rank", ylabel="relative frequency")
    else:  # other predictions have taken their place since, or none is a number
        rank_axis.set_visible(False)
    log_density = values_of(tree, "sample_stats", "lp")
    trace_axis.plot(log_density.T, lw=0.5, alpha=0.6)
    trace_axis.set(title="Log posterior, by chain", xlabel="draw", ylabel="nats")
    return figure


def importance_figure(tree: xr.DataTree) -> Figure:
    """Log importance ratios at draws of the Gaussian that was compared, and squared distances of posterior draws."""
    figure, (ratio_axis, distance_axis) = new_figure(10, 3.4, 1, 2)
    if "log_ratio" in group_of(tree, "agreement"):
        ratios = values_of(tree, "agreement", "log_ratio")
    else:  # a tree of before
        ratios = (values_of(tree, "laplace_stats", "log_p") - values_of(tree, "laplace_stats", "log_q")).ravel()
    ratios = ratios[np.isfinite(ratios)]
    ratios = ratios - np.median(ratios)
    ratio_axis.hist(ratios, bins=80, range=(np.quantile(ratios, 0.005), ratios.max()), color=GAUSSIAN, alpha=0.7)
    khat = float(values_of(tree, "agreement", "pareto_k"))
    ratio_axis.set(title=f"Log importance ratios of Gaussian draws (k-hat {khat:.2f})", xlabel="nats from the median")
    along = values_of(tree, "agreement", "along")
    squared = np.sort((along**2).sum(axis=-1).ravel())

    probabilities = (np.arange(squared.size) + 0.5) / squared.size
    kept = spread_indices(squared.size, 400)
    expected = chi2(along.shape[-1]).ppf(probabilities[kept])
    distance_axis.plot(expected, squared[kept], color=DRAWS, lw=2, label="draws")
    distance_axis.plot(expected, expected, color=GAUSSIAN, lw=1.2, label="Gaussian")
    distance_axis.set(title="Squared distances from the mode", xlabel="chi-squared quantile", ylabel="draws")
    distance_axis.legend(frameon=False)
    return figure


FIGURES: tuple[tuple[str, tuple[str, ...], Callable[[xr.DataTree], Figure]], ...] = (
    ("Held-out predictions", ("predictions", "predictions_constant_data", "scores"), predictions_figure),
    ("Where Gaussian and draws differ most", ("agreement",), marginals_figure),
    ("All directions", ("agreement",), directions_figure),
    ("Importance weights and distances", ("agreement",), importance_figure),
    ("Chains", ("convergence",), chains_figure),
)
