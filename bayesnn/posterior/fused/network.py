"""Value and gradient of the log posterior of one chain's weights, compiled."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from bayesnn.arrays import FloatArray, IntArray
from bayesnn.posterior.fused import likelihoods as lik
from bayesnn.posterior.fused.activations import TANH, activate
from bayesnn.posterior.fused.compiling import inlined, inside, reordered
from bayesnn.posterior.fused.freshness import forget_older
from bayesnn.posterior.fused.packs import plain
from bayesnn.posterior.fused.products import NO_SLOPE, add_outer, put_products

forget_older(Path(__file__).parent)


class Problem(NamedTuple):
    """All the kernel is told; every array C-contiguous.

    Parameters
    ----------
    x : ndarray (blocks * (in + 1) * rows,)
        Inputs in blocks of rows, each feature-major and followed by a row of ones. The last is filled up with copies
        of its last row: where they overflow, it does, too.
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
    inverse_temperature : float
        Power of the likelihood.
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
    inverse_temperature: float


class Room(NamedTuple):
    """Where one thread works; the first four are features by rows, and flat.

    Parameters
    ----------
    hidden : ndarray (units * rows,)
        Values of the hidden units, each layer followed by a row of ones.
    slopes : ndarray (units * rows,) or (0,)
        Their slopes, where their values do not tell them.
    delta, next_delta : ndarray (widest * rows,)
        Derivatives by the sums of one layer, and of the layer before.
    out : ndarray (outputs, rows)
        Outputs, then their derivatives: the beginning of `delta`.
    weights : ndarray (weights,) or (0,)
        Weights made of coordinates, where their prior's precision is inferred.
    """

    hidden: FloatArray
    slopes: FloatArray
    delta: FloatArray
    next_delta: FloatArray
    out: FloatArray
    weights: FloatArray


@njit(nogil=True)
def room_for(problem: Problem) -> Room:  # pragma: no cover -- compiled
    """Make room for one thread."""
    rows, widths = problem.y.shape[2], problem.widths
    n_outputs = widths[len(widths) - 1]
    units, widest = 0, n_outputs
    for layer in range(1, len(widths) - 1):
        units += widths[layer] + 1
        widest = max(widest, widths[layer])
    delta = np.zeros(widest * rows)
    return Room(
        np.ones(units * rows),
        np.zeros(units * rows if problem.activation != TANH else 0),
        delta,
        np.zeros(widest * rows),
        delta[: n_outputs * rows].reshape(n_outputs, rows),
        np.zeros(len(problem.group_of)),
    )


@reordered
def multiply(out: FloatArray, factor: float, rows: int) -> None:  # pragma: no cover -- compiled
    """Multiply all outputs of a block with a number."""
    for o in range(len(out)):
        for r in range(rows):
            out[o, r] *= factor


@inlined
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


@inlined
def forward(problem: Problem, weights: FloatArray, block: int, room: Room) -> None:  # pragma: no cover -- compiled
    """Fill hidden units, slopes and outputs of one block."""
    widths, rows = problem.widths, problem.y.shape[2]
    n_layers, first, unit, nothing = len(widths) - 1, plain(0), plain(0), plain(0)
    inputs, at = problem.x, block * (widths[0] + 1) * rows
    for layer in range(n_layers):
        fan_in, fan_out = widths[layer], widths[layer + 1]
        is_last = layer == n_layers - 1
        totals, to = (room.delta, nothing) if is_last else (room.hidden, unit)
        starts = first + fan_in * fan_out if problem.bias else plain(-1)
        put_products(
            weights,
            first,
            plain(1),
            fan_out,
            starts,
            inputs,
            at,
            fan_in,
            totals,
            to,
            fan_out,
            rows,
            plain(NO_SLOPE),
            room.hidden,
            room.slopes,
            nothing,
        )
        if not is_last:
            activate(problem.activation, room.hidden, room.slopes, unit, fan_out * rows)
            inputs, at = room.hidden, unit
            unit += (fan_out + 1) * rows
        first += fan_in * fan_out + (fan_out if problem.bias else 0)


@inlined
def backward(
    problem: Problem, weights: FloatArray, block: int, room: Room, gradient: FloatArray
) -> None:  # pragma: no cover -- compiled
    """Add what one block gives to the gradient."""
    widths, rows = problem.widths, problem.y.shape[2]
    n_layers, first, unit, bias = len(widths) - 1, plain(0), len(room.hidden), 1 if problem.bias else 0
    for layer in range(n_layers):
        first += (widths[layer] + bias) * widths[layer + 1]
    delta, spare = room.delta, room.next_delta
    for step in range(n_layers):
        layer = n_layers - 1 - step
        fan_in, fan_out = widths[layer], widths[layer + 1]
        first -= (fan_in + bias) * fan_out
        inputs, at = problem.x, block * (fan_in + 1) * rows
        if layer > 0:
            unit -= (fan_in + 1) * rows
            inputs, at = room.hidden, unit
        # The row of ones after the inputs stands for the bias.
        add_outer(inputs, at, fan_in + bias, delta, plain(0), fan_out, rows, gradient, first)
        if layer > 0:
            put_products(
                weights,
                first,
                fan_out,
                plain(1),
                plain(-1),
                delta,
                plain(0),
                fan_out,
                spare,
                plain(0),
                fan_in,
                rows,
                problem.activation,
                room.hidden,
                room.slopes,
                unit,
            )
            delta, spare = spare, delta


@inside
def weights_at(problem: Problem, coordinates: FloatArray, weights: FloatArray) -> None:  # pragma: no cover -- compiled
    """Write what the first coordinates stand for under inferred precisions: the network's weights."""
    n_weights = len(weights)
    for i in range(n_weights):
        sd = np.exp(-0.5 * coordinates[n_weights + problem.group_of[i]])
        weights[i] = problem.centre[i] + coordinates[i] * sd


@inside
def pull_back(problem: Problem, coordinates: FloatArray, gradient: FloatArray) -> None:  # pragma: no cover -- compiled
    """Turn derivatives by the network's weights into derivatives by the coordinates, in place."""
    n_weights = len(problem.group_of)
    for i in range(n_weights):
        scale = n_weights + problem.group_of[i]
        gradient[i] *= np.exp(-0.5 * coordinates[scale])
        gradient[scale] -= 0.5 * coordinates[i] * gradient[i]


@reordered
def log_prior(
    coordinates: FloatArray, precision: FloatArray, mean: FloatArray, with_gradient: bool, gradient: FloatArray
) -> float:  # pragma: no cover -- compiled
    """Return the log prior without its normaliser, and add its gradient where it is wanted."""
    value = 0.0
    if with_gradient:
        for i in range(len(coordinates)):
            deviation = coordinates[i] - mean[i]
            pull = precision[i] * deviation
            value -= 0.5 * pull * deviation
            gradient[i] -= pull
    else:
        for i in range(len(coordinates)):
            deviation = coordinates[i] - mean[i]
            value -= 0.5 * precision[i] * deviation * deviation
    return value


@inlined
def value_and_gradient_of(
    problem: Problem, coordinates: FloatArray, with_gradient: bool, gradient: FloatArray, room: Room
) -> float:  # pragma: no cover -- compiled
    """Return the log posterior at coordinates (k,), and write its gradient (k,) where it is wanted."""
    value, stride, n = problem.constant, problem.y.shape[2], len(coordinates)
    weights, last = coordinates, coordinates[n - 1]
    if len(room.weights) > 0:
        weights_at(problem, coordinates, room.weights)
        weights = room.weights
    if with_gradient:
        gradient[:] = 0.0
    for block in range(len(problem.y)):
        rows = min(stride, problem.n_rows - block * stride)
        forward(problem, weights, block, room)
        part, by_noise = log_likelihood_block(problem, room.out, block, rows, last)
        value += problem.inverse_temperature * part
        if with_gradient:
            room.out[:, rows:] = 0.0
            if problem.inverse_temperature != 1.0:
                multiply(room.out, problem.inverse_temperature, rows)
            backward(problem, weights, block, room, gradient)
            if problem.likelihood == lik.INFERRED:
                gradient[n - 1] += problem.inverse_temperature * by_noise
    if with_gradient and len(room.weights) > 0:
        pull_back(problem, coordinates, gradient)
    return value + log_prior(coordinates, problem.prior_precision, problem.prior_mean, with_gradient, gradient)
