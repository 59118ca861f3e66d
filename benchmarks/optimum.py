"""Levenberg-Marquardt of bayesnn against scipy's trust region on the same least squares problems.

Every problem is solved from 8 starts by both, scipy with the analytic Jacobian of the same network, with
``x_scale=1.0`` and ``x_scale="jac"``, and at the loosest of several tolerances that reaches the loss it is compared at;
the better of these stands for scipy, timed with one BLAS thread and with the default number; the faster counts.

Networks have many optima, and two optimisers seldom reach the same one from the same start. Every problem is therefore
raced a second time, from starts close to the optima found, where both reach the same loss.
"""

import json
import os
import platform
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import scipy
from rich.console import Console
from rich.table import Table
from scipy.optimize import OptimizeResult, least_squares
from threadpoolctl import threadpool_info

import bayesnn
from bayesnn import MLP, Gaussian, NormalPrior, Posterior, datasets, find_optimum
from bayesnn.optimum import Descent, Status, levenberg_marquardt
from bayesnn.threads import on_one_blas_thread

N_STARTS = 8
N_REPEATS = 3
MAX_EVALUATIONS = 1000
# Losses closer than this, relative, are the same.
SAME_LOSS = 1e-6
# ftol, xtol and gtol of scipy, loosest first.
TOLERANCES = (1e-4, 1e-6, 1e-8, 1e-10)
X_SCALES = (1.0, "jac")
TEACHER_ROWS = 2000
# Standard deviation of the weights of a near start around an optimum.
NEAR = 0.03
RESULTS = Path(__file__).parent / "results" / "optimum.json"


@dataclass(frozen=True)
class Race:
    """One start of one problem, run by both. A loss is half the sum of squares that both minimise."""

    start: int
    ours_loss: float
    ours_status: str
    ours_steps: int
    ours_seconds: float
    scipy_loss: float
    scipy_status: int
    scipy_message: str
    scipy_evaluations: int
    scipy_x_scale: str
    scipy_tolerance: float
    scipy_loss_by_x_scale: dict[str, float]
    scipy_seconds_one_thread: float
    scipy_seconds_default_threads: float
    time_ratio: float
    lower: str
    scipy_ended_at: str

    @property
    def counts(self) -> bool:
        """Whether ours converged to the same or a lower loss."""
        return self.ours_status == Status.converged and self.lower != "scipy"


class StackedResiduals:
    """What both minimise half the square of: misfits over the noise, then weights over their prior sd."""

    def __init__(self, posterior: Posterior, sigma: float) -> None:
        self.posterior, self.sigma = posterior, sigma
        self.prior_root = np.sqrt(posterior.prior_precision)
        self.prior_rows = np.diag(self.prior_root)

    def residuals(self, weights: np.ndarray) -> np.ndarray:
        """Residuals (n + k,)."""
        misfit = self.posterior.model.predict(weights, self.posterior.x) - self.posterior.y
        return np.concatenate([misfit.ravel() / self.sigma, self.prior_root * weights])

    def jacobian(self, weights: np.ndarray) -> np.ndarray:
        """Their derivatives (n + k, k)."""
        rows = self.posterior.model.jacobian(weights, self.posterior.x).reshape(-1, weights.size)
        return np.concatenate([rows / self.sigma, self.prior_rows])

    def loss(self, weights: np.ndarray) -> float:
        """Half the sum of squares."""
        r = self.residuals(weights)
        return 0.5 * float(r @ r)


def real_problem(name: str, sigma: float) -> tuple[Posterior, float]:
    """Return a shipped data set, standardised, under 8 hidden units."""
    data = datasets.load(name)
    data = data.scaling().apply(data)
    model = MLP(data.x.shape[1], (8,), 1)
    return Posterior(model, data.x, data.y, Gaussian(sigma), NormalPrior(1.0)), sigma


def teacher_problem(n_inputs: int, n_hidden: int) -> tuple[Posterior, float]:
    """Return noisy targets of a network of the same shape."""
    rng = np.random.default_rng(1000 + n_inputs)
    model, sigma = MLP(n_inputs, (n_hidden,), 1), 0.1
    x = rng.standard_normal((TEACHER_ROWS, n_inputs))
    y = model.predict(model.initial_weights(rng), x) + sigma * rng.standard_normal((TEACHER_ROWS, 1))
    return Posterior(model, x, y, Gaussian(sigma), NormalPrior(1.0)), sigma


PROBLEMS: dict[str, Callable[[], tuple[Posterior, float]]] = {
    "yacht, 6-8-1": lambda: real_problem("yacht", 0.1),
    "concrete, 8-8-1": lambda: real_problem("concrete", 0.3),
    "teacher, 5-10-1": lambda: teacher_problem(5, 10),
    "teacher, 8-12-1": lambda: teacher_problem(8, 12),
}

ours_on_one_thread = on_one_blas_thread(levenberg_marquardt)


def scipys(problem: StackedResiduals, start: np.ndarray, x_scale: float | str, tolerance: float) -> OptimizeResult:
    """Run scipy's trust region."""
    return least_squares(
        problem.residuals,
        start,
        problem.jacobian,
        method="trf",
        x_scale=x_scale,
        ftol=tolerance,
        xtol=tolerance,
        gtol=tolerance,
        max_nfev=MAX_EVALUATIONS,
    )


scipys_on_one_thread = on_one_blas_thread(scipys)


def timed[**P, R](function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> tuple[float, R]:
    """Seconds, and the result."""
    begin = perf_counter()
    result = function(*args, **kwargs)
    return perf_counter() - begin, result


def best_of_scipy(
    problem: StackedResiduals, start: np.ndarray, ours_loss: float
) -> tuple[float | str, float, OptimizeResult, dict[str, float]]:
    """Return the settings at which scipy is best: a loss like ours if it gets one, then speed.

    At its tightest tolerance it shows where it goes; the loosest one that goes as far is taken.
    """
    candidates, tightest = [], {}
    for x_scale in X_SCALES:
        seconds, result = timed(scipys_on_one_thread, problem, start, x_scale, TOLERANCES[-1])
        tightest[str(x_scale)] = float(result.cost)
        target, tolerance = max(ours_loss, result.cost) * (1.0 + SAME_LOSS), TOLERANCES[-1]
        for looser in TOLERANCES[:-1]:
            looser_seconds, looser_result = timed(scipys_on_one_thread, problem, start, x_scale, looser)
            if looser_result.cost <= target:
                seconds, result, tolerance = looser_seconds, looser_result, looser
                break
        misses = result.cost > ours_loss * (1.0 + SAME_LOSS)
        candidates.append((misses, seconds, x_scale, tolerance, result))
    _, _, x_scale, tolerance, result = min(candidates, key=lambda c: c[:2])
    return x_scale, tolerance, result, tightest


def place_of(problem: StackedResiduals, ours: Descent, end: np.ndarray) -> str:
    """Where scipy ended: at the optimum ours found, on the way to it, or with another one."""
    ours_loss, loss = problem.loss(ours.weights), problem.loss(end)
    if abs(loss / ours_loss - 1.0) <= SAME_LOSS:
        return "the same loss"
    onward = find_optimum(problem.posterior, start=end, progress=False)
    final = problem.loss(onward.weights)
    if abs(final / ours_loss - 1.0) <= SAME_LOSS:
        return "short of the same optimum"
    return "another optimum" if abs(final / loss - 1.0) <= SAME_LOSS else "short of another optimum"


def race(problem: StackedResiduals, index: int, start: np.ndarray) -> tuple[Race, np.ndarray]:
    """Run both from one start, turn by turn; return the record and where ours ended."""
    ours = ours_on_one_thread(problem.posterior, start, MAX_EVALUATIONS)
    ours_loss = problem.loss(ours.weights)
    x_scale, tolerance, result, tightest = best_of_scipy(problem, start, ours_loss)
    seconds: dict[str, list[float]] = {"ours": [], "one thread": [], "default threads": []}
    for repeat in range(N_REPEATS):
        seconds["ours"].append(timed(ours_on_one_thread, problem.posterior, start, MAX_EVALUATIONS)[0])
        seconds["one thread"].append(timed(scipys_on_one_thread, problem, start, x_scale, tolerance)[0])
        # where more threads lose by far, once is enough to know
        if repeat == 0 or seconds["default threads"][0] < 1.5 * seconds["one thread"][0]:
            seconds["default threads"].append(timed(scipys, problem, start, x_scale, tolerance)[0])
    median = {name: statistics.median(values) for name, values in seconds.items()}
    apart = float(result.cost) / ours_loss - 1.0
    record = Race(
        start=index,
        ours_loss=ours_loss,
        ours_status=ours.status.value,
        ours_steps=ours.n_steps,
        ours_seconds=median["ours"],
        scipy_loss=float(result.cost),
        scipy_status=int(result.status),
        scipy_message=str(result.message),
        scipy_evaluations=int(result.nfev),
        scipy_x_scale=str(x_scale),
        scipy_tolerance=tolerance,
        scipy_loss_by_x_scale=tightest,
        scipy_seconds_one_thread=median["one thread"],
        scipy_seconds_default_threads=median["default threads"],
        time_ratio=min(median["one thread"], median["default threads"]) / median["ours"],
        lower="neither" if abs(apart) <= SAME_LOSS else "ours" if apart > 0 else "scipy",
        scipy_ended_at=place_of(problem, ours, result.x),
    )
    return record, ours.weights


def lower_by_x_scale(races: list[Race]) -> dict[str, int]:
    """On how many starts scipy would end lower with one ``x_scale`` throughout, run to its tightest tolerance."""
    return {
        str(scale): sum(r.scipy_loss_by_x_scale[str(scale)] < r.ours_loss * (1.0 - SAME_LOSS) for r in races)
        for scale in X_SCALES
    }


def summary(races: list[Race]) -> dict[str, Any]:
    """Count and average what the table shows of one problem."""
    ratios = [r.time_ratio for r in races if r.counts]
    return {
        "median_time_ratio": statistics.median(ratios) if ratios else None,
        "least_time_ratio": min(ratios) if ratios else None,
        "largest_time_ratio": max(ratios) if ratios else None,
        "median_time_ratio_all_starts": statistics.median(r.time_ratio for r in races),
        "scipy_lower_by_x_scale": lower_by_x_scale(races),
        "starts": len(races),
        "starts_counted": len(ratios),
        "ours_lower": sum(r.lower == "ours" for r in races),
        "scipy_lower": sum(r.lower == "scipy" for r in races),
        "same_loss": sum(r.lower == "neither" for r in races),
        "different_optima": sum("another" in r.scipy_ended_at for r in races),
        "ours_converged": sum(r.ours_status == Status.converged for r in races),
        "scipy_converged": sum(r.scipy_status > 0 for r in races),
        "median_seconds_ours": statistics.median(r.ours_seconds for r in races),
        "median_seconds_scipy": statistics.median(
            min(r.scipy_seconds_one_thread, r.scipy_seconds_default_threads) for r in races
        ),
    }


def machine() -> dict[str, Any]:
    """Describe the machine without naming it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    blas = {(lib["internal_api"], lib["version"], lib["num_threads"]) for lib in threadpool_info()}
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "platform": f"{platform.system()} {platform.machine()}",
        "blas": [f"{name} {version}, {threads} threads" for name, version, threads in sorted(blas)],
    }


def table_of(summaries: dict[str, dict[str, Any]]) -> Table:
    """Lay out the summaries."""
    table = Table(title="Levenberg-Marquardt of bayesnn against scipy.optimize.least_squares(method='trf')")
    columns = ["problem", "starts", "scipy's time / ours", "range", "counted", "all starts", "lower: ours", "scipy"]
    columns += ["neither", "other optima", "converged: ours", "scipy", "s: ours", "scipy"]
    for column in columns:
        table.add_column(column)
    for name, both in summaries.items():
        for kind, s in both.items():
            ratio, spread = "-", "-"
            if s["starts_counted"]:
                ratio = f"{s['median_time_ratio']:.2f}"
                spread = f"{s['least_time_ratio']:.2f} .. {s['largest_time_ratio']:.2f}"
            counts = ("ours_lower", "scipy_lower", "same_loss", "different_optima", "ours_converged", "scipy_converged")
            table.add_row(
                name if kind == "drawn" else "",
                kind,
                ratio,
                spread,
                f"{s['starts_counted']} of {s['starts']}",
                f"{s['median_time_ratio_all_starts']:.2f}",
                *(str(s[key]) for key in counts),
                f"{s['median_seconds_ours']:.3f}",
                f"{s['median_seconds_scipy']:.3f}",
            )
    return table


def line_of(r: Race) -> str:
    """One race in one line."""
    return (
        f"start {r.start}: ours {r.ours_loss:.6f} {r.ours_status} {r.ours_steps} steps {r.ours_seconds:.3f} s; "
        f"scipy {r.scipy_loss:.6f} status {r.scipy_status} {r.scipy_evaluations} evaluations "
        f"{r.scipy_seconds_one_thread:.3f} s, {r.scipy_seconds_default_threads:.3f} s "
        f"(x_scale {r.scipy_x_scale}, tolerance {r.scipy_tolerance:g}), at {r.scipy_ended_at}"
    )


def main() -> None:
    """Run, print the table, write the results."""
    console = Console(width=170)
    begin = perf_counter()
    races: dict[str, dict[str, list[Race]]] = {}
    for name, build in PROBLEMS.items():
        problem = StackedResiduals(*build())
        races[name] = {"drawn": [], "near": []}
        for index in range(N_STARTS):
            rng = np.random.default_rng(index)
            drawn, end = race(problem, index, problem.posterior.model.initial_weights(rng))
            near, _ = race(problem, index, end + NEAR * rng.standard_normal(end.size))
            for kind, record in (("drawn", drawn), ("near", near)):
                races[name][kind].append(record)
                console.print(f"{name}, {kind} {line_of(record)}", soft_wrap=True, highlight=False)
    summaries = {name: {kind: summary(each) for kind, each in both.items()} for name, both in races.items()}
    record = {
        "what": "scipy's time over ours, at the same or a lower loss of ours; medians of 3 repeats, then over starts",
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "bayesnn": bayesnn.__version__,
        },
        "machine": machine(),
        "seconds": perf_counter() - begin,
        "problems": {
            name: {kind: {**summaries[name][kind], "races": [asdict(r) for r in each]} for kind, each in both.items()}
            for name, both in races.items()
        },
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    console.print(table_of(summaries))


if __name__ == "__main__":
    main()
