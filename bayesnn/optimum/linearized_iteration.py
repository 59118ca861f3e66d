"""The linearized iteration: as it was first tried, as it should have been, and what each does to the weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import finite_array, integer_at_least, one_of
from bayesnn.errors import ArgumentError
from bayesnn.optimum.certificate import DECREMENT_LIMIT, Certificate, certify
from bayesnn.optimum.climb import gradient_length
from bayesnn.optimum.levenberg_marquardt import levenberg_marquardt
from bayesnn.optimum.status import Status
from bayesnn.posterior import Posterior
from bayesnn.threads import on_one_blas_thread

RULES = ("seed", "gauss-newton", "levenberg-marquardt")
# Longest period looked for.
LONGEST_PERIOD = 24
# States a period apart count as equal when they differ by this share of the way the iteration goes in one step.
CYCLE_TOLERANCE = 1e-6
# A step this small relative to the weights, or those at the start, is none.
REST = 1e-10
# Weights this much longer than those at the start have run away.
RUNAWAY = 1e8

type Map = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, eq=False)
class LinearizedPath:
    """Where an iteration went.

    Parameters
    ----------
    posterior : Posterior
        What was iterated on.
    rule : str
        How.
    weights_path : ndarray (steps + 1, k)
        The start and every iterate.
    loss : ndarray (steps + 1,)
        Negative log density at each.
    rms : ndarray (steps + 1,)
        Root mean squared residual at each, in the units of the targets.
    status : Status
        ``converged`` only where the certificate calls the end an optimum; ``cycle``, ``diverged``, ``nonfinite``,
        ``stalled`` (at rest elsewhere), ``saddle``, ``rank_deficient``, or ``max_steps`` (still wandering).
    cycle_period : int or None
        Of a cycle.
    certificate : Certificate
        Of the last finite iterate.
    iteration_map : callable or None
        The map that was iterated; None for ``"levenberg-marquardt"``, whose damping remembers earlier steps.
    """

    posterior: Posterior
    rule: str
    weights_path: FloatArray
    loss: FloatArray
    rms: FloatArray
    status: Status
    cycle_period: int | None
    certificate: Certificate
    iteration_map: Map | None

    @cached_property
    def map_eigenvalues(self) -> NDArray[np.complex128]:
        """Eigenvalues (k,), complex, of the map's derivative at the last iterate; outside the unit disc it repels.

        Raises
        ------
        ArgumentError
            If the rule is no map of the weights alone.
        """
        if self.iteration_map is None:
            raise ArgumentError("rule", repr(self.rule), "a rule without memory: 'seed' or 'gauss-newton'")
        return np.linalg.eigvals(map_jacobian(self.iteration_map, self.weights_path[-1])).astype(np.complex128)


@on_one_blas_thread
@np.errstate(over="ignore", invalid="ignore")
def iterate_linearized(
    posterior: Posterior,
    start: ArrayLike,
    rule: str = "gauss-newton",
    n_steps: int = 100,
    *,
    relaxation: float = 1.0,
    ridge: float = 0.0,
) -> LinearizedPath:
    r"""Iterate a linearized rule and say what it does.

    Linearizing the network at `W` gives :math:`d \approx f + B(W' - W) + e`, whose least-squares solution regresses the
    *pseudo-target* :math:`d - f + BW` on `B`:

    - ``"gauss-newton"``: :math:`W' = W + (B'B/\sigma^2 + P_0)^+ (B'(d - f)/\sigma^2 - P_0 W)`, undamped.
    - ``"seed"``: :math:`W' = (B'B)^+ B'd`, the rule that cycles. It regresses `d` itself, as if :math:`f = BW`; the
      prior does not enter it.
    - ``"levenberg-marquardt"``: Gauss-Newton damped, :func:`bayesnn.optimum.levenberg_marquardt`.

    Pseudo-inverses drop singular values below ``max(n, k) * eps`` times the largest.

    Parameters
    ----------
    posterior : Posterior
        With a Gaussian likelihood of one ``sigma_noise``.
    start : array_like (k,)
        Where to begin.
    rule : {"gauss-newton", "seed", "levenberg-marquardt"}
        Which.
    n_steps : int
        Iterations at most. An undamped iteration may wander for long and then fall into some local optimum (NIST MGH09
        from its second start does, after 118), so what is reported can depend on this number. Fewer
        where a cycle, a point of rest or divergence is certain before.
    relaxation : float
        Share of the way to go: :math:`W + \alpha (T(W) - W)`. Not for ``"levenberg-marquardt"``.
    ridge : float
        Added to the diagonal of B'B in ``"seed"``.

    Returns
    -------
    LinearizedPath

    Raises
    ------
    ArgumentError
        If an argument is out of range, or the likelihood is not least squares.

    Examples
    --------
    The network w1 w2, started at its optimum: the seed's rule halves the weights, then doubles them, for ever.

    >>> from bayesnn import FlatPrior, FunctionModel, Gaussian
    >>> model = FunctionModel(lambda w, x: w[0] * w[1] * x, ["w1", "w2"])
    >>> post = Posterior(model, np.array([1.0, 2.0]), np.array([1.69, 3.38]), Gaussian(1.0), FlatPrior())
    >>> path = iterate_linearized(post, [1.3, 1.3], rule="seed", n_steps=20)
    >>> path.status.value, path.cycle_period, path.weights_path[:4, 0].round(6)
    ('cycle', 2, array([1.3 , 0.65, 1.3 , 0.65]))
    """
    one_of("rule", rule, RULES)
    n_steps = integer_at_least("n_steps", n_steps, 1)
    relaxation = float(finite_array("relaxation", relaxation, (0,), "a finite number"))
    ridge = float(finite_array("ridge", ridge, (0,), "a number, at least 0"))
    if ridge < 0.0:
        raise ArgumentError("ridge", f"{ridge:g}", "a number, at least 0")
    if rule == "levenberg-marquardt" and relaxation != 1.0:
        raise ArgumentError("relaxation", f"{relaxation:g} for {rule!r}", "a rule that has one, or 1")
    if rule != "seed" and ridge:
        raise ArgumentError("ridge", f"{ridge:g} for {rule!r}", "the rule 'seed', or 0")
    weights = posterior.check_weights(
        finite_array("start", start, (1,), f"shape ({posterior.n_weights},)"), batch=False
    )
    if not posterior.likelihood.is_least_squares:
        raise ArgumentError("likelihood", repr(posterior.likelihood), "Gaussian")
    if rule == "levenberg-marquardt":
        return _damped_path(posterior, weights, n_steps)
    step = partial(_seed, posterior, ridge) if rule == "seed" else partial(_gauss_newton, posterior)

    def iteration_map(w: FloatArray) -> FloatArray:
        return w + relaxation * (step(w) - w)

    path = [weights]
    status, period = Status.max_steps, None
    for _ in range(n_steps):
        following = iteration_map(path[-1])
        if not np.isfinite(following).all():
            status = Status.nonfinite
            break
        path.append(following)
        # Far away and not better: weights in small units may have far to go.
        is_far = np.linalg.norm(following) > RUNAWAY * (1.0 + np.linalg.norm(weights))
        if is_far and not posterior.log_density(following) > posterior.log_density(weights):
            status = Status.diverged
            break
        period = _period(path)
        if period is not None:
            status = Status.cycle
            break
    certificate = certify(posterior, path[-1])
    if period == 1:
        status, period = _status_at_rest(posterior, path[-1], certificate), None
    return _finished(posterior, rule, path, status, period, certificate, iteration_map)


def map_jacobian(iteration_map: Map, weights: FloatArray) -> FloatArray:
    """Return the derivative (k, k) of an iteration map at `weights` (k,), by central differences."""
    typical = float(np.sqrt(np.mean(weights**2))) or 1.0
    size = float(np.finfo(float).eps ** (1 / 3)) * np.maximum(np.abs(weights), 1e-2 * min(1.0, typical))
    columns = [
        (iteration_map(weights + h * e) - iteration_map(weights - h * e)) / (2.0 * h)
        for h, e in zip(size, np.eye(weights.size), strict=True)
    ]
    return np.stack(columns, axis=-1)


def _seed(posterior: Posterior, ridge: float, weights: FloatArray) -> FloatArray:
    x, y = posterior.block(slice(0, posterior.n_rows))
    jacobian = posterior.model.jacobian(weights, x).reshape(-1, posterior.n_weights)
    target = y.ravel()
    if ridge:
        jacobian = np.vstack([jacobian, np.sqrt(ridge) * np.eye(posterior.n_weights)])
        target = np.concatenate([target, np.zeros(posterior.n_weights)])
    return _least_squares(jacobian, target)


def _gauss_newton(posterior: Posterior, weights: FloatArray) -> FloatArray:
    x, y = posterior.block(slice(0, posterior.n_rows))
    outputs = posterior.model.predict(weights, x)
    root_prior = np.sqrt(posterior.prior_precision)
    rows = np.vstack([*posterior.scaled_rows(weights)])
    residual = posterior.likelihood.scaled_residual(outputs, y).ravel()
    return weights + _least_squares(rows, np.concatenate([residual, -root_prior * (weights - posterior.prior_mean)]))


def _least_squares(rows: FloatArray, target: FloatArray) -> FloatArray:
    """Least-squares solution of least norm: QR first, so that the SVD is of a small matrix."""
    size = rows.shape[1]
    if not (np.isfinite(rows).all() and np.isfinite(target).all()):
        return np.full(size, np.nan)
    cutoff = max(rows.shape) * float(np.finfo(float).eps)
    if rows.shape[0] > size:
        (upper,) = qr(np.column_stack([rows, target]), mode="r", check_finite=False)
        rows, target = upper[:size, :size], upper[:size, size]
    return np.linalg.lstsq(rows, target, rcond=cutoff)[0]


def _period(path: list[FloatArray]) -> int | None:
    """Shortest period with which the last states repeat; 1 is a point of rest; None if they do not."""
    last = path[-1]
    if np.linalg.norm(last - path[-2]) <= REST * max(np.linalg.norm(last), np.linalg.norm(path[0])):
        return 1
    for period in range(2, min(LONGEST_PERIOD, (len(path) - 1) // 2) + 1):
        stride = max(float(np.linalg.norm(path[-j - 1] - path[-j - 2])) for j in range(period))
        repeats = all(
            np.linalg.norm(path[-j - 1] - path[-j - 1 - period]) <= CYCLE_TOLERANCE * stride for j in range(period)
        )
        if repeats:
            return period
    return None


def _status_at_rest(posterior: Posterior, weights: FloatArray, certificate: Certificate) -> Status:
    """Tell an optimum from a saddle, a flat valley, and a point where only the iteration rests and not the gradient."""
    if certificate.is_optimum:
        return Status.converged
    here = posterior.linearize(weights)
    if not gradient_length(posterior.factor_ggn(weights, here.ggn), here) <= DECREMENT_LIMIT:
        return Status.stalled
    if certificate.rank < certificate.n_weights and not np.all(posterior.prior_precision > 0):
        return Status.rank_deficient
    return Status.saddle if certificate.negative_direction is not None else Status.stalled


def _damped_path(posterior: Posterior, weights: FloatArray, n_steps: int) -> LinearizedPath:
    path = [weights]
    descent = levenberg_marquardt(posterior, weights, max_steps=n_steps, on_step=path.append)
    certificate = certify(posterior, path[-1])
    status = descent.status
    if status in (Status.converged, Status.stalled):
        status = _status_at_rest(posterior, path[-1], certificate)
    return _finished(posterior, "levenberg-marquardt", path, status, None, certificate, None)


def _finished(
    posterior: Posterior,
    rule: str,
    path: list[FloatArray],
    status: Status,
    period: int | None,
    certificate: Certificate,
    iteration_map: Map | None,
) -> LinearizedPath:
    stacked = np.stack(path)
    x, y = posterior.block(slice(0, posterior.n_rows))
    residuals = y - posterior.model.predict(stacked, x)
    return LinearizedPath(
        posterior=posterior,
        rule=rule,
        weights_path=stacked,
        loss=-posterior.log_density(stacked),
        rms=np.sqrt((residuals**2).mean(axis=(1, 2))),
        status=status,
        cycle_period=period,
        certificate=certificate,
        iteration_map=iteration_map,
    )
