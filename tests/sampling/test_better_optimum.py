"""Chains that found a better optimum than the one given: alone they take the others along, of several it is said."""

import numpy as np
import pytest
import xarray as xr

import bayesnn.sampling.better_optimum as better
import bayesnn.sampling.left_modes as left
import bayesnn.sampling.schedule as schedule
from bayesnn import MLP, FlatPrior, FunctionModel, Gaussian, NormalPrior, Posterior, find_optimum, fit_laplace, sample
from bayesnn.errors import ArgumentError
from bayesnn.optimum.descent import Descent
from bayesnn.optimum.status import Status
from bayesnn.sampling import BetterOptimumWarning, laplace_at_better_optimum, moves
from bayesnn.sampling.better_optimum import MUCH_BETTER, better_optimum, gaussian_at, optima_near
from bayesnn.sampling.left_modes import left_modes
from bayesnn.sampling.target import Target
from bayesnn.tree import settings_of, weight_matrix
from tests.sampling.test_call import interrupt

SMALL = {"num_chains": 6, "num_warmup": 40, "num_samples": 20, "seed": 3}


@pytest.fixture(scope="module")
def good_and_poor():
    """Laplaces at the best optimum and at one far below it, of one posterior."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (60, 1))
    y = np.sin(3 * x[:, 0]) + 0.1 * rng.standard_normal(60)
    posterior = Posterior(MLP(1, (3,), 1), x, y, Gaussian(0.1), NormalPrior(1.0))
    found = find_optimum(posterior, n_starts=30, seed=0, progress=False)
    poor = next(
        o for o in found.others if o.certificate.is_optimum and o.log_density < found.log_density - 4 * MUCH_BETTER
    )
    return fit_laplace(posterior, found), fit_laplace(posterior, poor)


def test_chains_start_anew_at_the_better_optimum(good_and_poor):
    good, poor = good_and_poor
    points = np.concatenate([poor.mean + 1e-3 * np.ones((4, poor.n_weights)), good.mean + 1e-3 * np.ones((2, 10))])
    found = better_optimum(Target.of(poor), points, "laplace", seed=1)
    assert found is not None
    assert found.points.shape == points.shape
    assert found.log_density == pytest.approx(good.posterior.log_density(good.mean), abs=1e-6)
    assert found.gained > 4 * MUCH_BETTER
    assert found.evidence_gained == pytest.approx(good.log_marginal_likelihood - poor.log_marginal_likelihood, abs=1e-3)
    # starts are draws of the Gaussian there: within 6 standard deviations, all 6 x 10 whitened coordinates
    assert np.abs(good.factor.whiten(found.points - found.weights)).max() < 6.0


def test_nothing_happens_at_the_best_optimum_or_of_several(good_and_poor):
    good, poor = good_and_poor
    assert better_optimum(Target.of(good), good.sample(6, seed=0), "laplace", seed=1) is None
    assert better_optimum(Target.of([good, poor]), good.sample(6, seed=0), "laplace", seed=1) is None
    # a lesser optimum met on the way is no reason to go there
    assert better_optimum(Target.of(good), np.tile(poor.mean, (6, 1)), "laplace", seed=1) is None


def test_a_run_moves_its_chains_and_says_so(good_and_poor, monkeypatch, tmp_path):
    good, poor = good_and_poor
    calls = []

    def found_it(target, points, start, seed):
        calls.append(start)
        points = points.copy()
        points[0] = good.mean  # as if one chain had gone there
        return better_optimum(target, points, start, seed)

    monkeypatch.setattr(schedule, "better_optimum", found_it)
    with pytest.warns(RuntimeWarning, match="better optimum"):
        tree = sample(poor, **SMALL, store=tmp_path / "store")
    assert calls == ["laplace"]
    assert "started anew" in settings_of(tree)["better_optimum"]
    assert np.allclose(tree["better_optimum"]["weights"].values, good.mean, atol=1e-6)
    weights = weight_matrix(tree["posterior"].to_dataset(), good.posterior.model.weight_blocks)
    lp = tree["sample_stats"]["lp"].values
    np.testing.assert_allclose(lp, good.posterior.log_density(weights), rtol=1e-10)
    # they are where the good optimum is, far above the poor one
    assert lp.min() > float(poor.posterior.log_density(poor.mean))


@pytest.mark.filterwarnings("ignore:chains found a better optimum:RuntimeWarning")
def test_a_run_that_started_anew_goes_on_to_the_bit(good_and_poor, monkeypatch, tmp_path):
    good, poor = good_and_poor
    monkeypatch.setattr(
        schedule,
        "better_optimum",
        lambda target, points, start, seed: better_optimum(target, np.tile(good.mean, (6, 1)), start, seed),
    )
    whole = sample(poor, **SMALL)
    interrupt(lambda: sample(poor, **SMALL, store=tmp_path), step=20)
    gone_on = sample(poor, **SMALL, store=tmp_path)
    assert gone_on["better_optimum"].identical(whole["better_optimum"])
    assert gone_on["posterior"].identical(whole["posterior"])


def test_the_evidence_is_compared_in_one_curvature_and_structure(good_and_poor):
    good, poor = good_and_poor
    diagonal = fit_laplace(poor.posterior, poor.mean, structure="diag")
    points = good.mean + 1e-3 * np.ones((6, 10))
    found = better_optimum(Target.of(diagonal), points, "laplace_t", seed=1)
    assert found.evidence_gained == pytest.approx(good.log_marginal_likelihood - poor.log_marginal_likelihood, abs=1e-3)


def test_starts_of_your_own_and_from_the_prior_are_left_where_they_are(good_and_poor, monkeypatch):
    good, _ = good_and_poor
    monkeypatch.setattr(schedule, "better_optimum", lambda *_: pytest.fail("looked"))
    sample(good, **SMALL, start="prior")
    sample(good, **SMALL, start=good.sample(6, seed=0))


def test_a_mode_is_left_where_all_its_chains_are_below_a_better_one(good_and_poor):
    good, poor = good_and_poor
    target = Target.of([good, poor])
    near_good, near_poor = good.mean + 1e-3 * np.ones((3, 10)), poor.mean + 1e-3 * np.ones((3, 10))
    assert left_modes(target, np.concatenate([near_good, near_poor])) is None
    assert left_modes(target, np.concatenate([near_good, near_good[:2], near_poor[:1]])) is None
    # a lesser optimum is no reason to leave
    assert left_modes(target, np.concatenate([near_poor, near_poor])) is None
    found = left_modes(target, np.concatenate([near_good, near_good]))
    assert found.modes.tolist() == [1]
    assert np.allclose(found.weights, good.mean[None], atol=1e-6)
    height, given = (float(good.posterior.log_density(each.mean)) for each in (good, poor))
    assert found.log_density == pytest.approx([height], abs=1e-6)
    assert found.gained == pytest.approx([height - given], abs=1e-6)
    assert left_modes(Target.of(good), near_good) is None


def test_climbs_that_end_in_another_order_are_of_their_own_chains(good_and_poor, monkeypatch):
    good, poor = good_and_poor
    points = np.concatenate([np.tile(good.mean, (3, 1)), np.tile(poor.mean, (3, 1))])
    climb_together = left.climb_together
    monkeypatch.setattr(left, "climb_together", lambda *args: list(climb_together(*args))[::-1])
    assert left_modes(Target.of([good, poor]), points) is None


@pytest.mark.filterwarnings("ignore:all chains left these modes:RuntimeWarning")
def test_a_run_says_which_mode_was_left_and_goes_on_to_the_bit(good_and_poor, monkeypatch, tmp_path):
    good, poor = good_and_poor
    monkeypatch.setattr(
        schedule, "left_modes", lambda target, points: left_modes(target, np.tile(good.mean, (len(points), 1)))
    )
    few = SMALL | {"move": "marginal_hmc"}
    with pytest.warns(BetterOptimumWarning, match=r"all chains left these modes.*: 1 \("):
        whole = sample([good, poor], **few)
    assert "find_optimum(posterior, start=" in settings_of(whole)["left_modes"]
    assert np.allclose(whole["left_modes"]["weights"].values, good.mean[None], atol=1e-6)
    sample([good, poor], **few | {"num_samples": 8}, store=tmp_path)
    gone_on = sample([good, poor], **few, store=tmp_path)
    assert gone_on["left_modes"].identical(whole["left_modes"])
    given = sample([good, poor], **few, start=good.sample(6, seed=0))
    assert "left_modes" not in given.children  # they never were there
    assert gone_on["posterior"].identical(whole["posterior"])


@pytest.mark.filterwarnings("ignore:chains found a better optimum:RuntimeWarning")
@pytest.mark.parametrize("move", ["independence", "pcn"])
def test_proposals_around_the_optimum_go_along(good_and_poor, monkeypatch, tmp_path, move):
    good, poor = good_and_poor
    monkeypatch.setattr(
        schedule,
        "better_optimum",
        lambda target, points, start, seed: better_optimum(target, np.tile(good.mean, (6, 1)), start, seed),
    )
    long = SMALL | {"num_samples": 200}
    whole = sample(poor, move=move, **long)
    weights = weight_matrix(whole["posterior"].to_dataset(), good.posterior.model.weight_blocks)
    # from around the poor one no proposal would ever be accepted
    assert np.sum(np.ptp(weights, axis=1).max(axis=1) > 0.0) >= 4
    interrupt(lambda: sample(poor, move=move, **long, store=tmp_path), step=30)
    assert sample(poor, move=move, **long, store=tmp_path)["posterior"].identical(whole["posterior"])
    # a Gaussian of one's own stays where it was put
    monkeypatch.setattr(schedule, "better_optimum", lambda *_: pytest.fail("looked"))
    own = moves.IndependenceT(poor.mean, poor.posterior_covariance)
    sample(poor, move=moves.Mixture([own, moves.RandomWalk(poor.posterior_covariance)]), **SMALL)


def test_climbs_that_end_at_no_optimum_are_passed_over(good_and_poor, monkeypatch):
    """The data leave directions free where a step is so steep that no row lies on it."""

    def step(w, x):
        return w[0] + w[1] / (1.0 + np.exp(-np.clip(w[2] * (x - w[3]), -500.0, 500.0)))

    x = np.linspace(-1.0, 1.0, 21)
    model = FunctionModel(step, ["a", "b", "c", "d"])
    posterior = Posterior(model, x, np.sign(x - 0.03) * 1.0, Gaussian(0.1), FlatPrior())
    endless = np.array([-1.0, 2.0, 4000.0, 0.05])
    assert gaussian_at(posterior, endless) is None
    assert optima_near(posterior, endless[None]) == []
    good, poor = good_and_poor
    # as if the highest climb had ended where there is no Gaussian
    height, there = float(good.posterior.log_density(good.mean)), good.mean.copy()
    ends = [
        (0, Descent(there + 50.0, height + 99.0, 1.0, Status.max_steps, 9)),
        (1, Descent(there, height, 0.0, Status.converged, 9)),
    ]

    def fit(posterior, weights):
        if np.abs(weights).max() > 40.0:
            raise ArgumentError("prior", "a precision of rank 9", "one of rank 10")
        return fit_laplace(posterior, weights)

    monkeypatch.setattr(better, "climb_together", lambda *_: iter(ends))
    monkeypatch.setattr(better, "fit_laplace", fit)
    found = better_optimum(Target.of(poor), np.tile(poor.mean, (2, 1)), "laplace", seed=0)
    assert np.array_equal(found.weights, there)


def test_a_low_rank_gaussian_stays_of_its_rank(good_and_poor):
    good, poor = good_and_poor
    few = fit_laplace(poor.posterior, poor.mean, structure="lowrank", rank=3)
    tree = xr.DataTree.from_dict({"better_optimum": xr.Dataset({"weights": (("weight",), good.mean)})})
    assert laplace_at_better_optimum(few, tree).precision.eigenvalues.size == 3
