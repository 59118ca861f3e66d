"""Where one run of an optimiser ended, and the optimisers of SciPy as alternatives to our own."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from scipy.optimize import minimize

from bayesnn.arrays import FloatArray
from bayesnn.factor import factor_gram
from bayesnn.memory import square_fits
from bayesnn.optimum.status import Status
from bayesnn.posterior import Posterior

SCIPY_METHODS = ("newton-cg", "l-bfgs")


@dataclass(frozen=True)
class Descent:
    """Where one run of an optimiser ended.

    Parameters
    ----------
    weights : ndarray (k,)
        The last point.
    log_density : float
        There.
    newton_decrement : float
        There, posterior standard deviations, in the metric of the curvature last in use.
    status : Status
        How the run ended.
    n_steps : int
        Accepted and rejected steps together.
    """

    weights: FloatArray
    log_density: float
    newton_decrement: float
    status: Status
    n_steps: int


@np.errstate(over="ignore", invalid="ignore")
def scipy_descent(
    posterior: Posterior, start: FloatArray, method: str, max_steps: int = 1000, tolerance: float = 1e-6
) -> Descent:
    """Climb to a mode with :func:`scipy.optimize.minimize`.

    Parameters
    ----------
    posterior : Posterior
        The target.
    start : ndarray (k,)
        Where to begin.
    method : {"newton-cg", "l-bfgs"}
        Newton-CG on the exact Hessian, or L-BFGS, which needs gradients alone.
    max_steps : int
        Iterations at most.
    tolerance : float
        Newton decrement that counts as converged, posterior standard deviations.

    Returns
    -------
    Descent
        ``converged`` by the Newton decrement and not by what SciPy says of itself; ``max_steps``, ``stalled`` or
        ``nonfinite`` otherwise. Where no matrix (k, k) fits into memory the decrement is not known, and infinite.
    """
    value, gradient = posterior.value_and_gradient(start)
    if not (np.isfinite(value) and np.isfinite(gradient).all()):
        return Descent(start.copy(), float(value), np.inf, Status.nonfinite, 0)

    def downhill(weights: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = posterior.value_and_gradient(weights)
        return (-float(value), -gradient) if np.isfinite(value) else (np.inf, np.zeros_like(weights))

    climb = cast("Any", minimize)  # the stubs know neither jac=True with a Hessian nor these options
    if method == "l-bfgs":
        options = {"maxiter": max_steps, "maxfun": 20 * max_steps, "ftol": 0.0, "gtol": 0.0}
        found = climb(downhill, start, jac=True, method="L-BFGS-B", options=options)
    else:
        options = {"maxiter": max_steps, "xtol": 1e-12}
        found = climb(downhill, start, jac=True, hess=posterior.hessian, method="Newton-CG", options=options)
    weights: FloatArray = np.asarray(found.x, dtype=np.float64)
    value, gradient = posterior.value_and_gradient(weights)
    decrement = np.inf
    if square_fits(posterior.n_weights):
        factor = factor_gram(posterior.hessian(weights)) or posterior.factor_ggn(weights)
        decrement = float(np.linalg.norm(factor.half_solve(gradient))) if factor.is_full_rank else np.inf
    if decrement <= tolerance:
        status = Status.converged
    else:
        status = Status.max_steps if int(found.nit) >= max_steps else Status.stalled
    return Descent(weights, float(value), decrement, status, int(found.nit))
