"""Preconditioned Crank-Nicolson around a Gaussian."""

import numpy as np
from emcee.model import Model
from emcee.state import State

from bayesnn.arrays import ArrayLike, BoolArray
from bayesnn.sampling.adaptation import DualAveraging, StepSizeAdaptation
from bayesnn.sampling.metric import Metric
from bayesnn.sampling.moves.base import PreconditionedMove, centered


class PCN(PreconditionedMove):
    r"""Preconditioned Crank-Nicolson, :math:`w' = m + \sqrt{1 - h^2} (w - m) + h S \xi`.

    The proposal leaves the Gaussian :math:`N(m, SS')` as it is, so that only the posterior's departure from that
    Gaussian is ever rejected: where the Laplace posterior is exact, every proposal is accepted, in any dimension.

    Parameters
    ----------
    mean : array_like (k,)
        `m`, the optimum.
    inverse_mass_matrix : array_like (k, k) or (k,) or Metric
        Covariance of the Gaussian.
    step_size : float
        `h`; 1, and all above, makes proposals that do not know where they came from.

    References
    ----------
    Cotter, Roberts, Stuart & White (2013), MCMC methods for functions, Statistical Science 28, equation 4.8; around a
    Gaussian at the mode: Pinski, Simpson, Stuart & Weber (2015), Algorithms for Kullback-Leibler approximation.

    Examples
    --------
    >>> import emcee
    >>> sampler = emcee.EnsembleSampler(
    ...     4, 2, lambda w: -0.5 * (w**2).sum(-1), moves=PCN(np.zeros(2), np.eye(2)), vectorize=True)
    >>> start = np.random.default_rng(0).standard_normal((4, 2))
    >>> _ = sampler.run_mcmc(start, 100, skip_initial_state_check=True)
    >>> sampler.acceptance_fraction
    array([1., 1., 1., 1.])
    """

    state_names = (*PreconditionedMove.state_names, "mean")
    target_acceptance = 0.4  # between a random walk's, which it is for small h, and an independence sampler's
    chain_mean = "arithmetic"

    def __init__(self, mean: ArrayLike, inverse_mass_matrix: ArrayLike | Metric, step_size: float = 0.5) -> None:
        super().__init__(step_size, inverse_mass_matrix)
        self.mean = centered(mean, self.metric.size)

    @property
    def default_step_size(self) -> float:
        """Halfway to proposals that forget."""
        return 0.5

    def adaptation(self) -> StepSizeAdaptation:
        """Return what finds the step size in warm-up, which is at most 1."""
        return DualAveraging(min(self.step_size, 1.0), self.target_acceptance, self.chain_mean, largest=1.0)

    def propose(self, model: Model, state: State) -> tuple[State, BoolArray]:
        """Advance every walker by one proposal; emcee calls this."""
        self.check_shape(state)
        h = min(self.step_size, 1.0)
        deviations = state.coords - self.mean
        fresh = self.metric.move(model.random.standard_normal(state.coords.shape))
        moved = np.sqrt(1.0 - h * h) * deviations + h * fresh
        # Reversible under the Gaussian: what leads back, less what leads there, is log N(w) - log N(w').
        here, there = self.metric.whiten(deviations), self.metric.whiten(moved)
        log_correction = 0.5 * ((there**2).sum(axis=1) - (here**2).sum(axis=1))
        return self.decide(model, state, self.mean + moved, log_correction)
