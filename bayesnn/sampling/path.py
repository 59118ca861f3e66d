"""Densities from a hot one, where chains go everywhere, to the one that is sampled."""

from typing import Protocol, runtime_checkable

from bayesnn.arrays import FloatArray
from bayesnn.errors import ArgumentError
from bayesnn.posterior import LogDensity, Posterior
from bayesnn.sampling.marginal import Marginal
from bayesnn.sampling.metric import Metric, averaged_metric


class LevelDensity(Protocol):
    """A log density and its gradient, of whatever coordinates replicas have."""

    def __call__(self, weights: FloatArray, /) -> tuple[FloatArray, FloatArray]:
        """Log densities (walkers,) and gradients (walkers, m)."""
        ...

    def log_density(self, weights: FloatArray, /) -> FloatArray:
        """Log densities (walkers,)."""
        ...


@runtime_checkable
class Path(Protocol):
    """A density for each inverse temperature above 0; at 1 the one that is sampled."""

    def at(self, inverse_temperature: float, /) -> LevelDensity:
        """Return the density at an inverse temperature: a ``Marginal`` one at all of them, or at none."""
        ...

    def metric(self, points: FloatArray, inverse_temperature: float, /) -> Metric | None:
        """Return the metric that fits replicas at points (p, m), or None to keep the one there is."""
        ...


class PosteriorPath:
    r"""Prior times the likelihood to a power, :math:`p(w)\, p(y \mid w)^\beta`, in compiled code.

    The output layer is integrated out where it can be.

    Parameters
    ----------
    posterior : Posterior
        Of an :class:`bayesnn.MLP`.

    Raises
    ------
    ArgumentError
        If there is no compiled code for it.
    """

    def __init__(self, posterior: Posterior) -> None:
        if isinstance(posterior, LogDensity):
            raise ArgumentError("posterior", "a LogDensity", "a Posterior: likelihood and prior apart")
        self.posterior = posterior
        try:
            posterior.marginal()
        except ArgumentError:
            posterior.fused()  # says what is wrong
            self.is_marginal = False
        else:
            self.is_marginal = True

    def at(self, inverse_temperature: float) -> LevelDensity:
        """Return the density at an inverse temperature."""
        if self.is_marginal:
            return self.posterior.marginal(inverse_temperature)
        return self.posterior.fused(inverse_temperature)

    def metric(self, points: FloatArray, inverse_temperature: float) -> Metric | None:
        """Return prior plus B'ΛB to the power, averaged over points; None if it cannot be factored."""
        density = self.at(inverse_temperature)
        marginal = density if isinstance(density, Marginal) else None
        weights = points if marginal is None else marginal.complete(points)
        return averaged_metric("averaged", self.posterior, list(weights), marginal, inverse_temperature)
