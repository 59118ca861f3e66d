import numpy as np
import pytest
from scipy.stats import kstest, norm, t

from bayesnn import MLP, FlatPrior, Gaussian, LogDensity, Posterior, find_optimum, fit_laplace
from bayesnn.sampling import start_points
from bayesnn.seeds import generator
from tests.refusals import refuses


def whitened(laplace, points):
    return (points - laplace.mean) @ np.linalg.cholesky(laplace.posterior_precision)


@pytest.mark.parametrize(("start", "law"), [("laplace", norm), ("laplace_t", t(5))])
def test_starts_follow_the_law_their_name_says(teacher_laplace, start, law):
    z = whitened(teacher_laplace, start_points(teacher_laplace, start, 10000, seed=0))
    # Kolmogorov-Smirnov is exact; 9 coordinates at 1e-5 each fail by chance once in 10 000 seeds
    assert all(kstest(z[:, i], law.cdf).pvalue > 1e-5 for i in range(9))
    assert kstest(z[:, 0], (t(5) if start == "laplace" else norm).cdf).pvalue < 1e-5
    correlations = np.corrcoef(np.sign(z).T)[np.triu_indices(9, 1)]
    assert np.abs(correlations).max() < 4.5 / np.sqrt(10000)


def test_starts_from_the_prior_follow_it(teacher_laplace):
    post = teacher_laplace.posterior
    z = (start_points(teacher_laplace, "prior", 10000, seed=0) - post.prior_mean) * np.sqrt(post.prior_precision)
    assert all(kstest(z[:, i], norm.cdf).pvalue > 1e-5 for i in range(9))
    assert np.abs(np.corrcoef(z.T)[np.triu_indices(9, 1)]).max() < 4.5 / np.sqrt(10000)


def test_a_flat_prior_has_no_draws():
    x = np.linspace(-1, 1, 9)[:, None]
    post = Posterior(MLP(1, (), 1), x, 2 * x, Gaussian(0.1), FlatPrior())
    with refuses("start", "flat for W1[0,0]", "a start of another kind"):
        start_points(fit_laplace(post, find_optimum(post, seed=0)), "prior", 4, 0)


def test_starts_have_the_covariance_of_the_gaussian(teacher_laplace):
    n = 4000
    z = whitened(teacher_laplace, start_points(teacher_laplace, "laplace", n, seed=1))
    # a mean errs by 1 / sqrt(n), an entry of the covariance by sqrt((1 + delta) / n); 4.5 times
    assert np.abs(z.mean(axis=0)).max() < 4.5 / np.sqrt(n)
    assert np.all(np.abs(z.T @ z / n - np.eye(9)) < 4.5 * np.sqrt((1 + np.eye(9)) / n))


def test_starts_follow_their_seed(teacher_laplace):
    first, again, other = (start_points(teacher_laplace, "laplace", 3, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.fixture(scope="module")
def bent_laplace():
    """A posterior of two numbers along a parabola: the Gaussian at its mode is wide where the valley turns away."""

    def log_density(w):
        return -0.5 * (w[..., 0] / 3.0) ** 2 - 0.5 * ((w[..., 1] - w[..., 0] ** 2) / 0.01) ** 2

    target = LogDensity(log_density, ["a", "b"], vectorized=True)
    return fit_laplace(target, find_optimum(target, start=np.zeros(2), seed=0), curvature="hessian")


def test_starts_where_the_gaussian_misleads_grossly_are_pulled_towards_the_optimum(bent_laplace):
    n, mean, lp = 400, bent_laplace.mean, bent_laplace.posterior.log_density
    standard = generator(0, "chain starts").standard_normal((n, 2))
    drawn = mean + bent_laplace.factor.color(standard)
    lowest = lp(mean) - 0.5 * (standard**2).sum(axis=1) - 0.5 * 2
    low = lp(drawn) < lowest
    assert 0.3 < low.mean() < 1.0
    assert lp(drawn).min() < -1e4
    points = start_points(bent_laplace, "laplace", n, seed=0)
    assert np.all(lp(points) >= lowest)
    assert np.array_equal(points[~low], drawn[~low])
    steps = np.log(np.linalg.norm(points - mean, axis=1) / np.linalg.norm(drawn - mean, axis=1)) / np.log(0.8)
    assert np.allclose(steps, np.round(steps), atol=1e-6)  # no further than it must: one step less is too low
    before = mean + (drawn - mean) * 0.8 ** (np.round(steps) - 1)[:, None]
    assert np.all(lp(before[low]) < lowest[low])


def test_starts_of_a_gaussian_posterior_are_not_pulled(linear_laplace):
    n = 1000
    standard = generator(0, "chain starts").standard_normal((n, 4))
    expected = linear_laplace.mean + linear_laplace.factor.color(standard)
    assert np.allclose(start_points(linear_laplace, "laplace", n, seed=0), expected, rtol=1e-12)


def test_points_that_are_given_are_used_as_they_are(teacher_laplace, rng):
    points = rng.standard_normal((3, 9))
    assert np.array_equal(start_points(teacher_laplace, points, 3, 0), points)
    assert np.array_equal(start_points(teacher_laplace, points.tolist(), 3, 0), points)


@pytest.mark.parametrize("shape", [(2, 9), (3, 8), (9,), (1, 3, 9)])
def test_points_of_another_shape_are_refused(teacher_laplace, shape):
    with refuses("start", f"shape {shape}", "shape (3, 9)"):
        start_points(teacher_laplace, np.zeros(shape), 3, 0)


def test_an_unknown_start_is_refused(teacher_laplace):
    with refuses("start", "'everywhere'", "'laplace', 'laplace_t', 'prior'"):
        start_points(teacher_laplace, "everywhere", 3, 0)


def test_points_that_are_not_finite_are_refused(teacher_laplace):
    points = np.zeros((3, 9))
    points[1, 2] = np.nan
    with refuses("start", "first at index (1, 2)", "all finite"):
        start_points(teacher_laplace, points, 3, 0)


def test_points_where_the_density_is_not_finite_are_refused(teacher_laplace):
    points = np.zeros((3, 9))
    points[1:] = 1e200
    with refuses("start", "not finite at 2 of 3 starts, first chain 1", "standardise"):
        start_points(teacher_laplace, points, 3, 0)
