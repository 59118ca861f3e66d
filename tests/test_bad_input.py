"""Every public door, in one table: what cannot be used is refused by name, with what it got and what it wants."""

import numpy as np
import pytest

from bayesnn.laplace import fit_laplace, maximize_evidence
from bayesnn.models import MLP
from bayesnn.optimum import find_optimum
from bayesnn.posterior import FlatPrior, Gaussian, NormalPrior, Posterior
from bayesnn.sampling import sample
from bayesnn.sampling.moves import RandomWalk
from tests.refusals import refuses

NET = MLP(2, (2,), 1)
X, Y = np.zeros((5, 2)), np.zeros(5)


def posterior(**spoiled):
    given = {"model": NET, "x": X, "y": Y, "likelihood": Gaussian(0.1), "prior": NormalPrior(1.0)}
    return Posterior(*(given | spoiled).values())


def with_value(array, value):
    changed = array.copy()
    changed.flat[3] = value
    return changed


@pytest.mark.parametrize(
    ("arguments", "argument", "got", "wants"),
    [
        ((2, 16, 1), "hidden", "16", "a sequence of widths such as (16,)"),
        ((2, "16", 1), "hidden", "'16'", "a sequence of widths such as (16,)"),
        ((2, (0,), 1), "hidden", "0", "an integer of at least 1"),
        ((2, (2.0,), 1), "hidden", "2.0", "an integer of at least 1"),
        ((2, (True,), 1), "hidden", "True", "an integer of at least 1"),
        ((0, (2,), 1), "in_features", "0", "an integer of at least 1"),
        ((True, (2,), 1), "in_features", "True", "an integer of at least 1"),
        ((2, (2,), -1), "out_features", "-1", "an integer of at least 1"),
        ((2, (2,), 1, "gelu"), "activation", "'gelu'", "one of 'tanh', 'relu', 'softplus', 'sin', 'identity'"),
        ((2, (2,), 1, None), "activation", "None", "one of 'tanh'"),
        ((2, (2,), 1, np.tanh), "activation", "tanh", "one of 'tanh'"),
        ((2, (2,), 1, "tanh", 1), "bias", "1", "True or False"),
        ((2, (2,), 1, "tanh", None), "bias", "None", "True or False"),
    ],
)
def test_mlp(arguments, argument, got, wants):
    with refuses(argument, got, wants):
        MLP(*arguments)


@pytest.mark.parametrize(
    ("spoiled", "argument", "got", "wants"),
    [
        ({"x": np.zeros((5, 3))}, "x", "shape (5, 3)", "shape (n, 2), n at least 1"),
        ({"x": np.zeros((0, 2)), "y": []}, "x", "shape (0, 2)", "shape (n, 2), n at least 1"),
        ({"x": np.zeros(5)}, "x", "shape (5,)", "shape (n, 2)"),
        ({"x": np.zeros((5, 2, 1))}, "x", "shape (5, 2, 1)", "shape (n, 2)"),
        ({"x": None}, "x", "None", "shape (n, 2), numbers only"),
        ({"x": [[1, 2], [3]]}, "x", "[[1, 2], [3]]", "shape (n, 2), numbers only"),
        ({"x": X + 1j}, "x", "shape (5, 2)", "shape (n, 2), numbers only"),
        ({"x": with_value(X, np.nan)}, "x", "1 NaN or infinite value(s), first at index (1, 1)", "all finite"),
        ({"x": with_value(X, -np.inf)}, "x", "1 NaN or infinite value(s), first at index (1, 1)", "all finite"),
        ({"y": np.zeros(4)}, "y", "shape (4,)", "shape (5,) or (5, 1)"),
        ({"y": np.zeros((5, 2))}, "y", "shape (5, 2)", "shape (5,) or (5, 1)"),
        ({"y": np.zeros((1, 5))}, "y", "shape (1, 5)", "shape (5,) or (5, 1)"),
        ({"y": 0.0}, "y", "shape ()", "shape (5,) or (5, 1)"),
        ({"y": with_value(Y, np.nan)}, "y", "first at index (3,)", "all finite"),
        ({"y": with_value(Y, np.inf)}, "y", "first at index (3,)", "all finite"),
        ({"y": ["a"] * 5}, "y", "['a', 'a'", "numbers only"),
        ({"likelihood": Gaussian(np.ones(4))}, "sigma_noise", "shape (4,)", "a number or shape (5,)"),
        ({"likelihood": 0.1}, "likelihood", "0.1", "a Likelihood"),
        ({"likelihood": Gaussian}, "likelihood", "class", "a Likelihood"),
        ({"prior": NormalPrior(np.ones(8))}, "prior_precision", "8 values", "one per weight (9)"),
        ({"prior": 1.0}, "prior", "1.0", "a Prior"),
        ({"prior": FlatPrior}, "prior", "class", "a Prior"),
        ({"model": "mlp"}, "model", "'mlp'", "a Model"),
    ],
)
def test_posterior(spoiled, argument, got, wants):
    with refuses(argument, got, wants):
        posterior(**spoiled)


def test_posterior_of_several_outputs_wants_as_many_targets():
    with refuses("y", "shape (5,)", "shape (5, 3)"):
        posterior(model=MLP(2, (2,), 3))


@pytest.mark.parametrize("value", [True, False])
def test_a_bool_is_no_noise(value):
    with refuses("sigma_noise", str(value), "a finite number above 0"):
        Gaussian(value)


def test_a_bool_is_no_precision():
    with refuses("prior_precision", "True", "above 0"):
        NormalPrior(True)


@pytest.mark.parametrize(
    ("spoiled", "argument", "got", "wants"),
    [
        ({"method": "adam"}, "method", "'adam'", "one of 'levenberg-marquardt'"),
        ({"start": np.zeros(8)}, "start", "shape (8,)", "shape (9,)"),
        ({"start": np.zeros((1, 9))}, "start", "shape (1, 9)", "shape (9,)"),
        ({"start": np.full(9, np.nan)}, "start", "9 NaN or infinite value(s)", "all finite"),
        ({"n_starts": 0}, "n_starts", "0", "an integer of at least 1"),
        ({"n_starts": 2.0}, "n_starts", "2.0", "an integer of at least 1"),
        ({"n_starts": True}, "n_starts", "True", "an integer of at least 1"),
        ({"max_steps": 0}, "max_steps", "0", "an integer of at least 1"),
        ({"tolerance": 0.0}, "tolerance", "0.0", "a finite number above 0"),
        ({"tolerance": True}, "tolerance", "True", "a finite number above 0"),
        ({"seed": -1}, "seed", "-1", "an integer of at least 0"),
        ({"seed": None}, "seed", "None", "an integer of at least 0"),
        ({"seed": True}, "seed", "True", "an integer of at least 0"),
    ],
)
def test_find_optimum(teacher_posterior, spoiled, argument, got, wants):
    with refuses(argument, got, wants):
        find_optimum(teacher_posterior, **spoiled)


@pytest.mark.parametrize(
    ("spoiled", "argument", "got", "wants"),
    [
        ({"curvature": "kfac"}, "curvature", "'kfac'", "one of 'ggn', 'hessian', 'fisher'"),
        ({"curvature": None}, "curvature", "None", "one of 'ggn', 'hessian', 'fisher'"),
        ({"structure": "kron"}, "structure", "'kron'", "one of 'full', 'layer', 'diag', 'lowrank', 'last_layer'"),
        ({"rank": 0}, "rank", "0", "an integer of at least 1"),
        ({"optimum": np.zeros(8)}, "weights", "shape (8,)", "9"),
    ],
)
def test_fit_laplace(teacher_posterior, teacher_optimum, spoiled, argument, got, wants):
    given = {"optimum": teacher_optimum} | spoiled
    with refuses(argument, got, wants):
        fit_laplace(teacher_posterior, **given)


@pytest.mark.parametrize(
    ("call", "argument", "got", "wants"),
    [
        (lambda lap: lap.sample(0), "n", "0", "an integer of at least 1"),
        (lambda lap: lap.sample(2.0), "n", "2.0", "an integer of at least 1"),
        (lambda lap: lap.sample(True), "n", "True", "an integer of at least 1"),
        (lambda lap: lap.sample(2, seed=-1), "seed", "-1", "an integer of at least 0"),
        (lambda lap: lap.predict(np.zeros((3, 2)), kind="mc"), "kind", "'mc'", "one of 'glm', 'weights'"),
        (lambda lap: lap.predict(np.zeros((3, 3))), "x", "shape (3, 3)", "shape (n, 2)"),
        (lambda lap: lap.predict([[np.nan, 0.0]]), "x", "1 NaN or infinite value(s)", "all finite"),
        (lambda lap: lap.functional_covariance(np.zeros(2)), "x", "shape (2,)", "shape (n, 2)"),
    ],
)
def test_laplace(teacher_laplace, call, argument, got, wants):
    with refuses(argument, got, wants):
        call(teacher_laplace)


@pytest.mark.parametrize(
    ("spoiled", "argument", "got", "wants"),
    [
        ({"max_rounds": 0}, "max_rounds", "0", "an integer of at least 1"),
        ({"max_rounds": True}, "max_rounds", "True", "an integer of at least 1"),
        ({"tolerance": -1.0}, "tolerance", "-1.0", "a finite number above 0"),
        ({"seed": -1}, "seed", "-1", "an integer of at least 0"),
        ({"optimum": np.zeros(8)}, "optimum", "shape (8,)", "9"),
    ],
)
def test_maximize_evidence(teacher_posterior, spoiled, argument, got, wants):
    with refuses(argument, got, wants):
        maximize_evidence(teacher_posterior, **spoiled)


@pytest.mark.parametrize(
    ("spoiled", "argument", "got", "wants"),
    [
        ({"num_chains": 1}, "num_chains", "1", "an integer of at least 2"),
        ({"num_chains": True}, "num_chains", "True", "an integer of at least 2"),
        ({"num_chains": 4.0}, "num_chains", "4.0", "an integer of at least 2"),
        ({"num_warmup": -1}, "num_warmup", "-1", "an integer of at least 0"),
        ({"num_warmup": True}, "num_warmup", "True", "an integer of at least 0"),
        ({"num_samples": 3}, "num_samples", "3", "an integer of at least 4"),
        ({"num_integration_steps": 0}, "num_integration_steps", "0", "an integer of at least 1"),
        ({"seed": -1}, "seed", "-1", "an integer of at least 0"),
        ({"seed": 1.5}, "seed", "1.5", "an integer of at least 0"),
        ({"seed": True}, "seed", "True", "an integer of at least 0"),
        (
            {"move": "nuts"},
            "move",
            "'nuts'",
            "one of 'auto', 'marginal_hmc', 'hmc', 'replica_exchange', 'microcanonical', 'mala', 'pcn', 'random_walk', "
            "'independence'",
        ),
        (
            {"move": RandomWalk},
            "move",
            "RandomWalk",
            "one of 'auto', 'marginal_hmc', 'hmc', 'replica_exchange', 'microcanonical', 'mala', 'pcn', 'random_walk', "
            "'independence'",
        ),
        ({"metric": "dense"}, "metric", "'dense'", "one of 'auto', 'averaged', 'laplace', 'diagonal', 'unit'"),
        ({"metric": None}, "metric", "None", "one of 'auto'"),
        ({"start": "mode"}, "start", "'mode'", "one of 'laplace', 'laplace_t', 'prior'"),
        ({"start": np.zeros((3, 9))}, "start", "shape (3, 9)", "shape (4, 9)"),
        ({"start": np.full((4, 9), np.inf)}, "start", "36 NaN or infinite value(s)", "all finite"),
        ({"start": np.full((4, 9), 1e200)}, "start", "not finite at 4 of 4 starts, first chain 0", "finite"),
        ({"target": "laplace"}, "target", "'laplace'", "a Laplace, such as fit_laplace returns, or a LogDensity"),
    ],
)
def test_sample(teacher_laplace, spoiled, argument, got, wants):
    given = {"target": teacher_laplace, "num_chains": 4, "num_warmup": 4, "num_samples": 4} | spoiled
    with refuses(argument, got, wants):
        sample(given.pop("target"), **given)
