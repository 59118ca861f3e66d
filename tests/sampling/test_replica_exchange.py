"""Replica exchange on posteriors of networks."""

import numpy as np
import pytest

from bayesnn import (
    MLP,
    Bernoulli,
    Gaussian,
    LogDensity,
    NormalPrior,
    Posterior,
    find_optimum,
    fit_laplace,
    moves,
    sample,
)
from bayesnn.sampling import moves as moves_module
from bayesnn.sampling.moves import replica_exchange as module
from bayesnn.sampling.moves.replica_exchange import ReplicaExchange
from bayesnn.tree import settings_of
from tests.refusals import refuses
from tests.two_weights import exact_moments, off_by, two_weights

SHORT = {"num_warmup": 40, "num_samples": 12, "seed": 1, "progress": False}


@pytest.fixture(scope="module")
def pair():
    """The Gaussians at the two best optima of a small network."""
    x = np.linspace(-1, 1, 30)[:, None]
    posterior = Posterior(MLP(1, (2,), 1), x, np.sin(5 * x), Gaussian(0.3), NormalPrior(1.0))
    best = find_optimum(posterior, n_starts=8, seed=0)
    return [fit_laplace(posterior, optimum) for optimum in (best, best.others[0])]


@pytest.fixture(scope="module")
def tree(pair):
    return sample(pair, **SHORT)


def draws_of_two_weights(num_samples=1500):
    posterior = two_weights()
    laplace = fit_laplace(posterior, find_optimum(posterior, n_starts=2, seed=0, progress=False))
    move = ReplicaExchange(posterior, [0.01], np.geomspace(1.0, 0.01, 5), num_integration_steps=4, num_unit_steps=1)
    tree = sample(laplace, move=move, num_warmup=200, num_samples=num_samples, seed=0, progress=False, num_chains=8)
    return posterior, tree["posterior"]["W1"].values.reshape(8, num_samples)


def test_modes_have_the_mass_that_quadrature_gives_them():
    posterior, w = draws_of_two_weights()
    mean, square = exact_moments(posterior)
    assert off_by(np.abs(w), mean) < 4.5
    assert off_by(w**2, square) < 4.5
    signs = (w > 0).astype(float)
    assert off_by(signs, 0.5) < 4.5
    assert np.all(np.diff(signs, axis=1).any(axis=1))  # every chain crosses


def test_without_exchange_nothing_crosses():
    posterior = two_weights()
    laplace = fit_laplace(posterior, find_optimum(posterior, n_starts=2, seed=0, progress=False))
    tree = sample(laplace, num_warmup=100, num_samples=500, seed=0, progress=False)
    w = tree["posterior"]["W1"].values
    assert np.all(np.sign(w) == np.sign(w.ravel()[0]))


def test_exchanges_that_forget_one_of_the_densities_fail(monkeypatch):
    def forgetful(log_ratio, random):
        return module_metropolis(0.5 * log_ratio, random)

    module_metropolis = module.metropolis
    monkeypatch.setattr(module, "metropolis", forgetful)
    posterior, w = draws_of_two_weights()
    mean, square = exact_moments(posterior)
    assert off_by(np.abs(w), mean) > 4.5 or off_by(w**2, square) > 4.5


def advanced(move, posterior, n_steps, n_walkers=3, seed=0):
    """The move after so many steps of emcee's."""
    from emcee.model import Model
    from emcee.state import State

    random = np.random.RandomState(seed)
    start = 0.5 * random.standard_normal((n_walkers, posterior.n_weights))
    model = Model(posterior.log_density, lambda w: (posterior.log_density(w), None), map, random)
    state = State(start, log_prob=posterior.log_density(start), copy=True)
    for _ in range(n_steps):
        state, _ = move.propose(model, state)
    return state


@pytest.mark.parametrize("units", [0, 5])
def test_densities_and_travels_are_kept_through_exchanges(units):
    posterior, ladder = two_weights(), [1.0, 0.3, 0.05]
    move = ReplicaExchange(posterior, [0.5], ladder, step_size=1.0, num_integration_steps=3, num_unit_steps=units)
    state = advanced(move, posterior, 400)
    for level, beta in enumerate(move.inverse_temperatures):
        known = posterior.marginal(float(beta)).log_density(move.replicas[level])
        assert np.allclose(move.log_densities[level], known, rtol=1e-9)
    assert np.array_equal(state.coords[:, move.marginal.kept], move.replicas[0])
    assert np.allclose(state.log_prob, posterior.log_density(state.coords))
    # each walker's replicas are all there, once
    assert np.array_equal(np.sort(move.travels.identities, axis=0), np.repeat(np.arange(3)[:, None], 3, axis=1))
    assert np.all(move.travels.round_trips > 0)
    share = move.travels.share_from_hot
    assert share[0] == 0.0
    assert 0.0 < share[1] < share[2] == 1.0
    assert np.all((move.travels.rejection > 0) & (move.travels.rejection < 1))
    assert move.travels.tried.tolist() == [200, 200]


def test_walkers_moved_by_something_else_are_followed():
    posterior = two_weights()
    move = ReplicaExchange(posterior, [0.5], [1.0, 0.3], num_integration_steps=3)
    advanced(move, posterior, 3)
    before = move.replicas[1].copy()
    move._replicas_at(np.full((3, 2), 0.7))
    assert np.array_equal(move.replicas[0], np.full((3, 1), 0.7))
    assert np.array_equal(move.replicas[1], before)
    assert np.allclose(move.log_densities[0], posterior.marginal().log_density(np.full((3, 1), 0.7)))


def test_of_several_optima_it_is_what_auto_means(pair, tree):
    settings = settings_of(tree)
    assert settings["move"] == "ReplicaExchange"
    assert settings["num_chains"] == 8
    assert "mode" not in tree["posterior"].coords
    assert "modes" not in tree.children
    assert settings_of(sample(pair[0], **SHORT))["move"] == "MarginalHMC"
    assert tree["tempering"]["round_trips"].shape == (8,)
    assert tree["tempering"]["inverse_temperature"].values[0] == 1.0


def test_the_same_seed_gives_the_same_tree(pair, tree):
    assert sample(pair, **SHORT).identical(tree)
    assert not sample(pair, **{**SHORT, "seed": 2}).identical(tree)


def test_a_move_of_ones_own_stays_as_it_was(pair):
    move = ReplicaExchange(pair[0].posterior, 0.01 * np.eye(4), [1.0, 0.5])
    step, ladder = move.trajectories[0].step_size, move.inverse_temperatures.copy()
    sample(pair, move=move, **SHORT)
    assert move.replicas is None
    assert move.trajectories[0].step_size == step
    assert np.array_equal(move.inverse_temperatures, ladder)
    assert not move.visited


def test_warm_up_learns_levels_metrics_and_steps(pair):
    move = ReplicaExchange(pair[0].posterior, np.eye(4), np.array([1.0, 0.9, 0.001]), num_integration_steps=8)
    tree = sample(pair, move=move, num_warmup=400, num_samples=400, seed=0, progress=False)
    rejection = tree["tempering"]["rejection"].values
    # what is learnt from 120 exchanges of 8 walkers; the first ladder refuses next to never and next to always
    assert abs(rejection[0] - rejection[1]) < 0.2
    step_size = tree["tempering"]["step_size"].values
    assert len(np.unique(step_size)) == 3
    acceptance = tree["sample_stats"]["acceptance_rate"].values.mean()
    assert 0.6 < acceptance < 0.97


@pytest.mark.parametrize("start", ["laplace", "prior"])
def test_replicas_share_the_modes_among_them(pair, start, monkeypatch):
    begun = []
    begin = ReplicaExchange.begin
    monkeypatch.setattr(ReplicaExchange, "begin", lambda self, points: (begun.append(points), begin(self, points))[1])
    sample(pair, start=start, **SHORT)
    points = begun[0]
    assert points.shape == (10, 8, 7)
    assert len(np.unique(points.reshape(80, 7), axis=0)) == 80


def test_given_starts_are_those_of_all_replicas(pair, monkeypatch):
    points, begun = pair[0].sample(8, seed=3), []
    begin = ReplicaExchange.begin
    monkeypatch.setattr(ReplicaExchange, "begin", lambda self, starts: (begun.append(starts), begin(self, starts))[1])
    tree = sample(pair, start=points, **SHORT)
    assert tree["posterior"].sizes["chain"] == 8
    np.testing.assert_array_equal(begun[0], np.broadcast_to(points, (10, *points.shape)))


def test_where_no_layer_can_be_integrated_out_all_weights_are_replicated():
    x = np.linspace(-2, 2, 40)[:, None]
    posterior = Posterior(MLP(1, (2,), 1), x, (np.sin(2 * x) > 0).astype(float), Bernoulli(), NormalPrior(1.0))
    laplace = fit_laplace(posterior, find_optimum(posterior, n_starts=2, seed=0, progress=False))
    tree = sample(laplace, move="replica_exchange", **SHORT)
    assert settings_of(tree)["move"] == "ReplicaExchange"
    assert np.isfinite(tree["sample_stats"]["lp"].values).all()
    assert np.allclose(
        tree["sample_stats"]["lp"].values[0, -1],
        posterior.log_density(
            np.concatenate([tree["posterior"][b.name].values[0, -1].ravel() for b in posterior.model.weight_blocks])
        ),
    )


def test_inferred_noise_is_replicated_too():
    posterior = two_weights("infer")
    laplace = fit_laplace(posterior, find_optimum(posterior, n_starts=2, seed=0, progress=False))
    tree = sample(laplace, move="replica_exchange", num_warmup=100, num_samples=60, seed=0, progress=False)
    noise = np.exp(tree["posterior"]["log_sigma_noise"].values)
    assert 0.05 < noise.mean() < 0.3
    assert tree["tempering"]["round_trips"].values.sum() > 0


def test_what_it_cannot_take_is_refused(pair):
    posterior = pair[0].posterior
    with refuses("inverse_temperatures", "", "fall from 1"):
        ReplicaExchange(posterior, np.eye(4), [1.0])
    with refuses("inverse_mass_matrix", "size 7", "size 4, of the hidden weights"):
        ReplicaExchange(posterior, np.eye(7))
    with refuses("path", "", "a Posterior, or densities at inverse temperatures"):
        ReplicaExchange("posterior", np.eye(4))
    with refuses("num_unit_steps", "-1", "at least 0"):
        ReplicaExchange(posterior, np.eye(4), num_unit_steps=-1)
    for step_size in (-1.0, 0.0):
        with refuses("step_size", str(step_size), "above 0"):
            ReplicaExchange(posterior, np.eye(4), step_size=step_size)
    function = LogDensity(lambda w: -0.5 * (w**2).sum(-1), ("a", "b"), gradient=lambda w: -w)
    with refuses("posterior", "a LogDensity", "likelihood and prior apart"):
        sample(function, move="replica_exchange", **SHORT)
    other = two_weights()
    with refuses("move", "", "the posterior that is sampled"):
        sample(pair, move=ReplicaExchange(other, [0.5]), **SHORT)


def test_units_are_moved_by_a_move_of_their_own(pair):
    marginal = pair[0].posterior.marginal()
    both = moves.Mixture([moves_module.UnitMetropolis(marginal, 20), moves.MarginalHMC(marginal, 0.01 * np.eye(4))])
    tree = sample(pair[0], move=both, num_chains=4, **SHORT)
    assert np.isfinite(tree["sample_stats"]["lp"].values).all()
    with refuses("marginal", "", "posterior.marginal()"):
        moves.UnitMetropolis(pair[0].posterior)
    with refuses("num_steps", "0", "at least 1"):
        moves.UnitMetropolis(marginal, 0)
