"""From a model and data to a log density with derivatives."""

from bayesnn.posterior.gaussian import Gaussian
from bayesnn.posterior.likelihood import Likelihood
from bayesnn.posterior.posterior import Linearization, Posterior
from bayesnn.posterior.prior import FlatPrior, NormalPrior, Prior

__all__ = [
    "FlatPrior",
    "Gaussian",
    "Likelihood",
    "Linearization",
    "NormalPrior",
    "Posterior",
    "Prior",
]
