"""The identity behind weak quasi-convexity."""

import numpy as np
import pytest

from bayesnn.landscape.idealised_risk import IdealisedRisk
from bayesnn.landscape.quasi_convexity import quasi_convexity
from tests.landscape.test_system_risk import pair
from tests.refusals import refuses


@pytest.mark.parametrize("order", [1, 2, 5, 20])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_both_sides_of_the_identity_are_one_number(order, seed):
    target, weights = pair(order, seed)
    weights[-1] = target[-1]
    risk = IdealisedRisk(target)
    found = quasi_convexity(risk, weights)
    value, gradient = risk.value_and_gradient(weights)
    assert found.inner_product == pytest.approx(float(gradient @ (weights - target)), rel=1e-12)
    assert found.inner_product == pytest.approx(found.integral, abs=1e-6 * max(1.0, abs(found.integral)))
    assert found.excess == pytest.approx(value, rel=1e-9)


def test_it_says_nothing_of_what_passes_straight_through():
    target, weights = pair(2)
    moved = weights.copy()
    moved[-1] += 3.0
    risk = IdealisedRisk(target)
    one, other = quasi_convexity(risk, weights), quasi_convexity(risk, moved)
    assert (one.inner_product, one.integral, one.excess) == pytest.approx(
        (other.inner_product, other.integral, other.excess), rel=1e-9
    )


def test_tau_is_the_least_ratio_on_the_circle_and_bounds_what_is_measured():
    for seed in range(5):
        target, weights = pair(3, seed)
        found = quasi_convexity(IdealisedRisk(target), weights)
        z = np.exp(1j * np.linspace(0, np.pi, 20_001))
        ratio = 2 * np.real(np.polyval([1, *target[:3]], z) / np.polyval([1, *weights[:3]], z))
        assert found.tau <= ratio.min() + 1e-12
        assert found.tau == pytest.approx(ratio.min(), abs=1e-4 * np.abs(ratio).max())
        assert found.measured >= found.tau


def test_at_one_pole_each_it_is_known():
    # Re((z + a) / (z + b)) is monotone in the real part of z: least at z = 1 or z = -1
    found = quasi_convexity(IdealisedRisk([-0.5, 1.0, 0.0]), [0.3, 1.0, 0.0])
    assert found.tau == pytest.approx(2 * 0.5 / 1.3, abs=1e-12)
    assert found.angle_of_tau == pytest.approx(0.0, abs=1e-6)


def test_at_the_target_nothing_is_measured_and_the_ratio_is_two():
    found = quasi_convexity(IdealisedRisk([-0.5, 1.0, 0.0]), [-0.5, 1.0, 0.0])
    assert np.isnan(found.measured)
    assert found.tau == pytest.approx(2.0, abs=1e-12)


def test_unstable_systems_are_refused():
    with refuses("weights", "spectral radius 1.5", "below 1"):
        quasi_convexity(IdealisedRisk([-0.5, 1.0, 0.0]), [1.5, 1.0, 0.0])


def test_systems_too_near_to_instability_for_the_integral_are_refused():
    with refuses("weights", "0.9999999", "further from 1"):
        quasi_convexity(IdealisedRisk([-0.5, 1.0, 0.0]), [-(1.0 - 1e-7), 1.0, 0.0])
