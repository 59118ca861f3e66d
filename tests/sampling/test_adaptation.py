import numpy as np
import pytest

from bayesnn.sampling.adaptation import LEAST_ACCEPTANCE, DualAveraging, window_ends


@pytest.mark.parametrize("first", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("target", [0.234, 0.8])
def test_the_step_size_settles_where_the_acceptance_is_the_target(first, target):
    adaptation = DualAveraging(first, target)
    for _ in range(4000):
        adaptation.update(np.full(3, np.exp(-adaptation.step_size)))
    # Accepted with exp(-h): the answer is -log(target). To stay there the mean error must hold the log step off its
    # centre log(10 first), so after m steps the acceptance is off by 0.05 log(10 first / answer) / sqrt(m).
    answer = -np.log(target)
    off = 0.05 * abs(np.log(10.0 * first / answer)) / np.sqrt(4000) / (target * answer)
    assert off < 0.04
    assert abs(adaptation.averaged_step_size / answer - 1.0) < off


def test_noise_in_the_acceptance_averages_out():
    rng = np.random.default_rng(0)
    adaptation = DualAveraging(1.0, 0.8)
    for _ in range(4000):
        adaptation.update(np.clip(np.exp(-adaptation.step_size) + 0.1 * rng.standard_normal(16), 0.01, 1.0))
    # noise of 0.1 / 4 a step; the harmonic mean of such rates lies var / mean = 0.0125 below the arithmetic one
    achieved = np.exp(-adaptation.averaged_step_size)
    assert 0.8 <= achieved < 0.83


def test_more_acceptance_than_asked_means_larger_steps_and_less_means_smaller():
    up, down = DualAveraging(1.0, 0.5), DualAveraging(1.0, 0.5)
    for _ in range(5):
        up.update(np.ones(2))
        down.update(np.zeros(2))
    assert up.step_size > 10 > 1 > down.step_size


def test_one_chain_in_a_narrow_place_counts():
    stuck = np.array([1.0] * 15 + [0.1])
    even = np.full(16, stuck.mean())
    with_stuck, without = DualAveraging(1.0, 0.8), DualAveraging(1.0, 0.8)
    with_stuck.update(stuck)
    without.update(even)
    assert with_stuck.step_size < without.step_size
    # and it counts as the harmonic mean does
    harmonic = DualAveraging(1.0, 0.8)
    harmonic.update(np.full(16, 1.0 / np.mean(1.0 / stuck)))
    assert with_stuck.step_size == pytest.approx(harmonic.step_size, rel=1e-12)
    # but one that is stuck for good does not decide alone
    hopeless, nearly = DualAveraging(1.0, 0.8), DualAveraging(1.0, 0.8)
    hopeless.update(np.array([1.0] * 15 + [0.0]))
    nearly.update(np.array([1.0] * 15 + [LEAST_ACCEPTANCE]))
    assert hopeless.step_size == nearly.step_size


def test_zero_acceptance_leaves_the_step_size_finite():
    adaptation = DualAveraging(1.0, 0.8)
    for _ in range(50):
        adaptation.update(np.zeros(4))
    assert 0 < adaptation.step_size < np.inf
    assert 0 < adaptation.averaged_step_size < np.inf


def test_without_updates_the_first_step_size_stays():
    assert DualAveraging(0.37, 0.8).averaged_step_size == 0.37


@pytest.mark.parametrize("num_warmup", [20, 33, 200, 1000])
def test_windows_grow_and_leave_room_for_the_step_size(num_warmup):
    ends = window_ends(num_warmup, True)
    lengths = np.diff([0, *ends])
    assert len(ends) == 3
    assert np.all(np.diff(lengths) > 0)
    assert ends[0] >= 2
    assert num_warmup - ends[-1] >= 0.4 * num_warmup


@pytest.mark.parametrize(("num_warmup", "adapts"), [(0, True), (19, True), (200, False)])
def test_no_windows_where_nothing_is_to_be_learnt(num_warmup, adapts):
    assert window_ends(num_warmup, adapts) == ()


@pytest.mark.parametrize("num_chains", [4, 16, 100])
def test_a_chain_that_no_step_size_moves_is_left_out(num_chains):
    alone, with_one = DualAveraging(1.0, 0.8), DualAveraging(1.0, 0.8)
    for _ in range(1000):
        alone.update(np.full(num_chains - 1, np.exp(-alone.step_size)))
        with_one.update(np.array([0.0, *np.full(num_chains - 1, np.exp(-with_one.step_size))]))
    # of a hundred chains one is borne: (99 / .8 + 20) / 100 makes a rate of .7
    assert with_one.averaged_step_size > 0.2 * alone.averaged_step_size
    if num_chains < 20:
        assert with_one.averaged_step_size == pytest.approx(alone.averaged_step_size, rel=0.2)
        # one that moves again counts again
        before = with_one.step_size
        with_one.update(np.array([1e-3, *np.full(num_chains - 1, 0.8)]))
        assert with_one.step_size < before


def test_a_chain_left_out_does_not_keep_the_others_from_small_steps():
    """One chain never accepts, the other below a hundredth of the first step size alone."""
    adaptation = DualAveraging(1.0, 0.8)
    for _ in range(300):
        good = 0.0 if adaptation.step_size > 0.003 else np.exp(-adaptation.step_size / 0.003)
        adaptation.update(np.array([0.0, good]))
    assert 1e-4 < adaptation.averaged_step_size < 3e-3


def test_chains_that_now_and_then_accept_nothing_count():
    """A random walk in a box: proposals outside have no probability at all, whatever the step size."""
    rng, adaptation = np.random.default_rng(0), DualAveraging(1.0, 0.234, "arithmetic")
    for _ in range(4000):  # the share of proposals inside at step size h is exp(-h)
        adaptation.update((rng.random(16) < np.exp(-adaptation.step_size)).astype(float))
    # the mean of 64,000 proposals has an error of .0017, which is .5 % of the step size; off its centre are .5 %
    assert adaptation.averaged_step_size == pytest.approx(-np.log(0.234), rel=0.05)
    before = adaptation.averaged_step_size
    for _ in range(30):  # one chain, out of luck for long
        adaptation.update(np.array([0.0, *(rng.random(15) < np.exp(-adaptation.step_size))], dtype=float))
    assert adaptation.averaged_step_size == pytest.approx(before, rel=0.05)


def test_a_largest_step_size_is_kept():
    adaptation = DualAveraging(0.5, 0.4, "arithmetic", largest=1.0)
    for _ in range(20_000):
        adaptation.update(np.ones(4))
    assert adaptation.step_size == adaptation.averaged_step_size == 1.0
