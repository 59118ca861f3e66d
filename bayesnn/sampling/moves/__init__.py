"""emcee moves that know the linearization; each also works in a user's own ``emcee.EnsembleSampler``."""

from bayesnn.sampling.moves.base import MoveStats, PreconditionedMove, TrackedMove, WalkerMove
from bayesnn.sampling.moves.centred_precision import CentredPrecision
from bayesnn.sampling.moves.hmc import HMC
from bayesnn.sampling.moves.independence import IndependenceT
from bayesnn.sampling.moves.mala import MALA
from bayesnn.sampling.moves.marginal import MarginalHMC
from bayesnn.sampling.moves.microcanonical import Microcanonical, MicrocanonicalLangevin
from bayesnn.sampling.moves.mixture import Mixture
from bayesnn.sampling.moves.mode_jump import ModeJump
from bayesnn.sampling.moves.pcn import PCN
from bayesnn.sampling.moves.random_walk import RandomWalk
from bayesnn.sampling.moves.replica_exchange import ReplicaExchange
from bayesnn.sampling.moves.symmetry import SymmetryJump
from bayesnn.sampling.moves.unit_metropolis import UnitMetropolis

__all__ = [
    "HMC",
    "MALA",
    "PCN",
    "CentredPrecision",
    "IndependenceT",
    "MarginalHMC",
    "Microcanonical",
    "MicrocanonicalLangevin",
    "Mixture",
    "ModeJump",
    "MoveStats",
    "PreconditionedMove",
    "RandomWalk",
    "ReplicaExchange",
    "SymmetryJump",
    "TrackedMove",
    "UnitMetropolis",
    "WalkerMove",
]
