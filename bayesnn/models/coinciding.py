"""Symmetric images of a weight vector that are where it is."""

import math
from collections.abc import Callable

import numpy as np

from bayesnn.arrays import BoolArray, FloatArray, IntArray
from bayesnn.models.constants import WithConstants
from bayesnn.models.mlp import MLP
from bayesnn.models.model import Model
from bayesnn.models.standardised import StandardWeights
from bayesnn.models.symmetry import Symmetries
from bayesnn.models.units import layer_arrays, move_units, unit_columns


def log_coinciding(
    model: Model,
    weights: FloatArray,
    reach: FloatArray,
    is_near: Callable[[FloatArray], bool],
    symmetries: Symmetries | None = None,
) -> float:
    """Log of the number of a weight vector's symmetric images that are where it is.

    Units that are alike may change places there, and those whose in- and outgoing weights are all 0 their signs, layer
    by layer.

    Parameters
    ----------
    model : Model
        Whose; 0 for models whose symmetries are not known.
    weights : ndarray (k,)
        The vector.
    reach : ndarray (k,)
        How far each weight of an image that counts as the same may be at most.
    is_near : callable
        Whether an image (k,) within reach counts as the same.
    symmetries : Symmetries, optional
        As for :func:`log_symmetry_order`.

    Examples
    --------
    >>> net, twins = MLP(1, (2,), 1, bias=False), np.array([1.0, -1.0, 3.0, -3.0])
    >>> round(math.exp(log_coinciding(net, twins, np.full(4, 1e-9), lambda image: True)))
    2
    """
    those = symmetries or Symmetries.of(model)
    if isinstance(model, WithConstants | StandardWeights):
        k = model.model.n_weights

        def is_whole_near(image: FloatArray) -> bool:
            return is_near(np.concatenate([image, weights[k:]]))

        return log_coinciding(model.model, weights[:k], reach[:k], is_whole_near, those)
    if not isinstance(model, MLP):
        return 0.0
    total = 0.0
    for layer, width in enumerate(model.hidden):
        units, within = (unit_columns(model, layer_arrays(model, each), layer) for each in (weights, reach))
        places, permutes, flips = np.arange(width), those.permutes[layer], those.flips[layer]

        def stays(order: IntArray, turned: BoolArray, layer: int = layer) -> bool:
            arrays = layer_arrays(model, weights)
            move_units(model, arrays, layer, order, np.where(turned, -1.0, 1.0))
            return is_near(np.concatenate([part.ravel() for part in arrays]))

        idle: BoolArray = (2.0 * np.abs(units) <= within).all(axis=0) & flips
        total += math.log(2.0) * sum(stays(places, places == unit) for unit in places[idle])
        sizes = np.zeros(width, dtype=np.int64)  # of the groups of units that are alike, at the first of each
        for unit in range(width if permutes else 0):
            same = (np.abs(units - units[:, [unit]]) <= within).all(axis=0)
            opposite = (np.abs(units + units[:, [unit]]) <= within).all(axis=0) & flips
            for other in np.flatnonzero((same | opposite) & (sizes > 0)):
                order = places.copy()
                order[unit], order[other] = other, unit
                both = (places == unit) | (places == other)
                if (same[other] and stays(order, both & False)) or (opposite[other] and stays(order, both)):
                    sizes[other] += 1
                    break
            else:
                sizes[unit] = 1
        total += sum(math.lgamma(size + 1) for size in sizes)
    return total
