"""Linear networks as singular models: what the Gaussian gets wrong in their weights, and right in their predictions."""

from dataclasses import dataclass

import numpy as np

from bayesnn.agreement import Agreement, compare
from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, finite_array, integer_at_least, positive_number
from bayesnn.errors import ArgumentError
from bayesnn.laplace import Laplace, fit_laplace
from bayesnn.models import DeepLinear
from bayesnn.optimum import find_optimum, uninterrupted
from bayesnn.posterior import Gaussian, NormalPrior, Posterior
from bayesnn.sampling import sample
from bayesnn.seeds import generator
from bayesnn.tree import uninterrupted_draws

# Eigenvalues of B'B below this share of the largest are zero up to rounding: those of a product of matrices at an
# optimum lie at 1e-16 of it, others, for separated singular values of the target, far above.
ZERO = 1e-9


def n_free_directions(model: DeepLinear) -> int:
    r"""Count the directions of the weights of a linear network that change no output: the zeros of B'B.

    Where each layer has the rank of the narrowest, the outputs see a matrix of rank :math:`p`, of which there are
    :math:`p (d_{in} + d_{out} - p)` dimensions; all others are products :math:`W_i G, G^{-1} W_{i+1}`. Adding
    identities shifts the weights and changes none of it.

    Parameters
    ----------
    model : DeepLinear
        Plain or residual.

    Returns
    -------
    int

    Examples
    --------
    >>> n_free_directions(DeepLinear((2, 2, 2))), n_free_directions(DeepLinear((4, 3, 2)))
    (4, 10)
    """
    p = min(model.widths)
    return model.n_weights - p * (model.widths[0] + model.widths[-1] - p)


@dataclass(frozen=True, eq=False)
class LinearNetworkBayes:
    """A linear network's posterior, approximated, sampled and compared.

    Parameters
    ----------
    laplace : Laplace
        At the optimum.
    agreement : Agreement
        Gaussian against draws.
    n_zero : int
        Eigenvalues of B'B that are zero up to rounding.
    n_free : int
        As many as :func:`n_free_directions` says.
    """

    laplace: Laplace
    agreement: Agreement
    n_zero: int
    n_free: int

    @property
    def worst_in_weights(self) -> float:
        """Largest log ratio in size of sampled and Gaussian sd along the Gaussian's axes.

        Draws follow the products :math:`W_i G, G^{-1} W_{i+1}` of equal outputs round their bends, and the Gaussian
        their tangent: along it the draws turn back before the prior's width, and across it, where the Gaussian is as
        narrow as the data make it, they spread as far as the bend takes them.
        """
        return float(np.abs(np.log(self.agreement.sd_ratio)).max())

    @property
    def worst_in_predictions(self) -> float:
        """Largest log ratio in size of sampled and linearized predictive sd: outputs see no bend."""
        return float(np.abs(np.log(self.agreement.predictive_sd_ratio)).max())


def data_of(target: ArrayLike, n_rows: int, sigma_noise: float, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Draw inputs (n, in), standard normal, and targets (n, out) of a linear map, with noise.

    Parameters
    ----------
    target : array_like (out, in)
        R, as in :class:`PopulationRisk`.
    n_rows : int
        n.
    sigma_noise : float
        Standard deviation of the noise.
    seed : int
        Of both.

    Returns
    -------
    x, y : ndarray
    """
    matrix = finite_array("target", target, (2,), "shape (out, in)")
    sigma = positive_number("sigma_noise", sigma_noise)
    random = generator(seed, "data of a linear map")
    x = random.standard_normal((integer_at_least("n_rows", n_rows, 1), matrix.shape[1]))
    return x, x @ matrix.T + sigma * random.standard_normal((len(x), matrix.shape[0]))


def bayes_of_linear_network(
    model: DeepLinear,
    target: ArrayLike,
    n_rows: int = 200,
    sigma_noise: float = 0.3,
    prior_precision: float = 1.0,
    *,
    num_samples: int = 1000,
    seed: int = 0,
) -> LinearNetworkBayes:
    """Fit a Gaussian to the posterior of a linear network, sample it and compare the two.

    Parameters
    ----------
    model : DeepLinear
        The student.
    target : array_like (out, in)
        The linear map that makes the data.
    n_rows, sigma_noise
        As of :func:`data_of`.
    prior_precision : float
        Of the weights, around 0: of a residual network around the identity.
    num_samples : int
        Draws of each chain.
    seed : int
        Of data and chains.

    Returns
    -------
    LinearNetworkBayes

    Raises
    ------
    ArgumentError
        If the model is another, or the target does not chain with it.
    """
    if not isinstance(model, DeepLinear):  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
        raise ArgumentError("model", describe(model), "a DeepLinear")
    matrix = finite_array("target", target, (2,), "shape (out, in)")
    if matrix.shape != (model.n_outputs, model.widths[0]):
        wants = f"shape ({model.n_outputs}, {model.widths[0]}), to chain with {model!r}"
        raise ArgumentError("target", f"shape {matrix.shape}", wants)
    x, y = data_of(matrix, n_rows, sigma_noise, seed)
    posterior = Posterior(model, x, y, Gaussian(sigma_noise), NormalPrior(prior_precision))
    laplace = fit_laplace(posterior, uninterrupted(find_optimum(posterior, seed=seed, progress=False)))
    tree = uninterrupted_draws(sample(laplace, num_samples=num_samples, seed=seed, progress=False))
    rows = np.concatenate(list(posterior.likelihood_rows(laplace.mean)))
    eigenvalues = np.linalg.eigvalsh(rows.T @ rows)
    n_zero = int((eigenvalues < ZERO * eigenvalues[-1]).sum())
    return LinearNetworkBayes(laplace, compare(laplace, tree), n_zero, n_free_directions(model))
