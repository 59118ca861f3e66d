import numpy as np

from bayesnn import MLP, Gaussian, HeteroscedasticGaussian, LogDensity, NormalPrior, Posterior
from bayesnn.sampling import journey
from bayesnn.sampling.journey import Journey, _Chains
from bayesnn.sampling.moves.dynamics import Isokinetic
from tests.refusals import refuses


def linear(k=20):
    """A network of one layer: its posterior is a Gaussian, exactly."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, k - 1))
    posterior = Posterior(MLP(k - 1, (), 1), x, x @ rng.standard_normal(k - 1), Gaussian(1.0), NormalPrior(1.0))
    linearized = posterior.linearize(np.zeros(k))
    mean = np.linalg.solve(linearized.ggn, linearized.gradient)
    return posterior, mean, linearized.ggn


def test_ends_are_draws_where_steps_end_small():
    posterior, mean, precision = linear()
    starts = mean + 30.0 * np.random.default_rng(1).standard_normal((64, 20))
    found = journey(posterior, starts, num_steps=4000, energy_variance=(0.5, 1e-6), seed=0)
    square = np.einsum("ci,ij,cj->c", found.ends - mean, precision, found.ends - mean)
    # 64 draws of a chi-square of 20 degrees of freedom: the mean errs by sqrt(40 / 64), 4.5 times of which count;
    # steps of so small an error are biased by far less.
    assert abs(square.mean() - 20.0) < 4.5 * np.sqrt(40.0 / 64)
    assert np.allclose(found.log_density[-1], posterior.log_density(found.ends))
    assert np.allclose(found.distance, np.linalg.norm(found.ends - starts, axis=1))


def test_large_errors_mean_large_steps_and_chains_that_stay_higher_up():
    posterior, _, _ = linear()
    starts = np.zeros((16, 20))
    coarse, fine = (journey(posterior, starts, num_steps=2000, energy_variance=(v, v)) for v in (0.5, 5e-4))
    # The variance of an error grows as the sixth power of the step: a thousand times is a factor of 3.2.
    assert 2.0 < np.median(coarse.step_size) / np.median(fine.step_size) < 5.0
    assert coarse.log_density[-100:].mean() < fine.log_density[-100:].mean()


def test_the_target_falls_along_the_way():
    posterior, _, _ = linear()
    constant, falling = (
        journey(posterior, np.zeros((16, 20)), num_steps=4000, energy_variance=(0.5, last)) for last in (0.5, 0.05)
    )
    # The sixth root of a tenth at last, and half of that way at the least.
    assert np.median(falling.step_size) < 0.1 ** (1 / 12) * np.median(constant.step_size)


def far_below():
    """Draws of a prior with small noise where they fit nothing."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 3))
    posterior = Posterior(MLP(3, (16, 16), 2), x, x[:, 0], HeteroscedasticGaussian(), NormalPrior(1.0))
    starts = rng.standard_normal((8, posterior.n_weights))
    assert np.median(posterior.log_density(starts)) < -1e4
    return posterior, starts


def test_first_steps_that_fail_make_smaller_ones():
    posterior, starts = far_below()
    found = journey(posterior, starts, num_steps=8000)
    assert found.log_density[-1].min() > posterior.log_density(np.zeros(posterior.n_weights)) - posterior.n_weights


def test_a_hopeless_start_leaves_the_other_chains_alone():
    posterior, _, _ = linear()
    starts = np.random.default_rng(0).standard_normal((4, 20))
    hopeless = starts.copy()
    hopeless[0] *= 1e8
    good, with_it = (journey(posterior, each, num_steps=400) for each in (starts, hopeless))
    assert np.array_equal(with_it.ends[1:], good.ends[1:])
    assert np.array_equal(with_it.step_size[1:], good.step_size[1:])


def test_steps_are_taken_whatever_their_error():
    posterior, starts = far_below()
    density = posterior.value_and_gradient
    chains = _Chains.of(density, starts, np.random.RandomState(0))
    before = chains.log_prob
    squares = chains.go(density, Isokinetic(), np.full(len(starts), 0.03), 1, np.random.RandomState(0))
    # A step that led out of the numbers counts 1e3**2, and is not taken.
    assert np.any(squares > 1e3**2)
    assert np.array_equal(chains.log_prob != before, squares != 1e3**2)


def test_directions_are_forgotten_along_the_way():
    size, n_chains, step = 400, 2000, 0.1

    def flat(weights):
        return np.zeros(len(weights)), np.zeros_like(weights)

    random = np.random.RandomState(0)
    chains = _Chains.of(flat, np.zeros((n_chains, size)), random)
    before = chains.direction
    chains.go(flat, Isokinetic(), np.full(n_chains, step), 1, random)
    assert np.allclose(np.linalg.norm(chains.weights, axis=1), step * np.sqrt(size))
    cosines = (before * chains.direction).sum(axis=1)
    # exp(-step), but for what lengths in `size` dimensions scatter
    error = 4.5 * cosines.std() / np.sqrt(n_chains) + 1.0 / size
    assert abs(cosines.mean() - np.exp(-step)) < error


def on_the_way(log_density, num_steps=800):
    """A journey of which only heights (legs, chains) matter."""
    n_chains = log_density.shape[1]
    return Journey(np.zeros((n_chains, 2)), np.ones(n_chains), log_density, np.ones(n_chains), num_steps)


def test_a_journey_too_short_says_what_it_would_take():
    # Gains of 40, 20 and 10 from quarter to quarter. Of two weights a gain of 0.3 is none, and 10 / 2**q is below
    # from q = 6 on, in quarters of 200 steps; three errors of these four chains are 0.19.
    heights = np.repeat([0.0, 40.0, 60.0, 70.0], 2)[:, None] + np.zeros(4)
    heights[6:] += np.array([0.0, 0.1, 0.2, 0.3])
    found = on_the_way(heights)
    assert np.allclose(found.gains.mean(axis=1), [40.0, 20.0, 10.15])
    assert not found.has_arrived
    assert found.words() == (
        "800 steps, a way of 1: too short, the log density still rose by 10.1 nats over the last quarter; "
        "where it goes on as it slowed down, some 2,000 steps"
    )
    assert "no slower than before: more than 1,600 steps" in on_the_way(heights[::-1] * -1.0).words()
    assert "at least 2 chains and 4 legs" in on_the_way(heights[:3]).words()
    assert "at least 2 chains and 4 legs" in on_the_way(heights[:, :1]).words()


def test_a_journey_arrives_where_it_is_long_enough():
    posterior, mean, _ = linear()
    starts = mean + 30.0 * np.random.default_rng(1).standard_normal((16, 20))
    long, short = (journey(posterior, starts, num_steps=n) for n in (8000, 200))
    assert long.num_steps == 8000
    assert long.has_arrived
    assert "rises no more" in long.words()
    assert not short.has_arrived
    assert "too short" in short.words()


def test_the_seed_decides():
    posterior, _, _ = linear()
    one, again, other = (journey(posterior, np.ones((3, 20)), num_steps=20, seed=s).ends for s in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_arguments_are_refused():
    posterior, _, _ = linear()
    good = np.zeros((2, 20))
    with refuses("num_steps", "0", "an integer of at least 1"):
        journey(posterior, good, num_steps=0)
    with refuses("steps_per_leg", "0", "an integer of at least 1"):
        journey(posterior, good, steps_per_leg=0)
    with refuses("starts", "shape (2, 3)", "shape (chains, 20)"):
        journey(posterior, np.zeros((2, 3)))
    with refuses("starts", "shape (0, 20)", "shape (chains, 20)"):
        journey(posterior, np.zeros((0, 20)))
    with refuses("starts", "not finite", "points where it is finite"):
        journey(posterior, np.full((2, 20), 1e200))
    with refuses("energy_variance", "(0.5, 0)", "above 0"):
        journey(posterior, good, energy_variance=(0.5, 0))
    with refuses("energy_variance", "(0.5,)", "two finite numbers"):
        journey(posterior, good, energy_variance=(0.5,))
    with refuses("posterior", "1 weight", "at least 2: directions turn"):
        journey(LogDensity(lambda w: -0.5 * w[0] ** 2, ["a"]), [[5.0], [6.0]])
