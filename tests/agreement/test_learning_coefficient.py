"""Learning coefficients against exact integrals: regular, singular and between."""

import numpy as np
import pytest

from bayesnn import MLP, Bernoulli, Gaussian, NormalPrior, Posterior, find_optimum, fit_laplace
from bayesnn.agreement import learning_coefficient, learning_curve
from bayesnn.posterior.tempered import Tempered, tempered
from tests.refusals import refuses


def vanishing(widths, t, rows=None):
    """A linear network whose truth is 0, scaled so that the negative log likelihood is t times |product|^2.

    Inputs are the rows of the identity.
    """
    d = widths[0]
    net = MLP(d, widths[1:-1], widths[-1], activation="identity", bias=False)
    x, y = np.tile(np.eye(d), (3, 1)), np.zeros((3 * d, widths[-1]))
    posterior = Posterior(net, x, y, Gaussian(np.sqrt(3.0 / (2.0 * t))), NormalPrior(1.0))
    return fit_laplace(posterior, np.zeros(net.n_weights))


def of_two_layers(widths, t, draws=2_000_000):
    """Exact lambda(t) of a linear network of one hidden layer: given the first layer the second is normal."""
    d, h, out = widths
    first = np.random.default_rng(0).standard_normal((draws, d, h))
    eigenvalues = np.clip(np.linalg.eigvalsh(first.transpose(0, 2, 1) @ first), 0.0, None)
    weights = np.prod(1.0 + 2.0 * t * eigenvalues, axis=1) ** (-0.5 * out)
    values = 0.5 * out * (2.0 * t * eigenvalues / (1.0 + 2.0 * t * eigenvalues)).sum(axis=1)
    value = (weights * values).sum() / weights.sum()
    error = np.sqrt((weights**2 * (values - value) ** 2).sum()) / weights.sum()
    return value, error


def test_product_of_two_numbers_is_what_its_integral_says():
    # Z(t) = e^{1/8t} K0(1/8t) / sqrt(4 pi t): lambda(1e3) = 0.39027
    found = learning_coefficient(vanishing((1, 1, 1), 1e3), inverse_temperature=1.0, num_samples=2000)
    assert found.rhat < 1.01
    assert found.error < 0.01
    assert abs(found.value - 0.39027) < 4.0 * found.error
    assert found.is_singular


@pytest.mark.parametrize("widths", [(1, 1, 1), (2, 1, 2), (2, 2, 2), (3, 2, 3), (4, 2, 3)])
def test_reduced_rank_regression_is_what_its_integral_says(widths):
    expected, uncertain = of_two_layers(widths, 100.0)
    found = learning_coefficient(vanishing(widths, 100.0), inverse_temperature=1.0, num_samples=1000)
    assert found.rhat < 1.01
    assert abs(found.value - expected) < 4.0 * np.hypot(found.error, uncertain)


def regular_laplace(n, precision=1e-4, sigma=0.3):
    rng = np.random.default_rng(n)
    x = rng.standard_normal((n, 3))
    y = x @ np.array([1.0, -2.0, 0.5]) + sigma * rng.standard_normal(n)
    posterior = Posterior(MLP(3, (), 1), x, y, Gaussian(sigma), NormalPrior(precision))
    return fit_laplace(posterior, find_optimum(posterior, progress=False))


def test_a_quadratic_has_half_of_its_weights():
    found = learning_coefficient(regular_laplace(300))
    assert abs(found.value - 2.0) < 4.0 * found.error + 1e-3  # the prior takes a 1e-3 of it
    assert not found.is_singular
    assert found.quadratic == pytest.approx(2.0, abs=1e-3)


def test_a_prior_that_is_felt_takes_its_share():
    laplace = regular_laplace(50, precision=20.0)
    found = learning_coefficient(laplace, localization=20.0)
    # quadratic and centred: exact
    assert abs(found.value - found.quadratic) < 4.0 * found.error
    assert found.quadratic < 1.8


def test_wbic_is_the_free_energy_of_a_regular_model():
    # Watanabe: WBIC = -log evidence + O(sqrt(log n))
    laplace = regular_laplace(2000, precision=1.0)
    found = learning_coefficient(laplace)
    assert abs(found.wbic + laplace.log_marginal_likelihood) < 3.0 * np.sqrt(np.log(2000))


def test_temperatures_are_followed():
    curve = learning_curve(vanishing((1, 1, 1), 1e3), [0.01, 0.1, 1.0], num_samples=1000)
    # exact values at t = 10, 100, 1000
    for found, expected in zip(curve, [0.29027, 0.35420, 0.39027], strict=True):
        assert abs(found.value - expected) < 4.5 * found.error


@pytest.mark.parametrize("likelihood", [Gaussian(0.7), Bernoulli()])
def test_tempering_is_a_power(likelihood):
    rng = np.random.default_rng(0)
    f, y = rng.standard_normal((5, 1)), np.array([[0.0], [1.0], [1.0], [0.0], [1.0]])
    warm = Tempered(likelihood, 0.3)
    np.testing.assert_allclose(warm.log_density(f, y), 0.3 * likelihood.log_density(f, y))
    step = 1e-6
    slope = (warm.log_density(f + step, y) - warm.log_density(f - step, y)) / (2 * step)
    np.testing.assert_allclose(warm.gradient(f, y)[:, 0], slope, rtol=1e-7)
    jacobian = rng.standard_normal((5, 1, 4))
    rows = warm.fisher_rows(f, jacobian.copy())
    np.testing.assert_allclose(rows.T @ rows, np.einsum("nak,nab,nbl->kl", jacobian, warm.fisher(f), jacobian))
    other = tempered(likelihood, 0.3)
    differences = other.log_density(f, y) - warm.log_density(f, y)
    assert np.ptp(differences) < 1e-12


def test_bad_input():
    laplace = regular_laplace(30)
    with refuses("inverse_temperature", "-1", "above 0"):
        learning_coefficient(laplace, inverse_temperature=-1.0)
    with refuses("localization", "0", "above 0"):
        learning_coefficient(laplace, localization=0.0)
