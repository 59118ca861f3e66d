"""The precision without correlations between layers."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.errors import ArgumentError
from bayesnn.factor import PrecisionFactor
from bayesnn.laplace.structures.full import Full
from bayesnn.laplace.structures.structure import require_full_rank
from bayesnn.models import WeightBlock, block_slices


@dataclass(frozen=True, eq=False)
class BlockDiagonal:
    """Independent blocks of weights, every correlation kept within a block.

    Parameters
    ----------
    factors : tuple of PrecisionFactor
        One per block, each of full rank.
    slices : tuple of slice
        Where each block lies in the flat weight vector; together they cover it once, such as :func:`layer_slices`.

    Raises
    ------
    ArgumentError
        If a block is singular.
    """

    factors: tuple[PrecisionFactor, ...]
    slices: tuple[slice, ...]

    def __post_init__(self) -> None:
        for factor in self.factors:
            require_full_rank(factor)

    @property
    def size(self) -> int:
        """Number of weights, k."""
        return sum(factor.size for factor in self.factors)

    @property
    def n_free(self) -> int:
        """Number of weights, k."""
        return self.size

    @property
    def log_det(self) -> float:
        """Log determinant of the precision."""
        return sum(factor.log_det for factor in self.factors)

    def draw(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Draw deviations (n, k)."""
        draws = rng.standard_normal((n, self.size))
        for factor, place in zip(self.factors, self.slices, strict=True):
            draws[:, place] = factor.color(draws[:, place])
        return draws

    def squared_length(self, deviations: FloatArray) -> FloatArray:
        """Squared Mahalanobis length ``d' P d`` (...) of deviations (..., k)."""
        total = np.zeros(deviations.shape[:-1])
        for factor, place in zip(self.factors, self.slices, strict=True):
            total = total + Full(factor).squared_length(deviations[..., place])
        return total

    def functional_covariance(self, rows: FloatArray) -> FloatArray:
        """Joint covariance ``J P^-1 J'`` (m, m) of linear functions with coefficients `rows` (m, k)."""
        half = self._half_solve(rows)
        return half @ half.T

    def row_covariance(self, jacobian: FloatArray) -> FloatArray:
        """Joint covariance (n, out, out) of the outputs at each input, given the `jacobian` (n, out, k)."""
        half = self._half_solve(jacobian)
        return half @ half.mT

    def variance(self) -> FloatArray:
        """Marginal variances (k,)."""
        variance = np.empty(self.size)
        for factor, place in zip(self.factors, self.slices, strict=True):
            variance[place] = Full(factor).variance()
        return variance

    def covariance(self) -> FloatArray:
        """Covariance matrix (k, k)."""
        return self._assemble([factor.covariance for factor in self.factors])

    def precision(self) -> FloatArray:
        """Precision matrix (k, k)."""
        return self._assemble([factor.precision for factor in self.factors])

    def factor(self) -> PrecisionFactor:
        """Dense upper triangular factor of the precision."""
        method = "qr" if any(factor.method == "qr" for factor in self.factors) else "cholesky"
        upper = self._assemble([factor.upper for factor in self.factors])
        return PrecisionFactor(upper, rank=self.size, method=method)

    def _half_solve(self, rows: FloatArray) -> FloatArray:
        half = np.empty_like(rows)
        for factor, place in zip(self.factors, self.slices, strict=True):
            half[..., place] = factor.half_solve(rows[..., place])
        return half

    def _assemble(self, blocks: Sequence[FloatArray]) -> FloatArray:
        whole = np.zeros((self.size, self.size))
        for block, place in zip(blocks, self.slices, strict=True):
            whole[place, place] = block
        return whole


def layer_slices(blocks: Sequence[WeightBlock]) -> tuple[slice, ...]:
    """Return where each layer, its W and b together, lies in the flat weight vector.

    Parameters
    ----------
    blocks : sequence of WeightBlock
        A model's ``weight_blocks``.

    Returns
    -------
    tuple of slice
        In the order of the flat vector.

    Raises
    ------
    ArgumentError
        If other weights lie between those of one layer.

    Examples
    --------
    >>> from bayesnn.models import MLP
    >>> layer_slices(MLP(2, (3,), 1).weight_blocks)
    (slice(0, 9, None), slice(9, 13, None))
    """
    layers = [block.layer for block in blocks]
    starts = [0, *(i for i, (before, after) in enumerate(itertools.pairwise(layers), 1) if before != after)]
    if len(starts) > len(set(layers)):
        raise ArgumentError("model", f"weight blocks of layers {layers}", "the blocks of one layer side by side")
    places = block_slices(blocks)
    ends = [*starts[1:], len(blocks)]
    return tuple(slice(places[i].start, places[j - 1].stop) for i, j in zip(starts, ends, strict=True))
