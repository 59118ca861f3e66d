"""A mixture of Gaussians, one at each of several optima."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import MethodType
from typing import cast

import numpy as np
from scipy.special import logsumexp, softmax

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, integer_at_least, one_of, probabilities
from bayesnn.errors import ArgumentError
from bayesnn.laplace.laplace import Laplace
from bayesnn.laplace.predictive import Prediction
from bayesnn.posterior import LogDensity, Posterior
from bayesnn.posterior.coordinates import centre_of
from bayesnn.posterior.data import stays_outside
from bayesnn.seeds import generator


@dataclass(frozen=True, eq=False)
class LaplaceMixture:
    r"""Several Laplace posteriors of the same data as one: :math:`q = \sum_m \pi_m N(\hat w_m, P_m^{-1})`.

    Eschenhagen et al. (2021), Mixtures of Laplace approximations for improved post-hoc uncertainty in deep learning.

    Parameters
    ----------
    laplaces : sequence of Laplace
        Of distinct optima; see ``find_optimum(...).others``. Their posteriors may differ in hyperparameters.
    weights : {"evidence", "equal"} or array_like (m,)
        Of each: in proportion to the evidences of all their symmetric images, alike, or as given. Evidences of networks
        often differ by tens of
        nats, and one optimum then has all the weight; ``benchmarks/held_out.py`` shows what equal weights gain.

    Raises
    ------
    ArgumentError
        If there is none, they have different data or networks, or `weights` are not non-negative numbers, one for each.

    Examples
    --------
    >>> from bayesnn import MLP, Gaussian, NormalPrior, Posterior, find_optimum, fit_laplace
    >>> x = np.linspace(-1, 1, 30)[:, None]
    >>> post = Posterior(MLP(1, (2,), 1), x, np.sin(5 * x), Gaussian(0.3), NormalPrior(1.0))
    >>> best = find_optimum(post, n_starts=8, seed=0)
    >>> mixture = LaplaceMixture([fit_laplace(post, optimum) for optimum in (best, *best.others)])
    >>> mixture.predict(x).mean.shape, round(float(mixture.probabilities.sum()), 12)
    ((30, 1), 1.0)
    """

    laplaces: Sequence[Laplace]
    weights: ArrayLike | str | None = "evidence"

    def __post_init__(self) -> None:
        laplaces = _checked(self.laplaces)
        if self.weights is None or isinstance(self.weights, str):
            kind = one_of("weights", "evidence" if self.weights is None else self.weights, ("evidence", "equal"))
            if kind == "equal":
                weights = np.full(len(laplaces), 1.0 / len(laplaces))
            else:
                weights = softmax([each.log_marginal_likelihood + each.log_symmetry_order for each in laplaces])
        else:
            weights = probabilities("weights", self.weights, len(laplaces))
        weights.flags.writeable = False
        object.__setattr__(self, "laplaces", laplaces)
        object.__setattr__(self, "weights", weights)

    @property
    def probabilities(self) -> FloatArray:
        """Weights (m,), summing to 1."""
        return np.asarray(self.weights, dtype=np.float64)

    @property
    def best(self) -> Laplace:
        """The Gaussian of the highest evidence, whatever the weights."""
        return max(self.laplaces, key=lambda laplace: laplace.log_marginal_likelihood)

    @property
    def log_marginal_likelihood(self) -> float:
        """Log of the summed evidences of the modes, nats; each counted once, however many symmetric images it has."""
        return float(logsumexp([laplace.log_marginal_likelihood for laplace in self.laplaces]))

    def sample(self, n: int, seed: int = 0) -> FloatArray:
        """Draw weights (n, k)."""
        n = integer_at_least("n", n, 1)
        chosen = generator(seed, "mixture components").choice(len(self.laplaces), size=n, p=self.probabilities)
        draws = np.empty((n, self.laplaces[0].n_weights))
        for m, laplace in enumerate(self.laplaces):
            here = np.flatnonzero(chosen == m)
            if here.size:
                draws[here] = laplace.mean + laplace.precision.draw(here.size, generator(seed, "mixture draws", m))
        return draws

    def log_prob(self, weights: ArrayLike) -> FloatArray:
        """Log density of the mixture (...) at weights (..., k)."""
        return self._mixed([laplace.log_prob(weights) for laplace in self.laplaces])

    def predict(
        self,
        x: ArrayLike,
        kind: str = "glm",
        *,
        noise: bool = False,
        link: str = "probit",
        n_draws: int = 1000,
        seed: int = 0,
    ) -> Prediction:
        """Mean and standard deviation (n, out) of the mixture of predictives; arguments as :meth:`Laplace.predict`."""
        each = [
            laplace.predict(x, kind, noise=noise, link=link, n_draws=n_draws, seed=seed) for laplace in self.laplaces
        ]
        means, variances = np.stack([p.mean for p in each]), np.stack([p.sd for p in each]) ** 2
        mean, variance = mixed_moments(self.probabilities, means, variances)
        return Prediction(mean, np.sqrt(variance))

    def log_predictive_density(
        self, x: ArrayLike, y: ArrayLike, kind: str = "glm", *, n_draws: int = 1000, seed: int = 0
    ) -> FloatArray:
        """Log density (n,) of new targets; arguments as :meth:`Laplace.log_predictive_density`."""
        return self._mixed(
            [laplace.log_predictive_density(x, y, kind, n_draws=n_draws, seed=seed) for laplace in self.laplaces]
        )

    def _mixed(self, log_densities: list[FloatArray]) -> FloatArray:
        shares = self.probabilities.reshape(-1, *([1] * log_densities[0].ndim))
        return logsumexp(np.stack(log_densities), axis=0, b=shares)


def _checked(laplaces: object) -> tuple[Laplace, ...]:
    """Return the Laplaces if they belong to one network and one data set."""
    if not isinstance(laplaces, Iterable):
        raise ArgumentError("laplaces", describe(laplaces), "a sequence of Laplace")
    given: list[Laplace] = []
    for laplace in cast("Iterable[object]", laplaces):
        if not isinstance(laplace, Laplace):
            raise ArgumentError("laplaces", describe(laplace), "a sequence of Laplace")
        given.append(laplace)
    if not given:
        raise ArgumentError("laplaces", "none", "at least one Laplace")
    first = given[0].posterior
    for laplace in given:
        other = laplace.posterior
        same_kind = repr(other.model) == repr(first.model) and _are_alike(other, first)
        if not (same_kind and _have_same_data(first, other)):
            wants = "posteriors of one network and one data set"
            raise ArgumentError("laplaces", f"{first!r} and {other!r}", wants)
    return tuple(given)


def mixed_moments(shares: FloatArray, means: FloatArray, variances: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and variance (...) of a mixture: shares (m,), means and variances of its components (m, ...).

    Components of no share do not count, whatever their moments: some have none.
    """
    counts = shares > 0.0
    mean = np.tensordot(shares[counts], means[counts], axes=1)
    return mean, np.tensordot(shares[counts], variances[counts] + (means[counts] - mean) ** 2, axes=1)


def same_functions(one: Posterior, other: Posterior) -> bool:
    """Whether both are densities by one function and one gradient; methods of one object are one."""
    if not (isinstance(one, LogDensity) and isinstance(other, LogDensity)):
        return False
    pairs = [(one.function, other.function), (one.gradient, other.gradient)]
    return all(a is b or (isinstance(a, MethodType) and isinstance(b, MethodType) and a == b) for a, b in pairs)


def _have_same_data(one: Posterior, other: Posterior) -> bool:
    """Whether both are of the same rows; densities without rows, of the same functions."""
    if isinstance(one, LogDensity) or isinstance(other, LogDensity):
        return same_functions(one, other)
    return same_rows(one.x, other.x) and same_rows(one.y, other.y)


def _are_alike(one: Posterior, other: Posterior) -> bool:
    """Whether the coordinates of both mean the same: what is inferred, and from where it is measured."""
    first, second = (centre_of(each.network, each.prior) for each in (one, other))
    return one.weight_names == other.weight_names and np.array_equal(first, second)


def same_rows(left: FloatArray, right: FloatArray) -> bool:
    """Whether two data sets are one; those that stay outside memory are compared by identity and shape alone."""
    if left is right:
        return True
    if stays_outside(left) or stays_outside(right):
        return tuple(left.shape) == tuple(right.shape)
    return np.array_equal(left, right)
