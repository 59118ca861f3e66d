"""Optimality at points where it is known."""

import numpy as np
import pytest

from bayesnn import MLP, Bernoulli, DeepLinear, Gaussian, LogDensity, NormalPrior, Posterior, find_optimum
from bayesnn.landscape import LeastSquares, Point, loss_of, optimality, polyak_of_jacobian
from tests.refusals import refuses


def quadratic(*curvatures):
    h = np.array(curvatures)
    return LogDensity(lambda w: -0.5 * float(h @ w**2), [f"w{i}" for i in range(len(h))], gradient=lambda w: -h * w)


@pytest.mark.parametrize(
    ("curvatures", "verdict"),
    [
        ((3.0, 1.0), Point.minimum),
        ((3.0, -1.0), Point.strict_saddle),
        ((-3.0, -1.0), Point.strict_saddle),
        ((3.0, 0.0), Point.degenerate),
    ],
)
def test_a_quadratic_is_what_its_curvatures_are(curvatures, verdict):
    found = optimality(quadratic(*curvatures), np.zeros(2))
    assert found.verdict == verdict
    assert found.gradient_norm == 0.0
    # by differences of the user's gradient, which is linear
    assert found.least_eigenvalue == pytest.approx(min(curvatures), abs=1e-9)
    assert found.largest_eigenvalue == pytest.approx(max(curvatures), abs=1e-9)
    if verdict != Point.degenerate:
        np.testing.assert_allclose(np.abs(found.direction), [0.0, 1.0] if curvatures[0] > 0 else [1.0, 0.0], atol=1e-9)


def test_away_from_the_bottom_a_point_is_not_critical():
    found = optimality(quadratic(3.0, 1.0), [0.0, 0.5])
    assert found.verdict == Point.not_critical
    assert found.gradient_norm == pytest.approx(0.5)
    assert found.value == pytest.approx(0.125)


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_the_verdict_does_not_depend_on_the_units_of_the_loss(factor):
    loss = LeastSquares(DeepLinear((1, 1, 1)), [[1.0]], [1.0], factor=factor)
    assert optimality(loss, [0.0, 0.0]).verdict == Point.strict_saddle
    assert optimality(loss, [2.0, 0.5]).verdict == Point.degenerate  # along w1 w2 = 1
    assert optimality(loss, [2.0, 0.6]).verdict == Point.not_critical


def test_a_posterior_is_minus_its_log_density(teacher_posterior, teacher_optimum):
    at = optimality(teacher_posterior, teacher_optimum.weights)
    assert at.verdict == Point.minimum
    assert at.value == -float(teacher_posterior.log_density(teacher_optimum.weights))
    assert optimality(teacher_posterior, teacher_optimum.weights + 0.1).verdict == Point.not_critical


def test_least_squares_is_half_the_sum_of_squares():
    rng = np.random.default_rng(0)
    net = MLP(2, (3,), 2)
    x, y, w = rng.standard_normal((6, 2)), rng.standard_normal((6, 2)), rng.standard_normal(net.n_weights)
    loss = LeastSquares(net, x, y, constant=0.25)
    value, gradient = loss.value_and_gradient(w)
    assert value == pytest.approx(0.5 * ((net.predict(w, x) - y) ** 2).sum() + 0.25, rel=1e-13)
    h = 1e-6 * np.eye(len(w))
    differences = [(loss.value_and_gradient(w + e)[0] - loss.value_and_gradient(w - e)[0]) / 2e-6 for e in h]
    np.testing.assert_allclose(gradient, differences, atol=1e-7 * np.abs(gradient).max())
    bends = [(loss.value_and_gradient(w + e)[1] - loss.value_and_gradient(w - e)[1]) / 2e-6 for e in h]
    np.testing.assert_allclose(loss.hessian(w), bends, atol=1e-7 * np.abs(bends).max())


def test_polyak_of_the_jacobian_bounds_the_gradient():
    rng = np.random.default_rng(1)
    net = MLP(2, (4,), 1)  # 17 weights, 5 targets
    x, y = rng.standard_normal((5, 2)), rng.standard_normal(5)
    for factor in (0.5, 0.2):
        loss = LeastSquares(net, x, y, factor=factor)
        for w in rng.standard_normal((20, net.n_weights)):
            value, gradient = loss.value_and_gradient(w)
            assert polyak_of_jacobian(loss, w) * value <= gradient @ gradient * (1.0 + 1e-9)
    # attained where the residual lies along the least eigenvector of BB'
    w = rng.standard_normal(net.n_weights)
    jacobian = net.jacobian(w, x)[:, 0]
    least = np.linalg.eigh(jacobian @ jacobian.T)[1][:, 0]
    loss = LeastSquares(net, x, net.predict(w, x)[:, 0] - least)
    value, gradient = loss.value_and_gradient(w)
    assert gradient @ gradient / value == pytest.approx(polyak_of_jacobian(loss, w), rel=1e-6)


def test_polyak_of_the_jacobian_is_that_of_the_laplace_precision():
    rng = np.random.default_rng(2)
    net = MLP(2, (4,), 1)
    post = Posterior(net, rng.standard_normal((5, 2)), rng.standard_normal(5), Gaussian(0.5), NormalPrior(1.0))
    w = rng.standard_normal(net.n_weights)
    # BB' / sigma^2 has the nonzero eigenvalues of the precision less the prior's
    eigenvalues = np.linalg.eigvalsh(post.ggn(w) - np.eye(net.n_weights))[-5:]
    assert polyak_of_jacobian(post, w) == pytest.approx(2.0 * eigenvalues[0], rel=1e-6)


def test_more_targets_than_weights_have_no_such_bound():
    loss = LeastSquares(MLP(1, (), 1), np.ones((3, 1)), np.arange(3.0))
    assert polyak_of_jacobian(loss, [1.0, 0.0]) == 0.0


def test_a_loss_of_ones_own_will_do():
    class Bowl:
        n_weights = 2

        def value_and_gradient(self, weights):
            return float(weights @ weights), 2.0 * weights

        def hessian(self, weights):
            return 2.0 * np.eye(2)

    assert optimality(Bowl(), [0.0, 0.0]).verdict == Point.minimum


def test_bad_input():
    loss = LeastSquares(DeepLinear((1, 1, 1)), [[1.0]], [1.0])
    with refuses("weights", "(3,)", "shape (2,)"):
        optimality(loss, np.zeros(3))
    with refuses("weights", "1 NaN", "all finite"):
        optimality(loss, [0.0, np.nan])
    with refuses("loss", "'f'", "a Posterior, or a loss"):
        loss_of("f")
    with refuses("tolerance", "0", "above 0"):
        optimality(loss, [0.0, 0.0], tolerance=0)
    with refuses("y", "shape (2,)", "shape (1, 1)"):
        LeastSquares(DeepLinear((1, 1)), [[1.0]], [1.0, 2.0])
    with refuses("y", "shape (2,)", "shape (2, 2)"):
        LeastSquares(DeepLinear((1, 2)), [[1.0], [2.0]], [1.0, 2.0])
    with refuses("model", "'net'", "a Model"):
        LeastSquares("net", [[1.0]], [1.0])
    with refuses("factor", "-1", "above 0"):
        LeastSquares(DeepLinear((1, 1)), [[1.0]], [1.0], factor=-1)
    with refuses("loss", "LogDensity", "LeastSquares, or a Posterior with Gaussian noise"):
        polyak_of_jacobian(quadratic(1.0), [0.0])
    classes = Posterior(MLP(1, (), 1), np.ones((2, 1)), np.array([0.0, 1.0]), Bernoulli(), NormalPrior(1.0))
    with refuses("loss", "Posterior(MLP", "Gaussian noise"):
        polyak_of_jacobian(classes, find_optimum(classes, progress=False).weights)


def test_points_without_a_loss_are_refused():
    nowhere = LogDensity(lambda w: -np.inf, ["a"], gradient=lambda w: np.zeros(1))
    with refuses("weights", "not finite", "Hessian"):
        optimality(nowhere, [0.0])
