import os

import arviz as az
import numpy as np
import pytest
import xarray as xr

from bayesnn.models import MLP
from bayesnn.optimum import find_optimum
from bayesnn.sampling import sample
from bayesnn.tree import (
    add_settings,
    group_of,
    laplace_groups,
    load_tree,
    name_inputs,
    optimizer_group,
    save_tree,
    settings_attribute,
    settings_of,
    values_of,
    weight_matrix,
    weight_variables,
)
from tests.refusals import refuses

NET = MLP(2, (3,), 1)


@pytest.fixture(scope="module")
def tree(teacher_laplace):
    return sample(teacher_laplace, num_chains=4, num_warmup=20, num_samples=10, num_integration_steps=4, seed=0)


@pytest.fixture
def draws(rng):
    return rng.standard_normal((2, 5, NET.n_weights))


def group(draws):
    return xr.Dataset(weight_variables(NET.weight_blocks, draws, ("chain", "draw")))


def test_named_arrays_hold_the_weights_their_names_say(draws):
    variables = group(draws)
    assert set(variables.data_vars) == {"W1", "b1", "W2", "b2"}
    assert variables["W1"].dims == ("chain", "draw", "input", "hidden1")
    for number, name in enumerate(NET.weight_names):
        array, _, index = name.partition("[")
        place = tuple(int(i) for i in index[:-1].split(","))
        assert np.array_equal(variables[array].values[(..., *place)], draws[..., number])


def test_weights_survive_the_way_into_named_arrays_and_back(draws):
    assert np.array_equal(weight_matrix(group(draws), NET.weight_blocks), draws)


def test_the_order_of_dimensions_does_not_matter(draws):
    turned = group(draws).transpose("hidden1", "draw", "input", "output", "chain")
    assert np.array_equal(weight_matrix(turned, NET.weight_blocks), draws)


def test_weights_of_another_network_are_refused(draws):
    with refuses("tree", "weights ['W1', 'W2', 'b1', 'b2']", "W1 (2, 4)"):
        weight_matrix(group(draws), MLP(2, (4,), 1).weight_blocks)
    with refuses("tree", "weights ['W1', 'W2', 'b1', 'b2']", "W3 (3, 1)"):
        weight_matrix(group(draws), MLP(2, (3, 3), 1).weight_blocks[:2] + MLP(2, (3, 3), 1).weight_blocks[4:])


def test_laplace_groups_hold_the_gaussian_and_draws_with_both_densities(teacher_laplace):
    groups = laplace_groups(teacher_laplace, seed=1)
    posterior = teacher_laplace.posterior
    draws = weight_matrix(groups["laplace_posterior"], posterior.model.weight_blocks)
    assert np.array_equal(draws[0], teacher_laplace.sample(4000, seed=1))
    stats = groups["laplace_stats"]
    assert np.allclose(stats["log_q"].values[0], teacher_laplace.log_prob(draws[0]), rtol=1e-13)
    assert np.allclose(stats["log_p"].values[0], posterior.log_density(draws[0]), rtol=1e-12)
    gaussian = groups["laplace"]
    upper = gaussian["precision_factor"].values
    assert np.allclose(upper.T @ upper, teacher_laplace.posterior_precision, rtol=1e-12, atol=1e-9)
    assert np.array_equal(gaussian["mean"], teacher_laplace.mean)
    assert list(gaussian["weight"].values) == list(posterior.weight_names)
    assert float(gaussian["log_marginal_likelihood"]) == teacher_laplace.log_marginal_likelihood


def test_the_optimizer_group_lists_every_optimum_best_first(teacher_posterior):
    optimum = find_optimum(teacher_posterior, n_starts=8, seed=3)
    listed = optimizer_group(optimum, teacher_posterior.weight_names)
    found = (optimum, *optimum.others)
    assert len(found) > 1
    assert listed.sizes == {"optimum": len(found), "weight": 9}
    assert np.array_equal(listed["weights"], [o.weights for o in found])
    assert list(listed["status"].values) == [o.status.value for o in found]
    assert listed["n_found"].values.sum() == 8
    assert np.all(np.diff(listed["log_density"]) <= 0)
    assert list(listed["is_optimum"].values) == [int(o.certificate.is_optimum) for o in found]
    assert list(listed["rank"].values) == [o.certificate.rank for o in found]


def test_settings_survive_as_json_with_the_versions_of_everything():
    settings = {"flag": True, "nothing": None, "nested": {"a": [1, 2.5, "x"]}}
    tree = xr.DataTree()
    tree.attrs.update(settings_attribute(settings))
    back = settings_of(tree)
    assert back.items() >= settings.items()
    assert back["libraries"]["numpy"] == np.__version__
    add_settings(tree, flag=False, more=1)
    assert settings_of(tree)["flag"] is False
    assert settings_of(tree)["nested"] == settings["nested"]


def test_a_foreign_tree_has_no_settings():
    tree = xr.DataTree()
    tree.attrs["other"] = 1
    with refuses("tree", "['other']", "bayesnn.sample"):
        settings_of(tree)


def test_groups_and_variables_that_are_missing_are_refused(tree):
    assert values_of(tree, "sample_stats", "lp").shape == (4, 10)
    assert set(group_of(tree, "observed_data").data_vars) == {"y"}
    with refuses("tree", "posterior", "a group 'agreement'"):
        group_of(tree, "agreement")
    with refuses("tree", "without 'tree_depth'", "made by bayesnn"):
        values_of(tree, "sample_stats", "tree_depth")


def test_a_saved_tree_comes_back_identical(tree, tmp_path):
    save_tree(tree, tmp_path / "a.nc")
    assert os.listdir(tmp_path) == ["a.nc"]
    assert load_tree(tmp_path / "a.nc").identical(tree)


def test_every_number_of_a_saved_tree_comes_back_bit_by_bit(tree, tmp_path):
    save_tree(tree, tmp_path / "a.nc")
    back = load_tree(tmp_path / "a.nc")
    assert list(back.children) == list(tree.children)
    assert back.attrs == tree.attrs
    assert all(back[name].identical(tree[name]) for name in tree.children)


def test_a_loaded_tree_lets_go_of_its_file(tree, tmp_path):
    path = tmp_path / "a.nc"
    save_tree(tree, path)
    back = load_tree(path)
    add_settings(back, note="again")
    save_tree(back, path)
    assert settings_of(load_tree(path))["note"] == "again"


def test_arviz_reads_the_file_and_summarises_the_draws(tree, tmp_path):
    save_tree(tree, tmp_path / "a.nc")
    with az.from_netcdf(tmp_path / "a.nc") as opened:
        summary = az.summary(opened, var_names=["W1", "b1"], round_to="none")
    ours = az.summary(tree, var_names=["W1", "b1"], round_to="none")
    assert list(summary.index) == ["W1[0, 0]", "W1[0, 1]", "W1[1, 0]", "W1[1, 1]", "b1[0]", "b1[1]"]
    means = [*tree["posterior"]["W1"].mean(("chain", "draw")).values.ravel()]
    assert np.allclose(summary["mean"].to_numpy(dtype=float)[:4], means, rtol=1e-12)
    assert summary.equals(ours)
    assert np.all(summary["ess_bulk"].to_numpy(dtype=float) > 0)


def test_a_failure_while_writing_leaves_the_older_file(tree, tmp_path, monkeypatch):
    path = tmp_path / "a.nc"
    save_tree(tree, path)
    before = path.read_bytes()

    def fail(self, target, **kwargs):
        target.write_bytes(before[: len(before) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(xr.DataTree, "to_netcdf", fail)
    with pytest.raises(OSError, match="disk full"):
        save_tree(tree, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.nc"]
    with pytest.raises(OSError, match="disk full"):
        save_tree(tree, tmp_path / "new.nc")
    assert os.listdir(tmp_path) == ["a.nc"]


@pytest.mark.parametrize("content", [None, b"", b"no netCDF at all", b"\x89HDF\r\n\x1a\n half of one"])
def test_what_is_no_netcdf_file_is_refused(tmp_path, content):
    path = tmp_path / "a.nc"
    if content is not None:
        path.write_bytes(content)
    with refuses("path", str(path), "a netCDF file"):
        load_tree(path)


def test_inputs_can_be_named(tree):
    named = tree.copy()
    name_inputs(named, ["left", "right"])
    assert list(named["posterior"]["input"].values) == ["left", "right"]
    assert list(named["constant_data"]["input"].values) == ["left", "right"]
    assert np.array_equal(named["posterior"]["W1"].sel(input="right"), tree["posterior"]["W1"][:, :, 1])
    assert "input" not in tree["posterior"].coords
