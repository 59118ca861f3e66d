"""Stacking weights against brute force, the conditions for an optimum, and a truth that is known."""

import numpy as np
import pytest
from scipy.stats import norm

from bayesnn.diagnostics.stacking import GAP, stack


def scores(weights, log_density):
    """Log scores (g,) of mixtures (g, m), naively."""
    return np.log(weights @ np.exp(log_density)).sum(axis=1)


def densities(m, n, spread, seed):
    rng = np.random.default_rng(seed)
    return spread * rng.standard_normal((m, n)) + 0.1 * spread * rng.standard_normal((m, 1))


CASES = [(3, 200, 1.0, 1), (5, 1000, 3.0, 2), (4, 100, 10.0, 4), (8, 500, 0.3, 5), (16, 300, 1.0, 6), (2, 5, 1.0, 7)]


@pytest.mark.parametrize("seed", range(6))
def test_of_two_no_weight_on_a_fine_grid_is_better(seed):
    log_density = densities(2, 40, 1.0, seed)
    grid = np.linspace(0.0, 1.0, 20001)
    on_grid = scores(np.stack([grid, 1.0 - grid], axis=1), log_density)
    found = stack(log_density)
    assert found.score >= on_grid.max() - GAP
    assert found.score == pytest.approx(scores(found.weights[None], log_density)[0], abs=1e-10)
    assert abs(found.weights[0] - grid[np.argmax(on_grid)]) <= 0.5e-4 + 1e-6


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_weights_meet_the_conditions_of_karush_kuhn_and_tucker(case):
    log_density = densities(*case)
    found = stack(log_density)
    assert np.all(found.weights >= 0.0)
    assert found.weights.sum() == pytest.approx(1.0, abs=1e-12)
    density = np.exp(log_density)
    slopes = (density / (found.weights @ density)).mean(axis=1)
    n = log_density.shape[1]
    # the multiplier is 1: no component gains by more weight, and those in use gain nothing by less
    assert slopes.max() <= 1.0 + GAP / n
    assert np.all(np.abs(found.weights * (slopes - 1.0)) <= GAP / n)


def test_some_components_are_left_out_and_some_are_not():
    unused = [np.count_nonzero(stack(densities(*case)).weights == 0.0) for case in CASES]
    assert unused[0] == 0
    assert max(unused) >= 2


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_other_mixture_is_better_by_more_than_the_gap(case, rng):
    log_density = densities(*case)
    found = stack(log_density)
    others = rng.dirichlet(np.full(case[0], 0.3), size=2000)
    near = 0.999 * found.weights + 0.001 * others
    assert found.gap <= GAP
    assert max(scores(others, log_density).max(), scores(near, log_density).max()) <= found.score + found.gap + 1e-10


def test_the_shares_of_a_true_mixture_are_found():
    rng = np.random.default_rng(0)
    y = np.where(rng.random(20000) < 0.3, rng.standard_normal(20000), 1.5 + rng.standard_normal(20000))
    log_density = np.stack([norm.logpdf(y), norm.logpdf(y, 1.5), norm.logpdf(y, -4.0)])
    found = stack(log_density)
    p = np.exp(log_density)
    # the first share is a maximum-likelihood estimate: its error by the Fisher information
    error = 1.0 / np.sqrt((((p[0] - p[1]) / (0.3 * p[0] + 0.7 * p[1])) ** 2).sum())
    assert abs(found.weights[0] - 0.3) < 4.5 * error
    assert error < 0.01
    assert found.weights[2] < 0.005


def test_twins_share_and_one_alone_has_all():
    twins = np.repeat(densities(1, 50, 1.0, 0), 3, axis=0)
    assert np.allclose(stack(twins).weights, 1.0 / 3.0)
    assert stack(twins[:1]).weights.tolist() == [1.0]


def test_densities_that_underflow_are_no_obstacle():
    found = stack(np.array([[0.0, -800.0, -1.0], [-800.0, 0.0, -1.0], [-900.0, -900.0, -900.0]]))
    assert found.weights == pytest.approx([0.5, 0.5, 0.0], abs=1e-9)
    # no density but under the first, and no better anywhere else
    assert stack(np.array([[-2000.0, 0.0], [-3000.0, -1.0]])).weights.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("seed", [57, *range(6)])
def test_components_hardly_heard_of_leave_no_rounding_behind(seed):
    # each row has one component that gives it any density to speak of: the shares are those of the rows
    rng = np.random.default_rng(seed)
    m, n = rng.integers(3, 8), rng.integers(5, 40)
    log_density = -rng.uniform(36, 40, size=(m, n))
    own = rng.integers(0, m, n)
    log_density[own, np.arange(n)] = 0.0
    found = stack(log_density)
    assert found.gap <= GAP
    assert found.weights == pytest.approx(np.bincount(own, minlength=m) / n, abs=1e-6)
