import numpy as np
import pytest

from bayesnn.sampling.metric import (
    METRICS,
    Metric,
    averaged_metric,
    first_metric,
    metric_from_inverse_mass_matrix,
)
from tests import oracles
from tests.refusals import refuses


@pytest.fixture(params=["dense", "diagonal"])
def metric(request, rng):
    return Metric(rng.standard_normal((4, 4)) if request.param == "dense" else rng.random(4) + 0.5)


def matrix(metric):
    """The scale as a matrix, dense or not."""
    return np.diag(metric.scale) if metric.scale.ndim == 1 else metric.scale


def test_move_is_s_and_pull_is_its_transpose(metric, rng):
    momenta, gradients = rng.standard_normal((2, 3, 4))
    S = matrix(metric)
    assert np.allclose(metric.move(momenta), [S @ r for r in momenta], rtol=1e-13)
    assert np.allclose(metric.pull(gradients), [S.T @ g for g in gradients], rtol=1e-13)
    # so that <S r, g> = <r, S'g>
    adjoint = (metric.move(momenta) * gradients).sum(), (momenta * metric.pull(gradients)).sum()
    assert adjoint[0] == pytest.approx(adjoint[1], rel=1e-12)


def test_the_inverse_mass_matrix_is_s_s_transposed(metric):
    S, got = matrix(metric), metric.inverse_mass_matrix
    assert np.allclose(np.diag(got) if got.ndim == 1 else got, S @ S.T, rtol=1e-13)
    assert metric.size == 4


@pytest.mark.parametrize("given", [[1.0, 4.0], [[2.0, 0.5], [0.5, 1.0]]])
def test_a_metric_keeps_the_inverse_mass_matrix_it_was_made_from(given):
    metric = metric_from_inverse_mass_matrix(given)
    assert np.allclose(metric.inverse_mass_matrix, given, rtol=1e-14)


@pytest.mark.parametrize(
    ("given", "got"),
    [
        ([1.0, 0.0], "least variance 0"),
        ([1.0, -2.0], "least variance -2"),
        ([[1.0, 0.5], [0.0, 1.0]], "not symmetric"),
        ([[1e-9, 5e-10], [0.0, 1e-9]], "not symmetric"),  # variances of weights known to 3e-5
        ([[1.0, 2.0], [2.0, 1.0]], "not positive definite"),
        (np.ones((2, 3)), "shape (2, 3)"),
        ([1.0, np.nan], "first at index (1,)"),
        (1.0, "shape ()"),
    ],
)
def test_what_is_no_covariance_is_refused(given, got):
    with refuses("inverse_mass_matrix", got, "symmetric positive definite (k, k), or positive (k,)"):
        metric_from_inverse_mass_matrix(given)


def test_first_metrics_are_what_their_names_say(teacher_laplace):
    precision = teacher_laplace.posterior_precision
    covariance = np.linalg.inv(precision)
    small = 1e-10 * np.abs(covariance).max()
    for name in ("laplace", "averaged"):  # nothing to average yet
        got = first_metric(name, teacher_laplace).inverse_mass_matrix
        assert np.allclose(got, covariance, rtol=0, atol=small)
    diagonal = first_metric("diagonal", teacher_laplace).inverse_mass_matrix
    assert np.allclose(diagonal, 1.0 / np.diag(precision), rtol=1e-13)
    assert np.array_equal(first_metric("unit", teacher_laplace).inverse_mass_matrix, np.ones(9))


def test_every_documented_metric_can_be_begun_with(teacher_laplace):
    assert METRICS == ("averaged", "laplace", "diagonal", "unit")
    assert all(first_metric(name, teacher_laplace).size == 9 for name in METRICS)


def average_ggn(posterior, points):
    net, precision = oracles.Net.of(posterior.model), posterior.prior_precision
    return np.mean([oracles.ggn(net, w, posterior.x, 0.1, precision) for w in points], axis=0)


@pytest.mark.parametrize("name", ["averaged", "diagonal"])
def test_the_averaged_metric_inverts_the_ggn_averaged_over_the_points(name, teacher_laplace):
    points = list(teacher_laplace.sample(5, seed=0))
    average = average_ggn(teacher_laplace.posterior, points)
    got = averaged_metric(name, teacher_laplace.posterior, points).inverse_mass_matrix
    expected = np.linalg.inv(average) if name == "averaged" else 1.0 / np.diag(average)
    assert np.allclose(got, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def test_points_without_finite_curvature_are_left_out_of_the_average(teacher_laplace):
    good = list(teacher_laplace.sample(3, seed=0))
    bad = np.full(9, np.nan)
    posterior = teacher_laplace.posterior
    with_bad = averaged_metric("averaged", posterior, [good[0], bad, *good[1:]])
    assert np.array_equal(with_bad.scale, averaged_metric("averaged", posterior, good).scale)
    assert averaged_metric("averaged", posterior, [bad]) is None
    assert averaged_metric("averaged", posterior, []) is None


def test_an_unknown_metric_is_refused(teacher_laplace):
    with refuses("metric", "'dense'", "'averaged', 'laplace', 'diagonal', 'unit'"):
        first_metric("dense", teacher_laplace)
