"""Predictions against dense algebra, quadrature and closed forms, likelihood by likelihood."""

from functools import cache

import numpy as np
import pytest
from scipy.special import expit, gammaln, logsumexp, softmax
from scipy.stats import multivariate_normal

from bayesnn import (
    MLP,
    Bernoulli,
    Categorical,
    FlatPrior,
    Gaussian,
    HeteroscedasticGaussian,
    NormalPrior,
    Poisson,
    Posterior,
    StudentT,
    find_optimum,
    fit_laplace,
)
from tests import oracles
from tests.refusals import refuses

N, DRAWS = 60, 4000
NEW = np.random.default_rng(21).standard_normal((5, 2)) * 1.5
LIKELIHOODS = {
    "Gaussian": (Gaussian(0.4), 2),
    "Gaussian, sigma per row": (Gaussian(np.linspace(0.2, 0.9, N)), 1),
    "Gaussian, inferred": (Gaussian("infer"), 2),
    "HeteroscedasticGaussian": (HeteroscedasticGaussian(), 2),
    "StudentT": (StudentT(6.0, 0.3), 2),
    "Poisson": (Poisson(), 2),
    "Bernoulli": (Bernoulli(), 2),
    "Categorical": (Categorical(), 3),
}
NOISY = [name for name in LIKELIHOODS if name != "Gaussian, sigma per row"]


class Case:
    """A Laplace posterior of a network, and its linearized outputs at new inputs by dense algebra."""

    def __init__(self, name):
        likelihood, out = LIKELIHOODS[name]
        rng = np.random.default_rng(len(name))
        mlp = MLP(2, (2,), out)
        x = rng.standard_normal((N, 2))
        truth = mlp.predict(rng.standard_normal(mlp.n_weights), x)
        if isinstance(likelihood, HeteroscedasticGaussian):
            y = truth[:, 0] + 0.4 * rng.standard_normal(N)
        elif "Gaussian" in name:
            y = truth + 0.4 * rng.standard_normal((N, out))
        else:
            y = likelihood.simulate(truth, rng)
        self.posterior = Posterior(mlp, x, y, likelihood, NormalPrior(1.0))
        self.likelihood = self.posterior.likelihood
        self.laplace = fit_laplace(self.posterior, find_optimum(self.posterior, n_starts=3, seed=0))
        self.w, self.k, self.out = self.laplace.mean, self.posterior.n_weights, out
        net, inner = oracles.Net.of(mlp), self.w[: mlp.n_weights]
        self.mean, J = oracles.predict(net, inner, NEW), oracles.jacobian(net, inner, NEW)
        if self.k > mlp.n_weights:  # the noise is one more output, whatever the input
            self.mean = np.hstack([self.mean, np.full((len(NEW), 1), self.w[-1])])
            whole = np.zeros((len(NEW), out + 1, self.k))
            whole[:, :-1, :-1], whole[:, -1, -1] = J, 1.0
            J = whole
        self.covariance = np.einsum("nok,kl,npl->nop", J, np.linalg.inv(self.posterior.ggn(self.w)), J)
        self.variance = np.diagonal(self.covariance, axis1=1, axis2=2)


case_of = cache(Case)


def quadrature(order=60):
    """Nodes and weights of Gauss and Hermite for the standard normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    return nodes, weights / weights.sum()


def over_normal(function, mean, covariance, order=60):
    """Expectation of `function` (m, out) -> (m, ...) over one normal vector, by a product rule."""
    nodes, weights = quadrature(order)
    out = len(mean)
    grid = np.stack(np.meshgrid(*[nodes] * out, indexing="ij"), axis=-1).reshape(-1, out)
    weight = np.stack(np.meshgrid(*[weights] * out, indexing="ij"), axis=-1).reshape(-1, out).prod(axis=1)
    values, directions = np.linalg.eigh(covariance)
    points = mean + grid * np.sqrt(np.maximum(values, 0.0)) @ directions.T
    return np.tensordot(weight, function(points), axes=1)


def log_density(name, f, y):
    """Log density (m,) of one row's targets `y` (t,) at many outputs `f` (m, out), by hand."""
    if name == "Gaussian":
        return (-0.5 * ((y - f) / 0.4) ** 2 - np.log(0.4) - 0.5 * np.log(2 * np.pi)).sum(axis=1)
    if name in ("Gaussian, inferred", "HeteroscedasticGaussian"):
        scaled = (y - f[:, :-1]) * np.exp(-f[:, -1:])
        return (-0.5 * scaled**2 - f[:, -1:] - 0.5 * np.log(2 * np.pi)).sum(axis=1)
    if name == "StudentT":
        constant = gammaln(3.5) - gammaln(3.0) - 0.5 * np.log(6 * np.pi) - np.log(0.3)
        return (constant - 3.5 * np.log1p(((y - f) / 0.3) ** 2 / 6)).sum(axis=1)
    if name == "Poisson":
        return (y * f - np.exp(f) - gammaln(y + 1)).sum(axis=1)
    if name == "Bernoulli":
        return np.log(np.where(y == 1, expit(f), expit(-f))).sum(axis=1)
    return np.log(softmax(f, axis=1)[:, int(y[0])])


def moments(name, f):
    """Mean and variance (m, t) of a new target given the outputs `f` (m, out), by hand."""
    if name in ("Gaussian, inferred", "HeteroscedasticGaussian"):
        return f[:, :-1], np.tile(np.exp(2 * f[:, -1:]), (1, f.shape[1] - 1))
    if name in ("Gaussian", "StudentT"):
        return f, np.full(f.shape, 0.4**2 if name == "Gaussian" else 0.3**2 * 6 / 4)
    if name == "Poisson":
        return np.exp(f), np.exp(f)
    p = expit(f) if name == "Bernoulli" else softmax(f, axis=1)
    return p, p * (1 - p)


def exact_moments(name, mean, covariance):
    """Mean and variance of a new target under normal outputs: quadrature of the laws of total expectation."""

    def both(f):
        m, v = moments(name, f)
        return np.stack([m, m**2 + v], axis=1)

    first, second = over_normal(both, mean, covariance, 60 if len(mean) < 3 else 30)
    return first, second - first**2


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_outputs_are_those_of_the_linearized_network(name):
    case = case_of(name)
    prediction = case.laplace.predict(NEW)
    # what is inferred beside the network is no output of it
    assert prediction.mean.shape == prediction.sd.shape == (len(NEW), case.out)
    assert prediction.mean == pytest.approx(case.mean[:, : case.out], rel=1e-12)
    assert prediction.sd == pytest.approx(np.sqrt(case.variance[:, : case.out]), rel=1e-8)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_over_weights_outputs_are_moments_of_draws(name):
    case = case_of(name)
    draws = case.laplace.sample(50, seed=3)
    net, inner = oracles.Net.of(case.posterior.network), case.posterior.network.n_weights
    outputs = np.array([oracles.predict(net, w[:inner], NEW) for w in draws])
    prediction = case.laplace.predict(NEW, "weights", n_draws=50, seed=3)
    assert prediction.mean == pytest.approx(outputs.mean(axis=0), rel=1e-11, abs=1e-12)
    assert prediction.sd == pytest.approx(outputs.std(axis=0, ddof=1), rel=1e-10)


@pytest.mark.parametrize("name", NOISY)
def test_over_weights_new_targets_are_moments_given_draws(name):
    case = case_of(name)
    draws = case.laplace.sample(50, seed=3)
    net, inner = oracles.Net.of(case.posterior.network), case.posterior.network.n_weights
    means, variances = [], []
    for w in draws:
        f = oracles.predict(net, w[:inner], NEW)
        if case.k > inner:
            f = np.hstack([f, np.full((len(NEW), 1), w[-1])])
        m, v = moments(name, f)
        means.append(m)
        variances.append(v)
    prediction = case.laplace.predict(NEW, "weights", noise=True, n_draws=50, seed=3)
    assert prediction.mean == pytest.approx(np.mean(means, axis=0), rel=1e-10, abs=1e-12)
    assert prediction.sd**2 == pytest.approx(np.mean(variances, axis=0) + np.var(means, axis=0), rel=1e-10)


def test_gaussian_noise_adds_its_variance():
    case = case_of("Gaussian")
    plain, noisy = case.laplace.predict(NEW), case.laplace.predict(NEW, noise=True)
    assert np.array_equal(plain.mean, noisy.mean)
    assert noisy.sd**2 == pytest.approx(plain.sd**2 + 0.4**2, rel=1e-13)


@pytest.mark.parametrize("name", ["Gaussian", "Gaussian, inferred", "HeteroscedasticGaussian", "StudentT", "Poisson"])
def test_moments_of_new_targets_are_exact_where_a_closed_form_exists(name):
    case = case_of(name)
    prediction = case.laplace.predict(NEW, noise=True)
    exact = [exact_moments(name, m, c) for m, c in zip(case.mean, case.covariance, strict=True)]
    assert prediction.mean == pytest.approx(np.array([m for m, _ in exact]), rel=1e-8)
    assert prediction.sd**2 == pytest.approx(np.array([v for _, v in exact]), rel=1e-8)


def test_moments_of_counts_are_those_of_the_lognormal_mixture():
    # E y = exp(m + v/2); var y = E y + (exp(v) - 1) (E y)**2
    case = case_of("Poisson")
    rate = np.exp(case.mean + case.variance / 2)
    prediction = case.laplace.predict(NEW, noise=True)
    assert prediction.mean == pytest.approx(rate, rel=1e-9)
    assert prediction.sd**2 == pytest.approx(rate + (np.exp(case.variance) - 1) * rate**2, rel=1e-9)


def logistic_mean(mean, variance):
    """Mean of the logistic function of a normal variable, by the trapezoid rule: exact to rounding."""
    z = np.linspace(-12, 12, 4001)
    weight = np.exp(-0.5 * z**2)
    return (expit(mean[..., None] + np.sqrt(variance)[..., None] * z) * weight).sum(axis=-1) / weight.sum()


def test_the_probit_approximation_is_as_good_as_it_is_known_to_be():
    # at one input the logit is the weight itself: any mean and variance can be had
    means, variances = np.meshgrid(np.linspace(-6, 6, 25), np.geomspace(0.01, 100, 25))
    covariance = variances.ravel()[:, None, None]
    found, variance = Bernoulli().predictive_moments(means.reshape(-1, 1), covariance)
    exact = logistic_mean(means, variances).reshape(-1, 1)
    assert np.abs(found - exact).max() < 0.02
    assert np.abs(found - exact).max() > 0.01  # an approximation: who replaces it may tighten this
    assert variance == pytest.approx(found * (1 - found), rel=1e-12)


@pytest.mark.parametrize("name", ["Bernoulli", "Categorical"])
def test_probabilities_of_the_probit_link_are_near_the_exact_ones(name):
    case = case_of(name)
    prediction = case.laplace.predict(NEW, noise=True)
    exact = np.array([exact_moments(name, m, c)[0] for m, c in zip(case.mean, case.covariance, strict=True)])
    # of several classes the approximation takes the logits for independent: worse, and by no known bound
    assert np.abs(prediction.mean - exact).max() < (0.02 if name == "Bernoulli" else 0.08)
    assert prediction.sd**2 == pytest.approx(prediction.mean * (1 - prediction.mean), rel=1e-12)


@pytest.mark.parametrize("link", ["probit", "monte-carlo"])
@pytest.mark.parametrize("kind", ["glm", "weights"])
def test_probabilities_of_classes_sum_to_one(kind, link):
    case = case_of("Categorical")
    mean = case.laplace.predict(NEW, kind, noise=True, link=link).mean
    assert mean.shape == (len(NEW), 3)
    assert np.all(mean > 0)
    assert mean.sum(axis=1) == pytest.approx(np.ones(len(NEW)), rel=1e-13)


@pytest.mark.parametrize("name", NOISY)
def test_the_monte_carlo_link_is_within_its_error_of_quadrature(name):
    case, n = case_of(name), 20_000
    prediction = case.laplace.predict(NEW, noise=True, link="monte-carlo", n_draws=n, seed=5)
    for i, (m, c) in enumerate(zip(case.mean, case.covariance, strict=True)):
        mean, variance = exact_moments(name, m, c)

        def spreads(f, mean=mean):
            means, variances = moments(name, f)
            return np.stack([(means - mean) ** 2, (variances + (means - mean) ** 2) ** 2], axis=1)

        of_mean, of_variance = over_normal(spreads, m, c, 60 if len(m) < 3 else 30)
        assert np.all(np.abs(prediction.mean[i] - mean) <= 5 * np.sqrt(of_mean / n) + 1e-12)
        # the mean of the draws enters the variance at second order only
        error = np.sqrt(np.maximum(of_variance - variance**2, 0.0) / n) + 25 * of_mean / n
        assert np.all(np.abs(prediction.sd[i] ** 2 - variance) <= 5 * error + 1e-12 * variance)


def test_draws_of_the_link_follow_their_seed():
    laplace = case_of("Categorical").laplace
    first, again, other = (
        laplace.predict(NEW, noise=True, link="monte-carlo", n_draws=10, seed=seed).mean for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def targets(name, case):
    """Targets (5, t), one row unlikely."""
    y = case.likelihood.simulate(case.mean, np.random.default_rng(2))
    if "Gaussian" in name or name == "StudentT":
        y[0] += 1.0
    return y


def test_the_density_of_gaussian_targets_is_joint_over_the_outputs():
    case = case_of("Gaussian")
    y = targets("Gaussian", case)
    found = case.laplace.log_predictive_density(NEW, y)
    expected = [
        multivariate_normal.logpdf(y[i], case.mean[i], case.covariance[i] + 0.4**2 * np.eye(2)) for i in range(len(y))
    ]
    assert np.abs(case.covariance[:, 0, 1]).max() > 1e-4  # outputs are correlated: a product of margins would differ
    assert found == pytest.approx(expected, rel=1e-9)
    assert case.laplace.log_predictive_density(NEW, y, seed=7) == pytest.approx(found, rel=0)


@pytest.mark.parametrize("name", [name for name in NOISY if name != "Gaussian"])
def test_the_density_of_other_targets_is_within_its_error_of_quadrature(name):
    case, n = case_of(name), 20_000
    y = targets(name, case)
    found = case.laplace.log_predictive_density(NEW, y, n_draws=n, seed=6)
    assert found.shape == (len(NEW),)
    for i in range(len(NEW)):

        def powers(f, i=i):
            density = np.exp(log_density(name, f, y[i]))
            return np.stack([density, density**2], axis=1)

        first, second = over_normal(powers, case.mean[i], case.covariance[i], 60 if case.mean.shape[1] < 3 else 40)
        relative_error = np.sqrt((second / first**2 - 1) / n)
        assert abs(np.exp(found[i]) / first - 1) < 5 * relative_error


@pytest.mark.parametrize("name", NOISY)
def test_over_weights_the_density_is_the_mean_over_draws(name):
    case = case_of(name)
    y = targets(name, case)
    found = case.laplace.log_predictive_density(NEW, y, "weights", n_draws=40, seed=3)
    net, inner = oracles.Net.of(case.posterior.network), case.posterior.network.n_weights
    each = np.empty((40, len(NEW)))
    for s, w in enumerate(case.laplace.sample(40, seed=3)):
        f = oracles.predict(net, w[:inner], NEW)
        if case.k > inner:
            f = np.hstack([f, np.full((len(NEW), 1), w[-1])])
        each[s] = [log_density(name, f[i : i + 1], y[i])[0] for i in range(len(NEW))]
    assert found == pytest.approx(logsumexp(each, axis=0) - np.log(40), rel=1e-9)


@pytest.mark.parametrize("kind", ["glm", "weights"])
def test_the_density_of_far_targets_does_not_underflow(kind):
    case = case_of("StudentT")
    y = np.full((len(NEW), 2), 1e6)
    assert np.isfinite(case.laplace.log_predictive_density(NEW, y, kind, n_draws=50)).all()
    gaussian = case_of("Gaussian").laplace.log_predictive_density(NEW, y, kind, n_draws=50)
    assert np.all(gaussian < -1e10)
    assert np.isfinite(gaussian).all()


@pytest.mark.parametrize("kind", ["glm", "weights"])
def test_noise_of_new_rows_is_refused_where_each_row_had_its_own(kind):
    case = case_of("Gaussian, sigma per row")
    for rows in (NEW, case.posterior.x):  # not even for the training rows, which it cannot tell from others
        with refuses("noise", "one sigma_noise per training row", "one sigma_noise for all rows"):
            case.laplace.predict(rows, kind, noise=True, n_draws=10)
        with refuses("noise", "one sigma_noise per training row", "one sigma_noise for all rows"):
            case.laplace.log_predictive_density(rows, np.zeros(len(rows)), kind, n_draws=10)


@pytest.mark.parametrize("structure", ["full", "diag", "layer", "lowrank", "last_layer"])
def test_every_structure_predicts_with_its_own_covariance(structure):
    case = case_of("Categorical")
    laplace = fit_laplace(case.posterior, case.w, structure=structure, rank=3)
    J = oracles.jacobian(oracles.Net.of(case.posterior.network), case.w, NEW)
    expected = np.einsum("nok,kl,npl->nop", J, laplace.posterior_covariance, J)
    prediction = laplace.predict(NEW)
    assert prediction.sd**2 == pytest.approx(np.diagonal(expected, axis1=1, axis2=2), rel=1e-9)
    found, _ = case.likelihood.predictive_moments(case.mean, expected)
    assert laplace.predict(NEW, noise=True).mean == pytest.approx(found, rel=1e-9)
    joint = laplace.functional_covariance(NEW).reshape(len(NEW), 3, len(NEW), 3)
    assert np.array([joint[i, :, i] for i in range(len(NEW))]) == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_what_the_noise_is_inferred_from_enters_a_prediction():
    # of a mean alone: y ~ N(mu, exp(2 s)), both normal and independent under the GGN, so the variance is a lognormal's
    post = Posterior(
        MLP(1, (), 1, bias=False), np.ones((20, 1)), np.linspace(-1, 1, 20), Gaussian("infer"), FlatPrior()
    )
    laplace = fit_laplace(post, find_optimum(post, seed=0))
    squares = (np.linspace(-1, 1, 20) ** 2).mean()
    prediction = laplace.predict([[1.0]], noise=True)
    assert prediction.mean.shape == (1, 1)
    # var mu = sigma**2 / n; s has variance 1 / (2 n), so E sigma**2 = exp(2 s + 1 / n)
    assert prediction.sd[0, 0] ** 2 == pytest.approx(squares / 20 + squares * np.exp(1 / 20), rel=1e-6)
    assert laplace.predict([[1.0]]).sd[0, 0] ** 2 == pytest.approx(squares / 20, rel=1e-6)


@pytest.mark.parametrize("name", NOISY)
def test_words_and_numbers_out_of_range_are_refused(name):
    laplace = case_of(name).laplace
    with refuses("kind", "'mc'", "'glm', 'weights'"):
        laplace.predict(NEW, "mc")
    with refuses("link", "'logit'", "'probit', 'monte-carlo'"):
        laplace.predict(NEW, noise=True, link="logit")
    with refuses("kind", "'mc'", "'glm', 'weights'"):
        laplace.log_predictive_density(NEW, np.zeros(len(NEW)), "mc")
    for n_draws in (0, 1, 2.5, True):
        with refuses("n_draws", repr(n_draws), "at least 2"):
            laplace.predict(NEW, noise=True, link="monte-carlo", n_draws=n_draws)
    with refuses("x", "NaN", "finite"):
        laplace.predict(np.full((1, 2), np.nan))
    with refuses("x", "shape (1, 3)", "shape (n, 2)"):
        laplace.predict(np.zeros((1, 3)))
    with refuses("y", "shape (4,)", "shape (5"):
        laplace.log_predictive_density(NEW, np.zeros(4))
