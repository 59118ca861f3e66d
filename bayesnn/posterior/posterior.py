"""The posterior of a model's weights given data."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe
from bayesnn.errors import ArgumentError
from bayesnn.factor import PrecisionFactor, factor_gram, factor_rows
from bayesnn.models import Model, StandardWeights, Symmetries, WithConstants
from bayesnn.posterior.blocks import (
    fisher_diagonal_of,
    fisher_grams_of,
    fisher_product_of,
    gradient_of,
    hessian_of,
    linearization_of,
    score_rows_of,
    scores_gram_of,
    square_lengths_of,
    value_of,
)
from bayesnn.posterior.coordinates import Coordinates
from bayesnn.posterior.heteroscedastic import LOG_2PI
from bayesnn.posterior.likelihood import Likelihood
from bayesnn.posterior.prior import Prior
from bayesnn.posterior.row_sums import RowSums

if TYPE_CHECKING:
    from bayesnn.posterior.fused import FusedDensity, MarginalDensity

# The search for inferred noise begins at the spread of the targets in these first rows.
ROWS_TO_START_FROM = 1000


@dataclass(frozen=True)
class Linearization:
    """The posterior to second order around one point, or around each of a batch of points.

    Parameters
    ----------
    log_density : ndarray (...)
        Log density of the unnormalised posterior.
    gradient : ndarray (..., k)
        Its gradient.
    ggn : ndarray (..., k, k)
        ``B' Lambda B + prior precision``.
    """

    log_density: FloatArray
    gradient: FloatArray
    ggn: FloatArray

    def __getitem__(self, index: int) -> "Linearization":
        """Return that of one point of a batch."""
        return Linearization(self.log_density[index], self.gradient[index], self.ggn[index])


class Posterior:
    """Log density of the weights, ``log p(y | f(w, x)) + log p(w)``, with derivatives.

    Both terms carry their full normalisers, so that evidences of different models compare. Everything is
    computed in blocks of rows: memory does not grow with `n`.

    Parameters
    ----------
    model : Model
        Such as :class:`bayesnn.MLP`.
    x : array_like (n, d)
        Inputs.
    y : array_like (n,) or (n, out)
        Targets.
    likelihood : Likelihood
        Such as ``Gaussian(sigma_noise=0.1)``.
    prior : Prior
        ``NormalPrior(prior_precision=1.0)`` or ``FlatPrior()``.

    Raises
    ------
    ArgumentError
        If shapes disagree, data are not finite, or an argument has the wrong type.

    Examples
    --------
    >>> from bayesnn import MLP, Gaussian, NormalPrior
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> post = Posterior(MLP(1, (2,), 1), x, np.sin(3 * x), Gaussian(0.1), NormalPrior(1.0))
    >>> value, gradient = post.value_and_gradient(np.ones(post.n_weights))
    >>> value.shape, gradient.shape
    ((), (7,))
    """

    def __init__(self, model: Model, x: ArrayLike, y: ArrayLike, likelihood: Likelihood, prior: Prior) -> None:
        _want("model", model, Model)
        _want("likelihood", likelihood, Likelihood)
        _want("prior", prior, Prior)
        self.network = model
        self.given_likelihood = likelihood
        self.prior = prior
        coordinates = Coordinates.of(model, likelihood, prior)
        self.prior_precision, self.prior_mean = coordinates.prior_precision, coordinates.prior_mean
        self.model: Model = coordinates.model
        self.likelihood: Likelihood = coordinates.likelihood
        #: The network as a function of the first coordinates: scaled by them where its prior precision is inferred.
        self.scaled_network: Model = coordinates.network
        self._rows = RowSums.of(self.model, self.likelihood, x, y)
        if isinstance(self.model, WithConstants):
            self._start_noise_at_spread(self.model)
        self.prior_precision.flags.writeable = self.prior_mean.flags.writeable = False
        informed = self.prior_precision[self.prior_precision > 0]
        #: Part of the log prior that no weight changes.
        self.log_prior_normaliser = 0.5 * float(np.log(informed).sum() - informed.size * LOG_2PI)

    def _start_noise_at_spread(self, model: WithConstants) -> None:
        _, y = self._rows.data.block(slice(0, min(self.n_rows, ROWS_TO_START_FROM)))
        largest = float(np.abs(y).max()) or 1.0
        spread = float(np.std(y / largest))  # of numbers whose squares do not overflow
        model.start = np.array([np.log(spread) + np.log(largest) if spread > 0.0 else np.log(largest)])

    @property
    def x(self) -> FloatArray:
        """Inputs (n, d); what was handed in, where that is no array in memory."""
        return self._rows.data.x

    @property
    def y(self) -> FloatArray:
        """Targets (n, t); what was handed in, where that is no array in memory."""
        return self._rows.data.y

    @property
    def is_in_memory(self) -> bool:
        """Whether all rows are in memory."""
        return self._rows.data.in_memory

    def block(self, rows: slice) -> tuple[FloatArray, FloatArray]:
        """Return inputs (m, ...) and targets (m, t) of some rows in memory, checked.

        Raises
        ------
        ArgumentError
            If what is read from outside does not fit or is not finite.
        """
        return self._rows.data.block(rows)

    def __repr__(self) -> str:
        return f"Posterior({self.network!r}, n={self.n_rows}, {self.likelihood!r}, {self.prior!r})"

    @property
    def n_weights(self) -> int:
        """Number of weights, k."""
        return self.model.n_weights

    @property
    def n_rows(self) -> int:
        """Number of rows of data, n."""
        return self._rows.data.n_rows

    @property
    def weight_names(self) -> tuple[str, ...]:
        """One name per weight."""
        return self.model.weight_names

    @cached_property
    def symmetries(self) -> Symmetries:
        """Which symmetries of the network the density has: those that its prior keeps."""
        return Symmetries.of(self.model, self.prior_precision, self.prior_mean)

    def fused(self, inverse_temperature: float = 1.0) -> "FusedDensity":
        """Return the log density and its gradient in compiled code, the same numbers several times sooner.

        Parameters
        ----------
        inverse_temperature : float
            Power of the likelihood.

        Returns
        -------
        FusedDensity
            To be called with weights (k,) or (chains, k), as :meth:`value_and_gradient` is.

        Raises
        ------
        ArgumentError
            If the model is not an :class:`bayesnn.MLP`, the likelihood not one of this package, or the data are not in
            memory.
        """
        # Numba takes a second to load: only those wait who sample.
        from bayesnn.posterior.fused import FusedDensity

        return FusedDensity(self, inverse_temperature)

    def marginal(self, inverse_temperature: float = 1.0) -> "MarginalDensity":
        """Return the log density of the hidden weights in compiled code, the output layer integrated out.

        Parameters
        ----------
        inverse_temperature : float
            Power of the likelihood.

        Returns
        -------
        MarginalDensity

        Raises
        ------
        ArgumentError
            If the model is not an :class:`bayesnn.MLP` with hidden units, the noise not Gaussian, or a prior of the
            output layer flat or inferred.
        """
        from bayesnn.posterior.fused import MarginalDensity

        return MarginalDensity(self, inverse_temperature)

    def with_data(self, x: ArrayLike, y: ArrayLike) -> "Posterior":
        """Return the posterior of the same model, likelihood and prior given other data."""
        return Posterior(self.network, x, y, self.given_likelihood, self.prior)

    def with_hyperparameters(self, likelihood: Likelihood | None, prior: Prior) -> "Posterior":
        """Return the posterior of the same model and data under another likelihood, or its own, and another prior."""
        if likelihood is None or likelihood is self.likelihood:
            likelihood = self.given_likelihood  # before inferred noise became an output
        return Posterior(self.network, self.x, self.y, likelihood, prior)

    def check_weights(self, weights: ArrayLike, batch: bool = True) -> FloatArray:
        """Return weights as an array (k,), or (..., k) for a `batch`.

        Raises
        ------
        ArgumentError
            If the shape is another.
        """
        w = np.asarray(weights, dtype=np.float64)
        if w.shape[-1:] != (self.n_weights,) or not (batch or w.ndim == 1):
            last = f"(..., {self.n_weights})" if batch else f"({self.n_weights},)"
            raise ArgumentError("weights", f"shape {w.shape}", f"shape {last}")
        return w

    def outputs(self, weights: ArrayLike, x: FloatArray) -> FloatArray:
        """Return the network's outputs (..., n, out), without what the likelihood infers beside it."""
        return self.scaled_network.predict(self.check_weights(weights)[..., : self.scaled_network.n_weights], x)

    def network_weights(self, weights: ArrayLike) -> FloatArray:
        """Return the network's own weights (..., k) at coordinates: the first, but where a prior precision is inferred.

        Parameters
        ----------
        weights : array_like (..., k)
            Coordinates of this posterior.

        Returns
        -------
        ndarray (..., weights of the network)
        """
        first = self.check_weights(weights)[..., : self.scaled_network.n_weights]
        scaled = self.scaled_network
        # A network may be given in such coordinates: they are its weights then.
        return scaled.weights_of(first) if isinstance(scaled, StandardWeights) and scaled is not self.network else first

    def log_prior(self, weights: ArrayLike) -> FloatArray:
        """Log prior density (...) at weights (..., k)."""
        w = self.check_weights(weights)
        return self.log_prior_normaliser - 0.5 * (self.prior_precision * (w - self.prior_mean) ** 2).sum(axis=-1)

    def log_prior_of_each(self, weights: ArrayLike) -> FloatArray:
        """Log prior density of each weight (k,) at weights (k,); 0 where the prior is flat."""
        w = self.check_weights(weights, batch=False)
        precision = np.where(self.prior_precision > 0, self.prior_precision, 2.0 * np.pi)  # whose normaliser is 0
        return 0.5 * (np.log(precision) - LOG_2PI - self.prior_precision * (w - self.prior_mean) ** 2)

    def log_likelihood(self, weights: ArrayLike) -> FloatArray:
        """Log likelihood of every row (..., n) at weights (..., k)."""
        w = self.check_weights(weights)
        each = [
            likelihood.log_density(self.model.predict(w, x), y)
            for x, y, likelihood in (
                self._rows.block(rows) for rows in self._rows.output_blocks(w.size // self.n_weights)
            )
        ]
        return np.concatenate(each, axis=-1)

    def log_density(self, weights: ArrayLike) -> FloatArray:
        """Log density of the unnormalised posterior.

        Parameters
        ----------
        weights : array_like (k,) or (chains, k)
            Where to evaluate.

        Returns
        -------
        ndarray, shape () or (chains,)
        """
        w = self.check_weights(weights)
        (value,) = self._rows.sum(value_of, w, self._rows.output_blocks(w.size // self.n_weights))
        return self.log_prior(w) + value

    def value_and_gradient(self, weights: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Log density and its gradient.

        Parameters
        ----------
        weights : array_like (k,) or (chains, k)
            Where to evaluate.

        Returns
        -------
        value : ndarray, shape () or (chains,)
        gradient : ndarray, shape (k,) or (chains, k)
        """
        w = self.check_weights(weights)
        value, gradient = self._rows.sum(gradient_of, w, self._rows.output_blocks(w.size // self.n_weights))
        return self.log_prior(w) + value, gradient - self.prior_precision * (w - self.prior_mean)

    @property
    def linearized_together(self) -> int:
        """How many weight vectors :meth:`linearize` takes at a time: as many as have their Jacobians near the cache."""
        return self._rows.together

    def linearize(self, weights: ArrayLike) -> Linearization:
        """Log density, gradient and GGN in one pass over the data.

        Parameters
        ----------
        weights : array_like (k,) or (chains, k)
            Where to linearize.

        Returns
        -------
        Linearization
            With leading axis (chains,) if `weights` has it.
        """
        w = self.check_weights(weights)
        batch = w.reshape(-1, self.n_weights)
        groups = [
            self._rows.sum(
                linearization_of, batch[start : start + self.linearized_together], self._rows.jacobian_blocks()
            )
            for start in range(0, len(batch), self.linearized_together)
        ]
        value, gradient, ggn = (
            groups[0] if len(groups) == 1 else (np.concatenate(parts) for parts in zip(*groups, strict=True))
        )
        ggn.reshape(len(batch), -1)[:, :: self.n_weights + 1] += self.prior_precision
        value = value.reshape(w.shape[:-1]) + self.log_prior(w)
        gradient = gradient.reshape(w.shape) - self.prior_precision * (w - self.prior_mean)
        return Linearization(value, gradient, ggn.reshape(*w.shape, -1))

    def ggn(self, weights: ArrayLike) -> FloatArray:
        r"""Generalised Gauss-Newton matrix of the negative log density, :math:`B'\Lambda B + \mathrm{prior}`.

        Parameters
        ----------
        weights : array_like (k,) or (chains, k)
            Where to linearize.

        Returns
        -------
        ndarray (k, k) or (chains, k, k)
            Symmetric positive semi-definite.
        """
        return self.linearize(weights).ggn

    def hessian(self, weights: ArrayLike, ggn: FloatArray | None = None) -> FloatArray:
        """Exact Hessian of the *negative* log density, so that it is a precision matrix at an optimum.

        Parameters
        ----------
        weights : array_like (k,)
            Where to differentiate.
        ggn : ndarray (k, k), optional
            :meth:`ggn` there, if it is at hand.

        Returns
        -------
        ndarray (k, k)
            Symmetric.
        """
        w = self.check_weights(weights, batch=False)
        (hessian,) = self._rows.sum(hessian_of, w, self._rows.jacobian_blocks())
        if not self.likelihood.is_canonical:
            hessian += np.diag(self.prior_precision)
        else:
            hessian += self.ggn(w) if ggn is None else ggn
        return 0.5 * (hessian + hessian.T)

    def scores_gram(self, weights: ArrayLike) -> FloatArray:
        """Sum over the rows of the outer products (k, k) of their gradients at weights (k,): the empirical Fisher."""
        w = self.check_weights(weights, batch=False)
        return self._rows.sum(scores_gram_of, w, self._rows.jacobian_blocks())[0]

    def fisher_diagonal(self, weights: ArrayLike) -> FloatArray:
        r"""Diagonal (k,) of :math:`B'\Lambda B` at weights (k,), without the matrix."""
        return self.value_and_fisher_diagonal(weights)[1]

    def value_and_fisher_diagonal(self, weights: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Log density () and :meth:`fisher_diagonal` (k,) at weights (k,), in one pass over the data."""
        w = self.check_weights(weights, batch=False)
        value, diagonal = self._rows.sum(fisher_diagonal_of, w, self._rows.diagonal_blocks())
        return self.log_prior(w) + value, diagonal

    def fisher_grams(self, weights: ArrayLike, places: tuple[slice, ...]) -> list[FloatArray]:
        r"""Blocks of :math:`B'\Lambda B + \mathrm{prior}` on its diagonal, at weights (k,), without the matrix."""
        w = self.check_weights(weights, batch=False)
        grams = self._rows.sum(partial(fisher_grams_of, places=places), w, self._rows.jacobian_blocks())
        return [gram + np.diag(self.prior_precision[place]) for gram, place in zip(grams, places, strict=True)]

    def fisher_product(self, weights: ArrayLike, columns: FloatArray) -> FloatArray:
        r"""Multiply :math:`B'\Lambda B` at weights (k,) with columns (k, m), without the matrix."""
        w = self.check_weights(weights, batch=False)
        return self._rows.sum(partial(fisher_product_of, columns=columns), w, self._rows.jacobian_blocks())[0]

    def score_rows(self, weights: ArrayLike) -> Iterator[FloatArray]:
        r"""Row blocks of the stacked gradients of the rows and :math:`\sqrt{\mathrm{prior}}`, at weights (k,)."""
        w = self.check_weights(weights, batch=False)
        for rows in self._rows.jacobian_blocks():
            x, y, likelihood = self._rows.block(rows)
            yield score_rows_of(self.model, w, likelihood, x, y)
        yield np.diag(np.sqrt(self.prior_precision))

    def square_lengths(self, weights: ArrayLike) -> tuple[float, float]:
        """Square sums of the scaled residuals at weights (k,), and of the scaled targets."""
        residual, target = self._rows.sum(
            square_lengths_of, self.check_weights(weights, batch=False), self._rows.output_blocks(1)
        )
        return float(residual), float(target)

    def likelihood_rows(self, weights: ArrayLike) -> Iterator[FloatArray]:
        r"""Row blocks of :math:`\Lambda^{1/2} B` at weights (k,)."""
        w = self.check_weights(weights, batch=False)
        for rows in self._rows.jacobian_blocks():
            x, _, likelihood = self._rows.block(rows)
            outputs, jacobian = self.model.linearize(w, x)
            yield likelihood.fisher_rows(outputs, jacobian)

    def scaled_rows(self, weights: ArrayLike) -> Iterator[FloatArray]:
        r"""Row blocks of the stacked matrix :math:`[\Lambda^{1/2} B; \sqrt{\mathrm{prior}}]` at weights (k,).

        Their Gram matrix is :meth:`ggn`; factoring them directly keeps the digits that forming it loses.
        """
        yield from self.likelihood_rows(weights)
        yield np.diag(np.sqrt(self.prior_precision))

    def factor_ggn(self, weights: ArrayLike, ggn: FloatArray | None = None) -> PrecisionFactor:
        """Triangular factor of the GGN: Cholesky where conditioning allows, QR of the stacked rows where not.

        Parameters
        ----------
        weights : array_like (k,)
            Where to linearize.
        ggn : ndarray (k, k), optional
            The matrix, if it is at hand.

        Returns
        -------
        PrecisionFactor
        """
        w = self.check_weights(weights, batch=False)
        factor = factor_gram(self.ggn(w) if ggn is None else ggn)
        return factor_rows(self.scaled_rows(w), self.n_weights) if factor is None else factor


def _want(argument: str, value: object, kind: type) -> None:
    """Raise ArgumentError unless `value` offers what the protocol `kind` asks; the class itself is a common slip."""
    if isinstance(value, type) or not isinstance(value, kind):
        raise ArgumentError(argument, describe(value), f"a {kind.__name__}, such as those of bayesnn")
