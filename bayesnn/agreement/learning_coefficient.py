"""The learning coefficient: how singular a posterior is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, finite_array, positive_number
from bayesnn.diagnostics.convergence import converge
from bayesnn.errors import ArgumentError
from bayesnn.laplace import Laplace, fit_laplace
from bayesnn.models import StandardWeights, WeightBlock
from bayesnn.optimum import find_optimum, uninterrupted
from bayesnn.posterior import Posterior
from bayesnn.posterior.tempered import tempered
from bayesnn.sampling import sample
from bayesnn.tree import group_of, uninterrupted_draws, weight_matrix

# A learning coefficient below this share of k / 2, by more than chance, is not that of a Gaussian.
SINGULAR_SHARE = 0.85
STANDARD_ERRORS = 3.0
# Precision, beside the data's, that is taken for none where shares are counted.
FLAT = 1e-15
# Curvature, in units of the weights' own, below which a direction has none.
NO_CURVATURE = 1e-10


@dataclass(frozen=True, eq=False)
class LearningCoefficient:
    r"""Estimate of the learning coefficient at one temperature.

    Parameters
    ----------
    value, error : float
        :math:`\hat\lambda = \beta (E_\beta[n L_n] - n L_n(w^*))` and its Monte-Carlo standard error; `k / 2` where the
        posterior is Gaussian and the prior wide.
    wbic : float
        :math:`E_\beta[n L_n]`, nats: at :math:`\beta = 1/\log n` and under the prior, an estimate of minus the log
        evidence (Watanabe 2013).
    inverse_temperature : float
        :math:`\beta`.
    n_weights : int
        k.
    quadratic : float
        What the estimate would be if the log likelihood were the quadratic it is at :math:`w^*`,
        :math:`\frac12 \sum_i \beta h_i / (\beta h_i + \gamma)`: below `k / 2` where the prior is felt.
    n_flat : int
        Directions in which the log likelihood has no curvature at :math:`w^*`, whatever the prior.
    rhat : float
        Worst R-hat of predictions and log density of the chains; above 1.01 the value is not to be trusted.
    """

    value: float
    error: float
    wbic: float
    inverse_temperature: float
    n_weights: int
    quadratic: float
    n_flat: int
    rhat: float

    @property
    def regular(self) -> float:
        """What it would be if the weights became Gaussian: `k / 2`, less what the prior takes of it at this size.

        The prior's share is that of directions with curvature, which more data take back; those without any count in
        full.
        """
        return self.quadratic + 0.5 * self.n_flat

    @property
    def is_singular(self) -> bool:
        """Whether it is well below `regular`: the weights do not become Gaussian at this rate of data."""
        return self.value + STANDARD_ERRORS * self.error < SINGULAR_SHARE * self.regular


def learning_coefficient(
    laplace: Laplace,
    *,
    inverse_temperature: float | None = None,
    localization: float | None = None,
    num_chains: int | None = None,
    num_warmup: int = 400,
    num_samples: int = 1000,
    seed: int = 0,
) -> LearningCoefficient:
    r"""Estimate the learning coefficient of a posterior near an optimum.

    The free energy of a model grows as :math:`n L_n(w^*) + \lambda \log n`: `k / 2` where the posterior becomes normal,
    less where the model is larger than the truth and the set of best weights is no point (Watanabe 2009). At the
    temperature where likelihood and prior balance, :math:`\beta = 1/\log n`, the expectation of the loss shows it
    (Watanabe 2013, JMLR 14, WBIC; Lau et al. 2023, arXiv:2308.12108).

    Parameters
    ----------
    laplace : Laplace
        At :math:`w^*`, the optimum.
    inverse_temperature : float, optional
        :math:`\beta`; ``1 / log n`` by default.
    localization : float, optional
        Precision :math:`\gamma` of a normal prior around :math:`w^*` in the place of the posterior's own (Lau et al.).
    num_chains, num_warmup, num_samples, seed
        As of :func:`bayesnn.sample`.

    Returns
    -------
    LearningCoefficient

    Raises
    ------
    ArgumentError
        If there are no data, fewer than 3 rows, or a number is not positive.

    Examples
    --------
    >>> from bayesnn import MLP, Gaussian, NormalPrior
    >>> x = np.linspace(-1, 1, 200)[:, None]
    >>> post = Posterior(MLP(1, (), 1), x, 2 * x, Gaussian(0.1), NormalPrior(1e-4))
    >>> found = learning_coefficient(fit_laplace(post, find_optimum(post)), num_samples=500)
    >>> bool(abs(found.value - 1.0) < 4 * found.error + 0.01), found.is_singular
    (True, False)
    """
    posterior, n = laplace.posterior, laplace.posterior.n_rows
    if n < 3:
        raise ArgumentError("laplace", f"a posterior with {n} rows", "data, at least 3 rows")
    beta = (
        1.0 / np.log(n) if inverse_temperature is None else positive_number("inverse_temperature", inverse_temperature)
    )
    prior = _prior_of(posterior, laplace.mean, localization)
    warm = Posterior(posterior.model, posterior.x, posterior.y, tempered(posterior.likelihood, beta), prior)
    optimum = uninterrupted(find_optimum(warm, start=laplace.mean, progress=False))
    tree = sample(
        fit_laplace(warm, optimum),
        num_chains=num_chains,
        num_warmup=num_warmup,
        num_samples=num_samples,
        seed=seed,
        progress=False,
    )
    tree = uninterrupted_draws(tree)
    weights = weight_matrix(group_of(tree, "posterior"), warm.model.weight_blocks)
    flat = weights.reshape(-1, warm.n_weights)
    # Summed by blocks of rows: one number for each row of each draw may be more than memory holds.
    losses = (posterior.log_prior(flat) - posterior.log_density(flat)).reshape(weights.shape[:2])
    convergence = converge(tree, weights)
    effective = float(convergence.layout.ess(losses, "mean"))
    here = -float(posterior.log_likelihood(laplace.mean).sum())
    curvature = posterior.ggn(laplace.mean) - np.diag(posterior.prior_precision)
    # Where the prior is flat all is from the data, whatever little is put in its place; it must not overflow.
    floor = FLAT * np.maximum(beta * curvature.diagonal(), np.finfo(float).tiny / FLAT)
    scale = 1.0 / np.sqrt(np.where(prior.precision > 0.0, prior.precision, floor))
    shares = np.clip(np.linalg.eigvalsh(beta * curvature * scale * scale[:, None]), 0.0, None)
    return LearningCoefficient(
        value=float(beta * (losses.mean() - here)),
        error=float(beta * losses.std() / np.sqrt(effective)),
        wbic=float(losses.mean()),
        inverse_temperature=float(beta),
        n_weights=posterior.n_weights,
        quadratic=float(0.5 * np.sum(shares / (shares + 1.0))),
        n_flat=_n_flat(posterior, curvature),
        rhat=convergence.worst_rhat,
    )


def learning_curve(
    laplace: Laplace, inverse_temperatures: ArrayLike, *, localization: float | None = None, seed: int = 0, **how: int
) -> list[LearningCoefficient]:
    r"""Estimate :math:`\lambda(t)`, :math:`t = n \beta`, along temperatures.

    Where it approaches `k / 2` as temperatures fall, the posterior becomes Gaussian; where it does not, or as slowly as
    :math:`1 / \log t`, it is singular.

    Parameters
    ----------
    laplace : Laplace
        At the optimum.
    inverse_temperatures : array_like (b,)
        :math:`\beta`, each above 0.
    localization, seed, **how
        As of :func:`learning_coefficient`.

    Returns
    -------
    list of LearningCoefficient

    Raises
    ------
    ArgumentError
        As :func:`learning_coefficient`, before anything is sampled.
    """
    wants = "numbers above 0, shape (b,)"
    betas = finite_array("inverse_temperatures", inverse_temperatures, (1,), wants)
    if np.any(betas <= 0.0):
        raise ArgumentError("inverse_temperatures", describe(inverse_temperatures), wants)
    return [
        learning_coefficient(laplace, inverse_temperature=float(beta), localization=localization, seed=seed, **how)
        for beta in betas
    ]


def _n_flat(posterior: Posterior, curvature: FloatArray) -> int:
    """Count the directions without curvature (k, k), which is known up to rounding of itself plus the prior's.

    Inferred precisions stay where they are: what they change of the weights the weights could change themselves.
    """
    counted = np.ones(posterior.n_weights, dtype=np.bool_)
    scaled = posterior.scaled_network
    if isinstance(scaled, StandardWeights):
        counted[scaled.model.n_weights : scaled.n_weights] = False
    of_weights, prior = curvature[np.ix_(counted, counted)], posterior.prior_precision[counted]
    own = of_weights.diagonal()
    known = own > NO_CURVATURE * prior
    scale = 1.0 / np.sqrt(np.where(known, own, 1.0))
    eigenvalues, directions = np.linalg.eigh(of_weights * scale * scale[:, None])
    rounding = (
        len(own) * np.finfo(float).eps * (directions**2).T @ np.where(known, prior / np.where(known, own, 1.0), 0.0)
    )
    return int((eigenvalues < np.maximum(NO_CURVATURE, rounding)).sum())


@dataclass(frozen=True, eq=False)
class _Fixed:
    """A prior of given precisions and means (k,), 0 where it is flat."""

    precision: FloatArray
    mean: FloatArray

    def precision_for(self, blocks: Sequence[WeightBlock]) -> FloatArray:
        """Return them."""
        return self.precision

    def mean_for(self, blocks: Sequence[WeightBlock]) -> FloatArray:
        """Return them."""
        return self.mean


def _prior_of(posterior: Posterior, weights: FloatArray, localization: float | None) -> _Fixed:
    if localization is None:
        return _Fixed(posterior.prior_precision.copy(), posterior.prior_mean.copy())
    return _Fixed(np.full(len(weights), positive_number("localization", localization)), weights.copy())
