"""Whoever computes, and whatever dies: the same records, and nothing twice."""

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pytest

from bayesnn.growth import data_growth
from tests.growth.studies import SIZES, SMALL, TEACHER, small_study
from tests.refusals import refuses

ROOT = Path(__file__).parent.parent.parent


def test_threads_and_processes_give_the_same_records(here):
    with ThreadPoolExecutor(2) as executor:
        assert small_study(executor=executor).records == here.records
    assert small_study(executor="process").records == here.records


def test_workers_of_dask_give_the_same_records(here):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs="ERROR"
    ) as cluster:
        assert small_study(executor=cluster.scheduler_address).records == here.records


def test_makers_that_cannot_travel_are_refused():
    with refuses("make_posterior", "lambda", "can import"):
        data_growth(lambda n, seed: TEACHER(n, seed + 1), SIZES, executor="process", **SMALL)


def test_a_scheduler_that_does_not_answer_is_named():
    pytest.importorskip("distributed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
    with refuses("executor", address, "scheduler that answers"):
        data_growth(TEACHER, SIZES, executor=address, **SMALL)


@dataclass(frozen=True)
class Deadly:
    """Kills the worker that asks for a size: the first time, if there is a flag to be left, or always."""

    flag: str | None
    n: int

    def __call__(self, n, seed):
        here = os.environ.get("GROWTH_MAIN") == str(os.getpid())
        if n == self.n and not here and not (self.flag and Path(self.flag).exists()):
            if self.flag:
                Path(self.flag).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return TEACHER(n, seed)


def test_a_worker_that_dies_costs_one_more_try(here, tmp_path, monkeypatch):
    monkeypatch.setenv("GROWTH_MAIN", str(os.getpid()))
    found = data_growth(Deadly(str(tmp_path / "flag"), SIZES[0]), SIZES, executor="process", **SMALL)
    assert (tmp_path / "flag").exists()
    assert found.records == here.records


def cells(directory):
    return {path: path.stat().st_mtime_ns for path in directory.glob("*.json")}


@pytest.mark.parametrize("executor", ["serial", "process"])
def test_a_study_killed_in_the_middle_goes_on_where_it_was(here, tmp_path, executor):
    command = [sys.executable, "-m", "tests.growth.studies", str(tmp_path), executor]
    study = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + 120.0
    while not cells(tmp_path):
        assert time.monotonic() < deadline
        assert study.poll() is None
        time.sleep(0.01)
    os.killpg(study.pid, signal.SIGKILL)
    study.wait()
    before = cells(tmp_path)
    assert 1 <= len(before) < len(here.records)
    assert small_study(directory=tmp_path, executor=executor).records == here.records
    after = cells(tmp_path)
    assert len(after) == len(here.records)
    assert {path: after[path] for path in before} == before


def test_a_cell_that_kills_its_workers_is_given_up_and_harms_no_other(here, tmp_path, monkeypatch):
    monkeypatch.setenv("GROWTH_MAIN", str(os.getpid()))
    found = data_growth(Deadly(None, SIZES[1]), SIZES, executor="process", directory=tmp_path, **SMALL)
    assert [record.status for record in found.records] == ["ok", "ok", "failed", "failed"]
    assert found.records[:2] == here.records[:2]
    assert "died 3 times" in found.records[2].message
    assert len(cells(tmp_path)) == 2  # with more memory the others may live


def test_the_death_of_a_users_own_workers_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("GROWTH_MAIN", str(os.getpid()))
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor,
        pytest.raises(BrokenProcessPool),
    ):
        data_growth(Deadly(None, SIZES[1]), SIZES, executor=executor, directory=tmp_path, **SMALL)
    assert len(cells(tmp_path)) >= 1  # what was done is kept


def test_a_script_that_its_own_workers_import_is_told_what_to_do(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from tests.growth.studies import SMALL, TEACHER\n"
        "from bayesnn import data_growth\n"
        "data_growth(TEACHER, [60], executor='process', **SMALL)\n"
    )
    ended = subprocess.run(
        [sys.executable, str(script)],
        check=False,
        timeout=300,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode != 0
    assert "ArgumentError: executor: got 'process', whose workers died as they began" in ended.stderr
    assert "__main__" in ended.stderr
