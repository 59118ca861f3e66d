"""Gaussian random walk in the metric."""

import numpy as np
from emcee.model import Model
from emcee.state import State

from bayesnn.arrays import ArrayLike, BoolArray
from bayesnn.sampling.metric import Metric
from bayesnn.sampling.moves.base import PreconditionedMove


class RandomWalk(PreconditionedMove):
    r"""Random-walk Metropolis, :math:`w' = w + h S \xi`, a fresh :math:`\xi` for every walker.

    emcee's own ``GaussianMove`` with a full covariance (3.1.6) gives all walkers the same increment.

    Parameters
    ----------
    inverse_mass_matrix : array_like (k, k) or (k,) or Metric
        Estimate of the posterior covariance.
    step_size : float, optional
        `h`; by default :math:`2.38/\sqrt k`, the best for a Gaussian target whose covariance is given exactly
        (Gelman, Roberts & Gilks 1996).

    Examples
    --------
    >>> import emcee
    >>> sampler = emcee.EnsembleSampler(
    ...     4, 2, lambda w: -0.5 * (w**2).sum(-1), moves=RandomWalk(np.eye(2)), vectorize=True)
    >>> start = np.random.default_rng(0).standard_normal((4, 2))
    >>> _ = sampler.run_mcmc(start, 100, skip_initial_state_check=True)
    >>> sampler.get_chain().shape
    (100, 4, 2)
    """

    target_acceptance = 0.234  # Roberts, Gelman & Gilks (1997)
    chain_mean = "arithmetic"

    def __init__(self, inverse_mass_matrix: ArrayLike | Metric, step_size: float | None = None) -> None:
        super().__init__(1.0 if step_size is None else step_size, inverse_mass_matrix)
        if step_size is None:
            self.step_size = self.default_step_size

    @property
    def default_step_size(self) -> float:
        """The best for a Gaussian whose covariance the metric is."""
        return 2.38 / float(np.sqrt(self.metric.size))

    def propose(self, model: Model, state: State) -> tuple[State, BoolArray]:
        """Advance every walker by one Metropolis step; emcee calls this."""
        self.check_shape(state)
        increments = self.metric.move(model.random.standard_normal(state.coords.shape))
        return self.decide(model, state, state.coords + self.step_size * increments)
