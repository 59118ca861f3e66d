"""NIST's certified nonlinear regressions, by the user's own function: 18 problems from 2 starts each."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest

from bayesnn import FlatPrior, FunctionModel, Gaussian, Posterior, find_optimum
from bayesnn.optimum import Status

FOLDER = Path(__file__).parents[1] / "data" / "nist"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
RUNS = [(name, start) for name in NAMES for start in ("start1", "start2")]
# By differences these take longer than all others together: hundreds of steps, or 250 rows and 8 weights once more.
LONG = [
    (name, start)
    for name, start in RUNS
    if name.startswith("Lanczos")
    or (name.startswith("Gauss") and start == "start2")
    or (name, start) == ("MGH10", "start1")
]
NAMESPACE = {"exp": np.exp, "cos": np.cos, "sin": np.sin, "arctan": np.arctan, "pi": np.pi}
STEP = 1e-30


def problem(name):
    """The record of a problem, its function and its Jacobian by complex steps (Squire & Trapp 1998)."""
    record = json.loads((FOLDER / f"{name}.json").read_text())
    formula = compile(record["formula"], name, "eval")

    def function(w, x):
        with np.errstate(all="ignore"):
            return eval(formula, NAMESPACE | dict(zip(record["param_names"], w, strict=True)) | {"x": x})

    def jacobian(w, x):
        return np.stack([function(w + 1j * STEP * e, x).imag / STEP for e in np.eye(len(w))], axis=-1)

    return record, function, jacobian


@functools.cache
def solved(name, start, with_jacobian):
    """The optimum found, the largest relative error of a parameter, and the standard deviations there."""
    record, function, jacobian = problem(name)
    model = FunctionModel(function, record["param_names"], jacobian if with_jacobian else None)
    x, y = (np.array(record["data"][column]) for column in ("x", "y"))
    post = Posterior(model, x, y, Gaussian(1.0), FlatPrior())
    found = find_optimum(post, start=record[start])
    params = np.array(record["certified"]["params"])
    error = np.abs(found.weights / params - 1.0).max()
    residuals = y - model.predict(found.weights, x)[:, 0]
    s = np.sqrt(residuals @ residuals / record["dof"])
    factor = post.with_hyperparameters(Gaussian(float(s)), FlatPrior()).factor_ggn(found.weights)
    sd = np.linalg.norm(factor.scale, axis=1) if factor.is_full_rank else np.full(len(params), np.nan)
    return found, error, sd


def is_right(name, start, with_jacobian):
    return solved(name, start, with_jacobian)[1] <= 1e-6


def check_run(name, start, with_jacobian):
    """What no run may do: end elsewhere and say it converged, or end there and say otherwise."""
    found, error, sd = solved(name, start, with_jacobian)
    assert np.isfinite(found.weights).all()
    assert (found.status is Status.converged) == (error <= 1e-6)
    assert found.certificate.is_optimum == (found.status is Status.converged)
    if found.status is not Status.converged:
        return
    certified = np.array(json.loads((FOLDER / f"{name}.json").read_text())["certified"]["std"])
    tolerance = 1e-6 if with_jacobian else 1e-5
    if name == "Lanczos1":
        # residuals of 1e-13 are differences of outputs of 2.5, whose rounding is 3e-16: 3 digits, fewer than 4
        tolerance = 1e-3
    assert np.abs(sd / certified - 1.0).max() <= tolerance


def test_all_eighteen_are_here():
    assert len(NAMES) == 18


@pytest.mark.parametrize(("name", "start"), RUNS)
def test_certified_values_by_a_jacobian(name, start):
    check_run(name, start, with_jacobian=True)


@pytest.mark.parametrize(
    ("name", "start"), [pytest.param(*run, marks=pytest.mark.slow if run in LONG else ()) for run in RUNS]
)
def test_certified_values_by_differences(name, start):
    check_run(name, start, with_jacobian=False)


def test_at_most_one_run_by_a_jacobian_is_left_unsolved():
    # MGH10 from its far start crawls along a valley of exp(b2 / (x + b3)): 20 nats short after 1000 steps
    assert sum(is_right(*run, with_jacobian=True) for run in RUNS) >= len(RUNS) - 1


def test_no_short_run_by_differences_is_left_unsolved():
    assert all(is_right(*run, with_jacobian=False) for run in RUNS if run not in LONG)


@pytest.mark.slow
def test_at_most_one_of_all_runs_by_differences_is_left_unsolved():
    assert sum(is_right(*run, with_jacobian=False) for run in RUNS) >= len(RUNS) - 1
