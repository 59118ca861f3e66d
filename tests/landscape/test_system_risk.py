"""The idealised risk of linear systems, three ways."""

import numpy as np
import pytest

from bayesnn.landscape.extension import extended
from bayesnn.landscape.idealised_risk import METHODS, IdealisedRisk
from bayesnn.landscape.stein import doubled_powers, solve_stein
from bayesnn.models import LinearSystem
from tests.refusals import refuses


def pair(order, seed=0, most=0.97):
    """A target and a system, both stable, with spectral radii below `most`."""
    rng, system, found = np.random.default_rng([order, seed]), LinearSystem(order), []
    while len(found) < 2:
        weights = system.initial_weights(rng)
        if order > 10:
            weights[:order] = rng.standard_normal(order) * 0.5 / order
        if system.spectral_radius(weights) < most:
            found.append(weights)
    return found


def by_definition(weights, target, terms):
    system = LinearSystem(len(target) // 2)
    return system.impulse_response(weights, terms) - system.impulse_response(target, terms)


@pytest.mark.parametrize("order", [1, 2, 5, 50])
@pytest.mark.parametrize("seed", [0, 1])
def test_powers_stein_equation_and_parseval_agree(order, seed):
    target, weights = pair(order, seed)
    risk = IdealisedRisk(target)
    expected = float((by_definition(weights, target, 3000) ** 2).sum())  # .97^6000 is below rounding
    gradients = []
    for method in METHODS:
        value, gradient = risk.value_and_gradient(weights, method)
        assert value == pytest.approx(expected, rel=1e-9)
        assert risk.value(weights, method) == value
        gradients.append(gradient)
    for gradient in gradients:
        assert np.allclose(gradient, gradients[0], rtol=0, atol=1e-9 * np.abs(gradients[0]).max())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("order", [1, 2, 4])
def test_gradients_are_differences_of_the_risk(order, method):
    target, weights = pair(order, most=0.9)
    risk, step = IdealisedRisk(target), 1e-5
    differences = [
        (risk.value(weights + e, method) - risk.value(weights - e, method)) / (2 * step)
        for e in step * np.eye(risk.n_weights)
    ]
    _, gradient = risk.value_and_gradient(weights, method)
    # the error of central differences, a sixth of step^2 by the third derivative
    assert np.allclose(gradient, differences, rtol=0, atol=1e-6 * max(1.0, np.abs(gradient).max()))


def test_the_hessian_is_differences_of_the_gradient():
    target, weights = pair(3, most=0.9)
    risk, step = IdealisedRisk(target), 1e-5
    differences = [
        (risk.value_and_gradient(weights + e)[1] - risk.value_and_gradient(weights - e)[1]) / (2 * step)
        for e in step * np.eye(7)
    ]
    hessian = risk.hessian(weights)
    assert np.allclose(hessian, hessian.T, rtol=0, atol=1e-12 * np.abs(hessian).max())
    assert np.allclose(hessian, differences, rtol=0, atol=1e-6 * np.abs(hessian).max())
    assert np.linalg.eigvalsh(risk.hessian(target))[0] > -1e-9  # at its least


@pytest.mark.parametrize("distance", [0.5, 0.01, 1e-9])
def test_one_pole_close_to_the_circle_has_the_risk_of_the_geometric_series(distance):
    from fractions import Fraction

    pole = 1.0 - distance
    a, b = Fraction(pole), Fraction(0.5)
    expected = 1 / (1 - a * a) - 2 / (1 - a * b) + 1 / (1 - b * b)
    assert IdealisedRisk([-0.5, 1.0, 0.0]).value([-pole, 1.0, 0.0]) == pytest.approx(float(expected), rel=1e-7)


def test_near_the_target_the_risk_keeps_its_digits():
    from fractions import Fraction

    a, b = Fraction(0.5 + 1e-8), Fraction(0.5)
    expected = float(1 / (1 - a * a) - 2 / (1 - a * b) + 1 / (1 - b * b))
    assert expected < 1e-15
    for method in METHODS:
        value = IdealisedRisk([-0.5, 1.0, 0.0]).value([-(0.5 + 1e-8), 1.0, 0.0], method)
        assert value == pytest.approx(expected, rel=1e-6), method
        assert IdealisedRisk([-0.5, 1.0, 0.0]).value([-0.5, 1.0, 0.0], method) == 0.0


def test_what_passes_straight_through_counts_apart():
    target, weights = pair(2)
    risk = IdealisedRisk(target)
    moved = weights.copy()
    moved[-1] = target[-1]
    assert risk.value(weights) == pytest.approx(risk.value(moved) + (weights[-1] - target[-1]) ** 2, rel=1e-12)


def test_a_target_of_smaller_order_gains_poles_at_zero():
    target, weights = pair(2)
    larger = extended(weights, [0.3, -0.1])
    for method in METHODS:
        value = IdealisedRisk(target, order=4).value(larger, method)
        assert value == pytest.approx(IdealisedRisk(target).value(weights), rel=1e-9)


def test_the_risk_of_finite_sequences_is_what_simulation_finds():
    target, weights = pair(3, seed=3, most=0.9)
    system, rng, length, sigma = LinearSystem(3), np.random.default_rng(0), 16, 0.3
    x = rng.standard_normal((40_000, length))
    y = system.simulate(target, x) + sigma * rng.standard_normal(x.shape)
    losses = ((system.simulate(weights, x) - y) ** 2).mean(axis=1)
    error = losses.std() / np.sqrt(len(losses))
    risk = IdealisedRisk(target)
    expected = risk.finite_risk(weights, length, sigma)
    assert abs(losses.mean() - expected) < 3.0 * error
    # the idealised risk is another number, further away than chance would take it
    assert abs(losses.mean() - risk.value(weights) - sigma**2) > 10.0 * error
    assert risk.finite_risk(weights, 10**5) == pytest.approx(risk.value(weights), rel=1e-3)


def test_stein_equations_are_solved_to_rounding(rng):
    left, right = 0.9 * np.linalg.qr(rng.standard_normal((4, 4)))[0], np.diag([0.5, -0.2, 0.1])
    constant = rng.standard_normal((4, 3))
    solved = solve_stein(doubled_powers(left), doubled_powers(right), constant)
    assert np.allclose(left @ solved @ right.T + constant, solved, rtol=0, atol=1e-14)
    both = doubled_powers(left)
    wide = solve_stein(both, both, np.eye(4))
    assert np.allclose(wide, np.eye(4) / (1 - 0.81), rtol=1e-13)
    assert doubled_powers(np.eye(3)) is None
    assert doubled_powers(2.0 * np.eye(3)) is None


def test_unstable_systems_are_refused_with_their_radius():
    unstable = np.concatenate([np.real(np.poly([1.25, 0.5]))[1:], np.ones(3)])
    with refuses("target", "spectral radius 1.25", "below 1"):
        IdealisedRisk(unstable)
    risk = IdealisedRisk(np.array([0.0, 0.0, 1.0, 1.0, 0.0]))
    for method in METHODS:
        with refuses("weights", "spectral radius 1.25", "below 1"):
            risk.value(unstable, method)
    on_the_circle = np.array([0.0, 1.0, 1.0, 1.0, 0.0])  # poles at i and -i
    with refuses("weights", "spectral radius 1", "below 1"):
        risk.value(on_the_circle)
    with refuses("weights", "spectral radius 1.25", "below 1"):
        risk.hessian(unstable)


def test_other_bad_input_is_refused():
    with refuses("target", "shape (4,)", "shape (2 n + 1,)"):
        IdealisedRisk(np.zeros(4))
    with refuses("target", "NaN", "all finite"):
        IdealisedRisk([0.0, np.nan, 0.0])
    with refuses("order", "1", "at least 2"):
        IdealisedRisk(np.zeros(5), order=1)
    risk = IdealisedRisk(np.zeros(5))
    with refuses("weights", "shape (3,)", "shape (5,)"):
        risk.value(np.zeros(3))
    with refuses("weights", "shape (2, 5)", "shape (5,): a, c and D of order 2"):
        risk.value(np.zeros((2, 5)))
    with refuses("method", "'exact'", "'stein'"):
        risk.value(np.zeros(5), "exact")
    with refuses("weights", "spectral radius 0.9999999", "'stein'"):
        risk.value([-0.9999999, 0.0, 1.0, 1.0, 0.0], "powers")
    with refuses("weights", "spectral radius 0.9999999", "'stein'"):
        risk.value([-0.9999999, 0.0, 1.0, 1.0, 0.0], "parseval")


@pytest.mark.parametrize("noise", [np.nan, -0.1, "0.1"])
def test_noise_that_is_none_is_refused(noise):
    with refuses("sigma_noise", "", "at least 0"):
        IdealisedRisk([-0.5, 1.0, 0.0]).finite_risk([-0.5, 1.0, 0.0], 10, noise)
