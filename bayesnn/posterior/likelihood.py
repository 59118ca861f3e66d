"""What every likelihood offers to the posterior."""

from typing import Protocol, Self, runtime_checkable

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray


@runtime_checkable
class Likelihood(Protocol):
    """The density of targets given the outputs of a network, independent between rows."""

    @property
    def is_least_squares(self) -> bool:
        """Whether the negative log density is half a sum of squared scaled residuals, plus a constant."""
        ...

    def check_targets(self, y: ArrayLike, n_rows: int, n_outputs: int) -> FloatArray:
        """Return targets (n, out) this likelihood can use, or raise ArgumentError."""
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

    @property
    def uniform_fisher(self) -> float | None:
        """The Fisher information of every output of every row, if it is one number whatever the outputs, else None."""
        ...

    def fisher_rows(self, outputs: FloatArray, jacobian: FloatArray) -> FloatArray:
        r"""Rows (..., m, k) of :math:`\Lambda^{1/2} B`, `Lambda` the Fisher information of the outputs.

        `jacobian` is (..., n, out, k); they may take its place. Every likelihood here has its Fisher information equal
        to its observed information, so the Hessian of the negative log likelihood is these rows' Gram matrix plus the
        curvature of the network itself.
        """
        ...

    def scaled_residual(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Return residuals (..., n, out); half their square sum is the negative log density, up to a constant."""
        ...

    def simulate(self, outputs: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Draw targets (..., n, out) given outputs (..., n, out)."""
        ...
