"""Kawaguchi (2016): every critical point that is no global minimum is a saddle, and most show it in their Hessian."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from bayesnn import DeepLinear, Gaussian, NormalPrior, Posterior
from bayesnn.landscape import LeastSquares, Point, Way, critical_points, escape, optimality
from tests.refusals import refuses


def loss_of(*widths, n=12, seed=0):
    rng = np.random.default_rng(seed)
    x, noise = rng.standard_normal((n, widths[0])), rng.standard_normal((n, widths[-1]))
    y = x @ rng.standard_normal((widths[0], widths[-1])) + 0.3 * noise
    return LeastSquares(DeepLinear(widths), x, y)


SIZES = [(2, 2, 2), (3, 2, 3), (4, 3, 2), (2, 3, 4), (3, 1, 3), (2, 2, 2, 2), (3, 2, 3, 3), (2, 2, 2, 2, 2)]
every_size = pytest.mark.parametrize("widths", SIZES, ids=str)


@every_size
def test_all_listed_are_critical_and_cost_what_they_leave_out(widths):
    loss = loss_of(*widths)
    found = critical_points(loss)
    q, p = min(widths[0], widths[-1]), min(widths)
    assert len(found.points) == sum(math.comb(q, size) for size in range(p + 1))
    fit = np.linalg.lstsq(loss.x, loss.y)[0]
    missed = 0.5 * ((loss.x @ fit - loss.y) ** 2).sum()
    for point in found.points:
        assert point.optimality.gradient_norm <= 1e-10 * np.abs(loss.hessian(point.weights)).max()
        left = [s**2 for i, s in enumerate(found.singular_values) if i not in point.kept]
        assert point.value == pytest.approx(missed + 0.5 * sum(left), rel=1e-10)
    # the global minimum alone keeps as many of the largest as fit through the narrowest layer
    assert [point.kept for point in found.points if point.is_global] == [tuple(range(p))]


@every_size
def test_those_of_two_matrices_and_those_of_full_rank_have_negative_curvature(widths):
    found, p = critical_points(loss_of(*widths)), min(widths)
    assert found.saddles
    for point in found.saddles:
        if len(widths) == 3 or len(point.kept) == p:
            assert point.has_negative_curvature
        assert point.optimality.verdict in (Point.strict_saddle, Point.degenerate)


@every_size
def test_from_three_matrices_on_those_of_low_rank_that_keep_the_largest_have_none(widths):
    found, p = critical_points(loss_of(*widths)), min(widths)
    without = {point.kept for point in found.saddles if not point.has_negative_curvature}
    expected = {tuple(range(size)) for size in range(p)} if len(widths) > 3 else set()
    assert without == expected


@every_size
def test_every_saddle_is_left_for_a_lower_loss(widths):
    loss = loss_of(*widths)
    for point in critical_points(loss).saddles:
        way = escape(loss, point.weights)
        assert way is not None
        assert way.start_value == point.value
        # on to another critical value: no less than the smallest square that was left out, but for the descent's end
        gaps = np.diff(np.unique([round(p.value, 9) for p in critical_points(loss).points]))
        assert way.value < point.value - 0.99 * gaps.min()
        assert (way.way == Way.curvature) == point.has_negative_curvature
        beside = loss.value_and_gradient(point.weights + way.radius * way.direction)[0]
        assert beside < point.value
        assert way.value == loss.value_and_gradient(way.weights)[0] <= beside


@every_size
def test_the_global_minimum_is_not_left(widths):
    loss = loss_of(*widths)
    lowest = critical_points(loss).points[0]
    assert lowest.is_global
    assert escape(loss, lowest.weights, budget=300) is None
    assert lowest.optimality.least_eigenvalue > -1e-9 * lowest.optimality.largest_eigenvalue


def test_random_descents_never_end_above_the_global_minimum():
    # Kawaguchi (ii): every local minimum is global
    for widths in [(3, 2, 3), (2, 2, 2, 2)]:
        loss = loss_of(*widths)
        least = critical_points(loss).points[0].value
        for seed in range(10):
            start = loss.model.initial_weights(np.random.default_rng(seed))
            end = minimize(loss.value_and_gradient, start, jac=True, method="BFGS", options={"gtol": 1e-8})
            assert end.fun == pytest.approx(least, rel=1e-8)


def test_the_hessian_of_two_matrices_at_zero_has_eigenvalues_of_the_singular_values():
    # the second derivative at 0 is -<W1 W2, X'Y>: eigenvalues +- the singular values of X'Y
    loss = loss_of(2, 2, 2, n=40)
    eigenvalues = np.linalg.eigvalsh(loss.hessian(np.zeros(8)))
    singular = np.linalg.svd(loss.x.T @ loss.y, compute_uv=False)
    expected = np.sort(np.concatenate([np.repeat(singular, 2), np.repeat(-singular, 2)]))
    np.testing.assert_allclose(eigenvalues, expected, rtol=1e-12, atol=1e-12)
    found = optimality(loss, np.zeros(8))
    assert found.least_eigenvalue == pytest.approx(-singular[0], rel=1e-12)
    assert found.largest_eigenvalue == pytest.approx(singular[0], rel=1e-12)
    assert found.verdict == Point.strict_saddle


@pytest.mark.parametrize("widths", [(2, 2, 2, 2), (2, 2, 2, 2, 2)])
def test_of_more_matrices_it_is_zero(widths):
    loss = loss_of(*widths, n=40)
    origin = np.zeros(loss.n_weights)
    assert np.array_equal(loss.hessian(origin), np.zeros((loss.n_weights, loss.n_weights)))
    assert optimality(loss, origin).verdict == Point.degenerate
    least = critical_points(loss).points[0].value
    way = escape(loss, origin)
    assert way.way == (Way.straight if len(widths) == 4 else way.way) != Way.curvature  # odd orders fall on one side
    assert way.value == pytest.approx(least, rel=1e-6)
    assert loss.value_and_gradient(origin)[0] > least + 1.0


def test_bad_input():
    rng = np.random.default_rng(0)
    with refuses("loss", "residual=True", "plain DeepLinear"):
        critical_points(LeastSquares(DeepLinear((2, 2), True), np.eye(2), np.eye(2)))
    x = rng.standard_normal((6, 1)) @ np.array([[1.0, 1.0]])
    with refuses("x", "no variance along", "every direction"):
        critical_points(LeastSquares(DeepLinear((2, 2)), x, np.zeros((6, 2))))
    wide = LeastSquares(DeepLinear((20, 20, 20)), np.eye(20), np.eye(20))
    with refuses("loss", "1048576 kinds", "at most 4096"):
        critical_points(wide)
    loss = loss_of(2, 2, 2)
    with refuses("weights", "a gradient of", "critical point"):
        escape(loss, np.ones(8))
    with refuses("budget", "0", "at least 1"):
        escape(loss, np.zeros(8), budget=0)


def test_of_one_matrix_the_loss_is_convex_and_has_one_critical_point():
    found = critical_points(loss_of(3, 2))
    (point,) = found.points
    assert point.is_global
    assert point.kept == (0, 1)
    assert point.optimality.verdict is not Point.not_critical
    assert found.saddles == ()


def test_a_constant_changes_no_point():
    loss = loss_of(2, 2, 2)
    below = LeastSquares(DeepLinear((2, 2, 2)), loss.x, loss.y, constant=-1e3)
    assert [p.kept for p in critical_points(below).points if p.is_global] == [(0, 1)]


def test_a_posterior_has_a_prior_that_moves_the_points():
    loss = loss_of(2, 2, 2)
    with refuses("loss", "Posterior", "LeastSquares"):
        critical_points(Posterior(DeepLinear((2, 2, 2)), loss.x, loss.y, Gaussian(1.0), NormalPrior(1.0)))
