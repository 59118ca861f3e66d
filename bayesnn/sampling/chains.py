"""Draws of all chains, and what was learnt while they were made."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import AnyArray, BoolArray, FloatArray, IntArray
from bayesnn.sampling.metric import Metric
from bayesnn.sampling.moves import MoveStats


@dataclass(frozen=True)
class Chains:
    """What a run leaves.

    Parameters
    ----------
    weights : ndarray (chains, draws, k)
        The draws.
    log_density, acceptance_rate, energy : ndarray (chains, draws)
        Of each draw.
    diverging : ndarray of bool (chains, draws)
        Whether its trajectory diverged.
    step_size : float
        After warm-up.
    n_steps : ndarray of int (chains, draws)
        Evaluations each draw took.
    metric : Metric
        After warm-up.
    interrupted : bool
        Whether Ctrl-C ended the run.
    store_failure : str or None
        Why the last commit to the store failed, if it did.
    """

    weights: FloatArray
    log_density: FloatArray
    acceptance_rate: FloatArray
    energy: FloatArray
    diverging: BoolArray
    step_size: float
    n_steps: IntArray
    metric: Metric
    interrupted: bool
    store_failure: str | None = None

    @property
    def n_draws(self) -> int:
        """Draws of each chain."""
        return self.weights.shape[1]


class Recorder:
    """Arrays being filled, a draw of every chain at a time.

    Parameters
    ----------
    num_chains, num_samples, n_weights : int
        Shape of what is to come.

    Attributes
    ----------
    arrays : dict of str to ndarray (chains, num_samples, ...)
        By name, as in :class:`Chains`; what is not yet drawn is NaN, 0 or False.
    count : int
        Draws of each chain so far.
    """

    def __init__(self, num_chains: int, num_samples: int, n_weights: int) -> None:
        shape = (num_chains, num_samples)
        self.arrays: dict[str, AnyArray] = {
            "weights": np.full((*shape, n_weights), np.nan),
            "log_density": np.full(shape, np.nan),
            "acceptance_rate": np.full(shape, np.nan),
            "energy": np.full(shape, np.nan),
            "diverging": np.zeros(shape, dtype=np.bool_),
            "n_steps": np.zeros(shape, dtype=np.int64),
        }
        self.count = 0

    def add(self, weights: FloatArray, log_density: FloatArray, stats: MoveStats) -> None:
        """Keep one draw of every chain."""
        draw = {
            "weights": weights,
            "log_density": log_density,
            "acceptance_rate": stats.acceptance_rate,
            "energy": stats.energy,
            "diverging": stats.diverging,
            "n_steps": stats.n_steps,
        }
        for name, values in draw.items():
            self.arrays[name][:, self.count] = values
        self.count += 1

    def finish(self, step_size: float, metric: Metric, interrupted: bool, store_failure: str | None = None) -> Chains:
        """Hand out what was kept."""
        kept = {name: values[:, : self.count] for name, values in self.arrays.items()}
        return Chains(**kept, step_size=step_size, metric=metric, interrupted=interrupted, store_failure=store_failure)
