"""What every likelihood offers to the posterior."""

from typing import Protocol, Self, runtime_checkable

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray


@runtime_checkable
class Likelihood(Protocol):
    """The density of targets given the outputs of a network, independent between rows.

    `n` rows, `out` outputs, `t` targets a row; ``...`` stands for any number of chains.
    """

    @property
    def is_least_squares(self) -> bool:
        """Whether the negative log density is half a sum of squared scaled residuals, plus a constant."""
        ...

    @property
    def is_canonical(self) -> bool:
        """Whether the observed information equals the Fisher information whatever the targets."""
        ...

    @property
    def has_diagonal_fisher(self) -> bool:
        """Whether the Fisher information of a row has no entries between its outputs."""
        ...

    @property
    def uniform_fisher(self) -> float | None:
        """The Fisher information of every output of every row, if it is one number whatever the outputs, else None."""
        ...

    def check_targets(self, y: ArrayLike, n_rows: int, n_outputs: int) -> FloatArray:
        """Return targets (n, t) this likelihood can use, or raise ArgumentError."""
        ...

    def rows(self, rows: slice) -> Self:
        """Return the likelihood of some rows only."""
        ...

    def log_density(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Log density of each row (..., n), normaliser included, at outputs (..., n, out)."""
        ...

    def gradient(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Return the derivative of the log density by the outputs (..., n, out)."""
        ...

    def fisher(self, outputs: FloatArray) -> FloatArray:
        """Fisher information of the outputs (..., n, out, out): the expectation of minus the second derivative."""
        ...

    def observed_information(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Minus the second derivative of the log density by the outputs (..., n, out, out)."""
        ...

    def fisher_rows(self, outputs: FloatArray, jacobian: FloatArray) -> FloatArray:
        r"""Rows (..., m, k) of :math:`\Lambda^{1/2} B`, `Lambda` the Fisher information of the outputs.

        `jacobian` is (..., n, out, k); they may take its place.
        """
        ...

    def scaled_residual(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Return residuals over the standard deviation (..., n, t)."""
        ...

    def simulate(self, outputs: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Draw targets (..., n, t) given outputs (..., n, out)."""
        ...

    def mean(self, outputs: FloatArray) -> FloatArray:
        """Mean of a new target (..., n, t) given the outputs; for classes, their probabilities."""
        ...

    def variance(self, outputs: FloatArray) -> FloatArray:
        """Variance of a new target (..., n, t) given the outputs."""
        ...

    def predictive_moments(self, mean: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and variance (n, t) of a new target under normal outputs of `mean` (n, out).

        `covariance` is (n, out, out). Exact where a closed form exists; probit approximations for classes.
        """
        ...
