"""Weight symmetries of MLPs: permuting hidden units, and flipping their signs where the activation is odd."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from bayesnn.arrays import ArrayLike, BoolArray, FloatArray
from bayesnn.checks import describe
from bayesnn.errors import ArgumentError
from bayesnn.models.constants import WithConstants
from bayesnn.models.mlp import MLP
from bayesnn.models.model import Model, block_slices
from bayesnn.models.standardised import StandardWeights
from bayesnn.models.units import layer_arrays, move_units, unit_columns

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
                alike[layer] &= _are_alike(
                    unit_columns(inner, layer_arrays(inner, prior_precision[: inner.n_weights]), layer)
                )
            for centre in centres:
                means = unit_columns(inner, layer_arrays(inner, centre[: inner.n_weights]), layer)
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
        arrays = layer_arrays(model, row)
        for layer, width in enumerate(model.hidden):
            order = random.permutation(width)
            flipped = random.random_sample(width) < (0.5 if model.activation.is_odd else 0.0)
            move_units(model, arrays, layer, order, np.where(flipped, -1.0, 1.0))
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
    arrays = layer_arrays(model, weights)
    targets = layer_arrays(model, reference)
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
    targets = layer_arrays(model, reference)
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


def _align_layer(
    model: MLP, arrays: list[FloatArray], targets: list[FloatArray], layer: int, symmetries: Symmetries
) -> bool:
    """Permute and flip the units of one hidden layer in place; return whether anything changed."""
    mine, theirs = unit_columns(model, arrays, layer), unit_columns(model, targets, layer)
    agreement = theirs.T @ mine  # |u - v|^2 = |u|^2 + |v|^2 - 2 u.v: only the product depends on the match
    flips, order = symmetries.flips[layer], np.arange(len(agreement))
    if symmetries.permutes[layer]:
        _, order = linear_sum_assignment(np.abs(agreement) if flips else agreement, maximize=True)
    matched = agreement[np.arange(len(order)), order]
    signs = np.where(matched < 0, -1.0, 1.0) if flips else np.ones(len(order))
    if np.array_equal(order, np.arange(len(order))) and np.all(signs > 0):
        return False
    move_units(model, arrays, layer, order, signs)
    return True
