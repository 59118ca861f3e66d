import numpy as np
import pytest

from bayesnn.models import MLP
from bayesnn.posterior import FlatPrior, NormalPrior, Prior
from tests.refusals import refuses

NET = MLP(2, (3,), 1)  # W1 6, b1 3, W2 3, b2 1


def test_one_precision_goes_to_every_weight():
    assert np.array_equal(NormalPrior(2.5).precision_for(NET.weight_blocks), np.full(13, 2.5))


def test_one_precision_a_layer_goes_to_its_weights_and_biases():
    expected = np.r_[np.full(9, 2.0), np.full(4, 7.0)]
    assert np.array_equal(NormalPrior([2.0, 7.0]).precision_for(NET.weight_blocks), expected)


def test_one_precision_a_weight_stays_in_order():
    each = np.arange(1.0, 14.0)
    assert np.array_equal(NormalPrior(each).precision_for(NET.weight_blocks), each)


def test_what_is_handed_out_can_be_changed_without_harm():
    prior = NormalPrior(np.ones(13))
    prior.precision_for(NET.weight_blocks)[0] = 99.0
    assert np.array_equal(prior.precision_for(NET.weight_blocks), np.ones(13))


def test_a_flat_prior_has_no_precision():
    assert np.array_equal(FlatPrior().precision_for(NET.weight_blocks), np.zeros(13))


def test_both_are_priors():
    assert isinstance(NormalPrior(1.0), Prior)
    assert isinstance(FlatPrior(), Prior)


@pytest.mark.parametrize("count", [3, 12, 14])
def test_another_number_of_precisions_is_refused(count):
    with refuses("prior_precision", f"{count} values", "one per layer (2) or one per weight (13)"):
        NormalPrior(np.ones(count)).precision_for(NET.weight_blocks)


@pytest.mark.parametrize(
    ("precision", "got"),
    [
        (0.0, "0"),
        (-1.0, "-1"),
        ([1.0, -3.0], "-3"),
        (np.inf, "infinite"),
        ([np.nan, 1.0], "first at index (0,)"),
        ([[1.0]], "shape (1, 1)"),
        ("much", "'much'"),
    ],
)
def test_what_is_no_precision_is_refused(precision, got):
    with refuses("prior_precision", got, "above 0"):
        NormalPrior(precision)
