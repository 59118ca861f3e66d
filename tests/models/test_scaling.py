"""Scalings of ReLU units: the same function, at the reference's balance."""

import numpy as np
import pytest

from bayesnn import MLP
from bayesnn.models import balanced, block_slices

ROWS = np.random.default_rng(3).standard_normal((20, 2))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("hidden", [(3,), (4, 3), (3, 2, 4)])
@pytest.mark.parametrize("activation", ["relu", "identity"])
def test_balancing_keeps_the_function_and_takes_the_ratios_of_the_reference(activation, hidden, bias, rng):
    net = MLP(2, hidden, 2, activation=activation, bias=bias)
    draws, reference = rng.standard_normal((5, net.n_weights)), rng.standard_normal(net.n_weights)
    moved = balanced(net, draws, reference)
    np.testing.assert_allclose(net.predict(moved, ROWS), net.predict(draws, ROWS), atol=1e-12)
    assert not np.allclose(moved, draws)
    np.testing.assert_allclose(balanced(net, moved, reference), moved, rtol=1e-9)
    # all points of an orbit end at the same one: scale the first unit
    scaled, blocks, places = draws.copy(), net.weight_blocks, block_slices(net.weight_blocks)
    for i in range(2 if bias else 1):
        part = scaled[:, places[i]].reshape(5, *blocks[i].shape)
        part[..., 0] *= 3.0
        scaled[:, places[i]] = part.reshape(5, -1)
    after = 2 if bias else 1
    part = scaled[:, places[after]].reshape(5, *blocks[after].shape)
    part[:, 0] /= 3.0
    scaled[:, places[after]] = part.reshape(5, -1)
    np.testing.assert_allclose(net.predict(scaled, ROWS), net.predict(draws, ROWS), atol=1e-12)
    np.testing.assert_allclose(balanced(net, scaled, reference), moved, rtol=1e-9)


def test_units_that_hear_or_say_nothing_stay(rng):
    net = MLP(2, (2,), 1, activation="relu")
    draws = rng.standard_normal((1, net.n_weights))
    draws[0, [0, 2, 4]] = 0.0  # W1 and b1 of the first unit
    moved = balanced(net, draws, np.ones(net.n_weights))
    assert np.isfinite(moved).all()
    np.testing.assert_array_equal(moved[0, [0, 2, 4, 6]], draws[0, [0, 2, 4, 6]])


def test_units_without_scalings_are_left_alone(rng):
    draws = rng.standard_normal((3, 9))
    assert balanced(MLP(2, (2,), 1), draws, np.ones(9)) is draws
