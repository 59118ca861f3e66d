"""What jumps say of autocorrelation times, for chains whose times are known."""

import numpy as np
import pytest

from bayesnn.sampling.metric import Metric
from bayesnn.sampling.mixing import LEAST_TIME, MixingSpace

CHAINS, STEPS = 100, 500


def chain(correlations, seed=0):
    """Stationary draws (STEPS, CHAINS, k) of independent coordinates, each keeping its share of the draw before."""
    rng = np.random.default_rng(seed)
    keep = np.asarray(correlations)
    draws = np.empty((STEPS, CHAINS, len(keep)))
    draws[0] = rng.standard_normal((CHAINS, len(keep)))
    for step in range(1, STEPS):
        draws[step] = keep * draws[step - 1] + np.sqrt(1.0 - keep**2) * rng.standard_normal((CHAINS, len(keep)))
    return draws


def draws_predicted(values, weights):
    """What jumps from each draw to the next say."""
    space = MixingSpace.of(values, weights, Metric(np.ones(weights.shape[-1])))
    jumps = space.jumps(
        np.diff(values, axis=0).reshape(-1, values.shape[-1]), np.diff(weights, axis=0).reshape(-1, weights.shape[-1])
    )
    return space.independent_draws(0.5 * jumps.T @ jumps / len(jumps))


def error_of(correlation):
    # variances of 50 000 draws, as many as 50 000 / tau independent ones, err by sqrt(2 tau / 50 000); those of jumps,
    # which are nearly independent, by sqrt(2 / 50 000)
    tau = (1.0 + correlation) / (1.0 - correlation)
    return np.sqrt(2.0 * tau / (CHAINS * STEPS)) + np.sqrt(2.0 / (CHAINS * STEPS))


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_one_coordinate_takes_its_own_time(correlation):
    draws = chain([correlation])
    expected = (1.0 - correlation) / (1.0 + correlation)
    assert draws_predicted(draws, draws) == pytest.approx(expected, rel=4.5 * error_of(correlation) * 2.0)


def test_a_slow_part_of_a_function_value_counts_by_its_share():
    # f = a + b / 2 and a - b / 2: a is new in every draw, b keeps 0.9. Either takes 0.8 * 1 + 0.2 * 19 draws. Lag-one
    # correlations alone, 0.18, would say 1.4.
    a, b = np.moveaxis(chain([0.0, 0.9]), -1, 0)
    values = np.stack([a + 0.5 * b, a - 0.5 * b], axis=-1)
    got = draws_predicted(values, np.stack([a, b], axis=-1))
    assert got == pytest.approx(1.0 / (0.8 + 0.2 * 19.0), rel=4.5 * error_of(0.9) * 2.0)


def test_weights_tell_what_function_values_hide():
    # One function value, which is a + b: its own jumps say (1 + r) / (1 - r) = 1.21 for r = 0.1 * 0.95; the coordinates
    # say 0.9 * 1 + 0.1 * 39.
    a, b = np.moveaxis(chain([0.0, 0.95]), -1, 0)
    values = (np.sqrt(0.9) * a + np.sqrt(0.1) * b)[..., None]
    alone = draws_predicted(values, values)
    both = draws_predicted(values, np.stack([a, b], axis=-1))
    assert alone == pytest.approx(1.0 / 1.21, rel=0.05)
    assert both == pytest.approx(1.0 / (0.9 + 0.1 * 39.0), rel=4.5 * error_of(0.95) * 2.0)


def test_chains_that_never_meet_are_not_called_slow():
    # The second weight only tells the chains apart: function values differ between a few chains by chance.
    draws = chain([0.5])[:40, :6]
    label = np.broadcast_to(10.0 * np.arange(6.0)[:, None], draws.shape) + 1e-3 * chain([0.0], seed=1)[:40, :6]
    alone = draws_predicted(draws, draws)
    assert draws_predicted(draws, np.concatenate([draws, label], axis=-1)) == pytest.approx(alone, rel=0.1)


def test_draws_on_opposite_sides_gain_nothing():
    draws = chain([-0.9])
    assert draws_predicted(draws, draws) == pytest.approx(1.0 / LEAST_TIME)


def test_constant_function_values_do_not_disturb():
    draws = chain([0.5])
    with_constant = np.concatenate([draws, np.full_like(draws, 3.0)], axis=-1)
    assert draws_predicted(with_constant, draws) == pytest.approx(draws_predicted(draws, draws), rel=1e-6)


def test_weights_are_judged_where_no_function_value_varies():
    draws = chain([0.5, 0.9])
    flat = np.zeros((*draws.shape[:2], 3))
    # Within chains of 500 draws the variance of a coordinate with tau 19 is seen by 19 / 500 too small, not its jumps.
    bound = 19.0 / 500.0 + 4.5 * error_of(0.9)
    assert draws_predicted(flat, draws) == pytest.approx(1.0 / 19.0, rel=bound)


def test_nothing_that_jumps_is_worth_nothing():
    draws = chain([0.5])
    space = MixingSpace.of(draws, draws, Metric(np.ones(1)))
    assert 0.0 <= space.independent_draws(np.zeros((1, 1))) < 1e-8
