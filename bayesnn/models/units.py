"""Hidden units of MLPs: what belongs to each, and moving them about."""

import numpy as np

from bayesnn.arrays import FloatArray, IntArray
from bayesnn.models.mlp import MLP
from bayesnn.models.model import block_slices


def layer_arrays(model: MLP, weights: FloatArray) -> list[FloatArray]:
    """Cut weights (k,) into copies of the arrays of all blocks."""
    blocks = model.weight_blocks
    return [
        weights[place].reshape(block.shape).copy() for block, place in zip(blocks, block_slices(blocks), strict=True)
    ]


def unit_columns(model: MLP, parts: list[FloatArray], layer: int) -> FloatArray:
    """Stack what belongs to each unit of one hidden layer, in- and outgoing, in columns."""
    stride = 2 if model.bias else 1
    rows = [np.atleast_2d(parts[i]) for i in range(stride * layer, stride * (layer + 1))]
    return np.concatenate([*rows, parts[stride * (layer + 1)].T], axis=0)


def move_units(model: MLP, arrays: list[FloatArray], layer: int, order: IntArray, signs: FloatArray) -> None:
    """Permute and flip the units of one hidden layer in place."""
    stride = 2 if model.bias else 1
    for i in range(stride * layer, stride * (layer + 1)):
        arrays[i] = arrays[i][..., order] * signs
    outgoing = stride * (layer + 1)
    arrays[outgoing] = arrays[outgoing][order] * signs[:, None]
