"""Microcanonical moves: trajectories at constant speed, adjusted and not."""

from collections.abc import Callable

import numpy as np
from emcee.model import Model
from emcee.state import State

from bayesnn.arrays import ArrayLike, BoolArray, FloatArray
from bayesnn.checks import integer_at_least, positive_number
from bayesnn.errors import ArgumentError
from bayesnn.sampling.adaptation import EnergyErrorTuning, StepSizeAdaptation
from bayesnn.sampling.metric import Metric
from bayesnn.sampling.moves.base import MoveStats, PreconditionedMove, check_callable
from bayesnn.sampling.moves.dynamics import FORGOTTEN, Isokinetic, lengths
from bayesnn.sampling.moves.hmc import DIVERGENCE, HMC

# Variance of the energy error of a step, per dimension, that Robnik et al. (2023), section 4.2, aim at.
ENERGY_VARIANCE = 5e-4
# What a step that is not taken counts in the variance, per dimension: tuning makes such steps about as rare as the
# target is small, and a wall, which some steps always meet, does not shrink them for ever.
REFUSED = 1.0


class Microcanonical(HMC):
    r"""Metropolis-adjusted microcanonical trajectories: as HMC, at constant speed.

    Directions are drawn uniformly on the sphere, and :class:`bayesnn.sampling.moves.dynamics.Isokinetic` says how
    trajectories run. Where the density falls off steeply a walker turns instead of racing: steps may be longer than
    HMC's in narrow, bent places. The end is accepted by the error of the energy, so that draws are exact (Robnik,
    Cohn-Gordon & Seljak 2025, arXiv:2503.01707, MAMS).

    Parameters
    ----------
    value_and_gradient : callable
        As for :class:`HMC`.
    inverse_mass_matrix : array_like (k, k) or (k,) or Metric
        Estimate of the posterior covariance, k at least 2.
    step_size : float
        In units of the metric; a walker goes :math:`\sqrt k` of it a step.
    num_integration_steps : int
        Mean number of leapfrog steps of a trajectory; each draws its own between half and one and a half of it.

    Examples
    --------
    >>> import emcee
    >>> def value_and_gradient(w):
    ...     return -0.5 * (w**2).sum(-1), -w
    >>> sampler = emcee.EnsembleSampler(4, 3, lambda w: value_and_gradient(w)[0],
    ...     moves=Microcanonical(value_and_gradient, np.eye(3), 0.5, 4), vectorize=True)
    >>> start = np.random.default_rng(0).standard_normal((4, 3))
    >>> _ = sampler.run_mcmc(start, 100, skip_initial_state_check=True)
    >>> sampler.get_chain().shape
    (100, 4, 3)
    """

    dynamics = Isokinetic()

    def __init__(
        self,
        value_and_gradient: Callable[[FloatArray], tuple[FloatArray, FloatArray]],
        inverse_mass_matrix: ArrayLike | Metric,
        step_size: float = 0.5,
        num_integration_steps: int = 32,
    ) -> None:
        super().__init__(value_and_gradient, inverse_mass_matrix, step_size, num_integration_steps)
        two_at_least(self.metric)

    def use_metric(self, metric: Metric) -> None:
        """Change the metric; only before the draws that count."""
        two_at_least(metric)
        super().use_metric(metric)


class MicrocanonicalLangevin(PreconditionedMove):
    r"""Unadjusted microcanonical Langevin: directions that are refreshed a little at every step, and no rejection.

    Draws are biased by the size of the steps: in warm-up it is tuned so that the energy errors of single steps have a
    variance of `energy_variance` a dimension. For journeys, and for draws whose bias is measured (Robnik & Seljak 2024,
    arXiv:2303.18221, MCLMC).

    Parameters
    ----------
    value_and_gradient : callable
        As for :class:`HMC`.
    inverse_mass_matrix : array_like (k, k) or (k,) or Metric
        Estimate of the posterior covariance, k at least 2.
    step_size : float
        In units of the metric; a walker goes :math:`\sqrt k` of it a step.
    num_integration_steps : int
        Steps between draws.
    decoherence : float
        Length, in units of :math:`\sqrt k`, after which a walker has forgotten its direction; 1 is a standard deviation
        of every direction of the metric.
    energy_variance : float
        What warm-up tunes the step size to.

    Examples
    --------
    >>> import emcee
    >>> def value_and_gradient(w):
    ...     return -0.5 * (w**2).sum(-1), -w
    >>> sampler = emcee.EnsembleSampler(4, 3, lambda w: value_and_gradient(w)[0],
    ...     moves=MicrocanonicalLangevin(value_and_gradient, np.eye(3), 0.2, 8), vectorize=True)
    >>> start = np.random.default_rng(0).standard_normal((4, 3))
    >>> _ = sampler.run_mcmc(start, 100, skip_initial_state_check=True)
    >>> sampler.get_chain().shape
    (100, 4, 3)
    """

    state_names = (*PreconditionedMove.state_names, "num_integration_steps", "seen_last", "_known")

    def __init__(
        self,
        value_and_gradient: Callable[[FloatArray], tuple[FloatArray, FloatArray]],
        inverse_mass_matrix: ArrayLike | Metric,
        step_size: float = 0.2,
        num_integration_steps: int = 32,
        decoherence: float = 1.0,
        energy_variance: float = ENERGY_VARIANCE,
    ) -> None:
        super().__init__(step_size, inverse_mass_matrix)
        two_at_least(self.metric)
        check_callable("value_and_gradient", value_and_gradient)
        self.value_and_gradient = value_and_gradient
        self.num_integration_steps = integer_at_least("num_integration_steps", num_integration_steps, 1)
        self.decoherence = positive_number("decoherence", decoherence)
        self.energy_variance = positive_number("energy_variance", energy_variance)
        self.dynamics = Isokinetic()
        # Weights, momenta, log densities and gradients after the last step.
        self._known: tuple[FloatArray, FloatArray, FloatArray, FloatArray] | None = None
        #: Variance of the energy errors of the last draw, per dimension, in the mean over the walkers.
        self.seen_last = np.nan

    @property
    def default_step_size(self) -> float:
        """Where to begin."""
        return 0.2

    def use_metric(self, metric: Metric) -> None:
        """Change the metric; only before the draws that count."""
        two_at_least(metric)
        super().use_metric(metric)
        self._known = None  # directions were those of the metric before

    def adaptation(self) -> StepSizeAdaptation:
        """Return what finds the step size in warm-up."""
        return EnergyErrorTuning(self.step_size, self.energy_variance)

    def seen(self) -> FloatArray:
        """Mean squares of the energy errors of the last steps, per dimension (walkers,)."""
        assert self.stats is not None
        assert self.stats.energy_variance is not None
        return self.stats.energy_variance

    def words(self) -> str:
        """Say what its draws are not."""
        seen = "unknown" if np.isnan(self.seen_last) else f"{self.seen_last:.2g}"
        return (
            f"draws are not adjusted: their bias is of second order in the step, {self.step_size:.3g}, whose energy "
            f"errors have a variance of {seen} a dimension, wanted {self.energy_variance:.2g}"
        )

    def propose(self, model: Model, state: State) -> tuple[State, BoolArray]:
        """Take the steps of one draw; emcee calls this."""
        self.check_shape(state)
        weights, momenta, log_prob, gradient = self._begin(state.coords, model.random)
        n_walkers, size = weights.shape
        steps = np.full((n_walkers, 1), self.step_size)
        # Robnik et al. (2023), section 3.2: the direction is forgotten after a way of decoherence * sqrt(k).
        noise = np.sqrt(np.expm1(min(2.0 * self.step_size / self.decoherence, FORGOTTEN)) / size)
        squares, stays = np.zeros(n_walkers), np.zeros(n_walkers, dtype=bool)
        for _ in range(self.num_integration_steps):
            before = log_prob
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                ends = self.dynamics.integrate(
                    self.value_and_gradient, self.metric, weights, momenta, gradient, steps, 1
                )
                error = self.dynamics.kinetic(ends[1]) - ends[2] + before
            # A step that leaves the numbers, or the energy by far, is not taken; the walker turns back.
            good = np.abs(error) < DIVERGENCE
            weights, gradient = (
                np.where(good[:, None], new, old) for new, old in ((ends[0], weights), (ends[3], gradient))
            )
            log_prob = np.where(good, ends[2], log_prob)
            turned = np.where(good[:, None], ends[1], -momenta)
            squares, stays = squares + np.where(good, error**2, REFUSED * size), stays | ~good
            turned = turned / lengths(turned)
            turned = turned + noise * model.random.standard_normal(turned.shape)
            momenta = turned / lengths(turned)
        self._known = weights, momenta, log_prob, gradient
        energy_variance = squares / (self.num_integration_steps * size)
        self.seen_last = float(energy_variance.mean())
        self.stats = MoveStats(
            acceptance_rate=np.ones(n_walkers),
            energy=-log_prob,
            diverging=stays,
            n_steps=self.num_integration_steps,
            energy_variance=energy_variance,
        )
        accepted = np.ones(n_walkers, dtype=bool)
        return self.moved(model, state, weights, log_prob, accepted), accepted

    def _begin(
        self, weights: FloatArray, random: np.random.RandomState
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Go on from the last step, unless something else moved the walkers."""
        if self._known is not None and np.array_equal(self._known[0], weights):
            return self._known
        log_prob, gradient = self.value_and_gradient(weights)
        return weights, self.dynamics.draw(random, weights.shape), log_prob, gradient


def two_at_least(metric: Metric) -> None:
    """Raise ArgumentError for a metric of one dimension: directions cannot turn there."""
    if metric.size < 2:
        raise ArgumentError("inverse_mass_matrix", f"size {metric.size}", "at least 2: directions turn")
