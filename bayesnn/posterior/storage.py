"""What rebuilds a posterior in another process: its settings and its data, nothing that runs when it is read."""

from typing import Any

from bayesnn.errors import ArgumentError
from bayesnn.models import MLP, DeepLinear, LinearSystem, Model
from bayesnn.posterior.bernoulli import Bernoulli
from bayesnn.posterior.categorical import Categorical
from bayesnn.posterior.data import stays_outside
from bayesnn.posterior.gaussian import Gaussian
from bayesnn.posterior.heteroscedastic import HeteroscedasticGaussian
from bayesnn.posterior.log_density import LogDensity
from bayesnn.posterior.poisson import Poisson
from bayesnn.posterior.posterior import Posterior
from bayesnn.posterior.prior import FlatPrior, NormalPrior
from bayesnn.posterior.student_t import StudentT

# The dataclasses among the parts, by name. Subclasses are not among them: their code is the user's.
LIKELIHOODS = (Bernoulli, Categorical, Gaussian, HeteroscedasticGaussian, Poisson, StudentT)
PRIORS = (FlatPrior, NormalPrior)
NETWORKS: dict[str, type[MLP] | type[DeepLinear] | type[LinearSystem]] = {
    kind.__name__: kind for kind in (MLP, DeepLinear, LinearSystem)
}
PARTS: dict[str, type] = {kind.__name__: kind for kind in (*LIKELIHOODS, *PRIORS)}
# More bytes of data are not copied into a file.
LARGEST_DATA = 2**30


def posterior_parts(posterior: Posterior) -> dict[str, Any]:
    """Take a posterior apart.

    Parameters
    ----------
    posterior : Posterior
        Of a model, a likelihood and a prior of this package, with data in memory.

    Returns
    -------
    dict
        Numbers, strings, arrays, and dataclasses of :data:`PARTS`.

    Raises
    ------
    ArgumentError
        If a part of it is the user's own code, or its data are too large or not in memory.

    Examples
    --------
    >>> import numpy as np
    >>> post = Posterior(MLP(1, (2,), 1), np.ones((3, 1)), np.zeros(3), Gaussian(0.1), NormalPrior(1.0))
    >>> posterior_of(posterior_parts(post))
    Posterior(MLP(1, (2,), 1, activation='tanh', bias=True), n=3, Gaussian(sigma_noise=0.1, ...
    """
    wants = "a network, a likelihood and a prior of this package, and data in memory"
    if isinstance(posterior, LogDensity):
        raise ArgumentError("posterior", "a LogDensity, whose function no file can hold", wants)
    networks = tuple(NETWORKS.values())
    parts = ((posterior.network, networks), (posterior.given_likelihood, LIKELIHOODS), (posterior.prior, PRIORS))
    for part, kinds in parts:
        if type(part) not in kinds:
            raise ArgumentError("posterior", f"a {type(part).__name__}, whose code no file can hold", wants)
    x, y = posterior.x, posterior.y
    if stays_outside(x) or stays_outside(y):
        raise ArgumentError("posterior", "data that are not in memory", wants)
    if x.nbytes + y.nbytes > LARGEST_DATA:
        raise ArgumentError("posterior", f"data of more than {LARGEST_DATA} bytes", wants)
    return {
        "network": [type(posterior.network).__name__, *_arguments_of(posterior.network)],
        "likelihood": posterior.given_likelihood,
        "prior": posterior.prior,
        "x": x,
        "y": y,
    }


def posterior_of(parts: dict[str, Any]) -> Posterior:
    """Put a posterior together from what :func:`posterior_parts` returned.

    Raises
    ------
    ArgumentError
        If the parts are of a network that this version does not know.
    """
    name, *arguments = parts["network"]
    if name not in NETWORKS:
        raise ArgumentError(
            "posterior", f"a network {name!r}, written by another version", f"one of {', '.join(NETWORKS)}"
        )
    return Posterior(NETWORKS[name](*arguments), parts["x"], parts["y"], parts["likelihood"], parts["prior"])


def _arguments_of(network: Model) -> list[Any]:
    """Return what to call the class of one of :data:`NETWORKS` with."""
    if isinstance(network, DeepLinear):
        return [list(network.widths), network.residual]
    if isinstance(network, LinearSystem):
        return [network.order]
    assert isinstance(network, MLP)  # it was checked
    return [network.in_features, list(network.hidden), network.out_features, network.activation.name, network.bias]
