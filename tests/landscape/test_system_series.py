"""A linear system on a real series: carbon dioxide at Mauna Loa."""

import numpy as np
import pytest

import bayesnn as bnn
from bayesnn.landscape.acquiescence import AcquiescentSet
from bayesnn.landscape.system_descent import stochastic_descent
from bayesnn.models import LinearSystem, windows

REGION = AcquiescentSet(t0=0.2, t1=0.05, t2=6.0)
LOOK_BACK, FITTED = 26, 600


@pytest.fixture(scope="module")
def series():
    """The weeks since the last gap, less a quadratic trend and three harmonics fitted to all weeks not held out."""
    data = bnn.datasets.load("co2")
    time = data.x[:, 0]
    begin = int(np.flatnonzero(np.diff(time) > 1.5 * 7 / 365)[-1]) + 1
    decades = (time - time[begin]) / 10
    waves = [wave(2 * np.pi * k * time) for k in (1, 2, 3) for wave in (np.sin, np.cos)]
    columns = np.column_stack([np.ones_like(time), decades, decades**2, *waves])
    known = slice(0, begin + FITTED)
    left = (data.y - columns @ np.linalg.lstsq(columns[known], data.y[known], rcond=None)[0])[begin:]
    return left / left[:FITTED].std()


def error(predicted, series):
    return float(np.sqrt(np.mean((predicted - series[FITTED:]) ** 2)))


def test_both_fits_predict_the_held_out_weeks_better_than_the_last_week_does(series):
    assert len(series) == 856
    system = LinearSystem(2)
    x, y = windows(series[:-1], LOOK_BACK), series[LOOK_BACK:]
    n = FITTED - LOOK_BACK
    persistence = error(x[n:, -1], series)
    post = bnn.Posterior(system, x[:n], y[:n], bnn.Gaussian("infer"), bnn.NormalPrior(1.0))
    opt = bnn.find_optimum(post, n_starts=4, seed=0)
    assert opt.status == "converged"
    best = opt.weights[:5]
    assert system.spectral_radius(best) < 1.0
    assert error(system.predict(best, x[n:])[:, 0], series) < persistence
    cut = windows(series[:FITTED], 2 * LOOK_BACK + 1)[::4]
    projected = stochastic_descent(cut[:, :-1], cut[:, 1:], 2, REGION, n_passes=20).weights
    assert REGION.margin(projected[:2]) > -1e-13
    assert error(system.predict(projected, x[n:])[:, 0], series) < persistence
