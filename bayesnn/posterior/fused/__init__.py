"""The compiled kernel: value and gradient of the log posterior of an MLP for a batch of chains."""

from bayesnn.posterior.fused.density import FusedDensity
from bayesnn.posterior.fused.marginal import MarginalDensity

__all__ = ["FusedDensity", "MarginalDensity"]
