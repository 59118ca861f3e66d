"""Which metric and length the pilot chooses, where theory says which is best."""

import numpy as np
import pytest

from bayesnn.sampling import sample
from bayesnn.sampling.components import Components
from bayesnn.sampling.metric import Metric, metric_from_inverse_mass_matrix
from bayesnn.sampling.moves import HMC
from bayesnn.sampling.pilot import LENGTHS, N_TRAJECTORIES, Pilot, _Trial, run_pilot
from bayesnn.tree import settings_of

K, CHAINS = 6, 200


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
        points = self.sds * random.standard_normal((chains, len(self.sds)))
        move = HMC(self.value_and_gradient, Metric(np.ones(len(self.sds))))
        made = {name: metric_from_inverse_mass_matrix(matrix) for name, matrix in metrics.items()}
        seen = self.sds * random.standard_normal((4 * chains, len(self.sds)))
        return run_pilot(move, self.log_density, lambda w: w, made, points, seen, random, length)


def test_jumps_are_those_of_a_normal_along_its_circle():
    # Along exact trajectories of a standard normal w_t = w_0 cos t + r_0 sin t: E (w_t - w_0)^2 = 2 (1 - cos t).
    target, random = Normal(np.ones(K)), np.random.RandomState(1)
    move = HMC(target.value_and_gradient, Metric(np.ones(K)))
    trial = _Trial(
        move, target.log_density, lambda w: w, Metric(np.ones(K)), random.standard_normal((CHAINS, K)), random
    )
    trial.steps[:] = step = 0.02  # errors of the leapfrog are of order step**2
    lengths = np.array([10, 50, 100, 200])
    jumps = trial.advance(lengths).mean(axis=1)
    # (w_t - w_0)^2 is 2 (1 - cos t) times chi-square of 1: its standard deviation is sqrt 2 times its mean
    error = np.sqrt(2.0 / (CHAINS * N_TRAJECTORIES * K))
    assert np.abs(jumps / (2.0 * (1.0 - np.cos(step * lengths))) - 1.0).max() < 4.5 * error


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
    assert not np.isnan(pilot.efficiency[:, LENGTHS <= 32]).any()
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
    target, points = Half(np.ones(K)), np.abs(random.standard_normal((CHAINS, K)))
    move = HMC(target.value_and_gradient, Metric(np.ones(K)))
    metrics = {"unit": Metric(np.ones(K))}
    pilot = run_pilot(move, target.log_density, lambda w: w, metrics, points, points, random)
    assert np.isfinite(pilot.best).all()
    assert pilot.best[0] > 0


def test_ends_count_by_the_probability_that_they_are_accepted():
    # Steps beyond 2 sds are unstable: hardly any end would be accepted, and nothing jumps.
    target, random = Normal(np.ones(K)), np.random.RandomState(1)
    move = HMC(target.value_and_gradient, Metric(np.ones(K)))
    trial = _Trial(
        move, target.log_density, lambda w: w, Metric(np.ones(K)), random.standard_normal((CHAINS, K)), random
    )
    trial.steps[:] = 2.5
    assert trial.advance(np.array([32])).max() < 1e-3


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


def test_a_slow_part_of_a_function_value_counts_by_its_share():
    # f = a + b / 2 and a - b / 2, whose components are a and b: a is new in every draw, b keeps 0.9. The bulk
    # autocorrelation time of either is 0.8 * 1 + 0.2 * 19.
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 100_000))
    seen = np.column_stack([a + 0.5 * b, a - 0.5 * b])
    components = Components.of(seen)
    scores = (seen - seen.mean(axis=0)) @ components.basis
    assert np.allclose(scores.T @ scores / len(scores), np.eye(2), atol=1e-10)
    got = components.efficiency(np.array([[2.0, 2.0 * 0.1]]), np.array([3]))
    # shares err by some 1 / sqrt(100 000)
    assert got[0] == pytest.approx(1.0 / (3 * (0.8 + 0.2 * 19.0)), rel=0.02)


def test_constant_function_values_do_not_disturb():
    seen = np.column_stack([np.random.default_rng(0).standard_normal(50), np.full(50, 3.0)])
    assert np.isfinite(Components.of(seen).efficiency(np.array([[1.0]]), np.array([2]))).all()


def test_the_reason_orders_the_metrics():
    pilot = Pilot(("a", "b"), np.array([2, 4]), np.array([[0.1, np.nan], [0.3, 0.25]]), np.array([0.5, 0.1]))
    assert (pilot.name, pilot.length) == ("b", 4)  # the shortest whose end is half an independent draw
    assert pilot.reason.index("b 0.3") < pilot.reason.index("a 0.1")


@pytest.mark.parametrize(("other", "chosen"), [(0.29, "averaged"), (0.31, "diagonal")])
def test_another_metric_than_the_averaged_must_be_far_ahead(other, chosen):
    names, lengths = ("averaged", "diagonal"), np.array([2, 4])
    pilot = Pilot(names, lengths, np.array([[0.1, 0.05], [0.1, other]]), np.array([0.5, 0.1]))
    assert pilot.name == chosen


def test_a_later_pilot_renews_the_length_and_keeps_the_metric():
    names, lengths = ("averaged", "diagonal"), np.array([8, 16])
    first = Pilot(names, lengths, np.array([[0.1, 0.05], [0.1, 0.4]]), np.array([0.5, 0.1]))
    later = first.renewed(Pilot(("diagonal",), lengths, np.array([[0.03, 0.001]]), np.array([0.2])))
    assert (first.name, first.length) == ("diagonal", 16)
    assert (later.name, later.length) == ("diagonal", 8)
    assert np.array_equal(later.efficiency, [[0.1, 0.05], [0.03, 0.001]])
    assert np.array_equal(later.step_size, [0.5, 0.2])


@pytest.mark.parametrize(("lengths", "chosen"), [([2, 3, 4, 6, 8], 6), ([3], 3)])
def test_trajectories_are_not_too_short(lengths, chosen):
    efficiency = 1.0 / np.array([lengths], dtype=float)
    assert Pilot(("averaged",), np.array(lengths), efficiency, np.ones(1)).length == chosen


@pytest.mark.parametrize(
    ("efficiency", "chosen"),
    [
        ([0.05, 0.07, 0.06, 0.03], 8),  # 8 * 0.07 is more than half an independent draw
        ([0.01, 0.02, 0.015, 0.0101], 32),  # none is: the longest half as good as the best
        ([0.01, 0.02, 0.009, 0.002], 8),
        ([0.12, 0.4, 0.03, 0.02], 8),  # 6 * 0.12 would do, at a price
    ],
)
def test_the_length_is_the_shortest_that_forgets(efficiency, chosen):
    assert Pilot(("unit",), np.array([6, 8, 16, 32]), np.array([efficiency]), np.ones(1)).length == chosen
