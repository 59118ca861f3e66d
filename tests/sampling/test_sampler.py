import numpy as np
import pytest

import bayesnn.sampling.sampler as sampler_module
from bayesnn.laplace import fit_laplace
from bayesnn.models import MLP
from bayesnn.optimum import find_optimum
from bayesnn.posterior import Gaussian, NormalPrior, Posterior
from bayesnn.sampling import sample
from bayesnn.sampling.adaptation import LEAST_ACCEPTANCE
from bayesnn.sampling.chains import Recorder
from bayesnn.sampling.monitor import Monitor
from bayesnn.sampling.moves import HMC, RandomWalk
from bayesnn.tree import settings_of, weight_matrix
from tests import oracles
from tests.interruption import interrupt_draws
from tests.refusals import refuses
from tests.statistical import assert_standard_normal_moments, assert_walkers_independent

SMALL = {"num_chains": 4, "num_warmup": 30, "num_samples": 12, "num_integration_steps": 4}
# A run on the linear model, whose posterior is known: 32 chains of 400 draws.
FULL = {"num_chains": 32, "num_warmup": 200, "num_samples": 400, "num_integration_steps": 6}


@pytest.fixture(scope="module")
def exact(linear_data, linear_precision):
    x, y = linear_data
    return oracles.LinearGaussian(oracles.design(x), y, 0.4, linear_precision)


@pytest.fixture(scope="module")
def tree(teacher_laplace):
    return sample(teacher_laplace, **SMALL, seed=3)


def draws_of(tree, laplace):
    return weight_matrix(tree["posterior"].to_dataset(), laplace.posterior.model.weight_blocks)


def whiten(draws, exact):
    return (draws - exact.mean) @ np.linalg.cholesky(exact.precision)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"metric": "laplace"},
        {"metric": "diagonal"},
        {"metric": "unit", "num_integration_steps": 24},
        {"move": "microcanonical"},
        {"move": "microcanonical", "metric": "diagonal"},
        {"move": "random_walk"},
        {"move": "random_walk", "metric": "laplace"},
        {"start": "laplace_t"},
    ],
    ids=str,
)
def test_the_posterior_of_a_linear_model_is_reproduced(how, linear_laplace, exact):
    z = whiten(draws_of(sample(linear_laplace, **(FULL | how), seed=1), linear_laplace), exact)
    assert z.shape == (32, 400, 4)
    assert_standard_normal_moments(z)
    assert_walkers_independent(z)


def test_a_start_far_away_is_forgotten_during_warmup(linear_laplace, exact):
    away = exact.mean + 5.0 * np.sqrt(np.diag(exact.covariance)) * np.ones((32, 4))
    z = whiten(draws_of(sample(linear_laplace, **FULL, start=away, seed=1), linear_laplace), exact)
    assert_standard_normal_moments(z)


def test_a_move_of_the_users_own_draws_from_the_posterior(linear_laplace, exact):
    move = HMC(linear_laplace.posterior.value_and_gradient, np.diag(exact.covariance), 0.3, 8)
    z = whiten(draws_of(sample(linear_laplace, **FULL, move=move, seed=2), linear_laplace), exact)
    assert_standard_normal_moments(z)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["averaged", "laplace", "diagonal"])
def test_a_posterior_that_is_not_gaussian_is_reproduced(metric):
    # y = w1 tanh-like unit with 2 weights: moments by quadrature on a grid, to 1e-6
    x = np.linspace(-2.0, 2.0, 12)[:, None]
    y = 1.2 * np.tanh(0.8 * x) + 0.3 * np.random.default_rng(0).standard_normal(x.shape)
    post = Posterior(MLP(1, (1,), 1, bias=False), x, y, Gaussian(0.3), NormalPrior(1.0))
    laplace = fit_laplace(post, find_optimum(post, n_starts=4, seed=0))
    edges = np.linspace(-5.0, 5.0, 1501)
    grid = np.stack(np.meshgrid(edges, edges, indexing="ij"), axis=-1)
    log_p = np.array([post.log_density(row) for row in grid])
    weight = np.exp(log_p - log_p.max()) * (grid[..., 0] > 0) * 1.0
    weight /= weight.sum()
    mean = (weight[..., None] * grid).sum(axis=(0, 1))
    second = np.einsum("ij,ija,ijb->ab", weight, grid, grid) - np.outer(mean, mean)
    draws = draws_of(sample(laplace, num_chains=64, num_warmup=300, num_samples=3000, metric=metric, seed=0), laplace)
    draws = draws * np.sign(draws[..., :1])  # fold the mirror image onto the half plane of the quadrature
    z = (draws - mean) @ np.linalg.cholesky(np.linalg.inv(second))
    assert_standard_normal_moments(z)


def test_the_same_seed_gives_the_same_tree(teacher_laplace, tree):
    assert sample(teacher_laplace, **SMALL, seed=3).identical(tree)


@pytest.mark.parametrize("start", ["laplace", "given"])
@pytest.mark.parametrize("move", ["hmc", "random_walk"])
def test_another_seed_gives_other_draws(teacher_laplace, move, start):
    # from given starts, too: the chains themselves must follow the seed
    how = SMALL | {"move": move, "start": teacher_laplace.sample(4) if start == "given" else start}
    first, other = (draws_of(sample(teacher_laplace, **how, seed=seed), teacher_laplace) for seed in (3, 4))
    assert np.all(np.any(first != other, axis=(1, 2)))


def test_a_seed_may_be_any_integer_type(teacher_laplace, tree):
    again = sample(teacher_laplace, **SMALL, seed=np.int64(3))
    assert np.array_equal(draws_of(again, teacher_laplace), draws_of(tree, teacher_laplace))
    assert settings_of(again)["seed"] == 3


@pytest.mark.parametrize("kind", ["random walk", "hmc"])
def test_a_move_used_twice_gives_the_same_tree_twice(teacher_laplace, kind):
    metric = teacher_laplace.posterior_covariance
    if kind == "hmc":
        move = HMC(teacher_laplace.posterior.value_and_gradient, metric, 0.3, 4)
    else:
        move = RandomWalk(metric, step_size=0.3)
    first = sample(teacher_laplace, **SMALL, move=move, seed=3)
    assert move.step_size == 0.3
    assert sample(teacher_laplace, **SMALL, move=move, seed=3).identical(first)


def test_every_group_of_the_schema_is_there(tree):
    expected = {
        "posterior",
        "sample_stats",
        "log_likelihood",
        "posterior_predictive",
        "observed_data",
        "constant_data",
        "monitor",
        "laplace",
        "laplace_posterior",
        "laplace_stats",
    }
    assert expected <= set(tree.children)
    assert {"lp", "acceptance_rate", "step_size", "n_steps", "diverging", "energy"} == set(
        tree["sample_stats"].data_vars
    )
    assert dict(tree["posterior"].sizes) == {"chain": 4, "draw": 12, "input": 2, "hidden1": 2, "output": 1}


def test_what_is_derived_from_the_draws_agrees_with_the_draws(teacher_laplace, tree):
    post, draws = teacher_laplace.posterior, draws_of(tree, teacher_laplace)
    net = oracles.Net.of(post.model)
    chain, draw = 2, 7
    w = draws[chain, draw]
    arguments = net, w, post.x, post.y, 0.1
    lp = oracles.log_density(*arguments, post.prior_precision)
    stats = tree["sample_stats"]
    assert float(stats["lp"][chain, draw]) == pytest.approx(lp, rel=1e-10)
    rows = tree["log_likelihood"]["y"][chain, draw]
    assert np.allclose(rows, oracles.log_likelihood(*arguments), rtol=1e-9, atol=1e-10)
    monitor = tree["monitor"]["f"]
    at = post.x[monitor["obs"].values]
    assert np.allclose(monitor[chain, draw], oracles.predict(net, w, at), rtol=1e-12, atol=1e-12)
    assert len(monitor["obs"]) == 64
    assert np.array_equal(tree["observed_data"]["y"], post.y)
    assert np.array_equal(tree["constant_data"]["x"], post.x)
    assert np.all(stats["energy"] >= -stats["lp"])


def test_posterior_predictive_draws_scatter_about_the_outputs_as_the_noise_does(teacher_laplace, tree):
    post, draws = teacher_laplace.posterior, draws_of(tree, teacher_laplace)
    predictive = tree["posterior_predictive"]["y"]
    outputs = post.model.predict(draws[:, predictive["draw"].values], post.x)
    z = (predictive.values - outputs) / 0.1
    # m normals: mean 1 / sqrt(m), variance sqrt(2 / m); 4.5 times
    assert z.size == 4 * 12 * 200
    assert abs(z.mean()) < 4.5 / np.sqrt(z.size)
    assert abs(z.var() - 1.0) < 4.5 * np.sqrt(2 / z.size)


def test_long_runs_keep_a_part_of_the_predictive_draws_and_all_others(teacher_laplace):
    long = sample(teacher_laplace, **(SMALL | {"num_samples": 120}), seed=0)
    kept = long["posterior_predictive"]["draw"].values
    assert len(kept) == 50
    assert kept[0] == 0
    assert kept[-1] == 119
    assert long["posterior"].sizes["draw"] == 120


def test_the_settings_say_how_the_run_was_made(tree):
    settings = settings_of(tree)
    expected = {
        "seed": 3,
        "num_chains": 4,
        "num_warmup": 30,
        "num_samples": 12,
        "move": "MarginalHMC",
        "start": "laplace",
    }
    assert {name: settings[name] for name in expected} == expected
    assert settings["interrupted"] is False
    assert settings["metric"].startswith(tree["pilot"].attrs["metric"])
    assert set(settings["libraries"]) >= {"numpy", "emcee", "arviz"}
    assert settings["step_size"] == tree["sample_stats"]["step_size"].values.max()


def test_nothing_adapts_after_warmup(teacher_laplace, monkeypatch):
    seen = []
    keep = Recorder.add

    def watched(self, *arguments):
        seen.append((move.step_size, move.metric))
        keep(self, *arguments)

    move = RandomWalk(teacher_laplace.posterior_covariance)
    monkeypatch.setattr(Recorder, "add", watched)
    monkeypatch.setattr(sampler_module, "proposal_of", lambda *_: move)
    sample(teacher_laplace, **SMALL, move="random_walk", seed=0)
    assert len(seen) == 12
    assert len(set(seen)) == 1
    assert seen[0][1].name == "averaged over the chains"
    assert seen[0][0] != pytest.approx(2.38 / 3)


@pytest.mark.parametrize(
    ("metric", "kept"),
    [
        ("averaged", "averaged over the chains"),
        ("diagonal", "diagonal averaged over the chains"),
        ("laplace", "laplace"),
        ("unit", "unit"),
    ],
)
def test_the_metric_that_was_used_is_named(teacher_laplace, metric, kept):
    assert settings_of(sample(teacher_laplace, **SMALL, metric=metric))["metric"] == kept


def test_without_warmup_nothing_adapts_and_chains_begin_at_their_start(teacher_laplace):
    start = teacher_laplace.sample(4, seed=9)
    move = RandomWalk(teacher_laplace.posterior_covariance, step_size=1e-9)
    still = sample(teacher_laplace, **(SMALL | {"num_warmup": 0}), move=move, start=start)
    assert np.allclose(draws_of(still, teacher_laplace), start[:, None], rtol=0, atol=1e-6)
    assert settings_of(still)["step_size"] == 1e-9
    assert settings_of(still)["start"] == "given"


def test_warmup_of_hmc_reaches_the_acceptance_it_aims_at(linear_laplace):
    rates = sample(linear_laplace, **(FULL | {"num_warmup": 3000}), seed=5)["sample_stats"]["acceptance_rate"].values
    harmonic = 1.0 / np.mean(1.0 / np.maximum(rates, LEAST_ACCEPTANCE), axis=0)
    # The harmonic mean over chains is what is driven to its target. After the m = 1200 steps of the last window it is
    # held off by 0.05 log(10 first / last) / sqrt(m) < 0.005, scatters by 0.1 / sqrt(m) < 0.003, and the average of a
    # wandering log step is accepted more often than its wandering values are, the more as the rate falls steeply near
    # the largest stable step: 0.005 + 4.5 * 0.003, and 0.04 for the last.
    assert abs(harmonic.mean() - HMC.target_acceptance) < 0.06
    assert rates.mean() > HMC.target_acceptance


def test_warmup_of_the_random_walk_reaches_the_acceptance_it_aims_at(linear_laplace):
    # 0.234 is the share of proposals accepted, an arithmetic mean: the harmonic one lives on the worst few of a
    # random walk's very uneven probabilities, and asks for steps half as long, a third of the ESS lost
    stats = sample(linear_laplace, **(FULL | {"num_warmup": 600}), move="random_walk", seed=5)["sample_stats"]
    rate = stats["acceptance_rate"].values.mean()
    # held off by 0.05 log(10 first / last) / sqrt(240) < 0.01, scatter of 32 chains' mean 0.06 / sqrt(240) = 0.004,
    # twice that for the step that follows it: 0.01 + 4.5 * 0.008
    assert abs(rate - RandomWalk.target_acceptance) < 0.05


def test_ctrl_c_keeps_the_draws_made_until_then(teacher_laplace, tree, monkeypatch):
    interrupt_draws(monkeypatch, 7)
    part = sample(teacher_laplace, **SMALL, seed=3)
    assert part["posterior"].sizes["draw"] == 7
    assert part["sample_stats"].sizes["draw"] == 7
    assert settings_of(part)["interrupted"] is True
    assert np.array_equal(draws_of(part, teacher_laplace), draws_of(tree, teacher_laplace)[:, :7])


def test_ctrl_c_before_there_is_anything_to_keep_is_passed_on(teacher_laplace, monkeypatch):
    interrupt_draws(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        sample(teacher_laplace, **SMALL)


def test_pointwise_log_likelihoods_too_large_to_keep_are_left_out_and_said_so(teacher_laplace, monkeypatch):
    monkeypatch.setattr("bayesnn.sampling.assemble.LARGEST_LOG_LIKELIHOOD", 100)
    small = sample(teacher_laplace, **SMALL)
    assert "log_likelihood" not in small.children
    assert settings_of(small)["stores_log_likelihood"] is False


@pytest.mark.parametrize("argument", ["metric", "move"])
def test_a_matrix_in_place_of_a_name_is_refused(teacher_laplace, argument):
    with refuses(argument, "shape (9, 9)", "one of"):
        sample(teacher_laplace, **SMALL, **{argument: np.eye(9)})


def test_an_unknown_metric_is_refused_whatever_the_move(teacher_laplace):
    with refuses("metric", "'dense'", "one of 'auto', 'averaged'"):
        sample(teacher_laplace, **SMALL, move=RandomWalk(np.eye(9)), metric="dense")


def test_a_number_of_steps_is_checked_whatever_the_move(teacher_laplace):
    with refuses("num_integration_steps", "0", "at least 1"):
        sample(teacher_laplace, **(SMALL | {"num_integration_steps": 0}), move="random_walk")


def test_a_move_of_another_size_is_refused(teacher_laplace):
    with refuses("inverse_mass_matrix", "size 4", "size 9"):
        sample(teacher_laplace, **SMALL, move=RandomWalk(np.eye(4)))


@pytest.mark.parametrize(("hidden", "move"), [((4,), "MarginalHMC"), ((60,), "HMC"), ((), "HMC")])
def test_the_output_layer_is_integrated_out_unless_it_is_wide_or_all_there_is(hidden, move):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((12, 2))
    post = Posterior(MLP(2, hidden, 1), x, x[:, 0], Gaussian(0.5), NormalPrior(1.0))
    laplace = fit_laplace(post, find_optimum(post, seed=0))
    tree = sample(laplace, num_chains=2, num_warmup=20, num_samples=4)
    assert settings_of(tree)["move"] == move


def test_noise_that_is_inferred_is_judged_with_the_function_values(linear_data):
    x, y = linear_data
    posterior = Posterior(MLP(3, (), 1), x, y, Gaussian("infer"), NormalPrior(1.0))
    weights = np.random.default_rng(0).standard_normal((5, posterior.n_weights))
    values = Monitor.of(posterior).values(weights)
    np.testing.assert_array_equal(values[:, -1], weights[:, posterior.weight_names.index("log_sigma_noise")])
    np.testing.assert_allclose(values[:, :-1], posterior.outputs(weights, x[Monitor.of(posterior).rows])[..., 0])
