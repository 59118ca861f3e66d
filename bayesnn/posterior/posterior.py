"""The posterior of a model's weights given data."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe
from bayesnn.errors import ArgumentError
from bayesnn.factor import PrecisionFactor, factor_gram, factor_rows
from bayesnn.models import Model
from bayesnn.posterior.gaussian import LOG_2PI
from bayesnn.posterior.likelihood import Likelihood
from bayesnn.posterior.prior import Prior

# Outputs held at a time over all chains: 2**17 doubles with their hidden units stay near the L2 cache.
OUTPUTS_AT_A_TIME = 2**17
# Elements of the Jacobian held at a time: 2**22 doubles are 32 MiB. Several chains share a block only while it stays
# near the L2 cache; beyond, one matrix product a chain is as fast.
JACOBIAN_AT_A_TIME = 2**22
CACHED_JACOBIAN = 2**17


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
        self.model = model
        self.likelihood = likelihood
        self.prior = prior
        self.x = _frozen(model.check_inputs(x))
        self.y = _frozen(likelihood.check_targets(y, self.x.shape[0], model.n_outputs))
        self.prior_precision = _frozen(prior.precision_for(model.weight_blocks))
        informed = self.prior_precision[self.prior_precision > 0]
        self._prior_normaliser = 0.5 * float(np.log(informed).sum() - informed.size * LOG_2PI)

    def __repr__(self) -> str:
        return f"Posterior({self.model!r}, n={self.n_rows}, {self.likelihood!r}, {self.prior!r})"

    @property
    def n_weights(self) -> int:
        """Number of weights, k."""
        return self.model.n_weights

    @property
    def n_rows(self) -> int:
        """Number of rows of data, n."""
        return self.x.shape[0]

    @property
    def weight_names(self) -> tuple[str, ...]:
        """One name per weight."""
        return self.model.weight_names

    def with_data(self, x: ArrayLike, y: ArrayLike) -> "Posterior":
        """Return the posterior of the same model, likelihood and prior given other data."""
        return Posterior(self.model, x, y, self.likelihood, self.prior)

    def with_hyperparameters(self, likelihood: Likelihood, prior: Prior) -> "Posterior":
        """Return the posterior of the same model and data under another likelihood and prior."""
        return Posterior(self.model, self.x, self.y, likelihood, prior)

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

    def log_prior(self, weights: ArrayLike) -> FloatArray:
        """Log prior density (...) at weights (..., k)."""
        w = self.check_weights(weights)
        return self._prior_normaliser - 0.5 * (self.prior_precision * w * w).sum(axis=-1)

    def log_likelihood(self, weights: ArrayLike) -> FloatArray:
        """Log likelihood of every row (..., n) at weights (..., k)."""
        w = self.check_weights(weights)
        return self.likelihood.log_density(self.model.predict(w, self.x), self.y)

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
        total = self.log_prior(w)
        for rows, likelihood in self._row_blocks(w.size // self.n_weights):
            outputs = self.model.predict(w, self.x[rows])
            total = total + likelihood.log_density(outputs, self.y[rows]).sum(axis=-1)
        return total

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
        value = self.log_prior(w)
        gradient = -self.prior_precision * w
        for rows, likelihood in self._row_blocks(w.size // self.n_weights):
            outputs, pullback = self.model.vjp(w, self.x[rows])
            value = value + likelihood.log_density(outputs, self.y[rows]).sum(axis=-1)
            gradient = gradient + pullback(likelihood.gradient(outputs, self.y[rows]))
        return value, gradient

    @property
    def linearized_together(self) -> int:
        """How many weight vectors :meth:`linearize` takes at a time: as many as have their Jacobians near the cache."""
        return max(1, CACHED_JACOBIAN // (self.n_rows * self.model.n_outputs * self.n_weights))

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
        value = self.log_prior(w)
        gradient = -self.prior_precision * w
        ggn = np.zeros((*w.shape, self.n_weights))
        ggn[..., np.arange(self.n_weights), np.arange(self.n_weights)] = self.prior_precision
        if w.ndim == 1:
            value, gradient, ggn = value[None], gradient[None], ggn[None]
        batch = w.reshape(-1, self.n_weights)
        for start in range(0, len(batch), self.linearized_together):
            chains = slice(start, start + self.linearized_together)
            for rows, likelihood in self._jacobian_blocks():
                outputs, jacobian = self.model.linearize(batch[chains], self.x[rows])
                value[chains] += likelihood.log_density(outputs, self.y[rows]).sum(axis=-1)
                residual = likelihood.gradient(outputs, self.y[rows])
                gradient[chains] += _pull_back(jacobian, residual)
                ggn[chains] += _fisher_gram(likelihood, outputs, jacobian)
        return Linearization(value.reshape(w.shape[:-1]), gradient.reshape(w.shape), ggn.reshape(*w.shape, -1))

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
        hessian = self.ggn(w) if ggn is None else ggn.copy()
        directions = np.eye(self.n_weights)
        for rows, likelihood in self._jacobian_blocks():
            outputs = self.model.predict(w, self.x[rows])
            residual = likelihood.gradient(outputs, self.y[rows])
            hessian -= self.model.hessian_product(w, self.x[rows], residual, directions)
        return 0.5 * (hessian + hessian.T)

    def likelihood_rows(self, weights: ArrayLike) -> Iterator[FloatArray]:
        r"""Row blocks of :math:`\Lambda^{1/2} B` at weights (k,)."""
        w = self.check_weights(weights, batch=False)
        for rows, likelihood in self._jacobian_blocks():
            outputs, jacobian = self.model.linearize(w, self.x[rows])
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

    def _row_blocks(self, n_chains: int) -> Iterator[tuple[slice, Likelihood]]:
        return self._blocks(OUTPUTS_AT_A_TIME // max(1, n_chains * self.model.n_outputs))

    def _jacobian_blocks(self) -> Iterator[tuple[slice, Likelihood]]:
        return self._blocks(JACOBIAN_AT_A_TIME // (self.n_weights * self.model.n_outputs))

    def _blocks(self, rows_at_a_time: int) -> Iterator[tuple[slice, Likelihood]]:
        step = max(64, rows_at_a_time)
        if step >= self.n_rows:
            yield slice(None), self.likelihood
            return
        for start in range(0, self.n_rows, step):
            rows = slice(start, start + step)
            yield rows, self.likelihood.rows(rows)


def _pull_back(jacobian: FloatArray, cotangent: FloatArray) -> FloatArray:
    """Return B'c (chains, k) of `jacobian` (chains, n, out, k), without moving it, and `cotangent` (chains, n, out)."""
    flat = jacobian.reshape(len(jacobian), -1, jacobian.shape[-1])
    return (cotangent.reshape(len(flat), 1, -1) @ flat)[:, 0]


def _fisher_gram(likelihood: Likelihood, outputs: FloatArray, jacobian: FloatArray) -> FloatArray:
    """Return B'Lambda B (chains, k, k); `jacobian` may be overwritten."""
    weight = likelihood.uniform_fisher
    if weight is None:
        rows = likelihood.fisher_rows(outputs, jacobian)
        return rows.swapaxes(-1, -2) @ rows
    rows = jacobian.reshape(len(jacobian), -1, jacobian.shape[-1])
    gram = rows.swapaxes(-1, -2) @ rows
    gram *= weight
    return gram


def _want(argument: str, value: object, kind: type) -> None:
    """Raise ArgumentError unless `value` offers what the protocol `kind` asks; the class itself is a common slip."""
    if isinstance(value, type) or not isinstance(value, kind):
        raise ArgumentError(argument, describe(value), f"a {kind.__name__}, such as those of bayesnn")


def _frozen(array: FloatArray) -> FloatArray:
    """Copy, so that neither the caller nor we can change data a result rests on."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy
