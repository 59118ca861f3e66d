"""The rates of theory, seen: the 2-2-1 teacher from 500 to 8000 rows."""

import os

import pytest

from bayesnn.growth import data_growth
from tests.growth.studies import TEACHER

TRUST = os.environ.get("BAYESNN_TRUST") == "1"
SIZES = [500, 1000, 2000, 4000, 8000] if TRUST else [500, 2000, 8000]


@pytest.fixture(scope="module")
def found():
    return data_growth(TEACHER, SIZES, replicates=10 if TRUST else 5, num_samples=1000, n_starts=2)


@pytest.mark.parametrize(
    ("name", "slope", "within"),
    [
        ("hessian_kl", -1.0, 0.1),
        ("ggn_kl", -1.0, 0.1),
        ("hessian_mean_error", -0.5, 0.1),
        ("hessian_mean_error_by_weights", -0.5, 0.1),
        ("hessian_covariance_error_by_weights", -1.0, 0.15),
        ("ggn_covariance_error_by_weights", -0.5, 0.15),
        ("hessian_skewness", -0.5, 0.1),
        ("rejection_of_independence", -0.5, 0.1),
    ],
)
def test_distances_shrink_as_theory_says(found, name, slope, within):
    rate = found.rates()[name]
    assert rate.n_sizes == len(SIZES)
    assert abs(rate.slope - slope) < within


def test_kl_is_what_third_derivatives_said(found):
    for name in ("hessian", "ggn"):
        ratio = (found.values(f"{name}_kl") / found.values(f"{name}_kl_leading_order"))[1:]  # from n = 1000 on
        error = (found.values(f"{name}_kl_error") / found.values(f"{name}_kl_leading_order"))[1:]
        assert ((ratio > 0.95 - 3.0 * error) & (ratio < 1.1 + 3.0 * error)).all()


def test_the_gaussian_is_good_enough_where_it_is_said_to_be(found):
    # n KL = 63.31: 0.05 nats at n = 1266
    enough = found.good_enough(0.05)
    assert enough.interval[0] < 1266 * 1.2
    assert enough.interval[1] > 1266 / 1.2
    assert enough.n == pytest.approx(1266, rel=0.3)
