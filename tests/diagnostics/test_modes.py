"""R-hat within and across the modes that chains started in."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

from bayesnn import sample
from bayesnn.agreement import compare
from bayesnn.diagnostics import converge
from bayesnn.tree import load_tree, save_tree
from tests.agreement.test_compare import with_draws
from tests.diagnostics.test_nested_rhat import tree_of

MODE = np.repeat([0, 1], 4)


@pytest.fixture
def draws():
    return np.random.default_rng(0).standard_normal((8, 500, 3))


def converged(draws, mode=MODE):
    return converge(tree_of(draws, draws[..., 0], mode=mode), draws)


def test_chains_that_agree_across_modes_have_converged(draws):
    found = converged(draws)
    assert found.within_rhat.shape == (2,)
    assert np.all(found.within_rhat < 1.01)
    assert found.across_rhat < 1.01
    assert found.has_converged
    assert not found.samples_separate_modes


def test_chains_that_agree_within_modes_alone_have_not(draws):
    apart = draws + 5.0 * MODE[:, None, None]
    found = converged(apart)
    assert np.all(found.within_rhat < 1.01)
    assert found.across_rhat > 1.5
    assert found.samples_separate_modes
    assert not found.has_converged
    dataset = found.to_dataset()
    np.testing.assert_array_equal(dataset["within_rhat"].values, found.within_rhat)
    assert list(dataset["mode"].values) == [0, 1]
    assert dataset.attrs["samples_separate_modes"] == 1


def test_chains_that_disagree_within_one_mode_sample_no_modes(draws):
    apart = draws + 5.0 * MODE[:, None, None]
    apart[0] += 1.0
    found = converged(apart)
    assert found.within_rhat[0] > 1.01 > found.within_rhat[1]
    assert not found.samples_separate_modes


def test_short_chains_are_judged_by_the_band_within_modes_too():
    mode = np.repeat([0, 1], 32)
    short = np.random.default_rng(1).standard_normal((64, 20, 3)) + 5.0 * mode[:, None, None]
    found = converged(short, mode)
    assert all(worst.limit > 1.01 for worst in found.within)
    assert found.samples_separate_modes


def test_a_mode_of_one_chain_is_judged_by_its_halves(draws):
    mode = np.array([0] * 7 + [1])
    assert np.all(np.isfinite(converged(draws, mode).within_rhat))
    moving = draws.copy()
    moving[7] += np.linspace(0, 3, 500)[:, None]
    assert converged(moving, mode).within_rhat[1] > 1.1


def test_without_several_modes_nothing_is_said(draws):
    for mode in ({}, {"mode": np.zeros(8, dtype=int)}):
        found = converge(tree_of(draws, draws[..., 0], **mode), draws)
        assert found.within == ()
        assert not found.samples_separate_modes
        assert "within_rhat" not in found.to_dataset()


def test_the_verdict_says_that_chains_sample_separate_modes(linear_laplace, tmp_path):
    tree = sample(linear_laplace, num_chains=8, num_warmup=0, num_samples=1000, num_integration_steps=4, seed=1)
    exact = linear_laplace.sample(8000, seed=5).reshape(8, 1000, -1)
    sds, directions = linear_laplace.eigendirections
    weights = exact + 8.0 * sds[0] * directions[:, 0] * MODE[:, None, None]
    tree = with_draws(tree, linear_laplace, weights)
    tree["posterior"] = xr.DataTree(tree["posterior"].to_dataset().assign_coords(mode=("chain", MODE)))
    agreement = compare(linear_laplace, tree)
    assert agreement.verdict == "chains not converged: no verdict"
    assert agreement.reasons[0].startswith(
        "chains sample 2 separate modes; predictions rest on how many chains began in each: try move='replica_exchange'"
    )
    within, across = agreement.convergence.within_rhat.max(), agreement.convergence.across_rhat
    assert f"within a mode {within:.3f}, across modes {across:.3f}, wants at most 1.01" in agreement.reasons[0]
    save_tree(tree, tmp_path / "tree.nc")
    assert "within_rhat" in load_tree(tmp_path / "tree.nc")["convergence"]


def test_noise_is_monitored_by_itself(draws):
    tree = tree_of(draws, draws[..., 0])
    noise = np.random.default_rng(2).standard_normal((8, 500, 1))
    noise[0] += 3.0
    scales = np.random.default_rng(3).standard_normal((8, 500, 2))
    dims = ("chain", "draw")
    tree["posterior"] = xr.DataTree(
        xr.Dataset({"log_sigma_noise": ((*dims, "one"), noise), "log_prior_precision": ((*dims, "layer"), scales)})
    )
    found = converge(tree, draws)
    assert found.noise_names == ("log_sigma_noise", "log_prior_precision[0]", "log_prior_precision[1]")
    assert found.noise_rhat[0] > 1.1 > 1.01 > found.noise_rhat[1:].max()
    assert found.worst_rhat == found.across_rhat == found.noise_rhat[0]
    assert not found.has_converged
    assert list(found.to_dataset()["noise"].values) == list(found.noise_names)


@pytest.mark.parametrize("name", ["lp_ess_tail", "noise_ess_tail"])
def test_tails_of_log_posterior_and_noise_count(draws, name):
    found = converged(draws)
    assert found.has_converged
    few = 100.0 if name == "lp_ess_tail" else np.array([100.0])
    assert not dataclasses.replace(found, **{name: few}).has_converged
