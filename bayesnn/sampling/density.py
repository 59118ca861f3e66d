"""What is asked of a posterior in a run: compiled where it can be."""

from collections.abc import Callable
from dataclasses import dataclass

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
    """Return the compiled density where there is one, and the posterior's own where not."""
    try:
        fused = posterior.fused()
    except ArgumentError:
        return Density(posterior.log_density, posterior.value_and_gradient, "numpy")
    return Density(fused.log_density, fused, "fused")
