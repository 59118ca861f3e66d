"""Acquiescent sets: membership, projection, and what follows of a member."""

import numpy as np
import pytest
from scipy.optimize import nnls

from bayesnn.landscape.acquiescence import AcquiescentSet
from bayesnn.landscape.idealised_risk import IdealisedRisk
from bayesnn.landscape.quasi_convexity import quasi_convexity
from tests.refusals import refuses

REGION = AcquiescentSet(t0=0.2, t1=0.05, t2=6.0)


def slack_on_a_grid(region, a, n_points=20_001):
    curve = region.curve(a, n_points)
    cone = (curve.real - (1.0 + region.t0) * np.abs(curve.imag)) / np.hypot(1.0, 1.0 + region.t0)
    return np.minimum(np.minimum(cone, curve.real - region.t1), region.t2 - curve.real)


def members(count, seed=0, orders=(1, 2, 3, 4, 5, 6)):
    """Members of a set, some of them on its edge: projections of normal points, drawn in by up to a half."""
    rng = np.random.default_rng(seed)
    return [REGION.project(rng.standard_normal(int(rng.choice(orders)))) * rng.uniform(0.5, 1.0) for _ in range(count)]


def test_of_order_one_they_are_those_below_the_sine_of_the_angle():
    edge = np.sin(REGION.angle)
    assert edge == pytest.approx(0.6402, abs=5e-5)
    for sign in (1.0, -1.0):
        assert REGION.contains([sign * (edge - 1e-12)])
        assert not REGION.contains([sign * (edge + 1e-12)])
    assert REGION.margin([0.3]) == pytest.approx(edge - 0.3, abs=1e-14)
    smaller = AcquiescentSet(0.2, 0.05, 6.0, radius=0.8)
    assert smaller.contains([0.8 * edge - 1e-12])
    assert not smaller.contains([0.8 * edge + 1e-12])


def test_the_strip_counts_too():
    # |a| < 1 - t1 and |a| < t2 - 1 bind before the cone does
    assert AcquiescentSet(0.2, 0.7, 6.0).margin([0.2]) == pytest.approx(0.1, abs=1e-14)
    assert AcquiescentSet(0.2, 0.05, 1.3).margin([0.2]) == pytest.approx(0.1, abs=1e-14)


@pytest.mark.parametrize("order", [1, 2, 5, 20])
def test_margins_are_the_least_slack_of_a_fine_grid(order, rng):
    for _ in range(5):
        a = rng.standard_normal(order)
        on_grid = slack_on_a_grid(REGION, a).min()
        # the grid misses at most half the second derivative by its spacing squared
        missed = 0.5 * np.abs(a).sum() * order**2 * (np.pi / 20_000) ** 2
        assert on_grid - missed - 1e-12 <= REGION.margin(a) <= on_grid + 1e-12


def test_the_bound_on_tau_is_that_of_the_theory():
    assert REGION.least_quasi_convexity == pytest.approx(0.0023, abs=5e-5)


def test_members_are_stable_and_weakly_quasi_convex_towards_each_other():
    rng, found = np.random.default_rng(3), members(400)
    taus = []
    by_order = {}
    for a in found:
        by_order.setdefault(len(a), []).append(a)
        assert np.abs(np.roots(np.append(1.0, a))).max() < 1.0
        assert REGION.margin(a) > 0.0
    for order, same in by_order.items():
        for target, a in zip(same, [*same[1:], same[0]], strict=True):
            risk = IdealisedRisk(np.concatenate([target, rng.standard_normal(order), [0.0]]))
            found = quasi_convexity(risk, np.concatenate([a, rng.standard_normal(order), [0.0]]))
            taus.append(found.tau)
            assert found.measured >= found.tau
    assert len(taus) == 400
    assert min(taus) > REGION.least_quasi_convexity


def test_a_projection_is_inside_to_the_tolerance_and_members_stay(rng):
    for order in (1, 2, 5, 12):
        for _ in range(4):
            point = REGION.project(2.0 * rng.standard_normal(order))
            assert slack_on_a_grid(REGION, point).min() > -1e-13
            assert np.array_equal(REGION.project(0.9 * point), 0.9 * point)
            assert np.abs(np.roots(np.append(1.0, point))).max() < 1.0


def test_the_projection_of_a_point_far_away_is_inside_too(rng):
    for size in (1e6, 1e12):
        point = REGION.project(size * rng.standard_normal(3))
        assert slack_on_a_grid(REGION, point).min() > -1e-13


def test_no_member_is_nearer_than_the_projection(rng):
    inside = {order: members(20, order, (order,)) for order in (2, 5)}
    for order, known in inside.items():
        for _ in range(5):
            a = 2.0 * rng.standard_normal(order)
            point = REGION.project(a)
            # the convex set lies behind the plane through the projection; 1e-9 is what the constraints may be off by
            assert max(float((a - point) @ (member - point)) for member in known) < 1e-9 * np.linalg.norm(a)


def test_projections_meet_the_conditions_of_karush_kuhn_and_tucker(rng):
    # inside all constraints, and the way there from the given point is a sum of normals of those that touch
    z = np.exp(-1j * np.linspace(-np.pi, np.pi, 40_001))[:, None] ** np.arange(1, 4)
    one = np.ones(len(z))
    for _ in range(5):
        a = 1.5 * rng.standard_normal(3)
        point = REGION.project(a)
        rows = np.concatenate([z.real - 1.2 * z.imag, z.real, -z.real])
        limits = np.concatenate([-one, 0.05 - one, -5.0 * one])
        slack = rows @ point - limits
        assert slack.min() > -1e-9
        # a grid misses an angle by 8e-5, and the constraint's slack and direction by that squared and that
        touching = rows[slack < 1e-7]
        way = (point - a) / np.linalg.norm(point - a)
        assert nnls(touching.T, way)[1] < 1e-3


def test_bad_input_is_refused():
    with refuses("t0", "0.0", "above 0"):
        AcquiescentSet(t0=0.0)
    with refuses("t1", "1", "below 1"):
        AcquiescentSet(t1=1.0)
    with refuses("t2", "0.5", "above 1"):
        AcquiescentSet(t2=0.5)
    with refuses("radius", "1.5", "at most 1"):
        AcquiescentSet(radius=1.5)
    with refuses("a", "NaN", "all finite"):
        REGION.project([0.0, np.nan])
    with refuses("a", "shape (0,)", "n at least 1"):
        REGION.margin([])
