"""The linearized posterior: a Gaussian at a certified optimum."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import integer_at_least, one_of
from bayesnn.factor import PrecisionFactor
from bayesnn.laplace.predictive import (
    LINKS,
    Prediction,
    check_new_rows,
    draw_outputs,
    log_density_of_gaussian,
    log_density_over_draws,
    moments_of_targets,
)
from bayesnn.laplace.structures import LastLayer, Structure
from bayesnn.models import log_coinciding, log_symmetry_order
from bayesnn.optimum import Certificate
from bayesnn.optimum.find import SAME_OPTIMUM_SD
from bayesnn.posterior import Gaussian, Posterior
from bayesnn.posterior.heteroscedastic import LOG_2PI
from bayesnn.seeds import generator

KINDS = ("glm", "weights")


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
    precision : Structure
        `P`, in the form its structure allows.
    curvature : str
        Which curvature the precision is: ``"ggn"``, ``"hessian"`` or ``"fisher"``.
    structure : str
        ``"full"``, ``"layer"``, ``"diag"``, ``"lowrank"`` or ``"last_layer"``.
    certificate : Certificate
        Whether `mean` is an optimum.
    """

    posterior: Posterior
    mean: FloatArray
    precision: Structure
    curvature: str
    structure: str
    certificate: Certificate

    @property
    def n_weights(self) -> int:
        """Number of weights, k."""
        return self.mean.size

    @cached_property
    def factor(self) -> PrecisionFactor:
        """Dense triangular factor of the precision."""
        return self.precision.factor()

    @cached_property
    def posterior_precision(self) -> FloatArray:
        """`P` (k, k)."""
        return self.precision.precision()

    @cached_property
    def posterior_covariance(self) -> FloatArray:
        """`P` inverse (k, k); 0 for weights that are held fixed."""
        return self.precision.covariance()

    @property
    def posterior_variance(self) -> FloatArray:
        """Diagonal (k,) of the covariance."""
        return self.precision.variance()

    @property
    def posterior_scale(self) -> FloatArray:
        """`S` (k, k), upper triangular, with ``S @ S.T`` the covariance."""
        return self.factor.scale

    @property
    def log_det_posterior_precision(self) -> float:
        """Log determinant of `P`, over the weights that are not held fixed."""
        return self.precision.log_det

    @cached_property
    def sandwich_covariance(self) -> FloatArray:
        r"""Covariance :math:`P^{-1} S P^{-1}` (k, k), `S` the sum of outer products of the rows' gradients.

        That of the optimum over repeated data, right even where the likelihood is wrong (Huber 1967, 5th Berkeley
        Symposium; White 1982, Econometrica 50, 1).
        """
        covariance = self.posterior_covariance
        return covariance @ self.posterior.scores_gram(self.mean) @ covariance

    @cached_property
    def eigendirections(self) -> tuple[FloatArray, FloatArray]:
        """Standard deviations (k,), largest first, and unit directions (k, k) in columns, of the covariance."""
        # Of the factor: the matrix has lost half the digits of the widest directions.
        directions, sds, _ = np.linalg.svd(self.posterior_scale)
        return sds, directions

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
        return self.mean + self.precision.draw(integer_at_least("n", n, 1), generator(seed, "laplace draws"))

    def log_prob(self, weights: ArrayLike) -> FloatArray:
        """Log density of the Gaussian (...) at weights (..., k)."""
        square = self.precision.squared_length(self.posterior.check_weights(weights) - self.mean)
        return 0.5 * (self.precision.log_det - self.precision.n_free * LOG_2PI - square)

    @cached_property
    def log_marginal_likelihood(self) -> float:
        r"""Laplace approximation of the log evidence, in nats, of this mode alone.

        .. math:: \log p(y, \hat w) + \tfrac k2 \log 2\pi - \tfrac12 \log\det P

        MacKay (1992), Neural Computation 4, 448. Add :attr:`log_symmetry_order` for all symmetric images. Where weights
        are held fixed, their prior does not count, and `k` is the number of the others.
        """
        return laplace_evidence(self.posterior, self.mean, self.precision)

    @cached_property
    def log_symmetry_order(self) -> float:
        """Log of the number of symmetric images of the mode that are modes as well: the prior may tell images apart.

        Images nearer than a hundredth of a standard deviation in each direction are one: a unit whose weights are all 0
        is its own mirror image.
        """
        model, symmetries = self.posterior.model, self.posterior.symmetries
        reach = SAME_OPTIMUM_SD * np.sqrt(self.n_weights)
        # No coordinate is further away, in its own standard deviations, than the whole is.
        of_each = reach * np.sqrt(self.posterior_variance)

        def is_near(image: FloatArray) -> bool:
            return bool(self.precision.squared_length(image - self.mean) <= reach**2)

        return log_symmetry_order(model, symmetries) - log_coinciding(model, self.mean, of_each, is_near, symmetries)

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
        r"""Predictive mean and standard deviation, of the network's outputs or of new targets.

        Parameters
        ----------
        x : array_like (n, d)
            Inputs.
        kind : {"glm", "weights"}
            ``"glm"``: the linearized model, mean :math:`f(x, \hat w)`, variance :math:`b'P^{-1}b` (Immer et al.
            2021, AISTATS, eq. 5). ``"weights"``: moments over draws of the weights.
        noise : bool
            Whether to predict new targets instead of the network's outputs: for a Gaussian likelihood the same mean and
            a standard deviation with the noise in it, for classes probabilities, for counts rates.
        link : {"probit", "monte-carlo"}
            How ``"glm"`` with `noise` integrates over the outputs where no closed form exists (classes), or, by
            ``"monte-carlo"``, everywhere.
        n_draws, seed : int
            Draws, wherever there are any.

        Returns
        -------
        Prediction
            Each (n, out); for new targets (n, targets), or (n, classes).

        Raises
        ------
        ArgumentError
            If `x`, `kind` or `link` is not usable, or `noise` is asked for where each training row has its own.
        """
        one_of("kind", kind, KINDS)
        one_of("link", link, LINKS)
        inputs, likelihood = self.posterior.model.check_inputs(x), self.posterior.likelihood
        if noise:
            check_new_rows(likelihood, len(inputs))
        if kind == "weights":
            outputs = self._outputs_of_draws(inputs, n_draws, seed)
            if noise:
                mean, variance = moments_of_targets(likelihood, outputs)
            else:
                mean, variance = self._of_network(outputs.mean(axis=0), outputs.var(axis=0, ddof=1))
            return Prediction(mean, np.sqrt(variance))
        mean, covariance = self._linearized(inputs)
        if not noise:
            variance = np.diagonal(covariance, axis1=-2, axis2=-1)
            mean, variance = self._of_network(mean, variance)
        elif link == "probit":
            mean, variance = likelihood.predictive_moments(mean, covariance)
        else:
            rng = generator(seed, "predicted outputs")
            draws = draw_outputs(mean, covariance, integer_at_least("n_draws", n_draws, 2), rng)
            mean, variance = moments_of_targets(likelihood, draws)
        return Prediction(mean, np.sqrt(variance))

    def log_predictive_density(
        self, x: ArrayLike, y: ArrayLike, kind: str = "glm", *, n_draws: int = 1000, seed: int = 0
    ) -> FloatArray:
        """Log density of new targets, each row by itself.

        Parameters
        ----------
        x : array_like (n, d)
            Inputs.
        y : array_like (n,) or (n, t)
            Targets.
        kind : {"glm", "weights"}
            As for :meth:`predict`. Exact for ``"glm"`` and a Gaussian likelihood; else over draws.
        n_draws, seed : int
            Draws, wherever there are any.

        Returns
        -------
        ndarray (n,)
        """
        one_of("kind", kind, KINDS)
        inputs, likelihood = self.posterior.model.check_inputs(x), self.posterior.likelihood
        check_new_rows(likelihood, len(inputs))
        targets = likelihood.check_targets(y, len(inputs), self.posterior.model.n_outputs)
        if kind == "weights":
            return log_density_over_draws(likelihood, self._outputs_of_draws(inputs, n_draws, seed), targets)
        mean, covariance = self._linearized(inputs)
        if isinstance(likelihood, Gaussian):
            return log_density_of_gaussian(likelihood, mean, covariance, targets)
        rng = generator(seed, "predicted outputs")
        draws = draw_outputs(mean, covariance, integer_at_least("n_draws", n_draws, 2), rng)
        return log_density_over_draws(likelihood, draws, targets)

    def functional_covariance(self, x: ArrayLike) -> FloatArray:
        """Joint covariance (n * out, n * out) of the linearized outputs at `x` (n, d), rows in C order."""
        posterior = self.posterior
        jacobian = posterior.model.jacobian(self.mean, posterior.model.check_inputs(x))
        rows = jacobian[:, : posterior.network.n_outputs]  # without noise that is inferred beside them
        return self.precision.functional_covariance(rows.reshape(-1, self.n_weights))

    def _linearized(self, inputs: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean (n, out) of the outputs and their covariance (n, out, out) at each input."""
        mean, jacobian = self.posterior.model.linearize(self.mean, inputs)
        return mean, self.precision.row_covariance(jacobian)

    def _outputs_of_draws(self, inputs: FloatArray, n_draws: int, seed: int) -> FloatArray:
        return self.posterior.model.predict(self.sample(integer_at_least("n_draws", n_draws, 2), seed), inputs)

    def _of_network(self, *of_outputs: FloatArray) -> tuple[FloatArray, ...]:
        """Leave out what the likelihood infers beside the network."""
        return tuple(part[..., : self.posterior.network.n_outputs] for part in of_outputs)


def laplace_evidence(posterior: Posterior, mean: FloatArray, precision: Structure) -> float:
    """Laplace approximation of the log evidence, nats, with a Gaussian at `mean` (k,)."""
    peak = float(posterior.log_density(mean))
    if isinstance(precision, LastLayer):
        prior = posterior.log_prior_of_each(mean)
        peak -= float(prior.sum() - prior[precision.place].sum())
    return peak + 0.5 * (precision.n_free * LOG_2PI - precision.log_det)
