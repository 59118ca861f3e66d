"""Priors over weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, finite_array, normal_pair
from bayesnn.errors import ArgumentError
from bayesnn.models import WeightBlock

INFER = ("infer", "infer_by_layer")


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
    prior_precision : float, array_like, "infer" or "infer_by_layer"
        One precision for all weights, one per layer, or one per weight (k,); units of 1 / weight squared. ``"infer"``
        makes the logarithm of one precision for all weights a coordinate of the posterior, ``log_prior_precision``,
        ``"infer_by_layer"`` one for each layer; the weights are coordinates in units of their prior's standard
        deviation then, ``W1_standard`` and so on, so that the joint density has modes
        (:class:`bayesnn.models.StandardWeights`).
    prior_mean : float or array_like
        One mean for all weights, one per layer, or one per weight (k,).
    log_precision_prior : tuple of two floats, optional
        The hyperprior that inferring takes: mean and standard deviation of a normal prior for each log precision.

    Raises
    ------
    ArgumentError
        If a precision is not a finite number above 0 (use :class:`FlatPrior` for no prior), a mean not finite, or there
        is a hyperprior for a precision that is not inferred, or none for one that is.

    Examples
    --------
    >>> NormalPrior(prior_precision=[1.0, 4.0]).precision_for([
    ...     WeightBlock("W1", (2,), ("input",), 0), WeightBlock("W2", (1,), ("hidden1",), 1)])
    array([1., 1., 4.])
    """

    prior_precision: float | ArrayLike | str = 1.0
    prior_mean: float | ArrayLike = 0.0
    log_precision_prior: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        wants = "a finite number, one per layer, or one per weight"
        mean = finite_array("prior_mean", self.prior_mean, (0, 1), wants)
        object.__setattr__(self, "prior_mean", float(mean) if mean.ndim == 0 else mean)
        if isinstance(self.prior_precision, str):
            self._check_hyperprior()
            return
        if self.log_precision_prior is not None:
            wants = f"None unless prior_precision is one of {INFER}"
            raise ArgumentError("log_precision_prior", describe(self.log_precision_prior), wants)
        wants = "a finite number above 0, one per layer, or one per weight"
        precision = finite_array("prior_precision", self.prior_precision, (0, 1), wants)
        if not np.all(precision > 0):
            raise ArgumentError("prior_precision", f"{np.min(precision):g}", "finite numbers above 0")
        object.__setattr__(self, "prior_precision", float(precision) if precision.ndim == 0 else precision)

    def _check_hyperprior(self) -> None:
        if self.prior_precision not in INFER:
            raise ArgumentError(
                "prior_precision", describe(self.prior_precision), f"numbers above 0, or one of {INFER}"
            )
        if self.log_precision_prior is None:
            wants = "mean and standard deviation of log_prior_precision, which is inferred"
            raise ArgumentError("log_precision_prior", "None", wants)
        pair = normal_pair("log_precision_prior", self.log_precision_prior, "log_prior_precision")
        object.__setattr__(self, "log_precision_prior", pair)

    @property
    def is_inferred(self) -> bool:
        """Whether precisions are coordinates of the posterior."""
        return isinstance(self.prior_precision, str)

    @property
    def is_by_layer(self) -> bool:
        """Whether each layer has an inferred precision of its own."""
        return self.prior_precision == "infer_by_layer"

    @property
    def hyperprior(self) -> tuple[float, float]:
        """Mean and standard deviation of the prior of each log precision; ArgumentError if none is inferred."""
        if self.log_precision_prior is None:
            raise ArgumentError("prior_precision", describe(self.prior_precision), f"one of {INFER}")
        return self.log_precision_prior

    def precision_for(self, blocks: Sequence[WeightBlock]) -> FloatArray:
        """Precision of each weight (k,); 1 where it is inferred, for weights in units of their prior's deviation.

        Raises
        ------
        ArgumentError
            If the number of precisions is neither 1, nor that of layers, nor that of weights.
        """
        if isinstance(self.prior_precision, str):
            return np.ones(sum(block.size for block in blocks))
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
