"""Aoyagi's learning coefficients: the table of the theory notes, and the formulas for two matrices."""

import numpy as np
import pytest

from bayesnn import DeepLinear
from bayesnn.agreement import learning_coefficient
from bayesnn.landscape import learning_coefficient_exact
from tests.agreement.test_learning_coefficient import Row
from tests.refusals import refuses

# widths, rank, lambda, multiplicity, k / 2
TABLE = [
    ((1, 1, 1), 0, 0.5, 2, 1.0),
    ((2, 2, 2), 0, 1.5, 1, 4.0),
    ((3, 2, 3), 0, 2.5, 1, 6.0),
    ((4, 2, 3), 0, 3.0, 2, 7.0),
    ((5, 2, 2), 0, 2.0, 1, 7.0),
    ((2, 1, 2), 0, 1.0, 2, 2.0),
    ((2, 1, 2), 1, 1.5, 1, 2.0),
    ((3, 2, 3), 1, 3.5, 2, 6.0),
    ((5, 3, 5), 0, 6.5, 2, 15.0),
    ((5, 3, 5), 2, 9.5, 2, 15.0),
    ((4, 3, 8), 0, 6.0, 1, 18.0),
    ((3, 8, 4), 0, 6.0, 1, 28.0),
    ((10, 5, 10), 3, 32.0, 1, 50.0),
    ((1, 1, 1, 1), 0, 0.5, 3, 1.5),
    ((2, 2, 2, 2), 0, 1.5, 3, 6.0),
    ((2, 2, 2, 2), 1, 2.0, 3, 6.0),
    ((3, 3, 3, 3), 0, 3.0, 1, 13.5),
    ((3, 2, 3, 3), 1, 3.5, 3, 10.5),
    ((5, 5, 5, 5, 5), 0, 8.0, 4, 50.0),
    ((5, 4, 4, 5), 2, 10.0, 3, 28.0),
]


@pytest.mark.parametrize(("widths", "rank", "value", "multiplicity", "half"), TABLE)
def test_table(widths, rank, value, multiplicity, half):
    found = learning_coefficient_exact(widths, rank)
    assert (found.value, found.multiplicity, found.n_weights / 2.0) == (value, multiplicity, half)
    assert found.n_weights == DeepLinear(widths).n_weights
    assert found.is_singular


def aoyagi_watanabe(m, h, n, r):
    """Aoyagi & Watanabe (2005), of M inputs, H hidden units, N outputs and rank r."""
    if m + h < n + r:
        return (h * m - h * r + n * r) / 2, 1
    if n + h < m + r:
        return (h * n - h * r + m * r) / 2, 1
    if m + n < h + r:
        return m * n / 2, 1
    s = -((h + r) ** 2) - m**2 - n**2 + 2 * (h + r) * (m + n) + 2 * m * n
    return (s / 8, 1) if (m + h + n + r) % 2 == 0 else ((s + 1) / 8, 2)


def test_two_matrices_on_all_sizes_up_to_7():
    for m, h, n in np.ndindex(7, 7, 7):
        widths = (m + 1, h + 1, n + 1)
        for rank in range(min(widths) + 1):
            found = learning_coefficient_exact(widths, rank)
            assert (found.value, found.multiplicity) == aoyagi_watanabe(*widths, rank), (widths, rank)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_one_matrix_is_regular(rank):
    found = learning_coefficient_exact((3, 2), rank)
    assert (found.value, found.multiplicity) == (3.0, 1)
    assert not found.is_singular


def test_a_layer_is_no_less_singular_in_either_direction():
    for widths, rank, *_ in TABLE:
        one, other = learning_coefficient_exact(widths, rank), learning_coefficient_exact(widths[::-1], rank)
        assert (one.value, one.multiplicity) == (other.value, other.multiplicity)


class Linear(Row):
    """A row of the table as a DeepLinear."""

    @property
    def network(self):
        return DeepLinear(self.widths)


SAMPLED = {
    (2, 2, 2, 0): Linear((2, 2, 2), 1.5, 1),
    (3, 2, 3, 0): Linear((3, 2, 3), 2.5, 1),
    (2, 1, 2, 1): Linear((2, 1, 2), 1.5, 1, truth=(1.0, 0.5, 0.8, -0.6)),
}


@pytest.mark.parametrize("row", SAMPLED, ids=str)
def test_sampled_coefficients_are_the_integrals_at_the_same_amount_of_data(row):
    *widths, rank = row
    problem = SAMPLED[row]
    expected, uncertain = problem.exact()
    found = learning_coefficient(problem.laplace(), inverse_temperature=1.0, num_samples=2000)
    assert found.rhat < 1.02
    assert abs(found.value - expected) < 2.0 * np.hypot(found.error, uncertain)
    # the integral goes to the formula: of multiplicity 1, the next order vanishes like a power of t
    exact = learning_coefficient_exact(widths, rank)
    far, of_far = problem.exact(1e4)
    assert abs(far - exact.value) < 0.02 + 4.0 * of_far
    assert abs(far - exact.value) < abs(expected - exact.value) + 4.0 * np.hypot(of_far, uncertain)


def test_bad_input():
    with refuses("rank", "3", "at most 2, the smallest width"):
        learning_coefficient_exact((3, 2, 3), 3)
    with refuses("rank", "-1", "at least 0"):
        learning_coefficient_exact((3, 2, 3), -1)
    with refuses("widths", "(3,)", "at least two widths"):
        learning_coefficient_exact((3,), 0)
    with refuses("widths", "0", "at least 1"):
        learning_coefficient_exact((3, 0), 0)
    with refuses("rank", "1.5", "integer"):
        learning_coefficient_exact((3, 2), 1.5)
