"""Weight symmetries of MLPs: permuting hidden units, and flipping their signs where the activation is odd."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from bayesnn.arrays import ArrayLike, BoolArray, FloatArray, IntArray
from bayesnn.checks import describe
from bayesnn.errors import ArgumentError
from bayesnn.models.constants import WithConstants
from bayesnn.models.mlp import MLP
from bayesnn.models.model import Model, block_slices
from bayesnn.models.standardised import StandardWeights

# Coordinate descent over layers ends after this many sweeps at the latest; one layer needs one sweep.
MAX_SWEEPS = 50


@dataclass(frozen=True)
class Symmetries:
    """Which symmetries there are, layer by layer: of each, all or none.

    Parameters
    ----------
    permutes, flips : tuple of bool
        Of each hidden layer: whether its units may change places, any of them, and whether each may change its sign;
        empty for models whose symmetries are not known.
    """

    permutes: tuple[bool, ...] = ()
    flips: tuple[bool, ...] = ()

    @staticmethod
    def of(
        model: Model, prior_precision: FloatArray | None = None, prior_mean: FloatArray | None = None
    ) -> "Symmetries":
        """Return those of a function and, with a normal prior, of the density that has it.

        Parameters
        ----------
        model : Model
            The function.
        prior_precision, prior_mean : ndarray (k,), optional
            Of its weights. Units may change places where the prior of all of a layer is the same, and signs where it is
            centred at 0.

        Examples
        --------
        >>> net = MLP(1, (2,), 1)
        >>> Symmetries.of(net)
        Symmetries(permutes=(True,), flips=(True,))
        >>> Symmetries.of(net, np.ones(7), np.full(7, 0.5))
        Symmetries(permutes=(True,), flips=(False,))
        """
        inner, centres = model, [] if prior_mean is None else [prior_mean]
        while isinstance(inner, WithConstants | StandardWeights):
            if isinstance(inner, StandardWeights):
                centres.append(inner.centre)  # of the weights, about which coordinates do not flip with them
            inner = inner.model
        if not isinstance(inner, MLP):
            return Symmetries()
        n_layers, is_odd = len(inner.hidden), inner.activation.is_odd
        alike, centred = [True] * n_layers, [is_odd] * n_layers
        for layer in range(n_layers):
            if prior_precision is not None:
                alike[layer] &= _are_alike(_units(inner, _split(inner, prior_precision[: inner.n_weights]), layer))
            for centre in centres:
                means = _units(inner, _split(inner, centre[: inner.n_weights]), layer)
                alike[layer] &= _are_alike(means)
                centred[layer] &= not means.any()
        return Symmetries(tuple(alike), tuple(centred))


def _are_alike(units: FloatArray) -> bool:
    """Whether all columns are the same."""
    return bool((units == units[:, :1]).all())


def log_symmetry_order(model: Model, symmetries: Symmetries | None = None) -> float:
    r"""Log of the number of weight vectors that give the same function, :math:`\log \prod_l 2^{h_l} h_l!`.

    Without the signs for activations that are not odd; 0 for models whose symmetries are not known.
    Sussmann (1992), Neural Networks 5, shows the group complete for irreducible one-layer tanh networks.

    Parameters
    ----------
    model : Model
        Whose.
    symmetries : Symmetries, optional
        Those that count, such as ``posterior.symmetries``; all that the function has by default.

    Examples
    --------
    >>> round(math.exp(log_symmetry_order(MLP(2, (2,), 1))))
    8
    """
    if isinstance(model, WithConstants | StandardWeights):
        return log_symmetry_order(model.model, symmetries or Symmetries.of(model))
    if not isinstance(model, MLP):
        return 0.0
    those = symmetries or Symmetries.of(model)
    return sum(
        width * math.log(2.0) * flips + math.lgamma(width + 1) * permutes
        for width, permutes, flips in zip(model.hidden, those.permutes, those.flips, strict=True)
    )


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
        units, within = (_units(model, _split(model, each), layer) for each in (weights, reach))
        places, permutes, flips = np.arange(width), those.permutes[layer], those.flips[layer]

        def stays(order: IntArray, turned: BoolArray, layer: int = layer) -> bool:
            arrays = _split(model, weights)
            _move_units(model, arrays, layer, order, np.where(turned, -1.0, 1.0))
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


def random_images(model: Model, weights: FloatArray, random: np.random.RandomState) -> FloatArray:
    """Draw for each weight vector one of its symmetric images, all equally likely.

    Parameters
    ----------
    model : Model
        Models other than MLP have no known symmetry; their weights come back unchanged.
    weights : ndarray (m, k)
        Weight vectors.
    random : numpy.random.RandomState
        Where the permutations and signs come from.

    Returns
    -------
    ndarray (m, k)

    Examples
    --------
    >>> net = MLP(1, (2,), 1, bias=False)
    >>> image = random_images(net, np.array([[1.0, 2.0, 3.0, 4.0]]), np.random.RandomState(0))
    >>> bool(np.allclose(net.predict(image, np.ones((1, 1))), 3 * np.tanh(1) + 4 * np.tanh(2)))
    True
    """
    if isinstance(model, StandardWeights):
        # Images are of the weights themselves, which coordinates measure from the prior's mean.
        return model.coordinates_of(random_images(model.model, model.weights_of(weights), random), weights)
    if isinstance(model, WithConstants):
        inner = model.model.n_weights
        return np.concatenate([random_images(model.model, weights[:, :inner], random), weights[:, inner:]], axis=1)
    if not isinstance(model, MLP):
        return weights.copy()
    images = np.empty_like(weights)
    for row, image in zip(weights, images, strict=True):
        arrays = _split(model, row)
        for layer, width in enumerate(model.hidden):
            order = random.permutation(width)
            flipped = random.random_sample(width) < (0.5 if model.activation.is_odd else 0.0)
            _move_units(model, arrays, layer, order, np.where(flipped, -1.0, 1.0))
        image[:] = np.concatenate([part.ravel() for part in arrays])
    return images


def nearest_image(
    model: Model, weights: FloatArray, reference: FloatArray, symmetries: Symmetries | None = None
) -> FloatArray:
    r"""Return the symmetric image of `weights` nearest to `reference` in Euclidean distance.

    One hidden layer: exact, by the Hungarian method on the per-unit cost
    :math:`\min_\pm |{\pm}u_i - v_j|^2`, `u` a unit's in- and outgoing weights. Deeper networks: coordinate
    descent over layers, as in Ainsworth, Hayase & Srinivasa (2023), Git Re-Basin, algorithm 1.

    Parameters
    ----------
    model : Model
        Models other than MLP have no known symmetry; their weights come back unchanged.
    weights, reference : ndarray (k,)
        Weight vectors.
    symmetries : Symmetries, optional
        Those that count, such as ``posterior.symmetries``; all that the function has by default.

    Returns
    -------
    ndarray (k,)

    Examples
    --------
    >>> net = MLP(1, (2,), 1, bias=False)
    >>> nearest_image(net, np.array([1.0, 2.0, 3.0, 4.0]), np.array([-2.0, 1.0, -4.0, 3.0]))
    array([-2.,  1., -4.,  3.])
    """
    if isinstance(model, WithConstants | StandardWeights):
        inner, those = model.model.n_weights, symmetries or Symmetries.of(model)
        image = nearest_image(model.model, weights[:inner], reference[:inner], those)
        return np.concatenate([image, weights[inner:]])
    if not isinstance(model, MLP):
        return weights.copy()
    those = symmetries or Symmetries.of(model)
    arrays = _split(model, weights)
    targets = _split(model, reference)
    for _ in range(MAX_SWEEPS):
        moved = [_align_layer(model, arrays, targets, layer, those) for layer in range(len(model.hidden))]
        if not any(moved):
            break
    return np.concatenate([part.ravel() for part in arrays])


def nearest_images(
    model: Model, draws: FloatArray, reference: FloatArray, symmetries: Symmetries | None = None
) -> tuple[FloatArray, float]:
    """Fold many weight vectors to the image nearest to `reference`.

    Parameters
    ----------
    model : Model
        As for :func:`nearest_image`.
    draws : ndarray (..., k)
        Weight vectors.
    reference : ndarray (k,)
        Usually the mode.
    symmetries : Symmetries, optional
        As for :func:`nearest_image`.

    Returns
    -------
    folded : ndarray (..., k)
    fraction : float
        Share of the draws that were moved.
    """
    if isinstance(model, WithConstants | StandardWeights):
        inner, those = model.model.n_weights, symmetries or Symmetries.of(model)
        folded, fraction = nearest_images(model.model, draws[..., :inner], reference[:inner], those)
        return np.concatenate([folded, draws[..., inner:]], axis=-1), fraction
    if not isinstance(model, MLP):
        return draws.copy(), 0.0
    those = symmetries or Symmetries.of(model)
    if not draws.size:
        return draws.copy(), 0.0
    flat = draws.reshape(-1, draws.shape[-1]).copy()
    moved = 0
    for i in np.flatnonzero(~_surely_nearest(model, flat, reference, those)):
        image = nearest_image(model, flat[i], reference, those)
        moved += not np.array_equal(image, flat[i])
        flat[i] = image
    return flat.reshape(draws.shape), moved / len(flat)


def canonicalize(model: Model, weights: ArrayLike, reference: ArrayLike) -> FloatArray:
    """Fold weight vectors to the cell of a mode: each becomes its symmetric image nearest to `reference`.

    Parameters
    ----------
    model : Model
        As for :func:`nearest_image`.
    weights : array_like (..., k)
        One or many, such as the draws of all chains.
    reference : array_like (k,)
        Usually the mode.

    Returns
    -------
    ndarray (..., k)

    Raises
    ------
    ArgumentError
        If shapes do not fit, or a number is not finite.

    Examples
    --------
    >>> net = MLP(1, (2,), 1, bias=False)
    >>> canonicalize(net, [[1.0, 2.0, 3.0, 4.0], [-2.0, 1.0, -4.0, 3.0]], [-2.0, 1.0, -4.0, 3.0])
    array([[-2.,  1., -4.,  3.],
           [-2.,  1., -4.,  3.]])
    """
    k = model.n_weights
    wants = f"finite numbers, shape (..., {k})"
    draws = np.asarray(weights, dtype=np.float64)
    if draws.ndim == 0 or draws.shape[-1] != k or not np.isfinite(draws).all():
        raise ArgumentError("weights", describe(weights), wants)
    mode = np.asarray(reference, dtype=np.float64)
    if mode.shape != (k,) or not np.isfinite(mode).all():
        raise ArgumentError("reference", describe(reference), f"finite numbers, shape ({k},)")
    return nearest_images(model, draws, mode)[0]


def _surely_nearest(model: MLP, flat: FloatArray, reference: FloatArray, symmetries: Symmetries) -> BoolArray:
    """Whether each unit of each draw (s, k) matches its own counterpart best: then no image is nearer."""
    targets = _split(model, reference)
    pieces = [
        flat[:, place].reshape(-1, *block.shape)
        for block, place in zip(model.weight_blocks, block_slices(model.weight_blocks), strict=True)
    ]
    sure = np.ones(len(flat), dtype=bool)
    stride = 2 if model.bias else 1
    for layer in range(len(model.hidden)):
        outgoing = stride * (layer + 1)
        agreement = np.einsum("ja,sia->sji", targets[outgoing], pieces[outgoing])
        for i in range(stride * layer, outgoing):
            theirs, mine = np.atleast_2d(targets[i]), pieces[i].reshape(len(flat), -1, model.hidden[layer])
            agreement += np.einsum("aj,sai->sji", theirs, mine)
        own = np.einsum("sii->si", agreement)
        rivals = agreement if symmetries.permutes[layer] else own[:, None]
        best = np.abs(rivals) if symmetries.flips[layer] else rivals
        sure &= (own >= best.max(axis=1)).all(axis=1)
    return sure


def _split(model: MLP, weights: FloatArray) -> list[FloatArray]:
    blocks = model.weight_blocks
    return [
        weights[place].reshape(block.shape).copy() for block, place in zip(blocks, block_slices(blocks), strict=True)
    ]


def _units(model: MLP, parts: list[FloatArray], layer: int) -> FloatArray:
    """Stack what belongs to each unit of one hidden layer, in- and outgoing, in columns."""
    stride = 2 if model.bias else 1
    rows = [np.atleast_2d(parts[i]) for i in range(stride * layer, stride * (layer + 1))]
    return np.concatenate([*rows, parts[stride * (layer + 1)].T], axis=0)


def _align_layer(
    model: MLP, arrays: list[FloatArray], targets: list[FloatArray], layer: int, symmetries: Symmetries
) -> bool:
    """Permute and flip the units of one hidden layer in place; return whether anything changed."""
    mine, theirs = _units(model, arrays, layer), _units(model, targets, layer)
    agreement = theirs.T @ mine  # |u - v|^2 = |u|^2 + |v|^2 - 2 u.v: only the product depends on the match
    flips, order = symmetries.flips[layer], np.arange(len(agreement))
    if symmetries.permutes[layer]:
        _, order = linear_sum_assignment(np.abs(agreement) if flips else agreement, maximize=True)
    matched = agreement[np.arange(len(order)), order]
    signs = np.where(matched < 0, -1.0, 1.0) if flips else np.ones(len(order))
    if np.array_equal(order, np.arange(len(order))) and np.all(signs > 0):
        return False
    _move_units(model, arrays, layer, order, signs)
    return True


def _move_units(model: MLP, arrays: list[FloatArray], layer: int, order: IntArray, signs: FloatArray) -> None:
    """Permute and flip the units of one hidden layer in place."""
    stride = 2 if model.bias else 1
    for i in range(stride * layer, stride * (layer + 1)):
        arrays[i] = arrays[i][..., order] * signs
    outgoing = stride * (layer + 1)
    arrays[outgoing] = arrays[outgoing][order] * signs[:, None]
