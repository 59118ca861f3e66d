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

import numpy as np
from numba import njit, prange

from bayesnn.arrays import FloatArray
from bayesnn.posterior.fused.activations import activate
from bayesnn.posterior.fused.chains import LEAPFROG, VALUE, scaled
from bayesnn.posterior.fused.compiling import inlined, reordered
from bayesnn.posterior.fused.network import Problem, log_prior
from bayesnn.posterior.fused.output_layer import (
    OutputLayer,
    Space,
    find_pull,
    noise_precision_of,
    solve_outputs,
    space_for,
    squared_residuals,
)
from bayesnn.posterior.fused.packs import plain
from bayesnn.posterior.fused.products import NO_SLOPE, add_outer, put_products


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
