"""The population risk against its definition: products of matrices in complex arithmetic, and samples."""

import numpy as np
import pytest

from bayesnn import DeepLinear
from bayesnn.landscape import PopulationRisk, descend
from tests.refusals import refuses


def by_definition(matrices, target, covariance, residual):
    """|((I + A_l)...(I + A_1) - R) Sigma^(1/2)|_F^2 as in the paper, A_i (d, d) acting on columns from the left."""
    product = np.eye(covariance.shape[0])
    for matrix in matrices:
        product = (matrix + np.eye(len(matrix)) if residual else matrix) @ product
    error = product - target
    return np.trace(error @ covariance @ error.T)


def spd(rng, d):
    root = rng.standard_normal((d, d + 2))
    return root @ root.T / d


@pytest.mark.parametrize(
    "net",
    [DeepLinear((2, 3, 4)), DeepLinear((3, 2, 2, 3)), DeepLinear((3,) * 4, residual=True), DeepLinear((2, 2), True)],
    ids=repr,
)
def test_gradient_is_the_complex_steps_to_1e_8(net):
    rng = np.random.default_rng(0)
    target, covariance = rng.standard_normal((net.n_outputs, net.widths[0])), spd(rng, net.widths[0])
    risk = PopulationRisk(net, target, covariance, noise=0.7)
    w = 0.5 * rng.standard_normal(net.n_weights)
    value, gradient = risk.value_and_gradient(w)

    def of(weights):
        # theory's A_i are our blocks transposed
        blocks = [weights[a : a + m.size].reshape(m.shape).T for a, m in zip(starts, net.layers(w), strict=True)]
        return by_definition(blocks, target, covariance, net.residual)

    starts = np.cumsum([0] + [m.size for m in net.layers(w)])[:-1]
    assert value == pytest.approx(of(w) + 0.7, rel=1e-12)
    expected = [of(w + 1e-30j * e).imag / 1e-30 for e in np.eye(net.n_weights)]
    np.testing.assert_allclose(gradient, expected, rtol=1e-8, atol=1e-10)
    steps = 1e-6 * np.eye(net.n_weights)
    bends = [(risk.value_and_gradient(w + e)[1] - risk.value_and_gradient(w - e)[1]) / 2e-6 for e in steps]
    np.testing.assert_allclose(risk.hessian(w), bends, atol=1e-7 * np.abs(bends).max())


def test_it_is_the_expectation_over_samples():
    rng = np.random.default_rng(1)
    net, target, covariance = DeepLinear((2, 2, 2), residual=True), rng.standard_normal((2, 2)), spd(rng, 2)
    risk = PopulationRisk(net, target, covariance, noise=2 * 0.3**2)
    w = 0.3 * rng.standard_normal(8)
    x = rng.multivariate_normal(np.zeros(2), covariance, 200_000)
    y = x @ target.T + 0.3 * rng.standard_normal((200_000, 2))
    squares = ((net.predict(w, x) - y) ** 2).sum(axis=1)
    assert abs(squares.mean() - risk.value_and_gradient(w)[0]) < 4.0 * squares.std() / np.sqrt(len(x))


def test_the_least_risk_is_what_the_bottleneck_leaves():
    rng = np.random.default_rng(2)
    target, covariance = np.diag([3.0, 1.0, 0.5]), spd(rng, 3)
    risk = PopulationRisk(DeepLinear((3, 1, 3)), target, covariance, noise=0.2)
    end = descend(risk, rng.standard_normal(6), 0.01, 5000).values[-1]
    assert end == pytest.approx(risk.least, rel=1e-6)
    assert PopulationRisk(DeepLinear((3, 3, 3)), target, covariance, noise=0.2).least == 0.2


def test_singular_covariance_is_refused_by_direction():
    net = DeepLinear((3, 3))
    with refuses("covariance", "no variance along (0, 0, 1)", "positive definite"):
        PopulationRisk(net, np.eye(3), np.diag([1.0, 2.0, 0.0]))
    one = np.ones((3, 3))
    with refuses("covariance", "), (", "positive definite"):  # two directions
        PopulationRisk(net, np.eye(3), one)
    with refuses("covariance", "no variance along", "positive definite"):
        PopulationRisk(net, np.eye(3), np.diag([1.0, 1.0, -1.0]))


def test_bad_input():
    net = DeepLinear((3, 2, 2))
    with refuses("target", "(3, 2)", "(2, 3), to chain with"):
        PopulationRisk(net, np.ones((3, 2)))
    with refuses("target", "1 NaN", "all finite"):
        PopulationRisk(net, [[np.nan, 0.0, 0.0], [0.0, 0.0, 0.0]])
    with refuses("covariance", "(2, 2)", "(3, 3)"):
        PopulationRisk(net, np.ones((2, 3)), np.eye(2))
    with refuses("covariance", "not symmetric", "symmetric"):
        PopulationRisk(net, np.ones((2, 3)), np.eye(3) + np.eye(3, k=1))
    with refuses("covariance", "1 NaN", "all finite"):
        PopulationRisk(net, np.ones((2, 3)), np.diag([1.0, 1.0, np.nan]))
    with refuses("noise", "-1", "at least 0"):
        PopulationRisk(net, np.ones((2, 3)), noise=-1.0)
    with refuses("model", "'net'", "DeepLinear"):
        PopulationRisk("net", np.eye(2))


def test_variables_may_be_in_units_of_their_own():
    risk = PopulationRisk(DeepLinear((2, 2)), np.eye(2), np.diag([1.0, 1e-14]))
    assert risk.value_and_gradient(np.zeros(4))[0] > 0.0
    correlated = np.diag([1.0, 1e-9]) @ np.array([[1.0, 1.0], [1.0, 1.0]]) @ np.diag([1.0, 1e-9])
    with refuses("covariance", "no variance along (1e-09, -1)", "positive definite"):
        PopulationRisk(DeepLinear((2, 2)), np.eye(2), correlated)
