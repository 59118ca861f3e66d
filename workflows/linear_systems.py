"""Linear recurrent networks: what theory promises of their landscapes, and Bayes on a real series.

Prints tables and draws figures into runs/linear_systems. ``--quick`` takes fewer steps and draws.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import bayesnn as bnn
from bayesnn.arrays import FloatArray
from bayesnn.landscape.acquiescence import AcquiescentSet
from bayesnn.landscape.extension import acquiescent_extension, extended, extension
from bayesnn.landscape.idealised_risk import METHODS, IdealisedRisk
from bayesnn.landscape.quasi_convexity import quasi_convexity
from bayesnn.landscape.system_descent import descend_system, stochastic_descent
from bayesnn.models import windows
from bayesnn.report.landscape_systems import descent_figure, pole_figure, quasi_convexity_figure, transfer_figure
from bayesnn.tree import weight_matrix

REGION = AcquiescentSet(t0=0.2, t1=0.05, t2=6.0)
# Acquiescent targets, the second of which a zero near a pole makes ill-conditioned; and one with poles near the circle.
MILD = np.array([0.3, -0.2, 0.5, -1.0, 0.3])
NEARLY_CANCELLING = np.array([0.3, -0.2, 0.1, 0.5, -1.0, 1.5, 0.3])
WILD_ROOTS = [0.95, 0.9, -0.9, 0.9 * np.exp(2j), 0.9 * np.exp(-2j)]
WILD = np.concatenate([np.real(np.poly(WILD_ROOTS))[1:], [0.5, -1.0, 1.5, 0.3, 1.0], [0.3]])
# Weeks, without a gap, that are fitted; the rest of the stretch is held out. What a prediction looks back on.
FITTED_WEEKS, LOOK_BACK = 600, 26
HARMONICS = (1, 2, 3)
ORDER = 2

console = Console(width=120)


@dataclass(frozen=True)
class Series:
    """A detrended series, what there is to predict from, and in what units."""

    fitted: FloatArray
    x: FloatArray
    y: FloatArray
    held_out_x: FloatArray
    held_out_y: FloatArray
    unit: float

    def error(self, predicted: FloatArray) -> float:
        """Root mean squared error on the held-out weeks, ppm."""
        return self.unit * float(np.sqrt(np.mean((predicted - self.held_out_y) ** 2)))


def carbon_dioxide() -> Series:
    """Take the longest stretch of weeks without a gap, less trend and season.

    A quadratic in time and three harmonics of the year are fitted by least squares to all weeks before those held out,
    1958 on, and taken off the later ones as well; the unit is the standard deviation of what is left of the fitted
    weeks. Of several ways to take off trend and season this one had the smallest held-out error, which is a little too
    small for that.
    """
    data = bnn.datasets.load("co2")
    time = data.x[:, 0]
    begin = int(np.flatnonzero(np.diff(time) > 1.5 * 7 / 365)[-1]) + 1
    earlier = slice(0, begin + FITTED_WEEKS)
    decades = (time - time[begin]) / 10.0
    season = [wave(2.0 * np.pi * k * time) for k in HARMONICS for wave in (np.sin, np.cos)]
    columns = np.column_stack([np.ones_like(time), decades, decades**2, *season])
    trend = columns @ np.linalg.lstsq(columns[earlier], data.y[earlier], rcond=None)[0]
    left = (data.y - trend)[begin:]
    unit = float(left[:FITTED_WEEKS].std())
    left = left / unit
    x, y = windows(left[:-1], LOOK_BACK), left[LOOK_BACK:]
    n = FITTED_WEEKS - LOOK_BACK
    return Series(left[:FITTED_WEEKS], x[:n], y[:n], x[n:], y[n:], unit)


def three_ways() -> None:
    """Compute the risk by powers, Stein equation and Parseval."""
    table = Table(title="Idealised risk of two systems, three ways")
    for column in ("method", "acquiescent target", "poles near the circle"):
        table.add_column(column)
    for method in METHODS:
        values = [IdealisedRisk(target).value(np.zeros(len(target)), method) for target in (MILD, WILD)]
        table.add_row(method, *(f"{value:.12g}" for value in values))
    console.print(table)


def landscapes(folder: Path, n_steps: int) -> None:
    """Descend to three targets from the same place: rest."""
    found = acquiescent_extension(WILD[:5], REGION)
    targets = {
        "acquiescent": MILD,
        "ill-conditioned": NEARLY_CANCELLING,
        "poles near the circle": WILD,
        "the same, extended": extended(WILD, found.u),
    }
    table = Table(title=f"Gradient descent from zero, {n_steps} steps at most")
    for column in ("target", "order", "margin", "risk at zero", "risk at the end", "steps", "tau at zero", "condition"):
        table.add_column(column)
    paths = {}
    for name, target in targets.items():
        risk = IdealisedRisk(target)
        start = np.zeros(risk.n_weights)
        paths[name] = descend_system(risk, start, n_steps=n_steps, method="powers" if len(target) < 20 else "parseval")
        end = paths[name]
        margin, tau = REGION.margin(target[: risk.system.order]), quasi_convexity(risk, start).tau
        bends = np.linalg.eigvalsh(risk.hessian(target))
        condition = f"{bends[-1] / bends[0]:.0e}" if bends[0] > 1e-12 * bends[-1] else "singular"
        cells = (f"{margin:.3g}", f"{end.risk[0]:.4g}", f"{end.risk[-1]:.3g}", str(end.n_steps), f"{tau:.3g}")
        table.add_row(name, str(risk.system.order), *cells, condition)
    console.print(table)
    descent_figure(paths).savefig(folder / "descent.png", dpi=120)
    quasi_convexity_figure(quasi_convexity(IdealisedRisk(MILD), np.zeros(len(MILD)))).savefig(
        folder / "quasi_convexity.png", dpi=120
    )
    quasi_convexity_figure(quasi_convexity(IdealisedRisk(WILD), np.zeros(len(WILD)))).savefig(
        folder / "quasi_convexity_wild.png", dpi=120
    )
    pole_figure({"acquiescent": MILD, "poles near the circle": WILD}, REGION).savefig(folder / "poles.png", dpi=120)
    table = Table(title=f"Extension of the target with poles near the circle; the smallest degree is {found.degree}")
    for column in ("degree", "max |p u / z^(n+d) - 1|", "margin"):
        table.add_column(column)
    for degree in (10, 40, found.degree, 80, 120):
        one = extension(WILD[:5], degree, REGION)
        table.add_row(str(degree), f"{one.deviation:.3g}", f"{one.margin:.3g}")
    console.print(table)


def real_series(folder: Path, quick: bool) -> None:
    """Fit a system to the series by stochastic projected gradients and by Bayes, and compare."""
    series = carbon_dioxide()
    system = bnn.LinearSystem(ORDER)
    # Each sequence begins with nothing before it; its first quarter is not counted.
    cut = windows(series.fitted, 2 * LOOK_BACK + 1)[::4]
    projected = stochastic_descent(cut[:, :-1], cut[:, 1:], ORDER, REGION, n_passes=20 if quick else 100).weights
    post = bnn.Posterior(system, series.x, series.y, bnn.Gaussian("infer"), bnn.NormalPrior(1.0))
    opt = bnn.find_optimum(post, n_starts=8, seed=0)
    lap = bnn.fit_laplace(post, opt)
    sizes = {"num_warmup": 100, "num_samples": 100} if quick else {"num_warmup": 200, "num_samples": 1000}
    tree = bnn.sample(lap, seed=0, progress=False, **sizes)
    agree = bnn.compare(lap, tree)
    drawn = weight_matrix(tree["posterior"].to_dataset(), post.model.weight_blocks)
    draws = drawn.reshape(-1, drawn.shape[-1])[:, : system.n_weights]
    best = opt.weights[: system.n_weights]
    predictions = {
        "persistence: the last week": series.held_out_x[:, -1],
        "stochastic projected gradients": system.predict(projected, series.held_out_x)[:, 0],
        "optimum": system.predict(best, series.held_out_x)[:, 0],
        "posterior mean": np.mean([system.predict(w, series.held_out_x)[:, 0] for w in draws[::50]], axis=0),
    }
    table = Table(title=f"Carbon dioxide one week ahead, {len(series.held_out_y)} weeks held out")
    for column in ("prediction", "rmse, ppm", "poles", "margin"):
        table.add_column(column)
    for name, predicted in predictions.items():
        weights = {"optimum": best, "stochastic projected gradients": projected}.get(name)
        words = ["", ""]
        if weights is not None:
            margin = REGION.margin(weights[:ORDER])
            words = [", ".join(f"{pole:.3g}" for pole in system.poles(weights)), f"{margin:.3g}"]
        table.add_row(name, f"{series.error(predicted):.4f}", *words)
    console.print(table)
    radius = system.spectral_radius(draws)
    console.print(f"{agree.sentence} Unstable: {np.mean(radius >= 1.0):.1%} of the draws.")
    systems = {"optimum": best, "projected gradients": projected}
    pole_figure(systems, REGION, draws, "Poles: carbon dioxide").savefig(folder / "co2_poles.png", dpi=120)
    transfer_figure(systems, draws).savefig(folder / "co2_transfer.png", dpi=120)


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer steps and draws")
    arguments = parser.parse_args()
    folder = Path("runs/linear_systems")
    folder.mkdir(parents=True, exist_ok=True)
    three_ways()
    landscapes(folder, 300 if arguments.quick else 4000)
    real_series(folder, arguments.quick)


if __name__ == "__main__":  # other processes import this file
    main()
