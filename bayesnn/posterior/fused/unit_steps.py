r"""Metropolis steps of single hidden units, the output layer integrated out, compiled.

A step proposes other incoming weights for one unit of the last hidden layer. All other units stay as they are, so that
one column of :math:`H`, and one row of :math:`H'WH`, are new: a step costs far less than a gradient.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from bayesnn.arrays import AnyArray, BoolArray, FloatArray, IntArray
from bayesnn.posterior.fused.activations import activate
from bayesnn.posterior.fused.collapsed import find_outputs
from bayesnn.posterior.fused.compiling import inlined, reordered
from bayesnn.posterior.fused.network import Problem
from bayesnn.posterior.fused.output_layer import OutputLayer, Space, noise_precision_of, solve_outputs, space_for
from bayesnn.posterior.fused.packs import plain
from bayesnn.posterior.fused.products import NO_SLOPE, add_outer, put_products
from bayesnn.posterior.unit_steps import UnitSteps


class Trial(NamedTuple):
    """Where one thread tries.

    Parameters
    ----------
    weights : ndarray (fan in + bias,)
        Of the unit.
    unit, weighed, slopes : ndarray (blocks * rows,)
        Its values at all rows, and these over the variance of each row's noise, where that varies.
    row, former : ndarray (q + outputs,)
        Of the features' products: that of the unit's new values, and that of its old ones.
    """

    weights: FloatArray
    unit: FloatArray
    weighed: FloatArray
    slopes: FloatArray
    row: FloatArray
    former: FloatArray


@reordered
def over_variance(
    values: FloatArray, at: int, inverse_sd: FloatArray, rows: int, weighed: FloatArray
) -> None:  # pragma: no cover -- compiled
    """Write values over the variance of their rows."""
    for r in range(rows):
        weighed[at + r] = values[at + r] * inverse_sd[r] * inverse_sd[r]


@inlined
def place_row(moments: FloatArray, j: int, row: FloatArray) -> None:  # pragma: no cover -- compiled
    """Put one feature's products with all features and targets (q + outputs,) into their matrix."""
    width = len(row)
    for i in range(width):
        moments[j * width + i] = row[i]
    for i in range(len(moments) // width):
        moments[i * width + j] = row[i]


@inlined
def put_unit(
    problem: Problem, j: int, varies: bool, at_features: int, space: Space, trial: Trial
) -> None:  # pragma: no cover -- compiled
    """Fill a unit's values at all rows, and their products with all features and targets."""
    widths, rows, n_blocks = problem.widths, problem.y.shape[2], len(problem.y)
    fan_in, of_block = widths[len(widths) - 3], len(space.hidden) // n_blocks
    width, nothing, one = len(trial.row), plain(0), plain(1)
    trial.row[:] = 0.0
    square = 0.0
    for block in range(n_blocks):
        features, at = block * of_block + at_features, block * rows
        inputs, begin = problem.x, block * (fan_in + 1) * rows
        if len(widths) > 3:
            inputs, begin = space.hidden, features - (fan_in + 1) * rows
        starts = plain(fan_in) if problem.bias else plain(-1)
        put_products(
            trial.weights,
            nothing,
            one,
            one,
            starts,
            inputs,
            begin,
            fan_in,
            trial.unit,
            at,
            one,
            rows,
            plain(NO_SLOPE),
            space.hidden,
            space.slopes,
            nothing,
        )
        activate(problem.activation, trial.unit, trial.slopes, at, rows)
        for r in range(max(0, problem.n_rows - block * rows), rows):
            trial.unit[at + r] = 0.0
        weighed = trial.unit
        if varies:
            over_variance(trial.unit, at, problem.inverse_sd[block], rows, trial.weighed)
            weighed = trial.weighed
        add_outer(weighed, at, one, space.hidden, features, width, rows, trial.row, nothing)
        for r in range(at, at + rows):
            square += weighed[r] * trial.unit[r]
    trial.row[j] = square


@inlined
def step_units(
    problem: Problem,
    top: OutputLayer,
    coordinates: FloatArray,
    units: IntArray,
    is_fresh: BoolArray,
    moves: FloatArray,
    thresholds: FloatArray,
    accepted: BoolArray,
    space: Space,
    trial: Trial,
) -> float:  # pragma: no cover -- compiled
    """Try steps of one chain one after the other, and return what its log density has changed by."""
    widths, rows, n_blocks = problem.widths, problem.y.shape[2], len(problem.y)
    n_layers, bias = len(widths) - 1, 1 if problem.bias else 0
    fan_in, fan_out = widths[n_layers - 2], widths[n_layers - 1]
    first = 0
    for layer in range(n_layers - 2):
        first += (widths[layer] + bias) * widths[layer + 1]
    n_outputs = len(top.out_precision)
    of_block = len(space.hidden) // n_blocks
    at_features = of_block - (fan_out + bias + n_outputs) * rows
    varies = top.noise_precision == 0.0 and not top.infers_noise
    noise_precision = noise_precision_of(top, coordinates)
    value, gained = find_outputs(problem, top, coordinates, space), 0.0
    # the part that the noise alone decides
    rest = value - solve_outputs(top, noise_precision, space)
    for step in range(len(units)):
        j, prior = units[step], 0.0
        for i in range(fan_in + bias):
            place = first + i * fan_out + j
            before, mean, precision = coordinates[place], top.prior_mean[place], top.prior_precision[place]
            after = moves[step, i] if is_fresh[step] else before + moves[step, i]
            trial.weights[i] = after
            prior += 0.5 * precision * ((before - mean) ** 2 - (after - mean) ** 2)
        put_unit(problem, j, varies, at_features, space, trial)
        for i in range(len(trial.row)):
            trial.former[i] = space.moments[j * len(trial.row) + i]
        place_row(space.moments, j, trial.row)
        new = rest + solve_outputs(top, noise_precision, space)
        # A draw from the prior is weighed by the likelihood alone; NaN is never accepted.
        accepted[step] = new - value + (0.0 if is_fresh[step] else prior) > thresholds[step]
        if accepted[step]:
            gained += new - value + prior
            value = new
            for i in range(fan_in + bias):
                coordinates[first + i * fan_out + j] = trial.weights[i]
            for block in range(n_blocks):
                to = block * of_block + at_features + j * rows
                for r in range(rows):
                    space.hidden[to + r] = trial.unit[block * rows + r]
        else:
            place_row(space.moments, j, trial.former)
    return gained


@njit(cache=True, error_model="numpy", nogil=True)
def run_unit_steps(
    problem: Problem,
    top: OutputLayer,
    coordinates: FloatArray,
    values: FloatArray,
    steps: UnitSteps,
    accepted: AnyArray,
) -> None:  # pragma: no cover -- compiled
    """Move units of all chains, coordinates (chains, m) and log densities (chains,) in place."""
    space = space_for(problem, top)
    n_outputs, q = top.out_precision.shape
    n = len(problem.y) * problem.y.shape[2]
    trial = Trial(
        np.zeros(steps.moves.shape[2]),
        np.zeros(n),
        np.zeros(n),
        np.zeros(n),
        np.zeros(q + n_outputs),
        np.zeros(q + n_outputs),
    )
    for chain in range(len(coordinates)):
        values[chain] += step_units(
            problem,
            top,
            coordinates[chain],
            steps.units[chain],
            steps.is_fresh[chain],
            steps.moves[chain],
            steps.thresholds[chain],
            accepted[chain],
            space,
            trial,
        )


@njit(cache=True, error_model="numpy", nogil=True, parallel=True)
def run_unit_steps_shared(
    parts: int,
    problem: Problem,
    top: OutputLayer,
    coordinates: FloatArray,
    values: FloatArray,
    steps: UnitSteps,
    accepted: AnyArray,
) -> None:  # pragma: no cover -- compiled
    """Do the same, chains shared out over so many threads."""
    n = len(coordinates)
    for part in prange(parts):
        chains = slice(n * part // parts, n * (part + 1) // parts)
        run_unit_steps(
            problem,
            top,
            coordinates[chains],
            values[chains],
            UnitSteps(steps.units[chains], steps.is_fresh[chains], steps.moves[chains], steps.thresholds[chains]),
            accepted[chains],
        )
