"""Which move makes the proposals: the one that is named, the one that fits, or the user's own."""

from typing import Literal, get_args

from bayesnn.checks import one_of
from bayesnn.errors import ArgumentError
from bayesnn.posterior import LogDensity
from bayesnn.sampling.density import ValueAndGradient
from bayesnn.sampling.metric import first_metric
from bayesnn.sampling.moves import (
    HMC,
    MALA,
    PCN,
    IndependenceT,
    MarginalHMC,
    Microcanonical,
    RandomWalk,
    ReplicaExchange,
    TrackedMove,
)
from bayesnn.sampling.moves.mixture import members_of
from bayesnn.sampling.path import PosteriorPath
from bayesnn.sampling.replicas import check_same_posterior, replica_exchange
from bayesnn.sampling.target import Target

MoveName = Literal[
    "auto",
    "marginal_hmc",
    "hmc",
    "replica_exchange",
    "microcanonical",
    "mala",
    "pcn",
    "random_walk",
    "independence",
]
MOVES: tuple[str, ...] = get_args(MoveName)
# Moves that propose around one Gaussian, wherever a chain is.
AROUND_ONE = ("pcn", "independence")
# The marginal density takes products of all pairs of features of the output layer, two for each row and pair, beside
# some six multiplications for each row and weight: with more pairs than this a weight it costs over three times as much
# as the whole posterior's.
MOST_PAIRS = 3.0
# Leapfrog steps until the pilot has chosen, and for good where warm-up is too short for one.
FIRST_LENGTH = 8


def fitting_move(target: Target) -> str:
    """Return the move that ``"auto"`` stands for."""
    posterior = target.posterior
    if isinstance(posterior, LogDensity):
        return "hmc" if posterior.has_gradient else "random_walk"
    try:
        marginal = posterior.marginal()
    except ArgumentError:
        return "hmc"
    if marginal.n_features**2 > MOST_PAIRS * posterior.n_weights:
        return "hmc"
    # Chains of one mode do not reach another by themselves.
    return "marginal_hmc" if target.n_modes <= 1 else "replica_exchange"


def proposal_of(
    target: Target,
    value_and_gradient: ValueAndGradient,
    move: str | TrackedMove,
    metric: str,
    length: int | None,
) -> TrackedMove:
    """Return the move to be adapted: one by name, with its first metric, or a copy of the user's own.

    Raises
    ------
    ArgumentError
        If there is none of this name, or it does not fit the target.
    """
    if isinstance(move, TrackedMove):
        for member in members_of(move):
            if isinstance(member, ReplicaExchange) and isinstance(member.path, PosteriorPath):
                check_same_posterior(member.path.posterior, target)
        return move.copied()  # warm-up changes the step size; the user's own stays as it was
    one_of("move", move, MOVES)
    if move in AROUND_ONE and target.n_modes != 1:
        others = "', '".join(name for name in MOVES if name not in AROUND_ONE)
        wants = f"'{others}' or a move of your own: this one proposes around one Gaussian"
        raise ArgumentError("move", f"{move!r} for {target.n_modes or 'no'} optima", wants)
    if move == "microcanonical" and target.n_weights < 2:
        raise ArgumentError("move", f"{move!r} for one weight", "another: in one dimension directions cannot turn")
    begin = "averaged" if metric == "auto" else metric
    num_integration_steps = length or FIRST_LENGTH
    if move == "replica_exchange":
        return replica_exchange(target, begin, length)
    if move == "marginal_hmc":
        marginal = target.posterior.marginal()
        hmc = MarginalHMC(marginal, first_metric(begin, target, marginal), num_integration_steps=num_integration_steps)
        hmc.step_size = hmc.default_step_size
        return hmc
    begin = first_metric(begin, target)
    if move == "random_walk":
        return RandomWalk(begin)
    if move == "pcn":
        return PCN(target.best.mean, begin)
    if move == "independence":
        return IndependenceT(target.best.mean, begin)
    if move == "mala":
        return MALA(value_and_gradient, begin)
    kind = Microcanonical if move == "microcanonical" else HMC
    hmc = kind(value_and_gradient, begin, num_integration_steps=num_integration_steps)
    hmc.step_size = hmc.default_step_size
    return hmc
