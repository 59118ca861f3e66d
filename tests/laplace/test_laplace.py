import numpy as np
import pytest
from scipy.stats import multivariate_normal

from bayesnn.laplace import fit_laplace
from bayesnn.models import MLP
from bayesnn.optimum import find_optimum
from bayesnn.posterior import FlatPrior, Gaussian, NormalPrior, Posterior
from tests import oracles
from tests.optimum.test_certificate import saddle_posterior
from tests.refusals import refuses

EPS = np.finfo(float).eps
NEW_X = np.array([[0.0, 0.0, 0.0], [1.0, -1.0, 2.0], [10.0, 0.5, -3.0]])


class Linear:
    """A linear model with its Laplace posterior and the closed form."""

    def __init__(self, x, y, sigma, precision, curvature="ggn"):
        post = Posterior(MLP(3, (), 1), x, y, Gaussian(sigma), NormalPrior(precision))
        self.laplace = fit_laplace(post, find_optimum(post, seed=0), curvature=curvature)
        self.exact = oracles.LinearGaussian(oracles.design(x), y, sigma, precision)


@pytest.fixture(params=["ggn", "hessian"])
def curvature(request):
    return request.param


@pytest.fixture(params=["common sigma", "sigma per row"])
def linear(request, linear_data, linear_precision, curvature):
    sigma = 0.4 if request.param == "common sigma" else np.linspace(0.2, 2.0, 30)
    return Linear(*linear_data, sigma, linear_precision, curvature)


def test_of_a_linear_model_the_gaussian_is_exact(linear):
    laplace, exact = linear.laplace, linear.exact
    sd = np.sqrt(np.diag(exact.covariance))
    assert np.allclose(laplace.posterior_precision, exact.precision, rtol=1e-11, atol=1e-11)
    assert np.allclose(laplace.posterior_covariance / sd / sd[:, None], exact.covariance / sd / sd[:, None])
    assert np.all(np.abs(laplace.mean - exact.mean) < 1e-6 * sd)
    assert np.isclose(laplace.log_det_posterior_precision, np.linalg.slogdet(exact.precision)[1], rtol=1e-12)
    assert laplace.certificate.is_optimum


def test_of_a_linear_model_the_evidence_is_exact(linear):
    assert abs(linear.laplace.log_marginal_likelihood - linear.exact.log_evidence) < 1e-8


def test_log_prob_is_the_normal_density(linear, rng):
    laplace = linear.laplace
    w = laplace.mean + rng.standard_normal((2, 5, 4))
    expected = multivariate_normal.logpdf(w, laplace.mean, linear.exact.covariance)
    assert laplace.log_prob(w).shape == (2, 5)
    assert np.allclose(laplace.log_prob(w), expected, rtol=1e-10)
    assert np.isclose(laplace.log_prob(w[0, 0]), expected[0, 0], rtol=1e-10)


def test_of_a_linear_model_posterior_and_gaussian_differ_by_the_evidence_everywhere(linear, rng):
    laplace = linear.laplace
    w = laplace.mean + rng.standard_normal((20, 4))
    difference = laplace.posterior.log_density(w) - laplace.log_prob(w)
    # log densities here go down to -1e4: rounding 1e-12 of them
    assert np.allclose(difference, linear.exact.log_evidence, rtol=0, atol=1e-8)


def test_of_a_linear_model_predictions_are_exact(linear):
    A, exact = oracles.design(NEW_X), linear.exact
    joint = A @ exact.covariance @ A.T
    prediction = linear.laplace.predict(NEW_X)
    assert prediction.mean.shape == prediction.sd.shape == (3, 1)
    assert np.allclose(prediction.mean[:, 0], A @ exact.mean, rtol=0, atol=1e-6 * np.sqrt(np.diag(joint)))
    assert np.allclose(prediction.sd[:, 0], np.sqrt(np.diag(joint)), rtol=1e-10)
    assert np.allclose(linear.laplace.functional_covariance(NEW_X), joint, rtol=1e-9, atol=1e-12)


def test_noise_adds_to_the_variance_of_a_prediction(linear_laplace):
    plain, noisy = linear_laplace.predict(NEW_X), linear_laplace.predict(NEW_X, noise=True)
    assert np.array_equal(plain.mean, noisy.mean)
    assert np.allclose(noisy.sd**2, plain.sd**2 + 0.4**2, rtol=1e-13)


def test_predictions_over_draws_of_a_linear_model_agree_with_the_exact_ones(linear_laplace):
    n = 4000
    exact, drawn = linear_laplace.predict(NEW_X), linear_laplace.predict(NEW_X, "weights", n_draws=n, seed=1)
    # outputs of a linear model are normal: a mean errs by sd / sqrt(n), an sd by 1 / sqrt(2 n) of itself; 4.5 times
    assert np.all(np.abs(drawn.mean - exact.mean) < 4.5 * exact.sd / np.sqrt(n))
    assert np.all(np.abs(drawn.sd / exact.sd - 1.0) < 4.5 / np.sqrt(2 * n))


def test_predictions_over_draws_are_moments_of_the_networks_outputs(teacher_laplace):
    x = teacher_laplace.posterior.x[:7]
    net = oracles.Net.of(teacher_laplace.posterior.model)
    outputs = np.array([oracles.predict(net, w, x) for w in teacher_laplace.sample(50, seed=3)])
    prediction = teacher_laplace.predict(x, "weights", n_draws=50, seed=3)
    assert np.allclose(prediction.mean, outputs.mean(axis=0), rtol=1e-12)
    assert np.allclose(prediction.sd, outputs.std(axis=0, ddof=1), rtol=1e-10)


@pytest.fixture
def two_outputs(rng, curvature):
    """A small network with two outputs at its optimum, with the oracles' B and curvature there."""
    x = rng.standard_normal((60, 2))
    y = np.column_stack([np.tanh(x[:, 0]), np.tanh(x[:, 1] - 1.0)]) + 0.1 * rng.standard_normal((60, 2))
    post = Posterior(MLP(2, (2,), 2), x, y, Gaussian(0.1), NormalPrior([0.5, 2.0]))
    laplace = fit_laplace(post, find_optimum(post, n_starts=4, seed=0), curvature=curvature)
    assert laplace.certificate.is_optimum
    net, w = oracles.Net.of(post.model), laplace.mean
    if curvature == "ggn":
        precision = oracles.ggn(net, w, x, 0.1, post.prior_precision)
    else:
        precision = oracles.hessian(net, w, x, y, 0.1, post.prior_precision)
    return laplace, net, precision


def test_of_a_network_the_precision_is_the_curvature_at_the_optimum(two_outputs):
    laplace, net, precision = two_outputs
    post, covariance = laplace.posterior, np.linalg.inv(precision)
    # an inverse loses condition number times eps, relative to its norm
    loss = np.linalg.cond(precision) * EPS * 100
    assert loss < 1e-6
    assert np.allclose(laplace.posterior_precision, precision, rtol=0, atol=1e-10 * np.abs(precision).max())
    assert np.allclose(laplace.posterior_covariance, covariance, rtol=0, atol=loss * np.abs(covariance).max())
    peak = oracles.log_density(net, laplace.mean, post.x, post.y, 0.1, post.prior_precision)
    k = laplace.n_weights
    evidence = peak + 0.5 * k * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(precision)[1]
    assert abs(laplace.log_marginal_likelihood - evidence) < 1e-8


def test_of_a_network_the_linearized_prediction_uses_b(two_outputs, rng):
    laplace, net, precision = two_outputs
    x = rng.standard_normal((4, 2))
    B = oracles.jacobian(net, laplace.mean, x).reshape(8, -1)  # rows in C order: (row, output)
    joint = B @ np.linalg.inv(precision) @ B.T
    prediction = laplace.predict(x)
    assert np.allclose(prediction.mean, oracles.predict(net, laplace.mean, x), rtol=1e-12)
    assert np.allclose(prediction.sd.ravel(), np.sqrt(np.diag(joint)), rtol=1e-8)
    assert np.allclose(laplace.functional_covariance(x), joint, rtol=0, atol=1e-8 * np.abs(joint).max())


def test_scale_and_eigendirections_rebuild_the_covariance(teacher_laplace):
    covariance = teacher_laplace.posterior_covariance
    scale = teacher_laplace.posterior_scale
    sd, directions = teacher_laplace.eigendirections
    small = 1e-11 * np.abs(covariance).max()
    assert np.allclose(scale @ scale.T, covariance, rtol=0, atol=small)
    assert np.array_equal(scale, np.triu(scale))
    assert np.allclose((directions * sd**2) @ directions.T, covariance, rtol=0, atol=small)
    assert np.allclose(directions.T @ directions, np.eye(9), rtol=0, atol=1e-13)
    assert np.all(np.diff(sd) <= 0)


def test_draws_have_the_mean_and_covariance_they_should(teacher_laplace):
    n = 20000
    draws = teacher_laplace.sample(n, seed=0)
    z = (draws - teacher_laplace.mean) @ np.linalg.cholesky(teacher_laplace.posterior_precision)
    # z is N(0, I): a mean errs by 1 / sqrt(n), a variance by sqrt(2 / n), a covariance by 1 / sqrt(n); 5 times
    assert np.all(np.abs(z.mean(axis=0)) < 5 / np.sqrt(n))
    off = np.abs(z.T @ z / n - np.eye(9)) / np.sqrt((1.0 + np.eye(9)) / n)
    assert off.max() < 5


def test_draws_follow_their_seed(teacher_laplace):
    assert np.array_equal(teacher_laplace.sample(5, seed=1), teacher_laplace.sample(5, seed=1))
    assert not np.array_equal(teacher_laplace.sample(5, seed=1), teacher_laplace.sample(5, seed=2))
    assert teacher_laplace.sample(5).shape == (5, 9)


@pytest.mark.parametrize("name", ["Norris", "Longley", "Wampler1"])
def test_certified_standard_deviations_are_reproduced(name):
    x, y, params, std, residual_sd = oracles.nist(name)
    A = oracles.design(x)
    exact = np.sqrt(oracles.exact_inverse_gram_diagonal(np.rint(1e4 * A))) * 1e4
    sigma = residual_sd or 1.0  # Wampler1 fits exactly: its certified deviations are 0 times (X'X)^-1
    post = Posterior(MLP(x.shape[1], (), 1), x, y, Gaussian(sigma), FlatPrior())
    laplace = fit_laplace(post, params)
    sd = np.sqrt(np.diag(laplace.posterior_covariance))
    # Cholesky of unit columns: backward error k * eps, magnified by the square of their condition
    condition = np.linalg.cond(A / np.linalg.norm(A, axis=0))
    tolerance = A.shape[1] * EPS * condition**2 + 1e-13
    assert tolerance < 1e-5
    assert np.allclose(sd, sigma * exact, rtol=tolerance, atol=0)
    if residual_sd:
        assert np.allclose(sd, std, rtol=tolerance, atol=0)


def test_the_evidence_counts_one_mode_and_says_how_many_there_are(teacher_laplace):
    assert np.isclose(teacher_laplace.log_symmetry_order, np.log(8), rtol=1e-14)


def test_a_point_that_is_no_optimum_says_so(teacher_posterior, teacher_optimum):
    laplace = fit_laplace(teacher_posterior, teacher_optimum.weights + 0.1)
    assert not laplace.certificate.is_optimum
    assert np.array_equal(laplace.mean, teacher_optimum.weights + 0.1)


def test_an_optimum_and_its_weights_give_the_same(teacher_posterior, teacher_optimum, teacher_laplace):
    again = fit_laplace(teacher_posterior, list(teacher_optimum.weights))
    assert np.array_equal(again.mean, teacher_laplace.mean)
    assert np.array_equal(again.factor.upper, teacher_laplace.factor.upper)


def test_the_mean_is_a_copy_nobody_can_change(teacher_posterior, teacher_optimum):
    weights = teacher_optimum.weights.copy()
    laplace = fit_laplace(teacher_posterior, weights)
    weights[0] = 99.0
    assert laplace.mean[0] == teacher_optimum.weights[0]
    with pytest.raises(ValueError, match="read-only"):
        laplace.mean[0] = 99.0


def test_a_singular_precision_is_refused(teacher_data, rng):
    post = Posterior(MLP(2, (2,), 1, activation="relu"), *teacher_data, Gaussian(0.1), FlatPrior())
    with refuses("prior", "rank 7 for 9 weights", "NormalPrior"):
        fit_laplace(post, np.abs(rng.standard_normal(9)) + 0.1)


def test_an_indefinite_hessian_is_refused_with_the_weights_it_bends_along():
    post, smallest = saddle_posterior(1.0, hidden=1)
    with refuses("curvature", f"smallest eigenvalue {smallest:.3g} along ", "'ggn'") as _:
        fit_laplace(post, np.zeros(4), curvature="hessian")
    with refuses("curvature", "W2[0,0]", "a certified optimum"):
        fit_laplace(post, np.zeros(4), curvature="hessian")
    # the GGN there is the prior and n / sigma**2 for the output's bias: a Gaussian, if not an optimum
    expected = np.diag([1.0, 1.0, 1.0, 1.0 + 20 / 0.25])
    laplace = fit_laplace(post, np.zeros(4))
    assert np.allclose(laplace.posterior_precision, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("curvature", ["ggn", "hessian"])
def test_weights_that_are_not_finite_are_refused(teacher_posterior, curvature):
    with refuses("optimum", "NaN", "finite"):
        fit_laplace(teacher_posterior, np.full(9, np.nan), curvature=curvature)


@pytest.mark.parametrize("shape", [(1,), (4,), (3, 1), (3, 8)])
def test_log_prob_refuses_weights_of_another_length(teacher_laplace, shape):
    with refuses("weights", f"shape {shape}", "9"):
        teacher_laplace.log_prob(np.zeros(shape))


@pytest.mark.parametrize("n_draws", [0, 1])
def test_moments_want_two_draws_at_least(linear_laplace, n_draws):
    with refuses("n_draws", str(n_draws), "at least 2"):
        linear_laplace.predict(NEW_X, "weights", n_draws=n_draws)


def test_noise_of_new_targets_is_refused_where_each_row_has_its_own(linear_data):
    laplace = Linear(*linear_data, np.linspace(0.1, 1.0, 30), np.ones(4)).laplace
    with refuses("noise", "one sigma_noise per training row", "one sigma_noise for all rows"):
        laplace.predict(NEW_X, noise=True)


def test_eigendirections_keep_their_digits_where_the_precision_has_lost_them():
    # inputs that say 1e10 times less of one direction than of another: the precision's condition is 1e20
    rng = np.random.default_rng(0)
    turn, lengths = np.linalg.qr(rng.standard_normal((3, 3)))[0], np.array([1.0, 1e-5, 1e-10])
    x = np.linalg.qr(rng.standard_normal((50, 3)))[0] @ (lengths[:, None] * turn.T)
    posterior = Posterior(MLP(3, (), 1, bias=False), x, x @ np.ones(3), Gaussian(0.5), FlatPrior())
    sd, directions = fit_laplace(posterior, np.ones(3)).eigendirections
    # rounding of the inputs, 1e-16 of the longest, is 1e-6 of the shortest
    np.testing.assert_allclose(sd, 0.5 / lengths[::-1], rtol=1e-4)
    np.testing.assert_allclose(np.abs((directions * turn[:, ::-1]).sum(axis=0)), 1.0, atol=1e-4)


def test_the_functions_covariance_is_without_inferred_noise(linear_data):
    x, y = linear_data
    posterior = Posterior(MLP(3, (), 1), x, y, Gaussian("infer"), NormalPrior(1.0))
    laplace = fit_laplace(posterior, find_optimum(posterior, seed=0, progress=False))
    covariance = laplace.functional_covariance(NEW_X)
    assert covariance.shape == (3, 3)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), laplace.predict(NEW_X).sd[:, 0])


def test_images_that_are_where_the_mode_is_are_not_counted():
    # the prior alone: weights of 0 are their own mirror image
    alone = Posterior(MLP(1, (1,), 1, bias=False), np.ones((3, 1)), np.zeros(3), Gaussian(1.0), NormalPrior(1.0))
    assert fit_laplace(alone, np.zeros(2)).log_symmetry_order == 0.0
    # one unit at work and one at rest: 2! 2^2 images, two of each place
    x = np.linspace(-2.0, 2.0, 40)[:, None]
    two = Posterior(MLP(1, (2,), 1, bias=False), x, np.tanh(2.0 * x), Gaussian(0.3), NormalPrior(1.0))
    at_rest = find_optimum(two, start=np.array([1.5, 0.0, 1.0, 0.0]), n_starts=1, progress=False)
    assert np.abs(at_rest.weights[[1, 3]]).max() < 1e-8
    assert fit_laplace(two, at_rest.weights).log_symmetry_order == pytest.approx(np.log(8.0) - np.log(2.0))


def test_a_flat_noise_is_what_low_rank_cannot_have(teacher_data):
    post = Posterior(MLP(2, (2,), 1), *teacher_data, Gaussian("infer"), NormalPrior(1.0))
    with refuses("structure", "log_sigma_noise has a flat prior", "log_sigma_prior"):
        fit_laplace(post, np.zeros(10), structure="lowrank")
