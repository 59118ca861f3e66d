"""The output layer given the hidden units, compiled: what is known of it, where it is solved for, and its pull on them.

The formulas are those of :mod:`bayesnn.posterior.fused.collapsed`.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from bayesnn.arrays import FloatArray
from bayesnn.posterior.fused.activations import TANH
from bayesnn.posterior.fused.compiling import inlined, inside
from bayesnn.posterior.fused.network import Problem


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


@inside
def noise_precision_of(top: OutputLayer, coordinates: FloatArray) -> float:  # pragma: no cover -- compiled
    """Return what the features' products are multiplied with: no noise where these are over it already."""
    if top.infers_noise:
        return top.inverse_temperature * np.exp(-2.0 * coordinates[len(coordinates) - 1])
    return top.noise_precision if top.noise_precision > 0.0 else top.inverse_temperature


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
