"""emcee's own moves in our runs, whose walkers look at each other: several ensembles, each for itself."""

import copy
import warnings
from collections.abc import Mapping
from typing import Any, Self, cast

import numpy as np
from emcee.model import Model
from emcee.moves import GaussianMove, Move, RedBlueMove
from emcee.state import State

from bayesnn.arrays import BoolArray, IntArray
from bayesnn.errors import ArgumentError
from bayesnn.sampling.moves import MoveStats, TrackedMove, WalkerMove

# Walkers where the move does not say how many it needs, and the user does not either.
DEFAULT_CHAINS = 16
SHARED_INCREMENT = (
    "move: emcee's GaussianMove with a full covariance gives every walker the same increment; its walkers are taken "
    "for interacting ensembles, which have few effective draws. bayesnn.moves.RandomWalk(covariance) gives each its own"
)


def is_independent(move: Move) -> bool:
    """Whether each walker of a move is a Markov chain by itself.

    Moves of :mod:`bayesnn.moves` are, and ``emcee.moves.GaussianMove`` with a scalar or diagonal covariance and without
    a factor, which all walkers would share. Of any other move it is not known, and the answer is no.
    """
    if isinstance(move, WalkerMove):
        return True
    if not isinstance(move, GaussianMove):
        return False
    proposal = cast("Any", move).get_proposal
    return np.ndim(proposal.scale) < 2 and not _shares_increment(move) and proposal._log_factor is None


def fewest_walkers(move: Move, n_weights: int) -> int:
    """Return the fewest walkers of one ensemble that a move works with.

    emcee wants 2 k; two more let either half span all k dimensions, without which ``WalkMove`` and ``KDEMove`` would be
    left with a singular covariance. Two walkers a part, where the move splits them into more parts, for
    ``DESnookerMove``.
    """
    if not isinstance(move, RedBlueMove):
        return 1
    parts = 2 * int(cast("Any", move).nsplits)
    return parts if cast("Any", move).live_dangerously else max(2 * n_weights + 2, parts)


class Ensembles(TrackedMove):
    """Several ensembles of equally many walkers, advanced one after the other by copies of one emcee move.

    Walkers of different ensembles never meet, so that ensembles are independent and can be compared.

    Parameters
    ----------
    move : emcee.moves.Move
        Advances one ensemble; stays as it is.
    num_ensembles : int
        How many.

    Examples
    --------
    >>> import emcee
    >>> move = Ensembles(emcee.moves.StretchMove(), 3)
    >>> move.of_walkers(6)
    array([0, 0, 1, 1, 2, 2])
    """

    def __init__(self, move: Move, num_ensembles: int) -> None:
        self.name = type(move).__name__
        self.settings = _plain(move)  # tells a store which run it belongs to
        self.moves = tuple(copy.deepcopy(move) for _ in range(num_ensembles))

    def of_walkers(self, num_walkers: int) -> IntArray:
        """Return the ensemble (walkers,) of each walker."""
        return np.arange(num_walkers) // (num_walkers // len(self.moves))

    def copied(self) -> Self:
        """Return the same, to be advanced."""
        return copy.deepcopy(self)

    def snapshot(self) -> dict[str, Any]:
        """Return the numbers each copy of the move holds."""
        return {"moves": [_plain(move) for move in self.moves]}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from the numbers of a run of the same move."""
        for move, kept in zip(self.moves, snapshot["moves"], strict=True):
            for part, numbers in zip(_parts(move), kept, strict=True):
                vars(part).update(numbers)

    def propose(self, model: Model, state: State) -> tuple[State, BoolArray]:
        """Advance every ensemble by one step; emcee calls this."""
        size = len(state.coords) // len(self.moves)
        accepted = np.zeros(len(state.coords), dtype=np.bool_)
        coords, log_prob = state.coords.copy(), state.log_prob.copy()
        for place, move in enumerate(self.moves):
            mine = slice(place * size, (place + 1) * size)
            part = State(coords[mine], log_prob=log_prob[mine], copy=True)
            new, accepted[mine] = move.propose(model, part)
            coords[mine], log_prob[mine] = new.coords, new.log_prob
        nowhere = np.zeros(len(coords), dtype=np.bool_)
        self.stats = MoveStats(accepted.astype(np.float64), -log_prob, nowhere, 1)
        return State(coords, log_prob=log_prob, random_state=state.random_state), accepted


def as_tracked(
    move: Move, num_chains: int | None, num_ensembles: int, n_weights: int
) -> tuple[TrackedMove, int, IntArray | None]:
    """Make any emcee move one that a run can advance.

    Parameters
    ----------
    move : emcee.moves.Move
        One of ours or emcee's.
    num_chains : int, optional
        Walkers of all ensembles together; as few as the move works with by default.
    num_ensembles : int
        Independent ensembles, where walkers look at each other.
    n_weights : int
        Dimension of the posterior.

    Returns
    -------
    move : TrackedMove
        Itself if it is one of ours.
    num_chains : int
    ensemble : ndarray of int (chains,) or None
        The ensemble of each walker; None where walkers are independent.

    Raises
    ------
    ArgumentError
        If there are too few walkers, or they do not make equal ensembles.

    Warns
    -----
    RuntimeWarning
        If all walkers would get the same increment.
    """
    if isinstance(move, TrackedMove):
        return move, num_chains or DEFAULT_CHAINS, None
    if is_independent(move):
        return Ensembles(move, 1), num_chains or DEFAULT_CHAINS, None
    if _shares_increment(move):
        warnings.warn(SHARED_INCREMENT, RuntimeWarning, stacklevel=4)
    fewest = fewest_walkers(move, n_weights)
    smallest = num_ensembles * fewest
    if num_chains is None:
        num_chains = smallest if isinstance(move, RedBlueMove) else max(DEFAULT_CHAINS, smallest)
        num_chains += -num_chains % num_ensembles
    if num_chains < smallest or num_chains % num_ensembles:
        each = f"{num_ensembles} ensembles of {fewest} walkers of {n_weights} weights"
        wants = f"a multiple of {num_ensembles} of at least {smallest}: {each}, or fewer num_ensembles"
        raise ArgumentError("num_chains", f"{num_chains} for {type(move).__name__}", wants)
    ensembles = Ensembles(move, num_ensembles)
    return ensembles, num_chains, ensembles.of_walkers(num_chains)


def _shares_increment(move: Move) -> bool:
    """Whether it is emcee's GaussianMove with a full covariance (emcee 3.1.6: one increment for all walkers)."""
    return isinstance(move, GaussianMove) and np.ndim(cast("Any", move).get_proposal.scale) == 2


def _parts(move: Move) -> list[object]:
    """Return what holds a move's numbers: itself and, of a Metropolis move, its proposal."""
    proposal = getattr(move, "get_proposal", None)
    return [move, *([proposal] if hasattr(proposal, "__dict__") and not hasattr(proposal, "__func__") else [])]


def _plain(move: Move) -> list[dict[str, Any]]:
    """Return all numbers, strings and arrays of a move."""
    kinds = (bool, int, float, str, type(None), np.ndarray)
    return [
        {name: value for name, value in sorted(vars(part).items()) if isinstance(value, kinds)} for part in _parts(move)
    ]
