"""Metrics: the linear map from standard normal momenta to moves of the weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import finite_array, one_of
from bayesnn.errors import ArgumentError
from bayesnn.factor import PrecisionFactor, factor_gram
from bayesnn.laplace import Laplace
from bayesnn.posterior import Posterior
from bayesnn.sampling.marginal import Marginal
from bayesnn.sampling.target import Target

METRICS = ("averaged", "laplace", "diagonal", "unit")


@dataclass(frozen=True, eq=False)
class Metric:
    """An inverse mass matrix, kept as a scale `S` with ``S S'`` that matrix.

    Parameters
    ----------
    scale : ndarray (k, k) or (k,)
        `S`, upper or lower triangular; one axis for a diagonal metric.
    name : str
        Where it comes from.
    """

    scale: FloatArray
    name: str = "given"

    @property
    def size(self) -> int:
        """Number of weights, k."""
        return self.scale.shape[0]

    @property
    def inverse_mass_matrix(self) -> FloatArray:
        """``S S'``: (k, k), or (k,) for a diagonal metric."""
        return self.scale**2 if self.scale.ndim == 1 else self.scale @ self.scale.T

    def move(self, momenta: FloatArray) -> FloatArray:
        """Displacement of the weights (chains, k) for standard momenta, ``S r``."""
        return momenta * self.scale if self.scale.ndim == 1 else momenta @ self.scale.T

    def whiten(self, deviations: FloatArray) -> FloatArray:
        """Turn deviations (chains, k) into the momenta's coordinates, ``S^-1 d``; `S` is triangular or diagonal."""
        if self.scale.ndim == 1:
            return deviations / self.scale
        # The factors at hand are lower (Cholesky of a covariance) or upper (inverse of a precision's) triangular.
        is_lower = not np.triu(self.scale, 1).any()
        return solve_triangular(self.scale, deviations.T, lower=is_lower, check_finite=False).T

    def without_correlations(self, name: str) -> "Metric":
        """Return the metric of the precision's diagonal alone."""
        if self.scale.ndim == 1:
            return self
        inverse = self.whiten(np.eye(self.size)).T  # S^-1; the precision is S^-T S^-1
        return Metric(1.0 / np.sqrt((inverse**2).sum(axis=0)), name)

    def pull(self, gradients: FloatArray) -> FloatArray:
        """Gradient in the momenta's coordinates (chains, k), ``S' g``."""
        return gradients * self.scale if self.scale.ndim == 1 else gradients @ self.scale


def metric_from_inverse_mass_matrix(inverse_mass_matrix: ArrayLike) -> Metric:
    """Make a metric from an inverse mass matrix, an estimate of the posterior covariance.

    Parameters
    ----------
    inverse_mass_matrix : array_like (k, k) or (k,)
        Covariance, or variances.

    Returns
    -------
    Metric

    Raises
    ------
    ArgumentError
        If it is not symmetric positive definite.

    Examples
    --------
    >>> metric_from_inverse_mass_matrix([1.0, 4.0]).scale
    array([1., 2.])
    """
    wants = "symmetric positive definite (k, k), or positive (k,)"
    matrix = finite_array("inverse_mass_matrix", inverse_mass_matrix, (1, 2), wants)
    if matrix.ndim == 1:
        if not np.all(matrix > 0):
            raise ArgumentError("inverse_mass_matrix", f"least variance {matrix.min():g}", wants)
        return Metric(np.sqrt(matrix))
    if matrix.shape[0] != matrix.shape[1]:
        raise ArgumentError("inverse_mass_matrix", f"shape {matrix.shape}", wants)
    scale = np.sqrt(np.abs(np.diag(matrix)))
    if np.any(np.abs(matrix - matrix.T) > 1e-8 * np.outer(scale, scale)):
        raise ArgumentError("inverse_mass_matrix", f"shape {matrix.shape}, not symmetric", wants)
    try:
        return Metric(np.linalg.cholesky(matrix))
    except np.linalg.LinAlgError:
        raise ArgumentError("inverse_mass_matrix", "a matrix that is not positive definite", wants) from None


def first_metric(name: str, laplace: Laplace | Target, marginal: Marginal | None = None) -> Metric:
    """Return the metric to begin with: what `name` asks for, as far as the optimum can tell.

    Of several optima their precisions are averaged, as ``"averaged"`` does over the chains. Where no optimum is known
    the curvature is averaged over the starts; the unit metric where that has no factor.

    Parameters
    ----------
    name : str
        One of ``METRICS``.
    laplace : Laplace or Target
        Whose curvature.
    marginal : Marginal, optional
        Of whose coordinates, if not of all.

    Returns
    -------
    Metric

    Raises
    ------
    ArgumentError
        If `name` is unknown, or ``"laplace"`` where there is none.
    """
    one_of("metric", name, METRICS)
    unit = Metric(np.ones(laplace.n_weights if marginal is None else len(marginal.kept)), "unit")
    if name == "unit":
        return unit
    if isinstance(laplace, Target) and not laplace.laplaces:
        if name == "laplace":
            others = "', '".join(other for other in METRICS if other != name)
            raise ArgumentError(
                "metric", f"{name!r} for a Posterior without one", f"'{others}', or a Laplace as target"
            )
        assert laplace.starts is not None
        return averaged_metric(name, laplace.posterior, list(laplace.starts), marginal) or unit
    if marginal is not None:
        precision = marginal.precision_of(laplace.posterior_precision)
        factor = None if name == "diagonal" else factor_gram(precision)
        if factor is not None:
            return Metric(factor.scale, "laplace")
        return Metric(1.0 / np.sqrt(np.diag(precision)), "diagonal at the optimum")
    if name == "diagonal":
        return Metric(1.0 / np.sqrt(np.diag(laplace.posterior_precision)), "diagonal at the optimum")
    return Metric(laplace.factor.scale, "laplace")


def averaged_metric(
    name: str,
    posterior: Posterior,
    points: Sequence[FloatArray],
    marginal: Marginal | None = None,
    inverse_temperature: float = 1.0,
) -> Metric | None:
    r"""Return the metric of the GGN averaged over points the chains visited.

    :math:`E[B'\Lambda B] + P_0` is the expected Fisher information under the posterior plus the prior precision, the
    preconditioner of Titsias (2023), Optimal preconditioning and Fisher adaptive Langevin sampling, section 3. It
    remains good where the posterior bends and the curvature at one point misleads.

    Parameters
    ----------
    name : {"averaged", "diagonal"}
        Whether to keep the whole matrix or its diagonal.
    posterior : Posterior
        The target.
    points : sequence of ndarray (k,)
        Where to linearize.
    marginal : Marginal, optional
        Of whose coordinates, if not of all: what is left of each GGN for them alone is averaged.
    inverse_temperature : float
        Power of the likelihood.

    Returns
    -------
    Metric or None
        None if no point has finite curvature, or the average cannot be factored.
    """
    size = posterior.n_weights if marginal is None else len(marginal.kept)
    total, n_used = np.zeros((size, size)), 0
    for point in points:
        ggn = posterior.ggn(point)
        if inverse_temperature != 1.0:
            ggn = inverse_temperature * ggn + (1.0 - inverse_temperature) * np.diag(posterior.prior_precision)
        if np.isfinite(ggn).all():
            total, n_used = total + (ggn if marginal is None else marginal.precision_of(ggn)), n_used + 1
    if n_used == 0:
        return None
    average = total / n_used
    if name == "diagonal":
        return Metric(1.0 / np.sqrt(np.diag(average)), "diagonal averaged over the chains")
    factor: PrecisionFactor | None = factor_gram(average)
    return None if factor is None else Metric(factor.scale, "averaged over the chains")
