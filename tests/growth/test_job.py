"""``bayesnn growth``: a run file becomes a page, and what is done is not done again."""

import numpy as np
import pytest
from typer.testing import CliRunner

from bayesnn import growth_job
from bayesnn.cli import app
from bayesnn.growth_job import doubling

RUN_FILE = """
[data]
path = "{data}"
target = "y"

[model]
hidden = [1]

[posterior]
maximize_evidence = false

[optimum]
n_starts = 2

[sampling]
num_chains = 4
num_warmup = 50
num_samples = 50

[growth]
sizes = [20, 40, 80]
replicates = 1
executor = "serial"
twin = {twin}
"""


@pytest.fixture
def run_file(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((80, 2))
    y = np.tanh(x @ [1.0, -1.0]) + 0.1 * rng.standard_normal(80)
    rows = "\n".join(",".join(f"{value:.6f}" for value in row) for row in np.column_stack([x, y]))
    (tmp_path / "data.csv").write_text(f"a,b,y\n{rows}\n")

    def write(twin="false"):
        path = tmp_path / "growth.toml"
        path.write_text(RUN_FILE.format(data=tmp_path / "data.csv", twin=twin))
        return path

    return write


@pytest.mark.parametrize("twin", ["false", "true"])
def test_a_run_file_becomes_a_page(run_file, tmp_path, twin):
    command = ["growth", str(run_file(twin)), "--out", str(tmp_path / "out")]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    page = (tmp_path / "out" / "growth.html").read_text(encoding="utf-8")
    assert ("synthetic twin" in page) == (twin == "true")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cells").iterdir()}
    assert len(files) == 3
    second = CliRunner().invoke(app, command)
    assert second.exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cells").iterdir()} == files
    assert "KL 0.05 nats" in second.output.replace("\n", " ")


def test_sizes_that_are_too_large_are_refused_in_a_line(run_file, tmp_path):
    path = run_file()
    path.write_text(path.read_text().replace("40, 80]", "40, 81]"))
    found = CliRunner().invoke(app, ["growth", str(path), "--out", str(tmp_path / "out")])
    assert found.exit_code != 0
    assert "at most the 80 rows" in f"{found.output}{found.exception}"


@pytest.mark.parametrize(
    ("n", "sizes"), [(50, [50]), (100, [100]), (130, [60, 130]), (1030, [60, 120, 240, 480, 1030])]
)
def test_sizes_double_up_to_all_rows(n, sizes):
    assert doubling(n) == sizes


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        (("[20, 40, 80]", "[40, 20]"), "sizes"),
        (("[20, 40, 80]", "[20, 81]"), "sizes"),
        (('"serial"', '"seriel"'), "executor"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_search(run_file, tmp_path, monkeypatch, change, argument):
    monkeypatch.setattr(growth_job, "tuned_optimum", lambda *_: pytest.fail("searched"))
    path = run_file()
    path.write_text(path.read_text().replace(*change))
    ended = CliRunner().invoke(app, ["growth", str(path), "--out", str(tmp_path / "out")])
    assert ended.exit_code != 0
    assert argument in str(ended.exception)


def test_a_folder_that_cannot_be_written_is_refused_before_the_search(run_file, tmp_path, monkeypatch):
    monkeypatch.setattr(growth_job, "tuned_optimum", lambda *_: pytest.fail("searched"))
    (tmp_path / "out").write_text("a file")
    ended = CliRunner().invoke(app, ["growth", str(run_file()), "--out", str(tmp_path / "out")])
    assert "output.directory" in str(ended.exception)
