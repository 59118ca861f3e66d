"""Sets of weights to search and to project on to."""

from typing import Protocol, runtime_checkable

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, finite_array, positive_number
from bayesnn.errors import ArgumentError
from bayesnn.models import DeepLinear


@runtime_checkable
class Region(Protocol):
    """A set of weights. Users may write their own, with these two methods."""

    def sample(self, rng: np.random.Generator, count: int) -> FloatArray:
        """Draw points (count, k) of the set."""
        ...

    def project(self, weights: FloatArray) -> FloatArray:
        """Return a point (k,) of the set near `weights` (k,): themselves if they are in it."""
        ...


class Ball:
    """Points within a Euclidean distance of a centre; samples are uniform.

    Parameters
    ----------
    centre : array_like (k,)
        Its centre.
    radius : float
        Above 0.

    Examples
    --------
    >>> Ball([0.0, 0.0], 1.0).project(np.array([3.0, 4.0]))
    array([0.6, 0.8])
    """

    def __init__(self, centre: ArrayLike, radius: float) -> None:
        self.centre, self.radius = finite_array("centre", centre, (1,), "shape (k,)"), positive_number("radius", radius)

    def sample(self, rng: np.random.Generator, count: int) -> FloatArray:
        """Draw points (count, k)."""
        k = len(self.centre)
        directions = rng.standard_normal((count, k))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return self.centre + self.radius * rng.random((count, 1)) ** (1.0 / k) * directions

    def project(self, weights: FloatArray) -> FloatArray:
        """Return the nearest point (k,)."""
        away = weights - self.centre
        return self.centre + away * min(1.0, self.radius / max(float(np.linalg.norm(away)), 1e-300))


class Box:
    """Points between two corners; samples are uniform.

    Parameters
    ----------
    low, high : array_like (k,)
        Corners, `low` below `high` in each coordinate.
    """

    def __init__(self, low: ArrayLike, high: ArrayLike) -> None:
        self.low = finite_array("low", low, (1,), "shape (k,)")
        self.high = finite_array("high", high, (1,), f"shape {self.low.shape}")
        if self.high.shape != self.low.shape or not np.all(self.low < self.high):
            raise ArgumentError("high", describe(self.high), f"shape {self.low.shape}, above low everywhere")

    def sample(self, rng: np.random.Generator, count: int) -> FloatArray:
        """Draw points (count, k)."""
        return rng.uniform(self.low, self.high, (count, len(self.low)))

    def project(self, weights: FloatArray) -> FloatArray:
        """Return the nearest point (k,)."""
        return np.clip(weights, self.low, self.high)


class SpectralBall:
    r"""Weights of a linear network whose matrices have spectral norm at most `radius` each.

    Of a residual network the matrices are the :math:`A_i`, without the identities: the set :math:`B_\tau` of Hardt &
    Ma (2016). The nearest point clips singular values.

    Parameters
    ----------
    model : DeepLinear
        The network.
    radius : float
        :math:`\tau`, above 0.

    Examples
    --------
    >>> SpectralBall(DeepLinear((1, 1, 1), residual=True), 0.5).project(np.array([0.2, -3.0]))
    array([ 0.2, -0.5])
    """

    def __init__(self, model: DeepLinear, radius: float) -> None:
        if not isinstance(model, DeepLinear):  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
            raise ArgumentError("model", describe(model), "a DeepLinear")
        self.model, self.radius = model, positive_number("radius", radius)

    def sample(self, rng: np.random.Generator, count: int) -> FloatArray:
        """Draw points (count, k): random directions of each matrix, of spectral norm uniform up to the radius."""
        points = [
            self.model.flat(
                [
                    self._of_norm(rng.standard_normal(block.shape), self.radius * rng.random())
                    for block in self.model.weight_blocks
                ]
            )
            for _ in range(count)
        ]
        return np.array(points).reshape(count, self.model.n_weights)

    def project(self, weights: FloatArray) -> FloatArray:
        """Return the nearest point (k,)."""
        return self.model.flat([self._clipped(matrix) for matrix in self.model.layers(weights)])

    def _clipped(self, matrix: FloatArray) -> FloatArray:
        left, singular, right = np.linalg.svd(matrix, full_matrices=False)
        if singular[0] <= self.radius:
            return matrix
        return (left * np.minimum(singular, self.radius)) @ right

    @staticmethod
    def _of_norm(matrix: FloatArray, norm: float) -> FloatArray:
        return matrix * (norm / float(np.linalg.norm(matrix, 2)))
