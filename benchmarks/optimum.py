"""Levenberg-Marquardt of bayesnn against SciPy's trust region on the same least squares problems.

Each start is given to both. SciPy's run, at its default tolerances, sets the target: the loss it ends at. Its time is
that of the first iterate within 1e-6 of the target, which leaves out what it spends on noticing that it has converged.
Ours is counted in the same way, and where our run from that start ends above the target, it goes on to the next start
of the list until the target is met: the time spent on runs that missed is part of it.

Networks have many optima, and two optimisers seldom reach the same one from the same start. Every problem is therefore
raced a second time from starts close to the optima found, where both end at the same loss.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.optimize import OptimizeResult, least_squares
from setting import machine, versions
from threadpoolctl import threadpool_limits

from bayesnn import MLP, Gaussian, NormalPrior, Posterior, datasets
from bayesnn.optimum import Climb, Status

N_STARTS = 16
N_REPEATS = 3
MAX_EVALUATIONS = 1000
# Losses closer than this, relative, are the same.
SAME_LOSS = 1e-6
X_SCALES = (1.0, "jac")
TEACHER_ROWS = 2000
# Standard deviation of the weights of a near start around an optimum.
NEAR = 0.03
RESULTS = Path(__file__).parent / "results" / "optimum.json"


@dataclass(frozen=True)
class Run:
    """One run from one start: the losses of its iterates and when, in seconds, each was reached."""

    losses: list[float]
    seconds: list[float]
    total_seconds: float
    converged: bool
    weights: np.ndarray

    @property
    def loss(self) -> float:
        """Lowest loss."""
        return min(self.losses)

    def seconds_to(self, target: float) -> float | None:
        """When the loss first was within SAME_LOSS of `target`, or None."""
        return next((s for loss, s in zip(self.losses, self.seconds, strict=True) if meets(loss, target)), None)


@dataclass(frozen=True)
class Race:
    """One start of one problem, run by both. A loss is half the sum of squares that both minimise."""

    start: int
    ours_loss: float
    ours_converged: bool
    ours_steps: int
    ours_seconds: float
    scipy_loss: float
    scipy_converged: bool
    scipy_iterations: int
    scipy_seconds: float
    scipy_seconds_to_target: float
    ours_seconds_to_target: float
    ours_starts_to_target: int

    @property
    def time_ratio(self) -> float:
        """SciPy's time over ours to the same or a lower loss."""
        return self.scipy_seconds_to_target / self.ours_seconds_to_target


class StackedResiduals:
    """What both minimise half the square of: misfits over the noise, then weights over their prior sd."""

    def __init__(self, posterior: Posterior, sigma: float) -> None:
        self.posterior, self.sigma = posterior, sigma
        self.prior_root = np.sqrt(posterior.prior_precision)
        zero = np.zeros(posterior.n_weights)
        self.constant = float(posterior.log_density(zero)) + self.loss(zero)

    def residuals(self, weights: np.ndarray) -> np.ndarray:
        """Residuals (n + k,)."""
        misfit = self.posterior.model.predict(weights, self.posterior.x) - self.posterior.y
        return np.concatenate([misfit.ravel() / self.sigma, self.prior_root * weights])

    def jacobian(self, weights: np.ndarray) -> np.ndarray:
        """Their derivatives (n + k, k), in the order that LAPACK wants."""
        rows = self.posterior.model.jacobian(weights, self.posterior.x).reshape(-1, weights.size)
        stacked = np.zeros((len(rows) + weights.size, weights.size), order="F")
        np.divide(rows, self.sigma, out=stacked[: len(rows)])
        np.fill_diagonal(stacked[len(rows) :], self.prior_root)
        return stacked

    def loss(self, weights: np.ndarray) -> float:
        """Half the sum of squares."""
        r = self.residuals(weights)
        return 0.5 * float(r @ r)


def meets(loss: float, target: float) -> bool:
    """Whether a loss is the target's or lower."""
    return loss <= target * (1.0 + SAME_LOSS)


def real_problem(name: str, sigma: float) -> StackedResiduals:
    """Return a shipped data set, standardised, under 8 hidden units."""
    data = datasets.load(name)
    data = data.scaling().apply(data)
    model = MLP(data.x.shape[1], (8,), 1)
    return StackedResiduals(Posterior(model, data.x, data.y, Gaussian(sigma), NormalPrior(1.0)), sigma)


def teacher_problem(n_inputs: int, n_hidden: int) -> StackedResiduals:
    """Return noisy targets of a network of the same shape."""
    rng = np.random.default_rng(1000 + n_inputs)
    model, sigma = MLP(n_inputs, (n_hidden,), 1), 0.1
    x = rng.standard_normal((TEACHER_ROWS, n_inputs))
    y = model.predict(model.initial_weights(rng), x) + sigma * rng.standard_normal((TEACHER_ROWS, 1))
    return StackedResiduals(Posterior(model, x, y, Gaussian(sigma), NormalPrior(1.0)), sigma)


PROBLEMS: dict[str, Callable[[], StackedResiduals]] = {
    "yacht, 6-8-1": lambda: real_problem("yacht", 0.1),
    "concrete, 8-8-1": lambda: real_problem("concrete", 0.3),
    "teacher, 5-10-1": lambda: teacher_problem(5, 10),
    "teacher, 8-12-1": lambda: teacher_problem(8, 12),
}


def run_ours(problem: StackedResiduals, start: np.ndarray) -> Run:
    """Run Levenberg-Marquardt and note every trial."""
    losses, seconds = [], []
    begin = perf_counter()
    climb = Climb(problem.posterior, start, MAX_EVALUATIONS)
    while climb.end is None:
        with np.errstate(over="ignore", invalid="ignore"):
            there = problem.posterior.linearize(climb.trial)
        losses.append(problem.constant - float(there.log_density))
        seconds.append(perf_counter() - begin)
        climb.advance(there)
    return Run(losses, seconds, perf_counter() - begin, climb.end.status is Status.converged, climb.end.weights)


def run_scipy(problem: StackedResiduals, start: np.ndarray, x_scale: float | str) -> Run:
    """Run SciPy's trust region at its default tolerances and note every iterate."""
    losses, seconds = [], []
    begin = perf_counter()

    def note(intermediate_result: OptimizeResult) -> None:
        losses.append(float(intermediate_result.cost))
        seconds.append(perf_counter() - begin)

    end = least_squares(
        problem.residuals,
        start,
        problem.jacobian,
        method="trf",
        x_scale=x_scale,
        max_nfev=MAX_EVALUATIONS,
        callback=note,
    )
    total = perf_counter() - begin
    return Run([*losses, float(end.cost)], [*seconds, total], total, int(end.status) > 0, end.x)


def repeated(run: Callable[[], Run]) -> Run:
    """Return the run of median length of several; they differ in time alone."""
    runs = sorted((run() for _ in range(N_REPEATS)), key=lambda r: r.total_seconds)
    return runs[N_REPEATS // 2]


def until(runs: Sequence[Run], first: int, target: float) -> tuple[float, int]:
    """Return the seconds and the number of our runs until one meets the target, from start `first` on."""
    spent = 0.0
    for tried in range(len(runs)):
        run = runs[(first + tried) % len(runs)]
        reached = run.seconds_to(target)
        if reached is not None:
            return spent + reached, tried + 1
        spent += run.total_seconds
    return float("inf"), len(runs)


def race(index: int, ours: Sequence[Run], theirs: Run) -> Race:
    """Compare our runs, the one from the same start first, with one of SciPy's."""
    own = ours[index]
    seconds, tried = until(ours, index, theirs.loss)
    reached = theirs.seconds_to(theirs.loss)
    assert reached is not None  # it reached its own loss
    return Race(
        start=index,
        ours_loss=own.loss,
        ours_converged=own.converged,
        ours_steps=len(own.losses),
        ours_seconds=own.total_seconds,
        scipy_loss=theirs.loss,
        scipy_converged=theirs.converged,
        scipy_iterations=len(theirs.losses),
        scipy_seconds=theirs.total_seconds,
        scipy_seconds_to_target=reached,
        ours_seconds_to_target=seconds,
        ours_starts_to_target=tried,
    )


def summary(races: Sequence[Race]) -> dict[str, Any]:
    """Count and average what the table shows of one problem."""
    ratios = [r.time_ratio for r in races]
    return {
        "median_time_ratio": statistics.median(ratios),
        "quartiles_of_time_ratio": statistics.quantiles(ratios, n=4)[::2],
        "median_ratio_of_whole_runs": statistics.median(r.scipy_seconds / r.ours_seconds for r in races),
        "starts": len(races),
        "met_from_the_same_start": sum(r.ours_starts_to_target == 1 for r in races),
        "ours_lower": sum(r.ours_loss < r.scipy_loss * (1.0 - SAME_LOSS) for r in races),
        "scipy_lower": sum(r.scipy_loss < r.ours_loss * (1.0 - SAME_LOSS) for r in races),
        "ours_converged": sum(r.ours_converged for r in races),
        "scipy_converged": sum(r.scipy_converged for r in races),
        "median_steps_ours": statistics.median(r.ours_steps for r in races),
        "median_iterations_scipy": statistics.median(r.scipy_iterations for r in races),
        "median_seconds_ours": statistics.median(r.ours_seconds for r in races),
        "median_seconds_scipy": statistics.median(r.scipy_seconds for r in races),
    }


def races_of(problem: StackedResiduals, near: bool, threads: int) -> dict[str, list[Race]]:
    """Race one problem from all starts, SciPy once with each of its scalings."""
    ours: list[Run] = []
    theirs: dict[str, list[Run]] = {str(scale): [] for scale in X_SCALES}
    for index in range(N_STARTS):
        rng = np.random.default_rng(index)
        start = problem.posterior.model.initial_weights(rng)
        with threadpool_limits(1, "blas"):
            if near:
                start = run_ours(problem, start).weights + NEAR * rng.standard_normal(start.size)
            ours.append(repeated(lambda at=start: run_ours(problem, at)))
        with threadpool_limits(threads, "blas"):
            for scale in X_SCALES:
                theirs[str(scale)].append(repeated(lambda at=start, s=scale: run_scipy(problem, at, s)))
    return {scale: [race(i, ours, run) for i, run in enumerate(runs)] for scale, runs in theirs.items()}


def table_of(summaries: dict[str, dict[str, dict[str, Any]]], threads: int) -> Table:
    """Lay out the summaries."""
    table = Table(title=f"bayesnn's Levenberg-Marquardt and SciPy's trf, {threads} BLAS thread(s) for SciPy")
    columns = ["problem", "starts", "x_scale", "SciPy's time / ours", "quartiles", "whole runs", "same start"]
    for column in [*columns, "lower: ours", "SciPy", "converged: ours", "SciPy", "s: ours", "SciPy"]:
        table.add_column(column)
    for name, kinds in summaries.items():
        for kind, s in kinds.items():
            low, high = s["quartiles_of_time_ratio"]
            table.add_row(
                name,
                *kind.split(", "),
                f"{s['median_time_ratio']:.1f}",
                f"{low:.1f} .. {high:.1f}",
                f"{s['median_ratio_of_whole_runs']:.1f}",
                f"{s['met_from_the_same_start']} of {s['starts']}",
                *(str(s[key]) for key in ("ours_lower", "scipy_lower", "ours_converged", "scipy_converged")),
                f"{s['median_seconds_ours']:.3f}",
                f"{s['median_seconds_scipy']:.3f}",
            )
    return table


def main() -> None:
    """Run, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="BLAS threads of SciPy; ours always has one")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the result goes")
    options = parser.parse_args()
    console = Console(width=180)
    begin = perf_counter()
    races: dict[str, dict[str, list[Race]]] = {}
    for name, build in PROBLEMS.items():
        problem = build()
        races[name] = {}
        for near in (False, True):
            for scale, each in races_of(problem, near, options.threads).items():
                races[name][f"{'near' if near else 'drawn'}, {scale}"] = each
        console.print(f"{name}: {perf_counter() - begin:.0f} s")
    summaries = {name: {kind: summary(each) for kind, each in kinds.items()} for name, kinds in races.items()}
    record = {
        "what": "SciPy's time over ours to the loss SciPy ends at, or a lower one; median over starts",
        "scipy_blas_threads": options.threads,
        "versions": versions(),
        "machine": machine(),
        "seconds": perf_counter() - begin,
        "problems": {
            name: {kind: {**summaries[name][kind], "races": [asdict(r) for r in each]} for kind, each in kinds.items()}
            for name, kinds in races.items()
        },
    }
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    console.print(table_of(summaries, options.threads))


if __name__ == "__main__":
    main()
