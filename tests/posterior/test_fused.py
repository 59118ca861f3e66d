"""The compiled kernel against the NumPy path, which is its oracle."""

import os
from importlib import import_module
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest

import bayesnn.posterior.fused.sharing as sharing_module
from bayesnn import (
    MLP,
    Bernoulli,
    Categorical,
    FlatPrior,
    FunctionModel,
    Gaussian,
    HeteroscedasticGaussian,
    NormalPrior,
    Poisson,
    Posterior,
    StudentT,
)
from bayesnn.posterior.fused.activations import tanh
from bayesnn.posterior.fused.freshness import STAMP, forget_older
from bayesnn.posterior.fused.packs import WIDTH
from bayesnn.posterior.fused.problem import MOST_ROWS, rows_of_block
from bayesnn.sampling.moves import HMC
from bayesnn.sampling.moves.unit_metropolis import unit_steps
from tests.refusals import refuses

N = 301  # more than a block, and no multiple of a vector

LIKELIHOODS = {
    "Gaussian": (lambda rng: Gaussian(0.3), 1),
    "Gaussian, two outputs": (lambda rng: Gaussian(0.3), 2),
    "Gaussian, sigma per row": (lambda rng: Gaussian(rng.uniform(0.1, 1.0, N)), 1),
    "Gaussian, inferred": (lambda rng: Gaussian("infer"), 1),
    "Gaussian, inferred with a prior, two outputs": (lambda rng: Gaussian("infer", (-1.0, 0.5)), 2),
    "heteroscedastic": (lambda rng: HeteroscedasticGaussian(), 2),
    "Student-t": (lambda rng: StudentT(df=3.5, scale=0.4), 2),
    "Bernoulli": (lambda rng: Bernoulli(), 2),
    "categorical": (lambda rng: Categorical(), 3),
    "Poisson": (lambda rng: Poisson(), 2),
}


def posterior_of(likelihood="Gaussian", hidden=(5,), activation="tanh", bias=True, n=N, prior=None, seed=0):
    rng = np.random.default_rng(seed)
    make, n_outputs = LIKELIHOODS[likelihood]
    x = rng.standard_normal((n, 3))
    columns = {"heteroscedastic": 1, "categorical": 1}.get(likelihood, n_outputs)
    y = rng.standard_normal((n, columns))
    if likelihood == "Bernoulli":
        y = (y > 0).astype(float)
    elif likelihood == "categorical":
        y = rng.integers(0, n_outputs, (n, 1)).astype(float)
    elif likelihood == "Poisson":
        y = rng.poisson(2.0, (n, columns)).astype(float)
    net = MLP(3, hidden, n_outputs, activation=activation, bias=bias)
    return Posterior(net, x, y, make(rng), prior or NormalPrior(1.5))


def points(posterior, chains=5, scale=1.0, seed=1):
    return scale * np.random.default_rng(seed).standard_normal((chains, posterior.n_weights))


def assert_same(posterior, weights, rtol=1e-12):
    value, gradient = posterior.fused()(weights)
    expected, slope = posterior.value_and_gradient(weights)
    assert value.shape == expected.shape
    assert gradient.shape == slope.shape
    assert np.allclose(value, expected, rtol=rtol, atol=0.0)
    # errors of sums over the rows are relative to the largest entry
    assert np.abs(gradient - slope).max() <= rtol * np.abs(slope).max()
    assert np.allclose(posterior.fused().log_density(weights), expected, rtol=rtol, atol=0.0)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("hidden", [(5,), (4, 3), ()])
def test_every_likelihood_has_the_numbers_of_the_oracle(likelihood, hidden):
    posterior = posterior_of(likelihood, hidden)
    assert_same(posterior, points(posterior))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_power_of_every_likelihood_times_the_prior(likelihood):
    posterior = posterior_of(likelihood)
    weights, power = points(posterior), 0.3
    value, gradient = posterior.fused(inverse_temperature=power)(weights)
    whole, slope = posterior.value_and_gradient(weights)
    prior = posterior.log_density(weights) - posterior.log_likelihood(weights).sum(axis=-1)
    prior_slope = -posterior.prior_precision * (weights - posterior.prior_mean)
    assert np.allclose(value, prior + power * (whole - prior), rtol=1e-12)
    expected = prior_slope + power * (slope - prior_slope)
    assert np.abs(gradient - expected).max() <= 1e-12 * np.abs(slope).max()


@pytest.mark.parametrize("inverse_temperature", [0.0, -1.0, np.nan, "cold"])
def test_a_power_of_the_likelihood_is_above_0(inverse_temperature):
    for density in (posterior_of().fused, posterior_of().marginal):
        with refuses("inverse_temperature", "", "above 0"):
            density(inverse_temperature)


@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus", "sin", "identity"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("hidden", [(1,), (9, 2), (17, 3, 5)])
def test_every_activation_and_depth_has_the_numbers_of_the_oracle(activation, bias, hidden):
    posterior = posterior_of(hidden=hidden, activation=activation, bias=bias)
    assert_same(posterior, points(posterior))


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, MOST_ROWS, MOST_ROWS + 1, 3 * MOST_ROWS - 1])
def test_any_number_of_rows(n):
    posterior = posterior_of(n=n)
    assert_same(posterior, points(posterior))


@pytest.mark.parametrize(
    "prior",
    [FlatPrior(), NormalPrior([0.5, 2.0]), NormalPrior(3.0, prior_mean=0.7), NormalPrior(np.linspace(0.1, 2.0, 26))],
    ids=["flat", "by layer", "with a mean", "by weight"],
)
def test_every_prior(prior):
    posterior = posterior_of(prior=prior)
    assert_same(posterior, points(posterior))


def test_one_weight_vector_gives_one_value():
    posterior = posterior_of()
    assert_same(posterior, points(posterior)[0])


@pytest.mark.parametrize("scale", [1e-8, 1e-3, 10.0, 300.0])
def test_small_and_saturated_sums_are_right_too(scale):
    posterior = posterior_of(hidden=(4, 3))
    assert_same(posterior, points(posterior, scale=scale))


def test_tanh_to_the_last_bits():
    ends = np.geomspace(1e-300, 700.0, 4001)
    z = np.concatenate([-ends[::-1], [0.0, np.inf, -np.inf, np.nan], ends, [1.0, 2.0]])
    assert z.size % WIDTH == 0
    h = z.copy()
    tanh(h, 0, h.size)
    assert np.isnan(h[np.isnan(z)]).all()
    assert np.nanmax(np.abs(h - np.tanh(z))) <= 4 * np.finfo(float).eps


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_give_no_number_and_leave_other_chains_alone(bad):
    posterior = posterior_of(hidden=(4, 3))
    weights = points(posterior)
    alone, _ = posterior.fused()(weights)
    weights[2, 3] = bad
    value, _ = posterior.fused()(weights)
    assert not np.isfinite(value[2])
    assert np.array_equal(np.delete(value, 2), np.delete(alone, 2))


def share_among(threads, openmp, monkeypatch):
    """Let every call, however small, be shared out among so many threads."""
    if not openmp:
        monkeypatch.setattr(sharing_module, "has_openmp", lambda: False)
    monkeypatch.setattr(sharing_module, "n_cores", lambda: threads)
    monkeypatch.setattr(sharing_module.numba, "get_num_threads", lambda: threads)
    monkeypatch.setattr(sharing_module, "WORTH_A_THREAD", 0)
    monkeypatch.setattr(sharing_module, "WORTH_WAKING_ONE", 0)


@pytest.mark.parametrize("openmp", [True, False])
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_chains_are_the_same_to_the_bit_for_any_number_of_threads_and_of_other_chains(threads, openmp, monkeypatch):
    posterior = posterior_of()
    weights = points(posterior, chains=7)
    fused = posterior.fused()
    one_by_one = [fused(w) for w in weights]
    share_among(threads, openmp, monkeypatch)
    for _ in range(3):  # the first call takes one thread, to time it
        value, gradient = fused(weights)
        assert np.array_equal(value, [each[0] for each in one_by_one])
        assert np.array_equal(gradient, [each[1] for each in one_by_one])
    assert np.array_equal(fused.log_density(weights), fused.log_density(weights[::-1])[::-1])


@pytest.mark.parametrize("openmp", [True, False])
@pytest.mark.parametrize("threads", [2, 3])
def test_trajectories_draws_and_unit_steps_are_the_same_to_the_bit_for_any_number_of_threads(
    threads, openmp, monkeypatch
):
    posterior = posterior_of()
    marginal = posterior.marginal()

    def everything():
        """What each compiled kernel makes of seven chains."""
        found = []
        for density, size in ((posterior.fused(), posterior.n_weights), (marginal, marginal.n_kept)):
            start, momenta = points_of(size, 7, 1), points_of(size, 7, 2)
            gradient, scale, steps = density(start)[1], np.full(size, 0.1), np.linspace(0.01, 0.1, 7)
            for _ in range(3):  # the first call takes one thread, to time it
                found += [density(start), density.leapfrog(start, momenta, gradient, scale, steps, 5)]
        kept = points_of(marginal.n_kept, 7, 3)
        units = unit_steps(marginal, 7, 12, np.random.RandomState(2))
        for _ in range(3):
            found += [marginal.step_units(kept, marginal.log_density(kept), units), (marginal.complete(kept),)]
        return [array for arrays in found for array in arrays]

    def points_of(size, chains, seed):
        return 0.3 * np.random.default_rng(seed).standard_normal((chains, size))

    alone = everything()
    share_among(threads, openmp, monkeypatch)
    for ours, theirs in zip(everything(), alone, strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("n_steps", [1, 2, 9])
def test_a_trajectory_is_that_of_hmc_in_numpy(dense, n_steps):
    posterior, rng = posterior_of("Gaussian, inferred"), np.random.default_rng(3)
    k = posterior.n_weights
    metric = np.exp(0.3 * rng.standard_normal(k))
    if dense:
        half = rng.standard_normal((k, k)) / np.sqrt(k) + np.eye(k)
        metric = half @ half.T
    weights, momenta = 0.1 * points(posterior), points(posterior, seed=2)
    steps = rng.uniform(0.002, 0.01, (len(weights), 1))
    gradient = posterior.value_and_gradient(weights)[1]
    ends = [
        HMC(density, metric, 0.1, n_steps).integrate(weights, momenta, gradient, steps, n_steps)
        for density in (posterior.value_and_gradient, posterior.fused())
    ]
    for mine, theirs in zip(*ends, strict=True):
        assert np.allclose(theirs, mine, rtol=1e-9, atol=1e-9 * np.abs(mine).max())


def test_a_trajectory_leaves_its_beginning_alone():
    posterior = posterior_of()
    start, momenta = points(posterior), points(posterior, seed=2)
    gradient = posterior.value_and_gradient(start)[1]
    before = start.copy(), momenta.copy(), gradient.copy()
    posterior.fused().leapfrog(start, momenta, gradient, np.ones(posterior.n_weights), np.full(5, 1e-3), 3)
    assert all(np.array_equal(a, b) for a, b in zip(before, (start, momenta, gradient), strict=True))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_trajectories_that_overflow_end_in_no_number_and_nothing_else(likelihood, monkeypatch):
    monkeypatch.setattr(sharing_module, "WORTH_A_THREAD", 0)
    posterior = posterior_of(likelihood, hidden=(4, 3), activation="softplus")
    start = points(posterior, chains=16)
    fused = posterior.fused()
    for step in (1e3, 1e150, 1e308):
        gradient = fused(start)[1]
        _, _, value, _ = fused.leapfrog(
            start, points(posterior, 16, seed=4), gradient, np.ones(posterior.n_weights), np.full(16, step), 20
        )
        # far out, everything is unlikely, or no number at all: never likely
        assert not np.any(value > 1e3)


def _in_child(queue, fused, weights):
    posterior = posterior_of()
    for density in (fused, posterior.fused()):
        for _ in range(3):  # the first call of a density takes one thread, to time it
            queue.put(density(weights)[0])


@pytest.mark.parametrize("calls", [1, 2])
def test_a_forked_process_starts_threads_of_its_own(calls, monkeypatch):
    if not hasattr(os, "fork") or min(sharing_module.n_cores(), sharing_module.numba.get_num_threads()) == 1:
        pytest.skip("no fork here, or no threads")
    monkeypatch.setattr(sharing_module, "WORTH_A_THREAD", 0)
    monkeypatch.setattr(sharing_module, "WORTH_WAKING_ONE", 0)
    posterior = posterior_of()
    fused, weights = posterior.fused(), points(posterior, 8)
    for _ in range(calls):
        mine = fused(points(posterior, 8))[0]  # the parent's threads run from here
    context = get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(queue, fused, weights))
    with pytest.warns(DeprecationWarning, match="fork"):
        child.start()
    child.join(60)
    assert child.exitcode == 0
    for _ in range(6):
        assert np.array_equal(queue.get(), mine)


def test_a_shared_call_that_waited_long_is_not_tried_again_at_once(monkeypatch):
    monkeypatch.setattr(sharing_module, "has_openmp", lambda: True)
    monkeypatch.setattr(sharing_module, "n_cores", lambda: 2)
    monkeypatch.setattr(sharing_module.numba, "get_num_threads", lambda: 2)
    clock, calls, waits = [0.0], [], [1.0]
    monkeypatch.setattr(sharing_module, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(sharing_module, "_started_in", [])

    def run(chains):
        calls.append("alone")
        clock[0] += 1.0 if chains.stop else 0.0

    def run_shared(parts):
        calls.append("shared")
        clock[0] += waits[0]

    def calls_of(times):
        calls.clear()
        for _ in range(times):
            sharing_module.share_out(run, run_shared, 4, sharing_module.WORTH_A_THREAD, pace)
        return calls

    pace = sharing_module.Pace()
    assert calls_of(5) == [
        "alone",
        "alone",
        "shared",
        "shared",
        "shared",
        "shared",
    ]  # the first of no chain: it compiles
    waits[0] = 5.0
    assert calls_of(4) == ["shared", "alone", "alone", "alone"]
    waits[0] = 0.5
    clock[0] += sharing_module.PAUSE * 5.0
    assert calls_of(2) == ["shared", "shared"]


def test_blocks_are_whole_packs_and_about_equal():
    assert rows_of_block(100, 8) == 104
    assert rows_of_block(257, 8) == 136
    assert rows_of_block(10_000, 8) == 256
    assert rows_of_block(10_000, 4000) == 64
    assert rows_of_block(1000, 50) == 64


class MyMLP(MLP):
    pass


class MyGaussian(Gaussian):
    pass


def test_what_the_kernel_does_not_know_is_refused_by_name():
    x, y = np.zeros((4, 3)), np.zeros(4)
    with refuses("posterior", "MyMLP", "an MLP"):
        Posterior(MyMLP(3, (2,), 1), x, y, Gaussian(1.0), NormalPrior(1.0)).fused()
    function = FunctionModel(lambda w, x: x @ w, ["a", "b", "c"])
    with refuses("posterior", "FunctionModel", "an MLP"):
        Posterior(function, x, y, Gaussian(1.0), NormalPrior(1.0)).fused()
    with refuses("posterior", "MyGaussian", "a likelihood of bayesnn"):
        Posterior(MLP(3, (2,), 1), x, y, MyGaussian(1.0), NormalPrior(1.0)).fused()


def test_data_outside_memory_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4, 3)))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    posterior = Posterior(MLP(3, (2,), 1), mapped, np.zeros(4), Gaussian(1.0), NormalPrior(1.0))
    with refuses("posterior", "memmap", "in memory"):
        posterior.fused()


def test_weights_of_another_shape_are_refused():
    with refuses("weights", "(3, 2)", "(..., 26)"):
        posterior_of().fused()(np.zeros((3, 2)))


def test_what_was_compiled_of_older_sources_is_forgotten(tmp_path):
    (tmp_path / "a.py").write_text("one")
    forget_older(tmp_path)
    index = tmp_path / "__pycache__" / "a.nbi"
    index.write_text("compiled")
    forget_older(tmp_path)
    assert index.exists()
    (tmp_path / "a.py").write_text("two")
    forget_older(tmp_path)
    assert not index.exists()
    assert (tmp_path / "__pycache__" / STAMP).exists()


def test_weights_that_may_not_be_written_will_do(teacher_laplace):
    posterior, mean = teacher_laplace.posterior, teacher_laplace.mean
    assert not mean.flags.writeable
    value, gradient = posterior.value_and_gradient(mean)
    fused = posterior.fused()
    np.testing.assert_allclose(fused.log_density(mean), value, rtol=1e-12)
    np.testing.assert_allclose(fused(mean)[1], gradient, atol=1e-8)
    marginal = posterior.marginal()
    kept = mean[: marginal.n_kept].copy()
    expected = marginal(kept)
    kept.flags.writeable = False
    np.testing.assert_array_equal(marginal(kept)[1], expected[1])


def test_older_kernels_are_forgotten_where_numba_was_told_to_keep_them(tmp_path, monkeypatch):
    sources = tmp_path / "fused"
    locator: Any = import_module("numba.core.caching")._CacheLocator
    elsewhere = tmp_path / "cache" / locator.get_suitable_cache_subpath(str(sources / "a.py"))
    another = tmp_path / "cache" / "fused_0123"
    for folder in (sources, elsewhere, another):
        folder.mkdir(parents=True)
        (folder / "a.f-1.py313.nbi").write_text("old")
    (sources / "a.py").write_text("1")
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path / "cache"))
    forget_older(sources)
    assert [path.name for path in elsewhere.iterdir()] == [STAMP]
    (elsewhere / "a.f-1.py313.nbi").write_text("new")
    forget_older(sources)
    assert len(list(elsewhere.iterdir())) == 2
    assert [path.name for path in another.iterdir()] == ["a.f-1.py313.nbi"]
