"""Metropolis steps of single units in the marginal density, against steps taken one by one with the whole density."""

import numpy as np
import pytest

from bayesnn.posterior.unit_steps import UnitSteps
from bayesnn.sampling.moves.unit_metropolis import unit_steps
from tests.posterior.test_marginal import CASES, kept_points, problem

N_STEPS = 60


def layout(marginal):
    """Places (fan in + bias, units) of the last hidden layer among the kept coordinates, by the network's blocks."""
    network = marginal.posterior.network
    begin, places = 0, []
    last = len(network.widths) - 3
    for block in network.weight_blocks:
        size = int(np.prod(block.shape))
        places.append(np.arange(begin, begin + size).reshape(block.shape))
        begin += size
    stride = 2 if network.bias else 1
    return np.concatenate([np.atleast_2d(part) for part in places[stride * last : stride * (last + 1)]])


def one_by_one(marginal, kept, steps):
    """The same steps by the whole marginal density: where chains are then, and what was accepted."""
    places, prior = layout(marginal), marginal.posterior
    precision, mean = prior.prior_precision[marginal.kept], prior.prior_mean[marginal.kept]
    kept, accepted = kept.copy(), np.zeros(steps.units.shape, dtype=bool)
    for chain in range(len(kept)):
        for step, unit in enumerate(steps.units[chain]):
            new, at, move = kept[chain].copy(), places[:, unit], steps.moves[chain, step]
            new[at] = move if steps.is_fresh[chain, step] else new[at] + move
            log_ratio = marginal.log_density(new) - marginal.log_density(kept[chain])
            if steps.is_fresh[chain, step]:  # proposed from the prior: the likelihood alone decides
                before, after = (precision[at] * (w[at] - mean[at]) ** 2 for w in (kept[chain], new))
                log_ratio += 0.5 * (after - before).sum()
            if log_ratio > steps.thresholds[chain, step]:
                kept[chain], accepted[chain, step] = new, True
    return kept, accepted


@pytest.mark.parametrize("inverse_temperature", [1.0, 0.05])
@pytest.mark.parametrize("case", CASES)
def test_they_are_those_of_the_whole_density(case, inverse_temperature):
    marginal = problem(**CASES[case]).marginal(inverse_temperature)
    start = kept_points(marginal)
    steps = unit_steps(marginal, len(start), N_STEPS, np.random.RandomState(0))
    kept, values, accepted = marginal.step_units(start, marginal.log_density(start), steps)
    expected, decisions = one_by_one(marginal, start, steps)
    assert np.array_equal(accepted, decisions)
    assert 0 < accepted.sum() < accepted.size
    assert np.array_equal(kept, expected)
    assert np.allclose(values, marginal.log_density(kept), rtol=1e-9)


def test_priors_are_those_of_the_units_weights():
    marginal = problem(**CASES["priors of each weight"]).marginal()
    places = layout(marginal)
    assert np.array_equal(marginal.unit_prior_precision, marginal.posterior.prior_precision[places])
    assert np.array_equal(marginal.unit_prior_mean, marginal.posterior.prior_mean[places])


def test_half_of_them_are_fresh_and_the_others_of_all_sizes():
    marginal = problem().marginal()
    steps = unit_steps(marginal, 50, 400, np.random.RandomState(1))
    n = steps.units.size
    assert abs(steps.is_fresh.mean() - 0.5) < 4.5 * np.sqrt(0.25 / n)
    fresh = steps.moves[steps.is_fresh]
    variance = 1.0 / marginal.posterior.prior_precision[0]
    assert abs(fresh.var() / variance - 1.0) < 4.5 * np.sqrt(2.0 / fresh.size)
    sizes = np.log(np.abs(steps.moves[~steps.is_fresh]).mean(axis=1))
    assert sizes.max() - sizes.min() > np.log(50.0)
    assert np.array_equal(np.unique(steps.units), np.arange(5))


def test_a_place_without_a_density_is_not_gone_to():
    marginal = problem().marginal()
    start = kept_points(marginal, chains=1)
    shape = (1, 3)
    moves = np.full((*shape, 4), np.nan)
    steps = UnitSteps(np.zeros(shape, dtype=np.int64), np.ones(shape, dtype=bool), moves, np.full(shape, -np.inf))
    kept, values, accepted = marginal.step_units(start, marginal.log_density(start), steps)
    assert not accepted.any()
    assert np.array_equal(kept, start)
    assert values == marginal.log_density(start)


def test_any_share_of_the_chains_takes_the_same_steps():
    marginal = problem().marginal()
    start = kept_points(marginal, chains=7)
    steps = unit_steps(marginal, 7, N_STEPS, np.random.RandomState(2))
    values = marginal.log_density(start)
    together = marginal.step_units(start, values, steps)
    for chain in range(7):
        own = slice(chain, chain + 1)
        alone = marginal.step_units(start[own], values[own], UnitSteps(*(array[own] for array in steps)))
        for one, all_chains in zip(alone, together, strict=True):
            assert np.array_equal(one[0], all_chains[chain])
