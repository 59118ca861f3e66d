"""What a density of some of the coordinates must be able to do."""

from typing import Protocol, runtime_checkable

import numpy as np

from bayesnn.arrays import BoolArray, FloatArray, IntArray
from bayesnn.posterior.unit_steps import UnitSteps


@runtime_checkable
class Marginal(Protocol):
    """A density of some of the coordinates, from which the others can be drawn, such as ``posterior.marginal()``."""

    @property
    def kept(self) -> IntArray:
        """Which coordinates are kept (m,)."""
        ...

    def __call__(self, kept: FloatArray, /) -> tuple[FloatArray, FloatArray]:
        """Log densities (walkers,) and gradients (walkers, m) of the kept coordinates alone."""
        ...

    def log_density(self, kept: FloatArray, /) -> FloatArray:
        """Log densities (walkers,)."""
        ...

    def complete(self, kept: FloatArray, /) -> FloatArray:
        """All coordinates (walkers, k), those that are not kept at their conditional mean."""
        ...

    def draw(self, kept: FloatArray, random: np.random.RandomState, /) -> tuple[FloatArray, FloatArray]:
        """Draw the other coordinates; return all (walkers, k) and their log densities (walkers,)."""
        ...

    def precision_of(self, precision: FloatArray, /) -> FloatArray:
        """Precision (m, m) of the kept coordinates alone under a Gaussian of this precision (k, k)."""
        ...


@runtime_checkable
class UnitMarginal(Marginal, Protocol):
    """One of the hidden weights of a network, whose units can be moved one at a time."""

    @property
    def unit_places(self) -> IntArray:
        """Where the weights (fan in + bias, units) of each unit are among the kept coordinates."""
        ...

    @property
    def units_are_odd(self) -> bool:
        """Whether a unit may change its sign with its weights'."""
        ...

    @property
    def units_are_alike(self) -> bool:
        """Whether permuting the units, and flipping their signs where they are odd, leaves the density as it is."""
        ...

    @property
    def unit_prior_precision(self) -> FloatArray:
        """Prior precision (fan in + bias, units) of each unit of the last hidden layer, its bias last."""
        ...

    @property
    def unit_prior_mean(self) -> FloatArray:
        """Prior mean (fan in + bias, units) of these."""
        ...

    def step_units(
        self, kept: FloatArray, log_density: FloatArray, steps: UnitSteps, /
    ) -> tuple[FloatArray, FloatArray, BoolArray]:
        """Try steps one after the other; return kept coordinates, log densities and (walkers, steps) acceptances."""
        ...
