"""Gradient descent on the risk of systems, and stochastic projected gradients."""

import numpy as np
import pytest

from bayesnn.landscape.acquiescence import AcquiescentSet
from bayesnn.landscape.idealised_risk import IdealisedRisk
from bayesnn.landscape.quasi_convexity import quasi_convexity
from bayesnn.landscape.system_descent import descend_system, sequence_loss, stochastic_descent
from bayesnn.models import LinearSystem
from tests.refusals import refuses

REGION = AcquiescentSet(t0=0.2, t1=0.05, t2=6.0)
NEAR_THE_CIRCLE = [0.95, 0.9, -0.9, 0.9 * np.exp(2j), 0.9 * np.exp(-2j)]


def acquiescent_targets(count, order):
    rng, found = np.random.default_rng(order), []
    while len(found) < count:
        a = 0.4 * rng.standard_normal(order)
        if REGION.contains(a):
            found.append(np.concatenate([a, rng.standard_normal(order + 1)]))
    return found


@pytest.mark.parametrize("region", [None, REGION])
@pytest.mark.parametrize("target", acquiescent_targets(3, 2))
def test_acquiescent_targets_are_reached(target, region):
    risk = IdealisedRisk(target)
    found = descend_system(risk, np.zeros(5), region=region, n_steps=3000, tolerance=1e-13)
    assert found.reason == "risk"
    assert found.risk[-1] < 1e-12
    assert np.all(np.diff(found.risk) <= 0.0)
    assert found.risk[-1] == risk.value(found.weights)
    assert found.n_steps == len(found.path) - 1 == len(found.gradient_norm) - 1
    if region is not None:
        assert min(region.margin(w[:2]) for w in found.path) > -1e-13
        assert min(quasi_convexity(risk, w).tau for w in found.path[::10]) > region.least_quasi_convexity


def test_a_target_with_poles_near_the_circle_is_not_reached():
    a = np.real(np.poly(NEAR_THE_CIRCLE))[1:]
    risk = IdealisedRisk(np.concatenate([a, [0.5, -1.0, 1.5, 0.3, 1.0], [0.0]]))
    assert not REGION.contains(a)
    assert quasi_convexity(risk, np.zeros(11)).tau < 0.0  # nothing is promised from the start
    found = descend_system(risk, np.zeros(11), n_steps=4000, method="powers")
    assert found.reason == "steps"
    # eleven digits and more above what acquiescent targets come to, and hardly moving
    assert found.risk[-1] > 0.1
    assert found.risk[-1] > 0.7 * found.risk[-1000]


def test_a_start_outside_is_projected_first():
    risk = IdealisedRisk([0.5, 1.0, 0.0])
    found = descend_system(risk, [-0.95, 0.0, 0.0], region=REGION, n_steps=1)
    assert found.path[0, 0] == pytest.approx(-np.sin(REGION.angle), abs=1e-9)


def test_a_target_outside_is_approached_to_the_edge():
    risk = IdealisedRisk([-0.9, 1.0, 0.0])
    found = descend_system(risk, np.zeros(3), region=REGION, n_steps=2000, tolerance=1e-12)
    assert found.weights[0] == pytest.approx(-np.sin(REGION.angle), abs=1e-9)
    # least of c / (1 - a q) against the target: the inner product over the norm
    pole = np.sin(REGION.angle)
    assert found.weights[1] == pytest.approx((1 - pole**2) / (1 - 0.9 * pole), abs=1e-4)


def test_the_loss_of_a_sequence_is_its_later_three_quarters():
    rng, system = np.random.default_rng(0), LinearSystem(2)
    w = system.initial_weights(rng)
    x, y = rng.standard_normal(21), rng.standard_normal(21)
    loss, gradient = sequence_loss(system, w, x, y)
    assert loss == pytest.approx(((system.simulate(w, x) - y)[5:] ** 2).mean(), rel=1e-12)
    step = 1e-6
    differences = [
        (sequence_loss(system, w + e, x, y)[0] - sequence_loss(system, w - e, x, y)[0]) / (2 * step)
        for e in step * np.eye(5)
    ]
    assert np.allclose(gradient, differences, rtol=0, atol=1e-7 * np.abs(gradient).max())
    y[:5] += 10.0
    assert sequence_loss(system, w, x, y)[0] == loss


@pytest.fixture(scope="module")
def sequences():
    """150 sequences of an acquiescent system, under noise."""
    rng, system = np.random.default_rng(2), LinearSystem(2)
    truth = np.array([0.3, -0.2, 0.5, -1.0, 0.3])
    x = rng.standard_normal((150, 60))
    return truth, x, system.simulate(truth, x) + 0.1 * rng.standard_normal(x.shape)


def test_stochastic_projected_gradients_find_a_system_from_its_sequences(sequences):
    truth, x, y = sequences
    found = stochastic_descent(x, y, 2, REGION, step=0.02, n_passes=8)
    assert REGION.contains(truth[:2])
    assert min(REGION.margin(w[:2]) for w in found.path) > -1e-13
    # 150 sequences of 45 counted times determine five weights to 0.1 / sqrt(6750) each: so does the end of the run,
    # up to the noise of steps of size 0.02 / sqrt(8)
    assert IdealisedRisk(truth).value(found.weights) < 1e-3
    assert found.risk[-1] == pytest.approx(0.1**2, rel=0.2)
    assert len(found.path) == 9
    assert len(found.risk) == 8


def test_the_same_seed_gives_the_same_path(sequences):
    _, x, y = sequences
    one, same, other = (stochastic_descent(x[:20], y[:20], 2, REGION, n_passes=2, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.path, same.path)
    assert not np.array_equal(one.path, other.path)


def test_bad_input_is_refused(sequences):
    _, x, y = sequences
    with refuses("start", "shape (3,)", "shape (5,)"):
        descend_system(IdealisedRisk(np.zeros(5)), np.zeros(3))
    with refuses("start", "spectral radius 1.5", "below 1"):
        descend_system(IdealisedRisk([0.5, 1.0, 0.0]), [1.5, 0.0, 0.0])
    with refuses("n_steps", "0", "at least 1"):
        descend_system(IdealisedRisk([0.5, 1.0, 0.0]), np.zeros(3), n_steps=0)
    with refuses("inputs", "shape (4, 2)", "T at least 3"):
        stochastic_descent(x[:4, :2], y[:4, :2], 2, REGION)
    with refuses("inputs", "first at index (0, 3)", "all finite"):
        stochastic_descent(np.where(np.arange(60) == 3, np.nan, x), y, 2, REGION)
    with refuses("outputs", "shape (150, 59)", "(150, 60)"):
        stochastic_descent(x, y[:, 1:], 2, REGION)
    with refuses("start", "spectral radius 2", "below 1"):
        stochastic_descent(x, y, 2, REGION, start=[0.0, -4.0, 0.0, 0.0, 0.0])
    with refuses("region", "None", "an AcquiescentSet"):
        stochastic_descent(x, y, 2, None)
    with refuses("step", "100", "a smaller one"):
        stochastic_descent(x, y, 2, REGION, step=100.0)


def test_the_last_step_may_reach_the_risk_that_was_wanted():
    risk = IdealisedRisk([-0.5, 1.0, 0.25])
    found = descend_system(risk, np.zeros(3), region=AcquiescentSet())
    assert found.reason == "risk"
    again = descend_system(risk, np.zeros(3), region=AcquiescentSet(), n_steps=len(found.risk) - 1)
    assert again.reason == "risk"
    assert descend_system(risk, np.zeros(3), region=AcquiescentSet(), n_steps=len(found.risk) - 2).reason == "steps"
