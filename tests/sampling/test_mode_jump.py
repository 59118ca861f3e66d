"""Jumps between the modes of networks."""

import itertools

import numpy as np
import pytest

from bayesnn import MLP, Gaussian, NormalPrior, Posterior, find_optimum, fit_laplace, moves, sample
from bayesnn.sampling.unit_images import UnitImages
from tests.refusals import refuses
from tests.two_weights import exact_moments, off_by, two_weights

SHORT = {"num_warmup": 40, "num_samples": 12, "seed": 1, "progress": False}
PLACES = np.arange(9).reshape(3, 3)


@pytest.fixture(scope="module")
def several():
    """The Gaussians at the optima of a small network."""
    x = np.linspace(-1, 1, 30)[:, None]
    posterior = Posterior(MLP(1, (3,), 1), x, np.sin(5 * x), Gaussian(0.3), NormalPrior(1.0))
    best = find_optimum(posterior, n_starts=12, seed=0, progress=False)
    return [fit_laplace(posterior, optimum) for optimum in (best, *best.others) if optimum.certificate.is_optimum]


def all_images(kept, is_odd):
    """Every image, one by one."""
    signs = list(itertools.product((1.0, -1.0), repeat=3)) if is_odd else [(1.0,) * 3]
    return [
        (kept.reshape(3, 3)[:, list(order)] * np.array(flips)).ravel()
        for order in itertools.permutations(range(3))
        for flips in signs
    ]


@pytest.mark.parametrize("is_odd", [True, False])
def test_the_nearest_image_is_the_nearest_of_all(is_odd):
    rng, images = np.random.default_rng(0), UnitImages(PLACES, is_odd)
    for _ in range(50):
        kept, reference = rng.standard_normal((2, 9))
        best = min(all_images(kept, is_odd), key=lambda image: ((image - reference) ** 2).sum())
        assert np.allclose(images.nearest(kept, reference), best)


@pytest.mark.parametrize("is_odd", [True, False])
def test_random_images_are_all_and_equally_likely(is_odd):
    kept, random = np.random.default_rng(1).standard_normal(9), np.random.RandomState(0)
    images, n = all_images(kept, is_odd), 4800
    drawn = np.array([UnitImages(PLACES, is_odd).random(kept, random) for _ in range(n)])
    counts = np.array([np.isclose(drawn, image).all(axis=1).sum() for image in images])
    assert counts.sum() == n
    expected = n / len(images)
    # chi square of so many cells less one
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi2 - (len(images) - 1)) < 4.5 * np.sqrt(2.0 * (len(images) - 1))


@pytest.mark.parametrize("num_tries", [1, 5])
def test_it_draws_from_a_posterior_of_two_weights(num_tries):
    posterior = two_weights()
    laplace = fit_laplace(posterior, find_optimum(posterior, n_starts=2, seed=0, progress=False))
    move = moves.ModeJump(posterior.marginal(), [laplace], num_tries)
    tree = sample(laplace, move=move, num_chains=8, num_warmup=20, num_samples=1200, seed=0, progress=False)
    w = tree["posterior"]["W1"].values.reshape(8, 1200)
    mean, square = exact_moments(posterior)
    assert off_by(np.abs(w), mean) < 4.5
    assert off_by(w**2, square) < 4.5
    assert off_by((w > 0).astype(float), 0.5) < 4.5


def test_chains_jump_between_several_modes(several):
    tree = sample(several, num_warmup=60, num_samples=100, seed=0, progress=False)
    assert tree["tempering"].attrs["is_jumping"] == 1
    assert tree["tempering"].attrs["num_modes"] >= len(several)
    assert np.all(tree["tempering"]["num_jumps"].values > 0)


def test_an_optimum_is_taken_once_whatever_its_image(several):
    posterior = several[0].posterior
    move = moves.ModeJump(posterior.marginal(), several)
    n = len(move.centres)
    images = UnitImages(move.marginal.unit_places, True)
    turned = several[0].mean.copy()
    order = np.array([2, 0, 1])
    for block in (slice(0, 3), slice(3, 6), slice(6, 9)):
        turned[block] = -turned[block][order]
    assert np.isclose(posterior.log_density(turned), posterior.log_density(several[0].mean))
    move.add([fit_laplace(posterior, turned), *several])
    assert len(move.centres) == n
    assert np.isclose(np.exp(move.log_weights).sum(), 1.0)
    assert np.allclose(images.nearest(turned[:6], several[0].mean[:6]), several[0].mean[:6])


def test_no_more_is_tried_than_makes_about_one_jump_a_step(several):
    move = moves.ModeJump(several[0].posterior.marginal(), several)
    assert move.num_tries == 200
    move.choose_tries(50.0)  # of 200
    assert move.num_tries == 4
    move.choose_tries(2.0)  # of 4
    assert move.num_tries == 2
    move.choose_tries(0.0)
    assert move.num_tries == 200
    move.choose_tries(1e6)
    assert move.num_tries == 1
    tree = sample(several, **SHORT)
    assert 0.1 < tree["tempering"]["num_jumps"].values.mean() / SHORT["num_samples"] < 10.0


def test_jumps_that_are_never_accepted_are_given_up(several, monkeypatch):
    monkeypatch.setattr(moves.ModeJump, "log_mixture", lambda self, kept, heights, anchors: -np.inf)
    tree = sample(several, **SHORT)
    assert tree["tempering"].attrs["is_jumping"] == 0
    assert not tree["tempering"]["num_jumps"].values.any()


def test_what_it_cannot_take_is_refused(several):
    posterior = several[0].posterior
    with refuses("marginal", "", "posterior.marginal()"):
        moves.ModeJump(posterior, several)
    with refuses("laplaces", "", "at least one Laplace"):
        moves.ModeJump(posterior.marginal(), [])
    with refuses("num_tries", "0", "at least 1"):
        moves.ModeJump(posterior.marginal(), several, 0)
    other = two_weights()
    small = fit_laplace(other, find_optimum(other, n_starts=2, seed=0, progress=False))
    with refuses("laplaces", "one of 2 weights", "of the marginal's network"):
        moves.ModeJump(posterior.marginal(), [small])
    x = posterior.x
    deep = Posterior(MLP(1, (2, 2), 1), x, posterior.y, Gaussian(0.3), NormalPrior(1.0))
    apart = Posterior(posterior.network, x, posterior.y, Gaussian(0.3), NormalPrior(np.linspace(1.0, 2.0, 10)))
    off = Posterior(posterior.network, x, posterior.y, Gaussian(0.3), NormalPrior(1.0, prior_mean=0.5))
    for unlike in (deep, apart, off):
        assert not unlike.marginal().units_are_alike
        with refuses("marginal", "several hidden layers, or units whose priors differ", "no permutation or sign"):
            moves.ModeJump(unlike.marginal(), several)
    relu = Posterior(MLP(1, (3,), 1, activation="relu"), x, posterior.y, Gaussian(0.3), NormalPrior(1.0, 0.5))
    assert relu.marginal().units_are_alike


def test_of_two_hidden_layers_replicas_are_exchanged_without_jumps():
    x = np.linspace(-1, 1, 30)[:, None]
    posterior = Posterior(MLP(1, (2, 2), 1), x, np.sin(5 * x), Gaussian(0.3), NormalPrior(1.0))
    laplace = fit_laplace(posterior, find_optimum(posterior, n_starts=4, seed=0, progress=False))
    tree = sample(laplace, move="replica_exchange", **SHORT)
    assert tree["tempering"].attrs["num_modes"] == 0


@pytest.mark.parametrize("is_odd", [True, False])
def test_of_all_images_one_counts_even_where_a_unit_is_nothing_or_another_again(is_odd):
    activation = "tanh" if is_odd else "softplus"
    x = np.linspace(-1, 1, 30)[:, None]
    posterior = Posterior(MLP(1, (3,), 1, activation=activation), x, np.sin(5 * x), Gaussian(0.3), NormalPrior(1.0))
    optimum = find_optimum(posterior, n_starts=4, seed=0, progress=False)
    move = moves.ModeJump(posterior.marginal(), [fit_laplace(posterior, optimum)])
    rng = np.random.default_rng(0)
    for first, second, third in (([0.0, 0.0], [1.0, 2.0], [0.5, -1.0]), ([1.0, 2.0], [1.0, 2.0], [0.5, -1.0])):
        move.centres = np.stack([first, second, third], axis=1).reshape(1, 6)
        for _ in range(20):
            kept = rng.standard_normal(6)
            signs = list(itertools.product((1.0, -1.0), repeat=3)) if is_odd else [(1.0,) * 3]
            images = [
                (kept.reshape(2, 3)[:, list(order)] * np.array(flips)).ravel()
                for order in itertools.permutations(range(3))
                for flips in signs
            ]
            (anchor,) = move.anchors
            assert sum(np.array_equal(move.images.nearest(image, anchor), image) for image in images) == 1
            heights = [move.log_mixture(image, np.zeros(1), move.anchors) for image in images]
            assert np.allclose(heights, heights[0])
