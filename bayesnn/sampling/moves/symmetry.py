"""Jumps between the images of a network's weights."""

import numpy as np
from emcee.model import Model as Target
from emcee.state import State

from bayesnn.arrays import BoolArray
from bayesnn.checks import describe
from bayesnn.errors import ArgumentError
from bayesnn.models import Model, random_images
from bayesnn.sampling.moves.base import WalkerMove


class SymmetryJump(WalkerMove):
    r"""Jumps to a symmetric image of the weights, all of them equally likely: hidden units change places and signs.

    The likelihood does not change. Where the prior is the same for all units, and even, neither does the posterior, and
    every jump is accepted: chains then visit all :math:`\prod_l 2^{h_l} h_l!` images of a mode, and weights, not only
    predictions, have their exact marginals. Under any other prior the jump is accepted as Metropolis says. To be mixed
    with a move that goes on from there (:class:`Mixture`).

    Parameters
    ----------
    network : Model
        Whose units change places; a ``posterior.model``.

    Raises
    ------
    ArgumentError
        If it is not a model.

    Examples
    --------
    >>> import emcee
    >>> from bayesnn import MLP
    >>> sampler = emcee.EnsembleSampler(
    ...     4, 4, lambda w: -0.5 * (w**2).sum(-1), moves=SymmetryJump(MLP(1, (2,), 1, bias=False)), vectorize=True)
    >>> start = np.random.default_rng(0).standard_normal((4, 4))
    >>> _ = sampler.run_mcmc(start, 10, skip_initial_state_check=True)
    >>> sampler.acceptance_fraction
    array([1., 1., 1., 1.])
    """

    def __init__(self, network: Model) -> None:
        if isinstance(network, type) or not isinstance(network, Model):  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
            raise ArgumentError("network", describe(network), "a Model, such as MLP")
        self.network = network

    def propose(self, model: Target, state: State) -> tuple[State, BoolArray]:
        """Offer every walker an image of itself; emcee calls this."""
        if state.coords.shape[1] != self.network.n_weights:
            raise ArgumentError("network", f"{self.network.n_weights} weights", f"{state.coords.shape[1]}")
        return self.decide(model, state, random_images(self.network, np.asarray(state.coords), model.random))
