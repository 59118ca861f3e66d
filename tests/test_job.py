"""The main job on real data, as a user runs it: files, verdicts, and what the command line says of bad input."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import arviz as az
import numpy as np
import pytest
import xarray as xr

import bayesnn.job as job_module
from bayesnn.agreement import Verdict
from bayesnn.config import OutputConfig, parse_config, read_config
from bayesnn.files import shipped
from bayesnn.job import load_data, run_job
from bayesnn.laplace import fit_laplace
from bayesnn.models import random_images
from bayesnn.optimum.climb import Climb
from bayesnn.report import summary_table
from bayesnn.sampling.better_optimum import BetterOptimum
from bayesnn.sampling.starts import start_points
from bayesnn.tree import load_tree, settings_of
from tests.refusals import refuses

GROUPS = {"posterior", "sample_stats", "log_likelihood", "observed_data", "laplace", "laplace_posterior", "agreement"}

# Of a few searches on the yacht data none may find the optimum that the chains do.
BETTER = pytest.mark.filterwarnings("ignore:chains found a better optimum:RuntimeWarning")


def job(name, folder, **sections):
    config = read_config(shipped("workflows", f"{name}.toml"))
    return config.model_copy(update={"output": OutputConfig(directory=str(folder)), **sections})


def bayesnn(*arguments, cwd):
    """Run the command line in a process of its own."""
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-c", "from bayesnn.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def concrete(tmp_path_factory):
    """The demo, in full."""
    return run_job(job("concrete", tmp_path_factory.mktemp("concrete")), progress=False)


class TestConcrete:
    def test_the_optimum_is_certified(self, concrete):
        assert concrete.optimum.status == "converged"
        assert concrete.laplace.certificate.is_optimum
        assert concrete.laplace.certificate.newton_decrement < 1e-8

    def test_arviz_opens_the_file_and_summarises_it(self, concrete):
        with az.from_netcdf(concrete.results_path) as tree:
            assert set(tree.children) >= GROUPS
            summary = az.summary(tree, var_names=["W2", "b2"])
            assert list(summary.index) == ["W2[0, 0]", "W2[1, 0]", "W2[2, 0]", "b2[0]"]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a few rows do have a large Pareto k; that loo runs is the point
                assert az.loo(tree).kind == "loo"

    def test_weights_are_named_arrays_with_layer_dimensions(self, concrete):
        posterior = concrete.tree["posterior"]
        assert posterior["W1"].dims == ("chain", "draw", "input", "hidden1")
        assert posterior["b1"].dims == ("chain", "draw", "hidden1")
        assert list(posterior["input"].values[:2]) == ["cement_kg_m3", "slag_kg_m3"]

    def test_sampled_predictions_are_good_and_beat_the_plug_in(self, concrete):
        plug_in, _, sampled = concrete.scores.lpd
        assert concrete.scores.rmse[2] < 0.40
        assert sampled > plug_in

    def test_chains_converge_in_function_space_and_the_tree_says_so(self, concrete):
        stored = load_tree(concrete.results_path)["convergence"]
        assert stored.attrs["function_group"] == "predictions"
        assert stored["function_rhat"].size == 206
        assert float(stored["function_rhat"].max()) <= 1.01
        assert float(stored["function_ess_bulk"].min()) > 1000

    def test_the_verdict_is_one_sentence_with_reasons(self, concrete):
        assert concrete.agreement.verdict is Verdict.not_gaussian
        assert concrete.agreement.sentence.startswith("The Gaussian cannot be trusted: ")
        assert concrete.agreement.sentence.count(". ") == 0

    def test_settings_travel_with_the_file(self, concrete):
        settings = settings_of(load_tree(concrete.results_path))
        assert settings["data"] == "concrete"
        assert settings["config"]["sampling"]["num_chains"] == 16
        assert settings["libraries"]["emcee"]

    def test_nothing_is_left_beside_the_two_files(self, concrete):
        names = {path.name for path in concrete.results_path.parent.iterdir()}
        assert names == {"results.nc", "report.html"}


@BETTER
def test_yacht_says_plainly_that_the_chains_disagree(tmp_path):
    result = run_job(job("yacht", tmp_path), progress=False)
    assert result.agreement.verdict is Verdict.no_verdict
    assert result.agreement.convergence.worst_rhat > 1.05
    assert "The chains disagree and the Gaussian cannot be trusted here" in result.agreement.sentence
    assert result.report_path.is_file()


@BETTER
def test_the_gaussian_is_that_of_the_optimum_at_which_the_chains_started_in_the_end(tmp_path, monkeypatch):
    def at_an_image(target, points, start, seed):
        mean = target.best.mean
        weights = random_images(target.posterior.network, mean[None], np.random.RandomState(1))[0]
        assert not np.allclose(weights, mean)
        starts = start_points(fit_laplace(target.posterior, weights), start, len(points), seed)
        return BetterOptimum(weights, float(target.posterior.log_density(weights)), 9.0, 9.0, starts)

    monkeypatch.setattr("bayesnn.sampling.schedule.better_optimum", at_an_image)
    result = run_job(job("concrete", tmp_path).in_short(), progress=False)
    better = result.tree["better_optimum"]["weights"].values
    np.testing.assert_array_equal(result.laplace.mean, better)


@BETTER
def test_the_same_seed_gives_the_same_tree_twice_and_another_seed_another(tmp_path):
    config = job("yacht", tmp_path).in_short()
    first = run_job(config, progress=False)
    first_file = load_tree(first.results_path)
    first_report = first.report_path.read_text()
    second = run_job(config, progress=False)
    xr.testing.assert_identical(first.tree, second.tree)
    assert load_tree(second.results_path).identical(first_file)
    assert second.report_path.read_text() == first_report
    other = run_job(config.model_copy(update={"seed": 1}), progress=False)
    assert not other.tree["posterior"].to_dataset().equals(first.tree["posterior"].to_dataset())


class TestCommandLine:
    def test_run_prints_table_sentence_and_paths(self, tmp_path):
        done = bayesnn("run", shipped("workflows", "yacht.toml"), "--out", "out", "--quick", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        for expected in ("Newton decrement", "worst R-hat", "held-out, sampled", "out/results.nc", "out/report.html"):
            assert expected in done.stdout
        again = bayesnn("report", "out/results.nc", "--out", "again.html", cwd=tmp_path)
        assert again.returncode == 0, again.stderr
        assert (tmp_path / "again.html").read_text() == (tmp_path / "out" / "report.html").read_text()

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("[data]\nname = 'yacht'\n[model]\nactivation = 'gelu'", "model.activation: got 'gelu', wants 'tanh'"),
            ("[data]\nname = 'yacht'\ncolour = 1", "data.colour: got 1, wants one of the keys"),
            ("[data]\nname = 'yacht'\n[sampling]\nnum_chains = '4'", "sampling.num_chains: got '4', wants integer"),
            ("[data]\nname = 'yacht'\n[posterior]\nsigma_noise = -1", "posterior.sigma_noise: got -1, wants greater"),
            ("[data]\nname = 'boston'", "name: got 'boston', wants one of 'airfoil'"),
            ("[data]\npath = 'holes.csv'", "path: got 'nan' at holes.csv row 2, column 'b', wants finite numbers"),
            ("[data]\npath = 'absent.csv'", "path: got absent.csv, wants a CSV file"),
            ("seed = ", "config: got run.toml"),
        ],
    )
    def test_bad_input_is_one_line_status_2_and_no_file(self, tmp_path, text, expected):
        (tmp_path / "run.toml").write_text(text)
        (tmp_path / "holes.csv").write_text("a,b\n1,2\n3,nan\n")
        done = bayesnn("run", "run.toml", "--out", "out", cwd=tmp_path)
        assert done.returncode == 2
        assert expected in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert "Traceback" not in done.stderr + done.stdout
        assert not list(tmp_path.rglob("results.nc*"))
        assert not list(tmp_path.rglob(".*partial"))

    def test_an_output_folder_that_cannot_be_made_is_refused_before_the_work(self, tmp_path):
        (tmp_path / "taken").write_text("a file")
        done = bayesnn("demo", "--out", "taken", cwd=tmp_path)
        assert done.returncode == 2
        assert "output.directory: got taken" in done.stderr

    def test_a_report_of_something_else_is_refused(self, tmp_path):
        (tmp_path / "results.nc").write_text("not netCDF")
        done = bayesnn("report", "results.nc", cwd=tmp_path)
        assert done.returncode == 2
        assert "path: got results.nc" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_users_own_csv_runs_through(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 2))
    rows = np.column_stack([x, np.tanh(x @ [1.0, -1.0]) + 0.1 * rng.standard_normal(60)])
    path = tmp_path / "mine.csv"
    np.savetxt(path, rows, delimiter=",", header="a,b,c", comments="")
    config = parse_config({"data": {"path": str(path)}, "model": {"hidden": [1]}})
    config = config.model_copy(update={"output": OutputConfig(directory=str(tmp_path / "out"))})
    result = run_job(config.in_short(), progress=False)
    assert result.report_path.is_file()
    assert settings_of(result.tree)["target"] == "c"


def several_modes(folder, **sections):
    sampling = {"num_chains": 6, "num_warmup": 20, "num_samples": 20, "metric": "diagonal", "num_integration_steps": 16}
    sampling["move"] = "marginal_hmc"
    config = {"data": {"name": "yacht"}, "optimum": {"n_starts": 4}, **sections}
    config = parse_config(config | {"sampling": sampling | sections["sampling"]})
    return run_job(config.model_copy(update={"output": OutputConfig(directory=str(folder))}), progress=False)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    return several_modes(tmp_path_factory.mktemp("several"), sampling={"n_modes": 2, "num_chains": 5})


def page_of(result):
    return result.report_path.read_text()


class TestSeveralModes:
    def test_chains_start_in_the_best_of_the_optima_found(self, several):
        modes, found = several.tree["modes"], several.tree["optimizer_result"]
        certified = found["weights"].values[found["is_optimum"].values == 1]
        assert np.array_equal(modes["mean"], certified[:2])
        assert several.tree["posterior"]["mode"].values.tolist() == [0, 0, 0, 1, 1]
        best = int(np.argmax(modes["log_marginal_likelihood"].values))
        assert np.array_equal(several.laplace.mean, modes["mean"][best])

    def test_they_are_weighed_and_scored_and_the_words_say_so(self, several):
        modes = several.tree["modes"]
        assert several.scores.predictives[3:] == ("sampled, stacking", "sampled, evidence", "sampled, equal")
        stacking = " ".join(f"{w:.2f}" for w in modes["stacking_weights"].values)
        table = summary_table(
            "", several.optimum, several.laplace, several.tree, several.agreement, several.scores, several.seconds
        )
        what, figure, note = (list(column.cells) for column in table.columns)
        assert figure[what.index("modes")] == "2"
        assert note[what.index("modes")].startswith(f"chains 3, 2; stacking {stacking}; evidence ")
        assert "held-out, sampled, stacking" in what
        # of all chains, as the report says
        assert figure[what.index("nested R-hat across modes")] in page_of(several)
        page = several.report_path.read_text()
        assert "Modes the chains began in" in page
        for expected in (*several.scores.predictives, "weight, stacking", "rows of large Pareto k"):
            assert expected in page
        assert f"{float(modes['elpd'][0]):.4g}" in page

    def test_where_there_are_fewer_optima_there_are_fewer_modes(self, tmp_path):
        result = several_modes(tmp_path, model={"hidden": []}, sampling={"n_modes": 3, "move": "auto"})
        assert "modes" not in result.tree.children
        assert len(result.scores.lpd) == 3

    def test_by_default_chains_cross_between_them(self, tmp_path):
        result = several_modes(tmp_path, sampling={"n_modes": 2, "move": "auto", "num_chains": 3})
        assert "modes" not in result.tree.children
        assert len(result.scores.lpd) == 3
        page = result.report_path.read_text()
        assert "Levels of replica exchange" in page
        table = summary_table(
            "", result.optimum, result.laplace, result.tree, result.agreement, result.scores, result.seconds
        )
        what, figure, note = (list(column.cells) for column in table.columns)
        trips = result.tree["tempering"]["round_trips"].values
        assert figure[what.index("replica exchange")] == "10 levels"
        assert note[what.index("replica exchange")].startswith(f"{trips.sum()} round trips in all")

    def test_data_too_large_for_stacking_are_weighed_without_it(self, tmp_path, monkeypatch):
        monkeypatch.setattr("bayesnn.sampling.assemble.LARGEST_LOG_LIKELIHOOD", 100)
        result = several_modes(tmp_path, sampling={"n_modes": 2})
        assert result.scores.predictives[3:] == ("sampled, evidence", "sampled, equal")


class TestInterrupted:
    """Ctrl-C: chains keep what they have; before that, no result is written."""

    def interrupt_after(self, monkeypatch, calls):
        from bayesnn.sampling.moves import MarginalHMC

        propose, made = MarginalHMC.propose, []

        def counted(move, model, state):
            made.append(1)
            if len(made) > calls:
                raise KeyboardInterrupt
            return propose(move, model, state)

        monkeypatch.setattr(MarginalHMC, "propose", counted)

    @BETTER
    def test_chains_keep_the_draws_made_until_then(self, tmp_path, monkeypatch):
        self.interrupt_after(monkeypatch, 75)
        config = job("yacht", tmp_path / "out").in_short()
        without_pilot = {"metric": "averaged", "num_integration_steps": 8}  # whose proposals would count, too
        config = config.model_copy(update={"sampling": config.sampling.model_copy(update=without_pilot)})
        result = run_job(config, progress=False)
        assert result.interrupted
        assert result.tree["posterior"].sizes["draw"] == 75 - config.sampling.num_warmup
        assert result.results_path.is_file()

    def test_an_interrupted_search_ends_the_job_without_results(self, tmp_path, monkeypatch):
        climbed = Climb.advance
        made = []

        def counted(*arguments):
            made.append(1)
            if len(made) > 100:
                raise KeyboardInterrupt
            return climbed(*arguments)

        monkeypatch.setattr(Climb, "advance", counted)
        with pytest.raises(KeyboardInterrupt):
            run_job(job("yacht", tmp_path / "out").in_short(), progress=False)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["unfinished"]  # to go on with

    @BETTER
    def test_draws_too_few_to_compare_are_kept_and_no_more_is_done(self, tmp_path, monkeypatch):
        self.interrupt_after(monkeypatch, 70)  # 10 draws of 4 chains, of 65 weights
        config = job("yacht", tmp_path / "out").in_short()
        how = {"metric": "averaged", "num_integration_steps": 8, "num_chains": 4}
        config = config.model_copy(update={"sampling": config.sampling.model_copy(update=how)})
        with pytest.raises(KeyboardInterrupt):
            run_job(config, progress=False)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["unfinished"]
        monkeypatch.undo()
        assert run_job(config, progress=False).tree["posterior"].sizes["draw"] == 50


class TestChains:
    """How many chains and draws there must be is known before they are drawn."""

    @BETTER
    def test_there_are_more_draws_than_weights(self, tmp_path):
        how = {"num_chains": 4, "num_warmup": 20, "num_samples": 4, "move": "hmc", "metric": "unit"}
        config = parse_config(
            {
                "data": {"name": "yacht"},
                "model": {"hidden": [6]},
                "posterior": {"maximize_evidence": False},
                "optimum": {"n_starts": 1},
                "sampling": {**how, "num_integration_steps": 2},
                "output": {"directory": str(tmp_path)},
            }
        )
        result = run_job(config, progress=False)
        assert result.tree["posterior"].sizes["draw"] == 13  # 52 draws of 49 weights

    @pytest.mark.parametrize("sampling", [{"num_chains": 4}, {"move": "hmc"}])
    def test_too_few_for_the_modes_are_refused_before_the_search(self, sampling, tmp_path, monkeypatch):
        def never(*_, **__):
            raise AssertionError("a search")

        monkeypatch.setattr("bayesnn.job.find_optimum", never)
        n_modes = 3 if "num_chains" in sampling else 9
        config = parse_config(
            {
                "data": {"name": "yacht"},
                "model": {"hidden": [50]},  # too wide for replica exchange of the marginal density
                "sampling": {"n_modes": n_modes, **sampling},
                "output": {"directory": str(tmp_path)},
            }
        )
        with refuses("sampling.num_chains", f"for n_modes = {n_modes}", "at least 2 for each mode"):
            run_job(config, progress=False)


def test_a_report_that_cannot_be_written_is_one_line(concrete, tmp_path):
    done = bayesnn("report", concrete.results_path, "--out", tmp_path, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("bayesnn: ")


@pytest.mark.parametrize(
    ("hidden", "bias", "move", "wants"),
    [([], True, "marginal_hmc", ""), ([], False, "microcanonical", "directions cannot turn")],
)
def test_a_move_the_network_cannot_have_is_refused_before_the_search(hidden, bias, move, wants, tmp_path, monkeypatch):
    monkeypatch.setattr(job_module, "find_optimum", lambda *_, **__: pytest.fail("searched"))
    monkeypatch.chdir(tmp_path)
    np.savetxt("one.csv", np.random.default_rng(0).standard_normal((30, 2)), delimiter=",", header="a,b", comments="")
    tables = {"data": {"path": "one.csv"}, "model": {"hidden": hidden, "bias": bias}, "sampling": {"move": move}}
    with refuses("sampling.move", f"'{move}' for", wants):
        run_job(parse_config(tables), progress=False)


def test_chains_that_begin_at_draws_of_the_prior_cross_too_and_are_as_many_as_they_are():
    config = parse_config({"data": {"name": "yacht"}, "sampling": {"n_modes": 4, "start": "prior"}})
    posterior = job_module.untuned_posterior(config, load_data(config, Path()))
    assert job_module._chains_of_a_mode(config, posterior, 4) == job_module.DEFAULT_SYSTEMS
    kept = config.model_copy(update={"sampling": config.sampling.model_copy(update={"move": "marginal_hmc"})})
    assert job_module._chains_of_a_mode(kept, posterior, 4) == job_module.DEFAULT_CHAINS
    around = kept.model_copy(update={"sampling": kept.sampling.model_copy(update={"start": "laplace"})})
    assert job_module._chains_of_a_mode(around, posterior, 4) == job_module.DEFAULT_CHAINS // 4
