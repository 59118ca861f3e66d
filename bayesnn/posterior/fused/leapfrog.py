"""Whole leapfrog trajectories in compiled code: one call a chain and draw, however many gradients it takes."""

import numpy as np
from numba import njit, prange

from bayesnn.arrays import FloatArray
from bayesnn.posterior.fused.network import Problem, room_for, value_and_gradient_of
from bayesnn.posterior.fused.products import FAST


@njit(cache=True, error_model="numpy", fastmath=FAST, nogil=True)
def scaled(matrix: FloatArray, vector: FloatArray, factor: float, total: FloatArray) -> None:  # pragma: no cover
    """Add ``factor * matrix @ vector`` to `total`; a matrix (1, k) stands for a diagonal."""
    if len(matrix) == 1 and len(total) > 1:
        row = matrix[0]
        for i in range(len(total)):
            total[i] += factor * row[i] * vector[i]
    else:
        for i in range(len(total)):
            row, dot = matrix[i], 0.0
            for j in range(len(vector)):
                dot += row[j] * vector[j]
            total[i] += factor * dot


@njit(cache=True, error_model="numpy", nogil=True)
def leapfrog(
    problem: Problem,
    scale: FloatArray,
    transposed: FloatArray,
    step_sizes: FloatArray,
    n_steps: int,
    weights: FloatArray,
    momenta: FloatArray,
    values: FloatArray,
    gradients: FloatArray,
) -> None:  # pragma: no cover -- compiled
    """Advance weights, standard momenta (chains, k) and gradients in place; write the log densities (chains,)."""
    room = room_for(problem)
    for chain in range(len(weights)):
        w, r, g, h = weights[chain], momenta[chain], gradients[chain], step_sizes[chain]
        scaled(transposed, g, 0.5 * h, r)
        for step in range(n_steps):
            scaled(scale, r, h, w)
            values[chain] = value_and_gradient_of(problem, w, g, room)
            if not np.isfinite(values[chain]):
                break  # nothing is accepted from here
            scaled(transposed, g, 0.5 * h if step == n_steps - 1 else h, r)


@njit(cache=True, error_model="numpy", nogil=True, parallel=True)
def leapfrog_shared(
    problem: Problem,
    scale: FloatArray,
    transposed: FloatArray,
    step_sizes: FloatArray,
    n_steps: int,
    weights: FloatArray,
    momenta: FloatArray,
    values: FloatArray,
    gradients: FloatArray,
    parts: int,
) -> None:  # pragma: no cover -- compiled
    """Do the same, chains shared out over so many threads."""
    n = len(weights)
    for part in prange(parts):
        chains = slice(n * part // parts, n * (part + 1) // parts)
        leapfrog(
            problem,
            scale,
            transposed,
            step_sizes[chains],
            n_steps,
            weights[chains],
            momenta[chains],
            values[chains],
            gradients[chains],
        )
