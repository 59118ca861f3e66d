"""Gradient descent and what is measured along it, against quadratics, where everything is known."""

import numpy as np
import pytest

from bayesnn import LogDensity
from bayesnn.landscape import Ball, Ending, along_path, descend
from tests.refusals import refuses

CURVATURES = np.array([4.0, 1.0])


@pytest.fixture
def bowl():
    return LogDensity(lambda w: -0.5 * float(CURVATURES @ w**2) - 3.0, ["a", "b"], gradient=lambda w: -CURVATURES * w)


def test_descent_on_a_quadratic_is_a_power(bowl):
    path = descend(bowl, [1.0, 2.0], 0.1, 50)
    assert path.n_steps == 50
    assert path.ending == Ending.out_of_steps
    powers = (1.0 - 0.1 * CURVATURES) ** np.arange(51)[:, None]
    np.testing.assert_allclose(path.weights, np.array([1.0, 2.0]) * powers, rtol=1e-12)
    np.testing.assert_allclose(path.values, 3.0 + 0.5 * path.weights**2 @ CURVATURES, rtol=1e-14)
    np.testing.assert_allclose(path.gradient_norms, np.linalg.norm(CURVATURES * path.weights, axis=1), rtol=1e-12)


def test_conditions_along_it_are_those_of_the_quadratic(bowl):
    path = descend(bowl, [1.0, 2.0], 0.1, 50)
    found = along_path(path, 3.0, [0.0, 0.0])
    gap = 0.5 * path.weights**2 @ CURVATURES
    # the loss is 3 and more, so that the gap has errors of 3 eps: 1e-12 of the last, 1e-4
    np.testing.assert_allclose(found.polyak, ((CURVATURES * path.weights) ** 2).sum(axis=1) / gap, rtol=1e-10)
    np.testing.assert_allclose(found.weak_quasi_convexity, 2.0, rtol=1e-10)  # of any quadratic
    # it falls from the mean of both curvatures to twice the smaller one
    assert np.all(np.diff(found.polyak_so_far) <= 0.0)
    assert found.least_polyak == found.polyak[-1] == pytest.approx(2.0, rel=1e-6)
    assert found.least_weak_quasi_convexity == pytest.approx(2.0, rel=1e-10)
    # the step is below 1 over the smoothness: no step leaves more than is safe, and at the end it leaves (1 - 0.1)^2
    assert np.all(found.observed_rate <= found.safe_rate[:-1])
    assert found.observed_rate[-1] == pytest.approx(0.81, rel=1e-6)
    assert found.implied_rate[-1] == pytest.approx(0.8, rel=1e-6)


def test_at_the_least_loss_there_is_no_ratio(bowl):
    path = descend(bowl, [0.0, 1e-12], 0.1, 3)
    found = along_path(path, 3.0, [0.0, 0.0])
    assert np.isnan(found.polyak).all()
    assert np.isnan(found.weak_quasi_convexity).all()
    assert np.isnan(found.observed_rate).all()


def test_projected_descent_ends_where_the_set_does(bowl):
    path = descend(bowl, [3.0, 4.0], 0.1, 500, project=Ball([3.0, 0.0], 1.0).project, stationary=1e-12)
    assert path.ending == Ending.stationary
    assert np.all(np.linalg.norm(path.weights - [3.0, 0.0], axis=1) <= 1.0 + 1e-12)
    np.testing.assert_allclose(path.weights[-1], [2.0, 0.0], atol=1e-9)


def test_endings(bowl):
    assert descend(bowl, [1.0, 1.0], 0.1, 500, until=3.0 + 1e-6).ending == Ending.reached
    assert descend(bowl, [0.0, 0.0], 0.1, 500).ending == Ending.stationary
    away = descend(bowl, [1.0, 1.0], 100.0, 500)
    assert away.ending == Ending.diverged
    assert np.isfinite(away.values).all()


def test_bad_input(bowl):
    with refuses("start", "(3,)", "shape (2,)"):
        descend(bowl, np.zeros(3), 0.1)
    with refuses("start", "1 NaN", "all finite"):
        descend(bowl, [np.nan, 0.0], 0.1)
    with refuses("step", "0", "above 0"):
        descend(bowl, [1.0, 1.0], 0)
    with refuses("max_steps", "0", "at least 1"):
        descend(bowl, [1.0, 1.0], 0.1, 0)
    with refuses("stationary", "-1", "at least 0"):
        descend(bowl, [1.0, 1.0], 0.1, stationary=-1)
    path = descend(bowl, [1.0, 1.0], 0.1, 5)
    with refuses("least", "4", "lowest value"):
        along_path(path, 4.0)
    with refuses("minimizer", "(1,)", "shape (2,)"):
        along_path(path, 3.0, [0.0])
    with refuses("path", "'p'", "DescentPath"):
        along_path("p", 3.0)


def test_a_start_without_a_loss_is_refused():
    nowhere = LogDensity(lambda w: -np.inf, ["a"], gradient=lambda w: np.zeros(1))
    with refuses("start", "not finite", "where both are"):
        descend(nowhere, [0.0], 0.1)
