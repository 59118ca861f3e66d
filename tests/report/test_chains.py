"""The table of convergence: what is monitored, in what order, and what each layout adds."""

import numpy as np
import pytest

from bayesnn.diagnostics import converge
from bayesnn.diagnostics.reasons import disagreement
from bayesnn.report.chains import convergence_rows
from tests.diagnostics.test_nested_rhat import ids, tree_of


def rows_of(draws, **coords):
    found = converge(tree_of(draws, draws[..., 0], **coords), draws)
    return found, convergence_rows(found.to_dataset())


@pytest.fixture
def draws():
    return np.random.default_rng(0).standard_normal((8, 500, 3))


def test_predictions_come_first_and_weights_last(draws):
    found, rows = rows_of(draws)
    names = [row[0] for row in rows]
    assert names == ["worst R-hat, training outputs", "R-hat, log posterior", "worst R-hat, weights"]
    assert rows[0][1] == f"{found.function_rhat.max():.4f}"
    assert rows[1][2] == f"least ESS: bulk {found.lp_ess_bulk:.0f}, tail {found.lp_ess_tail:.0f}"


def test_short_chains_show_the_band(draws):
    found, rows = rows_of(draws[:, :20])
    what, figure, note = rows[3]
    assert what == "worst nested R-hat"
    worst = np.argmax((found.nested.value - 1) / (np.maximum(found.nested.band, 1.01) - 1))
    assert figure == f"{found.nested.value[worst]:.4f}"
    assert f"below {found.nested.band[worst]:.3f}" in note
    assert f"limit {found.across.limit:.3f}" in note
    assert float(figure) == pytest.approx(found.across_rhat, abs=1e-4)


def test_modes_show_within_and_across(draws):
    mode = ids(2, 4)
    found, rows = rows_of(draws + 5.0 * mode[:, None, None], mode=mode)
    assert rows[3][1] == ", ".join(f"{rhat:.4f}" for rhat in found.within_rhat)
    assert rows[4] == ("R-hat across modes", f"{found.across_rhat:.4f}", "chains sample separate modes")


def test_ensembles_show_the_autocorrelation_time(draws):
    found, rows = rows_of(draws, ensemble=ids(2, 4))
    assert rows[3][1] == f"{found.autocorrelation_time.max():.0f}"
    assert "2 interacting ensembles" in rows[3][2]


def test_chains_that_never_moved_are_counted(draws):
    draws[0] = draws[0, 0]
    assert rows_of(draws)[1][-1][:2] == ("chains that never moved", "1")


def test_short_chains_of_modes_show_the_limits_they_are_judged_by(draws):
    mode = ids(2, 4)
    found, rows = rows_of(draws[:, :20] + 5.0 * mode[:, None, None], mode=mode)
    limits = ", ".join(f"{worst.limit:.3f}" for worst in found.within)
    (within,) = [row for row in rows if row[0] == "nested R-hat within each mode"]
    assert within[2] == f"predictions, log posterior and noise, limits {limits}"
    (across,) = [row for row in rows if row[0] == "nested R-hat across modes"]
    assert across[2] == f"chains sample separate modes, limit {found.across.limit:.3f}"
    worst = max(found.within, key=lambda worst: worst.rhat)
    assert f"within a mode {worst.rhat:.3f} (wants at most {worst.limit:.3f})" in disagreement(found)
