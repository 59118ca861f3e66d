"""Where temperatures stand."""

import numpy as np
import pytest

from bayesnn.sampling.ladder import checked_ladder, equal_rejection, geometric_ladder
from tests.refusals import refuses


def test_of_a_barrier_that_is_even_in_the_log_levels_stay_in_equal_ratios():
    ladder = geometric_ladder(5, 0.01)
    assert np.allclose(ladder[1:] / ladder[:-1], 0.01**0.25)
    assert np.allclose(equal_rejection(ladder, np.full(4, 0.3)), ladder)


def test_levels_go_to_where_neighbours_refuse():
    ladder = geometric_ladder(5, 0.01)
    moved = equal_rejection(ladder, np.array([0.0, 0.9, 0.0, 0.0]))
    assert moved[0] == 1.0
    assert moved[-1] == 0.01
    between = (moved >= ladder[2]) & (moved <= ladder[1])
    assert between.sum() >= 3
    assert np.all(np.diff(moved) < 0)


@pytest.mark.parametrize("rejection", [np.zeros(3), np.ones(3), np.array([0.0, 1.0, 0.0])])
def test_no_two_levels_meet(rejection):
    moved = equal_rejection(np.array([1.0, 0.5, 0.2, 0.1]), rejection)
    assert np.all(np.diff(moved) < 0)
    assert checked_ladder(moved) is not None


@pytest.mark.parametrize(
    ("ladder", "got"),
    [
        ([1.0], "[1.0]"),
        ([], "[]"),
        ([0.9, 0.5], "[0.9, 0.5]"),
        ([1.0, 1.0], ""),
        ([1.0, 0.2, 0.5], ""),
        ([1.0, 0.0], ""),
    ],
)
def test_what_is_no_ladder_is_refused(ladder, got):
    with refuses("inverse_temperatures", got, "at least two numbers that fall from 1, all above 0"):
        checked_ladder(ladder)


def test_a_ladder_has_two_levels_and_a_hot_end_below_1():
    with refuses("num_levels", "1", "at least 2"):
        geometric_ladder(1, 0.1)
    for hottest in (1.0, 2.0):
        with refuses("hottest", str(hottest), "between 0 and 1"):
            geometric_ladder(3, hottest)
