"""A student larger than its teacher: the weights never become Gaussian, whatever the amount of data.

One tanh unit makes the data, two units fit them, with one input and no biases: k = 4, and k / 2 = 2 would be the
learning coefficient of a Gaussian. It is 5 / 4.
"""

from pathlib import Path

import numpy as np
from rich.console import Console

import bayesnn as bnn
from bayesnn.report.growth import learning_figure, write_growth

teacher = bnn.Teacher(
    bnn.MLP(1, (1,), 1, bias=False),
    np.array([1.0, 1.0]),
    sigma_noise=0.3,
    prior=bnn.NormalPrior(1.0),
    student=bnn.MLP(1, (2,), 1, bias=False),
)

if __name__ == "__main__":  # other processes import this file
    folder = Path("runs/singular_models")
    found = bnn.data_growth(
        teacher, [125, 500, 2000, 8000], 3, executor="process", directory=folder / "cells", learning=True
    )
    Console().print(found.table())
    print(found.learning_coefficient())
    print("singular" if found.is_singular else "regular")
    write_growth(found, folder / "growth.html", title="Teacher of one unit, student of two")
    learning_figure(found).savefig(folder / "learning.png", dpi=120)
