"""Hops: single units drawn anew, from where searches ended."""

from contextlib import contextmanager

import numpy as np
import pytest

from bayesnn import MLP, DeepLinear, FlatPrior, Gaussian, NormalPrior, Posterior, datasets, find_optimum
from bayesnn.optimum.hops import _kicked, hop, unit_places
from tests.refusals import refuses


def wavy(hidden=(4,), bias=True):
    """Rows of a curve that takes several units, each in its place."""
    x = np.linspace(-2.0, 2.0, 60)[:, None]
    y = np.sin(4 * x[:, 0]) + 0.05 * np.random.default_rng(0).standard_normal(60)
    return Posterior(MLP(1, hidden, 1, bias=bias), x, y, Gaussian(0.05), NormalPrior(0.1))


def energy(hidden=(8,), likelihood=None, prior=None):
    """Standardised rows of a data set on which searches end in many places."""
    data = datasets.load("energy")
    x, y = np.asarray(data.x)[::2], np.asarray(data.y).reshape(len(data.x), -1)[::2, 0]
    x, y = (x - x.mean(axis=0)) / x.std(axis=0), (y - y.mean()) / y.std()
    return Posterior(MLP(8, hidden, 1), x, y, likelihood or Gaussian(0.04), prior or NormalPrior(0.3))


def test_a_unit_is_all_that_goes_in_and_out():
    net = MLP(2, (3, 2), 1)
    # W1 (2, 3) at 0..5, b1 at 6..8, W2 (3, 2) at 9..14, b2 at 15..16, W3 (2, 1) at 17..18, b3 at 19
    assert [block.name for block in net.weight_blocks] == ["W1", "b1", "W2", "b2", "W3", "b3"]
    assert [sorted(places.tolist()) for places in unit_places(net)] == [
        [0, 3, 6, 9, 10],
        [1, 4, 7, 11, 12],
        [2, 5, 8, 13, 14],
        [9, 11, 13, 15, 17],
        [10, 12, 14, 16, 18],
    ]
    assert [sorted(places.tolist()) for places in unit_places(MLP(2, (2,), 1, bias=False))] == [[0, 2, 4], [1, 3, 5]]


def test_a_kick_draws_one_unit_or_two_and_leaves_the_rest():
    posterior = wavy()
    places, weights = unit_places(posterior.network), np.full(posterior.n_weights, 7.0)
    rng, counts = np.random.default_rng(0), []
    for _ in range(400):
        changed = np.flatnonzero(_kicked(posterior, weights, places, rng) != 7.0)
        units = [i for i, own in enumerate(places) if np.isin(own, changed).all()]
        assert sum(len(places[i]) for i in units) == len(changed)
        counts.append(len(units))
    assert set(counts) == {1, 2}
    assert abs(np.mean(np.array(counts) == 2) - 0.3) < 4.5 * np.sqrt(0.3 * 0.7 / 400)


def test_hops_find_what_as_many_starts_do_not():
    posterior = energy()
    starts = find_optimum(posterior, n_starts=68, seed=0, progress=False)
    hops = find_optimum(posterior, n_starts=8, n_hops=60, seed=0, progress=False)
    assert hops.certificate.is_optimum
    assert hops.status.value == "converged"
    assert hops.log_density > starts.log_density + 1.0


def test_without_hops_a_search_is_as_it_was_and_with_them_no_worse():
    posterior = wavy()
    plain = find_optimum(posterior, n_starts=3, seed=1, progress=False)
    again = find_optimum(posterior, n_starts=3, n_hops=0, seed=1, progress=False)
    assert np.array_equal(plain.weights, again.weights)
    some = find_optimum(posterior, n_starts=3, n_hops=5, seed=1, progress=False)
    assert some.log_density >= plain.log_density
    same = find_optimum(posterior, n_starts=3, n_hops=5, seed=1, progress=False)
    assert np.array_equal(some.weights, same.weights)


@pytest.mark.parametrize("case", ["deep", "flat prior", "noise inferred"])
def test_other_networks_hop_too(case):
    posterior = energy((3, 3)) if case == "deep" else energy((3,))
    if case == "flat prior":
        posterior = energy((3,), prior=FlatPrior())
    if case == "noise inferred":
        posterior = energy(likelihood=Gaussian("infer"))
    plain = find_optimum(posterior, n_starts=1, seed=0, progress=False)
    some = find_optimum(posterior, n_starts=1, n_hops=100, seed=0, progress=False)
    assert some.log_density > plain.log_density


def test_ctrl_c_keeps_what_hops_have_found(monkeypatch):
    import bayesnn.optimum.hops as hops

    posterior, made = wavy((6,)), []
    kicked = hops._kicked

    def pressed(*arguments):
        made.append(1)
        if len(made) > 40:  # in the second round
            raise KeyboardInterrupt
        return kicked(*arguments)

    plain = find_optimum(posterior, n_starts=1, seed=0, progress=False)
    monkeypatch.setattr(hops, "_kicked", pressed)
    found = find_optimum(posterior, n_starts=1, n_hops=200, seed=0, progress=False)
    assert found.interrupted
    assert found.log_density > plain.log_density


def test_bad_input():
    with refuses("n_hops", "-1", "at least 0"):
        find_optimum(wavy(), n_hops=-1)
    linear = Posterior(DeepLinear((1, 2, 1)), np.ones((3, 1)), np.ones(3), Gaussian(1.0), NormalPrior(1.0))
    with refuses("n_hops", "4 for", "no hidden units"):
        find_optimum(linear, n_hops=4)
    with refuses("n_hops", "4 for", "no hidden units"):
        find_optimum(wavy(()), n_hops=4)
    with refuses("posterior", "one of DeepLinear", "hidden units"):
        next(hop(linear, [], 4, np.random.default_rng(0)))


def test_the_bar_counts_starts_and_hops(monkeypatch):
    ticks = []

    @contextmanager
    def counting(description, total, show=None):
        yield lambda steps=1, /, **figures: ticks.append((steps, total))

    monkeypatch.setattr("bayesnn.optimum.find.progress_bar", counting)
    find_optimum(wavy(), n_starts=3, n_hops=20, seed=0)
    assert sum(steps for steps, _ in ticks) == ticks[0][1] == 23
    assert len(ticks) > 23  # the climbs that end what hops began


def test_a_kick_leaves_the_rest_of_the_network_wherever_its_precision_was():
    x = np.linspace(-2.0, 2.0, 30)[:, None]
    prior = NormalPrior("infer", 0.3, log_precision_prior=(0.0, 1.0))
    posterior = Posterior(MLP(1, (4,), 1), x, np.sin(4 * x), Gaussian("infer"), prior)
    rng = np.random.default_rng(0)
    weights = np.concatenate([rng.standard_normal(posterior.network.n_weights), [-2.0, -1.0]])
    before, places = posterior.network_weights(weights), unit_places(posterior.network)
    for _ in range(20):
        kicked = _kicked(posterior, weights, places, rng)
        changed = np.flatnonzero(~np.isclose(posterior.network_weights(kicked), before, rtol=1e-12))
        assert len(changed) in (3, 6)
        assert kicked[-2] == 0.0  # where searches begin
