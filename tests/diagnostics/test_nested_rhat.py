"""Nested R-hat against ArviZ, its null band against simulation, and its power."""

import arviz as az
import numpy as np
import pytest
import xarray as xr
from arviz_stats.base import array_stats
from scipy.signal import lfilter

from bayesnn.agreement import compare
from bayesnn.chain_statistics import nested_rhat, nested_rhat_band, nested_rhat_with_band, variance_of_mean
from bayesnn.chain_statistics.rank_normalised import halves, normal_scores
from bayesnn.diagnostics import converge, layout_of
from bayesnn.sampling import sample
from tests.refusals import refuses

# (superchains, chains in each, draws): one draw, few draws, single chains, few chains.
LAYOUTS = [(16, 8, 1), (8, 16, 5), (4, 4, 20), (64, 1, 25), (128, 1, 10)]


def ids(superchains, chains):
    return np.arange(superchains * chains) // chains


def ar1(rng, shape, a):
    """Draws (chains, draws, ...) of a first-order autoregression in equilibrium, variance 1."""
    noise = rng.standard_normal(shape)
    noise[:, 1:] *= np.sqrt(1 - a**2)
    return lfilter([1.0], [1.0, -a], noise, axis=1)


class TestValue:
    draws = np.random.default_rng(0).standard_normal((24, 10, 3)) + np.arange(24)[:, None, None] // 8

    def test_it_is_that_of_arviz(self):
        axes = {"chain_axis": 0, "draw_axis": 1}
        for draws in np.moveaxis(self.draws, -1, 0):
            expected = array_stats.rhat_nested(draws, ids(3, 8), method="identity", **axes)
            assert nested_rhat(draws, ids(3, 8), "identity") == pytest.approx(float(expected), rel=1e-12)
            expected = array_stats.rhat_nested(draws, ids(3, 8), method="rank", **axes)  # of halves of chains
            assert nested_rhat(halves(draws), np.repeat(ids(3, 8), 2)) == pytest.approx(float(expected), rel=1e-12)

    def test_it_is_that_of_arviz_through_its_front_door(self):
        draws = np.random.default_rng(1).standard_normal((24, 30, 3))  # ArviZ warns of fewer draws than chains
        expected = az.rhat_nested(az.convert_to_dataset({"f": draws}), superchain_ids=ids(3, 8))["f"].values
        found = nested_rhat(halves(draws), np.repeat(ids(3, 8), 2))
        np.testing.assert_allclose(found, expected, rtol=1e-12)

    def test_one_draw_is_enough_where_arviz_has_nothing_to_say(self):
        one = self.draws[:, :1]
        assert np.isnan(array_stats.rhat_nested(one[..., 0], ids(3, 8), chain_axis=0, draw_axis=1))
        # By hand, equation 8: no variance within chains; between means of superchains over that between chains.
        grouped = one.reshape(3, 8, 3)
        by_hand = np.sqrt(1 + grouped.mean(axis=1).var(axis=0, ddof=1) / grouped.var(axis=1, ddof=1).mean(axis=0))
        np.testing.assert_allclose(nested_rhat(one, ids(3, 8), "identity"), by_hand, rtol=1e-12)

    def test_the_order_of_chains_does_not_matter(self):
        order = np.random.default_rng(1).permutation(24)
        np.testing.assert_allclose(
            nested_rhat(self.draws[order], ids(3, 8)[order]), nested_rhat(self.draws, ids(3, 8)), rtol=1e-12
        )

    def test_constants_agree_and_chains_stuck_apart_do_not(self):
        assert nested_rhat(np.ones((4, 5)), ids(2, 2)) == 1.0
        assert nested_rhat(np.repeat(ids(2, 2)[:, None], 5, axis=1).astype(float), ids(2, 2)) == np.inf

    def test_layouts_that_say_nothing_are_refused(self):
        with refuses("superchains", "of [2, 3] chains", "one size"):
            nested_rhat(np.ones((5, 4)), np.array([0, 0, 1, 1, 1]))
        with refuses("superchains", "1 of", "2 of"):
            nested_rhat(np.ones((4, 4)), np.zeros(4, dtype=int))
        with refuses("draws", "one draw", "2 draws"):
            nested_rhat(np.ones((4, 1)), np.arange(4))
        with refuses("superchains", "shape (3,)", "shape (4,)"):
            nested_rhat(np.ones((4, 4)), np.arange(3))


class TestNullBand:
    @pytest.mark.parametrize(("superchains", "chains", "draws"), LAYOUTS)
    def test_it_is_the_simulated_quantile(self, superchains, chains, draws):
        """4000 replicates of nested R-hat as it is, of independent normal draws: 95 % lie below the band.

        Their share has a standard error of 0.0034. The band is at the true number of effective draws, which the test
        statistic knows where superchains are single chains, and estimates where not: hence the two forms.
        """
        rng, size = np.random.default_rng(3), 4000
        values = rng.standard_normal((superchains * chains, draws, size))
        found = nested_rhat(values, ids(superchains, chains), "identity")
        if chains == 1:
            band = nested_rhat_band(superchains, 1, float(draws), 0.95, superchains * (draws - 1.0))
        else:
            grouped = values.reshape(superchains, chains, draws, size)
            of_chains = grouped.mean(axis=2).var(axis=1, ddof=1).mean(axis=0)
            of_draws = grouped.var(axis=2, ddof=1).mean(axis=(0, 1)) if draws > 1 else 0.0
            band = nested_rhat_band(superchains, chains, (of_chains + of_draws) / of_chains)
        assert (found < band).mean() == pytest.approx(0.95, abs=4 * 0.0034)

    @pytest.mark.parametrize("quantities", [1, 4])
    @pytest.mark.parametrize(("superchains", "chains", "draws"), LAYOUTS)
    def test_converged_chains_leave_it_one_time_in_twenty(self, superchains, chains, draws, quantities):
        """200 replicates: a rate of 5 % is seen as 2 % to 9 % with probability 0.98."""
        alarms = 0
        for seed in range(200):
            values = np.random.default_rng([seed, draws]).standard_normal((superchains * chains, draws, quantities))
            found = nested_rhat_with_band(values, ids(superchains, chains))
            alarms += bool(np.any(found.value > found.band))
        assert 0.02 <= alarms / 200 <= 0.09

    @pytest.mark.parametrize(("superchains", "chains", "draws"), [(16, 8, 5), (4, 8, 20), (16, 1, 60)])
    def test_autocorrelated_chains_leave_it_no_more_often(self, superchains, chains, draws):
        """tau = 3: 20 draws are 7 independent ones. At 5 %, more than 9 % of 200 has probability 0.005."""
        alarms = 0
        for seed in range(200):
            values = ar1(np.random.default_rng([seed, draws]), (superchains * chains, draws, 4), 0.5)
            found = nested_rhat_with_band(values, ids(superchains, chains))
            alarms += bool(np.any(found.value > found.band))
        assert alarms / 200 <= 0.09

    @pytest.mark.parametrize(("a", "draws"), [(2.0 / 3.0, 25), (0.8, 50)])
    def test_what_a_short_chains_own_mean_hides_is_in_the_band(self, a, draws):
        """Five autocorrelation times: W lacks a fifth of the variance. At 5 %, more than 9 % of 200 has p = .005."""
        alarms = 0
        for seed in range(200):
            values = ar1(np.random.default_rng([seed, 1]), (64, draws, 16), a)
            found = nested_rhat_with_band(values, np.arange(64))
            alarms += bool(np.any(found.value > found.band))
        assert alarms / 200 <= 0.09

    @pytest.mark.parametrize(("superchains", "chains", "draws"), LAYOUTS)
    def test_one_superchain_a_standard_deviation_off_is_flagged(self, superchains, chains, draws):
        """One sd is 6 or more standard errors of a superchain's mean; of single draws of 8 chains it is 2.8.

        Single chains are flagged where a quarter of them is off: one of 128 would pass for chance.
        """
        off = chains if chains > 1 else superchains // 4
        flagged = 0
        for seed in range(50):
            values = np.random.default_rng([seed, 7]).standard_normal((superchains * chains, draws, 1))
            values[:off] += 1.0
            found = nested_rhat_with_band(values, ids(superchains, chains))
            flagged += bool(found.value[0] > found.band[0])
        assert flagged >= (45 if draws > 1 else 10)  # against 2.5 by chance

    def test_superchains_that_disagree_do_not_widen_their_own_band(self):
        values = np.random.default_rng(5).standard_normal((64, 5, 1))
        shifted = values + 5.0 * (ids(8, 8) % 2)[:, None, None]
        before, after = (nested_rhat_with_band(x, ids(8, 8)) for x in (values, shifted))
        assert after.value[0] > 1.5
        assert after.band[0] < 1.1 * before.band[0]

    def test_spread_is_compared_too(self):
        values = np.random.default_rng(6).standard_normal((64, 8, 1))
        values[ids(8, 8) == 0] *= 3.0
        found = nested_rhat_with_band(values, ids(8, 8))
        assert found.value[0] - 1 > 1.5 * (found.band[0] - 1)


class TestVarianceOfMean:
    @pytest.mark.parametrize("a", [0.0, 0.5])
    def test_it_is_that_of_chains_means(self, a):
        """20,000 chains of 30 draws: both sides are known to 1 %; Geyer's cut costs a few per cent."""
        values = ar1(np.random.default_rng(0), (20000, 30), a)
        variance, _ = variance_of_mean(values)
        assert variance == pytest.approx(values.mean(axis=1).var(), rel=0.05)

    def test_chains_that_disagree_are_not_less_sure(self):
        values = normal_scores(np.random.default_rng(0).standard_normal((50, 30, 1)))
        apart = values + 10.0 * np.arange(50)[:, None, None]
        np.testing.assert_allclose(variance_of_mean(apart)[0], variance_of_mean(values)[0], rtol=1e-9)

    def test_constants_are_sure(self):
        assert variance_of_mean(np.ones((3, 7)))[0] == 0.0


def tree_of(functions, lp, **coords):
    chains = {name: ("chain", values) for name, values in coords.items()}
    return xr.DataTree.from_dict(
        {
            "monitor": xr.Dataset({"f": (("chain", "draw", "obs"), functions)}),
            "sample_stats": xr.Dataset({"lp": (("chain", "draw"), lp)}),
            "posterior": xr.Dataset(coords=chains),
        }
    )


class TestShortChains:
    """Many chains of few draws, tau = 3: R-hat of converged ones is 1.04, and 1.01 would never be reached."""

    def test_they_are_judged_by_the_band(self):
        draws = ar1(np.random.default_rng(8), (64, 50, 6), 0.5)
        found = converge(tree_of(draws[..., :5], draws[..., 5]), draws)
        assert found.worst_rhat > 1.03
        assert found.nested.value.shape == found.nested.band.shape == (6,)
        assert found.across.agrees
        assert found.has_converged
        assert found.to_dataset()["nested_rhat_band"].shape == (6,)

    def test_a_few_that_disagree_are_seen(self):
        draws = np.random.default_rng(8).standard_normal((128, 20, 6))
        draws[:8] += 2.0
        found = converge(tree_of(draws[..., :5], draws[..., 5]), draws)
        assert not found.across.agrees
        assert not found.has_converged

    def test_drift_that_all_chains_share_is_seen(self):
        draws = np.random.default_rng(8).standard_normal((128, 20, 6)) + np.linspace(0, 1, 20)[:, None]
        assert not converge(tree_of(draws[..., :5], draws[..., 5]), draws).across.agrees

    def test_superchains_are_read_from_the_tree(self):
        draws = np.random.default_rng(9).standard_normal((64, 10, 2))
        superchain = ids(8, 8)
        tree = tree_of(draws, draws[..., 0], superchain=superchain)
        np.testing.assert_array_equal(layout_of(tree).superchains, superchain)
        assert converge(tree, draws).across.agrees
        shifted = draws + 1.0 * (superchain == 3)[:, None, None]
        assert not converge(tree_of(shifted, shifted[..., 0], superchain=superchain), shifted).across.agrees

    def test_long_chains_keep_the_limit_of_1_01(self):
        draws = np.random.default_rng(10).standard_normal((4, 1000, 2))
        found = converge(tree_of(draws, draws[..., 0]), draws)
        assert found.nested is None
        assert found.across.limit == 1.01


def test_a_short_run_of_many_chains_gets_a_verdict(linear_laplace):
    tree = sample(
        linear_laplace, num_chains=64, num_warmup=100, num_samples=40, move="hmc", num_integration_steps=8, seed=3
    )
    agreement = compare(linear_laplace, tree)
    assert agreement.convergence.layout.is_short
    assert agreement.convergence.worst_rhat > 1.01
    assert agreement.verdict == "gaussian"
    assert "nested_rhat" in tree["convergence"]
