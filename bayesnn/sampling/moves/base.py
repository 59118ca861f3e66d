"""What our emcee moves share."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from emcee.model import Model
from emcee.moves import Move
from emcee.state import State

from bayesnn.arrays import ArrayLike, BoolArray, FloatArray
from bayesnn.checks import describe, finite_array, positive_number
from bayesnn.errors import ArgumentError
from bayesnn.sampling.adaptation import ChainMean, DualAveraging, StepSizeAdaptation
from bayesnn.sampling.metric import Metric, metric_from_inverse_mass_matrix


@dataclass(frozen=True)
class MoveStats:
    """What the last proposal did, for each walker.

    Parameters
    ----------
    acceptance_rate : ndarray (walkers,)
        Probability with which the proposal was accepted.
    energy : ndarray (walkers,)
        Hamiltonian after the step: minus log density, plus kinetic energy where there are momenta.
    diverging : ndarray of bool (walkers,)
        Whether the energy error passed all bounds.
    n_steps : int
        Evaluations of the density, or of its gradient where the move uses that.
    energy_variance : ndarray (walkers,), optional
        Mean square of the energy errors of single steps, per dimension, of a move that is not adjusted.
    """

    acceptance_rate: FloatArray
    energy: FloatArray
    diverging: BoolArray
    n_steps: int
    energy_variance: FloatArray | None = None


class TrackedMove(Move):
    """A move that says what its last proposal did, and can be kept and gone on with: what a run asks of its moves."""

    #: What the last proposal did.
    stats: MoveStats | None = None
    #: Attributes that change from step to step and decide what comes next: kept in a store, so that a run can go on.
    #: Numbers, strings, arrays, metrics, None, and tuples of these.
    state_names: tuple[str, ...] = ()

    @property
    def parts(self) -> "tuple[TrackedMove, ...]":
        """The moves this one is made of: itself, if it is no mixture."""
        return (self,)

    @property
    def active(self) -> "tuple[TrackedMove, ...]":
        """The parts that made the last proposal."""
        return (self,)

    def copied(self) -> Self:
        """Return a move to be adapted, while this one stays as it is."""
        return copy.copy(self)

    def snapshot(self) -> dict[str, Any]:
        """Return what decides the next steps, but for the walkers' places and the random numbers."""
        return {name: getattr(self, name) for name in self.state_names}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot of a move of the same kind."""
        for name in self.state_names:
            setattr(self, name, snapshot[name])


class WalkerMove(TrackedMove):
    """A move whose walkers do not look at each other, so that each is a Markov chain by itself.

    R-hat between walkers is valid, and any number of them will do (pass ``skip_initial_state_check=True`` to emcee).
    """

    def decide(
        self, model: Model, state: State, proposed: FloatArray, log_correction: FloatArray | float = 0.0
    ) -> tuple[State, BoolArray]:
        """Accept or reject proposed places (walkers, k) by Metropolis and Hastings.

        Parameters
        ----------
        model : emcee.model.Model
            Density and random numbers.
        state : emcee.state.State
            Where the walkers are.
        proposed : ndarray (walkers, k)
            Where they might go.
        log_correction : ndarray (walkers,) or float
            Log density of the proposal that leads back, less that of the one that leads there.

        Returns
        -------
        state : emcee.state.State
        accepted : ndarray of bool (walkers,)
        """
        log_prob, blobs = model.compute_log_prob_fn(proposed)
        probability, accepted = metropolis(log_prob - state.log_prob + log_correction, model.random)
        new = self.update(state, State(proposed, log_prob=log_prob, blobs=blobs), accepted)
        self.stats = MoveStats(probability, -new.log_prob, np.zeros(len(accepted), dtype=bool), 1)
        return new, accepted

    def moved(
        self, model: Model, state: State, weights: FloatArray, log_prob: FloatArray, accepted: BoolArray
    ) -> State:
        """Return the state after walkers have moved, with what else the density tells of where they are (blobs).

        Parameters
        ----------
        model : emcee.model.Model
            Density and random numbers.
        state : emcee.state.State
            Where the walkers were.
        weights : ndarray (walkers, k)
            Where they are.
        log_prob : ndarray (walkers,)
            There.
        accepted : ndarray of bool (walkers,)
            Which have moved.
        """
        blobs = None if state.blobs is None else model.compute_log_prob_fn(weights)[1]
        return self.update(state, State(weights, log_prob=log_prob, blobs=blobs), accepted)


class PreconditionedMove(WalkerMove):
    """A move that knows a metric and a step size, and gives every walker a draw of its own.

    Parameters
    ----------
    step_size : float
        In units of the metric, above 0.
    inverse_mass_matrix : array_like (k, k) or (k,) or Metric
        Estimate of the posterior covariance.
    """

    #: Acceptance rate at which the step size is best, and how the walkers' probabilities make one rate.
    target_acceptance: float
    chain_mean: ChainMean = "harmonic"
    state_names = ("step_size", "metric")

    def __init__(self, step_size: float, inverse_mass_matrix: ArrayLike | Metric) -> None:
        self.step_size = positive_number("step_size", step_size)
        self.metric = (
            inverse_mass_matrix
            if isinstance(inverse_mass_matrix, Metric)
            else metric_from_inverse_mass_matrix(inverse_mass_matrix)
        )

    @property
    def default_step_size(self) -> float:
        """Where to begin: the best order of magnitude for a Gaussian whose covariance the metric is."""
        return self.metric.size**-0.25

    def adaptation(self) -> StepSizeAdaptation:
        """Return what finds the step size in warm-up, from the present one on."""
        return DualAveraging(self.step_size, self.target_acceptance, self.chain_mean)

    def seen(self) -> FloatArray:
        """Return what the last proposal tells of the step size (walkers,)."""
        assert self.stats is not None  # asked for after a proposal
        return self.stats.acceptance_rate

    def use_metric(self, metric: Metric) -> None:
        """Change the metric; only before the draws that count."""
        self.metric = metric

    def check_shape(self, state: State) -> None:
        """Raise ArgumentError if the walkers have another dimension than the metric."""
        check_size(self.metric, state)


def metropolis(log_ratio: FloatArray, random: np.random.RandomState) -> tuple[FloatArray, BoolArray]:
    """Return acceptance probabilities and decisions (walkers,) for log ratios."""
    probability = acceptance(log_ratio)
    return probability, random.random_sample(len(probability)) < probability


def acceptance(log_ratio: FloatArray) -> FloatArray:
    """Return acceptance probabilities (walkers,) for log ratios; NaN is never accepted."""
    return np.exp(np.minimum(np.where(np.isnan(log_ratio), -np.inf, log_ratio), 0.0))


def check_callable(argument: str, value: object) -> None:
    """Raise ArgumentError unless `value` can be called."""
    if not callable(value):
        raise ArgumentError(argument, describe(value), "a function of weights (walkers, k)")


def centered(center: ArrayLike, size: int) -> FloatArray:
    """Return the centre of a Gaussian as an array (k,); ArgumentError if it is of another size than its metric."""
    array = finite_array("mean", center, (1,), f"shape ({size},)")
    if array.shape != (size,):
        raise ArgumentError("mean", f"shape {array.shape}", f"shape ({size},), as the metric")
    return array


def check_size(metric: Metric, state: State) -> None:
    """Raise ArgumentError if the walkers have another dimension than the metric."""
    shape = np.shape(state.coords)
    if shape[1] != metric.size:
        raise ArgumentError("inverse_mass_matrix", f"size {metric.size}", f"size {shape[1]}")
