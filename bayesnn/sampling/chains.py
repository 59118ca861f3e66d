"""Draws of all chains, and what was learnt while they were made."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import BoolArray, FloatArray, IntArray
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
    n_steps : ndarray of int (draws,)
        Evaluations each draw took.
    metric : Metric
        After warm-up.
    interrupted : bool
        Whether Ctrl-C ended the run.
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
    """

    def __init__(self, num_chains: int, num_samples: int, n_weights: int) -> None:
        self.weights = np.empty((num_chains, num_samples, n_weights))
        self.scalars = {
            name: np.empty((num_chains, num_samples)) for name in ("log_density", "acceptance_rate", "energy")
        }
        self.diverging = np.zeros((num_chains, num_samples), dtype=bool)
        self.n_steps = np.zeros(num_samples, dtype=np.int64)
        self.count = 0

    def add(self, weights: FloatArray, log_density: FloatArray, stats: MoveStats) -> None:
        """Keep one draw of every chain."""
        self.weights[:, self.count] = weights
        self.scalars["log_density"][:, self.count] = log_density
        self.scalars["acceptance_rate"][:, self.count] = stats.acceptance_rate
        self.scalars["energy"][:, self.count] = stats.energy
        self.diverging[:, self.count] = stats.diverging
        self.n_steps[self.count] = stats.n_steps
        self.count += 1

    def finish(self, step_size: float, metric: Metric, interrupted: bool) -> Chains:
        """Hand out what was kept."""
        kept = {name: values[:, : self.count] for name, values in self.scalars.items()}
        return Chains(
            self.weights[:, : self.count],
            diverging=self.diverging[:, : self.count],
            step_size=step_size,
            n_steps=self.n_steps[: self.count],
            metric=metric,
            interrupted=interrupted,
            **kept,
        )
