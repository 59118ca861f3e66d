"""The report: one file, everything escaped, nothing half-written."""

import re

import numpy as np
import pytest
import xarray as xr

from bayesnn import (
    MLP,
    Bernoulli,
    Categorical,
    HeteroscedasticGaussian,
    NormalPrior,
    Poisson,
    Posterior,
    add_predictions,
    compare,
    find_optimum,
    fit_laplace,
    sample,
    write_report,
)
from bayesnn.report import html
from bayesnn.report.figures import predictions_figure
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


@pytest.mark.parametrize("likelihood", [HeteroscedasticGaussian(), Bernoulli(), Categorical(), Poisson()], ids=repr)
def test_predictions_of_every_likelihood_are_shown(likelihood):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 1))
    n_outputs = {HeteroscedasticGaussian: 2, Categorical: 3}.get(type(likelihood), 1)
    y = x[:, 0] if n_outputs == 2 else (x[:, 0] > 0).astype(float)
    posterior = Posterior(MLP(1, (2,), n_outputs), x, y, likelihood, NormalPrior(1.0))
    laplace = fit_laplace(posterior, find_optimum(posterior, n_starts=2, seed=0, progress=False))
    tree = sample(laplace, num_chains=2, num_warmup=20, num_samples=20, seed=0)
    add_predictions(tree, laplace, x[:15], y[:15])
    assert ("target_sd" in tree["laplace_predictions"]) == (n_outputs == 2)  # where targets have normal noise
    assert "Held-out predictions" in html.render_report(tree)
    _, coverage = predictions_figure(tree).axes
    shown = {text.get_text() for text in coverage.get_legend().get_texts()}
    assert ("Gaussian" in shown) == (n_outputs == 2)


def test_the_gaussians_coverage_is_that_of_targets(linear_laplace, linear_data, tree):
    found = tree["laplace_predictions"]
    np.testing.assert_allclose(found["target_sd"] ** 2, found["sd"].values ** 2 + 0.4**2)
    np.testing.assert_array_equal(found["target_mean"], found["mean"])


def test_predictions_made_anew_leave_nothing_of_the_old_ones(linear_laplace, linear_data):
    x, y = linear_data
    tree = sample(linear_laplace, num_chains=4, num_warmup=50, num_samples=100, num_integration_steps=8, seed=1)
    add_predictions(tree, linear_laplace, x, y)
    compare(linear_laplace, tree)
    add_predictions(tree, linear_laplace, x[:3])
    assert "scores" not in tree.children
    page = html.render_report(tree)
    assert "Held-out scores" not in page
    assert "earlier predictions" in page
    compare(linear_laplace, tree)
    assert "earlier predictions" not in html.render_report(tree)


def test_coverage_of_targets_that_are_alike_is_what_it_says():
    rng, levels = np.random.default_rng(0), np.linspace(0.05, 0.95, 19)
    n_draws, n_rows = 400, 4000
    shares = rng.uniform(0.2, 0.8, n_rows)
    drawn, observed = rng.random((2, n_draws // 2, n_rows)) < shares, rng.random(n_rows) < shares
    tree = xr.DataTree.from_dict(
        {
            "predictions": xr.Dataset({"y": (("chain", "draw", "obs", "output"), drawn[..., None].astype(float))}),
            "predictions_constant_data": xr.Dataset({"y": (("obs", "output"), observed[:, None].astype(float))}),
        }
    )
    _, coverage = predictions_figure(tree).axes
    inside = next(line for line in coverage.get_lines() if line.get_label() == "draws").get_ydata()
    assert np.all(np.abs(inside - levels) < 4.5 * np.sqrt(levels * (1 - levels) / n_rows))
