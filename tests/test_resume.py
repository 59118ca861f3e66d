"""Interrupted jobs go on to the results they would have had; nothing is mixed, and nothing of others is touched."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bayesnn.job as job_module
import bayesnn.sampling.run as run_module
from bayesnn.config import OutputConfig, parse_config
from bayesnn.files import written_whole
from bayesnn.job import resume_job, run_job
from bayesnn.job_folder import FORMAT, JobFolder
from bayesnn.lock import Lock
from bayesnn.sampling.chains import Recorder
from bayesnn.sampling.schedule import Schedule
from bayesnn.tree import load_tree
from tests.interruption import interrupt_draws
from tests.refusals import refuses

ROOT = Path(__file__).parent.parent
SETTINGS = {
    "model": {"hidden": [1]},
    "optimum": {"n_starts": 2},
    "sampling": {"num_chains": 4, "num_warmup": 40, "num_samples": 20},
}
RUN_FILE = """
[data]
path = "mine.csv"
[model]
hidden = [1]
[optimum]
n_starts = 2
[sampling]
num_chains = 4
num_warmup = 40
num_samples = 20
"""


class EndedError(Exception):
    """In place of the end of a process."""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with a CSV file."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 2))
    rows = np.column_stack([x, np.tanh(x @ [1.0, -1.0]) + 0.1 * rng.standard_normal(60)])
    np.savetxt(tmp_path / "mine.csv", rows, delimiter=",", header="a,b,c", comments="")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def quick(monkeypatch):
    """No report, whose figures take two seconds; and states after every step."""

    def short_report(tree, path):
        with written_whole(path) as partial:
            partial.write_text(tree.attrs["bayesnn"])

    monkeypatch.setattr(job_module, "write_report", short_report)
    monkeypatch.setattr(run_module, "COMMIT_EVERY", 0.0)
    monkeypatch.setattr(run_module, "COMMIT_SHARE", 1e9)


def job(out, **sections):
    config = parse_config({"data": {"path": "mine.csv"}, **(SETTINGS | sections)})
    return config.model_copy(update={"output": OutputConfig(directory=str(out))})


def names_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


@pytest.fixture
def ended(here, quick):
    """An unfinished run in the folder "out", which was to draw."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "add", raise_ended)
        with pytest.raises(EndedError):
            run_job(job("out"), progress=False)
    return here / "out"


def raise_ended(*arguments, **options):
    raise EndedError


MOMENTS = {
    "data": (job_module, "load_data"),
    "search": (job_module, "find_optimum"),
    "evidence": (job_module, "maximize_evidence"),
    "optimum": (JobFolder, "save_search"),
    "laplace": (job_module, "fit_laplace"),
    "chains": (job_module, "sample"),
    "warm-up": (Schedule, "after"),
    "draws": (Recorder, "add"),
    "predictions": (job_module, "add_predictions"),
    "comparison": (job_module, "compare"),
    "results": (job_module, "save_tree"),
    "report": (job_module, "write_report"),
    "end": (JobFolder, "end"),
}
SHORT = ("data", "warm-up", "report")


def test_a_job_that_ended_at_any_moment_goes_on_to_the_same_results(here, quick):
    whole = run_job(job("whole"), progress=False)
    assert names_in("whole") == ["report.html", "results.nc"]
    for moment in MOMENTS if os.environ.get("BAYESNN_TRUST") == "1" else SHORT:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(*MOMENTS[moment], raise_ended)
            with pytest.raises(EndedError):
                run_job(job(moment), progress=False)
        assert "unfinished" in names_in(moment)
        done = resume_job(moment, progress=False)
        assert done.tree.identical(whole.tree), moment
        assert load_tree(done.results_path).identical(load_tree(whole.results_path)), moment
        assert done.report_path.read_text() == whole.report_path.read_text(), moment
        assert names_in(moment) == ["report.html", "results.nc"], moment


def test_what_was_found_is_not_searched_again(ended, monkeypatch):
    monkeypatch.setattr(job_module, "find_optimum", raise_ended)
    monkeypatch.setattr(Schedule, "after", raise_ended)
    result = resume_job(ended, progress=False)
    assert result.optimum.status == "converged"
    assert result.optimum.status.advice
    assert result.optimum.posterior is result.laplace.posterior
    assert result.laplace.certificate is result.optimum.certificate


def test_a_damaged_optimum_is_searched_again(ended):
    (ended / "unfinished" / "optimum.npz").write_bytes(b"half of it")
    assert resume_job(ended, progress=False).tree.identical(run_job(job("whole"), progress=False).tree)


def test_the_same_run_goes_on_and_a_finished_one_begins_anew(ended, monkeypatch):
    made = []
    after = Schedule.after
    monkeypatch.setattr(Schedule, "after", lambda self, *a: (made.append(a), after(self, *a))[1])
    first = run_job(job("out"), progress=False)
    assert not made
    again = run_job(job("out"), progress=False)
    assert len(made) == 40
    assert again.tree.identical(first.tree)


def test_an_unfinished_run_with_other_settings_is_not_mixed_with_this_one(ended):
    other = job("out", sampling=SETTINGS["sampling"] | {"num_samples": 30})
    with refuses("output.directory", "unfinished run with sampling.num_samples 20, not 30", "`bayesnn resume out`"):
        run_job(other, progress=False)
    assert run_job(other, fresh=True, progress=False).tree["posterior"].sizes["draw"] == 30
    assert names_in(ended) == ["report.html", "results.nc"]


def test_a_folder_that_was_moved_and_another_working_folder_change_nothing(ended, tmp_path_factory, monkeypatch):
    whole = run_job(job("whole"), progress=False)
    ended.rename(ended.with_name("moved"))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    done = resume_job(ended.with_name("moved"), progress=False)
    assert done.tree.identical(whole.tree)


def test_after_ctrl_c_the_results_hold_the_draws_made_and_the_run_can_go_on(here, quick):
    with pytest.MonkeyPatch.context() as patch:
        interrupt_draws(patch, 9)
        part = run_job(job("out"), progress=False)
    assert part.interrupted
    assert load_tree(part.results_path)["posterior"].sizes["draw"] == 9
    assert names_in("out") == ["report.html", "results.nc", "unfinished"]
    assert resume_job("out", progress=False).tree.identical(run_job(job("whole"), progress=False).tree)


def test_data_that_changed_are_refused(ended):
    rows = Path("mine.csv").read_text().splitlines()
    Path("mine.csv").write_text("\n".join(rows[:-1]) + "\n")
    with refuses("data", "mine.csv, which has changed", "--fresh"):
        resume_job(ended, progress=False)
    with refuses("data", "mine.csv, which has changed", "--fresh"):
        run_job(job("out"), progress=False)
    assert "unfinished" in names_in(ended)
    Path("mine.csv").write_text("\n".join(rows) + "\n")
    assert resume_job(ended, progress=False).tree.identical(run_job(job("whole"), progress=False).tree)


def test_a_folder_without_a_run_is_refused(here):
    with refuses("directory", "absent, which holds no unfinished run", "interrupted `bayesnn run`"):
        resume_job("absent")
    assert not Path("absent").exists()


NO_JOB = f'{{"format": {FORMAT}, "folder": "", "config": {{"data": 3}}}}'


@pytest.mark.parametrize("content", ["{", "[]", "{}", NO_JOB])
def test_damaged_settings_are_refused(ended, content):
    (ended / "unfinished" / "job.json").write_text(content)
    for go_on in (lambda: resume_job(ended), lambda: run_job(job("out"), progress=False)):
        with refuses("directory", "job.json is damaged", "`bayesnn run --fresh`"):
            go_on()


def test_settings_of_another_version_are_refused(ended):
    path = ended / "unfinished" / "job.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 0}))
    with refuses("directory", "begun by another version of bayesnn", "--fresh"):
        resume_job(ended)


def test_a_folder_in_use_is_refused(ended):
    held = Lock(ended / "unfinished" / "lock")
    for go_on in (lambda: resume_job(ended), lambda: run_job(job("out"), fresh=True, progress=False)):
        with refuses("output.directory", "in use by another process", "one job"):
            go_on()
    held.release()
    resume_job(ended, progress=False)


def test_what_is_not_ours_is_left_alone(here, quick):
    Path("out/unfinished").mkdir(parents=True)
    Path("out/unfinished/thesis.tex").write_text("precious")
    with refuses("output.directory", "whose folder 'unfinished' holds thesis.tex", "a folder of its own"):
        run_job(job("out"), progress=False)
    assert Path("out/unfinished/thesis.tex").read_text() == "precious"


def test_settings_that_cannot_be_used_leave_nothing_to_go_on_with(here):
    with refuses("target", "'z'", "one of 'a', 'b', 'c'"):
        run_job(job("out", data={"path": "mine.csv", "target": "z"}), progress=False)
    assert names_in("out") == []


def test_on_a_full_disk_the_draws_are_kept_and_the_error_says_how_to_go_on(here, quick, monkeypatch):
    def full(tree, path):
        raise OSError(28, "No space left on device")

    save = job_module.save_tree
    monkeypatch.setattr(job_module, "save_tree", full)
    with refuses("output.directory", "out (No space left on device)", "room on the disk, then `bayesnn resume out`"):
        run_job(job("out"), progress=False)
    monkeypatch.setattr(job_module, "save_tree", save)
    monkeypatch.setattr(Recorder, "add", raise_ended)  # no step is made again
    assert resume_job("out", progress=False).tree["posterior"].sizes["draw"] == 20


def worker(*arguments, cwd, module=("-m", "tests.job_worker")):
    return subprocess.run(
        [sys.executable, *module, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
        check=False,
    )


def test_the_command_goes_on_after_ctrl_c_and_after_a_kill(here, tmp_path_factory):
    (here / "run.toml").write_text(RUN_FILE)
    stopped = worker("SIGINT", "search", "run", "run.toml", "--out", "out", cwd=here)
    assert stopped.returncode == 130
    assert stopped.stderr.strip() == "bayesnn: interrupted; `bayesnn resume out` goes on from here"
    killed = worker("SIGKILL", "warm-up", "resume", "out", cwd=here)
    assert killed.returncode == -signal.SIGKILL
    assert names_in("out/unfinished") == ["chains", "data.json", "job.json", "lock", "optimum.npz"]
    command = ("-c", "from bayesnn.cli import main; main()")
    done = worker("resume", here / "out", cwd=tmp_path_factory.mktemp("elsewhere"), module=command)
    assert done.returncode == 0, done.stderr
    assert "held-out, sampled" in done.stdout
    whole = run_job(job("whole"), progress=False)
    assert load_tree(here / "out/results.nc").identical(load_tree(whole.results_path))
    assert (here / "out/report.html").read_text() == whole.report_path.read_text()


def test_a_disk_that_fills_before_there_are_draws_loses_nothing(here, quick, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bayesnn.job_folder.save_snapshot", full)
        with refuses("output.directory", "out (No space left on device)", "`bayesnn resume out`"):
            run_job(job("out"), progress=False)
    assert resume_job("out", progress=False).tree["posterior"].sizes["draw"] == 20
    # before there is anything to go on with nothing is said of going on
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bayesnn.job_folder.written_whole", full)
        with refuses("output.directory", "No space left on device", "room on the disk") as caught:
            run_job(job("other"), progress=False)
    assert "resume" not in str(caught.value)


@pytest.mark.parametrize("moment", ["search", "evidence"])
def test_data_that_changed_before_the_search_had_ended_are_refused_too(here, quick, moment):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*MOMENTS[moment], raise_ended)
        with pytest.raises(EndedError):
            run_job(job("out"), progress=False)
    rows = Path("mine.csv").read_text().splitlines()
    Path("mine.csv").write_text("\n".join([*rows[:-1], "0.0,0.0,9.0"]))
    with refuses("data", "mine.csv, which has changed", "--fresh"):
        resume_job("out", progress=False)
    with refuses("data", "mine.csv, which has changed", "--fresh"):
        run_job(job("out"), progress=False)
    Path("out/unfinished/data.json").write_text("{")
    with refuses("directory", "data.json is damaged", "--fresh"):
        resume_job("out", progress=False)


def test_half_a_file_of_results_is_cleared_away(here, quick, ended):
    (ended / ".results.nc.abc.partial").write_text("half")
    (ended / ".report.html.abc.partial").write_text("half")
    resume_job("out", progress=False)
    assert names_in("out") == ["report.html", "results.nc"]


def test_a_folder_with_a_blank_in_its_name_is_quoted(here, quick, monkeypatch):
    def full(tree, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job_module, "save_tree", full)
    with refuses("output.directory", "my runs", "`bayesnn resume 'my runs'`"):
        run_job(job("my runs"), progress=False)
