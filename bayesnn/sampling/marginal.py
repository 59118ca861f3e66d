"""What a density of some of the coordinates must be able to do."""

from typing import Protocol

import numpy as np

from bayesnn.arrays import FloatArray, IntArray


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
