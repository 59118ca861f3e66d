"""Hamiltonian Monte Carlo in the metric."""

from collections.abc import Callable

import numpy as np
from emcee.model import Model
from emcee.state import State

from bayesnn.arrays import ArrayLike, BoolArray, FloatArray, IntArray
from bayesnn.checks import integer_at_least
from bayesnn.sampling.metric import Metric
from bayesnn.sampling.moves.base import MoveStats, PreconditionedMove, check_callable, metropolis
from bayesnn.sampling.moves.dynamics import Dynamics, Hamiltonian, Phase

# An energy error above this many nats is called a divergence (Stan's bound).
DIVERGENCE = 1000.0
# Trajectories vary in length, or the period of some direction would return walkers to where they began (Neal 2011,
# 5.4.2.2): the number of steps by half, for all walkers alike, and the step size of each walker.
STEPS_JITTER = 0.5
STEP_SIZE_JITTER = 0.2


def trajectory_steps(num_integration_steps: int) -> IntArray:
    """Return the numbers of leapfrog steps of which a trajectory takes one, each as likely, for a given mean.

    Examples
    --------
    >>> trajectory_steps(4)
    array([2, 3, 4, 5, 6])
    """
    least = max(1, round((1.0 - STEPS_JITTER) * num_integration_steps))
    return np.arange(least, 2 * num_integration_steps - least + 1)


class HMC(PreconditionedMove):
    r"""Hamiltonian Monte Carlo, all walkers at once.

    Momenta are kept standard normal, `r`, and the metric enters where they move the weights: one leapfrog step is
    :math:`r \leftarrow r + \tfrac h2 S'g(w)`, :math:`w \leftarrow w + h S r`, :math:`r \leftarrow r + \tfrac h2 S'g(w)`
    (Neal 2011, MCMC using Hamiltonian dynamics, section 5.4.1, with mass matrix ``(S S')**-1``).

    Parameters
    ----------
    value_and_gradient : callable
        Maps weights (walkers, k) to log densities (walkers,) and gradients (walkers, k): of the same density the
        sampler was given. ``posterior.fused()`` follows whole trajectories in compiled code.
    inverse_mass_matrix : array_like (k, k) or (k,) or Metric
        Estimate of the posterior covariance.
    step_size : float
        `h`, in units of the metric.
    num_integration_steps : int
        Mean number of leapfrog steps of a trajectory; each draws its own between half and one and a half of it.

    Examples
    --------
    >>> import emcee
    >>> def value_and_gradient(w):
    ...     return -0.5 * (w**2).sum(-1), -w
    >>> move = HMC(value_and_gradient, np.eye(2), step_size=0.5, num_integration_steps=4)
    >>> sampler = emcee.EnsembleSampler(
    ...     4, 2, lambda w: value_and_gradient(w)[0], moves=move, vectorize=True)
    >>> start = np.random.default_rng(0).standard_normal((4, 2))
    >>> _ = sampler.run_mcmc(start, 100, skip_initial_state_check=True)
    >>> sampler.get_chain().shape, 2 <= move.stats.n_steps <= 6
    ((100, 4, 2), True)
    """

    #: Share by which the step size of each walker varies.
    step_size_jitter = STEP_SIZE_JITTER
    #: How trajectories run between draws of the momenta.
    dynamics: Dynamics = Hamiltonian()
    state_names = (*PreconditionedMove.state_names, "num_integration_steps", "_known")
    # Stan's, above the 0.651 of Beskos et al. (2013), which Hoffman, Radul & Sountsov (2021) take with the harmonic
    # mean over chains: bent posteriors have places where chains stick at that. It costs next to nothing.
    target_acceptance = 0.8

    def __init__(
        self,
        value_and_gradient: Callable[[FloatArray], tuple[FloatArray, FloatArray]],
        inverse_mass_matrix: ArrayLike | Metric,
        step_size: float = 0.5,
        num_integration_steps: int = 32,
    ) -> None:
        super().__init__(step_size, inverse_mass_matrix)
        check_callable("value_and_gradient", value_and_gradient)
        self.value_and_gradient = value_and_gradient
        self.num_integration_steps = integer_at_least("num_integration_steps", num_integration_steps, 1)
        self._known: tuple[FloatArray, FloatArray, FloatArray] | None = None

    def use_density(self, value_and_gradient: Callable[[FloatArray], tuple[FloatArray, FloatArray]]) -> None:
        """Change the density."""
        self.value_and_gradient, self._known = value_and_gradient, None

    def propose(self, model: Model, state: State) -> tuple[State, BoolArray]:
        """Advance every walker by one trajectory; emcee calls this."""
        self.check_shape(state)
        weights, log_prob, accepted = self.advance(state.coords, state.log_prob, model.random)
        return self.moved(model, state, weights, log_prob, accepted), accepted

    def advance(
        self, start: FloatArray, log_prob: FloatArray, random: np.random.RandomState
    ) -> tuple[FloatArray, FloatArray, BoolArray]:
        """Follow one trajectory of every walker, and accept or reject its end.

        Parameters
        ----------
        start : ndarray (walkers, k)
            Where the walkers are.
        log_prob : ndarray (walkers,)
            Log density there.
        random : numpy.random.RandomState
            Source.

        Returns
        -------
        weights : ndarray (walkers, k)
            Where the walkers are then.
        log_prob : ndarray (walkers,)
            There.
        accepted : ndarray of bool (walkers,)
        """
        momenta = self.dynamics.draw(random, start.shape)
        steps = self.step_size * (1.0 + self.step_size_jitter * (2.0 * random.random_sample((len(start), 1)) - 1.0))
        n_steps = self._draw_n_steps(random)
        gradient = self._known_at(start)[1]
        energy = self.dynamics.kinetic(momenta) - log_prob
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            weights, momenta, end_log_prob, end_gradient = self.integrate(start, momenta, gradient, steps, n_steps)
            end_energy = self.dynamics.kinetic(momenta) - end_log_prob
            error = end_energy - energy
        probability, accepted = metropolis(-error, random)
        # What was rejected may hold NaN; it must not reach the state.
        weights = np.where(accepted[:, None], weights, start)
        log_prob = np.where(accepted, end_log_prob, log_prob)
        self._known = weights, log_prob, np.where(accepted[:, None], end_gradient, gradient)
        self.stats = MoveStats(
            acceptance_rate=probability,
            energy=np.where(accepted, end_energy, energy),
            diverging=~(error < DIVERGENCE),
            n_steps=n_steps,
        )
        return weights, log_prob, accepted

    def integrate(
        self, weights: FloatArray, momenta: FloatArray, gradient: FloatArray, steps: FloatArray, n_steps: int
    ) -> Phase:
        """Follow a trajectory of every walker.

        Parameters
        ----------
        weights, momenta, gradient : ndarray (walkers, k)
            Where the trajectories begin; momenta are as ``dynamics`` draws them.
        steps : ndarray (walkers, 1)
            Step size of each walker.
        n_steps : int
            Leapfrog steps.

        Returns
        -------
        weights, momenta : ndarray (walkers, k)
        log_prob : ndarray (walkers,)
        gradient : ndarray (walkers, k)
            Where they end; not finite, or without meaning, where the density is not finite on the way.
        """
        density = self.value_and_gradient
        return self.dynamics.integrate(density, self.metric, weights, momenta, gradient, steps, n_steps)

    def _draw_n_steps(self, random: np.random.RandomState) -> int:
        steps = trajectory_steps(self.num_integration_steps)
        return int(random.randint(steps[0], steps[-1] + 1))

    def _known_at(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log density and gradient where the walkers are: of the last trajectory, unless something else moved them."""
        if self._known is None or not np.array_equal(self._known[0], weights):
            return self.value_and_gradient(weights)
        return self._known[1:]
