import emcee
import numpy as np
import pytest
from emcee.model import Model
from emcee.state import State

from bayesnn import MLP, Gaussian, NormalPrior, Posterior
from bayesnn.models import WithConstants, log_symmetry_order, random_images
from bayesnn.sampling.moves import HMC, Mixture, SymmetryJump
from tests.refusals import refuses
from tests.statistical import BOUND

NETS = {
    "tanh": MLP(2, (3,), 1),
    "no bias": MLP(2, (3,), 2, bias=False),
    "two layers": MLP(2, (3, 2), 1),
    "not odd": MLP(2, (3,), 1, activation="softplus"),
    "inferred noise": WithConstants(MLP(1, (2,), 1), ["log_sigma_noise"]),
    "linear": MLP(2, (), 1),
}


@pytest.mark.parametrize("name", NETS)
def test_an_image_is_the_same_function(name):
    net, rng = NETS[name], np.random.default_rng(0)
    weights = rng.standard_normal((50, net.n_weights))
    images = random_images(net, weights, np.random.RandomState(0))
    x = rng.standard_normal((7, 1 if name == "inferred noise" else 2))
    assert np.allclose(net.predict(images, x), net.predict(weights, x), rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", NETS)
def test_all_images_are_drawn_equally_often(name):
    net, n = NETS[name], 20_000
    weights = np.random.default_rng(0).standard_normal(net.n_weights)
    images = random_images(net, np.tile(weights, (n, 1)), np.random.RandomState(1))
    _, counts = np.unique(images, axis=0, return_counts=True)
    order = round(np.exp(log_symmetry_order(net)))
    assert len(counts) == order
    # Pearson's statistic of a uniform draw has mean order - 1 and variance 2 (order - 1)
    chi2 = ((counts - n / order) ** 2 / (n / order)).sum()
    assert chi2 <= order - 1 + BOUND * np.sqrt(2.0 * max(order - 1, 1))


def posterior_of(precision):
    net, rng = MLP(1, (2,), 1, bias=False), np.random.default_rng(0)
    x = rng.standard_normal((6, 1))
    return Posterior(net, x, 0.7 * np.tanh(x), Gaussian(0.7), NormalPrior(precision))


def propose(posterior, n=400):
    coords = np.random.default_rng(1).standard_normal((n, posterior.n_weights))
    state = State(coords, log_prob=posterior.log_density(coords), copy=True)
    model = Model(None, lambda w: (posterior.log_density(w), None), map, np.random.RandomState(0))
    move = SymmetryJump(posterior.model)
    after, accepted = move.propose(model, state)
    return coords, after, accepted, move.stats


def test_every_jump_is_accepted_under_a_prior_that_is_the_same_for_all_units():
    coords, after, accepted, stats = propose(posterior_of(1.0))
    assert stats.acceptance_rate == pytest.approx(1.0, abs=1e-12)
    assert accepted.all()
    moved = np.any(after.coords != coords, axis=1)
    # one image of eight is the point itself
    assert abs(moved.mean() - 7 / 8) < BOUND * np.sqrt(7 / 64 / 400)


def test_jumps_are_weighed_under_a_prior_that_is_not():
    _, _, accepted, stats = propose(posterior_of([0.2, 5.0, 1.0, 1.0]))
    assert 0.2 < stats.acceptance_rate.mean() < 0.95
    assert not accepted.all()


@pytest.mark.parametrize("precision", [1.0, [0.2, 5.0, 1.0, 1.0]])
def test_with_jumps_the_weights_have_their_exact_marginals(precision):
    # By importance sampling from the prior, which covers all images: four weights, six rows, wide noise.
    posterior = posterior_of(precision)
    sd = posterior.prior_precision**-0.5
    prior = np.random.default_rng(2).standard_normal((200_000, 4)) * sd
    log_weight = posterior.log_likelihood(prior).sum(axis=1)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    move = Mixture([HMC(posterior.fused(), sd**2, 0.5, 6), SymmetryJump(posterior.model)])
    sampler = emcee.EnsembleSampler(64, 4, posterior.log_density, moves=move, vectorize=True)
    sampler._random = np.random.RandomState(3)
    sampler.run_mcmc(np.full((64, 4), 0.5), 1500, skip_initial_state_check=True)
    draws = sampler.get_chain(discard=300)
    statistics = {f"w{i}": lambda w, i=i: w[..., i] for i in range(4)}
    statistics |= {f"w{i} squared": lambda w, i=i: w[..., i] ** 2 for i in range(4)}
    statistics |= {"w0 w2": lambda w: w[..., 0] * w[..., 2], "w0 w3": lambda w: w[..., 0] * w[..., 3]}
    for name, statistic in statistics.items():
        values, reference = statistic(draws).mean(axis=0), statistic(prior)
        expected = weight @ reference
        # walkers are replicates of each other; the weighted mean's own error is that of its ratio
        error = np.hypot(values.std() / np.sqrt(64), np.sqrt((weight**2) @ (reference - expected) ** 2))
        assert abs(values.mean() - expected) < BOUND * error, name


def test_what_is_no_network_is_refused():
    with refuses("network", "3", "a Model, such as MLP"):
        SymmetryJump(3)
    with refuses("network", "4 weights", "3"):
        state = State(np.zeros((2, 3)), log_prob=np.zeros(2))
        SymmetryJump(MLP(1, (2,), 1, bias=False)).propose(Model(None, None, map, np.random.RandomState(0)), state)
