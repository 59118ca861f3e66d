"""Priors over weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import finite_array
from bayesnn.errors import ArgumentError
from bayesnn.models import WeightBlock


@runtime_checkable
class Prior(Protocol):
    """Independent normal or flat priors; what the posterior needs of them is a precision per weight."""

    def precision_for(self, blocks: Sequence[WeightBlock]) -> FloatArray:
        """Precision of each weight (k,), 0 where the prior is flat; ArgumentError if it does not fit."""
        ...


@dataclass(frozen=True, eq=False)
class NormalPrior:
    r"""Independent normal priors with mean 0, :math:`w_j \sim N(0, 1/\tau_j)`.

    Parameters
    ----------
    prior_precision : float or array_like
        One precision for all weights, one per layer, or one per weight (k,); units of 1 / weight squared.

    Raises
    ------
    ArgumentError
        If a precision is not a finite number above 0; use :class:`FlatPrior` for no prior.

    Examples
    --------
    >>> NormalPrior(prior_precision=[1.0, 4.0]).precision_for([
    ...     WeightBlock("W1", (2,), ("input",), 0), WeightBlock("W2", (1,), ("hidden1",), 1)])
    array([1., 1., 4.])
    """

    prior_precision: float | ArrayLike = 1.0

    def __post_init__(self) -> None:
        wants = "a finite number above 0, one per layer, or one per weight"
        precision = finite_array("prior_precision", self.prior_precision, (0, 1), wants)
        if not np.all(precision > 0):
            raise ArgumentError("prior_precision", f"{np.min(precision):g}", "finite numbers above 0")
        object.__setattr__(self, "prior_precision", float(precision) if precision.ndim == 0 else precision)

    def precision_for(self, blocks: Sequence[WeightBlock]) -> FloatArray:
        """Precision of each weight (k,).

        Raises
        ------
        ArgumentError
            If the number of precisions is neither 1, nor that of layers, nor that of weights.
        """
        sizes = np.array([block.size for block in blocks])
        n_layers, n_weights = max(block.layer for block in blocks) + 1, int(sizes.sum())
        precision = np.atleast_1d(np.asarray(self.prior_precision, dtype=np.float64))
        if precision.size == 1:
            return np.full(n_weights, precision[0])
        if precision.size == n_weights:
            return precision.copy()
        if precision.size == n_layers:
            return np.repeat(precision[[block.layer for block in blocks]], sizes)
        raise ArgumentError(
            "prior_precision",
            f"{precision.size} values",
            f"1, one per layer ({n_layers}) or one per weight ({n_weights})",
        )


@dataclass(frozen=True)
class FlatPrior:
    """No prior: density 1 everywhere. Directions the data do not inform have infinite variance then."""

    def precision_for(self, blocks: Sequence[WeightBlock]) -> FloatArray:
        """Zeros (k,)."""
        return np.zeros(sum(block.size for block in blocks))
