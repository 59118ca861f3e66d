"""What a posterior's coordinates are: weights, and what is inferred beside them."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.errors import ArgumentError
from bayesnn.models import Model, StandardWeights, WithConstants
from bayesnn.models.standardised import SCALES
from bayesnn.posterior.gaussian import Gaussian
from bayesnn.posterior.heteroscedastic import InferredGaussian
from bayesnn.posterior.likelihood import Likelihood
from bayesnn.posterior.prior import NormalPrior, Prior

LOG_NOISE = "log_sigma_noise"


@dataclass(frozen=True)
class Coordinates:
    """A network, likelihood and prior, made functions of one vector under independent normal or flat priors.

    Parameters
    ----------
    network : Model
        The network's outputs by the first coordinates.
    model : Model
        The same and, after its outputs, the constants the likelihood infers.
    likelihood : Likelihood
        Of the outputs of `model`.
    prior_precision, prior_mean : ndarray (k,)
        Of the coordinates.
    """

    network: Model
    model: Model
    likelihood: Likelihood
    prior_precision: FloatArray
    prior_mean: FloatArray

    @staticmethod
    def of(network: Model, likelihood: Likelihood, prior: Prior) -> "Coordinates":
        """Lay out the coordinates; ArgumentError if the prior does not fit the network."""
        precision, mean = prior.precision_for(network.weight_blocks), prior.mean_for(network.weight_blocks)
        inner = network
        if isinstance(prior, NormalPrior) and prior.is_inferred:
            _check_free(network, SCALES, "prior precision")
            inner = _standardised(network, prior, mean)
            precision = np.append(precision, np.full(inner.n_groups, prior.hyperprior[1] ** -2.0))
            mean = np.append(np.zeros_like(mean), inner.start)
        if not (isinstance(likelihood, Gaussian) and likelihood.is_inferred):
            return Coordinates(inner, inner, likelihood, precision, mean)
        _check_free(network, LOG_NOISE, "noise")
        centre, sd = (0.0, np.inf) if likelihood.log_sigma_prior is None else likelihood.log_sigma_prior
        model = WithConstants(inner, [LOG_NOISE])
        precision, mean = np.append(precision, float(sd) ** -2.0), np.append(mean, float(centre))
        return Coordinates(inner, model, InferredGaussian(), precision, mean)


def _check_free(network: Model, name: str, of: str) -> None:
    """Refuse a network with a weight of a name that the tree has for something else."""
    if any(block.name == name for block in network.weight_blocks):
        raise ArgumentError("model", f"a weight named {name}", f"another name: the inferred {of} has this one")


def centre_of(network: Model, prior: Prior) -> FloatArray:
    """Return the prior mean (k,) of weights whose precision is inferred, from which coordinates are measured; or (0,).

    Parameters
    ----------
    network : Model
        The network's outputs by the first coordinates.
    prior : Prior
        Of its weights.
    """
    is_inferred = isinstance(prior, NormalPrior) and prior.is_inferred
    return prior.mean_for(network.weight_blocks) if is_inferred else np.zeros(0)


def _standardised(network: Model, prior: NormalPrior, centre: FloatArray) -> StandardWeights:
    """Express weights in units of their prior's standard deviation, its log precision coordinates after them."""
    blocks = network.weight_blocks
    by_layer = np.repeat([block.layer for block in blocks], [block.size for block in blocks])
    group_of = by_layer if prior.is_by_layer else np.zeros_like(by_layer)
    start = np.full(int(group_of.max()) + 1, prior.hyperprior[0])
    return StandardWeights(network, group_of, centre, start)
