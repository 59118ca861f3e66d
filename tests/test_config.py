"""Run files: what they accept, and how they refuse."""

import pytest

from bayesnn.config import parse_config, read_config
from bayesnn.files import shipped
from tests.refusals import refuses

DATA = {"data": {"name": "yacht"}}


@pytest.mark.parametrize("name", ["concrete", "yacht"])
def test_shipped_run_files_are_valid(name):
    assert read_config(shipped("workflows", f"{name}.toml")).data.name == name


def test_the_concrete_job_is_the_one_described():
    config = read_config(shipped("workflows", "concrete.toml"))
    assert config.model.hidden == [3]
    assert (config.sampling.num_chains, config.sampling.metric) == (16, "auto")


def test_integers_serve_as_numbers():
    assert parse_config({**DATA, "posterior": {"prior_precision": 2}}).posterior.prior_precision == 2.0


@pytest.mark.parametrize(
    ("tables", "key", "got", "wants"),
    [
        ({**DATA, "colour": 1}, "colour", "1", "one of the keys seed, data, model"),
        ({**DATA, "sampling": {"chains": 4}}, "sampling.chains", "4", "num_chains"),
        ({**DATA, "sampling": {"num_chains": "many"}}, "sampling.num_chains", "'many'", "integer"),
        ({**DATA, "sampling": {"num_chains": 1}}, "sampling.num_chains", "1", "greater than or equal to 2"),
        ({**DATA, "sampling": {"num_chains": 2.0}}, "sampling.num_chains", "2.0", "integer"),
        ({**DATA, "sampling": {"n_modes": 0}}, "sampling.n_modes", "0", "greater than or equal to 1"),
        ({**DATA, "sampling": {"n_modes": 2, "move": "pcn"}}, "sampling.move", "'pcn' for n_modes = 2", "one Gaussian"),
        (
            {**DATA, "sampling": {"n_modes": 3, "num_chains": 5, "move": "hmc"}},
            "sampling.num_chains",
            "5 for n_modes = 3",
            "2 for each",
        ),
        ({**DATA, "model": {"hidden": 3}}, "model.hidden", "3", "list"),
        ({**DATA, "model": {"hidden": [3, -1]}}, "model.hidden.1", "-1", "greater than or equal to 1"),
        ({**DATA, "model": {"activation": "gelu"}}, "model.activation", "'gelu'", "'tanh'"),
        ({**DATA, "model": {"bias": 1}}, "model.bias", "1", "boolean"),
        ({**DATA, "posterior": {"sigma_noise": -0.1}}, "posterior.sigma_noise", "-0.1", "greater than 0"),
        ({**DATA, "model": 3}, "model", "3", "dict"),
        ({}, "data", "nothing", "a value"),
        ({"data": {}}, "data", "neither name nor path", "one"),
        ({"data": {"name": "yacht", "path": "a.csv"}}, "data", "both name and path", "one"),
    ],
)
def test_a_bad_key_is_named_with_what_it_got_and_wants(tables, key, got, wants):
    with refuses(key, got, wants) as caught:
        parse_config(tables)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_toml_are_refused(tmp_path):
    with refuses("config", "missing.toml", "a TOML file"):
        read_config(tmp_path / "missing.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("seed = \n")
    with refuses("config", "bad.toml", "valid TOML"):
        read_config(bad)


def test_shipped_data_have_their_target():
    with refuses("data.target", "'orientation' beside name = 'energy'", "a path"):
        parse_config({"data": {"name": "energy", "target": "orientation"}})


def test_a_job_cut_short_is_never_longer():
    given = parse_config(
        {**DATA, "optimum": {"n_starts": 1, "n_hops": 200}, "sampling": {"num_warmup": 0, "num_samples": 10}}
    ).in_short()
    assert (given.optimum.n_starts, given.optimum.n_hops) == (1, 4)
    assert (given.sampling.num_warmup, given.sampling.num_samples) == (0, 10)
    usual = parse_config({**DATA, "optimum": {"n_starts": 64}}).in_short()
    assert (usual.optimum.n_starts, usual.optimum.n_hops) == (2, 0)
    assert (usual.sampling.num_warmup, usual.sampling.num_samples) == (60, 50)
