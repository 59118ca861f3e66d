"""What is done for each chain: its log density, the gradient too, or a whole leapfrog trajectory in one call.

One function does all of it, because Numba compiles what a function calls again for each that can be called from Python.
"""

import numpy as np
from numba import njit, prange

from bayesnn.arrays import FloatArray
from bayesnn.posterior.fused.compiling import reordered
from bayesnn.posterior.fused.network import Problem, room_for, value_and_gradient_of

VALUE, GRADIENT, LEAPFROG = range(3)


@reordered
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
def run_chains(
    task: int,
    problem: Problem,
    weights: FloatArray,
    values: FloatArray,
    gradients: FloatArray,
    momenta: FloatArray,
    scale: FloatArray,
    transposed: FloatArray,
    step_sizes: FloatArray,
    n_steps: int,
) -> None:  # pragma: no cover -- compiled
    """Write the log densities (chains,) and, but for `VALUE`, the gradients (chains, k) at weights (chains, k).

    For `LEAPFROG` weights, standard momenta (chains, k) and gradients advance in place by so many steps first. What a
    task does not take may be empty.
    """
    room = room_for(problem)
    for chain in range(len(weights)):
        w, g = weights[chain], gradients[chain if task != VALUE else 0]
        r, h = (momenta[chain], step_sizes[chain]) if task == LEAPFROG else (g, 0.0)
        if task == LEAPFROG:
            scaled(transposed, g, 0.5 * h, r)
        for step in range(n_steps):
            if task == LEAPFROG:
                scaled(scale, r, h, w)
            values[chain] = value_and_gradient_of(problem, w, task != VALUE, g, room)
            if not np.isfinite(values[chain]):
                break  # nothing is accepted from here
            if task == LEAPFROG:
                scaled(transposed, g, 0.5 * h if step == n_steps - 1 else h, r)


@njit(cache=True, error_model="numpy", nogil=True, parallel=True)
def run_chains_shared(
    parts: int,
    task: int,
    problem: Problem,
    weights: FloatArray,
    values: FloatArray,
    gradients: FloatArray,
    momenta: FloatArray,
    scale: FloatArray,
    transposed: FloatArray,
    step_sizes: FloatArray,
    n_steps: int,
) -> None:  # pragma: no cover -- compiled
    """Do the same, chains shared out over so many threads."""
    n = len(weights)
    for part in prange(parts):
        chains = slice(n * part // parts, n * (part + 1) // parts)
        run_chains(
            task,
            problem,
            weights[chains],
            values[chains],
            gradients[chains] if task != VALUE else gradients,
            momenta[chains],
            scale,
            transposed,
            step_sizes[chains],
            n_steps,
        )
