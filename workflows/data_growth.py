"""Watch a posterior become Gaussian as data grow: a teacher of two units, and a data set of one's own.

Run it again, and only what is missing is done.
"""

from pathlib import Path

import numpy as np
from rich.console import Console

import bayesnn as bnn
from bayesnn.report.growth import growth_figure, narrowing_figure, write_growth

teacher = bnn.Teacher(
    bnn.MLP(2, (2,), 1),
    np.array([1.2, -0.6, 0.5, 1.4, 0.3, -0.4, 1.0, -1.2, 0.2]),
    sigma_noise=0.3,
    prior=bnn.NormalPrior(1.0 / 9.0),
)

if __name__ == "__main__":  # other processes import this file
    folder = Path("runs/data_growth")
    found = bnn.data_growth(
        teacher, [125, 250, 500, 1000, 2000, 4000, 8000], 5, seed=0, executor="process", directory=folder / "cells"
    )
    Console().print(found.table())
    growth_figure(found).savefig(folder / "growth.png", dpi=120)
    narrowing_figure(found).savefig(folder / "narrowing.png", dpi=120)
    print(found.good_enough(kl=0.01))
    write_growth(found, folder / "growth.html", kl=0.01)
