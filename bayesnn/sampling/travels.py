"""How replicas travel between the temperatures."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import BoolArray, FloatArray, IntArray

# Which end of the ladder a replica has visited last.
NEITHER, COLD, HOT = -1, 0, 1


@dataclass
class Travels:
    """Where the replicas of each walker are, and what is counted of their ways.

    Parameters
    ----------
    identities : ndarray of int (levels, walkers)
        Which replica is at each level.
    last_ends : ndarray of int (walkers, levels)
        Which end each replica has visited last.
    round_trips : ndarray of int (walkers,)
        How often a replica has come from the hot end to the cold one.
    from_hot : ndarray (levels,)
        Replicas at each level that have visited the hot end last, summed over exchanges and walkers.
    refused : ndarray (levels - 1,)
        Probabilities with which pairs of neighbours refused, each the mean over walkers, summed.
    tried : ndarray of int (levels - 1,)
        How often each pair was asked.
    n_exchanges : int
        Steps.
    """

    identities: IntArray
    last_ends: IntArray
    round_trips: IntArray
    from_hot: FloatArray
    refused: FloatArray
    tried: IntArray
    n_exchanges: int = 0

    @staticmethod
    def of(n_levels: int, n_walkers: int) -> "Travels":
        """Begin counting."""
        return Travels(
            identities=np.repeat(np.arange(n_levels)[:, None], n_walkers, axis=1),
            last_ends=np.full((n_walkers, n_levels), NEITHER),
            round_trips=np.zeros(n_walkers, dtype=np.int64),
            from_hot=np.zeros(n_levels),
            refused=np.zeros(n_levels - 1),
            tried=np.zeros(n_levels - 1, dtype=np.int64),
        )

    @property
    def rejection(self) -> FloatArray:
        """Mean probability (levels - 1,) with which neighbours did not change places; their sum is the barrier."""
        return self.refused / np.maximum(self.tried, 1)

    @property
    def share_from_hot(self) -> FloatArray:
        """Share (levels,) of the replicas at each level that have visited the hot end last."""
        return self.from_hot / max(self.n_exchanges * self.round_trips.size, 1)

    def swap(self, cold: int, probability: FloatArray, swaps: BoolArray) -> None:
        """Count that a level and the next hotter one changed places in some walkers, with probabilities (walkers,)."""
        self.refused[cold] += float(1.0 - probability.mean())
        self.tried[cold] += 1
        pair = self.identities[[cold + 1, cold]]
        self.identities[[cold, cold + 1]] = np.where(swaps, pair, pair[::-1])

    def arrive(self) -> None:
        """Count who is where after the swaps of a step."""
        walkers = np.indices(self.round_trips.shape)[0]
        self.last_ends[walkers, self.identities[-1]] = HOT
        self.round_trips += self.last_ends[walkers, self.identities[0]] == HOT
        self.last_ends[walkers, self.identities[0]] = COLD
        self.from_hot += (self.last_ends[walkers, self.identities] == HOT).sum(axis=1)
        self.n_exchanges += 1
