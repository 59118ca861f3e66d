"""What is asked of a posterior in a run: compiled where it can be."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.errors import ArgumentError
from bayesnn.posterior import Posterior

type ValueAndGradient = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


@dataclass(frozen=True)
class Density:
    """What moves and sampler ask of the target."""

    log_density: Callable[[FloatArray], FloatArray]
    value_and_gradient: ValueAndGradient
    kernel: str


def density_of(posterior: Posterior) -> Density:
    """Return the compiled density where there is one, and the posterior's own where not; NaN counts as no density."""
    try:
        fused = posterior.fused()
    except ArgumentError:
        return Density(_without_nan(posterior.log_density), posterior.value_and_gradient, "numpy")
    return Density(_without_nan(fused.log_density), fused, "fused")


def _without_nan(log_density: Callable[[FloatArray], FloatArray]) -> Callable[[FloatArray], FloatArray]:
    """Return the same with no density where it is not a number: emcee ends a run where it meets one."""

    def none_where_nan(weights: FloatArray, /) -> FloatArray:
        values = log_density(weights)
        return np.where(np.isnan(values), -np.inf, values)

    return none_where_nan
