"""Scalings of hidden units that change no output, of networks whose activation is of degree one."""

import numpy as np

from bayesnn.arrays import FloatArray, IntArray
from bayesnn.models.constants import WithConstants
from bayesnn.models.mlp import MLP
from bayesnn.models.model import Model, block_slices
from bayesnn.models.standardised import StandardWeights

# Of several layers each moves the next: sweeps over all of them, until factors are within this of 1.
MAX_SWEEPS, NEAR = 100, 1e-12


def balanced(model: Model, draws: FloatArray, reference: FloatArray) -> FloatArray:
    r"""Move weight vectors along the scalings of their units to where these are balanced as in `reference`.

    With an activation of degree one, such as ``relu``, a unit whose incoming weights are multiplied by a positive
    number and its outgoing ones divided by it makes the same function. Of each such orbit the point is taken at which
    the norms of both have the ratio that they have in `reference`.

    Parameters
    ----------
    model : Model
        Models whose units have no such scalings give the draws back.
    draws : ndarray (..., k)
        Weight vectors.
    reference : ndarray (k,)
        Usually the mode.

    Returns
    -------
    ndarray (..., k)

    Examples
    --------
    >>> net = MLP(1, (1,), 1, activation="relu", bias=False)
    >>> balanced(net, np.array([4.0, 1.0]), np.array([1.0, 1.0]))
    array([2., 2.])
    """
    if isinstance(model, StandardWeights):
        # Scalings are of the weights themselves, which coordinates measure from the prior's mean.
        moved = balanced(model.model, model.weights_of(draws), model.weights_of(reference))
        return model.coordinates_of(moved, draws)
    if isinstance(model, WithConstants):
        inner = model.model.n_weights
        moved = balanced(model.model, draws[..., :inner], reference[:inner])
        return np.concatenate([moved, draws[..., inner:]], axis=-1)
    if not isinstance(model, MLP) or not model.activation.is_homogeneous or not model.hidden:
        return draws
    moved = draws.copy()
    for _ in range(MAX_SWEEPS if len(model.hidden) > 1 else 1):
        if max(_balance_layer(model, moved, reference, layer) for layer in range(len(model.hidden))) < NEAR:
            break
    return moved


def _balance_layer(model: MLP, moved: FloatArray, reference: FloatArray, layer: int) -> float:
    """Balance one hidden layer in place; return the largest logarithm of a factor."""
    places, stride, width = block_slices(model.weight_blocks), 2 if model.bias else 1, model.hidden[layer]
    before, after = places[stride * layer : stride * (layer + 1)], places[stride * (layer + 1)]
    every: IntArray = np.arange(model.n_weights)
    incoming = np.concatenate([every[place].reshape(-1, width) for place in before])
    outgoing = every[after].reshape(width, -1).T

    def log_ratio(weights: FloatArray) -> FloatArray:
        return np.log(np.linalg.norm(weights[..., incoming], axis=-2) / np.linalg.norm(weights[..., outgoing], axis=-2))

    with np.errstate(divide="ignore", invalid="ignore"):
        logs = 0.5 * (log_ratio(reference) - log_ratio(moved))
    # A unit that hears nothing, or is not heard, is left alone.
    logs = np.where(np.isfinite(logs), logs, 0.0)
    moved[..., incoming] *= np.exp(logs)[..., None, :]
    moved[..., outgoing] *= np.exp(-logs)[..., None, :]
    return float(np.abs(logs).max())
