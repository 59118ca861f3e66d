"""The Metropolis-adjusted Langevin algorithm."""

from collections.abc import Callable

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.sampling.metric import Metric
from bayesnn.sampling.moves.hmc import HMC


class MALA(HMC):
    r"""Langevin proposals :math:`w' = w + \tfrac{h^2}2 SS' g(w) + h S \xi`: HMC with a single step.

    One leapfrog step makes the same proposal and its change of energy the same acceptance (Neal 2011, MCMC using
    Hamiltonian dynamics, section 5.5.2).

    Parameters
    ----------
    value_and_gradient : callable
        As for :class:`HMC`.
    inverse_mass_matrix : array_like (k, k) or (k,) or Metric
        Estimate of the posterior covariance.
    step_size : float, optional
        `h`; by default :math:`1.65 k^{-1/6}` (Roberts & Rosenthal 1998, for independent normals).

    Examples
    --------
    >>> import emcee
    >>> def value_and_gradient(w):
    ...     return -0.5 * (w**2).sum(-1), -w
    >>> sampler = emcee.EnsembleSampler(4, 2, lambda w: value_and_gradient(w)[0],
    ...     moves=MALA(value_and_gradient, np.eye(2)), vectorize=True)
    >>> start = np.random.default_rng(0).standard_normal((4, 2))
    >>> _ = sampler.run_mcmc(start, 100, skip_initial_state_check=True)
    >>> sampler.get_chain().shape
    (100, 4, 2)
    """

    target_acceptance = 0.574  # Roberts & Rosenthal (1998)
    chain_mean = "arithmetic"
    step_size_jitter = 0.0

    def __init__(
        self,
        value_and_gradient: Callable[[FloatArray], tuple[FloatArray, FloatArray]],
        inverse_mass_matrix: ArrayLike | Metric,
        step_size: float | None = None,
    ) -> None:
        super().__init__(value_and_gradient, inverse_mass_matrix, 1.0 if step_size is None else step_size, 1)
        if step_size is None:
            self.step_size = self.default_step_size

    @property
    def default_step_size(self) -> float:
        """The best for independent normals."""
        return 1.65 * float(self.metric.size) ** (-1.0 / 6.0)
