"""The posteriors on which samplers are compared: ordinary networks on ordinary data, whose chains converge."""

from dataclasses import dataclass

import numpy as np

from bayesnn import (
    MLP,
    Gaussian,
    Laplace,
    NormalPrior,
    Posterior,
    datasets,
    find_optimum,
    fit_laplace,
    maximize_evidence,
)

REAL = {
    "concrete 8-2-1": ("concrete", 2),
    "concrete 8-3-1": ("concrete", 3),
    "airfoil 5-3-1": ("airfoil", 3),
    "airfoil 5-4-1": ("airfoil", 4),
    "energy 8-2-1": ("energy", 2),
}
# Rows and hidden units of networks drawn as teachers, with noise 0.3 and a standard normal prior.
TEACHERS = {"teacher 5-8-1": (100, 8), "teacher 5-4-1": (2000, 4)}
PROBLEMS = (*REAL, *TEACHERS)
N_STARTS = 128
N_HELD_OUT = 50


@dataclass(frozen=True)
class Entry:
    """One posterior of the panel.

    Parameters
    ----------
    name : str
        Data and network.
    laplace : Laplace
        At the best optimum of a few; noise and prior of real data by the evidence.
    new_x : ndarray (50, d)
        Inputs that were held out, where predictions are judged.
    """

    name: str
    laplace: Laplace
    new_x: np.ndarray


def entry_of(name: str) -> Entry:
    """Make a posterior of the panel: the same one each time."""
    rng = np.random.default_rng(0)
    if name in TEACHERS:
        n_rows, hidden = TEACHERS[name]
        net, x = MLP(5, (hidden,), 1), rng.standard_normal((n_rows, 5))
        y = net.predict(rng.standard_normal(net.n_weights), x) + 0.3 * rng.standard_normal((n_rows, 1))
        posterior = Posterior(net, x, y, Gaussian(0.3), NormalPrior(1.0))
        new_x = rng.standard_normal((N_HELD_OUT, 5))
    else:
        data, hidden = datasets.load(REAL[name][0]), REAL[name][1]
        order = rng.permutation(len(data.x))
        held_out, rows = order[:N_HELD_OUT], np.sort(order[N_HELD_OUT:])
        all_x, all_y = np.asarray(data.x), np.asarray(data.y).reshape(len(data.x), -1)
        centre, spread = all_x[rows].mean(axis=0), all_x[rows].std(axis=0)
        x, new_x = (all_x[rows] - centre) / spread, (all_x[held_out] - centre) / spread
        y = (all_y[rows] - all_y[rows].mean(axis=0)) / all_y[rows].std(axis=0)
        first = Posterior(MLP(x.shape[1], (hidden,), 1), x, y, Gaussian(0.3), NormalPrior(1.0))
        posterior = maximize_evidence(first, find_optimum(first, n_starts=N_STARTS, seed=0))
    return Entry(name, fit_laplace(posterior, find_optimum(posterior, n_starts=N_STARTS, seed=0)), new_x)
