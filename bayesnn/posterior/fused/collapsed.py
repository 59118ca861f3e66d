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
from bayesnn.posterior.fused.activations import TANH, activate
from bayesnn.posterior.fused.chains import LEAPFROG, VALUE, scaled
from bayesnn.posterior.fused.compiling import inlined, inside, reordered
from bayesnn.posterior.fused.network import Problem, log_prior
from bayesnn.posterior.fused.packs import plain
from bayesnn.posterior.fused.products import NO_SLOPE, add_outer, put_products


class OutputLayer(NamedTuple):
    """What the kernel is told of the output layer and the rest, beside the problem; every array C-contiguous.

    Parameters
    ----------
    infers_noise : bool
        Whether the last coordinate is the log of the noise's standard deviation.
    noise_precision : float
        Of the noise, if it is known and the same for all rows; else 0.
    prior_precision, prior_mean : ndarray (m,)
        Of the coordinates that are kept: the hidden weights, then the log noise if it is inferred.
    out_precision, out_mean : ndarray (outputs, q)
        Of the output layer: for each output its weights from the last hidden units, then its bias.
    constant : float
        Part of the log density that no coordinate changes.
    inverse_temperature : float
        Power of the likelihood; in `noise_precision` and `constant` it is already.
    """

    infers_noise: bool
    noise_precision: float
    prior_precision: FloatArray
    prior_mean: FloatArray
    out_precision: FloatArray
    out_mean: FloatArray
    constant: float
    inverse_temperature: float


class Space(NamedTuple):
    """Where one thread works; all but the last four are flat.

    Parameters
    ----------
    hidden : ndarray (blocks * features * rows,)
        Values of the hidden units at all rows, each layer followed by a row of ones; after those of the last layer, or
        in place of them where there are no biases, come the targets. The way back begins when all rows have been seen.
    slopes : ndarray (blocks * features * rows,) or (0,)
        Their slopes, where their values do not tell them.
    features : ndarray ((q + outputs) * rows,)
        Last hidden units, ones and targets of one block, each over the noise of its row, where that varies.
    delta, next_delta : ndarray (widest * rows,)
        Derivatives by the sums of one layer, and of the layer before.
    moments : ndarray (q * (q + outputs),)
        Products of the features with each other and with the targets.
    pull : ndarray (units of the last layer * (q + outputs),)
        What each feature adds to the derivative by each unit.
    factors : ndarray (outputs, q, q)
        Lower Cholesky factor of A, for each output.
    means : ndarray (outputs, q)
        Of the output weights.
    squares : ndarray (outputs,)
        Of the targets over their noise, summed.
    column : ndarray (q,)
        Of an inverse.
    """

    hidden: FloatArray
    slopes: FloatArray
    features: FloatArray
    delta: FloatArray
    next_delta: FloatArray
    moments: FloatArray
    pull: FloatArray
    factors: FloatArray
    means: FloatArray
    squares: FloatArray
    column: FloatArray


@njit(nogil=True)
def space_for(problem: Problem, top: OutputLayer) -> Space:  # pragma: no cover -- compiled
    """Make room for one thread."""
    widths = problem.widths
    n_blocks, _, rows = problem.y.shape
    n_outputs, q = top.out_precision.shape
    units, widest = 0, 0
    for layer in range(1, len(widths) - 1):
        units += widths[layer] + 1
        widest = max(widest, widths[layer])
    last = widths[len(widths) - 2]
    units += q - last - 1 + n_outputs
    hidden = np.ones(n_blocks * units * rows)
    for block in range(n_blocks):
        end = (block + 1) * units * rows
        for o in range(n_outputs):
            hidden[end - (n_outputs - o) * rows : end - (n_outputs - o - 1) * rows] = problem.y[block, o]
        for feature in range(q - last + n_outputs):  # nothing beyond the data
            row = end - (feature + 1) * rows
            hidden[row + max(0, problem.n_rows - block * rows) : row + rows] = 0.0
    return Space(
        hidden,
        np.zeros(n_blocks * units * rows if problem.activation != TANH else 0),
        np.zeros((q + n_outputs) * rows),
        np.zeros(widest * rows),
        np.zeros(widest * rows),
        np.zeros(q * (q + n_outputs)),
        np.zeros(last * (q + n_outputs)),
        np.zeros((n_outputs, q, q)),
        np.zeros((n_outputs, q)),
        np.zeros(n_outputs),
        np.zeros(q),
    )


@inlined
def hidden_units(problem: Problem, weights: FloatArray, block: int, space: Space) -> int:  # pragma: no cover
    """Fill hidden units and slopes of one block, and return where those of the last layer begin."""
    widths, rows = problem.widths, problem.y.shape[2]
    first, nothing = plain(0), plain(0)
    unit = block * (len(space.hidden) // len(problem.y))
    inputs, at = problem.x, block * (widths[0] + 1) * rows
    last = unit
    for layer in range(len(widths) - 2):
        fan_in, fan_out = widths[layer], widths[layer + 1]
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
            space.hidden,
            unit,
            fan_out,
            rows,
            plain(NO_SLOPE),
            space.hidden,
            space.slopes,
            nothing,
        )
        activate(problem.activation, space.hidden, space.slopes, unit, fan_out * rows)
        inputs, at, last = space.hidden, unit, unit
        unit += (fan_out + 1) * rows
        first += fan_in * fan_out + (fan_out if problem.bias else 0)
    count = problem.n_rows - block * rows
    if count < rows:
        for j in range(widths[len(widths) - 2]):
            for r in range(count, rows):
                space.hidden[last + j * rows + r] = 0.0
    return last


@reordered
def weigh(
    values: FloatArray, at: int, inverse_sd: FloatArray, count: int, rows: int, features: FloatArray
) -> None:  # pragma: no cover -- compiled
    """Write so many features, each over the noise of its rows."""
    for j in range(count):
        for r in range(rows):
            features[j * rows + r] = values[at + j * rows + r] * inverse_sd[r]


@reordered
def sum_of_squares(values: FloatArray, at: int, rows: int) -> float:  # pragma: no cover -- compiled
    """Return the sum of the squares of one feature."""
    total = 0.0
    for r in range(at, at + rows):
        total += values[r] * values[r]
    return total


@inlined
def solve_outputs(top: OutputLayer, noise_precision: float, space: Space) -> float:  # pragma: no cover -- compiled
    """Factor and solve for each output's weights; return the log of the integral over them, up to the constant.

    NaN where a factor does not exist, or rounding leaves less of a pivot than the prior alone puts there: with features
    that are one another's multiples and next to no noise it may be 0, and minus its logarithm would be accepted.
    """
    n_outputs, q = top.out_precision.shape
    width, total = q + n_outputs, 0.0
    for o in range(n_outputs):
        factor, mean = space.factors[o], space.means[o]
        prior, centre = top.out_precision[o], top.out_mean[o]
        total -= 0.5 * noise_precision * space.squares[o]
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
                if i < j:
                    factor[j, i] = value / factor[i, i]
                else:
                    factor[j, j] = np.sqrt(value) if value > 0.5 * prior[j] else np.nan
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


@inside
def noise_precision_of(top: OutputLayer, coordinates: FloatArray) -> float:  # pragma: no cover -- compiled
    """Return what the features' products are multiplied with: no noise where these are over it already."""
    if top.infers_noise:
        return top.inverse_temperature * np.exp(-2.0 * coordinates[len(coordinates) - 1])
    return top.noise_precision if top.noise_precision > 0.0 else top.inverse_temperature


@inlined
def find_outputs(
    problem: Problem, top: OutputLayer, coordinates: FloatArray, space: Space
) -> float:  # pragma: no cover -- compiled
    """Go forward through all rows and solve for the output layer; return the log density without the kept prior."""
    n_outputs, q = top.out_precision.shape
    rows, width = problem.y.shape[2], q + n_outputs
    log_sd = float(coordinates[len(coordinates) - 1]) if top.infers_noise else 0.0
    varies, nothing = top.noise_precision == 0.0 and not top.infers_noise, plain(0)
    space.moments[:] = 0.0
    space.squares[:] = 0.0
    for block in range(len(problem.y)):
        last = hidden_units(problem, coordinates, block, space)
        features, at = space.hidden, last
        if varies:
            weigh(space.hidden, last, problem.inverse_sd[block], width, rows, space.features)
            features, at = space.features, nothing
        add_outer(features, at, q, features, at, width, rows, space.moments, nothing)
        for o in range(n_outputs):
            space.squares[o] += sum_of_squares(features, at + (q + o) * rows, rows)
    value = solve_outputs(top, noise_precision_of(top, coordinates), space)
    return value + top.constant - top.inverse_temperature * n_outputs * problem.n_rows * log_sd


@inlined
def find_pull(problem: Problem, top: OutputLayer, noise_precision: float, space: Space) -> float:  # pragma: no cover
    """Write how features and targets pull at each unit; return the effective number of output weights.

    The residuals are features times means less than the targets, so that they need not be there.
    """
    n_outputs, q = top.out_precision.shape
    width, units, column = q + n_outputs, problem.widths[len(problem.widths) - 2], space.column
    space.pull[:] = 0.0
    effective = float(n_outputs * q)
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
                    fit = space.means[o, j] * space.means[o, i]
                    space.pull[j * width + i] -= noise_precision * (column[i] + fit)
                space.pull[j * width + q + o] = noise_precision * space.means[o, j]
    return effective


@inside
def squared_residuals(top: OutputLayer, space: Space) -> float:  # pragma: no cover -- compiled
    """Return the sum of the squared residuals, by the moments."""
    n_outputs, q = top.out_precision.shape
    width, total = q + n_outputs, 0.0
    for o in range(n_outputs):
        mean = space.means[o]
        total += space.squares[o]
        for j in range(q):
            fit = 0.0
            for i in range(q):
                fit += space.moments[j * width + i] * mean[i]
            total += mean[j] * (fit - 2.0 * space.moments[j * width + q + o])
    return total


@reordered
def times_rows(values: FloatArray, factors: FloatArray, count: int, rows: int) -> None:  # pragma: no cover
    """Multiply each of so many features with a factor a row."""
    for j in range(count):
        for r in range(rows):
            values[j * rows + r] *= factors[r]


@inlined
def go_back(
    problem: Problem,
    weights: FloatArray,
    block: int,
    last: int,
    width: int,
    varies: bool,
    space: Space,
    gradient: FloatArray,
) -> None:  # pragma: no cover -- compiled
    """Add what one block gives to the gradient by the hidden weights."""
    widths, rows, bias = problem.widths, problem.y.shape[2], 1 if problem.bias else 0
    n_hidden, first, unit = len(widths) - 2, plain(0), last
    for layer in range(n_hidden - 1):
        first += (widths[layer] + bias) * widths[layer + 1]
    delta, spare = space.delta, space.next_delta
    features, at = space.hidden, last
    if varies:
        weigh(space.hidden, last, problem.inverse_sd[block], width, rows, space.features)
        features, at = space.features, plain(0)
    put_products(
        space.pull,
        plain(0),
        width,
        plain(1),
        plain(-1),
        features,
        at,
        width,
        delta,
        plain(0),
        widths[n_hidden],
        rows,
        problem.activation,
        space.hidden,
        space.slopes,
        unit,
    )
    if varies:
        times_rows(delta, problem.inverse_sd[block], widths[n_hidden], rows)
    for step in range(n_hidden):
        layer = n_hidden - 1 - step
        fan_in, fan_out = widths[layer], widths[layer + 1]
        inputs, at = problem.x, block * (fan_in + 1) * rows
        if layer > 0:
            unit -= (fan_in + 1) * rows
            inputs, at = space.hidden, unit
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
                space.hidden,
                space.slopes,
                unit,
            )
            delta, spare = spare, delta
            first -= (widths[layer - 1] + bias) * fan_in


@inlined
def collapsed_value_and_gradient_of(
    problem: Problem, top: OutputLayer, coordinates: FloatArray, with_gradient: bool, gradient: FloatArray, space: Space
) -> float:  # pragma: no cover -- compiled
    """Return the log density at coordinates (m,), and write its gradient (m,) where it is wanted."""
    n_outputs, q = top.out_precision.shape
    rows, width, end = problem.y.shape[2], q + n_outputs, len(coordinates) - 1
    value = find_outputs(problem, top, coordinates, space)
    if with_gradient:
        gradient[:] = 0.0
        noise_precision = noise_precision_of(top, coordinates)
        effective = find_pull(problem, top, noise_precision, space)
        varies = top.noise_precision == 0.0 and not top.infers_noise
        of_block = len(space.hidden) // len(problem.y)
        last_layer = (problem.widths[len(problem.widths) - 2] + width - q) * rows
        if problem.bias:
            last_layer += rows
        for block in range(len(problem.y)):
            go_back(problem, coordinates, block, (block + 1) * of_block - last_layer, width, varies, space, gradient)
        if top.infers_noise:
            counted = top.inverse_temperature * n_outputs * problem.n_rows
            gradient[end] = noise_precision * squared_residuals(top, space) - counted + effective
    return value + log_prior(coordinates, top.prior_precision, top.prior_mean, with_gradient, gradient)


@njit(cache=True, error_model="numpy", nogil=True)
def run_collapsed(
    task: int,
    problem: Problem,
    top: OutputLayer,
    coordinates: FloatArray,
    values: FloatArray,
    gradients: FloatArray,
    momenta: FloatArray,
    scale: FloatArray,
    transposed: FloatArray,
    step_sizes: FloatArray,
    n_steps: int,
    means: FloatArray,
    factors: FloatArray,
) -> None:  # pragma: no cover -- compiled
    """Write log densities (chains,) at coordinates (chains, m), and what the task asks for.

    `VALUE` asks for means (chains, outputs, q) and factors of the laws of the output weights, `GRADIENT` for gradients
    (chains, m); for `LEAPFROG` coordinates, standard momenta and gradients (chains, m) advance in place first. What a
    task does not take may be empty.
    """
    space = space_for(problem, top)
    for chain in range(len(coordinates)):
        w, g = coordinates[chain], gradients[chain if task != VALUE else 0]
        r, h = (momenta[chain], step_sizes[chain]) if task == LEAPFROG else (g, 0.0)
        if task == LEAPFROG:
            scaled(transposed, g, 0.5 * h, r)
        for step in range(n_steps):
            if task == LEAPFROG:
                scaled(scale, r, h, w)
            values[chain] = collapsed_value_and_gradient_of(problem, top, w, task != VALUE, g, space)
            if not np.isfinite(values[chain]):
                break  # nothing is accepted from here
            if task == LEAPFROG:
                scaled(transposed, g, 0.5 * h if step == n_steps - 1 else h, r)
        if task == VALUE:
            means[chain] = space.means
            factors[chain] = space.factors


@njit(cache=True, error_model="numpy", nogil=True, parallel=True)
def run_collapsed_shared(
    parts: int,
    task: int,
    problem: Problem,
    top: OutputLayer,
    coordinates: FloatArray,
    values: FloatArray,
    gradients: FloatArray,
    momenta: FloatArray,
    scale: FloatArray,
    transposed: FloatArray,
    step_sizes: FloatArray,
    n_steps: int,
    means: FloatArray,
    factors: FloatArray,
) -> None:  # pragma: no cover -- compiled
    """Do the same, chains shared out over so many threads."""
    n = len(coordinates)
    for part in prange(parts):
        chains = slice(n * part // parts, n * (part + 1) // parts)
        run_collapsed(
            task,
            problem,
            top,
            coordinates[chains],
            values[chains],
            gradients[chains] if task != VALUE else gradients,
            momenta[chains],
            scale,
            transposed,
            step_sizes[chains],
            n_steps,
            means[chains],
            factors[chains],
        )
