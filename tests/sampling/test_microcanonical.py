"""Microcanonical trajectories: each part is exact, and the bias of what is not adjusted shrinks as its target does."""

import emcee
import numpy as np
import pytest

from bayesnn.sampling import sample
from bayesnn.sampling.adaptation import EnergyErrorTuning
from bayesnn.sampling.metric import Metric
from bayesnn.sampling.moves import Microcanonical, MicrocanonicalLangevin
from bayesnn.sampling.moves.dynamics import Isokinetic, turned
from bayesnn.tree import settings_of
from tests.refusals import refuses
from tests.statistical import GaussianTarget

TARGET = GaussianTarget(10, condition=100.0)


def trajectory(step, n_steps, k=6, seed=0):
    """Energy errors and ends of trajectories on a quartic, and the way back."""
    rng = np.random.default_rng(seed)

    def density(w):
        return -0.25 * (w**4).sum(axis=1) - 0.5 * (w**2).sum(axis=1), -(w**3) - w

    flow, metric = Isokinetic(), Metric(np.linspace(0.5, 1.5, k))
    weights = rng.standard_normal((5, k))
    momenta = flow.draw(np.random.RandomState(seed), weights.shape)
    value, gradient = density(weights)
    steps = np.full((5, 1), step)
    end = flow.integrate(density, metric, weights, momenta, gradient, steps, n_steps)
    error = flow.kinetic(end[1]) - end[2] - flow.kinetic(momenta) + value
    back = flow.integrate(density, metric, end[0], -end[1], end[3], steps, n_steps)
    return weights, momenta, end, error, back


def test_a_trajectory_runs_backwards_to_where_it_began():
    weights, momenta, _, _, back = trajectory(0.2, 20)
    np.testing.assert_allclose(back[0], weights, atol=1e-11)
    np.testing.assert_allclose(-back[1], momenta, atol=1e-11)


def test_energy_is_kept_to_second_order_in_the_step():
    coarse, fine = (np.abs(trajectory(step, n)[3]).max() for step, n in ((0.02, 50), (0.01, 100)))
    assert 3.5 < coarse / fine < 4.5


def test_a_turn_is_that_of_its_differential_equation():
    # u' = (I - u u') g / (k - 1), length' / length = u'g / (k - 1), by many small steps of Euler's midpoint rule
    rng = np.random.default_rng(1)
    momenta, force, time = rng.standard_normal((3, 4)), 5.0 * rng.standard_normal((3, 4)), 0.7
    u, log_length, h = momenta / np.linalg.norm(momenta, axis=1, keepdims=True), np.zeros((3, 1)), time / 20_000
    for _ in range(20_000):
        half = u + 0.5 * h * (force - (u * force).sum(axis=1, keepdims=True) * u) / 3.0
        along = (half * force).sum(axis=1, keepdims=True)
        u = u + h * (force - along * half) / 3.0
        log_length = log_length + h * along / 3.0
    expected = u * np.linalg.norm(momenta, axis=1, keepdims=True) * np.exp(log_length)
    np.testing.assert_allclose(turned(momenta, force, np.full((3, 1), time)), expected, rtol=1e-6)


def test_a_turn_under_no_force_or_a_huge_one():
    momenta = np.array([[1.0, 0.0, 0.0]])
    np.testing.assert_array_equal(turned(momenta, np.zeros((1, 3)), np.ones((1, 1))), momenta)
    huge = turned(momenta, np.array([[0.0, 600.0, 0.0]]), np.ones((1, 1)))
    assert np.isfinite(huge).all()
    np.testing.assert_allclose(huge / np.linalg.norm(huge), [[0.0, 1.0, 0.0]], atol=1e-12)


def bias(energy_variance, walkers=256, draws=400):
    """Largest relative error of the variances of a Gaussian in whitened coordinates, tuned to a target."""
    move = MicrocanonicalLangevin(
        TARGET.value_and_gradient, np.diag(TARGET.covariance), 0.2, 16, energy_variance=energy_variance
    )
    sampler = emcee.EnsembleSampler(walkers, TARGET.size, TARGET.log_prob, moves=move, vectorize=True)
    sampler._random = np.random.RandomState(0)
    tuning = move.adaptation()
    state = TARGET.draw(walkers, 0)
    for _ in range(150):
        state = sampler.run_mcmc(state, 1, skip_initial_state_check=True)
        tuning.update(move.seen())
        move.step_size = tuning.step_size
    move.step_size = tuning.averaged_step_size
    sampler.reset()
    sampler.run_mcmc(state, draws, skip_initial_state_check=True)
    z = TARGET.whiten(sampler.get_chain().transpose(1, 0, 2))
    each = (z**2).mean(axis=1)  # (walkers, k): walkers are independent
    error = each.std(axis=0) / np.sqrt(walkers)
    return each.mean(axis=0) - 1.0, error, move


def test_the_bias_of_unadjusted_draws_grows_with_the_target_of_their_tuning():
    loose, loose_error, move = bias(0.05)
    assert move.seen().mean() == pytest.approx(0.05, rel=0.25)
    strict, strict_error, move = bias(5e-4)
    assert move.seen().mean() == pytest.approx(5e-4, rel=0.25)
    # the bias is of second order in the step, whose sixth power the variance is: 100 ** (1 / 3) = 4.64 times smaller,
    # up to higher orders of the loose one
    worst = int(np.argmax(np.abs(loose)))
    assert abs(loose[worst]) > 20.0 * loose_error[worst]
    assert abs(strict[worst] / loose[worst] - 1 / 4.64) < 0.07 + 4.5 * strict_error[worst] / abs(loose[worst])
    assert np.all(np.abs(strict) < np.abs(loose[worst]) / 4.0 + 4.5 * strict_error)


def test_energy_errors_are_tuned_whatever_the_first_step():
    for first in (1e-3, 10.0):
        tuning = EnergyErrorTuning(first, 5e-4)
        for _ in range(400):
            tuning.update(np.full(4, 0.3 * tuning.step_size**6))
        assert tuning.averaged_step_size == pytest.approx((5e-4 / 0.3) ** (1 / 6), rel=0.02)


def test_walkers_turn_back_where_the_density_ends():
    def density(w):
        inside = (np.abs(w) < 1.0).all(axis=1)
        return np.where(inside, 0.0, -np.inf), np.zeros_like(w)

    move = MicrocanonicalLangevin(density, np.ones(3), 0.5, 20)
    sampler = emcee.EnsembleSampler(16, 3, lambda w: density(w)[0], moves=move, vectorize=True)
    sampler._random = np.random.RandomState(0)
    state = sampler.run_mcmc(np.zeros((16, 3)), 200, skip_initial_state_check=True)
    assert np.all(np.abs(state.coords) < 1.0)
    draws = sampler.get_chain(discard=50, flat=True)
    # uniform in the cube: variance 1/3
    assert np.all(np.abs(draws.var(axis=0) - 1.0 / 3.0) < 0.03)


def test_refused_steps_are_errors_that_make_smaller_ones():
    def density(w):
        inside = (np.abs(w) < 1.0).all(axis=1)
        return np.where(inside, 0.0, -np.inf), np.zeros_like(w)

    # Inside nothing is wrong with a step of any size: all that tunes it is how often it leads out.
    move = MicrocanonicalLangevin(density, np.ones(3), 5.0, 20, energy_variance=0.05)
    sampler = emcee.EnsembleSampler(64, 3, lambda w: density(w)[0], moves=move, vectorize=True)
    sampler._random = np.random.RandomState(0)
    tuning, state, seen = move.adaptation(), np.zeros((64, 3)), []
    for _ in range(300):
        state = sampler.run_mcmc(state, 1, skip_initial_state_check=True)
        tuning.update(move.seen())
        move.step_size = tuning.step_size
        seen.append(move.seen().mean())
    # 64 walkers of 20 steps in each of 100 draws, one in twenty of them refused, in a row of walks that forget slowly
    assert np.mean(seen[-100:]) == pytest.approx(0.05, rel=0.2)
    assert 0.01 < tuning.averaged_step_size < 1.0


def test_a_run_that_is_not_adjusted_says_so(teacher_laplace):
    small = {"num_chains": 4, "num_warmup": 30, "num_samples": 12}
    density = teacher_laplace.posterior.value_and_gradient
    move = MicrocanonicalLangevin(density, teacher_laplace.posterior_covariance, 0.2, 4)
    settings = settings_of(sample(teacher_laplace, **small, move=move))
    assert "draws are not adjusted" in settings["bias"]
    assert "wanted 0.0005" in settings["bias"]
    assert "bias" not in settings_of(sample(teacher_laplace, **small, move="microcanonical"))


def test_bad_input():
    density = TARGET.value_and_gradient
    for move in (Microcanonical, MicrocanonicalLangevin):
        with refuses("inverse_mass_matrix", "size 1", "at least 2"):
            move(density, np.ones(1))
    with refuses("decoherence", "0", "above 0"):
        MicrocanonicalLangevin(density, np.ones(10), decoherence=0.0)
    with refuses("energy_variance", "-1", "above 0"):
        MicrocanonicalLangevin(density, np.ones(10), energy_variance=-1.0)
