"""Every move keeps the joint law of weights and data, on a small network; a spoiled one does not."""

from types import SimpleNamespace

import numpy as np
import pytest

from bayesnn.sampling import moves
from bayesnn.sampling.moves import (
    HMC,
    MALA,
    PCN,
    CentredPrecision,
    IndependenceT,
    MarginalHMC,
    Microcanonical,
    MicrocanonicalLangevin,
    Mixture,
    ModeJump,
    PreconditionedMove,
    RandomWalk,
    ReplicaExchange,
    SymmetryJump,
    UnitMetropolis,
    WalkerMove,
)
from bayesnn.sampling.moves import base as base_module
from bayesnn.sampling.moves import hmc as hmc_module
from tests.joint import NET, ReplicateMarginals, Replicates, X, check_calibration, check_joint

K = NET.n_weights
WIDE, MEAN = np.eye(K), np.zeros(K)
LOWER = np.linalg.cholesky(0.3 * np.eye(K) + 0.1)


def gaussian(mean, variance, evidence):
    """What a jump asks of a Laplace; it is exact whatever the Gaussian is."""
    return SimpleNamespace(
        n_weights=K,
        mean=np.array(mean),
        posterior_precision=np.eye(K) / variance,
        log_marginal_likelihood=evidence,
    )


def jumps(target):
    two = [gaussian([1.0, -0.3, 0.2, 0.5, 0, 0, 0], 0.6, 0.0), gaussian([0.2, 0.4, -1.0, 0.3, 0, 0, 0], 0.9, 1.0)]
    return ModeJump(ReplicateMarginals(target), two, 2)


MOVES = {
    "hmc": lambda t: HMC(t.value_and_gradient, 0.3 * WIDE, 0.5, 4),
    "hmc, dense": lambda t: HMC(t.value_and_gradient, LOWER @ LOWER.T, 0.5, 4),
    "marginal hmc": lambda t: MarginalHMC(ReplicateMarginals(t), 0.3 * np.eye(4), 0.9, 4),
    "microcanonical": lambda t: Microcanonical(t.value_and_gradient, 0.3 * WIDE, 0.5, 4),
    "mala": lambda t: MALA(t.value_and_gradient, 0.3 * WIDE, 0.5),
    "random walk": lambda t: RandomWalk(0.3 * WIDE, 0.5),
    "pcn": lambda t: PCN(MEAN, WIDE, 0.4),
    "independence": lambda t: IndependenceT(MEAN, WIDE),
    "symmetry jump": lambda t: SymmetryJump(NET),
    "mode jump": jumps,
    "unit metropolis": lambda t: UnitMetropolis(ReplicateMarginals(t), 4),
    "mixture": lambda t: Mixture(
        [HMC(t.value_and_gradient, 0.3 * WIDE, 0.5, 3), SymmetryJump(NET), PCN(MEAN, WIDE, 0.3)]
    ),
}


def test_every_move_of_the_package_is_tried():
    ours = {v for name in moves.__all__ if isinstance(v := getattr(moves, name), type) and issubclass(v, WalkerMove)}
    target = Replicates(np.zeros((1, len(X), 1)))
    # draws that are not adjusted are biased, and how much they are is measured in test_microcanonical.py; hot replicas
    # cannot begin with exact draws given the data: test_moves.py and test_replica_exchange.py; the prior precision is
    # known here: test_centred_precision.py
    exact = ours - {PreconditionedMove, WalkerMove, MicrocanonicalLangevin, ReplicaExchange, CentredPrecision}
    assert {type(make(target)) for make in MOVES.values()} == exact


# All walkers share the choice of a mixture's part.
CALIBRATED = [name for name in MOVES if name != "mixture"]


@pytest.fixture
def steps_alike(monkeypatch):
    """All walkers share the number of leapfrog steps: here it is the same for all proposals."""
    monkeypatch.setattr(hmc_module, "STEPS_JITTER", 0.0)


@pytest.mark.parametrize("name", CALIBRATED)
@pytest.mark.usefixtures("steps_alike")
def test_simulation_based_calibration(name):
    check_calibration(MOVES[name])


@pytest.mark.parametrize("name", MOVES)
def test_gewekes_joint_test(name):
    check_joint(MOVES[name])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("name", MOVES)
@pytest.mark.usefixtures("steps_alike")
def test_both_in_long_form(name, seed):
    if name in CALIBRATED:
        check_calibration(MOVES[name], 10_000, seed=seed)
    check_joint(MOVES[name], 10_000, seed=seed)


def always(log_ratio, random):
    random.random_sample(len(log_ratio))
    return np.ones(len(log_ratio)), np.ones(len(log_ratio), dtype=bool)


@pytest.mark.parametrize(
    "name", ["hmc", "microcanonical", "marginal hmc", "mala", "random walk", "pcn", "independence"]
)
@pytest.mark.parametrize("check", [check_calibration, check_joint])
def test_a_move_that_accepts_everything_fails(name, check, monkeypatch):
    monkeypatch.setattr(hmc_module, "metropolis", always)
    monkeypatch.setattr(base_module, "metropolis", always)
    with pytest.raises(AssertionError):
        check(MOVES[name])


def test_jumps_that_forget_half_of_their_mixture_fail(monkeypatch):
    mixture = ModeJump.log_mixture
    monkeypatch.setattr(ModeJump, "log_mixture", lambda self, *given: 0.5 * mixture(self, *given))
    with pytest.raises(AssertionError):
        check_calibration(jumps)


@pytest.mark.parametrize("check", [check_calibration, check_joint])
def test_an_output_layer_drawn_too_narrowly_fails(check):

    class Narrow(ReplicateMarginals):
        def draw(self, kept, random):
            mean = self._solved(kept)[3]
            weights, _ = super().draw(kept, random)
            weights[:, 4:] = mean + 0.8 * (weights[:, 4:] - mean)
            return weights, self.replicates.log_prob(weights)

    with pytest.raises(AssertionError):
        check(lambda t: MarginalHMC(Narrow(t), 0.3 * np.eye(4), 0.5, 4))


@pytest.mark.parametrize("check", [check_calibration, check_joint])
def test_a_likelihood_that_counts_half_fails(check):

    def make(target):
        def density(w):
            value, gradient = target.value_and_gradient(w)
            prior, slope = -0.5 * (w**2).sum(axis=1), -w
            return prior + 0.5 * (value - prior), slope + 0.5 * (gradient - slope)

        class Tempered(HMC):
            def propose(self, model, state):
                tempered = model._replace(compute_log_prob_fn=lambda w: (density(w)[0], None))
                state.log_prob = density(np.asarray(state.coords))[0]
                return super().propose(tempered, state)

        return Tempered(density, 0.3 * WIDE, 0.5, 4)

    with pytest.raises(AssertionError):
        check(make)
