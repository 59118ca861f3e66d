"""Evidence with a precision for each layer, beside likelihoods without noise, and against scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import BayesianRidge

from bayesnn.laplace import fit_laplace, maximize_evidence
from bayesnn.models import MLP, FunctionModel, WeightBlock
from bayesnn.optimum import Status, find_optimum
from bayesnn.posterior import Bernoulli, FlatPrior, Gaussian, NormalPrior, Posterior, StudentT
from tests import oracles
from tests.refusals import refuses

DATA = Path(__file__).parents[1] / "data"
# Weights of the linear model below by layer; "apart" has the weights of the first layer on both sides of the second's.
LAYERS = {"side by side": [0, 0, 0, 1, 1, 1, 1], "apart": [0, 1, 1, 0, 1, 1, 0]}
MEANS = {"no mean": 0.0, "one mean": 0.4, "a mean by layer": [1.0, -0.5], "by weight": np.linspace(-1.0, 1.0, 7)}


class Layered(FunctionModel):
    """A model linear in its weights, whose weights belong to several layers."""

    def __init__(self, layers):
        super().__init__(lambda w, x: x @ w, [f"w{i}" for i in range(len(layers))], jacobian=lambda w, x: x)
        self.weight_blocks = tuple(
            WeightBlock(name, (), (), layer) for name, layer in zip(self.weight_names, layers, strict=True)
        )


def design(n=60):
    return np.random.default_rng(31).standard_normal((n, 7)) * np.array([1.0, 0.3, 2.0, 1.0, 1.0, 0.5, 3.0])


def true_weights(layers):
    """Large in the first layer, small in the second."""
    draws = np.random.default_rng(32).standard_normal(7)
    return draws * np.where(np.array(layers) == 0, 3.0, 0.2)


def linear_posterior(layers, mean=0.0, sigma=1.0, precision=(1.0, 1.0)):
    x = design()
    y = x @ true_weights(layers) + 0.5 * np.random.default_rng(33).standard_normal(len(x))
    return Posterior(Layered(layers), x, y, Gaussian(sigma), NormalPrior(np.array(precision), mean))


def members(layers):
    return [np.flatnonzero(np.array(layers) == layer) for layer in range(max(layers) + 1)]


@pytest.fixture(scope="module", params=LAYERS)
def layers(request):
    return LAYERS[request.param]


@pytest.fixture(scope="module", params=MEANS)
def tuned(request, layers):
    return maximize_evidence(linear_posterior(layers, MEANS[request.param]), seed=0)


def assert_fixed_point(precisions, weights, means, covariance, groups, rtol=1e-6):
    """MacKay's equation of each group; returns the gammas."""
    gammas = []
    for alpha, group in zip(precisions, groups, strict=True):
        gammas.append(group.size - alpha * sum(covariance[j, j] for j in group))
        assert alpha == pytest.approx(gammas[-1] / sum((weights[j] - means[j]) ** 2 for j in group), rel=rtol)
    return np.array(gammas)


def test_of_a_linear_model_the_equations_hold_for_each_layer(tuned, layers):
    alphas, sigma = tuned.prior.prior_precision, tuned.likelihood.sigma_noise
    assert tuned.tuning.status is Status.converged
    assert np.shape(alphas) == (2,)
    assert np.array_equal(tuned.prior_precision, np.asarray(alphas)[layers])
    A, y, means = tuned.x, tuned.y[:, 0], tuned.prior_mean
    exact = oracles.LinearGaussian(A, y - A @ means, sigma, alphas[layers])
    w = means + exact.mean
    # hyperparameters moved by at most 1e-7 of themselves in the last round, and their map contracts
    gammas = assert_fixed_point(alphas, w, means, exact.covariance, members(layers))
    assert sigma**2 == pytest.approx(np.sum((y - A @ w) ** 2) / (len(y) - gammas.sum()), rel=1e-6)
    assert tuned.tuning.effective_parameters == pytest.approx(gammas.sum(), rel=1e-6)
    assert np.allclose(tuned.tuning.optimum.weights, w, rtol=0, atol=1e-6 * np.sqrt(np.diag(exact.covariance)))


def test_each_layer_finds_the_size_of_its_own_weights(layers):
    tuned = maximize_evidence(linear_posterior(layers), seed=0)
    sizes = [np.mean(true_weights(layers)[group] ** 2) for group in members(layers)]
    # a mean square over three or four weights of known value: alpha is its inverse but for gamma / k and the noise
    assert np.all(np.abs(np.log(tuned.prior.prior_precision * sizes)) < np.log(2.0))
    assert tuned.prior.prior_precision[1] > 20 * tuned.prior.prior_precision[0]


def exact_evidence(tuned, layers, log_hyperparameters):
    sigma, *alphas = np.exp(log_hyperparameters)
    y = tuned.y[:, 0] - tuned.x @ tuned.prior_mean
    return oracles.LinearGaussian(tuned.x, y, sigma, np.array(alphas)[layers]).log_evidence


def test_of_a_linear_model_the_result_is_where_the_exact_evidence_is_level_and_highest(tuned, layers, rng):
    # B does not depend on the weights here, so MacKay's fixed point is the maximum itself
    at = np.log([tuned.likelihood.sigma_noise, *tuned.prior.prior_precision])
    best = exact_evidence(tuned, layers, at)
    assert best == pytest.approx(tuned.tuning.log_marginal_likelihood, abs=1e-7)
    step = 1e-4
    for move in step * np.eye(3):
        slope = (exact_evidence(tuned, layers, at + move) - exact_evidence(tuned, layers, at - move)) / (2 * step)
        # slopes are at most n = 60 times the distance to the maximum, 1e-7; the difference errs by n step**2 = 6e-7
        assert abs(slope) < 2e-5
    for size in np.geomspace(1e-2, 3.0, 20):
        direction = rng.standard_normal(3)
        assert exact_evidence(tuned, layers, at + size * direction / np.linalg.norm(direction)) < best


def test_of_a_linear_model_no_hyperparameters_around_do_better_with_the_weights_found_again(tuned, layers, rng):
    best = tuned.tuning.log_marginal_likelihood
    for size in np.geomspace(1e-2, 1.0, 20):
        sigma, *alphas = np.exp(size * rng.standard_normal(3))
        precision = tuned.prior.prior_precision * np.array(alphas)
        prior = NormalPrior(precision, tuned.prior.prior_mean)
        post = tuned.with_hyperparameters(Gaussian(tuned.likelihood.sigma_noise * sigma), prior)
        laplace = fit_laplace(post, find_optimum(post, start=tuned.tuning.optimum.weights))
        assert laplace.certificate.is_optimum
        assert laplace.log_marginal_likelihood < best


def test_the_evidence_of_a_linear_model_rises_from_round_to_round(tuned):
    heights = [entry.log_marginal_likelihood for entry in tuned.tuning.rounds]
    assert len(heights) > 2
    assert np.all(np.diff(heights) > -1e-9)


def test_the_record_has_a_precision_for_each_layer(tuned):
    first, last = tuned.tuning.rounds[0], tuned.tuning.rounds[-1]
    assert (first.prior_precision, first.sigma_noise) == ((1.0, 1.0), 1.0)
    assert last.prior_precision == tuple(tuned.prior.prior_precision)
    assert last.sigma_noise == tuned.likelihood.sigma_noise
    assert all(type(alpha) is float for alpha in last.prior_precision)


def test_the_mean_of_the_prior_stays_as_it_was(layers):
    for mean in MEANS.values():
        tuned = maximize_evidence(linear_posterior(layers, mean), seed=0, max_rounds=3)
        assert np.array_equal(tuned.prior.prior_mean, mean)


def test_a_mean_near_the_weights_makes_for_a_tighter_prior_and_more_evidence(layers):
    at_zero = maximize_evidence(linear_posterior(layers), seed=0)
    near = maximize_evidence(linear_posterior(layers, true_weights(layers) + 0.01), seed=0)
    assert near.tuning.log_marginal_likelihood > at_zero.tuning.log_marginal_likelihood + 5
    assert near.prior.prior_precision[0] > 10 * at_zero.prior.prior_precision[0]


def test_the_result_does_not_depend_on_where_it_began(layers):
    one = maximize_evidence(linear_posterior(layers), seed=0)
    other = maximize_evidence(linear_posterior(layers, sigma=0.1, precision=(30.0, 0.01)), seed=0)
    assert other.likelihood.sigma_noise == pytest.approx(one.likelihood.sigma_noise, rel=1e-5)
    assert np.allclose(other.prior.prior_precision, one.prior.prior_precision, rtol=1e-5)


def test_one_group_is_one_precision_for_all():
    given = linear_posterior(LAYERS["side by side"])
    one_layer, network = Layered([0] * 7), MLP(7, (), 1, bias=False)
    each = [
        maximize_evidence(Posterior(model, given.x, given.y, Gaussian(1.0), NormalPrior(precision)), seed=0)
        for model, precision in ((given.model, 1.0), (one_layer, 1.0), (one_layer, [1.0]), (network, [1.0]))
    ]
    for tuned in each:
        assert isinstance(tuned.prior.prior_precision, float)
        assert isinstance(tuned.tuning.rounds[-1].prior_precision, float)
        assert tuned.prior.prior_precision == pytest.approx(each[0].prior.prior_precision, rel=1e-6)
        assert tuned.likelihood.sigma_noise == pytest.approx(each[0].likelihood.sigma_noise, rel=1e-6)
    # what one precision can do, two can do better
    by_layer = maximize_evidence(given, seed=0)
    assert by_layer.tuning.log_marginal_likelihood > each[0].tuning.log_marginal_likelihood + 1


@pytest.fixture(scope="module", params=["no mean", "a mean by layer"])
def network_tuned(request, teacher_data, teacher_optimum):
    mean = 0.0 if request.param == "no mean" else [0.2, -0.3]
    post = Posterior(MLP(2, (2,), 1), *teacher_data, Gaussian(0.2), NormalPrior([3.0, 1.0], mean))
    return maximize_evidence(post, teacher_optimum)


def test_of_a_network_the_equations_hold_for_each_layer(network_tuned):
    sigma, alphas = network_tuned.likelihood.sigma_noise, network_tuned.prior.prior_precision
    w, net = network_tuned.tuning.optimum.weights, oracles.Net.of(network_tuned.model)
    groups = [np.arange(6), np.arange(6, 9)]  # W1 (2, 2), b1 (2) and W2 (2, 1), b2 (1)
    precision = np.repeat(alphas, [6, 3])
    covariance = np.linalg.inv(oracles.ggn(net, w, network_tuned.x, sigma, precision))
    assert network_tuned.tuning.status is Status.converged
    gammas = assert_fixed_point(alphas, w, network_tuned.prior_mean, covariance, groups)
    residuals = network_tuned.y - oracles.predict(net, w, network_tuned.x)
    assert sigma**2 == pytest.approx((residuals**2).sum() / (200 - gammas.sum()), rel=1e-6)
    assert network_tuned.tuning.effective_parameters == pytest.approx(gammas.sum(), rel=1e-6)
    assert network_tuned.tuning.optimum.status is Status.converged


def test_of_a_network_the_evidence_reported_is_that_of_the_result(network_tuned):
    laplace = fit_laplace(network_tuned, network_tuned.tuning.optimum)
    # the modes of the two agree to 1e-6 posterior sd, the tolerance of the search; log det follows at that order
    assert network_tuned.tuning.log_marginal_likelihood == pytest.approx(laplace.log_marginal_likelihood, abs=1e-5)


def test_of_a_network_the_evidence_with_b_held_falls_on_every_side(network_tuned, rng):
    # what MacKay's equations maximise: they take B at the mode to stay as the hyperparameters move. By how much the
    # weights move does not matter to first order; at their optimum of the linearized model the evidence is exact
    w, net = network_tuned.tuning.optimum.weights, oracles.Net.of(network_tuned.model)
    B = oracles.jacobian(net, w, network_tuned.x)[:, 0]
    y = (network_tuned.y - oracles.predict(net, w, network_tuned.x))[:, 0] + B @ (w - network_tuned.prior_mean)
    at = np.log([network_tuned.likelihood.sigma_noise, *network_tuned.prior.prior_precision])

    def evidence(log_hyperparameters):
        sigma, *alphas = np.exp(log_hyperparameters)
        return oracles.LinearGaussian(B, y, sigma, np.repeat(alphas, [6, 3])).log_evidence

    best = evidence(at)
    assert best == pytest.approx(network_tuned.tuning.log_marginal_likelihood, abs=1e-5)
    for size in np.geomspace(1e-2, 1.0, 20):
        direction = rng.standard_normal(3)
        assert evidence(at + size * direction / np.linalg.norm(direction)) < best


def labels_posterior(layers, precision, mean=0.0, n=200):
    x = design(n)
    # 200 labels tell such weights from 0; of much smaller ones the evidence would make none, by a precision without end
    weights = np.where(np.array(layers) == 0, 1.5, 0.5) * [1.0, -1.0, 1.0, 1.0, -1.0, 1.0, -1.0]
    y = np.random.default_rng(34).random(n) < expit(x @ weights)
    return Posterior(Layered(layers), x, y, Bernoulli(), NormalPrior(precision, mean))


@pytest.mark.parametrize("mean", [0.0, [1.0, -0.5]], ids=["no mean", "a mean by layer"])
@pytest.mark.parametrize("precision", [1.0, [1.0, 1.0]], ids=["one", "by layer"])
def test_beside_labels_the_prior_alone_is_tuned(layers, precision, mean):
    post = labels_posterior(layers, precision, mean)
    tuned = maximize_evidence(post, seed=0)
    assert tuned.tuning.status is Status.converged
    assert tuned.given_likelihood is post.given_likelihood
    assert all(entry.sigma_noise is None for entry in tuned.tuning.rounds)
    w, means, alphas = tuned.tuning.optimum.weights, tuned.prior_mean, np.atleast_1d(tuned.prior.prior_precision)
    p = expit(tuned.x @ w)
    assert np.allclose(tuned.x.T @ (tuned.y[:, 0] - p), tuned.prior_precision * (w - means), rtol=0, atol=1e-4)
    covariance = np.linalg.inv((tuned.x.T * (p * (1.0 - p))) @ tuned.x + np.diag(tuned.prior_precision))
    groups = members(layers) if np.ndim(precision) else [np.arange(7)]
    gammas = assert_fixed_point(alphas, w, means, covariance, groups)
    assert tuned.tuning.effective_parameters == pytest.approx(gammas.sum(), rel=1e-6)


def test_beside_labels_the_evidence_with_the_curvature_held_falls_on_every_side(layers, rng):
    # the log likelihood to second order at the mode is Gaussian in the weights; under it the evidence is exact
    tuned = maximize_evidence(labels_posterior(layers, [1.0, 1.0]), seed=0)
    w = tuned.tuning.optimum.weights
    p = expit(tuned.x @ w)
    A = tuned.x * np.sqrt(p * (1.0 - p))[:, None]
    y = A @ w + (tuned.y[:, 0] - p) / np.sqrt(p * (1.0 - p))

    def evidence(log_alphas):
        return oracles.LinearGaussian(A, y, 1.0, np.exp(log_alphas)[layers]).log_evidence

    at = np.log(tuned.prior.prior_precision)
    for size in np.geomspace(1e-2, 1.0, 20):
        direction = rng.standard_normal(2)
        assert evidence(at + size * direction / np.linalg.norm(direction)) < evidence(at)


@pytest.mark.parametrize("likelihood", [StudentT(4.0, 0.5), Gaussian("infer")], ids=["t", "inferred noise"])
def test_noise_of_its_own_stays_with_the_likelihood(likelihood, layers):
    given = linear_posterior(layers)
    post = Posterior(given.model, given.x, given.y, likelihood, NormalPrior([1.0, 1.0], [0.5, 0.0]))
    tuned = maximize_evidence(post, seed=0)
    assert tuned.tuning.status is Status.converged
    assert tuned.given_likelihood is likelihood
    assert all(entry.sigma_noise is None for entry in tuned.tuning.rounds)
    assert np.array_equal(tuned.prior.prior_mean, [0.5, 0.0])
    w = tuned.tuning.optimum.weights
    covariance = np.linalg.inv(tuned.ggn(w))
    assert_fixed_point(tuned.prior.prior_precision, w, tuned.prior_mean, covariance, members(layers))
    # the coordinate of the noise is in no layer of the prior
    assert tuned.tuning.effective_parameters <= 7


@pytest.mark.parametrize(
    ("likelihood", "prior", "argument", "wants"),
    [
        (Gaussian(1.0), NormalPrior(np.ones(7)), "prior", "one prior_precision for all weights, or one per layer"),
        (Gaussian(1.0), FlatPrior(), "prior", "one prior_precision for all weights, or one per layer"),
        (Gaussian(np.ones(60)), NormalPrior([1.0, 1.0]), "likelihood", "one sigma_noise for all rows"),
        (Gaussian(np.ones(60)), NormalPrior(1.0), "likelihood", "one sigma_noise for all rows"),
    ],
)
def test_other_hyperparameters_are_refused(likelihood, prior, argument, wants, layers):
    given = linear_posterior(layers)
    with refuses(argument, "", wants):
        maximize_evidence(Posterior(given.model, given.x, given.y, likelihood, prior))


def small():
    """Thirty rows, three inputs in different units, with the constant as a column."""
    rng = np.random.default_rng(11)
    x = rng.standard_normal((30, 3)) * np.array([1.0, 0.3, 4.0])
    return oracles.design(x), x @ np.array([0.5, -2.0, 0.1]) + 1.5 + 0.4 * rng.standard_normal(30)


def collinear():
    """Forty columns that are nearly five, for eighty rows: most of them the data hardly determine."""
    rng = np.random.default_rng(12)
    x = rng.standard_normal((80, 5)) @ rng.standard_normal((5, 40)) + 0.1 * rng.standard_normal((80, 40))
    return x, x @ rng.standard_normal(40) + rng.standard_normal(80)


def diabetes():
    """Efron et al. (2004), 442 patients; columns and target standardised."""
    table = np.loadtxt(DATA / "diabetes.csv", delimiter=",", skiprows=1)
    table = (table - table.mean(axis=0)) / table.std(axis=0)
    return table[:, :-1], table[:, -1]


@pytest.mark.parametrize("data", [small, collinear, diabetes])
def test_scikit_learn_finds_the_same_precisions(data):
    x, y = data()
    peer = BayesianRidge(
        fit_intercept=False, alpha_1=0, alpha_2=0, lambda_1=0, lambda_2=0, tol=1e-12, max_iter=10_000
    ).fit(x, y)
    assert peer.n_iter_ < 10_000
    post = Posterior(MLP(x.shape[1], (), 1, bias=False), x, y, Gaussian(1.0), NormalPrior(1.0))
    tuned = maximize_evidence(post, seed=0, tolerance=1e-9)
    assert tuned.tuning.status is Status.converged
    assert tuned.prior.prior_precision == pytest.approx(peer.lambda_, rel=1e-4)
    assert tuned.likelihood.sigma_noise**-2 == pytest.approx(peer.alpha_, rel=1e-4)
    exact = oracles.LinearGaussian(x, y, peer.alpha_**-0.5, np.full(x.shape[1], peer.lambda_))
    assert tuned.tuning.log_marginal_likelihood == pytest.approx(exact.log_evidence, abs=1e-5)
    sd = np.sqrt(np.diag(peer.sigma_))
    assert np.all(np.abs(tuned.tuning.optimum.weights - peer.coef_) < 1e-3 * sd)
    assert np.allclose(fit_laplace(tuned, tuned.tuning.optimum).posterior_variance, sd**2, rtol=1e-3)
