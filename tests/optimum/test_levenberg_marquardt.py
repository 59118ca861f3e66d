import numpy as np
import pytest

from bayesnn.models import MLP
from bayesnn.optimum import Status, climb_together, levenberg_marquardt
from bayesnn.posterior import FlatPrior, Gaussian, NormalPrior, Posterior
from tests import oracles


@pytest.mark.parametrize("sigma", [0.4, np.linspace(0.1, 2.0, 30)], ids=["common sigma", "sigma per row"])
def test_a_linear_model_ends_at_the_closed_form(linear_data, linear_precision, sigma):
    x, y = linear_data
    post = Posterior(MLP(3, (), 1), x, y, Gaussian(sigma), NormalPrior(linear_precision))
    exact = oracles.LinearGaussian(oracles.design(x), y, sigma, linear_precision)
    run = levenberg_marquardt(post, np.zeros(4))
    assert run.status is Status.converged
    # within the decrement it claims, in posterior sds
    off = run.weights - exact.mean
    assert np.sqrt(off @ exact.precision @ off) <= 1.01e-6


def test_without_a_prior_a_linear_model_ends_at_least_squares(linear_data):
    x, y = linear_data
    post = Posterior(MLP(3, (), 1), x, y, Gaussian(0.4), FlatPrior())
    run = levenberg_marquardt(post, np.zeros(4))
    expected = np.linalg.lstsq(oracles.design(x), y)[0]
    assert run.status is Status.converged
    assert np.allclose(run.weights, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_a_run_says_where_it_ended(teacher_posterior, seed):
    start = np.random.default_rng(seed).standard_normal(9)
    kept = start.copy()
    run = levenberg_marquardt(teacher_posterior, start)
    assert np.array_equal(start, kept)
    assert run.log_density == pytest.approx(float(teacher_posterior.log_density(run.weights)), rel=1e-12)
    assert run.log_density > teacher_posterior.log_density(start)
    _, gradient = teacher_posterior.value_and_gradient(run.weights)
    # within a posterior sd of the mode the exact Hessian is the metric
    decrement = np.sqrt(gradient @ np.linalg.solve(teacher_posterior.hessian(run.weights), gradient))
    # a gradient near 0 is a difference of sums of size 1e4: known to 1e-11 of a posterior sd or so
    assert run.newton_decrement == pytest.approx(decrement, rel=1e-2, abs=1e-9)
    assert run.status is Status.converged
    assert run.newton_decrement <= 1e-6


def test_a_run_cannot_fall(teacher_posterior):
    start = np.random.default_rng(1).standard_normal(9)
    heights = [levenberg_marquardt(teacher_posterior, start, max_steps=m).log_density for m in range(1, 15)]
    assert np.all(np.diff(heights) >= 0)
    assert heights[-1] > heights[0]


def test_a_run_stays_where_it_begins_at_an_optimum(teacher_posterior, teacher_optimum):
    # theory A1: the naive iteration leaves an optimum in its first step
    run = levenberg_marquardt(teacher_posterior, teacher_optimum.weights)
    assert run.status is Status.converged
    assert run.n_steps == 0
    assert np.array_equal(run.weights, teacher_optimum.weights)


def test_steps_can_run_out(teacher_posterior):
    run = levenberg_marquardt(teacher_posterior, np.random.default_rng(1).standard_normal(9), max_steps=3)
    assert run.status is Status.max_steps
    assert run.n_steps == 3


def test_tolerance_is_the_decrement_reached(teacher_posterior):
    start = np.random.default_rng(1).standard_normal(9)
    rough = levenberg_marquardt(teacher_posterior, start, tolerance=1e-1)
    fine = levenberg_marquardt(teacher_posterior, start, tolerance=1e-8)
    assert 1e-8 < rough.newton_decrement <= 1e-1
    assert fine.newton_decrement <= 1e-8
    assert rough.n_steps < fine.n_steps


def test_a_start_that_is_not_finite_says_so(teacher_posterior):
    run = levenberg_marquardt(teacher_posterior, np.full(9, np.nan))
    assert run.status is Status.nonfinite
    assert run.n_steps == 0


@pytest.mark.parametrize("scale", [1e160, 1e200])
def test_a_start_that_overflows_says_so_quietly(teacher_posterior, scale):
    # warnings are errors here: the status alone tells
    assert levenberg_marquardt(teacher_posterior, np.full(9, scale)).status is Status.nonfinite


def test_directions_the_data_leave_free_are_reported(rng):
    # 4 rows cannot determine 9 weights; without a prior the fit is perfect and the rest is free
    x, y = rng.standard_normal((4, 2)), rng.standard_normal(4)
    post = Posterior(MLP(2, (2,), 1), x, y, Gaussian(0.1), FlatPrior())
    run = levenberg_marquardt(post, rng.standard_normal(9))
    assert run.status is Status.rank_deficient
    assert np.allclose(post.model.predict(run.weights, post.x)[:, 0], y, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["Norris", "Longley", "Wampler1"])
def test_certified_regressions_are_solved_without_a_prior(name):
    x, y, params, _, sigma = oracles.nist(name)
    net = MLP(x.shape[1], (), 1)
    post = Posterior(net, x, y, Gaussian(sigma or 1.0), FlatPrior())
    run = levenberg_marquardt(post, net.initial_weights(np.random.default_rng(0)), tolerance=1e-9)
    assert run.status is Status.converged
    # the error of a weight is at most the decrement times its sd, each residual rounded once; 15 digits are certified
    sd = (sigma or 1.0) * np.sqrt(inverse_gram_diagonal(oracles.design(x)))
    rounding = np.finfo(float).eps * np.linalg.norm(y) / (sigma or 1.0)
    bound = (1.01 * run.newton_decrement + rounding) * sd + 1e-12 * np.abs(params)
    assert np.all(np.abs(run.weights - params) <= bound)
    assert run.newton_decrement < 1e-6


def inverse_gram_diagonal(A):
    """Diagonal of (A'A)^-1 by QR of unit columns: enough digits for a bound."""
    lengths = np.linalg.norm(A, axis=0)
    R = np.linalg.qr(A / lengths, mode="r")
    return (np.linalg.inv(R) ** 2).sum(axis=1) / lengths**2


@pytest.mark.parametrize("together", [1, 2, 50])
def test_climbing_together_ends_where_climbing_alone_does(teacher_posterior, together, monkeypatch):
    monkeypatch.setattr(Posterior, "linearized_together", together)
    starts = [np.full(9, np.nan), *np.random.default_rng(4).standard_normal((5, 9))]
    ends = dict(climb_together(teacher_posterior, starts))
    assert sorted(ends) == list(range(6))
    for i, start in enumerate(starts):
        alone = levenberg_marquardt(teacher_posterior, start)
        assert (ends[i].status, ends[i].n_steps) == (alone.status, alone.n_steps)
        assert np.allclose(ends[i].weights, alone.weights, rtol=1e-8, atol=1e-10, equal_nan=True)


def test_a_saddle_does_not_hold_a_search_up():
    """Beside the saddle w = 0 of a two-layer linear scalar network: the GGN alone sees no way down there."""
    x = np.linspace(-1, 1, 20)[:, None]
    post = Posterior(MLP(1, (1,), 1, activation="identity", bias=False), x, 2.0 * x, Gaussian(0.1), NormalPrior(1e-3))
    run = levenberg_marquardt(post, np.array([1e-5, 1e-5]))
    assert run.status is Status.converged
    assert abs(run.weights.prod() - 2.0) < 1e-3
    assert run.n_steps < 30
    assert levenberg_marquardt(post, np.zeros(2)).status is Status.saddle


@pytest.mark.parametrize("prior", [NormalPrior(1.0), FlatPrior()])
def test_units_of_the_inputs_do_not_change_the_path(prior, rng):
    # W1 in other units has its prior in other units too: then the two problems are one
    x = rng.standard_normal((40, 2))
    y = np.tanh(x @ np.array([1.0, -0.5])) + 0.1 * rng.standard_normal(40)
    unit = np.array([1e3, 1e-3])
    change = np.ones(9)
    change[:4] = np.repeat(unit, 2)
    scaled_prior = NormalPrior(change**2) if isinstance(prior, NormalPrior) else prior
    start = rng.standard_normal(9)
    run = levenberg_marquardt(Posterior(MLP(2, (2,), 1), x, y, Gaussian(0.1), prior), start, max_steps=12)
    other = levenberg_marquardt(
        Posterior(MLP(2, (2,), 1), x * unit, y, Gaussian(0.1), scaled_prior), start / change, 12
    )
    assert np.allclose(other.weights * change, run.weights, rtol=1e-6, atol=1e-8)
