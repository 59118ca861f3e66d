"""The oracles against each other: a wrong oracle would teach a wrong test."""

import numpy as np
import pytest

from tests import oracles

NETS = [
    oracles.Net((2, 3, 1), "tanh"),
    oracles.Net((1, 2, 2, 2), "softplus"),
    oracles.Net((2, 2, 1), "sin", bias=False),
    oracles.Net((3, 2), "identity"),
    oracles.Net((2, 3, 2), "relu"),
]


@pytest.mark.parametrize("net", NETS, ids=lambda net: f"{net.activation}{net.widths}")
def test_chain_rule_agrees_with_derivatives_of_the_forward_pass(net, rng):
    w, x = rng.standard_normal(net.n_weights), rng.standard_normal((4, net.widths[0]))
    cotangent = rng.standard_normal((4, net.widths[-1]))
    by_steps = np.einsum("no,nok->k", cotangent, oracles.jacobian(net, w, x))
    # relu by central differences of step 1e-6: rounding eps / step = 2e-10 of the outputs' size
    tolerance = 1e-12 if net.activation in oracles.ANALYTIC else 1e-8
    assert np.allclose(oracles.weighted_gradient(net, w, x, cotangent), by_steps, rtol=0, atol=tolerance)


def test_gradient_of_the_log_density_agrees_with_differences_of_scipys(rng):
    net = oracles.Net((2, 3, 2), "tanh")
    w, x, y = rng.standard_normal(net.n_weights), rng.standard_normal((5, 2)), rng.standard_normal((5, 2))
    sigma, precision = np.linspace(0.5, 1.0, 5), np.linspace(0.0, 2.0, net.n_weights)
    h = 1e-5
    differences = [
        (
            oracles.log_density(net, w + h * e, x, y, sigma, precision)
            - oracles.log_density(net, w - h * e, x, y, sigma, precision)
        )
        / (2 * h)
        for e in np.eye(net.n_weights)
    ]
    # central differences: h**2 times a third derivative, and eps * |log density| / h = 2e-9
    assert np.allclose(oracles.gradient(net, w, x, y, sigma, precision), differences, rtol=1e-7, atol=1e-7)


def test_images_are_the_whole_group_and_leave_the_function_alone(rng):
    net = oracles.Net((2, 3, 1), "tanh")
    w, x = rng.standard_normal(net.n_weights), rng.standard_normal((3, 2))
    images = list(oracles.images(net, w))
    assert len({tuple(image) for image in images}) == 2**3 * 6
    outputs = oracles.predict(net, w, x)
    assert all(np.allclose(oracles.predict(net, image, x), outputs, rtol=0, atol=1e-13) for image in images)


def test_exact_inverse_is_exact():
    A = np.array([[1, 0], [1, 1], [1, 3]])
    assert np.array_equal(oracles.exact_inverse_gram_diagonal(A), [10 / 14, 3 / 14])
