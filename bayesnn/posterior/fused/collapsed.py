r"""Value and gradient of the posterior of the hidden weights, the output layer integrated out, compiled.

Given the hidden weights a network is linear in its output layer, so that under Gaussian noise and a normal prior these
weights :math:`v` have a normal law, and an integral in closed form. For one output, with the last hidden units (and a
one for the bias) in the rows of :math:`H`, noise precisions :math:`W` and prior :math:`N(v_0, P^{-1})`,

.. math::

    A = H'WH + P, \quad m = A^{-1}(H'Wy + P v_0), \quad
    \log p(y \mid H) = c - \tfrac12 \left(y'Wy + v_0'Pv_0 - m'Am\right) - \tfrac12\log|A|, \quad
    \frac{\partial \log p}{\partial H} = W \left[(y - Hm)\,m' - H A^{-1}\right]

(Lindley & Smith 1972, Bayes estimates for the linear model; without the terms of the determinant this is the variable
projection of Golub & Pereyra 1973). Outputs are independent given :math:`H`.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from bayesnn.arrays import FloatArray
from bayesnn.posterior.fused.activations import activate
from bayesnn.posterior.fused.leapfrog import scaled
from bayesnn.posterior.fused.network import Problem, times
from bayesnn.posterior.fused.products import add_outer, add_row_sums, put_products


class OutputLayer(NamedTuple):
    """What the kernel is told of the output layer and its rest, beside the problem; every array C-contiguous.

    Parameters
    ----------
    infers_noise : bool
        Whether the last coordinate is the log of the noise's standard deviation.
    prior_precision, prior_mean : ndarray (m,)
        Of the coordinates that are kept: the hidden weights, then the log noise if it is inferred.
    out_precision, out_mean : ndarray (outputs, q)
        Of the output layer: for each output its weights from the last hidden units, then its bias.
    constant : float
        Part of the log density that no coordinate changes.
    """

    infers_noise: bool
    prior_precision: FloatArray
    prior_mean: FloatArray
    out_precision: FloatArray
    out_mean: FloatArray
    constant: float


class Space(NamedTuple):
    """Where one thread works.

    Parameters
    ----------
    hidden, slopes : ndarray (blocks, units, rows)
        Values and slopes of all hidden units at all rows: the way back begins when all rows have been seen.
    features : ndarray (q + outputs, rows)
        Last hidden units, ones, and targets or residuals of one block, each over the noise of its row.
    delta, next_delta : ndarray (widest, rows)
        Derivatives by the sums of one layer, and of the layer before.
    moments : ndarray (q * (q + outputs),)
        Products of the features with each other and with the targets.
    factors : ndarray (outputs, q, q)
        Lower Cholesky factor of A, for each output.
    means : ndarray (outputs, q)
        Of the output weights.
    pull : ndarray (units of the last layer * (q + outputs),)
        What each feature adds to the derivative by each unit.
    """

    hidden: FloatArray
    slopes: FloatArray
    features: FloatArray
    delta: FloatArray
    next_delta: FloatArray
    moments: FloatArray
    factors: FloatArray
    means: FloatArray
    pull: FloatArray


@njit(cache=True, nogil=True)
def space_for(problem: Problem, top: OutputLayer) -> Space:  # pragma: no cover -- compiled
    """Make room for one thread."""
    widths = problem.widths
    n_blocks, _, rows = problem.x.shape
    n_outputs, q = top.out_precision.shape
    units, widest = 0, 0
    for layer in range(1, len(widths) - 1):
        units += widths[layer]
        widest = max(widest, widths[layer])
    last = widths[len(widths) - 2]
    features = np.zeros((q + n_outputs, rows))
    return Space(
        np.zeros((n_blocks, units, rows)),
        np.zeros((n_blocks, units, rows)),
        features,
        np.zeros((widest, rows)),
        np.zeros((widest, rows)),
        np.zeros(q * (q + n_outputs)),
        np.zeros((n_outputs, q, q)),
        np.zeros((n_outputs, q)),
        np.zeros(last * (q + n_outputs)),
    )


@njit(cache=True, error_model="numpy", nogil=True)
def hidden_units(problem: Problem, weights: FloatArray, block: int, space: Space) -> None:  # pragma: no cover
    """Fill hidden units and slopes of one block."""
    widths, rows = problem.widths, problem.x.shape[2]
    first, unit = 0, 0
    inputs = problem.x[block]
    hidden, slopes = space.hidden[block], space.slopes[block]
    for layer in range(len(widths) - 2):
        fan_in, fan_out = widths[layer], widths[layer + 1]
        for j in range(fan_out):
            start = float(weights[first + fan_in * fan_out + j]) if problem.bias else 0.0
            row = slopes[unit + j]
            put_products(weights, first + j, fan_out, inputs, fan_in, start, row, rows)
            activate(problem.activation, row, hidden[unit + j])
        inputs = hidden[unit : unit + fan_out]
        unit += fan_out
        first += fan_in * fan_out + (fan_out if problem.bias else 0)


@njit(cache=True, error_model="numpy", nogil=True)
def weigh_features(problem: Problem, block: int, space: Space) -> None:  # pragma: no cover -- compiled
    """Fill the features of one block: units, ones and targets, each over the noise of its row (0 beyond the data)."""
    last = problem.widths[len(problem.widths) - 2]
    hidden, inverse_sd, features = space.hidden[block], problem.inverse_sd[block], space.features
    begin = len(hidden) - last
    q = last
    for j in range(last):
        unit, feature = hidden[begin + j], features[j]
        for r in range(len(inverse_sd)):
            feature[r] = unit[r] * inverse_sd[r]
    if problem.bias:
        features[last, :] = inverse_sd
        q += 1
    for o in range(problem.y.shape[1]):
        target, feature = problem.y[block, o], features[q + o]
        for r in range(len(inverse_sd)):
            feature[r] = target[r] * inverse_sd[r]


@njit(cache=True, error_model="numpy", nogil=True)
def solve_outputs(
    top: OutputLayer, noise_precision: float, squares: FloatArray, space: Space
) -> float:  # pragma: no cover -- compiled
    """Factor and solve for each output's weights; return the log of the integral over them, up to the constant.

    NaN where a factor does not exist.
    """
    n_outputs, q = top.out_precision.shape
    width, total = q + n_outputs, 0.0
    for o in range(n_outputs):
        factor, mean = space.factors[o], space.means[o]
        prior, centre = top.out_precision[o], top.out_mean[o]
        total -= 0.5 * noise_precision * squares[o]
        for j in range(q):
            for i in range(j + 1):
                factor[j, i] = noise_precision * space.moments[j * width + i]
            factor[j, j] += prior[j]
            mean[j] = noise_precision * space.moments[j * width + q + o] + prior[j] * centre[j]
            total -= 0.5 * prior[j] * centre[j] * centre[j]
        # Cholesky (Golub & Van Loan, algorithm 4.2.1), and the first of the two triangular systems
        for j in range(q):
            for i in range(j + 1):
                value = factor[j, i]
                for h in range(i):
                    value -= factor[j, h] * factor[i, h]
                factor[j, i] = np.sqrt(value) if i == j else value / factor[i, i]
            value = mean[j]
            for h in range(j):
                value -= factor[j, h] * mean[h]
            mean[j] = value / factor[j, j]
            total += 0.5 * mean[j] * mean[j] - np.log(factor[j, j])
        for j in range(q - 1, -1, -1):
            value = mean[j]
            for h in range(j + 1, q):
                value -= factor[h, j] * mean[h]
            mean[j] = value / factor[j, j]
    return total


@njit(cache=True, error_model="numpy", nogil=True)
def find_outputs(
    problem: Problem, top: OutputLayer, coordinates: FloatArray, space: Space, squares: FloatArray
) -> float:  # pragma: no cover -- compiled
    """Go forward through all rows and solve for the output layer; return the log density without the kept prior."""
    n_outputs, q = top.out_precision.shape
    rows, width = problem.x.shape[2], q + n_outputs
    log_sd = float(coordinates[len(coordinates) - 1]) if top.infers_noise else 0.0
    space.moments[:] = 0.0
    squares[:] = 0.0
    for block in range(len(problem.x)):
        hidden_units(problem, coordinates, block, space)
        weigh_features(problem, block, space)
        add_outer(space.features, q, space.features, width, rows, space.moments, 0)
        for o in range(n_outputs):
            target = space.features[q + o]
            for r in range(rows):
                squares[o] += target[r] * target[r]
    value = solve_outputs(top, np.exp(-2.0 * log_sd), squares, space)
    return value + top.constant - n_outputs * problem.n_rows * log_sd


@njit(cache=True, error_model="numpy", nogil=True)
def find_pull(
    problem: Problem, top: OutputLayer, noise_precision: float, space: Space
) -> float:  # pragma: no cover -- compiled
    """Write how features and residuals pull at each unit; return the effective number of output weights."""
    n_outputs, q = top.out_precision.shape
    width, units = q + n_outputs, problem.widths[len(problem.widths) - 2]
    space.pull[:] = 0.0
    effective = float(n_outputs * q)
    column = np.empty(q)
    for o in range(n_outputs):
        factor = space.factors[o]
        for j in range(q):  # column j of the inverse of A
            for i in range(q):
                value = 1.0 if i == j else 0.0
                for h in range(j, i):
                    value -= factor[i, h] * column[h]
                column[i] = 0.0 if i < j else value / factor[i, i]
            for i in range(q - 1, -1, -1):
                value = column[i]
                for h in range(i + 1, q):
                    value -= factor[h, i] * column[h]
                column[i] = value / factor[i, i]
            effective -= top.out_precision[o, j] * column[j]
            if j < units:
                for i in range(q):
                    space.pull[j * width + i] -= noise_precision * column[i]
                space.pull[j * width + q + o] = noise_precision * space.means[o, j]
    return effective


@njit(cache=True, error_model="numpy", nogil=True)
def go_back(
    problem: Problem, weights: FloatArray, block: int, width: int, space: Space, gradient: FloatArray
) -> None:  # pragma: no cover -- compiled
    """Add what one block gives to the gradient by the hidden weights."""
    widths, rows = problem.widths, problem.x.shape[2]
    hidden, slopes, inverse_sd = space.hidden[block], space.slopes[block], problem.inverse_sd[block]
    n_hidden, first, unit = len(widths) - 2, 0, 0
    for layer in range(n_hidden - 1):
        first += widths[layer] * widths[layer + 1] + (widths[layer + 1] if problem.bias else 0)
        unit += widths[layer + 1]
    delta, spare = space.delta, space.next_delta
    for j in range(widths[n_hidden]):
        row = delta[j]
        put_products(space.pull, j * width, 1, space.features, width, 0.0, row, rows)
        times(row, inverse_sd, rows)
        times(row, slopes[unit + j], rows)
    for step in range(n_hidden):
        layer = n_hidden - 1 - step
        fan_in, fan_out = widths[layer], widths[layer + 1]
        inputs = problem.x[block] if layer == 0 else hidden[unit - fan_in : unit]
        add_outer(inputs, fan_in, delta, fan_out, rows, gradient, first)
        if problem.bias:
            add_row_sums(delta, fan_out, rows, gradient, first + fan_in * fan_out)
        if layer > 0:
            unit -= fan_in
            for i in range(fan_in):
                row = spare[i]
                put_products(weights, first + i * fan_out, 1, delta, fan_out, 0.0, row, rows)
                times(row, slopes[unit + i], rows)
            delta, spare = spare, delta
            first -= widths[layer - 1] * fan_in + (fan_in if problem.bias else 0)


@njit(cache=True, error_model="numpy", nogil=True)
def kept_prior(top: OutputLayer, coordinates: FloatArray, gradient: FloatArray) -> float:  # pragma: no cover
    """Subtract the prior's pull from the gradient, and return its log density up to the constant."""
    value = 0.0
    for i in range(len(coordinates)):
        deviation = coordinates[i] - top.prior_mean[i]
        pull = top.prior_precision[i] * deviation
        value -= 0.5 * pull * deviation
        gradient[i] -= pull
    return value


@njit(cache=True, error_model="numpy", nogil=True)
def collapsed_value_and_gradient_of(
    problem: Problem, top: OutputLayer, coordinates: FloatArray, gradient: FloatArray, space: Space, squares: FloatArray
) -> float:  # pragma: no cover -- compiled
    """Write the gradient (m,) of the log density at coordinates (m,), and return its value."""
    n_outputs, q = top.out_precision.shape
    rows, width, last = problem.x.shape[2], q + n_outputs, len(coordinates) - 1
    value = find_outputs(problem, top, coordinates, space, squares)
    gradient[:] = 0.0
    noise_precision = np.exp(-2.0 * coordinates[last]) if top.infers_noise else 1.0
    effective = find_pull(problem, top, noise_precision, space)
    residual_squares = 0.0
    for block in range(len(problem.x)):
        weigh_features(problem, block, space)
        for o in range(n_outputs):
            residual = space.features[q + o]
            for j in range(q):
                weight, feature = space.means[o, j], space.features[j]
                for r in range(rows):
                    residual[r] -= weight * feature[r]
            if top.infers_noise:
                for r in range(rows):
                    residual_squares += residual[r] * residual[r]
        go_back(problem, coordinates, block, width, space, gradient)
    if top.infers_noise:
        gradient[last] = noise_precision * residual_squares - n_outputs * problem.n_rows + effective
    return value + kept_prior(top, coordinates, gradient)


@njit(cache=True, error_model="numpy", nogil=True)
def collapsed_values_and_gradients(
    problem: Problem, top: OutputLayer, coordinates: FloatArray, values: FloatArray, gradients: FloatArray
) -> None:  # pragma: no cover -- compiled
    """Fill values (chains,) and gradients (chains, m) at coordinates (chains, m)."""
    space, squares = space_for(problem, top), np.zeros(len(top.out_mean))
    for chain in range(len(coordinates)):
        values[chain] = collapsed_value_and_gradient_of(
            problem, top, coordinates[chain], gradients[chain], space, squares
        )


@njit(cache=True, error_model="numpy", nogil=True)
def conditionals(
    problem: Problem,
    top: OutputLayer,
    coordinates: FloatArray,
    values: FloatArray,
    means: FloatArray,
    factors: FloatArray,
) -> None:  # pragma: no cover -- compiled
    """Fill log densities (chains,), and means (chains, outputs, q) and factors of the output weights' laws."""
    space, squares = space_for(problem, top), np.zeros(len(top.out_mean))
    nowhere = np.empty(coordinates.shape[1])
    for chain in range(len(coordinates)):
        values[chain] = find_outputs(problem, top, coordinates[chain], space, squares)
        values[chain] += kept_prior(top, coordinates[chain], nowhere)
        means[chain] = space.means
        factors[chain] = space.factors


@njit(cache=True, error_model="numpy", nogil=True)
def collapsed_leapfrog(
    problem: Problem,
    top: OutputLayer,
    scale: FloatArray,
    transposed: FloatArray,
    step_sizes: FloatArray,
    n_steps: int,
    coordinates: FloatArray,
    momenta: FloatArray,
    values: FloatArray,
    gradients: FloatArray,
) -> None:  # pragma: no cover -- compiled
    """Advance coordinates, standard momenta (chains, m) and gradients in place; write log densities (chains,)."""
    space, squares = space_for(problem, top), np.zeros(len(top.out_mean))
    for chain in range(len(coordinates)):
        w, r, g, h = coordinates[chain], momenta[chain], gradients[chain], step_sizes[chain]
        scaled(transposed, g, 0.5 * h, r)
        for step in range(n_steps):
            scaled(scale, r, h, w)
            values[chain] = collapsed_value_and_gradient_of(problem, top, w, g, space, squares)
            if not np.isfinite(values[chain]):
                break  # nothing is accepted from here
            scaled(transposed, g, 0.5 * h if step == n_steps - 1 else h, r)


@njit(cache=True, error_model="numpy", nogil=True, parallel=True)
def collapsed_values_and_gradients_shared(
    problem: Problem, top: OutputLayer, coordinates: FloatArray, values: FloatArray, gradients: FloatArray, parts: int
) -> None:  # pragma: no cover -- compiled
    """Do the same, chains shared out over so many threads."""
    n = len(coordinates)
    for part in prange(parts):
        chains = slice(n * part // parts, n * (part + 1) // parts)
        collapsed_values_and_gradients(problem, top, coordinates[chains], values[chains], gradients[chains])


@njit(cache=True, error_model="numpy", nogil=True, parallel=True)
def conditionals_shared(
    problem: Problem,
    top: OutputLayer,
    coordinates: FloatArray,
    values: FloatArray,
    means: FloatArray,
    factors: FloatArray,
    parts: int,
) -> None:  # pragma: no cover -- compiled
    """Do the same, chains shared out over so many threads."""
    n = len(coordinates)
    for part in prange(parts):
        chains = slice(n * part // parts, n * (part + 1) // parts)
        conditionals(problem, top, coordinates[chains], values[chains], means[chains], factors[chains])


@njit(cache=True, error_model="numpy", nogil=True, parallel=True)
def collapsed_leapfrog_shared(
    problem: Problem,
    top: OutputLayer,
    scale: FloatArray,
    transposed: FloatArray,
    step_sizes: FloatArray,
    n_steps: int,
    coordinates: FloatArray,
    momenta: FloatArray,
    values: FloatArray,
    gradients: FloatArray,
    parts: int,
) -> None:  # pragma: no cover -- compiled
    """Do the same, chains shared out over so many threads."""
    n = len(coordinates)
    for part in prange(parts):
        chains = slice(n * part // parts, n * (part + 1) // parts)
        collapsed_leapfrog(
            problem,
            top,
            scale,
            transposed,
            step_sizes[chains],
            n_steps,
            coordinates[chains],
            momenta[chains],
            values[chains],
            gradients[chains],
        )
