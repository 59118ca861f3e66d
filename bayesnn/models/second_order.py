"""Second derivatives of perceptrons by their weights, weighted by a cotangent of the outputs."""

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.models.layers import Layer, Trace, weight_gradient


def one_layer_hessian(trace: Trace, cotangent: FloatArray) -> FloatArray:
    """Return the whole second-order term (k, k) of one hidden layer, where only weights of the same unit meet.

    Parameters
    ----------
    trace : Trace
        Of one weight vector.
    cotangent : ndarray (n, out)
        Weights of the outputs.

    Returns
    -------
    ndarray (k, k)
    """
    has_bias = trace.layers[0].bias is not None
    inputs = trace.inputs[0]
    if has_bias:
        inputs = np.vstack([inputs, np.ones(inputs.shape[1])])
    outgoing_weight = trace.layers[1].weight[0]
    fan_in, width, n_outputs = len(trace.inputs[0]), len(outgoing_weight), int(cotangent.shape[1])
    # Products of two inputs are the same for every unit: one matrix product serves them all.
    upper, lower = np.triu_indices(len(inputs))
    pairs = (trace.bend(0)[0] * (outgoing_weight @ cotangent.T)) @ (inputs[upper] * inputs[lower]).T
    within = np.empty((width, len(inputs), len(inputs)))
    within[:, upper, lower] = pairs
    within[:, lower, upper] = pairs
    slope = trace.slope(0)[0]
    across = np.stack([(slope * column) @ inputs.T for column in cotangent.T], axis=-1)  # (unit, in, out)
    incoming = np.arange(fan_in * width).reshape(fan_in, width)
    if has_bias:
        incoming = np.vstack([incoming, fan_in * width + np.arange(width)])
    outgoing = incoming.size + np.arange(width * n_outputs).reshape(width, n_outputs)
    size = incoming.size + outgoing.size + (n_outputs if has_bias else 0)
    hessian = np.zeros((size, size))
    rows = incoming.T[:, :, None]
    hessian[rows, incoming.T[:, None, :]] = within
    hessian[rows, outgoing[:, None, :]] = across
    hessian[outgoing[:, None, :], rows] = across
    return hessian


def hessian_products(
    trace: Trace, moves: list[Layer], cotangent: FloatArray
) -> list[tuple[int, FloatArray, FloatArray]]:
    """Multiply the second-order term with directions, forward over reverse (Pearlmutter 1994).

    Parameters
    ----------
    trace : Trace
        Of one weight vector.
    moves : list of Layer
        The directions (m, k), cut into layers.
    cotangent : ndarray (n, out)
        Weights of the outputs.

    Returns
    -------
    list of (int, ndarray (m, in, out), ndarray (m, out, n))
        For each layer, the last first: the weights' part, and the deltas whose sum over rows is the biases' part.
    """
    layers = trace.layers
    tangents: list[FloatArray] = []  # derivative of each layer's inputs along the directions; inputs x stay
    tangent: FloatArray | None = None
    sum_tangents: list[FloatArray] = []
    for layer, (here, move) in enumerate(zip(layers, moves, strict=True)):
        change = move.forward(trace.inputs[layer])
        if tangent is not None:
            change += here.weight.transpose(0, 2, 1) @ tangent
            tangents.append(tangent)
        sum_tangents.append(change)
        if layer < len(layers) - 1:
            tangent = trace.slope(layer) * change
    parts: list[tuple[int, FloatArray, FloatArray]] = []
    delta = np.ascontiguousarray(cotangent.T)[None]
    delta_tangent = np.zeros((len(moves[0].weight), *delta.shape[1:]))
    for layer in reversed(range(len(layers))):
        weight_part = weight_gradient(trace.inputs[layer], delta_tangent)
        if layer:
            weight_part += weight_gradient(tangents[layer - 1], delta)
        parts.append((layer, weight_part, delta_tangent))
        if layer:
            below = layer - 1
            back = layers[layer].weight @ delta
            back_tangent = layers[layer].weight @ delta_tangent + moves[layer].weight @ delta
            delta_tangent = trace.slope(below) * back_tangent + (trace.bend(below) * back) * sum_tangents[below]
            delta = trace.slope(below) * back
    return parts
