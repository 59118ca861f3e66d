"""What every model offers to the rest of the package."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray


@dataclass(frozen=True)
class WeightBlock:
    """A named array within the flat weight vector.

    Parameters
    ----------
    name : str
        Such as ``"W1"``.
    shape : tuple of int
        Shape of the array; it is raveled in C order.
    dims : tuple of str
        One dimension name per axis; blocks that share a layer share its dimension name.
    layer : int
        Which layer it belongs to, from 0: priors may differ by layer.
    """

    name: str
    shape: tuple[int, ...]
    dims: tuple[str, ...]
    layer: int

    @property
    def size(self) -> int:
        """Number of weights in the block."""
        return math.prod(self.shape)

    def weight_names(self) -> list[str]:
        """Name every weight, ``"W1[0,2]"``."""
        if not self.shape:
            return [self.name]
        indices = itertools.product(*(range(length) for length in self.shape))
        return [f"{self.name}[{','.join(map(str, index))}]" for index in indices]


def block_slices(blocks: Sequence[WeightBlock]) -> list[slice]:
    """Return where each block lies in the flat weight vector."""
    ends = list(itertools.accumulate(block.size for block in blocks))
    return [slice(end - block.size, end) for block, end in zip(blocks, ends, strict=True)]


type Pullback = Callable[[FloatArray], FloatArray]


@runtime_checkable
class Model(Protocol):
    """A function ``f(w, x)`` with derivatives by its weights.

    `n` rows of `x`, `k` weights, `out` outputs; ``...`` stands for any number of chains.
    """

    @property
    def n_weights(self) -> int:
        """Number of weights, k."""
        ...

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        ...

    @property
    def weight_blocks(self) -> tuple[WeightBlock, ...]:
        """Named arrays that make up the weight vector, in order."""
        ...

    @property
    def weight_names(self) -> tuple[str, ...]:
        """One name per weight."""
        ...

    def check_inputs(self, x: ArrayLike) -> FloatArray:
        """Return `x` as a float array the model accepts, or raise ArgumentError."""
        ...

    def initial_weights(self, rng: np.random.Generator) -> FloatArray:
        """Draw a starting point (k,) for optimisation."""
        ...

    def predict(self, weights: FloatArray, x: FloatArray) -> FloatArray:
        """Return outputs (..., n, out) at `weights` (..., k)."""
        ...

    def vjp(self, weights: FloatArray, x: FloatArray) -> tuple[FloatArray, Pullback]:
        """Return outputs (..., n, out), and the map from cotangents (..., n, out) to (..., k), B'c."""
        ...

    def jacobian(self, weights: FloatArray, x: FloatArray) -> FloatArray:
        """`B` (n, out, k) at `weights` (k,)."""
        ...

    def linearize(self, weights: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return outputs (..., n, out) and `B` (..., n, out, k) at `weights` (..., k); `B` is the caller's own."""
        ...

    def hessian_product(
        self, weights: FloatArray, x: FloatArray, cotangent: FloatArray, directions: FloatArray
    ) -> FloatArray:
        """Second-order term: Hessian of ``sum(cotangent * f)`` at `weights` (k,) times `directions` (m, k)."""
        ...
