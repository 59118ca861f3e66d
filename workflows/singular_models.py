"""A student larger than its teacher: the weights never become Gaussian, whatever the amount of data.

One tanh unit makes the data, two units fit them, with one input and no biases: k = 4, and k / 2 = 2 would be the
learning coefficient of a Gaussian. It is 5 / 4, and at finite size what an integral says, which is printed beside.
"""

import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import roots_hermitenorm

import bayesnn as bnn
from bayesnn.report.growth import learning_figure, write_growth

SIGMA, PRIOR_SD = 0.1, 2.0
teacher = bnn.Teacher(
    bnn.MLP(1, (1,), 1, bias=False),
    np.array([1.0, 1.0]),
    sigma_noise=SIGMA,
    prior=bnn.NormalPrior(1.0 / PRIOR_SD**2),
    student=bnn.MLP(1, (2,), 1, bias=False),
)


def expected_coefficient(n: int, draws: int = 400_000) -> float:
    """Learning coefficient of the student at inverse temperature 1 / log n, the data's noise averaged out.

    Z(t) is an integral over four weights. Given those of the input it is normal in those of the output; the former are
    drawn from the prior, and inputs are at the points of Gauss and Hermite.
    """
    t = n / np.log(n) / (2.0 * SIGMA**2)
    x, share = roots_hermitenorm(16)
    share = np.sqrt(share / share.sum())
    first = PRIOR_SD * np.random.default_rng(0).standard_normal((draws, 1, 2))
    features, y = share[:, None] * np.tanh(x[:, None] * first), share * np.tanh(x)
    gram = 2.0 * t * features.transpose(0, 2, 1) @ features
    inner = np.eye(2) / PRIOR_SD**2 + gram
    ridge = np.linalg.solve(inner, 2.0 * t * features.transpose(0, 2, 1) @ y[:, None])
    missed = ((y[:, None] - features @ ridge) ** 2).sum(axis=(1, 2))
    log_z = -0.5 * np.linalg.slogdet(inner)[1] - t * missed - 0.5 * (ridge**2).sum(axis=(1, 2)) / PRIOR_SD**2
    # minus d log Z / d log t
    values = 0.5 * np.trace(np.linalg.solve(inner, gram), axis1=1, axis2=2) + t * missed
    z = np.exp(log_z - log_z.max())
    return float((z * values).sum() / z.sum())


if __name__ == "__main__":  # other processes import this file
    sizes, replicates = ([125, 500], 2) if "--quick" in sys.argv else ([125, 500, 2000, 8000], 5)
    folder = Path("runs/singular_models")
    found = bnn.data_growth(
        teacher, sizes, replicates, executor="process", directory=folder / "cells", learning=True, num_samples=1000
    )
    Console().print(found.table())
    table = Table("n", "k / 2", "sampled", "of data without noise", title="Learning coefficient")
    for n, values in zip(sizes, found.values("learning_coefficient"), strict=True):
        sampled = " ".join(f"{value:.2f}" for value in values)
        table.add_row(str(n), "2", sampled, f"{expected_coefficient(n):.3f}")
    Console().print(table)
    print("singular" if found.is_singular else "regular")
    write_growth(found, folder / "growth.html", title="Teacher of one unit, student of two")
    learning_figure(found).savefig(folder / "learning.png", dpi=120)
