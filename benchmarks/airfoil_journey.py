"""What carries chains into the posterior of airfoil's network: starts, size of the steps, activation, prior, members.

Everything is judged on a fifth of the training rows of ``airfoil_bde.py``, held out, in two ways; test rows are not
looked at. One thing at a time is changed from the settings of ``BASE``, which are those of ``airfoil_bde.py`` made
shorter. Numbers of gradients are the same everywhere, and no time is compared. Optima are where 60 steps of
Levenberg-Marquardt lead from the early-stopped weights, far above the bulk. ``HMC`` are adjusted trajectories of 64
leapfrog steps, step size by dual averaging.
"""

import argparse
import json
from functools import cache
from pathlib import Path
from typing import Any

import emcee
import numpy as np
from airfoil_bde import problem, scores
from rich.console import Console
from rich.table import Table
from setting import machine, versions

from bayesnn import MLP, HeteroscedasticGaussian, NormalPrior, Posterior
from bayesnn.optimum import levenberg_marquardt
from bayesnn.sampling import DualAveraging, early_stopped, journey, moves

RESULTS = Path(__file__).parent / "results" / "airfoil_journey.json"
FOLDS, SHARE = (0, 1), 0.2
BASE: dict[str, Any] = {
    "activation": "tanh",
    "start": "early-stopped",
    "energy_variance": (0.5, 0.03),
    "prior_precision": 1.0,
    "members": 10,
    "hmc": False,
}
STEPS, DRAW_STEPS, THIN, TRAJECTORY = 16_000, 4_000, 40, 64
CLIMB_STEPS = 60
CASES: dict[str, dict[str, Any]] = {
    "base": {},
    "relu": {"activation": "relu"},
    "start: weights as drawn": {"start": "drawn"},
    "start: the prior": {"start": "prior"},
    "start: optima": {"start": "optimum"},
    "steps of variance 0.0005": {"energy_variance": (5e-4, 5e-4)},
    "steps of variance 0.5": {"energy_variance": (0.5, 0.5)},
    "steps of variance 0.5 to 0.001": {"energy_variance": (0.5, 1e-3)},
    "start: optima, steps of variance 0.0005": {"start": "optimum", "energy_variance": (5e-4, 5e-4)},
    "HMC": {"hmc": True},
    "HMC, start: optima": {"hmc": True, "start": "optimum"},
    "prior precision 0.3": {"prior_precision": 0.3},
    "prior precision 3": {"prior_precision": 3.0},
    "4 members": {"members": 4},
    "24 members": {"members": 24},
}


def parts(fold: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return inputs and targets of the rows to train on and of those held out."""
    arrays = problem()
    order = np.random.RandomState(100 + fold).permutation(len(arrays["x"]))
    held_out, rows = np.split(order, [int(SHARE * len(order))])
    return arrays["x"][rows], arrays["y"][rows], arrays["x"][held_out], arrays["y"][held_out]


@cache
def optima_of(fold: int, members: int) -> np.ndarray:
    """Climb from early-stopped weights of the base network."""
    x, y, _, _ = parts(fold)
    net = MLP(x.shape[1], (16, 16, 16, 16), 2, activation=BASE["activation"])
    posterior = Posterior(net, x, y, HeteroscedasticGaussian(), NormalPrior(BASE["prior_precision"]))
    early = early_stopped(posterior, members, seed=0)
    return np.array([levenberg_marquardt(posterior, w, CLIMB_STEPS).weights for w in early])


def starts_of(posterior: Posterior, fold: int, kind: str, members: int) -> np.ndarray:
    """Return where chains begin."""
    if kind == "optimum":
        return optima_of(fold, members)
    rng = np.random.default_rng(0)
    if kind == "drawn":
        return np.array([posterior.model.initial_weights(rng) for _ in range(members)])
    if kind == "prior":
        return rng.standard_normal((members, posterior.n_weights)) / np.sqrt(posterior.prior_precision)
    return early_stopped(posterior, members, seed=0)


def drawn_by(move: Any, posterior: Posterior, starts: np.ndarray, n_draws: int, adaptation: Any = None) -> np.ndarray:
    """Draw (draws, members, k)."""
    sampler = emcee.EnsembleSampler(*starts.shape, posterior.fused().log_density, moves=move, vectorize=True)
    state = emcee.State(starts, random_state=np.random.RandomState(0).get_state())
    for _ in sampler.sample(state, iterations=n_draws, skip_initial_state_check=True):
        if adaptation is not None:
            adaptation.update(move.stats.acceptance_rate)
            move.step_size = adaptation.step_size
    return sampler.get_chain()


def chains_of(posterior: Posterior, starts: np.ndarray, case: dict[str, Any]) -> np.ndarray:
    """Travel and draw (draws, members, k)."""
    unit = np.ones(posterior.n_weights)
    if case["hmc"]:
        move = moves.HMC(posterior.fused(), unit, 1e-3, TRAJECTORY)
        adaptation = DualAveraging(move.step_size, 0.8)
        way = drawn_by(move, posterior, starts, STEPS // TRAJECTORY, adaptation)
        move.step_size = adaptation.averaged_step_size
        return drawn_by(move, posterior, way[-1], DRAW_STEPS // TRAJECTORY)
    way = journey(posterior, starts, num_steps=STEPS, energy_variance=case["energy_variance"], seed=0, progress=False)
    move = moves.MicrocanonicalLangevin(posterior.fused(), unit, float(np.median(way.step_size)), THIN)
    return drawn_by(move, posterior, way.ends, DRAW_STEPS // THIN)


def measured(name: str, fold: int) -> dict[str, Any]:
    """Run one case on one fold."""
    case = BASE | CASES[name]
    x, y, new_x, new_y = parts(fold)
    net = MLP(x.shape[1], (16, 16, 16, 16), 2, activation=case["activation"])
    posterior = Posterior(net, x, y, HeteroscedasticGaussian(), NormalPrior(case["prior_precision"]))
    starts = starts_of(posterior, fold, case["start"], case["members"])
    draws = chains_of(posterior, starts, case)

    def scored(weights: np.ndarray) -> dict[str, float]:
        outputs = net.predict(weights.reshape(-1, weights.shape[-1]), new_x)
        return scores(outputs[..., 0], np.exp(outputs[..., 1]), new_y)

    members = [scored(draws[:, i]) for i in range(draws.shape[1])]
    with np.errstate(over="ignore"):  # draws of the prior may have noise of e**-400
        begun = scored(starts)
    return {
        "case": name,
        "fold": fold,
        **scored(draws),
        "mean_of_members": {figure: float(np.mean([each[figure] for each in members])) for figure in members[0]},
        "log_density_of_starts": float(posterior.log_density(starts).mean()),
        "log_density": float(posterior.log_density(draws[-1]).mean()),
        "length_of_starts": float(np.linalg.norm(starts, axis=1).mean()),
        "length": float(np.linalg.norm(draws[-1], axis=1).mean()),
        "distance": float(np.linalg.norm(draws[-1] - starts, axis=1).mean()),
        "rmse_of_starts": begun["rmse"],
    }


def table_of(results: list[dict[str, Any]]) -> Table:
    """Lay out what was run."""
    table = Table(title=f"{STEPS} + {DRAW_STEPS} gradients a member, mean over folds")
    columns = ("case", "start's RMSE", "RMSE", "NLL", "a member's RMSE", "NLL", "log density", "distance", "|w|")
    for column in columns:
        table.add_column(column)
    for name in CASES:
        rows = [row for row in results if row["case"] == name]
        if not rows:
            continue
        flat = [{**row, **{f"member {k}": v for k, v in row["mean_of_members"].items()}} for row in rows]

        def mean(figure: str, digits: int, of: list[dict[str, Any]] = flat) -> str:
            return f"{np.mean([row[figure] for row in of]):.{digits}f}"

        figures = (("rmse_of_starts", 2), ("rmse", 4), ("nll", 3), ("member rmse", 4), ("member nll", 2))
        rest = (("log_density", 0), ("distance", 1), ("length", 1))
        table.add_row(name, *[mean(figure, digits) for figure, digits in figures + rest])
    return table


def main() -> None:
    """Run what has not been run, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--folds", nargs="+", type=int, default=list(FOLDS))
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    if arguments.output.exists():
        results = json.loads(arguments.output.read_text(encoding="utf-8"))["results"]
    for fold in arguments.folds:
        for name in arguments.only:
            if any((row["case"], row["fold"]) == (name, fold) for row in results):
                continue
            results.append(measured(name, fold))
            found = {"versions": versions(), "machine": machine(), "results": results}
            arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    Console(width=140).print(table_of(results))


if __name__ == "__main__":
    main()
