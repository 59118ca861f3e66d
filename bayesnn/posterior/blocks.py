"""What one block of rows adds to the log likelihood and its derivatives.

Functions of a module, not methods: they are handed to threads and to the workers of dask, with what they need and
no more.
"""

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.models import MLP, Model
from bayesnn.posterior.likelihood import Likelihood

type Sums = tuple[FloatArray, ...]


def value_of(model: Model, weights: FloatArray, likelihood: Likelihood, x: FloatArray, y: FloatArray) -> Sums:
    """Log likelihood (...)."""
    return (likelihood.log_density(model.predict(weights, x), y).sum(axis=-1),)


def gradient_of(model: Model, weights: FloatArray, likelihood: Likelihood, x: FloatArray, y: FloatArray) -> Sums:
    """Log likelihood (...) and its gradient (..., k)."""
    outputs, pullback = model.vjp(weights, x)
    return likelihood.log_density(outputs, y).sum(axis=-1), pullback(likelihood.gradient(outputs, y))


def linearization_of(model: Model, weights: FloatArray, likelihood: Likelihood, x: FloatArray, y: FloatArray) -> Sums:
    """Log likelihood (c,), gradient (c, k) and B'Lambda B (c, k, k) at weights (c, k)."""
    outputs, jacobian = model.linearize(weights, x)
    value = likelihood.log_density(outputs, y).sum(axis=-1)
    gradient = _pull_back(jacobian, likelihood.gradient(outputs, y))
    weight = likelihood.uniform_fisher
    if weight is None:
        return value, gradient, gram(likelihood.fisher_rows(outputs, jacobian))
    product = gram(jacobian.reshape(len(jacobian), -1, jacobian.shape[-1]))
    product *= weight
    return value, gradient, product


def hessian_of(model: Model, weights: FloatArray, likelihood: Likelihood, x: FloatArray, y: FloatArray) -> Sums:
    """Hessian (k, k) of the negative log likelihood, less B'Lambda B where that is part of it (canonical)."""
    if likelihood.is_canonical:
        outputs, first = model.predict(weights, x), 0.0
    else:
        outputs, jacobian = model.linearize(weights, x)
        turned = likelihood.observed_information(outputs, y) @ jacobian
        first = jacobian.reshape(-1, weights.size).T @ turned.reshape(-1, weights.size)
    second = model.hessian_product(weights, x, likelihood.gradient(outputs, y), np.eye(weights.size))
    return (np.asarray(first - second),)


def fisher_diagonal_of(model: Model, weights: FloatArray, likelihood: Likelihood, x: FloatArray, y: FloatArray) -> Sums:
    """Log likelihood () and diagonal (k,) of B'Lambda B."""
    if isinstance(model, MLP) and likelihood.has_diagonal_fisher:
        outputs, pull_squares = model.squared_vjp(weights, x)
        diagonal = pull_squares(np.diagonal(likelihood.fisher(outputs), axis1=-2, axis2=-1))
    else:
        outputs, jacobian = model.linearize(weights, x)
        rows = likelihood.fisher_rows(outputs, jacobian)
        diagonal = np.einsum("nk,nk->k", rows, rows)
    return likelihood.log_density(outputs, y).sum(axis=-1), diagonal


def fisher_grams_of(
    model: Model,
    weights: FloatArray,
    likelihood: Likelihood,
    x: FloatArray,
    y: FloatArray,
    *,
    places: tuple[slice, ...],
) -> Sums:
    """Blocks of B'Lambda B on its diagonal."""
    rows = likelihood.fisher_rows(*model.linearize(weights, x))
    return tuple(gram(rows[:, place]) for place in places)


def fisher_product_of(
    model: Model,
    weights: FloatArray,
    likelihood: Likelihood,
    x: FloatArray,
    y: FloatArray,
    *,
    columns: FloatArray,
) -> Sums:
    """B'Lambda B times columns (k, m)."""
    rows = likelihood.fisher_rows(*model.linearize(weights, x))
    return (rows.T @ (rows @ columns),)


def score_rows_of(
    model: Model, weights: FloatArray, likelihood: Likelihood, x: FloatArray, y: FloatArray
) -> FloatArray:
    """Gradients (n, k) of each row's log likelihood."""
    outputs, jacobian = model.linearize(weights, x)
    return np.einsum("no,nok->nk", likelihood.gradient(outputs, y), jacobian)


def scores_gram_of(model: Model, weights: FloatArray, likelihood: Likelihood, x: FloatArray, y: FloatArray) -> Sums:
    """Sum of outer products (k, k) of the rows' own gradients."""
    return (gram(score_rows_of(model, weights, likelihood, x, y)),)


def square_lengths_of(model: Model, weights: FloatArray, likelihood: Likelihood, x: FloatArray, y: FloatArray) -> Sums:
    """Square sums () of scaled residuals and of scaled targets."""
    residual = likelihood.scaled_residual(model.predict(weights, x), y)
    target = likelihood.scaled_residual(np.zeros_like(y), y)
    return np.asarray((residual**2).sum()), np.asarray((target**2).sum())


def gram(rows: FloatArray) -> FloatArray:
    """Return ``rows' rows`` (..., k, k); BLAS computes half of it."""
    return rows.swapaxes(-1, -2) @ rows


def _pull_back(jacobian: FloatArray, cotangent: FloatArray) -> FloatArray:
    """Return B'c (chains, k) of `jacobian` (chains, n, out, k), without moving it, and `cotangent` (chains, n, out)."""
    flat = jacobian.reshape(len(jacobian), -1, jacobian.shape[-1])
    return (cotangent.reshape(len(flat), 1, -1) @ flat)[:, 0]
