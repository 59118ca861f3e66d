"""Bayes on linear networks: as many free directions as theory says, and predictions that are Gaussian all the same."""

import numpy as np
import pytest

from bayesnn import DeepLinear, Verdict
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


@pytest.mark.parametrize("net", NETS, ids=repr)
def test_weights_are_not_gaussian_and_predictions_are(net):
    target = TARGET if min(net.widths) == 2 else np.outer([1.0, 0.5], [0.8, -0.6])
    found = bayes_of_linear_network(net, target, n_rows=1000, num_samples=500)
    assert found.laplace.n_weights == net.n_weights
    assert found.n_zero == found.n_free == n_free_directions(net) > 0
    # the data say nothing along the free directions: the prior has all of the precision there
    shares = found.agreement.prior_share
    assert (shares > 0.99).sum() == found.n_free
    agreement, n_seen = found.agreement, net.n_weights - found.n_free
    # beside chance, what the Gaussian is off by for as many dimensions as the outputs see: TV of order k / sqrt(n)
    off = n_seen / np.sqrt(1000)
    assert np.abs(agreement.predictive_mean_gap).max() < agreement.predictive_mean_gap_band.max() + off
    assert found.worst_in_predictions < agreement.predictive_sd_ratio_band.max() + off
    # of the weights some sd is off by a factor of 2 and more
    assert found.worst_in_weights > np.log(2.0)
    assert agreement.verdict in (Verdict.not_gaussian, Verdict.no_verdict)


def test_one_layer_is_regular_and_gaussian():
    found = bayes_of_linear_network(DeepLinear((2, 2)), TARGET, n_rows=100, num_samples=500)
    assert found.n_zero == found.n_free == 0
    assert found.agreement.verdict == Verdict.gaussian


def test_data_are_those_of_the_linear_map():
    x, y = data_of(TARGET, 20_000, 0.3, seed=1)
    fit = np.linalg.lstsq(x, y)[0].T
    assert np.abs(fit - TARGET).max() < 4.5 * 0.3 / np.sqrt(20_000)
    assert (y - x @ TARGET.T).std() == pytest.approx(0.3, rel=4.0 / np.sqrt(2 * y.size))


def test_bad_input():
    with refuses("model", "'net'", "DeepLinear"):
        bayes_of_linear_network("net", TARGET)
    with refuses("target", "(2, 2)", "(3, 2)"):
        bayes_of_linear_network(DeepLinear((2, 2, 3)), TARGET)
    with refuses("target", "1 NaN", "all finite"):
        bayes_of_linear_network(DeepLinear((1, 1)), [[np.nan]])
    with refuses("n_rows", "0", "at least 1"):
        bayes_of_linear_network(DeepLinear((2, 2)), TARGET, n_rows=0)
    with refuses("sigma_noise", "0", "above 0"):
        bayes_of_linear_network(DeepLinear((2, 2)), TARGET, sigma_noise=0.0)


def test_rank_8_of_18_for_4_3_2():
    assert DeepLinear((4, 3, 2)).n_weights - n_free_directions(DeepLinear((4, 3, 2))) == 8
