"""Which metric and length the pilot chooses, where theory says which is best."""

from dataclasses import replace

import numpy as np
import pytest

from bayesnn.diagnostics import rhat
from bayesnn.sampling import sample
from bayesnn.sampling.metric import Metric, metric_from_inverse_mass_matrix
from bayesnn.sampling.mixing import MixingSpace
from bayesnn.sampling.moves import HMC
from bayesnn.sampling.moves.hmc import trajectory_steps
from bayesnn.sampling.pilot import LENGTHS, N_TRAJECTORIES, REACHES, Pilot, _Trial, run_pilot
from bayesnn.tree import settings_of
from tests.relu_unit import relu_unit

K, CHAINS, STEPS = 6, 50, 20


class Normal:
    """A normal density of given standard deviations, and its coordinates as function values."""

    def __init__(self, sds):
        self.sds = np.asarray(sds)

    def log_density(self, w):
        return -0.5 * ((w / self.sds) ** 2).sum(axis=-1)

    def value_and_gradient(self, w):
        return self.log_density(w), -w / self.sds**2

    def pilot(self, metrics, length=None, seed=0, chains=CHAINS):
        random = np.random.RandomState(seed)
        visited = self.sds * random.standard_normal((STEPS, chains, len(self.sds)))
        move = HMC(self.value_and_gradient, Metric(np.ones(len(self.sds))))
        made = {name: metric_from_inverse_mass_matrix(matrix) for name, matrix in metrics.items()}
        return run_pilot(move, self.log_density, lambda w: w, made, visited, random, length)

    def trial(self, metric, seed=1, steps=None):
        random = np.random.RandomState(seed)
        visited = self.sds * random.standard_normal((STEPS, CHAINS, len(self.sds)))
        space = MixingSpace.of(visited, visited, metric)
        move = HMC(self.value_and_gradient, metric)
        trial = _Trial(move, self.log_density, lambda w: w, space, visited, random)
        if steps is not None:
            trial.steps[:] = steps
        return trial


def test_jumps_are_those_of_a_normal_along_its_circle():
    # Along exact trajectories of a standard normal w_t = w_0 cos t + r_0 sin t: E (w_t - w_0)^2 = 2 (1 - cos t).
    step = 0.02  # errors of the leapfrog are of order step**2
    trial = Normal(np.ones(K)).trial(Metric(np.ones(K)), steps=step)
    lengths = np.array([10, 50, 100, 200])
    halves = np.array([np.trace(trial.advance(length)) for length in lengths]) / K
    # (w_t - w_0)^2 is 2 (1 - cos t) times chi-square of 1: its standard deviation is sqrt 2 times its mean; variances
    # of the components err by sqrt(2 / draws)
    error = np.sqrt(2.0 / (N_TRAJECTORIES * K)) + np.sqrt(2.0 / (STEPS * CHAINS * K))
    assert np.abs(halves / (1.0 - np.cos(step * lengths)) - 1.0).max() < 4.5 * error


def test_lengths_are_judged_with_those_that_are_drawn_around_them():
    # Without errors of the leapfrog a draw forgets cos t; of several lengths, its mean.
    step = 0.05
    trial = Normal(np.ones(K)).trial(Metric(np.ones(K)), steps=step)
    lengths = np.array([8, 16, 32, 48, 126])  # the last once around: equal steps would gain nothing
    kept = np.array([np.cos(step * trajectory_steps(int(length))).mean() for length in lengths])
    expected = np.minimum((1.0 - kept) / (1.0 + kept), 1.0) / lengths
    # 256 trajectories: the inverse of a matrix of size 6 is too large by 6 / 256, and errs by sqrt(2 / 256); of six
    # values one is the slowest, by chance. Straight lines between looks, a fifth of the length apart, add a percent.
    assert np.abs(trial.efficiency(lengths) / expected - 1.0).max() < 0.35


def test_the_metric_of_the_target_is_chosen_and_the_one_that_harms_is_named():
    sds = np.geomspace(0.01, 1.0, K)
    pilot = Normal(sds).pilot({"averaged": np.diag(sds**2), "laplace": np.eye(K), "diagonal": sds})
    assert pilot.name == "averaged"
    # a hundred steps of the narrowest direction cross the widest; sqrt of that for the last
    assert pilot.best[0] > 20 * pilot.best[1]
    assert "The Laplace metric would cost" in pilot.reason
    assert "The Laplace metric" not in Normal(np.ones(K)).pilot({"laplace": np.eye(K)}).reason


def test_trajectories_go_as_far_as_the_widest_direction_asks():
    # All sds but one are 1: steps are of order 1, and the wide direction is independent after a quarter of its circle.
    for wide in (1.0, 10.0, 40.0):
        sds = np.append(np.ones(K - 1), wide)
        pilot = Normal(sds).pilot({"unit": np.eye(K)})
        quarter = 0.5 * np.pi * wide / pilot.step_size[0]
        assert 0.4 * quarter < pilot.length < 2.5 * quarter


def test_a_trial_far_behind_is_not_followed_to_the_end():
    sds = np.append(np.ones(K - 1), 40.0)
    pilot = Normal(sds).pilot({"averaged": np.diag(sds**2), "unit": np.eye(K)})
    assert np.isnan(pilot.efficiency[1, -1])
    assert not np.isnan(pilot.efficiency[:, REACHES[0] >= LENGTHS]).any()
    assert pilot.name == "averaged"


def test_a_length_that_is_given_is_kept():
    pilot = Normal(np.ones(K)).pilot({"averaged": np.eye(K), "unit": np.eye(K)}, length=77)
    assert pilot.length == 77
    assert pilot.efficiency.shape == (2, 1)


def test_places_without_density_are_no_jumps():
    class Half(Normal):
        def log_density(self, w):
            return np.where(w[..., 0] > 0, super().log_density(w), -np.inf)

        def value_and_gradient(self, w):
            inside = w[..., 0] > 0
            return self.log_density(w), np.where(inside[..., None], -w, np.nan)

    random = np.random.RandomState(0)
    target, visited = Half(np.ones(K)), np.abs(random.standard_normal((STEPS, CHAINS, K)))
    move = HMC(target.value_and_gradient, Metric(np.ones(K)))
    metrics = {"unit": Metric(np.ones(K))}
    pilot = run_pilot(move, target.log_density, lambda w: w, metrics, visited, random)
    assert np.isfinite(pilot.best).all()
    assert pilot.best[0] > 0


def test_ends_count_by_the_probability_that_they_are_accepted():
    # Steps beyond 2 sds are unstable: hardly any end would be accepted, and nothing jumps.
    assert np.trace(Normal(np.ones(K)).trial(Metric(np.ones(K)), steps=2.5).advance(32)) < 1e-3
    trial = Normal(np.ones(K)).trial(Metric(np.ones(K)), steps=1.7)
    half = np.trace(trial.advance(5))
    accepted = np.exp(np.minimum(0.0, trial.energy - 0.5 * (trial.momenta**2 + trial.weights**2).sum(axis=1)))
    assert 0.2 < accepted.mean() < 0.8
    moved = trial.weights - trial.begin
    assert half == pytest.approx(0.5 * np.mean(accepted * (trial.space.jumps(moved, moved) ** 2).sum(axis=1)))


def test_the_tree_tells_what_was_tried_and_why(teacher_laplace):
    small = {"num_chains": 8, "num_warmup": 60, "num_samples": 8, "seed": 3}
    tree = sample(teacher_laplace, **small)
    assert tree["pilot"]["efficiency"].dims == ("metric", "length")
    assert list(tree["pilot"]["metric"].values) == ["averaged", "laplace", "diagonal", "unit"]
    settings = settings_of(tree)
    assert settings["metric"].startswith(tree["pilot"].attrs["metric"])
    assert settings["num_integration_steps"] == tree["pilot"].attrs["length"]
    assert settings["metric_reason"] == tree["pilot"].attrs["reason"]
    again = sample(teacher_laplace, **small)
    assert tree["posterior"].to_dataset().equals(again["posterior"].to_dataset())
    only = sample(teacher_laplace, **small, metric="diagonal")
    assert list(only["pilot"]["metric"].values) == ["diagonal"]
    assert "pilot" not in sample(teacher_laplace, **small, metric="diagonal", num_integration_steps=4).children
    assert "pilot" not in sample(teacher_laplace, **small, move="mala").children


@pytest.mark.parametrize("num_warmup", [0, 10])
def test_warmup_too_short_for_a_pilot_does_without(teacher_laplace, num_warmup):
    tree = sample(teacher_laplace, num_chains=4, num_warmup=num_warmup, num_samples=4)
    assert "pilot" not in tree.children


def test_the_reason_orders_the_metrics():
    pilot = Pilot(
        ("a", "b"), np.array([2, 4]), np.array([[0.1, np.nan], [0.3, 0.25]]), np.array([0.5, 0.1]), np.ones(2)
    )
    assert (pilot.name, pilot.length) == ("b", 2)
    assert pilot.reason.index("b 0.3") < pilot.reason.index("a 0.1")


@pytest.mark.parametrize(("other", "chosen"), [(0.14, "averaged"), (0.16, "diagonal")])
def test_another_metric_than_the_averaged_must_be_well_ahead(other, chosen):
    names, lengths = ("averaged", "diagonal"), np.array([2, 4])
    pilot = Pilot(names, lengths, np.array([[0.1, 0.05], [0.1, other]]), np.array([0.5, 0.1]), np.ones(2))
    assert pilot.name == chosen


def test_a_later_pilot_renews_the_length_and_keeps_the_metric():
    names, lengths = ("averaged", "diagonal"), np.array([8, 16])
    first = Pilot(names, lengths, np.array([[0.1, 0.05], [0.1, 0.4]]), np.array([0.5, 0.1]), np.ones(2))
    later = first.renewed(Pilot(("diagonal",), lengths, np.array([[0.03, 0.001]]), np.array([0.2]), np.ones(1)))
    assert (first.name, first.length) == ("diagonal", 16)
    assert (later.name, later.length) == ("diagonal", 8)
    assert np.array_equal(later.efficiency, [[0.1, 0.05], [0.03, 0.001]])
    assert np.array_equal(later.step_size, [0.5, 0.2])


def test_trajectories_keep_their_length_when_steps_grow():
    pilot = Pilot(("unit",), np.array([6, 12]), np.array([[0.01, 0.04]]), np.array([0.5]), np.ones(1))
    assert pilot.length == 12
    assert [replace(pilot, kept_step_size=step).length for step in (0.25, 0.6, 100.0)] == [24, 10, 1]


@pytest.mark.parametrize(
    ("efficiency", "chosen", "widest"),
    [
        ((0.02, 0.01, 0.02, 0.008), "unit", 2.0),
        ((0.02, 0.01, 0.02, 0.006), "averaged", 2.0),
        ((0.02, 0.029, 0.02, 0.0001), "averaged", 2.0),
        ((0.02, 0.031, 0.02, 0.0001), "laplace", 2.0),
        ((0.02, 0.04, 0.02, 0.01), "unit", 2.0),
        # two steps of 0.5 along a direction of standard deviation 4: a quarter of it
        ((0.02, 0.01, 0.02, 0.008), "averaged", 4.0),
        ((0.02, 0.01, 0.02, 0.05), "unit", 4.0),
    ],
)
def test_a_metric_that_is_learnt_must_promise_three_times_as_much_as_none(efficiency, chosen, widest):
    names = ("averaged", "laplace", "diagonal", "unit")
    pilot = Pilot(names, LENGTHS[:1], np.array(efficiency)[:, None], np.full(4, 0.5), np.full(4, widest))
    assert pilot.name == chosen
    assert ("preferred" in pilot.reason) == (efficiency[names.index(chosen)] < max(efficiency))


def test_directions_that_no_function_value_feels_are_not_left_behind():
    # A ReLU unit may be scaled: no output feels it, and the unit metric would take two steps.
    laplace = relu_unit()
    tree = sample(laplace, num_chains=8, num_warmup=400, num_samples=1000, seed=1, progress=False)
    assert tree["pilot"].attrs["metric"] == "averaged"
    assert rhat(tree["sample_stats"]["lp"].values).max() < 1.02
