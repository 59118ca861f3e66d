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
    """Independent normal or flat priors; what the posterior needs of them is a precision and a mean per weight."""

    def precision_for(self, blocks: Sequence[WeightBlock]) -> FloatArray:
        """Precision of each weight (k,), 0 where the prior is flat; ArgumentError if it does not fit."""
        ...

    def mean_for(self, blocks: Sequence[WeightBlock]) -> FloatArray:
        """Mean of each weight (k,), 0 where the prior is flat; ArgumentError if it does not fit."""
        ...


@dataclass(frozen=True, eq=False)
class NormalPrior:
    r"""Independent normal priors, :math:`w_j \sim N(m_j, 1/\tau_j)`.

    Parameters
    ----------
    prior_precision : float or array_like
        One precision for all weights, one per layer, or one per weight (k,); units of 1 / weight squared.
    prior_mean : float or array_like
        One mean for all weights, one per layer, or one per weight (k,).

    Raises
    ------
    ArgumentError
        If a precision is not a finite number above 0 (use :class:`FlatPrior` for no prior), or a mean not finite.

    Examples
    --------
    >>> NormalPrior(prior_precision=[1.0, 4.0]).precision_for([
    ...     WeightBlock("W1", (2,), ("input",), 0), WeightBlock("W2", (1,), ("hidden1",), 1)])
    array([1., 1., 4.])
    """

    prior_precision: float | ArrayLike = 1.0
    prior_mean: float | ArrayLike = 0.0

    def __post_init__(self) -> None:
        wants = "a finite number above 0, one per layer, or one per weight"
        precision = finite_array("prior_precision", self.prior_precision, (0, 1), wants)
        if not np.all(precision > 0):
            raise ArgumentError("prior_precision", f"{np.min(precision):g}", "finite numbers above 0")
        object.__setattr__(self, "prior_precision", float(precision) if precision.ndim == 0 else precision)
        wants = "a finite number, one per layer, or one per weight"
        mean = finite_array("prior_mean", self.prior_mean, (0, 1), wants)
        object.__setattr__(self, "prior_mean", float(mean) if mean.ndim == 0 else mean)

    def precision_for(self, blocks: Sequence[WeightBlock]) -> FloatArray:
        """Precision of each weight (k,).

        Raises
        ------
        ArgumentError
            If the number of precisions is neither 1, nor that of layers, nor that of weights.
        """
        return _for_each_weight("prior_precision", self.prior_precision, blocks)

    def mean_for(self, blocks: Sequence[WeightBlock]) -> FloatArray:
        """Mean of each weight (k,).

        Raises
        ------
        ArgumentError
            If the number of means is neither 1, nor that of layers, nor that of weights.
        """
        return _for_each_weight("prior_mean", self.prior_mean, blocks)


@dataclass(frozen=True)
class FlatPrior:
    """No prior: density 1 everywhere. Directions the data do not inform have infinite variance then."""

    def precision_for(self, blocks: Sequence[WeightBlock]) -> FloatArray:
        """Zeros (k,)."""
        return np.zeros(sum(block.size for block in blocks))

    def mean_for(self, blocks: Sequence[WeightBlock]) -> FloatArray:
        """Zeros (k,)."""
        return self.precision_for(blocks)


def _for_each_weight(argument: str, given: float | ArrayLike, blocks: Sequence[WeightBlock]) -> FloatArray:
    """Spread 1 value, one per layer, or one per weight over the weights (k,)."""
    sizes = np.array([block.size for block in blocks])
    n_layers, n_weights = max(block.layer for block in blocks) + 1, int(sizes.sum())
    values = np.atleast_1d(np.asarray(given, dtype=np.float64))
    if values.size == 1:
        return np.full(n_weights, values[0])
    if values.size == n_weights:
        return values.copy()
    if values.size == n_layers:
        return np.repeat(values[[block.layer for block in blocks]], sizes)
    wants = f"1, one per layer ({n_layers}) or one per weight ({n_weights})"
    raise ArgumentError(argument, f"{values.size} values", wants)
