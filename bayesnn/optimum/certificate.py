"""Proof that a point is an optimum, or the reasons why it is not."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh, ldl
from scipy.sparse.linalg import LinearOperator, eigsh

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.factor import PrecisionFactor, factor_gram, factor_rows
from bayesnn.memory import square_fits
from bayesnn.optimum.climb import hidden_gain, scaled_spectrum
from bayesnn.optimum.levenberg_marquardt import levenberg_marquardt
from bayesnn.posterior import Posterior
from bayesnn.seeds import generator
from bayesnn.threads import on_one_blas_thread

# A mean off by a thousandth of a posterior standard deviation changes nothing that is reported. Where the residuals are
# smaller than the noise stated, the posterior sd meant is that of the residuals: a search that stopped at a thousandth
# of the stated one would have the fit's digits wrong (NIST Lanczos1 under sigma_noise = 1).
DECREMENT_LIMIT = 1e-3
# Nats that one more Newton step may still gain; the step's own prediction is decrement**2 / 2.
STEP_CHANGE_LIMIT = 1e-5
# Searches started this far away, in posterior sds, must come back this near: else the Gaussian's own width holds
# another optimum, or the point was none.
PERTURBATION, PERTURBATIONS, RETURN_LIMIT = 0.5, 3, 1e-2
LEAST_NOISE_RATIO = 1e-6
# Share of the prior's precision that the data's must have for its digits to be there once the two were added.
PRIOR_HIDES = 1e-6
# Weights from which on Lanczos is faster than the whole spectrum.
LANCZOS_FROM = 150
NOT_FINITE = "log density, gradient or curvature is not finite"
TOO_LARGE = "the Hessian of {} weights does not fit in memory: no certificate without it"


@dataclass(frozen=True)
class Certificate:
    r"""What was measured at a point, and whether it is an optimum.

    Parameters
    ----------
    newton_decrement : float
        :math:`\sqrt{g' H^{-1} g}`: distance to the mode in posterior standard deviations; inf where the
        Hessian `H` is not positive definite.
    gradient_norm : float
        Euclidean norm of the gradient of the log density.
    smallest_hessian_eigenvalue : float
        Of the exact Hessian of the negative log density.
    negative_direction : ndarray (k,) or None
        Unit direction of that eigenvalue where it is not positive.
    rank : int
        Numerical rank of B (its rows scaled by the noise).
    n_informed : int
        Directions about which the data say more than the prior: eigenvalues of
        :math:`\tau^{-1/2} B'\Lambda B \tau^{-1/2}` above 1. Equal to `rank` under a flat prior.
    n_weights : int
        k.
    ggn_hessian_gap : float
        :math:`\|L'HL - I\|_F` with ``L L'`` the inverse of the GGN: 0 where the two agree; nan where the GGN is
        singular.
    newton_step_change : float
        Nats the log density gains by one more full Newton step, evaluated, not predicted.
    return_distance : float or None
        Posterior standard deviations between the point and where searches end that start half a standard deviation
        away from it, the largest of three; None where that was not tried.
    is_optimum : bool
        Whether all checks pass.
    reasons : tuple of str
        The failed checks, or, where none failed, what was checked.
    """

    newton_decrement: float
    gradient_norm: float
    smallest_hessian_eigenvalue: float
    negative_direction: FloatArray | None
    rank: int
    n_informed: int
    n_weights: int
    ggn_hessian_gap: float
    newton_step_change: float
    return_distance: float | None
    is_optimum: bool
    reasons: tuple[str, ...]


@on_one_blas_thread
@np.errstate(over="ignore", invalid="ignore")
def certify(posterior: Posterior, weights: ArrayLike, *, perturb: bool = False) -> Certificate:
    """Measure whether a point is a local maximum of the log density.

    Parameters
    ----------
    posterior : Posterior
        The target.
    weights : array_like (k,)
        The point.
    perturb : bool
        Whether to start searches half a posterior standard deviation away, too, and see whether they return.

    Returns
    -------
    Certificate

    Examples
    --------
    >>> from bayesnn import MLP, Gaussian, NormalPrior, find_optimum
    >>> x = np.linspace(-1, 1, 30)[:, None]
    >>> post = Posterior(MLP(1, (2,), 1), x, np.sin(3 * x), Gaussian(0.1), NormalPrior(1.0))
    >>> best = find_optimum(post, seed=0)
    >>> certify(post, best.weights).is_optimum, certify(post, best.weights + 0.1).is_optimum
    (True, False)
    """
    w = posterior.check_weights(weights, batch=False)
    value, gradient = posterior.value_and_gradient(w)
    if not (np.isfinite(value) and np.isfinite(gradient).all()):
        return _unknown(posterior, np.nan, NOT_FINITE)
    if not square_fits(posterior.n_weights):
        return _unknown(posterior, float(np.linalg.norm(gradient)), TOO_LARGE.format(posterior.n_weights))
    ggn = posterior.ggn(w)
    hessian = posterior.hessian(w, ggn)
    if not (np.isfinite(ggn).all() and np.isfinite(hessian).all()):
        return _unknown(posterior, np.nan, NOT_FINITE)
    rank, n_informed = _rank_of_data(posterior, w, ggn)
    decrement = step_change = np.inf
    factor, direction, rounding = factor_gram(hessian), None, 0.0
    if factor is not None:
        least = _smallest_eigenvalue(hessian, factor)
        decrement = float(np.linalg.norm(factor.half_solve(gradient)))
        step_change = float(posterior.log_density(w + factor.solve(gradient)) - value)
    else:
        # Cholesky refuses a positive definite matrix too ill-conditioned for it; eigenvalues decide then, if they can.
        eigenvalues, directions, rounding = scaled_spectrum(hessian)
        if eigenvalues[0] > rounding:
            least = float(np.linalg.norm(directions / np.sqrt(eigenvalues), 2)) ** -2
            along = directions.T @ gradient
            decrement = float(np.sqrt(np.sum(along**2 / eigenvalues)))
            step_change = float(posterior.log_density(w + directions @ (along / eigenvalues)) - value)
            rounding = 0.0
        else:
            length = float(np.linalg.norm(directions[:, 0]))
            least, rounding = float(eigenvalues[0]) / length**2, rounding / length**2
            if least < -rounding:
                least, direction = _lower(hessian, least, directions[:, 0] / length)
    positive = factor is not None or least > rounding
    wants_eigenvalue = (
        "above 0" if positive or least < -rounding else f"above {rounding:.2g}, the rounding of the largest"
    )
    noise_ratio = min(1.0, _noise_ratio(posterior, w, rank))
    limit = max(DECREMENT_LIMIT * noise_ratio, _rounding(posterior, w))
    step_limit = max(STEP_CHANGE_LIMIT, hidden_gain(float(value), posterior.n_rows))
    checks = [
        (positive, f"smallest Hessian eigenvalue {least:.3g}", wants_eigenvalue),
        (
            decrement <= limit,
            f"Newton decrement {decrement:.2g} posterior sd",
            f"at most {limit:.2g}",
        ),
        (
            step_change <= step_limit,
            f"one more Newton step gains {step_change:.2g} nats",
            f"at most {step_limit:.2g}",
        ),
    ]
    returned = _return_distance(posterior, w, factor, noise_ratio) if perturb and factor is not None else None
    if returned is not None:
        found = f"perturbed by {PERTURBATION:g} posterior sd, searches end {returned:.2g} sd away"
        checks.append((returned <= RETURN_LIMIT, found, f"at most {RETURN_LIMIT:g}"))
    if is_flat(posterior):
        checks.append((rank == posterior.n_weights, f"rank of B {rank}", f"{posterior.n_weights} (flat prior)"))
    failed = [f"{found}, wants {wants}" for passed, found, wants in checks if not passed]
    return Certificate(
        newton_decrement=decrement,
        gradient_norm=float(np.linalg.norm(gradient)),
        smallest_hessian_eigenvalue=least,
        negative_direction=direction,
        rank=rank,
        n_informed=n_informed,
        n_weights=posterior.n_weights,
        ggn_hessian_gap=_gap(ggn, hessian),
        newton_step_change=step_change,
        return_distance=returned,
        is_optimum=not failed,
        reasons=tuple(failed) if failed else tuple(f"{found} ({wants})" for _, found, wants in checks),
    )


def _unknown(posterior: Posterior, gradient_norm: float, reason: str) -> Certificate:
    return Certificate(
        newton_decrement=np.inf,
        gradient_norm=gradient_norm,
        smallest_hessian_eigenvalue=np.nan,
        negative_direction=None,
        rank=0,
        n_informed=0,
        n_weights=posterior.n_weights,
        ggn_hessian_gap=np.nan,
        newton_step_change=np.inf,
        return_distance=None,
        is_optimum=False,
        reasons=(reason,),
    )


def _rank_of_data(posterior: Posterior, weights: FloatArray, ggn: FloatArray) -> tuple[int, int]:
    """Rank of B, and the number of directions where the data outweigh the prior.

    From B'Lambda B where its conditioning leaves no doubt of full rank; elsewhere by QR of its rows, which costs more.
    """
    precision = posterior.prior_precision
    gram = ggn - np.diag(precision)
    # Digits of the data are lost under a prior that much larger.
    if np.all(gram.diagonal() > PRIOR_HIDES * precision) and factor_gram(gram) is not None:
        return posterior.n_weights, _n_positive(gram - np.diag(precision))
    factor = factor_rows(posterior.likelihood_rows(weights), posterior.n_weights)
    flat = precision == 0.0
    if flat.all():
        return factor.rank, factor.rank
    # Of the others what the data say of them alone, once they have said what they can of those without a prior.
    lengths = np.linalg.norm(factor.upper[:, flat], axis=0)
    left, singular, _ = np.linalg.svd(
        factor.upper[:, flat] / np.where(lengths > 0.0, lengths, 1.0), full_matrices=False
    )
    none = max(posterior.n_rows, posterior.n_weights) * np.finfo(float).eps * singular.max(initial=0.0)
    taken, others = left[:, singular > none], factor.upper[:, ~flat] / np.sqrt(precision[~flat])
    informed = np.linalg.svd(others - taken @ (taken.T @ others), compute_uv=False)
    return factor.rank, min(factor.rank, taken.shape[1] + int((informed > 1.0).sum()))


def _n_positive(matrix: FloatArray) -> int:
    """Count positive eigenvalues by Sylvester's law of inertia: as many as in the D of LDL' (Golub & Van Loan, 4.4)."""
    _, diagonal, _ = ldl(matrix)
    # Blocks of two rows, which pivoting makes where it must, have one eigenvalue of each sign.
    in_pairs = np.zeros(len(matrix), dtype=bool)
    paired = np.diag(diagonal, -1) != 0
    in_pairs[:-1] |= paired
    in_pairs[1:] |= paired
    return int(paired.sum()) + int((diagonal.diagonal()[~in_pairs] > 0).sum())


def _smallest_eigenvalue(hessian: FloatArray, factor: PrecisionFactor) -> float:
    """Smallest eigenvalue of a positive definite Hessian, of its inverse's factor: its own has lost the last digits."""
    if len(hessian) < LANCZOS_FROM:
        return float(np.linalg.norm(factor.scale, 2)) ** -2
    inverse = LinearOperator(hessian.shape, matvec=lambda v: factor.solve(np.ravel(v)), dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(len(hessian))
    largest = eigsh(inverse, k=1, which="LA", v0=start, return_eigenvectors=False)
    return 1.0 / float(largest[0])


def _lower(hessian: FloatArray, curvature: float, direction: FloatArray) -> tuple[float, FloatArray]:
    """Return the lower of a negative curvature and the smallest eigenvalue, each with its direction."""
    eigenvalues, directions = eigh(hessian, subset_by_index=(0, 0))
    least = float(eigenvalues[0])
    return (least, directions[:, 0]) if least < curvature else (curvature, direction)


def is_flat(posterior: Posterior) -> bool:
    """Whether no weight of the network has a prior; what is inferred beside them may have one."""
    return not np.any(posterior.prior_precision[: posterior.network.n_weights])


def _return_distance(
    posterior: Posterior, weights: FloatArray, factor: PrecisionFactor, noise_ratio: float
) -> float | None:
    """Largest distance, in posterior sds, at which searches end that start in fixed directions around the point."""
    if noise_ratio < LEAST_NOISE_RATIO:
        return None  # the fit is perfect to rounding: half a sd of it is no number to move by
    rng = generator(0, "perturb and return")
    directions = rng.standard_normal((PERTURBATIONS, posterior.n_weights))
    directions *= PERTURBATION * noise_ratio / np.linalg.norm(directions, axis=1, keepdims=True)
    ends = [
        levenberg_marquardt(posterior, weights + move, max_steps=200, tolerance=1e-6 * noise_ratio).weights
        for move in factor.color(directions)
    ]
    return float(max(np.linalg.norm(factor.whiten(end - weights)) for end in ends)) / noise_ratio


def _noise_ratio(posterior: Posterior, weights: FloatArray, rank: int) -> float:
    """Residual noise over the noise stated: where it is small, posterior sds are too, and the limit with them."""
    if not posterior.likelihood.is_least_squares:
        return 1.0
    square, _ = posterior.square_lengths(weights)
    return float(np.sqrt(square / max(posterior.n_rows * posterior.model.n_outputs - rank, 1)))


def _rounding(posterior: Posterior, weights: FloatArray) -> float:
    """Newton decrement that rounding of the targets alone makes, in posterior sds."""
    if not posterior.likelihood.is_least_squares:
        return 0.0
    _, square = posterior.square_lengths(weights)  # of the targets, wherever the network is
    return 10.0 * float(np.finfo(float).eps) * float(np.sqrt(square))


def _gap(ggn: FloatArray, hessian: FloatArray) -> float:
    factor = factor_gram(ggn)
    if factor is None:
        return float("nan")
    half = factor.half_solve(hessian)
    whitened = factor.half_solve(half.T)
    return float(np.linalg.norm(whitened - np.eye(len(ggn))))
