"""Value and gradient of the log posterior of one chain's weights, compiled."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from bayesnn.arrays import FloatArray, IntArray
from bayesnn.posterior.fused import likelihoods as lik
from bayesnn.posterior.fused.activations import activate
from bayesnn.posterior.fused.freshness import forget_older
from bayesnn.posterior.fused.products import FAST, add_outer, add_row_sums, put_products

forget_older(Path(__file__).parent)


class Problem(NamedTuple):
    """All the kernel is told; every array C-contiguous.

    Parameters
    ----------
    x : ndarray (blocks, in, rows)
        Inputs, feature-major, in blocks of rows; the last is filled up with zeros.
    y : ndarray (blocks, targets, rows)
        Targets.
    inverse_sd : ndarray (blocks, rows)
        Of the noise of each row; for a Gaussian of known noise.
    n_rows : int
        Rows that count.
    widths : ndarray of int (layers + 1,)
        From input to output.
    bias : bool
        Whether there are biases.
    activation, likelihood : int
        Codes.
    parameters : ndarray (p,)
        Of the likelihood.
    constant : float
        Part of the log density that no weight changes.
    prior_precision, prior_mean : ndarray (k,)
        Of the coordinates.
    group_of : ndarray of int (weights,) or (0,)
        Which log precision, of those after the weights, each weight is in units of; empty where none is inferred.
    centre : ndarray (weights,) or (0,)
        Prior mean of weights whose precision is inferred.
    """

    x: FloatArray
    y: FloatArray
    inverse_sd: FloatArray
    n_rows: int
    widths: IntArray
    bias: bool
    activation: int
    likelihood: int
    parameters: FloatArray
    constant: float
    prior_precision: FloatArray
    prior_mean: FloatArray
    group_of: IntArray
    centre: FloatArray


class Room(NamedTuple):
    """Where one thread works.

    Parameters
    ----------
    hidden, slopes : ndarray (units, rows)
        Values and slopes of all hidden units.
    out : ndarray (outputs, rows)
        Outputs, then their derivatives.
    delta, next_delta : ndarray (widest, rows)
        Derivatives by the sums of one layer, and of the layer before.
    weights : ndarray (weights,) or (0,)
        Weights made of coordinates, where their prior's precision is inferred.
    """

    hidden: FloatArray
    slopes: FloatArray
    out: FloatArray
    delta: FloatArray
    next_delta: FloatArray
    weights: FloatArray


@njit(cache=True, nogil=True)
def room_for(problem: Problem) -> Room:  # pragma: no cover -- compiled
    """Make room for one thread."""
    rows, widths = problem.x.shape[2], problem.widths
    units, widest = 0, widths[len(widths) - 1]
    for layer in range(1, len(widths) - 1):
        units += widths[layer]
        widest = max(widest, widths[layer])
    return Room(
        np.zeros((units, rows)),
        np.zeros((units, rows)),
        np.zeros((widths[len(widths) - 1], rows)),
        np.zeros((widest, rows)),
        np.zeros((widest, rows)),
        np.zeros(len(problem.group_of)),
    )


@njit(cache=True, error_model="numpy", nogil=True)
def log_likelihood_block(
    problem: Problem, out: FloatArray, block: int, rows: int, last: float
) -> tuple[float, float]:  # pragma: no cover -- compiled
    """Turn outputs into their derivatives; return the log likelihood, and its derivative by inferred noise."""
    y, code = problem.y[block], problem.likelihood
    if code == lik.GAUSSIAN:
        return lik.gaussian(out, y, problem.inverse_sd[block], rows), 0.0
    if code == lik.INFERRED:
        return lik.inferred(out, y, last, rows)
    if code == lik.HETEROSCEDASTIC:
        return lik.heteroscedastic(out, y, rows), 0.0
    if code == lik.STUDENT_T:
        return lik.student_t(out, y, problem.parameters[0], problem.parameters[1], rows), 0.0
    if code == lik.BERNOULLI:
        return lik.bernoulli(out, y, rows), 0.0
    if code == lik.CATEGORICAL:
        return lik.categorical(out, y, rows), 0.0
    return lik.poisson(out, y, rows), 0.0


@njit(cache=True, error_model="numpy", nogil=True)
def forward(problem: Problem, weights: FloatArray, block: int, rows: int, room: Room) -> None:  # pragma: no cover
    """Fill hidden units, slopes and outputs of one block."""
    widths = problem.widths
    n_layers, first, unit = len(widths) - 1, 0, 0
    inputs = problem.x[block]
    for layer in range(n_layers):
        fan_in, fan_out = widths[layer], widths[layer + 1]
        is_last = layer == n_layers - 1
        total = room.out if is_last else room.slopes[unit : unit + fan_out]
        for j in range(fan_out):
            start = float(weights[first + fan_in * fan_out + j]) if problem.bias else 0.0
            row = total[j]
            put_products(weights, first + j, fan_out, inputs, fan_in, start, row, rows)
            if not is_last:  # while the sums are in the L1 cache
                activate(problem.activation, row, room.hidden[unit + j])
        if not is_last:
            inputs = room.hidden[unit : unit + fan_out]
            unit += fan_out
        first += fan_in * fan_out + (fan_out if problem.bias else 0)


@njit(cache=True, error_model="numpy", fastmath=FAST, nogil=True)
def times(delta: FloatArray, slope: FloatArray, rows: int) -> None:  # pragma: no cover -- compiled
    """Multiply one unit's derivatives with its slopes."""
    for r in range(rows):
        delta[r] *= slope[r]


@njit(cache=True, error_model="numpy", nogil=True)
def backward(
    problem: Problem, weights: FloatArray, block: int, rows: int, room: Room, gradient: FloatArray
) -> None:  # pragma: no cover -- compiled
    """Add what one block gives to the gradient."""
    widths = problem.widths
    n_layers, first, unit = len(widths) - 1, 0, len(room.hidden)
    for layer in range(n_layers):
        first += widths[layer] * widths[layer + 1] + (widths[layer + 1] if problem.bias else 0)
    delta, spare, other = room.out, room.delta, room.next_delta
    for step in range(n_layers):
        layer = n_layers - 1 - step
        fan_in, fan_out = widths[layer], widths[layer + 1]
        first -= fan_in * fan_out + (fan_out if problem.bias else 0)
        if layer > 0:
            unit -= fan_in
            inputs = room.hidden[unit : unit + fan_in]
        else:
            inputs = problem.x[block]
        add_outer(inputs, fan_in, delta, fan_out, rows, gradient, first)
        if problem.bias:
            add_row_sums(delta, fan_out, rows, gradient, first + fan_in * fan_out)
        if layer > 0:
            for i in range(fan_in):
                row = spare[i]
                put_products(weights, first + i * fan_out, 1, delta, fan_out, 0.0, row, rows)
                times(row, room.slopes[unit + i], rows)
            delta = spare
            spare, other = other, spare


@njit(cache=True, error_model="numpy", nogil=True)
def weights_at(problem: Problem, coordinates: FloatArray, room: Room) -> FloatArray:  # pragma: no cover -- compiled
    """Return the network's weights: the first coordinates, or what they stand for under inferred precisions."""
    n_weights = len(problem.group_of)
    if n_weights == 0:
        return coordinates
    for i in range(n_weights):
        sd = np.exp(-0.5 * coordinates[n_weights + problem.group_of[i]])
        room.weights[i] = problem.centre[i] + coordinates[i] * sd
    return room.weights


@njit(cache=True, error_model="numpy", nogil=True)
def pull_back(problem: Problem, coordinates: FloatArray, gradient: FloatArray) -> None:  # pragma: no cover -- compiled
    """Turn derivatives by the network's weights into derivatives by the coordinates, in place."""
    n_weights = len(problem.group_of)
    for i in range(n_weights):
        scale = n_weights + problem.group_of[i]
        gradient[i] *= np.exp(-0.5 * coordinates[scale])
        gradient[scale] -= 0.5 * coordinates[i] * gradient[i]


@njit(cache=True, error_model="numpy", nogil=True)
def value_and_gradient_of(
    problem: Problem, coordinates: FloatArray, gradient: FloatArray, room: Room
) -> float:  # pragma: no cover -- compiled
    """Write the gradient (k,) of the log posterior at coordinates (k,), and return its value."""
    value, stride, n = problem.constant, problem.x.shape[2], len(coordinates)
    weights, last = weights_at(problem, coordinates, room), coordinates[n - 1]
    gradient[:] = 0.0
    for block in range(len(problem.x)):
        rows = min(stride, problem.n_rows - block * stride)
        forward(problem, weights, block, rows, room)
        part, by_noise = log_likelihood_block(problem, room.out, block, rows, last)
        value += part
        if problem.likelihood == lik.INFERRED:
            gradient[n - 1] += by_noise
        backward(problem, weights, block, rows, room, gradient)
    pull_back(problem, coordinates, gradient)
    for i in range(n):
        deviation = coordinates[i] - problem.prior_mean[i]
        pull = problem.prior_precision[i] * deviation
        value -= 0.5 * pull * deviation
        gradient[i] -= pull
    return value


@njit(cache=True, error_model="numpy", nogil=True)
def values_and_gradients(
    problem: Problem, weights: FloatArray, values: FloatArray, gradients: FloatArray
) -> None:  # pragma: no cover -- compiled
    """Fill values (chains,) and gradients (chains, k) at weights (chains, k)."""
    room = room_for(problem)
    for chain in range(len(weights)):
        values[chain] = value_and_gradient_of(problem, weights[chain], gradients[chain], room)


@njit(cache=True, error_model="numpy", nogil=True)
def values_of_all(problem: Problem, weights: FloatArray, values: FloatArray) -> None:  # pragma: no cover -- compiled
    """Fill log densities (chains,) at weights (chains, k)."""
    room, stride = room_for(problem), problem.x.shape[2]
    for chain in range(len(weights)):
        point = weights[chain]
        value, last = problem.constant, point[len(point) - 1]
        w = weights_at(problem, point, room)
        for i in range(len(point)):
            deviation = point[i] - problem.prior_mean[i]
            value -= 0.5 * problem.prior_precision[i] * deviation * deviation
        for block in range(len(problem.x)):
            rows = min(stride, problem.n_rows - block * stride)
            forward(problem, w, block, rows, room)
            value += log_likelihood_block(problem, room.out, block, rows, last)[0]
        values[chain] = value


@njit(cache=True, error_model="numpy", nogil=True, parallel=True)
def values_and_gradients_shared(
    problem: Problem, weights: FloatArray, values: FloatArray, gradients: FloatArray, parts: int
) -> None:  # pragma: no cover -- compiled
    """Do the same, chains shared out over so many threads."""
    n = len(weights)
    for part in prange(parts):
        chains = slice(n * part // parts, n * (part + 1) // parts)
        values_and_gradients(problem, weights[chains], values[chains], gradients[chains])


@njit(cache=True, error_model="numpy", nogil=True, parallel=True)
def values_of_all_shared(
    problem: Problem, weights: FloatArray, values: FloatArray, parts: int
) -> None:  # pragma: no cover -- compiled
    """Do the same, chains shared out over so many threads."""
    n = len(weights)
    for part in prange(parts):
        chains = slice(n * part // parts, n * (part + 1) // parts)
        values_of_all(problem, weights[chains], values[chains])
