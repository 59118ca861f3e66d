"""Statistics of interacting ensembles: against known autocorrelation times and against replicates."""

import emcee
import numpy as np
import pytest

from bayesnn.chain_statistics import Layout, autocorrelation_time, ensemble_ess, ensemble_rhat, ess
from bayesnn.diagnostics import converge
from tests.diagnostics.test_nested_rhat import ar1, ids, tree_of
from tests.refusals import refuses
from tests.statistical import GaussianTarget


@pytest.mark.parametrize("walkers", [1, 5])
def test_the_time_of_an_autoregression_is_19(walkers):
    """As emcee's own test: a = 0.9, tau = (1 + a) / (1 - a) = 19, 250,000 draws in all, 20 % (its sd is 4 %)."""
    draws = ar1(np.random.default_rng(0), (walkers, 250_000 // walkers), 0.9)
    assert autocorrelation_time(draws, np.zeros(walkers, dtype=int)) == pytest.approx(19.0, rel=0.2)


class TestAgainstReplicates:
    """Ensembles from exact starts are replicates: the variance of their means is what the ESS must predict."""

    target = GaussianTarget(k=3, condition=10, rotated=True)

    def ensembles(self, move, count, walkers, draws):
        parts = []
        for seed in range(count):
            sampler = emcee.EnsembleSampler(walkers, 3, self.target.log_prob, moves=move, vectorize=True)
            sampler._random = np.random.RandomState(seed)  # emcee offers no seed but the global one
            sampler.run_mcmc(self.target.draw(walkers, seed), draws, skip_initial_state_check=True)
            parts.append(self.target.whiten(sampler.get_chain().transpose(1, 0, 2)))
        return np.concatenate(parts)

    def ratio(self, z, count, statistic):
        """Variance of ensembles' means, true mean 0 and variance 1, over that which an ESS (k,) says."""
        seen = (z.reshape(count, -1, 3).mean(axis=1) ** 2).mean()
        return seen / (count / statistic).mean()

    def test_stretch_moves(self):
        """24 ensembles of 3 coordinates: the ratio has a standard error of sqrt(2 / 72) = 0.17 and a few per cent."""
        z = self.ensembles(emcee.moves.StretchMove(), 24, 8, 1000)
        assert self.ratio(z, 24, ensemble_ess(z, ids(24, 8), "mean")) == pytest.approx(1.0, abs=0.5)

    def test_walkers_that_share_their_increments(self):
        """Taken for independent chains, they would be said to be worth 6 times what they are."""
        z = self.ensembles(emcee.moves.GaussianMove(1.5 * self.target.covariance), 24, 8, 1000)
        assert self.ratio(z, 24, ensemble_ess(z, ids(24, 8), "mean")) == pytest.approx(1.0, abs=0.5)
        assert self.ratio(z, 24, ess(z, "mean")) > 3.0


@pytest.mark.parametrize("method", ["bulk", "tail", "mean", "sd"])
def test_independent_walkers_count_as_chains_do(method):
    draws = ar1(np.random.default_rng(1), (40, 2000, 3), 0.5)
    found = ensemble_ess(draws, ids(4, 10), method)
    np.testing.assert_allclose(found, ess(draws, method), rtol=0.2)  # 4 series of 2000 draws know tau to 5 %


def test_constants_count_fully_and_agree():
    assert ensemble_ess(np.ones((4, 10)), ids(2, 2)) == 40
    assert ensemble_rhat(np.ones((4, 10)), ids(2, 2)) == 1.0


def test_rhat_sees_an_ensemble_that_is_elsewhere_and_drift():
    draws = np.random.default_rng(2).standard_normal((40, 200, 2))
    assert np.all(ensemble_rhat(draws, ids(4, 10)) < 1.01)
    assert np.all(ensemble_rhat(draws + 0.5 * (ids(4, 10) == 1)[:, None, None], ids(4, 10)) > 1.02)
    assert np.all(ensemble_rhat(draws + np.linspace(0, 1, 200)[:, None], ids(4, 10)) > 1.02)


def test_convergence_reads_ensembles_from_the_tree():
    draws = ar1(np.random.default_rng(3), (40, 500, 3), 0.8)
    tree = tree_of(draws, draws[..., 0], ensemble=ids(4, 10))
    found = converge(tree, draws)
    assert found.layout.num_ensembles == 4
    np.testing.assert_allclose(found.function_rhat, ensemble_rhat(draws, ids(4, 10)))
    np.testing.assert_allclose(found.function_ess_bulk, ensemble_ess(draws, ids(4, 10)))
    assert np.all(np.abs(found.autocorrelation_time - 9.0) < 4.0)  # 2000 steps of 4 means: 222 tau, 14 %
    assert found.to_dataset()["autocorrelation_time"].shape == (4,)
    assert found.nested is None


def test_walkers_of_one_ensemble_alone_are_not_compared():
    draws = np.random.default_rng(4).standard_normal((10, 500, 3))
    with refuses("tree", "one ensemble", "several ensembles"):
        converge(tree_of(draws, draws[..., 0], ensemble=np.zeros(10, dtype=int)), draws)


def test_short_ensembles_are_no_short_chains():
    assert not Layout(40, 20, ids(4, 10)).is_short
    assert Layout(40, 20).is_short
