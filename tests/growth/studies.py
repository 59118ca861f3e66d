"""A small study, for tests in this and in other processes."""

import sys

import numpy as np

from bayesnn import MLP, NormalPrior
from bayesnn.growth import Growth, Teacher, data_growth

TEACHER = Teacher(
    MLP(2, (2,), 1),
    np.array([1.2, -0.6, 0.5, 1.4, 0.3, -0.4, 1.0, -1.2, 0.2]),
    0.3,
    NormalPrior(1.0 / 9.0),
)
TWO_FOR_ONE = Teacher(
    MLP(1, (1,), 1, bias=False), np.array([1.0, 1.0]), 0.3, NormalPrior(1.0), MLP(1, (2,), 1, bias=False)
)
SMALL = {"replicates": 2, "num_warmup": 60, "num_samples": 60, "n_starts": 2}
SIZES = [60, 120]


def small_study(**how) -> Growth:
    return data_growth(TEACHER, SIZES, **(SMALL | how))


if __name__ == "__main__":
    small_study(directory=sys.argv[1], executor=sys.argv[2])
