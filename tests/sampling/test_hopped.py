"""Replicas begin at better optima than those given, where drawing single units anew finds them."""

import numpy as np
import pytest

import bayesnn.sampling.hopped as module
from bayesnn import LogDensity, find_optimum, fit_laplace, sample
from bayesnn.optimum.descent import Descent
from bayesnn.optimum.status import Status
from bayesnn.sampling import BetterOptimumWarning
from bayesnn.sampling.better_optimum import MUCH_BETTER
from bayesnn.sampling.hopped import hopped
from bayesnn.sampling.moves import ReplicaExchange
from bayesnn.sampling.target import Target
from bayesnn.tree import settings_of
from tests.optimum.test_hops import energy
from tests.sampling.test_better_optimum import good_and_poor  # noqa: F401 -- a fixture

SHORT = {"num_chains": 2, "num_warmup": 40, "num_samples": 8, "seed": 3}


@pytest.fixture(scope="module")
def poor():
    """Laplaces at two optima of eight units, as two starts find them."""
    posterior = energy()
    found = find_optimum(posterior, n_starts=2, seed=1, progress=False)
    optima = [each for each in (found, *found.others) if each.certificate.is_optimum][:2]
    return [fit_laplace(posterior, each) for each in optima]


@pytest.fixture
def lucky(poor, monkeypatch):
    """Hops that find a far better optimum around the first mode, none around the other, and tell of their number."""
    posterior, made = poor[0].posterior, []
    best = find_optimum(posterior, n_starts=16, n_hops=100, seed=0, progress=False)

    def hop(_, begin, n_hops, rng):
        made.append(n_hops)
        yield 1, begin[1]
        yield 0, Descent(best.weights, best.log_density, 0.0, Status.max_steps, 60)

    monkeypatch.setattr(module, "hop", hop)
    return best, made


def test_each_mode_is_replaced_by_a_far_better_one_or_kept(poor, lucky):
    target, left = hopped(Target.of(poor), 60, seed=0)
    assert lucky[1] == [60]
    assert left is not None
    assert left.is_news
    given = Target.of(poor).log_evidences
    replaced = dict(zip(left.modes.tolist(), left.weights, strict=True))
    assert list(replaced) == [0]
    np.testing.assert_allclose(replaced[0], lucky[0].weights, atol=1e-6)
    for mode, weights in replaced.items():
        evidence = fit_laplace(target.posterior, weights).log_marginal_likelihood
        assert evidence > given[mode] + MUCH_BETTER
    np.testing.assert_allclose(left.log_density, target.posterior.log_density(left.weights))
    at = [poor[mode].posterior.log_density(poor[mode].mean) for mode in left.modes]
    np.testing.assert_allclose(left.gained, left.log_density - at)
    kept = [laplace.mean for mode, laplace in enumerate(poor) if mode not in replaced]
    expected = [*left.weights, *kept]
    assert len(target.laplaces) == len(expected)
    assert all(any(np.array_equal(laplace.mean, w) for w in expected) for laplace in target.laplaces)


def test_a_lesser_mode_is_no_news(good_and_poor):  # noqa: F811
    target, left = hopped(Target.of(good_and_poor), 100, seed=0)
    assert left is not None
    assert left.modes.tolist() == [1]
    assert not left.is_news
    assert np.array_equal(target.laplaces[0].mean, good_and_poor[0].mean)


def test_where_it_takes_too_long_or_there_is_nothing_to_draw_nothing_happens(poor, monkeypatch):
    target = Target.of(poor)
    assert hopped(target, 0, seed=0) == (target, None)
    linear = Target.of(fit_laplace(energy(()), find_optimum(energy(()))))
    assert hopped(linear, 100, seed=0) == (linear, None)
    function = Target.of(LogDensity(lambda w: -0.5 * (w**2).sum(-1), ("a", "b")))
    assert hopped(function, 100, seed=0) == (function, None)
    monkeypatch.setattr(module, "MOST_WEIGHTS", target.n_weights - 1)
    assert hopped(target, 100, seed=0) == (target, None)


def test_replicas_begin_there_and_it_is_said(poor, lucky, tmp_path, monkeypatch):
    begun, begin = [], ReplicaExchange.begin
    monkeypatch.setattr(ReplicaExchange, "begin", lambda self, points: (begun.append(points), begin(self, points))[1])
    with pytest.warns(BetterOptimumWarning, match=r"replicas began at better optima .* n_hops"):
        tree = sample(poor, **SHORT, store=tmp_path)
    settings, left = settings_of(tree), tree["left_modes"]
    assert "replicas began at better optima" in settings["left_modes"]
    best = max(laplace.posterior.log_density(laplace.mean) for laplace in poor)
    assert left["log_density"].values.max() > best + MUCH_BETTER
    # Two chains of ten replicas are shared out over two modes: draws of the Gaussian lie sqrt(k) from the better one.
    away = fit_laplace(poor[0].posterior, lucky[0]).factor.whiten(begun[0].reshape(20, -1) - lucky[0].weights)
    assert (np.linalg.norm(away, axis=1) < 1.5 * np.sqrt(poor[0].n_weights)).sum() == 10
    # all modes are known to jumps: those given, and those found
    assert tree["tempering"].attrs["num_modes"] >= len(poor) + 1
    with pytest.warns(BetterOptimumWarning):
        longer = sample(poor, **{**SHORT, "num_samples": 12}, store=tmp_path)
    with pytest.warns(BetterOptimumWarning):
        assert longer.identical(sample(poor, **{**SHORT, "num_samples": 12}))


def test_starts_of_the_users_own_or_of_the_prior_stay(poor, monkeypatch):
    def never(*_):
        raise AssertionError("hops")

    monkeypatch.setattr("bayesnn.sampling.sampler.hopped", never)
    for start in ("prior", np.stack([laplace.mean for laplace in poor])):
        assert "left_modes" not in sample(poor, start=start, **SHORT).children
    sample(poor, **{**SHORT, "num_chains": 4}, move="marginal_hmc", num_integration_steps=4, metric="unit")
