"""Log likelihoods of the fused kernel, a block of rows at a time.

Each turns the outputs of a block into their own derivatives, in place, and returns the log likelihood without the part
that no output changes.
"""

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.posterior.fused.compiling import reordered

GAUSSIAN, INFERRED, HETEROSCEDASTIC, STUDENT_T, BERNOULLI, CATEGORICAL, POISSON = range(7)


@reordered
def gaussian(out: FloatArray, y: FloatArray, inverse_sd: FloatArray, rows: int) -> float:  # pragma: no cover
    """One inverse standard deviation a row."""
    total = 0.0
    for o in range(len(out)):
        f, target = out[o], y[o]
        for r in range(rows):
            scaled = (target[r] - f[r]) * inverse_sd[r]
            total += scaled * scaled
            f[r] = scaled * inverse_sd[r]
    return -0.5 * total


@reordered
def inferred(
    out: FloatArray, y: FloatArray, log_sd: float, rows: int
) -> tuple[float, float]:  # pragma: no cover -- compiled
    """One standard deviation, a coordinate: also the derivative by its log."""
    precision, total = np.exp(-2.0 * log_sd), 0.0
    for o in range(len(out)):
        f, target = out[o], y[o]
        for r in range(rows):
            residual = target[r] - f[r]
            total += residual * residual
            f[r] = precision * residual
    count = len(out) * rows
    return -0.5 * precision * total - count * log_sd, precision * total - count


@reordered
def heteroscedastic(out: FloatArray, y: FloatArray, rows: int) -> float:  # pragma: no cover -- compiled
    """Mean and log standard deviation."""
    mean, log_sd, target, total = out[0], out[1], y[0], 0.0
    for r in range(rows):
        precision, residual = np.exp(-2.0 * log_sd[r]), target[r] - mean[r]
        square = precision * residual * residual
        total -= 0.5 * square + log_sd[r]
        mean[r] = precision * residual
        log_sd[r] = square - 1.0
    return total


@reordered
def student_t(out: FloatArray, y: FloatArray, df: float, scale: float, rows: int) -> float:  # pragma: no cover
    """Degrees of freedom and scale."""
    total = 0.0
    for o in range(len(out)):
        f, target = out[o], y[o]
        for r in range(rows):
            z = (target[r] - f[r]) / scale
            total += np.log1p(z * z / df)
            f[r] = (df + 1.0) * z / (scale * (df + z * z))
    return -0.5 * (df + 1.0) * total


@reordered
def bernoulli(out: FloatArray, y: FloatArray, rows: int) -> float:  # pragma: no cover -- compiled
    """Logits."""
    total = 0.0
    for o in range(len(out)):
        f, target = out[o], y[o]
        for r in range(rows):
            against = (1.0 - 2.0 * target[r]) * f[r]
            small = np.exp(-abs(against))
            total -= np.log1p(small) + (against if against > 0.0 else 0.0)
            wrong = (1.0 if against > 0.0 else small) / (1.0 + small)
            f[r] = (2.0 * target[r] - 1.0) * wrong if against == against else against
    return total


@reordered
def categorical(out: FloatArray, y: FloatArray, rows: int) -> float:  # pragma: no cover -- compiled
    """One logit a class."""
    total = 0.0
    for r in range(rows):
        largest = out[0, r]
        for o in range(1, len(out)):
            largest = max(largest, out[o, r])
        label, mass = int(y[0, r]), 0.0
        total += out[label, r] - largest
        for o in range(len(out)):
            out[o, r] = np.exp(out[o, r] - largest)
            mass += out[o, r]
        total -= np.log(mass)
        for o in range(len(out)):
            out[o, r] = (1.0 if o == label else 0.0) - out[o, r] / mass
    return total


@reordered
def poisson(out: FloatArray, y: FloatArray, rows: int) -> float:  # pragma: no cover -- compiled
    """Log rates."""
    total = 0.0
    for o in range(len(out)):
        f, target = out[o], y[o]
        for r in range(rows):
            rate = np.exp(f[r])
            total += target[r] * f[r] - rate
            f[r] = target[r] - rate
    return total
