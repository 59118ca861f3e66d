"""Problems without a good answer: a named status or an error that says what to do, never a silent number."""

import contextlib

import numpy as np
import pytest

from bayesnn import FlatPrior, FunctionModel, Gaussian, NormalPrior, Posterior
from bayesnn.errors import ArgumentError
from bayesnn.laplace import fit_laplace, maximize_evidence
from bayesnn.models import MLP
from bayesnn.optimum import OptimumError, Status, certify, find_optimum
from tests import oracles
from tests.refusals import refuses

RNG = np.random.default_rng(3)
X = RNG.standard_normal((40, 2))
SLOPES, OFFSET = np.array([1.0, -2.0]), 0.5
CLEAN = X @ SLOPES + OFFSET
Y = CLEAN + 0.1 * RNG.standard_normal(40)
LINEAR, NET = MLP(2, (), 1), MLP(2, (2,), 1)
PRIOR = NormalPrior(1.0)
TEACHER = np.array([1.2, -0.6, 0.5, 1.4, 0.3, -0.4, 1.0, -1.2, 0.2])


def posterior(net, x, y, prior):
    return Posterior(net, x, y, Gaussian(0.1), prior)


def refuses_a_gaussian(post, found):
    """No Laplace of a precision that is singular, and the message says what to do."""
    with refuses(
        "prior", f"a precision of rank {found.certificate.rank} for {post.n_weights} weights", "a NormalPrior"
    ):
        fit_laplace(post, found)


DUPLICATED = np.column_stack([X, X[:, 0]])
CONSTANT = np.column_stack([X, np.full(40, 3.0)])
ZERO = np.column_stack([X, np.zeros(40)])


@pytest.mark.parametrize(
    ("net", "x", "y", "rank"),
    [
        (MLP(5, (), 1), np.random.default_rng(1).standard_normal((4, 5)), Y[:4], 4),
        (MLP(2, (4,), 1), X[:6], Y[:6], 6),
        (MLP(3, (), 1), DUPLICATED, Y, 3),
        (MLP(3, (), 1), CONSTANT, Y, 3),
        (MLP(3, (), 1), ZERO, Y, 3),
    ],
    ids=["fewer rows, linear", "fewer rows", "duplicated", "constant", "zero"],
)
def test_directions_the_data_leave_free_are_named_without_a_prior(net, x, y, rank):
    post = posterior(net, x, y, FlatPrior())
    found = find_optimum(post, seed=0)
    assert found.status is Status.rank_deficient
    assert "NormalPrior" in found.status.advice
    assert found.certificate.rank == rank < post.n_weights
    assert not found.certificate.is_optimum
    assert any(reason.startswith("rank of B") for reason in found.certificate.reasons)
    refuses_a_gaussian(post, found)
    with pytest.raises(OptimumError, match="rank_deficient"):
        find_optimum(post, seed=0, throw=True)


@pytest.mark.parametrize("x", [DUPLICATED, CONSTANT, ZERO], ids=["duplicated", "constant", "zero"])
def test_free_directions_of_a_network_are_named_without_a_prior(x):
    post = posterior(MLP(3, (2,), 1), x, Y, FlatPrior())
    found = find_optimum(post, seed=0)
    assert not found.certificate.is_optimum
    assert found.certificate.rank == 9
    refuses_a_gaussian(post, found)
    assert found.status is Status.rank_deficient


@pytest.mark.parametrize(
    ("net", "x", "y"),
    [
        (MLP(2, (4,), 1), X[:6], Y[:6]),
        (MLP(3, (), 1), DUPLICATED, Y),
        (MLP(3, (2,), 1), DUPLICATED, Y),
        (MLP(3, (2,), 1), CONSTANT, Y),
    ],
    ids=["fewer rows", "duplicated, linear", "duplicated", "constant"],
)
def test_a_prior_settles_what_the_data_leave_free(net, x, y):
    post = posterior(net, x, y, PRIOR)
    found = find_optimum(post, n_starts=3, seed=0)
    assert found.status is Status.converged
    assert found.certificate.rank < post.n_weights
    sd = np.linalg.norm(fit_laplace(post, found).posterior_scale, axis=1)
    # data only add to the prior's precision; rounding of a factor of condition 1e5 at most
    assert np.all((sd > 0) & (sd <= 1.0 + 1e-9))


def test_duplicated_columns_share_their_weight_under_a_prior():
    found = find_optimum(posterior(MLP(3, (), 1), DUPLICATED, Y, PRIOR), seed=0)
    exact = oracles.LinearGaussian(oracles.design(DUPLICATED), Y, 0.1, np.ones(4)).mean
    assert np.allclose(found.weights, exact, rtol=0, atol=1e-8)
    assert found.weights[0] == pytest.approx(found.weights[2], abs=1e-8)


@pytest.mark.parametrize("level", [0.0, 5.0])
def test_equal_targets_are_fitted_by_a_constant(level):
    found = find_optimum(posterior(LINEAR, X, np.full(40, level), FlatPrior()), seed=0)
    assert found.status is Status.converged
    assert np.allclose(found.weights, [0.0, 0.0, level], rtol=0, atol=1e-9)


@pytest.mark.parametrize("level", [0.0, 5.0])
def test_equal_targets_under_a_prior_have_an_optimum(level):
    post = posterior(NET, X, np.full(40, level), PRIOR)
    found = find_optimum(post, n_starts=3, seed=0)
    assert found.status is Status.converged
    outputs = fit_laplace(post, found).predict(X)
    assert np.abs(outputs.mean - level).max() < 0.1
    assert np.isfinite(outputs.sd).all()


@pytest.mark.parametrize("level", [0.0, 5.0])
def test_equal_targets_leave_a_network_free_without_a_prior(level):
    post = posterior(NET, X, np.full(40, level), FlatPrior())
    found = find_optimum(post, n_starts=3, seed=0)
    assert found.status in (Status.rank_deficient, Status.saddle, Status.stalled)
    assert not found.certificate.is_optimum
    # Output weights of 0 leave the others free, and are refused; those of 1e-9 are not, and the certificate says no.
    with contextlib.suppress(ArgumentError):
        assert not fit_laplace(post, found).certificate.is_optimum


@pytest.mark.parametrize("prior", [FlatPrior(), PRIOR], ids=["flat", "normal"])
def test_a_perfect_fit_converges(prior):
    post = posterior(LINEAR, X, CLEAN, prior)
    found = find_optimum(post, seed=0)
    assert found.status is Status.converged
    assert np.isfinite(found.log_density)
    exact = np.append(SLOPES, OFFSET)
    if prior is PRIOR:
        exact = oracles.LinearGaussian(oracles.design(X), CLEAN, 0.1, np.ones(3)).mean
    assert np.allclose(found.weights, exact, rtol=0, atol=1e-8)
    sd = np.linalg.norm(fit_laplace(post, found).posterior_scale, axis=1)
    assert np.all(np.isfinite(sd) & (sd > 0))


@pytest.mark.parametrize("prior", [FlatPrior(), PRIOR], ids=["flat", "normal"])
def test_a_perfect_fit_of_a_network_converges(prior):
    post = posterior(NET, X, NET.predict(TEACHER, X), prior)
    found = find_optimum(post, start=TEACHER + 0.1)
    assert found.status is Status.converged
    assert np.isfinite([found.log_density, found.certificate.newton_step_change]).all()
    if prior is not PRIOR:
        assert np.allclose(found.weights, TEACHER, rtol=0, atol=1e-6)


@pytest.mark.parametrize("net", [LINEAR, NET], ids=["linear", "network"])
def test_a_perfect_fit_has_no_noise_to_find(net):
    w = TEACHER if net is NET else np.append(SLOPES, OFFSET)
    tuned = maximize_evidence(posterior(net, X, net.predict(w, X), PRIOR), w if net is NET else None, seed=0)
    assert tuned.tuning.status is not Status.converged
    last = tuned.tuning.rounds[-1]
    assert np.isfinite([last.sigma_noise, last.prior_precision, last.log_marginal_likelihood]).all()


@pytest.mark.parametrize(("net", "x", "y"), [(LINEAR, X, np.zeros(40)), (LINEAR, X, np.full(40, 5.0))])
def test_equal_targets_have_no_noise_to_find(net, x, y):
    tuned = maximize_evidence(posterior(net, x, y, PRIOR), seed=0)
    assert tuned.tuning.status is not Status.converged
    assert tuned.tuning.status.advice
    numbers = [(r.sigma_noise, r.prior_precision, r.log_marginal_likelihood) for r in tuned.tuning.rounds]
    assert np.isfinite(numbers).all()


def test_inputs_of_1e8_give_a_linear_model_the_scaled_answer():
    expected = np.linalg.lstsq(oracles.design(X), Y)[0]
    post = posterior(LINEAR, 1e8 * X, Y, FlatPrior())
    found = find_optimum(post, seed=0)
    assert found.status is Status.converged
    # 1e-9 of a weight: the search ends within 1e-6 sd, polish goes on to rounding times a condition of 2
    assert np.allclose(found.weights, expected / [1e8, 1e8, 1.0], rtol=1e-9, atol=0)
    sd = np.linalg.norm(fit_laplace(post, found).posterior_scale, axis=1)
    A = oracles.design(X)
    assert np.allclose(sd * [1e8, 1e8, 1.0], 0.1 * np.sqrt(np.diag(np.linalg.inv(A.T @ A))), rtol=1e-9, atol=0)


def test_inputs_far_from_the_origin_are_right_or_say_so():
    # x = 1e8 + standard normal: columns agree with the constant to 1e-8, beyond Cholesky, within QR
    found = find_optimum(posterior(LINEAR, X + 1e8, Y, FlatPrior()), seed=0)
    expected = np.linalg.lstsq(oracles.design(X), Y)[0]
    if found.status is Status.converged:
        assert np.allclose(found.weights[:2], expected[:2], rtol=1e-6, atol=0)
    else:
        assert found.status in (Status.stalled, Status.rank_deficient, Status.max_steps)


@pytest.mark.parametrize("prior", [FlatPrior(), PRIOR], ids=["flat", "normal"])
@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus", "sin"])
def test_inputs_of_1e8_never_give_a_network_a_silent_number(activation, prior):
    post = posterior(MLP(2, (2,), 1, activation=activation), 1e8 * X, Y, prior)
    found = find_optimum(post, seed=0, max_steps=200)
    assert found.status.advice
    assert np.isfinite(found.weights).all()
    # it says converged only where the naive references agree that this is a maximum
    if found.status is Status.converged:
        net = oracles.Net.of(post.model)
        hessian = oracles.hessian(net, found.weights, post.x, post.y, 0.1, post.prior_precision)
        gradient = oracles.gradient(net, found.weights, post.x, post.y, 0.1, post.prior_precision)
        assert np.linalg.eigvalsh(hessian)[0] > 0
        assert np.sqrt(gradient @ np.linalg.solve(hessian, gradient)) < 1e-3
    else:
        assert not found.certificate.is_optimum or found.status is Status.max_steps


def test_inputs_that_overflow_say_so():
    found = find_optimum(posterior(LINEAR, 1e200 * X, Y, FlatPrior()), seed=0)
    assert found.status is Status.nonfinite
    assert "standardise" in found.status.advice


def root_model(w, x):
    with np.errstate(invalid="ignore"):
        return np.sqrt(w[0]) * x[:, 0] + w[1]


@pytest.mark.parametrize("case", ["overflow", "NaN"])
def test_no_gaussian_where_the_density_is_not_finite(case):
    if case == "overflow":
        post = posterior(LINEAR, 1e200 * X, Y, FlatPrior())
        found = find_optimum(post, seed=0)
    else:
        post = posterior(FunctionModel(root_model, ["square", "offset"]), X, Y, FlatPrior())
        found = find_optimum(post, start=[-1.0, 0.0])
    assert found.status is Status.nonfinite
    with pytest.raises(ArgumentError):
        fit_laplace(post, found)


def test_a_function_that_is_nan_at_its_start_says_so():
    post = posterior(FunctionModel(root_model, ["square", "offset"]), X, Y, FlatPrior())
    found = find_optimum(post, start=[-1.0, 0.0])
    assert found.status is Status.nonfinite
    assert "start" in found.status.advice
    with pytest.raises(OptimumError, match="nonfinite"):
        find_optimum(post, start=[-1.0, 0.0], throw=True)
    assert not certify(post, np.array([-1.0, 0.0])).is_optimum


def test_a_function_of_the_wrong_shape_is_refused_by_every_door():
    post = posterior(FunctionModel(lambda w, x: w[0] * x, ["slope"]), X, Y, PRIOR)
    doors = (find_optimum, lambda p: fit_laplace(p, np.ones(1)), maximize_evidence, lambda p: certify(p, np.ones(1)))
    for door in doors:
        with refuses("function", "shape (40, 2)", "shape (40,)"):
            door(post)


def test_a_jacobian_that_disagrees_is_refused_by_every_door():
    model = FunctionModel(lambda w, x: w[0] * x[:, 0], ["slope"], lambda w, x: 1.1 * x[:, :1])
    post = posterior(model, X, Y, PRIOR)
    doors = (find_optimum, lambda p: fit_laplace(p, np.ones(1)), maximize_evidence, lambda p: certify(p, np.ones(1)))
    for door in doors:
        with refuses("jacobian", "a derivative by slope that is 0.1 off", "the derivative of function"):
            door(post)
