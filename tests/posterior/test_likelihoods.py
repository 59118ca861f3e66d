"""Every likelihood against the same oracles: SciPy, Cauchy integrals, sums and quadrature over all targets."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import expit, gammaln, log_softmax
from scipy.stats import bernoulli, norm, poisson, t

import bayesnn.posterior.row_sums as row_sums_module
from bayesnn import (
    MLP,
    Bernoulli,
    Categorical,
    FlatPrior,
    FunctionModel,
    Gaussian,
    HeteroscedasticGaussian,
    NormalPrior,
    Poisson,
    Posterior,
    StudentT,
    find_optimum,
    fit_laplace,
)
from bayesnn.posterior import Likelihood
from tests import oracles
from tests.refusals import refuses

LOG_2PI = np.log(2.0 * np.pi)
N, DRAWS = 7, 100_000


@dataclass(frozen=True)
class Case:
    """A likelihood, and the same said independently.

    `analytic` is the log density (..., n) of outputs that may be complex; `scipy` the same of real ones; `draw` draws
    targets (n, t); `support` holds targets (q, t) with weights (q,) over which sums are expectations.
    """

    likelihood: Likelihood
    n_outputs: int
    analytic: Callable
    scipy: Callable
    draw: Callable
    support: Callable
    is_canonical: bool = True
    has_moments: bool = True

    def outputs(self, rng, *shape):
        return rng.standard_normal((*shape, self.n_outputs))

    def targets(self, rng, outputs):
        """Targets as the likelihood wants them, drawn away from the outputs themselves."""
        y = self.draw(outputs + 0.5 * rng.standard_normal(outputs.shape), rng)
        return self.likelihood.check_targets(y, *outputs.shape)

    def everything(self, f):
        """Outputs `f` (out,) repeated, all targets there are, and the probability of each."""
        y, weight = self.support(f)
        outputs = np.tile(f, (len(y), 1))
        y = self.likelihood.check_targets(y, *outputs.shape)
        return outputs, y, weight * np.exp(self.likelihood.log_density(outputs, y))

    def quantities(self, y):
        """What has the mean and variance the likelihood states: the targets, or the indicator of each class."""
        return (y == np.arange(self.n_outputs)).astype(float) if isinstance(self.likelihood, Categorical) else y


def on_a_line(location, scale, reach=7.0):
    """Nodes and weights over the reals, once or twice: the trapezoid rule after y = location + scale sinh(u).

    It converges like exp(-2 pi d / h), d at least pi / 4 the half width of the strip where integrands are analytic: to
    rounding at h = 0.1. Cut off are normal tails from sinh(7) = 548 sd on, or exp(-df reach) of Student's.
    """
    u = np.arange(-reach, reach + 0.05, 0.1)
    nodes = [m + s * np.sinh(u) for m, s in zip(location, scale, strict=True)]
    weights = [0.1 * s * np.cosh(u) for s in scale]
    return product(nodes), product(weights).prod(axis=1)


def product(columns):
    return np.array(list(itertools.product(*columns)))


def summed(*values):
    return product(values), np.ones(np.prod([len(v) for v in values]))


def normal(z, log_sd):
    return -0.5 * (z * np.exp(-log_sd)) ** 2 - log_sd - 0.5 * LOG_2PI


def student(df, scale, reach, n_outputs):
    constant = gammaln((df + 1) / 2) - gammaln(df / 2) - 0.5 * np.log(df * np.pi) - np.log(scale)
    return Case(
        StudentT(df, scale),
        n_outputs,
        lambda f, y: (constant - 0.5 * (df + 1) * np.log(1 + ((y - f) / scale) ** 2 / df)).sum(axis=-1),
        lambda f, y: t.logpdf(y, df, f, scale).sum(axis=-1),
        lambda f, rng: f + scale * rng.standard_t(df, f.shape),
        lambda f: on_a_line(f, np.full(len(f), scale), reach),
        is_canonical=False,
        has_moments=df > 4,
    )


CASES = {
    "Gaussian": Case(
        Gaussian(0.4),
        2,
        lambda f, y: normal(y - f, np.log(0.4)).sum(axis=-1),
        lambda f, y: norm.logpdf(y, f, 0.4).sum(axis=-1),
        lambda f, rng: f + 0.4 * rng.standard_normal(f.shape),
        lambda f: on_a_line(f, [0.4, 0.4]),
    ),
    "HeteroscedasticGaussian": Case(
        HeteroscedasticGaussian(),
        2,
        lambda f, y: normal(y[..., 0] - f[..., 0], f[..., 1]),
        lambda f, y: norm.logpdf(y[..., 0], f[..., 0], np.exp(f[..., 1])),
        lambda f, rng: f[..., :1] + np.exp(f[..., 1:]) * rng.standard_normal(f[..., :1].shape),
        lambda f: on_a_line(f[:1], np.exp(f[1:])),
        is_canonical=False,
    ),
    "StudentT": student(8.0, 0.5, 7.0, 2),
    "Cauchy": student(1, 2, 40.0, 1),
    "Bernoulli": Case(
        Bernoulli(),
        2,
        lambda f, y: (y * f - np.log(1 + np.exp(f))).sum(axis=-1),
        lambda f, y: bernoulli.logpmf(y, expit(f)).sum(axis=-1),
        lambda f, rng: (rng.random(f.shape) < expit(f)).astype(float),
        lambda f: summed([0, 1], [0, 1]),
    ),
    "Categorical": Case(
        Categorical(),
        3,
        lambda f, y: np.where(y == np.arange(3), f, 0).sum(axis=-1) - np.log(np.exp(f).sum(axis=-1)),
        lambda f, y: np.where(y == np.arange(3), log_softmax(f, axis=-1), 0).sum(axis=-1),
        lambda f, rng: np.argmax(f + rng.gumbel(size=f.shape), axis=-1)[..., None],
        lambda f: summed([0, 1, 2]),
    ),
    "Poisson": Case(
        Poisson(),
        2,
        lambda f, y: (y * f - np.exp(f) - gammaln(y + 1)).sum(axis=-1),
        lambda f, y: poisson.logpmf(y, np.exp(f)).sum(axis=-1),
        lambda f, rng: rng.poisson(np.exp(f)),
        lambda f: summed(np.arange(100), np.arange(100)),
    ),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def cauchy_derivative(function, order):
    """Derivative (...) at 0 of an analytic function of one complex number, by its integral around a circle.

    The trapezoid rule on it converges geometrically: with radius 1/4, and no singularity nearer than 1, the error is
    4**-64; rounding leaves eps * order! * 4**order (Lyness & Moler 1967, SIAM J. Numer. Anal. 4, 202).
    """
    z = 0.25 * np.exp(2j * np.pi * np.arange(64) / 64)
    terms = [function(point) * point**-order for point in z]
    return order * np.mean(terms, axis=0).real  # order! is order for 1 and 2


def derivatives(case, f, y):
    """Gradient (..., n, out) and minus the second derivative (..., n, out, out) of the log density."""
    unit = np.eye(case.n_outputs)
    gradient = [cauchy_derivative(lambda z, e=e: case.analytic(f + z * e, y), 1) for e in unit]
    second = np.empty((case.n_outputs, case.n_outputs, *f.shape[:-1]))
    for a, b in np.ndindex(second.shape[:2]):
        along = [cauchy_derivative(lambda z, e=unit[a] + s * unit[b]: case.analytic(f + z * e, y), 2) for s in (1, -1)]
        second[a, b] = 0.25 * (along[0] - along[1])
    return np.stack(gradient, axis=-1), -np.moveaxis(second, (0, 1), (-2, -1))


def test_every_likelihood_offers_what_the_posterior_asks(case):
    assert isinstance(case.likelihood, Likelihood)
    assert case.likelihood.is_canonical is case.is_canonical


def test_log_density_agrees_with_scipy(case, rng):
    f = case.outputs(rng, 3, N)
    y = case.targets(rng, f[0])
    got = case.likelihood.log_density(f, y)
    assert got.shape == (3, N)
    assert np.allclose(got, case.scipy(f, y), rtol=1e-12, atol=1e-13)


def test_densities_are_normalised(case, rng):
    for f in case.outputs(rng, 4):
        _, _, p = case.everything(f)
        assert p.sum() == pytest.approx(1.0, abs=1e-12)


def test_derivatives_agree_with_cauchy_integrals(case, rng):
    f = case.outputs(rng, 3, N)
    y = case.targets(rng, f[0])
    gradient, information = derivatives(case, f, y)
    assert np.allclose(case.likelihood.gradient(f, y), gradient, rtol=1e-10, atol=1e-10)
    got = case.likelihood.observed_information(f, y)
    assert got.shape == (3, N, case.n_outputs, case.n_outputs)
    assert np.allclose(got, information, rtol=1e-10, atol=1e-10)


def test_derivatives_agree_with_differences_of_the_log_density(case, rng):
    f = case.outputs(rng, N)
    y = case.targets(rng, f)
    h, unit = 1e-4, np.eye(case.n_outputs)
    gradient, information = case.likelihood.gradient(f, y), case.likelihood.observed_information(f, y)
    # truncation h**2 times the derivative two orders up; rounding eps / h, and eps / h**2 = 1e-8, times the log density
    for a in range(case.n_outputs):
        up, down = (case.likelihood.log_density(f + s * h * unit[a], y) for s in (1, -1))
        assert np.allclose(gradient[:, a], (up - down) / (2 * h), rtol=1e-6, atol=1e-6)
        for b in range(case.n_outputs):
            corners = [s * r * case.likelihood.log_density(f + h * (s * unit[a] + r * unit[b]), y)
                       for s in (1, -1) for r in (1, -1)]  # fmt: skip
            assert np.allclose(information[:, a, b], -sum(corners) / (4 * h * h), rtol=1e-5, atol=1e-5)


def test_fisher_information_is_the_expected_one_and_the_variance_of_the_score(case, rng):
    for f in case.outputs(rng, 4):
        outputs, y, p = case.everything(f)
        score = case.likelihood.gradient(outputs, y)
        fisher = case.likelihood.fisher(f[None])[0]
        close = {"rtol": 1e-10, "atol": 1e-10}
        assert np.allclose(fisher, np.tensordot(p, case.likelihood.observed_information(outputs, y), 1), **close)
        assert np.allclose(fisher, (p[:, None] * score).T @ score, **close)
        assert np.allclose(p @ score, 0.0, **close)


def test_a_canonical_likelihood_has_the_same_information_whatever_the_targets(case, rng):
    f = case.outputs(rng, 3, N)
    fisher = case.likelihood.fisher(f)
    assert fisher.shape == (3, N, case.n_outputs, case.n_outputs)
    observed = case.likelihood.observed_information(f, case.targets(rng, f[0]))
    assert np.allclose(np.broadcast_to(observed, fisher.shape), fisher, rtol=1e-13, atol=1e-15) is case.is_canonical


@pytest.mark.parametrize("lead", [(), (3,)])
def test_the_gram_matrix_of_fisher_rows_is_that_of_the_information(case, lead, rng):
    f = case.outputs(rng, *lead, N)
    jacobian = rng.standard_normal((*f.shape, 5))
    rows = case.likelihood.fisher_rows(f, jacobian.copy())  # which it may overwrite
    expected = np.einsum("...nak,...nab,...nbl->...kl", jacobian, case.likelihood.fisher(f), jacobian)
    assert rows.shape[:-2] == lead
    assert np.allclose(rows.swapaxes(-1, -2) @ rows, expected, rtol=1e-12, atol=1e-12)
    uniform = case.likelihood.uniform_fisher
    if uniform is not None:
        assert np.allclose(case.likelihood.fisher(f), uniform * np.eye(case.n_outputs), rtol=1e-14, atol=0)


@pytest.mark.parametrize("rows", [slice(0, 2), slice(4, 99), slice(None)])
def test_likelihood_of_some_rows_is_those_rows(case, rows, rng):
    f = case.outputs(rng, 3, N)
    y = case.targets(rng, f[0])
    part = case.likelihood.rows(rows)
    for method in ("log_density", "gradient", "observed_information"):
        whole = getattr(case.likelihood, method)(f, y)
        assert np.array_equal(getattr(part, method)(f[:, rows], y[rows]), whole[:, rows])


def test_sigma_per_row_enters_the_information_of_that_row(rng):
    sigma = np.linspace(0.2, 3.0, N)
    f, likelihood = rng.standard_normal((3, N, 2)), Gaussian(sigma)
    expected = np.broadcast_to(np.eye(2) / sigma[:, None, None] ** 2, (3, N, 2, 2))
    for got in (likelihood.fisher(f), likelihood.observed_information(f, np.zeros((N, 2)))):
        assert np.allclose(np.broadcast_to(got, expected.shape), expected, rtol=1e-14, atol=0)


def moments(case, f):
    """Mean, variance and fourth central moment of what is observed, each (t,)."""
    _, y, p = case.everything(f)
    mean = p @ case.quantities(y)
    off = case.quantities(y) - mean
    return mean, p @ off**2, p @ off**4


def test_mean_and_variance_are_those_of_the_density(case, rng):
    if not case.has_moments:
        pytest.skip("no moments")
    f = case.outputs(rng, 3, 2)
    mean, variance = case.likelihood.mean(f), case.likelihood.variance(f)
    for index in np.ndindex(3, 2):
        expected = moments(case, f[index])
        assert np.allclose(np.broadcast_to(mean, (3, 2, mean.shape[-1]))[index], expected[0], rtol=1e-9, atol=1e-10)
        got = np.broadcast_to(variance, (3, 2, variance.shape[-1]))[index]
        assert np.allclose(got, expected[1], rtol=1e-9, atol=1e-10)


def test_scaled_residuals_are_those_over_the_standard_deviation(case, rng):
    if not case.has_moments:
        pytest.skip("no moments")
    f = case.outputs(rng, 3, N)
    y = case.targets(rng, f[0])
    expected = (case.quantities(y) - case.likelihood.mean(f)) / np.sqrt(case.likelihood.variance(f))
    assert np.allclose(case.likelihood.scaled_residual(f, y), expected, rtol=1e-12, atol=0)


def moments_under_normal_outputs(case, mean, covariance):
    """Mean and variance of a new target by quadrature over its outputs: the law of total variance."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = product([weights / weights.sum()] * len(mean)).prod(axis=1)
    f = mean + product([nodes] * len(mean)) @ np.linalg.cholesky(covariance).T
    means, variances = (np.broadcast_to(part, (len(f), part.shape[-1])) for part in
                        (case.likelihood.mean(f), case.likelihood.variance(f)))  # fmt: skip
    expected = weights @ means
    return expected, weights @ variances + weights @ (means - expected) ** 2


def test_predictions_under_normal_outputs_are_averages_over_them(case, rng):
    if not case.has_moments:
        pytest.skip("no moments")
    mean, half = case.outputs(rng, 3), 0.4 * rng.standard_normal((3, case.n_outputs, case.n_outputs))
    covariance = half @ half.swapaxes(-1, -2) + 0.1 * np.eye(case.n_outputs)
    got = case.likelihood.predictive_moments(mean, covariance)
    is_exact = not isinstance(case.likelihood, Bernoulli | Categorical)
    for i in range(3):
        expected = moments_under_normal_outputs(case, mean[i], covariance[i])
        for part, exact in zip(got, expected, strict=True):
            # MacKay's approximation is off by some hundredths of a probability
            assert np.allclose(part[i], exact, rtol=0, atol=1e-10 * max(1.0, exact.max()) if is_exact else 0.03)
    certain = case.likelihood.predictive_moments(mean, np.zeros_like(covariance))
    assert np.allclose(certain[0], case.likelihood.mean(mean), rtol=1e-13, atol=0)
    assert np.allclose(certain[1], case.likelihood.variance(mean), rtol=1e-13, atol=0)


@pytest.mark.parametrize(
    ("df", "mean", "variance"),
    [(0.5, np.nan, np.inf), (1, np.nan, np.inf), (1.5, 7.0, np.inf), (2, 7.0, np.inf), (3, 7.0, 12.0)],
)
def test_moments_that_do_not_exist_are_stated_as_such(df, mean, variance):
    likelihood, f = StudentT(df, 2.0), np.full((4, 2, 3), 7.0)
    assert np.array_equal(np.broadcast_to(likelihood.mean(f), f.shape), np.full(f.shape, mean), equal_nan=True)
    assert np.allclose(np.broadcast_to(likelihood.variance(f), f.shape), variance, rtol=1e-14, atol=0)


def simulated(case, f):
    y = case.likelihood.simulate(np.broadcast_to(f, (DRAWS, *f.shape)), np.random.default_rng(1))
    assert y.shape[:-1] == (DRAWS, len(f))
    return case.quantities(y)


def test_simulated_targets_have_the_moments_of_the_density(case, rng):
    if not case.has_moments:
        pytest.skip("no moments")
    f = case.outputs(rng, 3)
    drawn = simulated(case, f)
    for i in range(3):
        mean, variance, fourth = moments(case, f[i])
        off = drawn[:, i] - mean
        # errors of the means of m draws of y and of (y - mean)**2
        assert np.all(np.abs(off.mean(axis=0)) < 5 * np.sqrt(variance / DRAWS))
        assert np.all(np.abs((off**2).mean(axis=0) - variance) < 5 * np.sqrt((fourth - variance**2) / DRAWS))


def test_simulated_targets_of_rows_and_outputs_are_independent(case, rng):
    if isinstance(case.likelihood, Categorical) or not case.has_moments:
        pytest.skip("indicators of classes depend on each other, or have no moments")
    drawn = simulated(case, case.outputs(rng, 3)).reshape(DRAWS, -1)
    correlation = np.corrcoef(drawn.T) - np.eye(drawn.shape[1])
    assert np.abs(correlation).max() < 5 / np.sqrt(DRAWS)
    serial = np.corrcoef(drawn[:-1].T, drawn[1:].T)[: drawn.shape[1], drawn.shape[1] :]
    assert np.abs(serial).max() < 5 / np.sqrt(DRAWS)


@pytest.mark.parametrize("level", [0.05, 0.25, 0.5, 0.75, 0.95])
@pytest.mark.parametrize("df", [1, 3.0])
def test_simulated_targets_with_heavy_tails_have_the_quantiles_of_the_density(df, level):
    f = np.full((DRAWS, 1, 1), 7.0)
    y = StudentT(df, 2.0).simulate(f, np.random.default_rng(2))
    below = (y <= t.ppf(level, df, 7.0, 2.0)).mean()
    assert abs(below - level) < 5 * np.sqrt(level * (1 - level) / DRAWS)


def test_simulated_targets_follow_their_generator_and_are_targets(case, rng):
    f = case.outputs(rng, N)
    first, again, other = (case.likelihood.simulate(f, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(case.likelihood.check_targets(first, *f.shape), first)


@pytest.mark.parametrize("size", [40.0, 700.0, 1e5])
def test_bernoulli_is_safe_at_large_logits(size):
    likelihood, f = Bernoulli(), np.array([[size], [size], [-size], [-size]])
    y = likelihood.check_targets([1, 0, 0, 1], 4, 1)
    small = np.exp(-size)
    assert np.allclose(likelihood.log_density(f, y), [-small, -size, -small, -size], rtol=1e-13, atol=0)
    assert np.allclose(likelihood.gradient(f, y)[:, 0], [small, -1, -small, 1], rtol=1e-12, atol=1e-300)
    assert np.allclose(likelihood.fisher(f)[:, 0, 0], small, rtol=1e-12, atol=1e-300)
    rows = likelihood.fisher_rows(f, np.ones((4, 1, 1)))
    assert np.allclose(rows.T @ rows, 4 * small, rtol=1e-12, atol=1e-300)
    assert np.array_equal(likelihood.simulate(f, np.random.default_rng(0))[:, 0], [1, 1, 0, 0])


def test_categorical_is_safe_at_large_logits():
    likelihood = Categorical()
    f = np.array([[700.0, -700.0, 0.0], [700.0, -700.0, 0.0], [-700.0, -700.0, -700.0], [700.0, 700.0, 700.0]])
    y = likelihood.check_targets([0, 1, 2, 0], 4, 3)
    third = np.log(3.0)
    assert np.allclose(likelihood.log_density(f, y), [0.0, -1400.0, -third, -third], rtol=1e-13, atol=1e-300)
    p = np.array([[1, 0, 0], [1, 0, 0], np.full(3, 1 / 3), np.full(3, 1 / 3)])
    one_hot = np.eye(3)[[0, 1, 2, 0]]
    assert np.allclose(likelihood.gradient(f, y), one_hot - p, rtol=0, atol=1e-15)
    expected = np.einsum("na,ab->nab", p, np.eye(3)) - np.einsum("na,nb->nab", p, p)
    assert np.allclose(likelihood.fisher(f), expected, rtol=0, atol=1e-15)
    assert np.isfinite(likelihood.fisher_rows(f, np.ones((4, 3, 2)))).all()
    assert np.allclose(likelihood.mean(f), p, rtol=0, atol=1e-15)


def test_a_shift_of_all_logits_changes_no_class_probability(rng):
    f, likelihood = rng.standard_normal((N, 4)), Categorical()
    y = likelihood.check_targets(rng.integers(0, 4, N), N, 4)
    rows = likelihood.fisher_rows(f, np.ones((N, 4, 1)))  # along the shift
    assert np.allclose(likelihood.log_density(f + 3.0, y), likelihood.log_density(f, y), rtol=1e-13, atol=1e-13)
    assert np.allclose(rows, 0.0, rtol=0, atol=1e-15)


def test_a_student_of_many_degrees_of_freedom_is_a_gaussian(rng):
    f, y = rng.standard_normal((2, N, 2))
    student, gaussian = StudentT(1e8, 0.5), Gaussian(0.5)
    # they differ by O(z**4 / df), z up to 8 here
    assert np.allclose(student.log_density(f, y), gaussian.log_density(f, y), rtol=0, atol=1e-4)
    assert np.allclose(student.gradient(f, y), gaussian.gradient(f, y), rtol=1e-5, atol=0)


class Problem:
    """A posterior with targets drawn from a small network, and weights away from its optimum."""

    def __init__(self, case, n=25, prior_precision=0.7, draw=None):
        rng = np.random.default_rng(8)
        self.case, self.net = case, MLP(2, (2,), case.n_outputs)
        self.x = rng.standard_normal((n, 2))
        self.truth = rng.standard_normal(self.net.n_weights)
        self.y = (draw or case.draw)(self.net.predict(self.truth, self.x), rng)
        self.prior_precision = prior_precision
        self.posterior = Posterior(self.net, self.x, self.y, case.likelihood, NormalPrior(prior_precision))
        self.weights = rng.standard_normal((3, self.net.n_weights))

    def log_density(self, w):
        """By the oracles; weights may be complex."""
        outputs = oracles.predict(oracles.Net.of(self.net), w, self.x)
        prior = 0.5 * (np.log(self.prior_precision) - LOG_2PI - self.prior_precision * w * w)
        return self.case.analytic(outputs, self.posterior.y).sum() + prior.sum()


@pytest.fixture
def problem(case):
    return Problem(case)


def assert_close(got, expected, relative):
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= relative * np.abs(expected).max()


def test_posterior_and_its_gradient_agree_with_complex_steps(problem):
    value, gradient = problem.posterior.value_and_gradient(problem.weights)
    linear = problem.posterior.linearize(problem.weights)
    expected = np.array([problem.log_density(w) for w in problem.weights])
    steps = oracles.STEP * 1j * np.eye(problem.net.n_weights)
    expected_gradient = np.array([[problem.log_density(w + s).imag / oracles.STEP for s in steps]
                                  for w in problem.weights])  # fmt: skip
    for got in (value, linear.log_density, problem.posterior.log_density(problem.weights)):
        assert_close(got, expected, 1e-12)
    assert_close(gradient, expected_gradient, 1e-10)
    assert_close(linear.gradient, expected_gradient, 1e-10)


def test_log_likelihood_is_that_of_every_row(problem):
    w = problem.weights[0]
    expected = problem.case.scipy(oracles.predict(oracles.Net.of(problem.net), w, problem.x), problem.posterior.y)
    assert np.allclose(problem.posterior.log_likelihood(w), expected, rtol=1e-11, atol=1e-12)


def test_posterior_ggn_is_a_dense_sum_of_fisher_information(problem):
    posterior, w = problem.posterior, problem.weights[0]
    jacobian = oracles.jacobian(oracles.Net.of(problem.net), w, problem.x)
    fisher = problem.case.likelihood.fisher(problem.net.predict(w, problem.x))
    expected = problem.prior_precision * np.eye(w.size)
    for B, information in zip(jacobian, fisher, strict=True):
        expected = expected + B.T @ information @ B
    rows = np.vstack(list(posterior.scaled_rows(w)))
    for got in (posterior.ggn(w), posterior.linearize(problem.weights).ggn[0], rows.T @ rows):
        assert_close(got, expected, 1e-11)
    assert_close(posterior.factor_ggn(w).precision, expected, 1e-11)


def test_posterior_hessian_is_the_difference_of_gradients(problem):
    posterior, h = problem.posterior, 1e-5
    for w in problem.weights:
        steps = h * np.eye(w.size)
        up, down = (posterior.value_and_gradient(w + s * steps)[1] for s in (1, -1))
        # truncation h**2, rounding eps / h, both near 1e-10 of a third derivative or the gradient
        assert_close(posterior.hessian(w), (down - up) / (2 * h), 1e-7)
        assert_close(posterior.hessian(w, posterior.ggn(w)), posterior.hessian(w), 1e-13)


def test_several_blocks_are_one(case, monkeypatch):
    # 150 rows are three blocks of 64, the least the package makes
    posterior, w = (problem := Problem(case, n=150)).posterior, problem.weights[0]
    methods = (posterior.log_density, posterior.ggn, posterior.hessian, lambda w: posterior.value_and_gradient(w)[1])
    whole = [np.asarray(method(w)) for method in methods]
    monkeypatch.setattr(row_sums_module, "OUTPUTS_AT_A_TIME", 1)
    monkeypatch.setattr(row_sums_module, "JACOBIAN_AT_A_TIME", 1)
    monkeypatch.setattr(row_sums_module, "UNITS_AT_A_TIME", 1)
    for method, expected in zip(methods, whole, strict=True):
        assert_close(np.asarray(method(w)), expected, 1e-12)


@pytest.mark.parametrize("method", ["levenberg-marquardt", "newton-cg", "l-bfgs"])
def test_optima_of_simulated_data_are_certified(case, method):
    problem = Problem(case, n=200, prior_precision=0.5, draw=case.likelihood.simulate)
    found = find_optimum(problem.posterior, method=method, n_starts=4, seed=0)
    assert found.status == "converged", found.certificate.reasons
    assert found.certificate.is_optimum
    assert found.log_density >= problem.posterior.log_density(problem.truth)
    assert np.abs(problem.posterior.value_and_gradient(found.weights)[1]).max() < 1e-5


@pytest.mark.parametrize("curvature", ["ggn", "hessian"])
def test_laplace_takes_its_curvature_from_the_posterior(case, curvature):
    problem = Problem(case, n=200, prior_precision=0.5)
    found = find_optimum(problem.posterior, n_starts=4, seed=0)
    laplace = fit_laplace(problem.posterior, found, curvature=curvature)
    assert_close(laplace.posterior_precision, getattr(problem.posterior, curvature)(found.weights), 1e-10)


def test_a_vector_and_a_column_of_targets_are_the_same(case):
    if case.n_outputs > 1 and isinstance(case.likelihood, Gaussian | StudentT | Bernoulli | Poisson):
        case = Case(**{**vars(case), "n_outputs": 1})
    problem = Problem(case)
    flat = Posterior(problem.net, problem.x, problem.y[:, 0], case.likelihood, NormalPrior(0.7))
    assert np.array_equal(flat.y, problem.posterior.y)
    assert np.array_equal(flat.log_density(problem.weights), problem.posterior.log_density(problem.weights))


@pytest.mark.parametrize("likelihood", [Bernoulli(), Categorical(), Poisson()], ids=repr)
@pytest.mark.parametrize("kind", [list, np.int8, np.int64, np.float32, float, bool])
def test_counts_and_labels_may_have_any_type_that_holds_them(likelihood, kind):
    if kind is bool and not isinstance(likelihood, Bernoulli):
        pytest.skip("labels of two classes only")
    y = [0, 1, 1, 0] if kind is list else np.array([0, 1, 1, 0], dtype=kind)
    n_outputs = 2 if isinstance(likelihood, Categorical) else 1
    assert np.array_equal(likelihood.check_targets(y, 4, n_outputs), [[0], [1], [1], [0]])


BAD = {"fraction": 0.5, "negative": -1, "nan": np.nan, "infinite": np.inf, "text": "1", "missing": None}
BAD_TARGETS = [
    *[(name, value) for name in ("Bernoulli", "Categorical", "Poisson") for value in BAD.values()],
    ("Bernoulli", 2),
    ("Categorical", 3),
    ("HeteroscedasticGaussian", np.nan),
    ("HeteroscedasticGaussian", "1"),
    ("StudentT", np.inf),
    ("StudentT", None),
]


@pytest.mark.parametrize(("name", "value"), BAD_TARGETS)
def test_targets_the_likelihood_cannot_have_are_refused(name, value):
    case = CASES[name]
    net = MLP(2, (2,), case.n_outputs if name in ("Categorical", "HeteroscedasticGaussian") else 1)
    with refuses("y", "", ""):
        Posterior(net, np.zeros((3, 2)), [0, 1, value], case.likelihood, NormalPrior(1.0))


def test_targets_in_rows_of_different_lengths_are_refused(case):
    with refuses("y", "", "numbers only"):
        case.likelihood.check_targets([[1], [0, 1], [1]], 3, case.n_outputs)


@pytest.mark.parametrize("y", [np.zeros(2), np.zeros((3, 2)), np.zeros((3, 1, 1)), 1.0, []], ids=str)
def test_targets_of_another_shape_are_refused(case, y):
    n_outputs = case.n_outputs if isinstance(case.likelihood, Categorical | HeteroscedasticGaussian) else 1
    with refuses("y", f"shape {np.shape(y)}", "shape (3,) or (3, 1)"):
        case.likelihood.check_targets(y, 3, n_outputs)


@pytest.mark.parametrize("name", ["StudentT", "Bernoulli", "Poisson"])
def test_several_outputs_want_as_many_targets(name):
    likelihood = CASES[name].likelihood
    assert likelihood.check_targets(np.ones((3, 2)), 3, 2).shape == (3, 2)
    with refuses("y", "shape (3,)", "shape (3, 2)"):
        likelihood.check_targets(np.ones(3), 3, 2)


@pytest.mark.parametrize("value", [0, 0.0, -1.0, np.nan, "3", None, True, [1.0], np.ones(2)])
def test_what_is_no_number_above_zero_is_refused(value):
    with refuses("df", "", "above 0"):
        StudentT(value, 1.0)
    with refuses("scale", "", "above 0"):
        StudentT(4.0, value)


@pytest.mark.parametrize(
    ("likelihood", "n_outputs"),
    [(HeteroscedasticGaussian(), 1), (HeteroscedasticGaussian(), 3), (Categorical(), 1)],
    ids=str,
)
def test_a_model_with_another_number_of_outputs_is_refused(likelihood, n_outputs):
    with refuses("model", str(n_outputs), "2"):
        Posterior(MLP(2, (2,), n_outputs), np.zeros((3, 2)), [0, 1, 0], likelihood, NormalPrior(1.0))


def test_the_globe_tossed_nine_times():
    # McElreath 2020, Statistical Rethinking, section 2.4: 6 of 9 water; normal approximation 0.67, sd 0.16
    model = FunctionModel(lambda w, x: w[0] + 0 * x, ["logit"])
    post = Posterior(model, np.zeros(9), [1, 0, 1, 1, 1, 0, 1, 0, 1], Bernoulli(), FlatPrior())
    found = find_optimum(post, seed=0)
    assert found.certificate.is_optimum
    assert found.weights[0] == pytest.approx(np.log(2.0), rel=1e-9)
    for curvature in ("ggn", "hessian"):
        sd = np.sqrt(fit_laplace(post, found, curvature=curvature).posterior_covariance[0, 0])
        assert sd == pytest.approx(1 / np.sqrt(2.0), rel=1e-8)
        slope = expit(found.weights[0]) * expit(-found.weights[0])
        assert slope * sd == pytest.approx(0.15713484026367722, rel=1e-8)
