"""Hamiltonian Monte Carlo with the output layer integrated out."""

import numpy as np
from emcee.model import Model
from emcee.state import State

from bayesnn.arrays import ArrayLike, BoolArray
from bayesnn.errors import ArgumentError
from bayesnn.sampling.marginal import Marginal
from bayesnn.sampling.metric import Metric
from bayesnn.sampling.moves.hmc import HMC


class MarginalHMC(HMC):
    r"""HMC on the hidden weights of a network, and at every step a fresh draw of its output layer given these.

    The trajectory is accepted by the density with the output layer integrated out, and the output layer is drawn from
    its exact law: both leave the posterior as it is, one after the other in this order (van Dyk & Park 2008, Partially
    collapsed Gibbs samplers, JASA 103, section 3). Valleys along which output and hidden weights hold each other fast
    are gone, and there are fewer dimensions.

    Parameters
    ----------
    marginal : MarginalDensity
        Such as ``posterior.marginal()``.
    inverse_mass_matrix : array_like (m, m) or (m,) or Metric
        Estimate of the posterior covariance of the kept coordinates.
    step_size : float
        `h`, in units of the metric.
    num_integration_steps : int
        Mean number of leapfrog steps of a trajectory; each draws its own between half and one and a half of it.

    Examples
    --------
    >>> import emcee
    >>> from bayesnn import MLP, Gaussian, NormalPrior, Posterior
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> post = Posterior(MLP(1, (2,), 1), x, np.sin(3 * x), Gaussian(0.1), NormalPrior(1.0))
    >>> move = MarginalHMC(post.marginal(), 0.01 * np.eye(4), num_integration_steps=4)
    >>> sampler = emcee.EnsembleSampler(4, 7, post.log_density, moves=move, vectorize=True)
    >>> start = np.random.default_rng(0).standard_normal((4, 7))
    >>> _ = sampler.run_mcmc(start, 100, skip_initial_state_check=True)
    >>> sampler.get_chain().shape
    (100, 4, 7)
    """

    def __init__(
        self,
        marginal: Marginal,
        inverse_mass_matrix: ArrayLike | Metric,
        step_size: float = 0.5,
        num_integration_steps: int = 8,
    ) -> None:
        super().__init__(marginal, inverse_mass_matrix, step_size, num_integration_steps)
        self.marginal = marginal

    def propose(self, model: Model, state: State) -> tuple[State, BoolArray]:
        """Advance every walker by one trajectory and a draw; emcee calls this."""
        self.check_shape(state)
        start = np.ascontiguousarray(state.coords[:, self.marginal.kept])
        kept, _, accepted = self.advance(start, self._known_at(start)[0], model.random)
        weights, log_prob = self.marginal.draw(kept, model.random)
        everywhere = np.ones(
            len(kept), dtype=np.bool_
        )  # the output layer is new where the trajectory was rejected, too
        return self.moved(model, state, weights, log_prob, everywhere), accepted

    def check_shape(self, state: State) -> None:
        """Raise ArgumentError if the metric is not of the kept coordinates."""
        size = len(self.marginal.kept)
        if self.metric.size != size:
            raise ArgumentError(
                "inverse_mass_matrix", f"size {self.metric.size}", f"size {size}, of the hidden weights"
            )
        if state.coords.shape[1] <= self.marginal.kept.max():
            raise ArgumentError("marginal", f"coordinates up to {self.marginal.kept.max()}", f"{state.coords.shape[1]}")
