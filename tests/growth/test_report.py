"""The page of a growth study says what the records say."""

import numpy as np
import pytest

from bayesnn.growth import Growth, Record
from bayesnn.growth.record import OK
from bayesnn.report.growth import growth_figure, learning_figure, narrowing_figure, write_growth


def records(slope=-1.0, learning=None, n_sizes=5, replicates=3, regular=2.0):
    rng, found = np.random.default_rng(0), []
    for n in 100 * 2 ** np.arange(n_sizes):
        for replicate in range(replicates):
            kl = 30.0 * (n / 30.0) ** slope * np.exp(0.02 * rng.standard_normal())
            numbers = {"converged": 1.0, "hessian_kl": float(kl), "k": 4.0, "hessian_pareto_k": 0.3, "rhat": 1.001}
            if learning is not None:
                numbers |= {
                    "learning_coefficient": learning,
                    "learning_coefficient_error": 0.02,
                    "learning_coefficient_regular": regular,
                    "learning_coefficient_rhat": 1.002,
                }
            weights, sds = (0.5, -1.0, 2.0, 0.0), (0.1, 0.2, 0.1, 0.3)
            levels = tuple(tuple(w + s * z for z in (-2, -1, 0, 1, 2)) for w, s in zip(weights, sds, strict=True))
            names = ("W1[0,0]", "W1[0,1]", "W2[0,0]", "W2[1,0]")
            found.append(Record(int(n), replicate, "key", OK, "", "gaussian", weights, names, numbers, levels, sds))
    return Growth(tuple(found))


def page_of(growth, tmp_path, **how):
    write_growth(growth, tmp_path / "growth.html", **how)
    return (tmp_path / "growth.html").read_text(encoding="utf-8")


def test_the_page_names_the_size_that_is_good_enough(tmp_path):
    page = page_of(records(), tmp_path, kl=0.05)
    # 30 (30 / n) = 0.05 at n = 18000
    enough = records().good_enough(0.05)
    assert enough.n == pytest.approx(18_000, rel=0.1)
    assert f"n = {enough.n:.0f}" in page
    assert page.count("data:image/png") + page.count("<svg") >= 2
    assert "hessian_kl" in page


def test_the_page_refuses_where_the_rate_does_not_hold(tmp_path):
    page = page_of(records(slope=-0.3), tmp_path)
    assert "no size can be named" in page
    assert "no size" in page


def test_a_singular_model_is_called_one(tmp_path):
    growth = records(learning=1.25)
    assert growth.is_singular
    page = page_of(growth, tmp_path)
    assert "Singular" in page
    assert "No amount of data" in page
    assert not records(learning=1.95).is_singular
    # what the prior takes of it makes no model singular
    assert not records(learning=1.25, regular=1.3).is_singular


def test_of_what_more_data_do_the_largest_size_has_a_say():
    growth = records(learning=1.25)
    for record in growth.records:
        if record.n > 100:
            record.numbers["learning_coefficient_rhat"] = 1.2
    assert not growth.is_singular


def test_a_study_in_which_everything_failed_has_a_page(tmp_path):
    growth = Growth((Record(60, 0, "key", "failed", "ValueError: no"), Record(120, 0, "key", "failed", "no")))
    page = page_of(growth, tmp_path)
    assert "ValueError: no" in page
    assert "KL is known at 0 sizes" in page


def test_figures_have_what_they_are_of():
    growth = records(learning=1.2)
    assert [axis.get_title() for axis in growth_figure(growth).axes][:2] == ["KL, nats", "mean, whitened"]
    assert len([axis for axis in narrowing_figure(growth).axes if axis.get_visible()]) == 4
    (axis,) = learning_figure(growth).axes
    assert axis.get_ylim()[0] == 0.0


def test_a_learning_coefficient_counts_by_chains_of_its_own():
    growth = records(learning=1.25)
    for record, rhat in zip(growth.records, (1.0, 1.2) * 8, strict=False):
        record.numbers["converged"], record.numbers["learning_coefficient_rhat"] = 0.0, rhat
    values = growth.values("learning_coefficient").ravel()
    assert np.isfinite(values[::2]).all()
    assert np.isnan(values[1::2]).all()
    assert np.isnan(growth.values("hessian_kl")).all()
