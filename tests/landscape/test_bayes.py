"""Bayes on linear networks: as many free directions as theory says, and predictions that are Gaussian all the same."""

import numpy as np
import pytest

from bayesnn import DeepLinear
from bayesnn.landscape import bayes_of_linear_network, n_free_directions
from bayesnn.landscape.bayes import data_of
from tests.refusals import refuses

NETS = [DeepLinear((2, 2, 2)), DeepLinear((2, 1, 2)), DeepLinear((2, 2, 2), residual=True)]
TARGET = np.array([[1.2, -0.5], [0.4, 0.9]])


@pytest.mark.parametrize(
    "net", [*NETS, DeepLinear((4, 3, 2)), DeepLinear((2, 3, 2)), DeepLinear((3, 2, 4, 3))], ids=repr
)
def test_free_directions_are_the_zeros_of_the_jacobian(net):
    rng = np.random.default_rng(0)
    w, x = rng.standard_normal(net.n_weights), rng.standard_normal((50, net.widths[0]))
    singular = np.linalg.svd(net.jacobian(w, x).reshape(-1, net.n_weights), compute_uv=False)
    assert (singular < 1e-10 * singular[0]).sum() == n_free_directions(net)


def test_rank_8_of_18_for_4_3_2():
    assert DeepLinear((4, 3, 2)).n_weights - n_free_directions(DeepLinear((4, 3, 2))) == 8
