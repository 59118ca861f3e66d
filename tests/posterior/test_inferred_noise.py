"""Gaussian("infer"): the log standard deviation of the noise as the last coordinate of the posterior."""

import numpy as np
import pytest
from scipy.stats import norm

import bayesnn.posterior.row_sums as row_sums_module
from bayesnn import MLP, FlatPrior, FunctionModel, Gaussian, NormalPrior, Posterior, find_optimum, fit_laplace
from tests import oracles
from tests.refusals import refuses

N = 40
NETS = [MLP(2, (2,), 1), MLP(2, (2,), 2), MLP(2, (), 1)]
TAU = 0.7
LOG_SIGMA_PRIORS = pytest.mark.parametrize("log_sigma_prior", [None, (-1.0, 0.3)], ids=["flat", "normal"])
BDA3 = {"mu": 3501.0, "log_sigma": 6.551873583019178, "mu_mu": 163592.66666666666, "log_sigma_log_sigma": 1.0 / 6.0}


def infer(log_sigma_prior=None):
    return Gaussian("infer") if log_sigma_prior is None else Gaussian("infer", log_sigma_prior=log_sigma_prior)


class Problem:
    """A posterior with inferred noise, and the same said by the oracles."""

    def __init__(self, net, log_sigma_prior=None, n=N, prior=None):
        rng = np.random.default_rng(12)
        self.net, self.log_sigma_prior = net, log_sigma_prior
        self.x = rng.standard_normal((n, 2))
        truth = rng.standard_normal(net.n_weights)
        self.y = net.predict(truth, self.x) + 0.2 * rng.standard_normal((n, net.n_outputs))
        self.tau = TAU if prior is None else 0.0
        self.posterior = Posterior(net, self.x, self.y, infer(log_sigma_prior), prior or NormalPrior(TAU))
        self.points = np.column_stack([rng.standard_normal((3, net.n_weights)), [0.3, -0.5, 1.1]])

    def log_density(self, point):
        """By the oracles; the point may be complex."""
        w, log_sigma = point[:-1], point[-1]
        residual = self.y - oracles.predict(oracles.Net.of(self.net), w, self.x)
        value = (-0.5 * residual**2 * np.exp(-2 * log_sigma) - log_sigma - 0.5 * np.log(2 * np.pi)).sum()
        if self.tau:
            value = value + (0.5 * np.log(self.tau / (2 * np.pi)) - 0.5 * self.tau * w * w).sum()
        if self.log_sigma_prior is not None:
            mean, sd = self.log_sigma_prior
            value = value - 0.5 * ((log_sigma - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)
        return value

    def gradient(self, point):
        steps = 1j * oracles.STEP * np.eye(point.size)
        return np.array([self.log_density(point + step).imag / oracles.STEP for step in steps])

    def squares(self, w):
        return ((self.y - self.net.predict(w, self.x)) ** 2).sum()


def assert_close(got, expected, relative):
    got = np.asarray(got)
    assert got.shape == np.shape(expected)
    assert np.abs(got - expected).max() <= relative * np.abs(expected).max()


@pytest.fixture(params=NETS, ids=repr)
def net(request):
    return request.param


@pytest.fixture
def flat_problem(net):
    return Problem(net)


def test_the_noise_is_one_more_coordinate_and_the_last(flat_problem, net):
    post = flat_problem.posterior
    assert post.n_weights == net.n_weights + 1
    assert post.weight_names == (*net.weight_names, "log_sigma_noise")
    assert post.n_rows == N
    with refuses("weights", f"shape ({net.n_weights},)", f"{net.n_weights + 1}"):
        post.log_density(np.zeros(net.n_weights))


@LOG_SIGMA_PRIORS
def test_value_and_gradient_agree_with_complex_steps(net, log_sigma_prior):
    problem = Problem(net, log_sigma_prior)
    post, points = problem.posterior, problem.points
    expected = np.array([problem.log_density(point) for point in points])
    expected_gradient = np.array([problem.gradient(point) for point in points])
    value, gradient = post.value_and_gradient(points)
    linear = post.linearize(points)
    for got in (value, linear.log_density, post.log_density(points)):
        assert_close(got, expected, 1e-12)
    assert_close(gradient, expected_gradient, 1e-11)
    assert_close(linear.gradient, expected_gradient, 1e-11)
    assert_close(post.value_and_gradient(points[0])[1], expected_gradient[0], 1e-11)


@LOG_SIGMA_PRIORS
def test_prior_and_likelihood_share_the_log_density(net, log_sigma_prior):
    problem = Problem(net, log_sigma_prior)
    post, points = problem.posterior, problem.points
    expected = norm.logpdf(points[:, :-1], 0.0, TAU**-0.5).sum(axis=-1)
    if log_sigma_prior is not None:
        expected = expected + norm.logpdf(points[:, -1], *log_sigma_prior)
    assert np.allclose(post.log_prior(points), expected, rtol=1e-13, atol=0)
    rows = post.log_likelihood(points)
    outputs = net.predict(points[:, :-1], problem.x)
    by_scipy = norm.logpdf(problem.y, outputs, np.exp(points[:, -1])[:, None, None]).sum(axis=-1)
    assert np.allclose(rows, by_scipy, rtol=1e-11, atol=1e-11)
    assert np.allclose(post.log_density(points), post.log_prior(points) + rows.sum(axis=-1), rtol=1e-13, atol=0)


def test_it_is_the_posterior_of_known_noise_at_that_noise(net):
    problem = Problem(net)
    w, log_sigma = problem.points[0, :-1], problem.points[0, -1]
    known = Posterior(net, problem.x, problem.y, Gaussian(float(np.exp(log_sigma))), NormalPrior(TAU))
    value, gradient = problem.posterior.value_and_gradient(problem.points[0])
    expected, expected_gradient = known.value_and_gradient(w)
    assert_close(value, expected, 1e-13)
    assert_close(gradient[:-1], expected_gradient, 1e-12)
    assert_close(problem.posterior.ggn(problem.points[0])[:-1, :-1], known.ggn(w), 1e-12)
    assert_close(problem.posterior.hessian(problem.points[0])[:-1, :-1], known.hessian(w), 1e-12)


@LOG_SIGMA_PRIORS
def test_the_information_on_the_noise_is_two_per_target_and_none_is_shared(net, log_sigma_prior):
    problem = Problem(net, log_sigma_prior)
    post, k = problem.posterior, net.n_weights
    expected = 2.0 * N * net.n_outputs + (0.0 if log_sigma_prior is None else log_sigma_prior[1] ** -2)
    for i, point in enumerate(problem.points):
        B = oracles.jacobian(oracles.Net.of(net), point[:-1], problem.x).reshape(-1, k)
        block = B.T @ B * np.exp(-2 * point[-1]) + TAU * np.eye(k)
        rows = np.vstack(list(post.scaled_rows(point)))
        for got in (post.ggn(point), post.linearize(problem.points).ggn[i]):
            assert got[k, k] == pytest.approx(expected, rel=1e-14)
            assert np.array_equal(got[k, :k], np.zeros(k))
            assert np.array_equal(got[:k, k], np.zeros(k))
            assert_close(got[:k, :k], block, 1e-11)
            assert_close(rows.T @ rows, got, 1e-12)
        assert_close(post.factor_ggn(point).precision, post.ggn(point), 1e-12)


@LOG_SIGMA_PRIORS
def test_the_hessian_is_the_difference_of_gradients(net, log_sigma_prior):
    problem, h = Problem(net, log_sigma_prior), 1e-5
    for point in problem.points:
        steps = h * np.eye(point.size)
        difference = np.array([(problem.gradient(point - s) - problem.gradient(point + s)) / (2 * h) for s in steps])
        got = problem.posterior.hessian(point)
        assert np.array_equal(got, got.T)
        assert_close(got, difference, 1e-7)
        assert_close(problem.posterior.hessian(point, problem.posterior.ggn(point)), got, 1e-13)


def test_several_blocks_are_one(net, monkeypatch):
    # 150 rows are three blocks of 64, the least the package makes
    post, points = (problem := Problem(net, n=150)).posterior, problem.points
    methods = (post.log_density, post.ggn, post.hessian, lambda point: post.value_and_gradient(point)[1])
    whole = [np.asarray(method(points[0])) for method in methods]
    monkeypatch.setattr(row_sums_module, "OUTPUTS_AT_A_TIME", 1)
    monkeypatch.setattr(row_sums_module, "JACOBIAN_AT_A_TIME", 1)
    monkeypatch.setattr(row_sums_module, "UNITS_AT_A_TIME", 1)
    monkeypatch.setattr(row_sums_module, "CACHED_JACOBIAN", 1)
    for method, expected in zip(methods, whole, strict=True):
        assert_close(method(points[0]), expected, 1e-12)
    assert_close(post.linearize(points).ggn[0], whole[1], 1e-12)


@pytest.mark.parametrize("lead", [(), (1,), (4,), (2, 3)])
def test_a_batch_of_chains_is_each_chain_by_itself(lead, rng):
    post = Problem(NETS[1]).posterior
    points = rng.standard_normal((*lead, post.n_weights))
    value, gradient = post.value_and_gradient(points)
    assert value.shape == post.log_prior(points).shape == lead
    assert gradient.shape == points.shape
    assert post.log_likelihood(points).shape == (*lead, N)
    for index in np.ndindex(*lead):
        one, one_gradient = post.value_and_gradient(points[index])
        assert np.isclose(value[index], one, rtol=1e-13, atol=0)
        assert np.allclose(gradient[index], one_gradient, rtol=1e-12, atol=1e-10)


def test_other_data_and_other_hyperparameters_keep_or_drop_the_coordinate(net):
    problem = Problem(net, (-1.0, 0.3))
    fewer = problem.posterior.with_data(problem.x[:9], problem.y[:9])
    assert fewer.n_weights == net.n_weights + 1
    assert fewer.n_rows == 9
    known = problem.posterior.with_hyperparameters(Gaussian(0.2), NormalPrior(3.0))
    assert known.n_weights == net.n_weights
    assert known.weight_names == net.weight_names
    back = known.with_hyperparameters(infer((-1.0, 0.3)), NormalPrior(TAU))
    assert np.array_equal(back.log_density(problem.points), problem.posterior.log_density(problem.points))


@pytest.mark.parametrize("method", ["levenberg-marquardt", "newton-cg", "l-bfgs"])
def test_at_the_optimum_the_noise_is_that_of_the_residuals(net, method):
    problem = Problem(net)
    post, k, count = problem.posterior, net.n_weights, N * net.n_outputs
    found = find_optimum(post, method=method, n_starts=3, seed=0)
    assert found.status == "converged", found.certificate.reasons
    assert found.certificate.is_optimum
    w, sigma = found.weights[:-1], np.exp(found.weights[-1])
    assert sigma == pytest.approx(np.sqrt(problem.squares(w) / count), rel=1e-6)
    ggn, hessian = post.ggn(found.weights), post.hessian(found.weights)
    assert ggn[k, k] == pytest.approx(2.0 * count, rel=1e-14)
    assert np.array_equal(ggn[k, :k], np.zeros(k))
    assert hessian[k, k] == pytest.approx(2.0 * problem.squares(w) / sigma**2, rel=1e-10)
    assert hessian[k, k] == pytest.approx(2.0 * count, rel=1e-6)
    # B'r / sigma**2 = tau w where the gradient by the weights is 0
    assert_close(hessian[k, :k], 2.0 * TAU * w, 1e-6)


def test_a_prior_on_the_noise_pulls_it(net):
    pulls = [find_optimum(Problem(net, (5.0, sd)).posterior, n_starts=3, seed=0) for sd in (1e3, 0.1, 1e-4)]
    assert all(found.certificate.is_optimum for found in pulls)
    free = find_optimum(Problem(net).posterior, n_starts=3, seed=0).weights[-1]
    log_sigma = [found.weights[-1] for found in pulls]
    assert log_sigma[0] == pytest.approx(free, abs=1e-3)
    assert free < log_sigma[1] < log_sigma[2]
    assert log_sigma[2] == pytest.approx(5.0, abs=1e-4)


def test_symmetric_images_are_one_optimum(monkeypatch):
    problem = Problem(NETS[0])
    best = find_optimum(problem.posterior, n_starts=4, seed=0)
    images = list(oracles.images(oracles.Net.of(problem.net), best.weights[:-1]))
    for image in images:
        start = np.append(image, best.weights[-1])
        assert problem.posterior.log_density(start) == pytest.approx(best.log_density, rel=1e-12)
    starts = iter(images)
    monkeypatch.setattr(MLP, "initial_weights", lambda net, rng: next(starts))
    found = find_optimum(problem.posterior, n_starts=len(images))
    assert found.n_found == len(images) == 8
    assert found.others == ()


def test_of_a_linear_model_the_noise_is_the_root_mean_square_of_least_squares(linear_data):
    x, y = linear_data
    A = oracles.design(x)
    exact, squares, _, _ = np.linalg.lstsq(A, y)
    post = Posterior(MLP(3, (), 1), x, y, Gaussian("infer"), FlatPrior())
    found = find_optimum(post, seed=0)
    assert found.certificate.is_optimum
    assert np.allclose(found.weights[:-1], exact, rtol=0, atol=1e-8)
    assert np.exp(found.weights[-1]) == pytest.approx(np.sqrt(squares[0] / len(y)), rel=1e-8)
    for curvature in ("ggn", "hessian"):
        covariance = fit_laplace(post, found, curvature=curvature).posterior_covariance
        expected = np.linalg.inv(A.T @ A) * squares[0] / len(y)
        assert_close(covariance[:-1, :-1], expected, 1e-7)
        assert covariance[-1, -1] == pytest.approx(1 / (2 * len(y)), rel=1e-7)
        assert np.abs(covariance[-1, :-1]).max() < 1e-8
        assert np.allclose(fit_laplace(post, found, curvature=curvature).mean, found.weights)


@pytest.mark.parametrize("start", [None, [3000.0, 6.0]], ids=["drawn", "given"])
@pytest.mark.parametrize("curvature", ["ggn", "hessian"])
def test_a_normal_sample_is_that_of_the_book(curvature, start):
    # Gelman et al. 2013, Bayesian Data Analysis, 3rd ed., section 4.1: with mean 3501 and sum of squares q = 1472334 of
    # n = 3, the mode in (mu, log sigma) is (3501, log(q / n) / 2), its covariance diag(sigma**2 / n, 1 / (2 n))
    model = FunctionModel(lambda w, x: w[0] + 0 * x, ["mu"])
    post = Posterior(model, np.zeros(3), [2642, 3503, 4358], Gaussian("infer"), FlatPrior())
    assert post.weight_names == ("mu", "log_sigma_noise")
    found = find_optimum(post, start=start, seed=0)
    assert found.status == "converged", found.certificate.reasons
    assert found.certificate.is_optimum
    assert found.weights == pytest.approx([BDA3["mu"], BDA3["log_sigma"]], rel=1e-6)
    covariance = fit_laplace(post, found, curvature=curvature).posterior_covariance
    assert covariance[0, 0] == pytest.approx(BDA3["mu_mu"], rel=1e-6)
    assert covariance[1, 1] == pytest.approx(BDA3["log_sigma_log_sigma"], rel=1e-6)
    assert abs(covariance[0, 1]) < 1e-6 * np.sqrt(covariance[0, 0] * covariance[1, 1])


def test_targets_may_be_a_vector_or_a_column():
    problem = Problem(NETS[0])
    flat = Posterior(problem.net, problem.x, problem.y[:, 0], Gaussian("infer"), NormalPrior(TAU))
    assert np.array_equal(flat.log_density(problem.points), problem.posterior.log_density(problem.points))


@pytest.mark.parametrize("prior", [(-1, 2), [-1.0, 2.0], np.array([-1.0, 2.0])], ids=["integers", "list", "array"])
def test_a_prior_may_be_any_pair(prior):
    problem = Problem(NETS[0], (-1.0, 2.0))
    post = Posterior(problem.net, problem.x, problem.y, infer(prior), NormalPrior(TAU))
    assert np.array_equal(post.log_density(problem.points), problem.posterior.log_density(problem.points))


@pytest.mark.parametrize(
    "y",
    [
        [0.0, 1.0, np.inf],
        [0.0, np.nan, 1.0],
        ["0", "1", "2"],
        None,
        [],
        [0.0, 1.0],
        np.zeros((3, 2)),
        [[0.0], [1.0, 2.0]],
    ],
    ids=str,
)
def test_targets_are_checked_as_ever(y):
    with refuses("y", "", ""):
        Posterior(MLP(1, (), 1), np.zeros((3, 1)), y, Gaussian("infer"), NormalPrior(1.0))


@pytest.mark.parametrize("y", [[2.0, 2.0, 2.0], [-1e200, 0.0, 1e200]], ids=["constant", "huge"])
def test_targets_of_no_or_any_spread_give_a_posterior(y):
    post = Posterior(MLP(1, (), 1), np.zeros((3, 1)), y, Gaussian("infer"), NormalPrior(1.0))
    assert np.isfinite(post.model.initial_weights(np.random.default_rng(0))).all()


@pytest.mark.parametrize("sigma", ["guess", "", "Infer", "0.1"])
def test_other_words_are_refused(sigma):
    with refuses("sigma_noise", repr(sigma), "above 0"):
        Gaussian(sigma)


@pytest.mark.parametrize(
    "prior", [(0.0, 0.0), (0.0, -1.0), (np.nan, 1.0), (0.0, np.inf), (0.0,), 1.0, "wide", (0, "1")]
)
def test_what_is_no_normal_prior_of_the_noise_is_refused(prior):
    with refuses("log_sigma_prior", "", ""):
        Gaussian("infer", log_sigma_prior=prior)


def test_a_prior_on_noise_that_is_known_is_refused():
    with refuses("log_sigma_prior", "", ""):
        Gaussian(0.1, log_sigma_prior=(0.0, 1.0))


def test_a_weight_that_has_the_noises_name_is_refused():
    model = FunctionModel(lambda w, x: w[0] * x + w[1], ["a", "log_sigma_noise"])
    with refuses("model", "log_sigma_noise", "another name"):
        Posterior(model, np.ones(5), np.ones(5), Gaussian("infer"), NormalPrior(1.0))
