"""Stores go on without the script that made them, or say why not."""

import signal
import sys

import numpy as np
import pytest

from bayesnn import moves, resume, sample
from bayesnn.cli import main
from bayesnn.laplace import fit_laplace
from bayesnn.optimum import find_optimum
from bayesnn.posterior import Gaussian, LogDensity, NormalPrior, Posterior
from bayesnn.sampling.schedule import Schedule
from bayesnn.tree import load_tree
from tests.refusals import refuses

SHORT = {"num_chains": 4, "num_warmup": 20, "num_samples": 10, "seed": 2}


def interrupt(run, step=12):
    after = Schedule.after

    def pressed(self, now, weights):
        if now == step:
            signal.raise_signal(signal.SIGINT)
        return after(self, now, weights)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Schedule, "after", pressed)
        with pytest.raises(KeyboardInterrupt, match=r"bayesnn\.resume"):
            run()


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"move": "mala", "metric": "unit", "start": "laplace_t"},
        {"start": np.full((4, 9), 0.25) * np.arange(1, 5)[:, None], "num_integration_steps": 3},
    ],
    ids=["default", "mala", "start"],
)
def test_a_store_goes_on_without_its_script(arguments, teacher_laplace, tmp_path):
    interrupt(lambda: sample(teacher_laplace, **SHORT, **arguments, store=tmp_path))
    made = []
    after = Schedule.after
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Schedule, "after", lambda self, *a: (made.append(a), after(self, *a))[1])
        gone_on = resume(tmp_path)
    assert len(made) == 20 - 13
    assert gone_on.identical(sample(teacher_laplace, **SHORT, **arguments))
    assert sample(teacher_laplace, **SHORT, **arguments, store=tmp_path).identical(gone_on)  # so does the script


@pytest.mark.parametrize("structure", ["full", "diag", "layer", "lowrank"])
def test_every_laplace_posterior_is_rebuilt_to_the_bit(structure, teacher_data, tmp_path, teacher_posterior):
    likelihood = Gaussian("infer", log_sigma_prior=(-2.0, 1.0))
    posterior = Posterior(teacher_posterior.network, *teacher_data, likelihood, NormalPrior([1.0, 2.0]))
    laplace = fit_laplace(posterior, find_optimum(posterior, n_starts=2, seed=0), structure=structure, rank=3)
    whole = sample(laplace, **SHORT, store=tmp_path)
    assert resume(tmp_path).identical(whole)


def test_several_optima_are_rebuilt(teacher_posterior, tmp_path):
    optimum = find_optimum(teacher_posterior, n_starts=40, seed=0)
    laplaces = [fit_laplace(teacher_posterior, found) for found in (optimum, *optimum.others[:1])]
    assert len(laplaces) == 2
    whole = sample(laplaces, **SHORT, store=tmp_path)
    assert resume(tmp_path).identical(whole)


def test_the_newest_call_says_how_long_the_run_is(teacher_laplace, tmp_path):
    sample(teacher_laplace, **SHORT, store=tmp_path)
    longer = sample(teacher_laplace, **(SHORT | {"num_samples": 15}), store=tmp_path)
    assert resume(tmp_path).identical(longer)


def test_a_run_that_only_its_script_can_go_on_with_says_so(teacher_laplace, tmp_path):
    function, move = tmp_path / "function", tmp_path / "move"
    sample(LogDensity(lambda w: -0.5 * (w**2).sum(-1), ("a", "b")), **SHORT, store=function)
    sample(teacher_laplace, **SHORT, move=moves.RandomWalk(np.eye(9)), store=move)
    said = "bayesnn.sample(..., num_chains=4, num_warmup=20, num_samples=10, seed=2, "
    with refuses("directory", "function, whose run has a LogDensity, whose function no file can hold", said):
        resume(function)
    with refuses("directory", "move, whose run has a move of its own, RandomWalk", f"store='{move}')"):
        resume(move)


@pytest.mark.parametrize(
    ("name", "content", "got"),
    [
        ("call.json", None, "whose call.json is missing, damaged or of another version"),
        ("call.json", "{", "whose call.json is missing, damaged"),
        ("call.json", '{"format": 0}', "of another version"),
        ("target.npz", None, "whose target.npz or laplace.npz is damaged"),
        ("target.npz", "half", "whose target.npz or laplace.npz is damaged"),
        ("laplace.npz", "half", "whose target.npz or laplace.npz is damaged"),
    ],
)
def test_a_damaged_call_is_refused(name, content, got, teacher_laplace, tmp_path):
    whole = sample(teacher_laplace, **SHORT, store=tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(content)
    with refuses("directory", got, "the script run again"):
        resume(tmp_path)
    assert sample(teacher_laplace, **SHORT, store=tmp_path).identical(whole)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with refuses("directory", "which holds no run", "the output folder of `bayesnn run`, or a store"):
        resume(tmp_path)


def test_the_command_goes_on_with_a_store(teacher_laplace, tmp_path, monkeypatch, capsys):
    interrupt(lambda: sample(teacher_laplace, **SHORT, store=tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bayesnn", "resume", "store"])
    for words in ("4 chains of 10 draws: finished\n", "4 chains of 10 draws: finished already\n"):
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        assert capsys.readouterr().out == f"{words}results: store/results.nc\n"
    assert load_tree("store/results.nc").identical(sample(teacher_laplace, **SHORT))
