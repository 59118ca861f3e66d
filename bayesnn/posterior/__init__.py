"""From a model and data to a log density with derivatives."""

from bayesnn.posterior.bernoulli import Bernoulli
from bayesnn.posterior.categorical import Categorical
from bayesnn.posterior.gaussian import Gaussian
from bayesnn.posterior.heteroscedastic import HeteroscedasticGaussian
from bayesnn.posterior.likelihood import Likelihood
from bayesnn.posterior.log_density import LogDensity
from bayesnn.posterior.poisson import Poisson
from bayesnn.posterior.posterior import Linearization, Posterior
from bayesnn.posterior.prior import FlatPrior, NormalPrior, Prior
from bayesnn.posterior.student_t import StudentT

__all__ = [
    "Bernoulli",
    "Categorical",
    "FlatPrior",
    "Gaussian",
    "HeteroscedasticGaussian",
    "Likelihood",
    "Linearization",
    "LogDensity",
    "NormalPrior",
    "Poisson",
    "Posterior",
    "Prior",
    "StudentT",
]
