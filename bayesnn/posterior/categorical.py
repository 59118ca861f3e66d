"""The categorical likelihood."""

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, softmax

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.errors import ArgumentError
from bayesnn.posterior.bernoulli import probit_shrinkage
from bayesnn.posterior.independent import (
    IndependentLikelihood,
    checked_integers,
    checked_targets,
    diagonal_matrices,
    marginal_variances,
)


@dataclass(frozen=True)
class Categorical(IndependentLikelihood):
    """Targets 0, 1, ... for as many classes as the network has outputs, its unnormalised logits.

    One direction of the outputs, the same for all classes, changes nothing: without a prior the last layer has
    directions the data leave free.

    Examples
    --------
    >>> Categorical().log_density(np.log([[1.0, 2.0, 1.0]]), np.array([[1.0]])).round(6)
    array([-0.693147])
    """

    def check_targets(self, y: ArrayLike, n_rows: int, n_outputs: int) -> FloatArray:
        """Return labels (n, 1).

        Raises
        ------
        ArgumentError
            If the model has fewer than two outputs, or a label is not an integer from 0 to their number less 1.
        """
        if n_outputs < 2:
            raise ArgumentError("model", f"{n_outputs} output", "one output a class, at least 2")
        labels = checked_targets(y, n_rows, 1, booleans=True)
        return checked_integers(labels, 0, n_outputs - 1, f"labels 0 to {n_outputs - 1}, one output a class")

    def log_density(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Log probability of each row's label (..., n) at logits (..., n, classes)."""
        chosen = np.broadcast_to(y.astype(np.intp), (*outputs.shape[:-1], 1))
        return np.take_along_axis(log_softmax(outputs, axis=-1), chosen, axis=-1)[..., 0]

    def gradient(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Return the derivative of the log probability by the logits (..., n, classes)."""
        classes: FloatArray = np.arange(float(outputs.shape[-1]))
        chosen = np.equal(y, classes)
        return np.where(chosen, 1.0, 0.0) - softmax(outputs, axis=-1)

    @property
    def has_diagonal_fisher(self) -> bool:
        """False: classes share one unit of probability."""
        return False

    def fisher_diagonal(self, outputs: FloatArray) -> FloatArray:
        """``p (1 - p)``."""
        p = softmax(outputs, axis=-1)
        return p * (1.0 - p)

    def fisher(self, outputs: FloatArray) -> FloatArray:
        """``diag(p) - p p'`` (..., n, classes, classes)."""
        p = softmax(outputs, axis=-1)
        return diagonal_matrices(p) - p[..., :, None] * p[..., None, :]

    def fisher_rows(self, outputs: FloatArray, jacobian: FloatArray) -> FloatArray:
        r"""Rows (..., n * classes, k) of :math:`R' B`, `R` being :math:`\mathrm{diag}(\sqrt p) - p \sqrt p'`."""
        p = softmax(outputs, axis=-1)[..., None]
        rows = np.sqrt(p) * (jacobian - (p * jacobian).sum(axis=-2, keepdims=True))
        return rows.reshape(*jacobian.shape[:-3], -1, jacobian.shape[-1])

    def scaled_residual(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Pearson residuals (..., n, classes) of the class indicators."""
        return self.gradient(outputs, y) / np.sqrt(self.fisher_diagonal(outputs))

    def simulate(self, outputs: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Draw labels (..., n, 1)."""
        p = softmax(outputs, axis=-1)
        below = rng.random((*p.shape[:-1], 1)) >= np.cumsum(p, axis=-1)
        # Rounding may leave the last cumulative sum below 1.
        return np.minimum(below.sum(axis=-1, keepdims=True), p.shape[-1] - 1).astype(np.float64)

    def mean(self, outputs: FloatArray) -> FloatArray:
        """Probabilities (..., n, classes)."""
        return softmax(outputs, axis=-1)

    def variance(self, outputs: FloatArray) -> FloatArray:
        """``p (1 - p)`` of each class's indicator (..., n, classes)."""
        return self.fisher_diagonal(outputs)

    def predictive_moments(self, mean: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Probabilities under normal logits, each shrunk as for two classes, and the variance of class indicators.

        Gibbs (1997), Bayesian Gaussian processes for regression and classification, PhD thesis, section 4.3.
        """
        logits = mean * probit_shrinkage(marginal_variances(covariance))
        return self.mean(logits), self.variance(logits)
