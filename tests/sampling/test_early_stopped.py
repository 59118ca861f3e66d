import numpy as np
import pytest

from bayesnn import MLP, Gaussian, LogDensity, NormalPrior, Posterior, find_optimum
from bayesnn.sampling import early_stopped
from bayesnn.sampling.early_stopped import _parts
from bayesnn.seeds import generator
from tests.refusals import refuses


def noisy(n=60, width=16):
    """Few rows, much noise and many units under a wide prior: what is trained to the end overfits."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (n, 1))
    y = np.sin(3 * x) + 0.5 * rng.standard_normal((n, 1))
    return Posterior(MLP(1, (width,), 1), x, y, Gaussian(0.5), NormalPrior(1e-3))


def adam_by_hand(posterior, weights, rate, steps):
    """Weights after each of so many steps of Adam up the mean log density, one weight at a time."""
    trail, m, v = [], [0.0] * len(weights), [0.0] * len(weights)
    w = list(weights)
    for t in range(1, steps + 1):
        gradient = posterior.value_and_gradient(np.array(w))[1] / posterior.n_rows
        for i, g in enumerate(gradient):
            m[i] = 0.9 * m[i] + 0.1 * g
            v[i] = 0.999 * v[i] + 0.001 * g * g
            w[i] += rate * (m[i] / (1 - 0.9**t)) / ((v[i] / (1 - 0.999**t)) ** 0.5 + 1e-8)
        trail.append(np.array(w))
    return trail


def test_each_network_is_kept_where_the_rows_held_out_liked_it_best():
    posterior, patience = noisy(), 3
    training, held_out = _parts(posterior, 0.2, 3)
    assert (training.n_rows, held_out.n_rows) == (48, 12)
    found = early_stopped(posterior, 3, seed=3, validation_fraction=0.2, learning_rate=0.02, patience=patience)
    stopped, seen_of = [], []
    for i, weights in enumerate(found):
        trail = adam_by_hand(training, posterior.model.initial_weights(generator(3, "early", i)), 0.02, 400)
        seen = np.array([held_out.log_likelihood(w).sum() for w in trail])
        # the first step after which `patience` others were no better
        best = next(t for t in range(len(seen)) if seen[: t + 1].argmax() == seen[: t + 1 + patience].argmax() == t)
        stopped.append(best)
        seen_of.append(seen)
        np.testing.assert_allclose(weights, trail[best], rtol=1e-6, atol=1e-9)
    # They stop at different steps, none at the end: what stops one leaves the others alone.
    assert len(set(stopped)) == 3
    assert 0 < min(stopped) <= max(stopped) < 380
    # One would have been better later, while others still went on: it stays stopped.
    last = max(stopped) + patience
    assert any(seen[:last].max() > seen[best] for seen, best in zip(seen_of, stopped, strict=True))


def test_what_is_stopped_early_has_not_climbed_far():
    posterior = noisy()
    found = early_stopped(posterior, 4, seed=0, learning_rate=0.01)
    best = find_optimum(posterior, n_starts=1, seed=0, progress=False)
    assert posterior.log_density(found).max() < best.log_density


def test_parts_are_all_rows_once_and_follow_the_seed():
    posterior = noisy()
    training, held_out = _parts(posterior, 0.15, 0)
    rows = np.concatenate([training.x, held_out.x])[:, 0]
    assert held_out.n_rows == 9
    assert np.array_equal(np.sort(rows), np.sort(posterior.x[:, 0]))
    assert not np.array_equal(_parts(posterior, 0.15, 1)[1].x, held_out.x)
    by_x = dict(zip(posterior.x[:, 0], posterior.y[:, 0], strict=True))
    assert all(by_x[a] == b for part in (training, held_out) for a, b in zip(part.x[:, 0], part.y[:, 0], strict=True))


def test_the_seed_decides_and_more_chains_begin_with_the_same_ones():
    posterior = noisy(30, 4)
    three, again, other = (early_stopped(posterior, 3, seed=s, max_steps=50) for s in (0, 0, 1))
    assert np.array_equal(three, again)
    assert not np.array_equal(three, other)
    assert np.array_equal(early_stopped(posterior, 5, seed=0, max_steps=50)[:3], three)


def test_arguments_are_refused():
    posterior = noisy(30, 4)
    with refuses("validation_fraction", "1.0", "between 0 and 1"):
        early_stopped(posterior, 2, validation_fraction=1.0)
    with refuses("validation_fraction", "0.001", "leaves rows on both sides of 30"):
        early_stopped(posterior, 2, validation_fraction=0.001)
    with refuses("num_chains", "0", "an integer of at least 1"):
        early_stopped(posterior, 0)
    with refuses("patience", "0", "an integer of at least 1"):
        early_stopped(posterior, 2, patience=0)
    with refuses("max_steps", "0", "an integer of at least 1"):
        early_stopped(posterior, 2, max_steps=0)
    with refuses("learning_rate", "-1", "a finite number above 0"):
        early_stopped(posterior, 2, learning_rate=-1)
    by_row = Posterior(MLP(1, (2,), 1), posterior.x, posterior.y, Gaussian(np.full(30, 0.5)), NormalPrior(1.0))
    with refuses("sigma_noise", "shape (30,)", "a number or shape"):
        early_stopped(by_row, 2)


@pytest.mark.parametrize("target", [LogDensity(lambda w: -0.5 * (w**2).sum(-1), ["a", "b"], vectorized=True), "x"])
def test_only_sums_over_rows_can_hold_rows_out(target):
    with refuses("posterior", "", "a sum over rows"):
        early_stopped(target, 2)


def test_rows_that_no_network_can_reach_are_said():
    x = np.linspace(-1, 1, 20)[:, None]
    posterior = Posterior(MLP(1, (2,), 1), x, 1e200 * x, Gaussian(0.1), NormalPrior(1.0))
    with refuses("learning_rate", "2 of 2 networks have no finite log density", "standardised data"):
        early_stopped(posterior, 2, max_steps=5)


def test_rows_outside_memory_are_not_read_in(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((20, 1)))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    with refuses("posterior", "outside memory", "in memory"):
        early_stopped(Posterior(MLP(1, (2,), 1), x, np.ones(20), Gaussian(0.5), NormalPrior(1.0)), 2)
