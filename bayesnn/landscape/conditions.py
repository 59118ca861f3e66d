"""First- and second-order optimality at a point."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, positive_number
from bayesnn.errors import ArgumentError
from bayesnn.landscape.loss import LeastSquares, Loss, loss_of, point_of
from bayesnn.posterior import Posterior

# A step of this size, relative to the weights, is none: gradients that ask for no more count as zero, and so do
# eigenvalues that are this small beside the largest.
TOLERANCE = 1e-7
WANTS_SQUARES = "a LeastSquares, or a Posterior with Gaussian noise of a given size"


class Point(StrEnum):
    """What a point of a landscape is."""

    minimum = "minimum"
    strict_saddle = "strict saddle"
    degenerate = "degenerate critical point"
    not_critical = "not critical"


@dataclass(frozen=True, eq=False)
class Optimality:
    """First- and second-order conditions at a point.

    Parameters
    ----------
    value : float
        Loss there.
    gradient_norm : float
        Euclidean.
    least_eigenvalue, largest_eigenvalue : float
        Of the Hessian.
    direction : ndarray (k,)
        Unit eigenvector of the least eigenvalue.
    verdict : Point
        `minimum`: critical, and the Hessian positive definite. `strict saddle`: critical with negative curvature, a
        maximum included (Lee et al. 2016). `degenerate critical point`: critical, no negative curvature, but some that
        is zero: the second order does not tell a minimum from a saddle.
    """

    value: float
    gradient_norm: float
    least_eigenvalue: float
    largest_eigenvalue: float
    direction: FloatArray
    verdict: Point


def optimality(loss: Loss | Posterior, weights: ArrayLike, tolerance: float = TOLERANCE) -> Optimality:
    """Judge a point by gradient and Hessian.

    Parameters
    ----------
    loss : Loss or Posterior
        Of a posterior, minus its log density.
    weights : array_like (k,)
        Where.
    tolerance : float
        The gradient counts as zero where it is no longer than this share of the Hessian's norm times that of the
        weights, or 1; an eigenvalue where it is this share of the largest in size.

    Returns
    -------
    Optimality

    Raises
    ------
    ArgumentError
        If `weights` have another shape or are not finite, or the loss is not finite there.

    Examples
    --------
    >>> from bayesnn import DeepLinear
    >>> product = LeastSquares(DeepLinear((1, 1, 1)), [[1.0]], [1.0])
    >>> found = optimality(product, [0.0, 0.0])
    >>> found.verdict.value, round(found.least_eigenvalue, 12)
    ('strict saddle', -1.0)
    """
    loss, share = loss_of(loss), positive_number("tolerance", tolerance)
    w = point_of(loss, weights)
    value, gradient = loss.value_and_gradient(w)
    hessian = loss.hessian(w)
    if not (np.isfinite(value) and np.isfinite(gradient).all() and np.isfinite(hessian).all()):
        raise ArgumentError("weights", "a point where the loss is not finite", "one where it and its Hessian are")
    eigenvalues, directions = np.linalg.eigh(hessian)
    norm, size = float(np.linalg.norm(gradient)), float(np.abs(eigenvalues).max())
    least = float(eigenvalues[0])
    if norm > share * size * max(1.0, float(np.linalg.norm(w))):
        verdict = Point.not_critical
    elif least < -share * size:
        verdict = Point.strict_saddle
    else:
        verdict = Point.minimum if least > share * size else Point.degenerate
    return Optimality(value, norm, least, float(eigenvalues[-1]), directions[:, 0], verdict)


def polyak_of_jacobian(loss: LeastSquares | Posterior, weights: ArrayLike) -> float:
    r"""Polyak constant of a square loss from the Jacobian whose :math:`B'B` is the Laplace precision.

    For :math:`f = \frac12 |r|^2`, :math:`|\nabla f|^2 = r'BB'r \ge 2 \lambda_{\min}(BB') f`, and
    :math:`4 c \lambda_{\min}(BB')` for :math:`f = c |r|^2`: a bound at this point, positive only where there are no
    more targets than weights, so that the least value is 0 (or the constant).

    Parameters
    ----------
    loss : LeastSquares or Posterior
        Of a posterior with Gaussian noise, minus the log *likelihood*: a prior adds rows that no weights can fit.
    weights : array_like (k,)
        Where.

    Returns
    -------
    float

    Raises
    ------
    ArgumentError
        If the loss is not one of squares.

    Examples
    --------
    >>> from bayesnn import DeepLinear
    >>> product = LeastSquares(DeepLinear((1, 1, 1)), [[1.0]], [1.0])
    >>> round(polyak_of_jacobian(product, [2.0, 1.0]), 12)
    10.0
    """
    if isinstance(loss, Posterior):
        if loss.n_rows == 0 or not loss.likelihood.is_least_squares:
            raise ArgumentError("loss", describe(loss), WANTS_SQUARES)
        rows = np.concatenate(list(loss.likelihood_rows(point_of(loss_of(loss), weights))))
        factor = 0.5
    elif isinstance(loss, LeastSquares):  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
        w = point_of(loss, weights)
        rows, factor = loss.model.jacobian(w, loss.x).reshape(-1, loss.n_weights), loss.factor
    else:
        raise ArgumentError("loss", describe(loss), WANTS_SQUARES)
    if rows.shape[0] > rows.shape[1]:
        return 0.0
    singular = np.linalg.svd(rows, compute_uv=False)
    return 4.0 * factor * float(singular[-1]) ** 2
