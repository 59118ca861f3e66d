"""Proposals that do not know where they came from."""

import numpy as np
from emcee.model import Model
from emcee.state import State

from bayesnn.arrays import ArrayLike, BoolArray, FloatArray
from bayesnn.checks import positive_number
from bayesnn.sampling.metric import Metric, metric_from_inverse_mass_matrix
from bayesnn.sampling.moves.base import WalkerMove, centered, check_size


class IndependenceT(WalkerMove):
    r"""Independent proposals from a multivariate Student-t around the optimum.

    Its tails are heavier than a Gaussian's, so that no place is proposed too seldom for the chain ever to leave it
    (Mengersen & Tweedie 1996: an independence sampler is geometrically ergodic only under a bounded ratio).

    Parameters
    ----------
    mean : array_like (k,)
        The optimum.
    inverse_mass_matrix : array_like (k, k) or (k,) or Metric
        Scale matrix :math:`SS'`, such as the covariance of the Laplace posterior.
    df : float
        Degrees of freedom above 0.

    Examples
    --------
    >>> import emcee
    >>> sampler = emcee.EnsembleSampler(
    ...     4, 2, lambda w: -0.5 * (w**2).sum(-1), moves=IndependenceT(np.zeros(2), np.eye(2)), vectorize=True)
    >>> start = np.random.default_rng(0).standard_normal((4, 2))
    >>> _ = sampler.run_mcmc(start, 100, skip_initial_state_check=True)
    >>> sampler.get_chain().shape
    (100, 4, 2)
    """

    state_names = ("mean", "metric")

    def __init__(self, mean: ArrayLike, inverse_mass_matrix: ArrayLike | Metric, df: float = 5.0) -> None:
        self.metric = (
            inverse_mass_matrix
            if isinstance(inverse_mass_matrix, Metric)
            else metric_from_inverse_mass_matrix(inverse_mass_matrix)
        )
        self.mean = centered(mean, self.metric.size)
        self.df = positive_number("df", df)

    def propose(self, model: Model, state: State) -> tuple[State, BoolArray]:
        """Offer every walker a fresh place; emcee calls this."""
        check_size(self.metric, state)
        shape = state.coords.shape
        standard = model.random.standard_normal(shape)
        standard /= np.sqrt(model.random.chisquare(self.df, (shape[0], 1)) / self.df)
        here = self.metric.whiten(state.coords - self.mean)
        proposed = self.mean + self.metric.move(standard)
        return self.decide(model, state, proposed, self._log_density(here) - self._log_density(standard))

    def _log_density(self, standard: FloatArray) -> FloatArray:
        """Log density of the proposal, less its normaliser, at standardised places (walkers, k)."""
        return -0.5 * (self.df + self.metric.size) * np.log1p((standard**2).sum(axis=1) / self.df)
