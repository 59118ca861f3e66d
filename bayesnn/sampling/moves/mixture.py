"""Several moves taking turns by chance."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from emcee.model import Model
from emcee.state import State

from bayesnn.arrays import ArrayLike, BoolArray
from bayesnn.checks import describe, finite_array
from bayesnn.errors import ArgumentError
from bayesnn.sampling.moves.base import TrackedMove, WalkerMove
from bayesnn.sampling.moves.mode_jump import ModeJump
from bayesnn.sampling.moves.replica_exchange import ReplicaExchange


def members_of(move: TrackedMove) -> tuple[TrackedMove, ...]:
    """Return the moves of a mixture, those of mixtures within it one by one; of any other move, itself.

    Unlike its `parts`, a member is whole: replica exchange is one, its trajectories are none.
    """
    if not isinstance(move, Mixture):
        return (move,)
    return tuple(member for each in move.moves for member in members_of(each))


def crosses_modes(move: TrackedMove) -> bool:
    """Whether a move, or a member of a mixture, takes chains from one mode to another."""
    return any(isinstance(member, ReplicaExchange | ModeJump) for member in members_of(move))


class Mixture(WalkerMove):
    """At every step one of several moves, drawn by chance, advances all walkers.

    As ``moves=[(move, weight), ...]`` of emcee; as one move, it can be handed to :func:`bayesnn.sample`, which adapts
    each part by the steps that it made itself.

    Parameters
    ----------
    moves : sequence of moves
        The parts.
    weights : array_like (m,), optional
        How often each is drawn, relative to the others; equally often by default.

    Raises
    ------
    ArgumentError
        If there are no moves, one is not of this package, or the weights do not fit them.

    Examples
    --------
    >>> from bayesnn import moves
    >>> move = Mixture([moves.RandomWalk(np.eye(2)), moves.PCN(np.zeros(2), np.eye(2))], [3, 1])
    >>> move.weights
    array([0.75, 0.25])
    """

    def __init__(self, moves: Sequence[WalkerMove], weights: ArrayLike | None = None) -> None:
        wants = "a sequence of moves of bayesnn.moves, at least one"
        if not isinstance(moves, Sequence) or len(moves) == 0:  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
            raise ArgumentError("moves", describe(moves), wants)
        for move in moves:
            if not isinstance(move, WalkerMove):  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
                raise ArgumentError("moves", describe(move), wants)
        self.moves = tuple(moves)
        given = np.ones(len(moves)) if weights is None else finite_array("weights", weights, (1,), "one per move")
        if given.shape != (len(moves),) or np.any(given < 0) or given.sum() <= 0:
            raise ArgumentError("weights", describe(weights), f"{len(moves)} numbers, none below 0, not all 0")
        self.weights = given / given.sum()
        self._active = self.moves[0]

    @property
    def parts(self) -> tuple[TrackedMove, ...]:
        """The parts."""
        return tuple(part for move in self.moves for part in move.parts)

    @property
    def active(self) -> tuple[TrackedMove, ...]:
        """The parts that made the last proposal."""
        return self._active.active

    def copied(self) -> Self:
        """Return a mixture of copies."""
        return type(self)([move.copied() for move in self.moves], self.weights)

    def propose(self, model: Model, state: State) -> tuple[State, BoolArray]:
        """Advance every walker by the move that is drawn; emcee calls this."""
        drawn = int(np.searchsorted(np.cumsum(self.weights), model.random.random_sample(), side="right"))
        self._active = self.moves[min(drawn, len(self.moves) - 1)]
        result = self._active.propose(model, state)
        self.stats = self._active.stats
        return result
