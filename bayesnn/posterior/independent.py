"""What likelihoods share whose outputs carry independent information."""

from abc import ABC, abstractmethod
from typing import Self

import numpy as np

from bayesnn.arrays import ArrayLike, BoolArray, FloatArray
from bayesnn.checks import finite_array
from bayesnn.errors import ArgumentError


def checked_targets(y: ArrayLike, n_rows: int, n_targets: int, *, booleans: bool = False) -> FloatArray:
    """Return `y` as (n, t) floats; truth values too, if `booleans` are welcome.

    Raises
    ------
    ArgumentError
        If `y` does not fit the rows and targets, or is not finite.
    """
    wants = f"shape ({n_rows},) or ({n_rows}, 1)" if n_targets == 1 else f"shape ({n_rows}, {n_targets})"
    labels = _as_boolean(y) if booleans else None
    given = finite_array("y", y if labels is None else labels.astype(np.float64), (1, 2), wants)
    targets = given[:, None] if given.ndim == 1 else given
    if targets.shape != (n_rows, n_targets):
        raise ArgumentError("y", f"shape {given.shape}", wants)
    return targets


def _as_boolean(y: ArrayLike) -> BoolArray | None:
    """Return `y` as an array if it is one of truth values."""
    try:
        array = np.asarray(y)
    except ValueError:  # rows of different lengths, which whoever checks next refuses
        return None
    return array if array.dtype.kind == "b" else None


def checked_integers(y: FloatArray, least: int, most: float, wants: str) -> FloatArray:
    """Return `y` if all are integers from `least` to `most`, else raise ArgumentError naming the first that is not."""
    wrong = (y < least) | (y > most) | (y != np.floor(y))
    if wrong.any():
        row = int(np.argmax(wrong.any(axis=1)))
        raise ArgumentError("y", f"{y[row][wrong[row]][0]:g} at row {row}", wants)
    return y


class IndependentLikelihood(ABC):
    """A likelihood whose Fisher information is diagonal in the outputs and depends on them.

    Derived classes give densities and derivatives; rows, root of the Fisher information and residuals follow.
    """

    @property
    def is_least_squares(self) -> bool:
        """False."""
        return False

    @property
    def is_canonical(self) -> bool:
        """Whether the observed information equals the Fisher information whatever the targets."""
        return True

    @property
    def has_diagonal_fisher(self) -> bool:
        """True."""
        return True

    @property
    def uniform_fisher(self) -> float | None:
        """None."""
        return None

    def check_targets(self, y: ArrayLike, n_rows: int, n_outputs: int) -> FloatArray:
        """Return targets (n, out), or raise ArgumentError."""
        return checked_targets(y, n_rows, n_outputs)

    def rows(self, rows: slice) -> Self:
        """Return the likelihood itself: all rows have the same."""
        return self

    @abstractmethod
    def fisher_diagonal(self, outputs: FloatArray) -> FloatArray:
        """Return the diagonal of the Fisher information (..., n, out)."""

    @abstractmethod
    def mean(self, outputs: FloatArray) -> FloatArray:
        """Mean of a new target (..., n, t)."""

    @abstractmethod
    def variance(self, outputs: FloatArray) -> FloatArray:
        """Variance of a new target (..., n, t)."""

    def fisher(self, outputs: FloatArray) -> FloatArray:
        """Fisher information of the outputs (..., n, out, out)."""
        return diagonal_matrices(self.fisher_diagonal(outputs))

    def observed_information(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Minus the second derivative of the log density by the outputs (..., n, out, out)."""
        return self.fisher(outputs)

    def fisher_rows(self, outputs: FloatArray, jacobian: FloatArray) -> FloatArray:
        r"""Rows (..., n * out, k) of :math:`\Lambda^{1/2} B`, in the place of `jacobian`."""
        np.multiply(jacobian, np.sqrt(self.fisher_diagonal(outputs))[..., None], out=jacobian)
        return jacobian.reshape(*jacobian.shape[:-3], -1, jacobian.shape[-1])

    def scaled_residual(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Pearson residuals (..., n, t)."""
        return (y - self.mean(outputs)) / np.sqrt(self.variance(outputs))


def diagonal_matrices(diagonal: FloatArray) -> FloatArray:
    """Return matrices (..., out, out) with the diagonals (..., out)."""
    return diagonal[..., None] * np.eye(diagonal.shape[-1])


def marginal_variances(covariance: FloatArray) -> FloatArray:
    """Return the diagonals (..., out) of matrices (..., out, out)."""
    return np.diagonal(covariance, axis1=-2, axis2=-1)
