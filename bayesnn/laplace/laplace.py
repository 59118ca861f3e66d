"""The linearized posterior: a Gaussian at a certified optimum."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray, IntArray
from bayesnn.checks import finite_array, integer_at_least, one_of
from bayesnn.errors import ArgumentError
from bayesnn.factor import PrecisionFactor, factor_gram
from bayesnn.models import log_symmetry_order
from bayesnn.optimum import Certificate, Optimum, certify
from bayesnn.posterior import Gaussian, Posterior
from bayesnn.posterior.heteroscedastic import LOG_2PI
from bayesnn.seeds import generator
from bayesnn.threads import on_one_blas_thread

CURVATURES = ("ggn", "hessian")
STRUCTURES = ("full",)


class Prediction(NamedTuple):
    """Predictive mean and standard deviation, each (n, out), in the units of the targets."""

    mean: FloatArray
    sd: FloatArray


@dataclass(frozen=True, eq=False)
class Laplace:
    r"""Gaussian approximation :math:`q = N(\hat w, P^{-1})` of a posterior, `P` its curvature at the optimum.

    Made by :func:`fit_laplace`; names follow laplace-torch.

    Parameters
    ----------
    posterior : Posterior
        What is approximated.
    mean : ndarray (k,)
        The optimum.
    factor : PrecisionFactor
        Triangular factor of the precision.
    curvature : str
        Which curvature the precision is.
    structure : str
        ``"full"``.
    certificate : Certificate
        Whether `mean` is an optimum.
    """

    posterior: Posterior
    mean: FloatArray
    factor: PrecisionFactor
    curvature: str
    structure: str
    certificate: Certificate

    @property
    def n_weights(self) -> int:
        """Number of weights, k."""
        return self.mean.size

    @cached_property
    def posterior_precision(self) -> FloatArray:
        """`P` (k, k)."""
        return self.factor.precision

    @cached_property
    def posterior_covariance(self) -> FloatArray:
        """`P` inverse (k, k), from its factor."""
        return self.factor.covariance

    @property
    def posterior_scale(self) -> FloatArray:
        """`S` (k, k), upper triangular, with ``S @ S.T`` the covariance."""
        return self.factor.scale

    @property
    def log_det_posterior_precision(self) -> float:
        """Log determinant of `P`."""
        return self.factor.log_det

    @cached_property
    def eigendirections(self) -> tuple[FloatArray, FloatArray]:
        """Standard deviations (k,), largest first, and unit directions (k, k) in columns, of the covariance."""
        values, directions = np.linalg.eigh(self.posterior_precision)
        return 1.0 / np.sqrt(values), directions

    def sample(self, n: int, seed: int = 0) -> FloatArray:
        """Draw weights.

        Parameters
        ----------
        n : int
            Number of draws.
        seed : int
            Seed.

        Returns
        -------
        ndarray (n, k)
        """
        n = integer_at_least("n", n, 1)
        standard = generator(seed, "laplace draws").standard_normal((n, self.n_weights))
        return self.mean + self.factor.color(standard)

    def log_prob(self, weights: ArrayLike) -> FloatArray:
        """Log density of the Gaussian (...) at weights (..., k)."""
        z = self.factor.whiten(self.posterior.check_weights(weights) - self.mean)
        return 0.5 * (self.factor.log_det - self.n_weights * LOG_2PI - (z * z).sum(axis=-1))

    @cached_property
    def log_marginal_likelihood(self) -> float:
        r"""Laplace approximation of the log evidence, in nats, of this mode alone.

        .. math:: \log p(y, \hat w) + \tfrac k2 \log 2\pi - \tfrac12 \log\det P

        MacKay (1992), Neural Computation 4, 448. Add :attr:`log_symmetry_order` for all symmetric images.
        """
        peak = float(self.posterior.log_density(self.mean))
        return peak + 0.5 * (self.n_weights * LOG_2PI - self.factor.log_det)

    @property
    def log_symmetry_order(self) -> float:
        """Log of the number of symmetric images of the mode."""
        return log_symmetry_order(self.posterior.model)

    def predict(
        self, x: ArrayLike, kind: str = "glm", *, noise: bool = False, n_draws: int = 1000, seed: int = 0
    ) -> Prediction:
        r"""Predictive mean and standard deviation.

        Parameters
        ----------
        x : array_like (n, d)
            Inputs.
        kind : {"glm", "weights"}
            ``"glm"``: the linearized model, mean :math:`f(x, \hat w)`, variance :math:`b'P^{-1}b` (Immer et al.
            2021, AISTATS, eq. 5). ``"weights"``: moments of the network's outputs over draws of the weights.
        noise : bool
            Whether the standard deviation is that of a new target instead of the network's output.
        n_draws, seed : int
            Draws for ``"weights"``.

        Returns
        -------
        Prediction

        Raises
        ------
        ArgumentError
            If `x` or `kind` is not usable, or `noise` is asked for where each training row has its own.
        """
        one_of("kind", kind, ("glm", "weights"))
        inputs = self.posterior.model.check_inputs(x)
        if kind == "glm":
            mean = self.posterior.model.predict(self.mean, inputs)
            jacobian = self.posterior.model.jacobian(self.mean, inputs)
            variance = (self.factor.half_solve(jacobian) ** 2).sum(axis=-1)
        else:
            draws = self.sample(integer_at_least("n_draws", n_draws, 2), seed)
            outputs = self.posterior.model.predict(draws, inputs)
            mean, variance = outputs.mean(axis=0), outputs.var(axis=0, ddof=1)
        if noise:
            if not isinstance(self.posterior.likelihood, Gaussian):
                raise ArgumentError("noise", "True", "False for this likelihood")
            variance = variance + self.posterior.likelihood.noise_sd(len(inputs)) ** 2
        return Prediction(mean, np.sqrt(variance))

    def functional_covariance(self, x: ArrayLike) -> FloatArray:
        """Joint covariance (n * out, n * out) of the linearized outputs at `x` (n, d), rows in C order."""
        inputs = self.posterior.model.check_inputs(x)
        jacobian = self.posterior.model.jacobian(self.mean, inputs).reshape(-1, self.n_weights)
        half = self.factor.half_solve(jacobian)
        return half @ half.T


@on_one_blas_thread
@np.errstate(over="ignore", invalid="ignore")
def fit_laplace(
    posterior: Posterior,
    optimum: Optimum | ArrayLike,
    *,
    curvature: str = "ggn",
    structure: str = "full",
) -> Laplace:
    """Build the Gaussian posterior at an optimum.

    Parameters
    ----------
    posterior : Posterior
        What to approximate.
    optimum : Optimum or array_like (k,)
        Where to linearize. The point is certified anew under `posterior`; read ``laplace.certificate``.
    curvature : {"ggn", "hessian"}
        ``"ggn"``: ``B' Lambda B + prior``, positive definite under a proper prior. ``"hessian"``: the exact one, the
        better Gaussian at a mode.
    structure : {"full"}
        Structure of the precision.

    Returns
    -------
    Laplace

    Raises
    ------
    ArgumentError
        If the precision is singular (flat prior, directions the data leave free) or the Hessian indefinite.

    Examples
    --------
    >>> from bayesnn import MLP, NormalPrior, find_optimum
    >>> x = np.linspace(-1, 1, 30)[:, None]
    >>> post = Posterior(MLP(1, (2,), 1), x, np.sin(3 * x), Gaussian(0.1), NormalPrior(1.0))
    >>> laplace = fit_laplace(post, find_optimum(post, n_starts=4, seed=0))
    >>> laplace.certificate.is_optimum, laplace.predict(x).sd.shape
    (True, (30, 1))
    """
    one_of("curvature", curvature, CURVATURES)
    one_of("structure", structure, STRUCTURES)
    point = optimum.weights if isinstance(optimum, Optimum) else optimum
    mean = posterior.check_weights(finite_array("optimum", point, (1,), f"shape ({posterior.n_weights},)"), batch=False)
    certificate = certify(posterior, mean)
    if not np.isfinite(certificate.gradient_norm):
        raise ArgumentError("optimum", "a point where log density or curvature is not finite", "an optimum")
    mean.flags.writeable = False
    factor = posterior.factor_ggn(mean) if curvature == "ggn" else factor_gram(posterior.hessian(mean))
    if factor is None:
        least = certificate.smallest_hessian_eigenvalue
        raise ArgumentError(
            "curvature",
            f"'hessian' with smallest eigenvalue {least:.3g}{_along(posterior, certificate)}",
            "a certified optimum, or 'ggn'",
        )
    if not factor.is_full_rank:
        raise ArgumentError(
            "prior",
            f"a precision of rank {factor.rank} for {factor.size} weights",
            "a NormalPrior, or a model without redundant weights",
        )
    return Laplace(posterior, mean, factor, curvature, structure, certificate)


def _along(posterior: Posterior, certificate: Certificate) -> str:
    """Name the weights that make up most of the direction of negative curvature."""
    if certificate.negative_direction is None:
        return ""
    most: IntArray = np.argsort(-np.abs(certificate.negative_direction))[:3]
    return " along " + ", ".join(posterior.weight_names[int(i)] for i in most)
