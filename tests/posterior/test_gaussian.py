import numpy as np
import pytest
from scipy.stats import norm

from bayesnn.posterior import Gaussian, Likelihood
from tests.refusals import refuses

N, OUT = 6, 2
SIGMAS = pytest.mark.parametrize("sigma", [0.3, np.linspace(0.2, 3.0, N)], ids=["common", "per row"])


@pytest.fixture
def outputs(rng):
    return rng.standard_normal((3, N, OUT))


@pytest.fixture
def y(rng):
    return rng.standard_normal((N, OUT))


def rows_of(sigma):
    return np.broadcast_to(np.reshape(sigma, (-1, 1)), (N, OUT))


@SIGMAS
def test_log_density_agrees_with_scipy(sigma, outputs, y):
    expected = norm.logpdf(y, outputs, rows_of(sigma)).sum(axis=-1)
    assert np.allclose(Gaussian(sigma).log_density(outputs, y), expected, rtol=1e-13, atol=0)


@SIGMAS
def test_gradient_is_the_derivative_of_the_log_density(sigma, outputs, y):
    likelihood, h = Gaussian(sigma), 1e-4
    got = likelihood.gradient(outputs, y)
    for o in range(OUT):
        step = h * np.eye(OUT)[o]
        up, down = likelihood.log_density(outputs + step, y), likelihood.log_density(outputs - step, y)
        # exact for a quadratic but for rounding: eps * |log density| / h, at most 1e-9
        assert np.allclose(got[..., o], (up - down) / (2 * h), rtol=0, atol=1e-8)


@SIGMAS
def test_fisher_rows_are_the_jacobian_over_sigma(sigma, y, rng):
    jacobian = rng.standard_normal((N, OUT, 4))
    rows = Gaussian(sigma).fisher_rows(y, jacobian.copy())  # which it may overwrite
    expected = [jacobian[i, o] / rows_of(sigma)[i, o] for i in range(N) for o in range(OUT)]
    assert np.allclose(rows, expected, rtol=1e-14, atol=0)


@SIGMAS
@pytest.mark.parametrize("rows", [slice(0, 2), slice(4, 99), slice(None)])
def test_likelihood_of_some_rows_is_those_rows(sigma, rows, outputs, y):
    likelihood = Gaussian(sigma)
    part = likelihood.rows(rows).log_density(outputs[:, rows], y[rows])
    assert np.array_equal(part, likelihood.log_density(outputs, y)[:, rows])


def test_simulated_targets_have_the_noise_of_their_row():
    sigma = np.array([0.1, 1.0, 5.0])
    draws = Gaussian(sigma).simulate(np.full((4000, 3, 1), 7.0), np.random.default_rng(0))[..., 0]
    z = (draws - 7.0) / sigma
    # mean of m normals: 1 / sqrt(m); variance: sqrt(2 / m); 4.5 of each
    assert np.all(np.abs(z.mean(axis=0)) < 4.5 / np.sqrt(4000))
    assert np.all(np.abs(z.var(axis=0) - 1.0) < 4.5 * np.sqrt(2 / 4000))


def test_noise_of_new_targets_is_the_common_one():
    assert np.array_equal(Gaussian(0.3).noise_sd(4), np.full((4, 1), 0.3))


def test_new_targets_have_no_noise_where_each_training_row_has_its_own():
    with refuses("noise", "per training row", "one sigma_noise"):
        Gaussian([0.1, 0.2]).noise_sd(2)


def test_targets_may_be_a_vector_or_a_column():
    likelihood = Gaussian(0.1)
    assert np.array_equal(likelihood.check_targets([1, 2, 3], 3, 1), [[1.0], [2.0], [3.0]])
    assert np.array_equal(likelihood.check_targets([[1], [2], [3]], 3, 1), [[1.0], [2.0], [3.0]])


def test_a_gaussian_is_a_least_squares_likelihood():
    assert isinstance(Gaussian(0.1), Likelihood)
    assert Gaussian(0.1).is_least_squares
    assert Gaussian(0.1).has_common_sigma
    assert not Gaussian([0.1, 0.2]).has_common_sigma


@pytest.mark.parametrize(
    ("sigma", "got"),
    [
        (-1.0, "-1.0"),
        (0, "0"),
        (np.nan, "nan"),
        (np.inf, "inf"),
        (True, "True"),
        (None, "None"),
        ("guess", "'guess'"),
        ([0.1, -0.2], "-0.2 at row 1"),
        ([0.1, np.nan], "first at index (1,)"),
        ([[0.1]], "shape (1, 1)"),
    ],
)
def test_what_is_no_standard_deviation_is_refused(sigma, got):
    with refuses("sigma_noise", got, "above 0"):
        Gaussian(sigma)


@pytest.mark.parametrize("y", [np.zeros(2), np.zeros((3, 2)), np.zeros((3, 1, 1)), 1.0])
def test_targets_of_another_shape_are_refused(y):
    with refuses("y", f"shape {np.shape(y)}", "shape (3,) or (3, 1)"):
        Gaussian(0.1).check_targets(y, 3, 1)


def test_as_many_sigmas_as_rows_are_wanted():
    with refuses("sigma_noise", "shape (2,)", "a number or shape (3,)"):
        Gaussian([0.1, 0.2]).check_targets(np.zeros(3), 3, 1)
