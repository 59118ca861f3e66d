"""The report: one file, everything escaped, nothing half-written."""

import re

import pytest

from bayesnn import add_predictions, compare, sample, write_report
from bayesnn.report import html
from bayesnn.tree import add_settings
from tests.refusals import refuses


@pytest.fixture(scope="module")
def tree(linear_laplace, linear_data):
    tree = sample(linear_laplace, num_chains=4, num_warmup=50, num_samples=100, num_integration_steps=8, seed=1)
    add_predictions(tree, linear_laplace, *linear_data)
    compare(linear_laplace, tree)
    return tree


def test_the_file_needs_nothing_beside_it(tree, tmp_path):
    path = tmp_path / "report.html"
    write_report(tree, path)
    page = path.read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 5
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "<script" not in page


def test_it_says_the_verdict_and_shows_every_table(tree):
    page = html.render_report(tree)
    assert tree["agreement"].attrs["sentence"].split(":")[0] in page
    for title in ("Held-out scores", "Gaussian against draws", "Chains", "Settings"):
        assert f"<h2>{title}</h2>" in page


def test_the_same_tree_gives_the_same_report(tree):
    assert html.render_report(tree) == html.render_report(tree)


def test_names_from_the_data_are_escaped(tree):
    hostile = tree.copy()
    add_settings(hostile, data="<script>alert(1)</script>")
    page = html.render_report(hostile)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_tree_that_was_not_compared_says_so(linear_laplace):
    bare = sample(linear_laplace, num_chains=2, num_warmup=0, num_samples=10, num_integration_steps=2, seed=0)
    page = html.render_report(bare)
    assert "Not compared" in page
    assert "data:image" not in page


def test_a_failure_leaves_the_old_report_and_no_fragment(tree, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fails(_tree):
        raise OSError("no space left on device")

    monkeypatch.setattr("bayesnn.report.figures.FIGURES", (("bad", (), fails),))
    with pytest.raises(OSError, match="no space"):
        write_report(tree, path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_a_foreign_tree_is_refused(tree):
    foreign = tree.copy()
    foreign.attrs.clear()
    with refuses("tree", "attributes", "bayesnn.sample"):
        html.render_report(foreign)
