"""emcee moves that know the linearization; each also works in a user's own ``emcee.EnsembleSampler``."""

from bayesnn.sampling.moves.base import MoveStats, PreconditionedMove
from bayesnn.sampling.moves.hmc import HMC
from bayesnn.sampling.moves.random_walk import RandomWalk

__all__ = ["HMC", "MoveStats", "PreconditionedMove", "RandomWalk"]
