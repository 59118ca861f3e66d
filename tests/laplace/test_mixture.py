import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from bayesnn.laplace import LaplaceMixture, fit_laplace
from bayesnn.laplace.mixture import mixed_moments
from bayesnn.models import MLP
from bayesnn.optimum import find_optimum
from bayesnn.posterior import Bernoulli, Gaussian, NormalPrior, Posterior, StudentT
from tests.refusals import refuses
from tests.two_modes import MASSES, MEANS, two_modes

NEW_X = np.array([[0.0], [0.7], [-3.0]])
WEIGHTS = (2.0, 1.0, 5.0)
SHARES = np.array([0.25, 0.125, 0.625])
INFERRED = NormalPrior("infer", log_precision_prior=(0.0, 1.0))


def line(sigma=0.5, precision=1.0, rows=20, hidden=(), shift=0.0):
    """A posterior of two weights: a straight line."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((rows, 1))
    y = 0.8 * x[:, 0] - 0.3 + 0.5 * rng.standard_normal(rows) + shift
    return Posterior(MLP(1, hidden, 1), x, y, Gaussian(sigma), NormalPrior(precision))


def at_optimum(post):
    return fit_laplace(post, find_optimum(post, seed=0))


@pytest.fixture(scope="module")
def lines():
    """Gaussians of two weights under three hyperparameters: other means, widths and evidences."""
    return [at_optimum(line(sigma, precision)) for sigma, precision in ((0.5, 1.0), (0.9, 30.0), (0.3, 0.1))]


@pytest.fixture(scope="module")
def apart():
    """Gaussians of two weights, some thirty standard deviations from each other: every draw tells its component."""
    points = [np.array([0.0, 0.0]), np.array([5.0, -2.0]), np.array([-4.0, 3.0])]
    return [fit_laplace(line(sigma), point) for sigma, point in zip((0.5, 0.9, 0.3), points, strict=True)]


@pytest.fixture(scope="module")
def network():
    """Distinct optima of a small network."""
    x = np.linspace(-1, 1, 30)[:, None]
    post = Posterior(MLP(1, (2,), 1), x, np.sin(5 * x), Gaussian(0.3), NormalPrior(1.0))
    best = find_optimum(post, n_starts=8, seed=0)
    laplaces = [fit_laplace(post, optimum) for optimum in (best, *best.others)]
    assert len(laplaces) > 1
    return laplaces


@pytest.fixture(params=["lines", "apart", "network"])
def laplaces(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["by evidence", "given"])
def mixture(request, laplaces):
    given = None if request.param == "by evidence" else np.arange(1.0, len(laplaces) + 1.0)
    return LaplaceMixture(laplaces, given)


def log_mixed(log_densities, probabilities):
    """Log of the weighted sum of densities, whatever of it is 0."""
    with np.errstate(divide="ignore"):
        return np.logaddexp.reduce([d + np.log(p) for d, p in zip(log_densities, probabilities, strict=True)])


def log_densities(mixture, weights):
    """Log density (m, ...) of every component, by SciPy."""
    covariances = [np.linalg.inv(laplace.posterior_precision) for laplace in mixture.laplaces]
    means = [laplace.mean for laplace in mixture.laplaces]
    return [multivariate_normal.logpdf(weights, m, c) for m, c in zip(means, covariances, strict=True)]


def test_probabilities_are_in_proportion_to_the_evidences(laplaces):
    evidences = np.array([laplace.log_marginal_likelihood for laplace in laplaces])
    mixture = LaplaceMixture(laplaces)
    relative = np.exp(evidences - evidences.max())
    of_images = relative * np.exp([laplace.log_symmetry_order for laplace in laplaces])
    # exp of a log evidence of some hundred nats: 1e-13 of rounding
    assert np.allclose(mixture.probabilities, of_images / of_images.sum(), rtol=1e-11, atol=0)
    assert mixture.log_marginal_likelihood == pytest.approx(evidences.max() + np.log(relative.sum()), rel=1e-13)


def test_evidences_too_far_apart_for_floating_point_leave_one_component():
    few, likely = at_optimum(line(sigma=0.01)), at_optimum(line(sigma=0.5))
    assert few.log_marginal_likelihood < likely.log_marginal_likelihood - 1000
    mixture = LaplaceMixture([few, likely])
    assert mixture.probabilities.tolist() == [0.0, 1.0]
    assert mixture.log_marginal_likelihood == likely.log_marginal_likelihood
    assert np.array_equal(mixture.predict(NEW_X).mean, likely.predict(NEW_X).mean)
    assert np.allclose(mixture.log_prob(likely.mean), likely.log_prob(likely.mean), rtol=1e-14)


@pytest.mark.parametrize("weights", [WEIGHTS, list(SHARES), np.array([2, 1, 5]), tuple(1e-200 * w for w in WEIGHTS)])
def test_weights_that_are_given_are_normalised(lines, weights):
    mixture = LaplaceMixture(lines, weights)
    assert np.allclose(mixture.probabilities, SHARES, rtol=1e-15)
    # given weights do not touch the evidence
    assert mixture.log_marginal_likelihood == LaplaceMixture(lines).log_marginal_likelihood


def test_weights_that_are_given_are_copied(lines):
    given = np.array(WEIGHTS)
    mixture = LaplaceMixture(lines, given)
    given[:] = 7.0
    assert np.allclose(mixture.probabilities, SHARES, rtol=1e-15)


def test_any_iterable_of_laplaces_will_do(lines):
    expected = LaplaceMixture(lines).probabilities
    assert np.array_equal(LaplaceMixture(laplace for laplace in lines).probabilities, expected)


def test_the_density_is_the_sum_of_the_components(mixture, rng):
    spread = np.sqrt(mixture.laplaces[0].posterior_variance)
    centres = np.array([laplace.mean for laplace in mixture.laplaces])
    w = centres[rng.integers(len(centres), size=(2, 5))] + spread * rng.standard_normal((2, 5, centres.shape[1]))
    expected = log_mixed(log_densities(mixture, w), mixture.probabilities)
    assert mixture.log_prob(w).shape == (2, 5)
    assert np.allclose(mixture.log_prob(w), expected, rtol=1e-9, atol=1e-9)
    assert np.isclose(mixture.log_prob(w[0, 0]), expected[0, 0], rtol=1e-9, atol=1e-9)


def test_the_density_far_away_does_not_underflow(apart):
    mixture = LaplaceMixture(apart, WEIGHTS)
    far = np.array([1e3, -1e3])
    expected = log_mixed([laplace.log_prob(far) for laplace in apart], SHARES)
    assert expected < -1e5
    assert mixture.log_prob(far) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("where", ["lines", "apart"])
def test_the_density_integrates_to_one(where, weights, request):
    mixture = LaplaceMixture(request.getfixturevalue(where), weights)
    sd = [laplace.eigendirections[0] for laplace in mixture.laplaces]
    step, reach = 0.5 * min(s.min() for s in sd), 9.0 * max(s.max() for s in sd)
    means = np.array([laplace.mean for laplace in mixture.laplaces])
    axes = [
        np.arange(low - reach, high + reach + step, step) for low, high in zip(means.min(0), means.max(0), strict=True)
    ]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    # equal steps of half a sd miss 4 exp(-8 pi**2) of a Gaussian (Poisson summation), the tails beyond 9 sd 4e-19 each
    assert np.exp(mixture.log_prob(grid)).sum() * step**2 == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("kind", ["glm", "weights"])
def test_predicted_moments_follow_the_law_of_total_variance(mixture, kind, noise):
    prediction = mixture.predict(NEW_X, kind, noise=noise, n_draws=200, seed=4)
    assert prediction.mean.shape == prediction.sd.shape == (3, 1)
    for row in range(3):
        first = second = 0.0
        for p, laplace in zip(mixture.probabilities, mixture.laplaces, strict=True):
            mean, sd = laplace.predict(NEW_X, kind, noise=noise, n_draws=200, seed=4)
            first += p * mean[row, 0]
            second += p * (sd[row, 0] ** 2 + mean[row, 0] ** 2)
        assert prediction.mean[row, 0] == pytest.approx(first, rel=1e-12, abs=1e-14)
        # a difference of squares: rounding of the second moment
        assert prediction.sd[row, 0] ** 2 == pytest.approx(second - first**2, rel=1e-10, abs=1e-13 * second)


def test_components_that_disagree_widen_the_prediction(apart):
    mixture = LaplaceMixture(apart, WEIGHTS)
    x = np.array([[2.0]])
    means = np.array([laplace.mean @ [2.0, 1.0] for laplace in apart])
    within = np.array([laplace.predict(x).sd[0, 0] ** 2 for laplace in apart])
    between = SHARES @ (means - SHARES @ means) ** 2
    assert between > 10 * within.max()
    assert mixture.predict(x).mean[0, 0] == pytest.approx(SHARES @ means, rel=1e-12)
    assert mixture.predict(x).sd[0, 0] ** 2 == pytest.approx(SHARES @ within + between, rel=1e-12)


def test_predicted_moments_are_those_of_the_draws(apart):
    n = 40_000
    mixture = LaplaceMixture(apart, WEIGHTS)
    outputs = mixture.laplaces[0].posterior.model.predict(mixture.sample(n, seed=5), NEW_X)[..., 0]
    prediction = mixture.predict(NEW_X)
    mean, sd = prediction.mean[:, 0], prediction.sd[:, 0]
    assert np.all(np.abs(outputs.mean(axis=0) - mean) < 5 * sd / np.sqrt(n))
    squares = (outputs - mean) ** 2
    assert np.all(np.abs(squares.mean(axis=0) - sd**2) < 5 * squares.std(axis=0) / np.sqrt(n))


def test_probabilities_of_classes_are_mixed(rng):
    x = rng.standard_normal((40, 1))
    y = rng.random(40) < 1.0 / (1.0 + np.exp(-2.0 * x[:, 0]))
    each = [at_optimum(Posterior(MLP(1, (), 1), x, y, Bernoulli(), NormalPrior(a))) for a in (0.1, 50.0)]
    mixture = LaplaceMixture(each, [3, 1])
    for link in ("probit", "monte-carlo"):
        parts = [laplace.predict(NEW_X, noise=True, link=link, seed=2) for laplace in each]
        p = 0.75 * parts[0].mean + 0.25 * parts[1].mean
        found = mixture.predict(NEW_X, noise=True, link=link, seed=2)
        assert np.allclose(found.mean, p, rtol=1e-13)
    # a label of mean p has variance p (1 - p), whatever p is mixed of
    found = mixture.predict(NEW_X, noise=True)
    assert np.allclose(found.sd**2, found.mean * (1.0 - found.mean), rtol=1e-12)
    log_p = mixture.log_predictive_density(NEW_X, [1, 1, 1], n_draws=50, seed=2)
    log_q = mixture.log_predictive_density(NEW_X, [0, 0, 0], n_draws=50, seed=2)
    assert np.allclose(np.exp(log_p) + np.exp(log_q), 1.0, rtol=1e-12)


def components_of(draws, laplaces):
    """Which Gaussian each draw is nearest to, and its standard normal coordinates there."""
    whitened = [(draws - la.mean) @ np.linalg.cholesky(la.posterior_precision) for la in laplaces]
    nearest = np.argmin([(z**2).sum(axis=1) for z in whitened], axis=0)
    return [z[nearest == m] for m, z in enumerate(whitened)]


def test_draws_come_from_each_component_in_its_share(apart):
    n = 20_000
    found = components_of(LaplaceMixture(apart, WEIGHTS).sample(n, seed=0), apart)
    shares = np.array([len(z) for z in found]) / n
    assert np.all(np.abs(shares - SHARES) < 5 * np.sqrt(SHARES * (1 - SHARES) / n))
    for z in found:
        # z is N(0, I): a mean errs by 1 / sqrt(n), a variance by sqrt(2 / n), a covariance by 1 / sqrt(n); 5 times
        assert np.abs(z).max() < 6  # 5e4 normal numbers: beyond that one in ten thousand times
        assert np.all(np.abs(z.mean(axis=0)) < 5 / np.sqrt(len(z)))
        assert np.all(np.abs(z.T @ z / len(z) - np.eye(2)) < 5 * np.sqrt((1.0 + np.eye(2)) / len(z)))


def test_draws_have_the_mean_and_covariance_of_the_mixture(mixture):
    n = 20_000
    p, k = mixture.probabilities, mixture.laplaces[0].n_weights
    mean = sum(q * laplace.mean for q, laplace in zip(p, mixture.laplaces, strict=True))
    second = sum(
        q * (la.posterior_covariance + np.outer(la.mean, la.mean)) for q, la in zip(p, mixture.laplaces, strict=True)
    )
    covariance = second - np.outer(mean, mean)
    draws = mixture.sample(n, seed=1)
    assert draws.shape == (n, k)
    assert np.all(np.abs(draws.mean(axis=0) - mean) < 5 * np.sqrt(np.diag(covariance) / n))
    products = (draws - mean)[:, :, None] * (draws - mean)[:, None, :]
    assert np.all(np.abs(products.mean(axis=0) - covariance) < 5 * products.std(axis=0) / np.sqrt(n))


def test_components_do_not_share_their_random_numbers(apart):
    n = 3000
    first, second, third = (z[:n] for z in components_of(LaplaceMixture(apart, np.ones(3)).sample(5 * n), apart))
    for a, b in ((first, second), (first, third), (second, third)):
        # of independent normal numbers a correlation is of 1 / sqrt(n)
        assert np.all(np.abs(np.corrcoef(a.T, b.T)[:2, 2:]) < 5 / np.sqrt(n))


def test_draws_follow_their_seed(mixture):
    assert np.array_equal(mixture.sample(50, seed=1), mixture.sample(50, seed=1))
    assert not np.array_equal(mixture.sample(50, seed=1), mixture.sample(50, seed=2))
    assert mixture.sample(1).shape == (1, mixture.laplaces[0].n_weights)


def test_a_component_of_weight_zero_is_as_if_it_were_not_there(apart, rng):
    without, mixture = LaplaceMixture(apart[:2], [1, 3]), LaplaceMixture(apart, [1, 3, 0])
    w = apart[2].mean + rng.standard_normal((4, 2))
    assert np.allclose(mixture.log_prob(w), without.log_prob(w), rtol=1e-14)
    assert np.allclose(mixture.predict(NEW_X).sd, without.predict(NEW_X).sd, rtol=1e-14)
    assert len(components_of(mixture.sample(2000), apart)[2]) == 0


@pytest.mark.parametrize("kind", ["glm", "weights"])
def test_the_predictive_density_is_the_log_sum_of_the_components(mixture, kind):
    y = [0.1, -0.4, 2.0]
    each = [laplace.log_predictive_density(NEW_X, y, kind, n_draws=100, seed=6) for laplace in mixture.laplaces]
    expected = log_mixed(each, mixture.probabilities)
    found = mixture.log_predictive_density(NEW_X, y, kind, n_draws=100, seed=6)
    assert found.shape == (3,)
    assert np.allclose(found, expected, rtol=1e-12)


def test_the_predictive_density_is_a_mixture_of_normals(lines):
    mixture, design, y = LaplaceMixture(lines, WEIGHTS), np.array([1.5, 1.0]), np.linspace(-2, 4, 7)
    x = np.full((7, 1), 1.5)
    expected = np.zeros(7)
    for share, laplace, sigma in zip(SHARES, lines, (0.5, 0.9, 0.3), strict=True):
        variance = design @ np.linalg.inv(laplace.posterior_precision) @ design + sigma**2
        expected += share * norm.pdf(y, design @ laplace.mean, np.sqrt(variance))
    assert np.allclose(np.exp(mixture.log_predictive_density(x, y)), expected, rtol=1e-11)


def test_one_component_is_that_laplace(laplaces, rng):
    alone, laplace = LaplaceMixture(laplaces[:1]), laplaces[0]
    w = laplace.mean + rng.standard_normal((3, laplace.n_weights))
    assert alone.probabilities.tolist() == [1.0]
    assert alone.log_marginal_likelihood == pytest.approx(laplace.log_marginal_likelihood, rel=1e-15)
    assert np.allclose(alone.log_prob(w), laplace.log_prob(w), rtol=1e-15)
    for noise in (False, True):
        for found, expected in zip(alone.predict(NEW_X, noise=noise), laplace.predict(NEW_X, noise=noise), strict=True):
            assert np.allclose(found, expected, rtol=1e-15)
    y = [0.0, 1.0, 2.0]
    assert np.allclose(alone.log_predictive_density(NEW_X, y), laplace.log_predictive_density(NEW_X, y), rtol=1e-14)
    assert LaplaceMixture(laplaces[:1], [0.2]).probabilities.tolist() == [1.0]


def test_a_component_twice_is_that_component(lines, rng):
    double, w = LaplaceMixture([lines[0], lines[0]]), rng.standard_normal((5, 2))
    assert double.probabilities.tolist() == [0.5, 0.5]
    assert np.allclose(double.log_prob(w), lines[0].log_prob(w), rtol=1e-14)
    assert np.allclose(double.predict(NEW_X).sd, lines[0].predict(NEW_X).sd, rtol=1e-14)
    assert double.log_marginal_likelihood == pytest.approx(lines[0].log_marginal_likelihood + np.log(2), rel=1e-14)


def test_other_structures_and_curvatures_may_be_mixed(network, rng):
    post, mean = network[0].posterior, network[0].mean
    mixture = LaplaceMixture([network[0], fit_laplace(post, mean, curvature="hessian", structure="layer")], [1, 1])
    w = mean + 0.1 * rng.standard_normal((4, mean.size))
    expected = log_mixed(log_densities(mixture, w), [0.5, 0.5])
    assert np.allclose(mixture.log_prob(w), expected, rtol=1e-9)


@pytest.mark.parametrize("empty", [[], (), iter([])])
def test_no_components_are_refused(empty):
    with refuses("laplaces", "none", "at least one"):
        LaplaceMixture(empty)


@pytest.mark.parametrize("other", [line(rows=19), line(hidden=(1,)), line(shift=1.0)], ids=["rows", "network", "data"])
def test_other_networks_or_data_are_refused(lines, other):
    laplace = fit_laplace(other, np.zeros(other.n_weights))
    with refuses("laplaces", "MLP", "one network and one data set"):
        LaplaceMixture([*lines, laplace])


def test_noise_that_only_one_of_them_infers_is_refused(lines):
    # it is a coordinate more: there is no common space to mix in
    post = lines[0].posterior
    inferred = at_optimum(post.with_hyperparameters(Gaussian("infer"), NormalPrior(1.0)))
    assert inferred.n_weights == 3
    with refuses("laplaces", "Gaussian('infer')", ""):
        LaplaceMixture([lines[0], inferred])


@pytest.mark.parametrize(
    "weights",
    [
        [0.5, 0.5, -1e-9],
        [0.5, 0.5],
        [1.0, 1.0, 1.0, 1.0],
        [[1.0, 1.0, 1.0]],
        1.0,
        [],
        [0.0, 0.0, 0.0],
        ["1", "2", "3"],
        [True, True, False],
        [np.nan, 1.0, 1.0],
        [np.inf, 1.0, 1.0],
        [None, 1.0, 1.0],
        [[1.0], [1.0, 2.0], 3.0],
    ],
)
def test_weights_that_are_no_weights_are_refused(lines, weights):
    with refuses("weights", "", "3 numbers, none negative, not all 0"):
        LaplaceMixture(lines, weights)


@pytest.mark.parametrize("word", ["abc", "", "1"])
def test_a_word_that_is_no_way_to_weigh_is_refused(lines, word):
    with refuses("weights", repr(word), ""):
        LaplaceMixture(lines, word)


@pytest.mark.parametrize("n", [0, -1, 2.0, True])
def test_a_number_of_draws_that_is_none_is_refused(lines, n):
    with refuses("n", str(n), "at least 1"):
        LaplaceMixture(lines).sample(n)


def test_arguments_of_predictions_are_refused_as_by_one_laplace(lines):
    mixture = LaplaceMixture(lines)
    with refuses("kind", "'mean'", "'glm'"):
        mixture.predict(NEW_X, "mean")
    with refuses("x", "shape (3, 2)", "shape (n, 1)"):
        mixture.predict(np.zeros((3, 2)))
    with refuses("weights", "shape (3,)", "2"):
        mixture.log_prob(np.zeros(3))
    with refuses("seed", "-1", "at least 0"):
        mixture.sample(3, seed=-1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((Gaussian("infer"), NormalPrior(1.0)), (Gaussian(0.5), INFERRED)),
        ((Gaussian(0.5), INFERRED), (Gaussian(0.5), NormalPrior("infer", 1.0, log_precision_prior=(0.0, 1.0)))),
    ],
)
def test_coordinates_that_mean_something_else_are_refused(lines, one, other):
    post = lines[0].posterior
    both = [at_optimum(post.with_hyperparameters(*parts)) for parts in (one, other)]
    assert both[0].n_weights == both[1].n_weights
    with refuses("laplaces", "Posterior", "one network"):
        LaplaceMixture(both)


def test_modes_weigh_as_much_as_all_their_images():
    x = np.linspace(-2.0, 2.0, 40)[:, None]
    post = Posterior(MLP(1, (2,), 1, bias=False), x, np.tanh(2.0 * x), Gaussian(0.3), NormalPrior(1.0))
    at_rest = fit_laplace(post, find_optimum(post, start=np.array([1.5, 0.0, 1.0, 0.0]), progress=False))
    both = fit_laplace(post, at_rest.mean + np.array([0.0, 0.5, 0.0, 0.5]))
    assert both.log_symmetry_order - at_rest.log_symmetry_order == pytest.approx(np.log(2.0))
    odds = np.log(LaplaceMixture([both, at_rest]).probabilities)
    expected = both.log_marginal_likelihood - at_rest.log_marginal_likelihood + np.log(2.0)
    assert odds[0] - odds[1] == pytest.approx(expected)


def test_components_of_no_share_do_not_count_whatever_their_moments():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 1))
    post = Posterior(MLP(1, (), 1), x, x[:, 0], StudentT(2.0, 0.3), NormalPrior(1.0))
    one = at_optimum(post)
    mixture = LaplaceMixture([one, fit_laplace(post, one.mean + 0.1)], [1.0, 0.0])
    np.testing.assert_array_equal(mixture.predict(NEW_X, noise=True).sd, one.predict(NEW_X, noise=True).sd)
    mean, variance = mixed_moments(np.array([0.0, 1.0]), np.array([[np.inf], [2.0]]), np.array([[np.nan], [3.0]]))
    assert (mean, variance) == (2.0, 3.0)


def test_modes_of_a_mere_density_are_mixed():
    target = two_modes()
    found = LaplaceMixture([fit_laplace(target, mean, curvature="hessian") for mean in MEANS])
    np.testing.assert_allclose(found.probabilities, MASSES, rtol=1e-5)
    assert np.array_equal(found.best.mean, MEANS[1])
    other = fit_laplace(two_modes(), MEANS[0], curvature="hessian")
    with refuses("laplaces", "LogDensity", "one network"):
        LaplaceMixture([found.best, other])
