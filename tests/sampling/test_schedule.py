"""Runs do what was asked of them, keep no more than they look at, and do not let one part spoil the others."""

import emcee
import numpy as np
import pytest

import bayesnn.sampling.sampler as sampler_module
from bayesnn.chain_statistics import ess
from bayesnn.laplace import fit_laplace
from bayesnn.models import MLP
from bayesnn.optimum import find_optimum
from bayesnn.posterior import Gaussian, LogDensity, NormalPrior, Posterior
from bayesnn.sampling import log_evidence, moves, sample
from bayesnn.sampling.metric import metric_from_inverse_mass_matrix
from bayesnn.sampling.schedule import Schedule
from bayesnn.tree import settings_of, weight_matrix
from tests.refusals import refuses


@pytest.fixture(scope="module")
def several_optima():
    """All distinct optima that some searches find, more than two."""
    x = np.linspace(-1.0, 1.0, 30)[:, None]
    posterior = Posterior(MLP(1, (2,), 1), x, np.sin(5.0 * x), Gaussian(0.3), NormalPrior(1.0))
    best = find_optimum(posterior, n_starts=20, seed=0, progress=False)
    found = [fit_laplace(posterior, each) for each in (best, *best.others) if each.certificate.is_optimum]
    assert len(found) > 2
    return found


@pytest.fixture(scope="module")
def pair_of_optima(several_optima):
    return several_optima[:2]


def test_a_chain_that_can_never_move_does_not_take_the_others_along():
    def gradient(w):
        return np.where(w[..., :1] == 7.0, np.nan, -w)

    target = LogDensity(lambda w: -0.5 * (w**2).sum(-1), ("a", "b"), gradient=gradient, vectorized=True)
    start = np.array([[0.1, 0.2], [7.0, 0.0], [0.3, 0.1], [-0.2, 0.1]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LogDensity, "check_gradient", lambda *_: None)
        tree = sample(target, start=start, move="hmc", seed=0)
    settings = settings_of(tree)
    assert settings["status"].startswith("1 of 4 chains accepted no proposal")
    assert settings["num_integration_steps"] <= 512
    others = weight_matrix(tree["posterior"].to_dataset(), target.model.weight_blocks)[[0, 2, 3]]
    size = ess(others[..., 0])
    assert size > 300
    assert abs(others[..., 0].std() - 1.0) < 4.0 / np.sqrt(2.0 * size)


def test_the_step_size_of_proposals_that_are_always_accepted_is_one(linear_laplace):
    tree = sample(linear_laplace, move="pcn", num_samples=20, num_warmup=100, seed=0)
    assert settings_of(tree)["step_size"] <= 1.0


@pytest.mark.parametrize(("move", "metric"), [("hmc", "averaged"), ("own", "auto"), ("replica_exchange", "auto")])
def test_warm_up_keeps_no_more_than_it_looks_at(teacher_laplace, monkeypatch, move, metric):
    kept = []
    after = Schedule.after

    def seen(self, step, weights):
        result = after(self, step, weights)
        kept.append(len(self._visited) + sum(len(ladder.visited) for ladder in self._ladders))
        return result

    monkeypatch.setattr(Schedule, "after", seen)
    own = moves.RandomWalk(teacher_laplace.posterior_covariance)
    how = {"num_integration_steps": 2} if move == "hmc" else {}
    sample(
        teacher_laplace, move=own if move == "own" else move, metric=metric, num_warmup=50, num_samples=4, seed=0, **how
    )
    assert kept[29:] == [0] * 21  # the last window ends after 60 %
    assert (max(kept) > 0) == (move != "own")


def test_metrics_are_those_that_were_asked_for(pair_of_optima):
    for metric, words in (
        ("unit", "unit"),
        ("diagonal", "diagonal averaged"),
        ("averaged", "averaged over the chains"),
    ):
        tree = sample(
            pair_of_optima, move="replica_exchange", metric=metric, num_chains=2, num_warmup=20, num_samples=4, seed=0
        )
        assert settings_of(tree)["metric"] == words
    one = pair_of_optima[0]
    for metric, words in (("auto", "laplace"), ("averaged", "averaged over the chains")):
        tree = sample(one, move="independence", metric=metric, num_chains=4, num_warmup=20, num_samples=4, seed=0)
        assert settings_of(tree)["metric"] == words


def test_the_diagonal_of_a_precision_is_that_of_its_metric(rng):
    factor = rng.standard_normal((9, 5))
    precision = factor.T @ factor
    metric = metric_from_inverse_mass_matrix(np.linalg.inv(precision)).without_correlations("diagonal")
    np.testing.assert_allclose(metric.scale, 1.0 / np.sqrt(np.diag(precision)), rtol=1e-10)


def test_chains_that_cross_within_a_mixture_have_no_modes(pair_of_optima):
    posterior = pair_of_optima[0].posterior
    marginal = posterior.marginal()
    inverse = np.linalg.inv(marginal.precision_of(pair_of_optima[0].posterior_precision))
    jumps = moves.Mixture([moves.MarginalHMC(marginal, inverse), moves.ModeJump(marginal, pair_of_optima)])
    tree = sample(pair_of_optima, move=jumps, num_chains=4, num_warmup=20, num_samples=10, seed=0)
    assert "modes" not in tree.children
    assert "mode" not in tree["posterior"].coords
    ladder = moves.ReplicaExchange(posterior, inverse, [1.0, 0.5, 0.2], num_integration_steps=4)
    both = moves.Mixture([moves.MarginalHMC(marginal, inverse, num_integration_steps=4), ladder])
    tree = sample(pair_of_optima, move=both, num_chains=4, num_warmup=40, num_samples=10, seed=0)
    assert "modes" not in tree.children
    # it has learnt: its levels are no longer where they were
    assert tree["tempering"]["inverse_temperature"].values[1] != 0.5
    assert ladder.inverse_temperatures[1] == 0.5


def test_what_a_density_tells_beside_is_told_of_where_walkers_are(teacher_laplace):
    posterior, marginal = teacher_laplace.posterior, teacher_laplace.posterior.marginal()
    inverse = np.linalg.inv(marginal.precision_of(teacher_laplace.posterior_precision))
    covariance = teacher_laplace.posterior_covariance

    def log_density(w):
        return [(float(value), float(each[0])) for value, each in zip(posterior.log_density(w), w, strict=True)]

    for move in (
        moves.HMC(posterior.fused(), covariance, 0.3, 4),
        moves.MarginalHMC(marginal, inverse, 0.3, 4),
        moves.MicrocanonicalLangevin(posterior.fused(), covariance, 0.2, 4),
        moves.ModeJump(marginal, [teacher_laplace]),
        moves.UnitMetropolis(marginal),
        moves.ReplicaExchange(posterior, inverse, [1.0, 0.5], num_integration_steps=4),
        moves.RandomWalk(covariance),
    ):
        sampler = emcee.EnsembleSampler(4, 9, log_density, moves=move, vectorize=True)
        sampler.run_mcmc(teacher_laplace.sample(4, seed=0), 10, skip_initial_state_check=True)
        np.testing.assert_array_equal(sampler.get_blobs(), sampler.get_chain()[..., 0])
        assert len(np.unique(sampler.get_blobs())) > 4


def test_replicas_need_no_two_chains_in_each_mode(several_optima):
    m, posterior = len(several_optima), several_optima[0].posterior
    inverse = np.linalg.inv(posterior.marginal().precision_of(several_optima[0].posterior_precision))
    two_levels = moves.ReplicaExchange(posterior, inverse, [1.0, 0.5], num_integration_steps=2)
    tree = sample(several_optima, move=two_levels, num_chains=2, num_warmup=0, num_samples=4, seed=0)
    assert tree["posterior"].sizes["chain"] == 2
    assert 2 * m > 2 * 2  # replicas, and what chains that stay in their modes would take
    with refuses("num_chains", f"2 for {m} optima", f"at least {2 * m}"):
        sample(several_optima, move="hmc", num_chains=2)


def test_refusals_name_the_arguments_there_are(teacher_laplace):
    density = LogDensity(lambda w: -0.5 * float(w @ w), ("a",), gradient=lambda w: -w)
    with refuses("target", "LogDensity", "a Posterior"):
        log_evidence(density)
    with refuses("move", "'microcanonical' for one weight", "another"):
        sample(density, move="microcanonical")


@pytest.mark.parametrize("start", ["prior", "points"])
def test_chains_that_began_at_no_optimum_are_of_no_mode(pair_of_optima, start):
    points = pair_of_optima[0].sample(6, seed=0)
    tree = sample(
        pair_of_optima,
        move="hmc",
        num_chains=6,
        start=points if start == "points" else start,
        num_warmup=20,
        num_samples=4,
        seed=0,
    )
    assert "modes" not in tree.children
    assert "mode" not in tree["posterior"].coords


def test_replica_exchange_is_refused_before_the_hops(pair_of_optima, monkeypatch, tmp_path):
    monkeypatch.setattr(sampler_module, "hopped", lambda *_: pytest.fail("hopped"))
    with refuses("start", "'laplce'", "'laplace'"):
        sample(pair_of_optima, start="laplce")
    np.save(tmp_path / "x.npy", pair_of_optima[0].posterior.x)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    outside = Posterior(MLP(1, (2,), 1), x, pair_of_optima[0].posterior.y, Gaussian(0.3), NormalPrior(1.0))
    with refuses("posterior", "x of type memmap", "in memory"):
        sample([fit_laplace(outside, each.mean) for each in pair_of_optima], move="replica_exchange")
