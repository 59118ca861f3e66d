"""R-hat and ESS against ArviZ, and the verdict on chains of known quality."""

import arviz as az
import numpy as np
import pytest
import xarray as xr

from bayesnn.agreement import compare
from bayesnn.diagnostics import converge, ess, rhat
from bayesnn.sampling import sample
from bayesnn.sampling.moves import RandomWalk
from tests.refusals import refuses


def tree_of(functions, lp):
    return xr.DataTree.from_dict(
        {
            "monitor": xr.Dataset({"f": (("chain", "draw", "obs"), functions)}),
            "sample_stats": xr.Dataset({"lp": (("chain", "draw"), lp)}),
        }
    )


@pytest.fixture
def draws():
    return np.random.default_rng(0).standard_normal((4, 1000, 3))


def test_numbers_are_those_of_arviz(draws):
    data = az.convert_to_dataset({"f": draws})
    np.testing.assert_allclose(rhat(draws), az.rhat(data)["f"].values)
    np.testing.assert_allclose(ess(draws), az.ess(data)["f"].values)
    np.testing.assert_allclose(ess(draws, "tail"), az.ess(data, method="tail", prob=(0.05, 0.95))["f"].values)


def test_constant_values_are_converged_and_do_not_hide_others(draws):
    draws[..., 1] = 3.0
    assert rhat(draws)[1] == 1.0
    assert ess(draws)[1] == 4000
    assert rhat(draws)[0] != 1.0


def test_independent_draws_converge(draws):
    found = converge(tree_of(draws, draws[..., 0]), draws)
    assert found.has_converged
    assert found.function_group == "monitor"


def test_one_chain_elsewhere_does_not_converge(draws):
    stuck = draws.copy()
    stuck[0, :, 2] += 3.0
    found = converge(tree_of(stuck, draws[..., 0]), draws)
    assert not found.has_converged
    assert found.worst_rhat == found.function_rhat[2] > 1.1


def test_a_log_posterior_that_disagrees_is_enough(draws):
    lp = draws[..., 0].copy()
    lp[0] -= 3.0
    assert not converge(tree_of(draws, lp), draws).has_converged


def test_few_draws_are_refused(draws):
    with refuses("tree", "1 chains", "at least 2"):
        converge(tree_of(draws[:1], draws[:1, :, 0]), draws[:1])


def test_chains_that_never_moved_have_not_converged_however_they_agree(draws):
    still = np.broadcast_to(draws[:1, :1], draws.shape)
    found = converge(tree_of(still, still[..., 0]), still)
    assert found.worst_rhat == 1.0  # R-hat sees nothing wrong
    assert found.n_stuck == 4
    assert not found.has_converged
    assert found.to_dataset().attrs["n_stuck"] == 4
    one = draws.copy()
    one[2] = one[2, 0]
    assert converge(tree_of(one, one[..., 0]), one).n_stuck == 1
    assert converge(tree_of(draws, draws[..., 0]), draws).n_stuck == 0


def test_the_verdict_says_how_many_chains_never_moved(linear_laplace):
    start = np.repeat(linear_laplace.mean[None], 4, axis=0)
    too_far = RandomWalk(linear_laplace.posterior_covariance, step_size=1e9)
    with pytest.warns(RuntimeWarning, match="no proposal was accepted"):
        tree = sample(linear_laplace, num_chains=4, num_warmup=0, num_samples=200, move=too_far, start=start)
    agreement = compare(linear_laplace, tree)
    assert agreement.verdict == "chains not converged: no verdict"
    assert agreement.reasons[0].startswith("4 of 4 chains never moved")


def test_draws_that_are_not_numbers_have_not_converged(rng):
    draws = rng.standard_normal((4, 100, 3))
    draws[0, 3, 1] = np.nan
    for statistic in (rhat, ess):
        found = statistic(draws)
        assert np.isnan(found[1])
        assert np.isfinite(found[[0, 2]]).all()
