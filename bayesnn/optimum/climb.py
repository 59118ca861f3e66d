"""One run of Levenberg-Marquardt, a linearization at a time."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.factor import PrecisionFactor, factor_gram, factor_rows
from bayesnn.optimum.descent import Descent
from bayesnn.optimum.status import Status
from bayesnn.posterior import Linearization, Posterior

SMALLEST_DAMPING = 1e-15
LARGEST_DAMPING = 1e16
# First damping of a weight without a prior, relative to its curvature (Nielsen 1999 suggests 1e-6 .. 1 by trust in the
# start); with a prior, the geometric mean of curvature and prior precision takes its place.
FLAT_DAMPING = 1e-2
# Share of the promised gain below which a step is not kept (Nocedal & Wright 2006, algorithm 4.1, eta).
LEAST_GAIN = 1e-4
# Posterior standard deviations from the mode, by the GGN, within which the exact Hessian takes over.
NEWTON_WITHIN = 1.0


@dataclass(frozen=True)
class _LocalModel:
    """The curvature in use at one point, its factor, and the distance to the mode it implies."""

    curvature: FloatArray
    factor: PrecisionFactor
    decrement: float
    is_ggn: bool
    is_definite: bool = True


class Climb:
    """One run of Levenberg-Marquardt that asks for a linearization at a time.

    Whoever runs it linearizes the posterior at `trial` and hands the result to :meth:`advance`, until `end` is there.

    Parameters
    ----------
    posterior, start, max_steps, tolerance, on_step
        As :func:`levenberg_marquardt` takes them.
    """

    def __init__(
        self,
        posterior: Posterior,
        start: FloatArray,
        max_steps: int = 1000,
        tolerance: float = 1e-6,
        on_step: Callable[[FloatArray], None] | None = None,
    ) -> None:
        self.trial: FloatArray = np.array(start, dtype=np.float64)
        self.end: Descent | None = None
        self._posterior = posterior
        self._max_steps = max_steps
        self._tolerance = tolerance
        self._on_step = on_step
        self._weights = self.trial
        self._here: Linearization | None = None
        self._local: _LocalModel | None = None
        self._scale, self._metric = np.zeros_like(self.trial), np.ones_like(self.trial)
        self._damping, self._growth = 1.0, 2.0
        self._promised = 0.0
        self._n_steps = 0

    @property
    def has_begun(self) -> bool:
        """Whether the start, at least, has been found usable."""
        return self._local is not None

    def stop(self) -> Descent:
        """End where the run has come to."""
        self._finish(Status.max_steps)
        assert self.end is not None  # _finish has set it
        return self.end

    @np.errstate(over="ignore", invalid="ignore")
    def advance(self, there: Linearization) -> None:
        """Judge the trial by its linearization and propose the next one, or end."""
        if self._here is None or self._local is None:
            if not (np.isfinite(there.log_density) and np.isfinite(there.ggn).all()):
                self._here = there
                self._finish(Status.nonfinite)
                return
            self._move(there)
        elif not self._judge(self._here, self._local, there):
            return
        self._propose()

    def _judge(self, here: Linearization, local: _LocalModel, there: Linearization) -> bool:
        """Keep the trial or raise the damping; return whether the run goes on."""
        self._n_steps += 1
        gained = float(there.log_density - here.log_density)
        gain = gained / self._promised if np.isfinite(gained) else -np.inf
        # A smaller gradient decides where rounding hides the gain.
        hidden = hidden_gain(float(here.log_density), self._posterior.n_rows)
        if self._promised <= hidden and gained >= -hidden:
            if gradient_length(local.factor, there) >= local.decrement:
                near = local.is_definite and local.decrement <= np.sqrt(2.0 * hidden)
                self._finish(Status.converged if near else Status.stalled)
                return False
            gain = 1.0
        elif gain <= LEAST_GAIN:
            self._raise_damping()
            return True
        self._weights = self.trial
        self._move(there)
        if self._on_step is not None:
            self._on_step(self._weights)
        self._damping = max(self._damping * max(1.0 / 3.0, 1.0 - (2.0 * gain - 1.0) ** 3), SMALLEST_DAMPING)
        self._growth = 2.0
        return True

    def _move(self, there: Linearization) -> None:
        self._here = there
        self._scale = np.maximum(self._scale, there.ggn.diagonal())
        prior = self._posterior.prior_precision
        metric = np.where(prior > 0, np.sqrt(self._scale * prior), FLAT_DAMPING * self._scale)
        self._metric = np.where(metric > 0, metric, 1.0)
        self._local = _local_model(self._posterior, self._weights, there)

    def _propose(self) -> None:
        """Set the next trial, or end."""
        here, local = self._here, self._local
        assert here is not None  # advance has set both
        assert local is not None
        if local.decrement <= self._tolerance:
            full = Status.converged if local.factor.is_full_rank else Status.rank_deficient
            self._finish(full if local.is_definite else Status.saddle)
        elif self._n_steps >= self._max_steps:
            self._finish(Status.max_steps)
        else:
            while self._damping <= LARGEST_DAMPING:
                extra = self._damping * self._metric
                factor = _damped(self._posterior, self._weights, local, extra)
                if factor is not None:
                    step = factor.solve(here.gradient)
                    self._promised = 0.5 * float(step @ (extra * step + here.gradient))
                    self.trial = self._weights + step
                    return
                self._raise_damping()
            self._finish(Status.stalled)

    def _raise_damping(self) -> None:
        self._damping, self._growth = self._damping * self._growth, self._growth * 2.0

    def _finish(self, status: Status) -> None:
        value = -np.inf if self._here is None else float(self._here.log_density)
        decrement = np.inf if self._local is None else self._local.decrement
        self.end = Descent(self._weights, value, decrement, status, self._n_steps)


def _local_model(posterior: Posterior, weights: FloatArray, here: Linearization) -> _LocalModel:
    factor = posterior.factor_ggn(weights, here.ggn)
    decrement = gradient_length(factor, here)
    if decrement < NEWTON_WITHIN and factor.is_full_rank:
        hessian = posterior.hessian(weights, here.ggn)
        exact = factor_gram(hessian)
        if exact is not None:
            return _LocalModel(hessian, exact, gradient_length(exact, here), is_ggn=False)
        if factor.method == "cholesky":  # then it is not for its conditioning that the Hessian has no factor
            return _LocalModel(hessian, factor, decrement, is_ggn=False, is_definite=False)
    return _LocalModel(here.ggn, factor, decrement, is_ggn=True)


def _damped(posterior: Posterior, weights: FloatArray, local: _LocalModel, extra: FloatArray) -> PrecisionFactor | None:
    system = local.curvature.copy()
    system.ravel()[:: len(system) + 1] += extra
    factor = factor_gram(system)
    if factor is not None:
        return factor
    if not local.is_ggn:
        # If definite, it is well conditioned by itself, and damping this small is none; if not, it wants more damping.
        return local.factor if local.is_definite else None
    blocks = itertools.chain(posterior.scaled_rows(weights), [np.diag(np.sqrt(extra))])
    return factor_rows(blocks, posterior.n_weights)


def gradient_length(factor: PrecisionFactor, here: Linearization) -> float:
    """Return the gradient's length in the metric of a curvature, over the informed directions if that is singular."""
    if factor.is_full_rank:
        return float(np.linalg.norm(factor.half_solve(here.gradient)))
    values, directions, rounding = scaled_spectrum(here.ggn)
    kept = values > rounding
    return float(np.linalg.norm((directions[:, kept].T @ here.gradient) / np.sqrt(values[kept])))


def hidden_gain(log_density: float, n_rows: int) -> float:
    """Return nats that rounding hides in a log density summed over so many rows."""
    return 4.0 * float(np.finfo(float).eps) * (abs(log_density) + n_rows)


def scaled_spectrum(matrix: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Diagonalise a symmetric matrix whose rows are in units of their own.

    Returns
    -------
    eigenvalues : ndarray (k,)
        Of the matrix scaled to a unit diagonal, where that is positive, increasing.
    directions : ndarray (k, k)
        In columns, along which the matrix has these curvatures; the inverse, where there is one, is
        ``directions / eigenvalues @ directions.T``.
    rounding : float
        Below which an eigenvalue is not told from 0.
    """
    diagonal = matrix.diagonal()
    scale = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    eigenvalues, directions = np.linalg.eigh(matrix * scale * scale[:, None])
    rounding = len(matrix) * float(np.finfo(float).eps * np.abs(eigenvalues).max())
    return eigenvalues, scale[:, None] * directions, rounding
