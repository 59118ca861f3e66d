"""Levenberg-Marquardt: the linearized iteration, damped so that it converges."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.factor import PrecisionFactor, factor_gram, factor_rows
from bayesnn.optimum.descent import Descent
from bayesnn.optimum.status import Status
from bayesnn.posterior import Linearization, Posterior

# First damping, relative to the diagonal of the curvature (Nielsen 1999 suggests 1e-6 .. 1 by trust in the start).
FIRST_DAMPING = 1e-2
SMALLEST_DAMPING = 1e-15
LARGEST_DAMPING = 1e16
# Share of the promised gain below which a step is not kept (Nocedal & Wright 2006, algorithm 4.1, eta).
LEAST_GAIN = 1e-4
# Posterior standard deviations from the mode, by the GGN, within which the exact Hessian takes over.
NEWTON_WITHIN = 1.0


@np.errstate(over="ignore", invalid="ignore")
def levenberg_marquardt(
    posterior: Posterior,
    start: FloatArray,
    max_steps: int = 1000,
    tolerance: float = 1e-6,
    on_step: Callable[[FloatArray], None] | None = None,
) -> Descent:
    r"""Climb to a mode by damped linearized steps.

    Each step solves :math:`(C + \lambda D)\,\delta = g`, `g` the gradient of the log density, `C` its curvature, `D`
    the largest diagonal of the GGN met so far (Moré 1978), and is kept if the log density rises by a fair part of what
    the quadratic model promised; `lambda` follows the gain ratio (Nielsen 1999). Far from the mode `C` is the GGN
    :math:`B'\Lambda B + P_0`; within one posterior standard deviation it is the exact Hessian wherever that is
    positive definite, for there the GGN converges linearly, and slowly where residuals are large and the network bends.
    The system is solved by Cholesky where conditioning allows and by QR of the stacked rows
    :math:`[\Lambda^{1/2}B; \sqrt{P_0}; \sqrt{\lambda D}]` where not (Nocedal & Wright 2006, section 10.3).

    Parameters
    ----------
    posterior : Posterior
        The target.
    start : ndarray (k,)
        Where to begin.
    max_steps : int
        Steps tried at most.
    tolerance : float
        Converged when the Newton decrement, the distance to the mode in posterior standard deviations, is
        below this.
    on_step : callable, optional
        Called with the weights (k,) after every step that was kept.

    Returns
    -------
    Descent
        `status` is ``converged``, ``max_steps``, ``stalled``, ``nonfinite`` or ``rank_deficient``.
    """
    weights = np.array(start, dtype=np.float64)
    here = posterior.linearize(weights)
    if not (np.isfinite(here.log_density) and np.isfinite(here.ggn).all()):
        return Descent(weights, here.log_density, np.inf, Status.nonfinite, 0)
    damping, growth = FIRST_DAMPING, 2.0
    scale = np.diag(here.ggn).copy()
    local = _local_model(posterior, weights, here)
    for n_steps in range(max_steps):
        if local.decrement <= tolerance:
            status = Status.converged if local.factor.is_full_rank else Status.rank_deficient
            return Descent(weights, here.log_density, local.decrement, status, n_steps)
        if damping > LARGEST_DAMPING:
            return Descent(weights, here.log_density, local.decrement, Status.stalled, n_steps)
        extra = damping * np.where(scale > 0, scale, 1.0)
        step = _damped(posterior, weights, local, extra).solve(here.gradient)
        promised = 0.5 * float(step @ (extra * step + here.gradient))
        reached = float(posterior.log_density(weights + step))
        gain = (reached - here.log_density) / promised if np.isfinite(reached) else -np.inf
        # Rounding in a sum of n terms hides gains this small; a smaller gradient decides then.
        hidden = 4.0 * np.finfo(float).eps * (abs(here.log_density) + posterior.n_rows)
        if promised <= hidden and reached >= here.log_density - hidden:
            there = posterior.linearize(weights + step)
            if gradient_length(local.factor, there) >= local.decrement:
                status = Status.converged if local.decrement <= np.sqrt(2.0 * hidden) else Status.stalled
                return Descent(weights, here.log_density, local.decrement, status, n_steps + 1)
            gain = 1.0
        elif gain > LEAST_GAIN:
            there = posterior.linearize(weights + step)
        else:
            damping, growth = damping * growth, growth * 2.0
            continue
        weights, here = weights + step, there
        if on_step is not None:
            on_step(weights)
        scale = np.maximum(scale, np.diag(here.ggn))
        local = _local_model(posterior, weights, here)
        damping = max(damping * max(1.0 / 3.0, 1.0 - (2.0 * gain - 1.0) ** 3), SMALLEST_DAMPING)
        growth = 2.0
    return Descent(weights, here.log_density, local.decrement, Status.max_steps, max_steps)


@dataclass(frozen=True)
class _LocalModel:
    """The curvature in use at one point, its factor, and the distance to the mode it implies."""

    curvature: FloatArray
    factor: PrecisionFactor
    decrement: float
    is_ggn: bool


def _local_model(posterior: Posterior, weights: FloatArray, here: Linearization) -> _LocalModel:
    factor = posterior.factor_ggn(weights, here.ggn)
    decrement = gradient_length(factor, here)
    if decrement < NEWTON_WITHIN and factor.is_full_rank:
        hessian = posterior.hessian(weights, here.ggn)
        exact = factor_gram(hessian)
        if exact is not None:
            return _LocalModel(hessian, exact, gradient_length(exact, here), is_ggn=False)
    return _LocalModel(here.ggn, factor, decrement, is_ggn=True)


def _damped(posterior: Posterior, weights: FloatArray, local: _LocalModel, extra: FloatArray) -> PrecisionFactor:
    factor = factor_gram(local.curvature + np.diag(extra))
    if factor is not None:
        return factor
    if not local.is_ggn:
        return local.factor  # positive definite and well conditioned by itself: damping this small is none
    blocks = itertools.chain(posterior.scaled_rows(weights), [np.diag(np.sqrt(extra))])
    return factor_rows(blocks, posterior.n_weights)


def gradient_length(factor: PrecisionFactor, here: Linearization) -> float:
    """Return the gradient's length in the metric of a curvature, over the informed directions if that is singular."""
    if factor.is_full_rank:
        return float(np.linalg.norm(factor.half_solve(here.gradient)))
    values, directions = np.linalg.eigh(here.ggn)
    kept = values > len(values) * np.finfo(float).eps * values[-1]
    return float(np.linalg.norm((directions[:, kept].T @ here.gradient) / np.sqrt(values[kept])))
