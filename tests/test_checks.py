import numpy as np
import pytest

from bayesnn.checks import describe, finite_array, integer_at_least, one_of, positive_number
from tests.refusals import refuses


def test_a_description_fits_on_a_line():
    assert describe(3) == "3"
    assert describe(np.zeros((2, 3))) == "an array of shape (2, 3)"
    assert len(describe("x" * 1000)) == 60


@pytest.mark.parametrize("value", [[[1, 2], [3, 4]], ((1, 2), (3, 4)), np.array([[1, 2], [3, 4]], dtype=np.float32)])
def test_numbers_of_any_kind_become_contiguous_float64(value):
    array = finite_array("x", value, (2,), "shape (n, 2)")
    assert array.dtype == np.float64
    assert array.flags.c_contiguous
    assert np.array_equal(array, [[1.0, 2.0], [3.0, 4.0]])


def test_a_transposed_view_comes_back_contiguous():
    assert finite_array("x", np.zeros((3, 2)).T, (2,), "").flags.c_contiguous


def test_one_number_becomes_an_array_without_axes():
    assert finite_array("x", 2, (0, 1), "").shape == ()
    assert finite_array("x", 2, (0, 1), "") == 2.0


def test_another_number_of_axes_is_refused():
    with refuses("x", "shape (2,)", "shape (n, 2)"):
        finite_array("x", [1.0, 2.0], (2,), "shape (n, 2)")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted_and_located(bad):
    with refuses("x", "2 NaN or infinite value(s), first at index (1, 0)", "all finite"):
        finite_array("x", [[1.0, 2.0], [bad, bad]], (2,), "shape (n, 2)")
    with refuses("x", "the value itself", "all finite"):
        finite_array("x", bad, (0,), "a number")


@pytest.mark.parametrize(
    "value", ["abc", {"a": 1}, object(), [[1, 2], [3]], [1j], [None, "b"]], ids=lambda v: type(v).__name__
)
def test_what_is_no_array_of_numbers_is_refused(value):
    with refuses("x", "", "numbers only"):
        finite_array("x", value, (0, 1, 2), "shape (n, 2)")


@pytest.mark.parametrize("value", [True, None, "1.0", ["1.0", "2.0"], [None]], ids=repr)
def test_what_numpy_would_turn_into_numbers_is_refused(value):
    with refuses("x", repr(value), "numbers only"):
        finite_array("x", value, (0, 1, 2), "shape (n, 2)")


@pytest.mark.parametrize("value", [0.5, 3, np.float64(2.0), np.int32(1), np.float32(0.25)])
def test_positive_numbers_become_floats(value):
    assert positive_number("a", value) == float(value)
    assert type(positive_number("a", value)) is float


@pytest.mark.parametrize("value", [0, 0.0, -1, np.nan, np.inf, True, "1", None, [1.0], 1j])
def test_what_is_no_positive_number_is_refused(value):
    with refuses("a", repr(value), "a finite number above 0"):
        positive_number("a", value)


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_integers_become_ints(value):
    assert integer_at_least("a", value, 3) == 3
    assert type(integer_at_least("a", value, 3)) is int


@pytest.mark.parametrize("value", [2, -3, 3.0, True, "3", None, np.nan, (3,)])
def test_what_is_no_such_integer_is_refused(value):
    with refuses("a", repr(value), "an integer of at least 3"):
        integer_at_least("a", value, 3)


def test_one_of_returns_the_value_or_lists_the_choices():
    assert one_of("a", "x", ("x", "y")) == "x"
    with refuses("a", "'z'", "one of 'x', 'y'"):
        one_of("a", "z", (c for c in ("x", "y")))


@pytest.mark.parametrize("value", [None, 3, np.eye(2), ["x"]], ids=lambda v: type(v).__name__)
def test_one_of_refuses_what_is_no_string(value):
    with refuses("a", "", "one of 'x', 'y'"):
        one_of("a", value, ("x", "y"))
