"""Runs that end at any moment go on to the same bits."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import bayesnn.sampling.run as run_module
import bayesnn.sampling.store as store_module
from bayesnn.lock import Lock
from bayesnn.posterior import LogDensity
from bayesnn.sampling import moves, sample
from bayesnn.sampling.chains import Recorder
from bayesnn.sampling.schedule import Schedule
from bayesnn.sampling.store import ChainStore
from bayesnn.tree import settings_of
from tests.interruption import interrupt_draws
from tests.refusals import refuses
from tests.sampling import store_worker

SHORT = {"num_chains": 4, "num_warmup": 60, "num_samples": 40, "seed": 2}
KILLS = 20 if os.environ.get("BAYESNN_TRUST") == "1" else 3


class EndedError(Exception):
    """In place of the end of a process."""


@pytest.fixture(autouse=True)
def every_step(monkeypatch):
    monkeypatch.setattr(run_module, "COMMIT_EVERY", 0.0)
    monkeypatch.setattr(run_module, "COMMIT_SHARE", 1e9)


@pytest.fixture
def now_and_then(every_step, monkeypatch):
    """Thousands of steps are not to be thousands of commits."""
    monkeypatch.setattr(run_module, "COMMIT_SHARE", 0.2)


def end_at(step, run):
    """End a run in the middle of a step of warm-up, or of a draw: before anything of it is kept."""
    after, add = Schedule.after, Recorder.add

    def after_or_end(self, now, weights):
        if now == step:
            raise EndedError
        after(self, now, weights)

    def add_or_end(self, *arguments):
        if self.count + SHORT["num_warmup"] == step:
            raise EndedError
        add(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Schedule, "after", after_or_end)
        patch.setattr(Recorder, "add", add_or_end)
        with pytest.raises(EndedError):
            run()


@pytest.fixture(scope="module")
def whole(teacher_laplace):
    return sample(teacher_laplace, **SHORT)


def blocks(store, name="weights"):
    return sorted(path for path in (store / "draws.zarr" / name / "c").rglob("*") if path.is_file())


@pytest.mark.parametrize("step", [0, 3, 6, 17, 18, 35, 36, 59, 60, 61, 99])
def test_a_run_that_ended_goes_on_to_the_same_bits(step, teacher_laplace, whole, tmp_path):
    end_at(step, lambda: sample(teacher_laplace, **SHORT, store=tmp_path))
    made = []
    after, add = Schedule.after, Recorder.add
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Schedule, "after", lambda self, *a: (made.append(a), after(self, *a))[1])
        patch.setattr(Recorder, "add", lambda self, *a: (made.append(a), add(self, *a))[1])
        assert sample(teacher_laplace, **SHORT, store=tmp_path).identical(whole)
    assert len(made) == 100 - step  # it did go on, and did not begin anew


def mixture(laplace):
    metric = laplace.posterior_covariance
    jump = moves.SymmetryJump(laplace.posterior.model)
    walk = moves.RandomWalk(metric)
    hmc = moves.HMC(laplace.posterior.value_and_gradient, metric, num_integration_steps=3)
    return moves.Mixture([walk, jump, hmc], [2, 1, 2])


def unadjusted(laplace):
    return moves.MicrocanonicalLangevin(laplace.posterior.value_and_gradient, laplace.posterior_covariance, 0.2, 4)


def units(laplace):
    marginal = laplace.posterior.marginal()
    metric = marginal.precision_of(laplace.posterior_precision)
    hmc = moves.MarginalHMC(marginal, np.linalg.inv(metric), num_integration_steps=3)
    return moves.Mixture([moves.UnitMetropolis(marginal, 10), hmc])


MOVES = ["mala", "pcn", "random_walk", "independence", "microcanonical", "replica_exchange", mixture, unadjusted, units]


@pytest.mark.parametrize("move", MOVES, ids=lambda move: getattr(move, "__name__", move))
@pytest.mark.parametrize("step", [25, 80])
def test_every_move_goes_on_to_the_same_bits(move, step, teacher_laplace, tmp_path):
    arguments = SHORT | {"move": move if isinstance(move, str) else move(teacher_laplace)}
    end_at(step, lambda: sample(teacher_laplace, **arguments, store=tmp_path))
    gone_on = sample(teacher_laplace, **arguments, store=tmp_path)
    assert gone_on.identical(sample(teacher_laplace, **arguments))


def test_a_function_goes_on_to_the_same_bits(tmp_path):
    target = LogDensity(lambda w: -0.5 * (w**2).sum(-1), ("a", "b"), gradient=lambda w: -w)
    end_at(70, lambda: sample(target, **SHORT, store=tmp_path))
    assert sample(target, **SHORT, store=tmp_path).identical(sample(target, **SHORT))


@pytest.mark.usefixtures("now_and_then")
def test_killed_at_random_moments_the_run_ends_in_the_same_bits(tmp_path):
    rng = np.random.default_rng(int(os.environ.get("BAYESNN_KILL_SEED", "0")))
    command = [sys.executable, "-m", "tests.sampling.store_worker", str(tmp_path / "store")]
    finished = 0
    steps = []
    for _ in range(KILLS):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "begun\n"
        for _ in range(rng.integers(1, 2 + 12 // KILLS)):  # of hundreds of commits
            assert process.stdout.readline() == "committed\n"
        time.sleep(rng.uniform(0.0, 0.03))  # a few more, and into one
        process.kill()
        finished += "finished" in process.stdout.read()
        process.stdout.close()
        process.wait()
        states = sorted((tmp_path / "store" / "states").glob("[0-9]*.npz"))
        steps.append(int(states[-1].stem) if states else 0)
    assert finished == 0  # each of them was killed at work
    assert steps == sorted(steps)
    assert steps[-1] > 0
    laplace = store_worker.target()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gone_on = sample(laplace, **store_worker.ARGUMENTS, store=tmp_path / "store")
    assert gone_on.identical(sample(laplace, **store_worker.ARGUMENTS))


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-9])


def emptied(path):
    path.write_bytes(b"")


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_short, emptied, flipped, Path.unlink])
@pytest.mark.parametrize("name", ["weights", "log_density", "diverging", "n_steps"])
@pytest.mark.parametrize("number", [0, 2])
def test_a_damaged_block_is_made_again(damage, name, number, teacher_laplace, whole, tmp_path, monkeypatch):
    monkeypatch.setattr("bayesnn.sampling.store.LONGEST_BLOCK", 8)
    end_at(85, lambda: sample(teacher_laplace, **SHORT, store=tmp_path))  # 25 draws: 3 blocks and 1 of the fourth
    damage(blocks(tmp_path, name)[number])
    with pytest.warns(RuntimeWarning, match="made again"):
        assert sample(teacher_laplace, **SHORT, store=tmp_path).identical(whole)
    assert sample(teacher_laplace, **SHORT, store=tmp_path).identical(whole)  # and nothing is left of the damage


@pytest.mark.parametrize("damage", [cut_short, emptied, flipped])
def test_of_a_damaged_state_the_one_before_serves(damage, teacher_laplace, whole, tmp_path):
    end_at(85, lambda: sample(teacher_laplace, **SHORT, store=tmp_path))
    damage(max((tmp_path / "states").glob("*.npz")))
    with pytest.warns(RuntimeWarning, match="damaged after step 84 of 85; those steps are made again"):
        assert sample(teacher_laplace, **SHORT, store=tmp_path).identical(whole)


def test_where_all_is_damaged_the_run_begins_anew(teacher_laplace, whole, tmp_path):
    end_at(85, lambda: sample(teacher_laplace, **SHORT, store=tmp_path))
    for path in [*(tmp_path / "states").glob("*.npz"), *(tmp_path / "draws.zarr").rglob("zarr.json")]:
        emptied(path)
    with pytest.warns(RuntimeWarning, match="damaged from the beginning; all steps are made again"):
        assert sample(teacher_laplace, **SHORT, store=tmp_path).identical(whole)


def test_stray_temporary_files_are_removed(teacher_laplace, whole, tmp_path):
    end_at(85, lambda: sample(teacher_laplace, **SHORT, store=tmp_path))
    block = blocks(tmp_path)[0]
    strays = [
        block.with_suffix(".0123.partial"),
        tmp_path / "states" / ".0000000099.npz.x.partial",
        tmp_path / ".run.json.x.partial",
    ]
    for stray in strays:
        stray.write_bytes(b"half of it")
    assert sample(teacher_laplace, **SHORT, store=tmp_path).identical(whole)
    assert not any(stray.exists() for stray in strays)


def test_a_finished_run_is_read(teacher_laplace, whole, tmp_path, monkeypatch):
    assert sample(teacher_laplace, **SHORT, store=tmp_path).identical(whole)
    monkeypatch.setattr(Recorder, "add", None)
    assert sample(teacher_laplace, **SHORT, store=tmp_path).identical(whole)
    drawn = xr.open_zarr(tmp_path / "draws.zarr", consolidated=False)
    assert dict(drawn.sizes) == {"chain": 4, "draw": 40, "weight": teacher_laplace.n_weights}
    assert np.array_equal(drawn["log_density"], whole["sample_stats"]["lp"])


def test_a_run_is_made_longer_or_shorter(teacher_laplace, whole, tmp_path):
    shorter, longer = SHORT | {"num_samples": 13}, SHORT | {"num_samples": 90}
    assert sample(teacher_laplace, **shorter, store=tmp_path).identical(sample(teacher_laplace, **shorter))
    assert sample(teacher_laplace, **longer, store=tmp_path).identical(sample(teacher_laplace, **longer))
    assert sample(teacher_laplace, **SHORT, store=tmp_path).identical(whole)
    assert sample(teacher_laplace, **shorter, store=tmp_path).identical(sample(teacher_laplace, **shorter))


def test_the_states_kept_are_few_and_of_all_ages(teacher_laplace, tmp_path):
    sample(teacher_laplace, **(SHORT | {"num_samples": 400}), store=tmp_path)
    ages = sorted(460 - int(path.stem) for path in (tmp_path / "states").glob("*.npz"))
    assert ages[0] == 0
    assert len(ages) <= 2 * 9 + 2
    assert all(later <= 4 * max(sooner, 1) for sooner, later in pairwise(ages))
    assert ages[-1] > 200


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"seed": 3}, "seed 2, not 3"),
        ({"num_chains": 5}, "num_chains 4, not 5"),
        ({"num_warmup": 61}, "num_warmup 60, not 61"),
        ({"metric": "unit"}, "metric auto, not unit"),
        ({"start": "laplace_t"}, "starts (digest)"),
        ({"move": "mala"}, "move"),
    ],
)
def test_a_store_of_another_run_is_refused(change, names, teacher_laplace, whole, tmp_path):
    sample(teacher_laplace, **SHORT, store=tmp_path)
    with refuses("store", names, "the folder of a run with the same arguments"):
        sample(teacher_laplace, **(SHORT | change), store=tmp_path)
    assert sample(teacher_laplace, **SHORT, store=tmp_path).identical(whole)


def test_a_store_of_other_data_is_refused(teacher_laplace, linear_laplace, tmp_path):
    sample(teacher_laplace, **SHORT, store=tmp_path)
    with refuses("store", "model MLP(2, (2,), 1", "same arguments"):
        sample(linear_laplace, **SHORT, store=tmp_path)


def test_functions_are_told_apart_by_their_values(tmp_path):
    def normal(sd):
        return LogDensity(lambda w: -0.5 * ((w / sd) ** 2).sum(-1), ("a", "b"))

    sample(normal(1.0), **SHORT, store=tmp_path)
    with refuses("store", "digest", "same arguments"):
        sample(normal(1.0000001), **SHORT, store=tmp_path)


def test_a_folder_with_something_else_in_it_is_refused(teacher_laplace, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with refuses("store", "which holds thesis.tex", "empty or missing"):
        sample(teacher_laplace, **SHORT, store=tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_a_damaged_run_file_is_refused(teacher_laplace, tmp_path):
    (tmp_path / "run.json").write_text("{")
    with refuses("store", "run.json is damaged", "empty or missing"):
        sample(teacher_laplace, **SHORT, store=tmp_path)


def test_a_file_in_place_of_the_folder_is_refused(teacher_laplace, tmp_path):
    (tmp_path / "file").write_text("")
    with refuses("store", "File exists", "a folder to write in"):
        sample(teacher_laplace, **SHORT, store=tmp_path / "file")


def test_a_store_in_use_is_refused(teacher_laplace, whole, tmp_path):
    sample(teacher_laplace, **SHORT, store=tmp_path)
    held = Lock(tmp_path / "lock")
    with refuses("store", "in use by another process", "one run at a time"):
        sample(teacher_laplace, **SHORT, store=tmp_path)
    held.release()
    assert sample(teacher_laplace, **SHORT, store=tmp_path).identical(whole)


def test_ctrl_c_leaves_a_store_that_goes_on(teacher_laplace, whole, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        interrupt_draws(patch, 21)
        part = sample(teacher_laplace, **SHORT, store=tmp_path)
    assert part["posterior"].sizes["draw"] == 21
    assert settings_of(part)["interrupted"] is True
    assert sample(teacher_laplace, **SHORT, store=tmp_path).identical(whole)


def press_ctrl_c_at(step, monkeypatch, times=1):
    after = Schedule.after

    def pressed(self, now, weights):
        if now == step:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        after(self, now, weights)

    monkeypatch.setattr(Schedule, "after", pressed)


def test_ctrl_c_in_warm_up_keeps_every_step(teacher_laplace, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "COMMIT_EVERY", 1e9)
    with monkeypatch.context() as patch:
        press_ctrl_c_at(33, patch)
        with pytest.raises(KeyboardInterrupt, match="or the same call, goes on"):
            sample(teacher_laplace, **SHORT, store=tmp_path)
    assert [path.name for path in (tmp_path / "states").iterdir()] == ["0000000034.npz"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert sample(teacher_laplace, **SHORT, store=tmp_path).identical(whole)


def test_a_second_ctrl_c_does_not_wait(teacher_laplace, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "COMMIT_EVERY", 1e9)
    press_ctrl_c_at(33, monkeypatch, times=2)
    with pytest.raises(KeyboardInterrupt):
        sample(teacher_laplace, **SHORT, store=tmp_path)
    assert not (tmp_path / "states").exists()


def test_on_a_full_disk_the_run_goes_on_in_memory(teacher_laplace, whole, tmp_path, monkeypatch):
    commit = ChainStore.commit

    def full(self, step, snapshot):
        if step > 70:
            raise OSError(28, "No space left on device")
        commit(self, step, snapshot)

    monkeypatch.setattr(ChainStore, "commit", full)
    with pytest.warns(RuntimeWarning, match=r"No space left.*goes on in memory") as seen:
        tree = sample(teacher_laplace, **SHORT, store=tmp_path)
    monkeypatch.setattr(ChainStore, "commit", commit)
    assert len(seen) == 1
    assert "No space left" in settings_of(tree)["store_failure"]
    assert np.array_equal(tree["sample_stats"]["lp"], whole["sample_stats"]["lp"])
    assert sample(teacher_laplace, **SHORT, store=tmp_path).identical(whole)  # there is room again


@pytest.mark.usefixtures("now_and_then")
def test_what_was_stored_before_the_disk_was_full_is_sound(tmp_path):
    limit = str(60_000)  # bytes a file may have: some blocks fit
    command = [sys.executable, "-m", "tests.sampling.store_worker", str(tmp_path), limit]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [word for word in done.stdout.split() if word != "committed"] == ["begun", "finished"]
    assert "File too large" in done.stderr
    laplace = store_worker.target()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gone_on = sample(laplace, **store_worker.ARGUMENTS, store=tmp_path)
    assert gone_on.identical(sample(laplace, **store_worker.ARGUMENTS))


def test_the_run_file_can_be_read(teacher_laplace, tmp_path):
    sample(teacher_laplace, **SHORT, store=tmp_path)
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["seed"] == 2
    assert run["model"] == "MLP(2, (2,), 1, activation='tanh', bias=True)"


def test_a_finished_run_of_an_unadjusted_move_is_read_as_it_was(teacher_laplace, tmp_path):
    arguments = SHORT | {"move": unadjusted(teacher_laplace)}
    first = sample(teacher_laplace, **arguments, store=tmp_path)
    assert "unknown" not in settings_of(first)["bias"]
    assert sample(teacher_laplace, **arguments, store=tmp_path).identical(first)


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), MemoryError()])
def test_what_cannot_be_read_just_now_is_not_taken_for_damaged(teacher_laplace, tmp_path, monkeypatch, error):
    end_at(80, lambda: sample(teacher_laplace, **SHORT, store=tmp_path))
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file() and path.name != "lock")

    def unreadable(*arguments):
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "load_snapshot", unreadable)
        if isinstance(error, OSError):
            with refuses("store", "Too many open files", "can be read"):
                sample(teacher_laplace, **SHORT, store=tmp_path)
        else:
            with pytest.raises(MemoryError):
                sample(teacher_laplace, **SHORT, store=tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file() and path.name != "lock") == before
    assert sample(teacher_laplace, **SHORT, store=tmp_path)["posterior"].sizes["draw"] == SHORT["num_samples"]
