import pickle

import numpy as np
import pytest
from scipy.special import expit

from bayesnn.models import ACTIVATIONS
from bayesnn.models.activations import activation_named
from tests import oracles
from tests.refusals import refuses

Z = np.array([-30.0, -5.0, -1.3, -0.2, 0.4, 1.0, 4.0, 30.0])
EVERY = pytest.mark.parametrize("name", sorted(ACTIVATIONS))


def test_the_documented_names_are_there():
    assert set(ACTIVATIONS) == {"tanh", "relu", "softplus", "sin", "identity"}


@EVERY
def test_value_agrees_with_the_oracle(name):
    expected = [oracles.VALUE[name](z) for z in Z]
    assert np.allclose(ACTIVATIONS[name].value(Z), expected, rtol=1e-14, atol=1e-16)


@EVERY
def test_slope_is_the_derivative_of_the_value(name):
    activation = ACTIVATIONS[name]
    expected = [np.imag(oracles.VALUE[name](z + 1j * oracles.STEP)) / oracles.STEP for z in Z]
    # 1 - tanh(z)**2 cancels: its error is absolute, eps, not relative
    assert np.allclose(activation.slope(Z, activation.value(Z)), expected, rtol=1e-13, atol=1e-15)


@EVERY
def test_bend_is_the_derivative_of_the_slope(name):
    activation = ACTIVATIONS[name]
    expected = [np.imag(oracles.SLOPE[name](z + 1j * oracles.STEP)) / oracles.STEP for z in Z]
    assert np.allclose(activation.bend(Z, activation.value(Z)), expected, rtol=1e-13, atol=1e-15)


@EVERY
def test_is_odd_tells_the_truth(name):
    activation = ACTIVATIONS[name]
    assert activation.is_odd == np.array_equal(activation.value(-Z), -activation.value(Z))


@EVERY
def test_derivatives_have_the_shape_of_the_input(name):
    activation = ACTIVATIONS[name]
    z = np.zeros((2, 3, 4))
    h = activation.value(z)
    assert h.shape == activation.slope(z, h).shape == activation.bend(z, h).shape == z.shape


def test_relu_has_slope_zero_at_zero():
    relu = ACTIVATIONS["relu"]
    assert relu.slope(np.zeros(1), np.zeros(1)) == 0.0


def test_softplus_neither_overflows_nor_vanishes_far_out():
    softplus = ACTIVATIONS["softplus"]
    z = np.array([-700.0, 700.0])
    assert np.allclose(softplus.value(z), [np.exp(-700.0), 700.0], rtol=1e-14, atol=0)
    assert np.allclose(softplus.slope(z, softplus.value(z)), expit(z), rtol=1e-14, atol=0)


def test_unknown_name_is_refused_with_the_known_ones():
    with refuses("activation", "'gelu'", "'tanh'"):
        activation_named("gelu")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_travel_to_other_processes_by_name(name):
    assert pickle.loads(pickle.dumps(ACTIVATIONS[name])) is ACTIVATIONS[name]  # noqa: S301 -- ours, of this line
