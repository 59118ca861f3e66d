"""Search for optima from several starts, deduplicate them modulo symmetry, and certify them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import finite_array, integer_at_least, one_of, positive_number
from bayesnn.errors import ArgumentError
from bayesnn.factor import factor_gram
from bayesnn.memory import square_fits
from bayesnn.models import nearest_image
from bayesnn.optimum.certificate import Certificate, certify, is_flat
from bayesnn.optimum.climb import hidden_gain
from bayesnn.optimum.descent import SCIPY_METHODS, Descent, scipy_descent
from bayesnn.optimum.hops import has_units, hop
from bayesnn.optimum.levenberg_marquardt import climb_together
from bayesnn.optimum.status import OptimumError, Status
from bayesnn.posterior import Posterior
from bayesnn.progress import progress_bar
from bayesnn.seeds import generator
from bayesnn.threads import on_one_blas_thread

METHODS = ("levenberg-marquardt", *SCIPY_METHODS)
# Two runs found the same optimum if their weights, after alignment, agree to this many posterior sds per weight.
SAME_OPTIMUM_SD = 1e-2
# Points from which to hop at most, the best ones.
MOST_HOPPED = 8
# Full Newton steps after the damped ones: they converge quadratically where the GGN converges linearly.
POLISH_STEPS = 20
# In a bent valley a step may have to go further off before the next one comes closer.
POLISH_PATIENCE = 3
# Nats a step may lose: more, and it has left for somewhere else.
POLISH_LOSS = 1e-6


@dataclass(frozen=True)
class Optimum:
    """A point where a search ended, with the proof of what it is.

    Parameters
    ----------
    weights : ndarray (k,)
        The point.
    log_density : float
        Log density of the unnormalised posterior there.
    status : Status
        ``converged`` only if the certificate says so too.
    certificate : Certificate
        What was measured there.
    n_found : int
        How many starts ended here, or at a symmetric image.
    n_steps : int
        Steps the run took.
    others : tuple of Optimum
        Further points where runs ended, best first; empty for those points themselves.
    interrupted : bool
        Whether Ctrl-C ended the search before all runs had ended, those beside the best point included.
    posterior : Posterior or None
        Whose optimum it is, and under which it was certified.
    """

    weights: FloatArray
    log_density: float
    status: Status
    certificate: Certificate
    n_found: int = 1
    n_steps: int = 0
    others: tuple["Optimum", ...] = ()
    interrupted: bool = False
    posterior: Posterior | None = field(default=None, repr=False, compare=False)


@on_one_blas_thread
@np.errstate(over="ignore", invalid="ignore")
def find_optimum(
    posterior: Posterior,
    *,
    method: str = "levenberg-marquardt",
    start: ArrayLike | None = None,
    n_starts: int = 1,
    n_hops: int = 0,
    seed: int = 0,
    max_steps: int = 1000,
    tolerance: float = 1e-6,
    throw: bool = False,
    progress: bool | None = None,
) -> Optimum:
    """Find the best of several optima and certify it.

    Parameters
    ----------
    posterior : Posterior
        The target.
    method : {"levenberg-marquardt", "newton-cg", "l-bfgs"}
        :func:`bayesnn.optimum.levenberg_marquardt`, several starts in one batch, or SciPy's minimisers
        (:func:`bayesnn.optimum.scipy_descent`): L-BFGS where `k` is too large to form a matrix. All end with full
        Newton steps, and ends that are one optimum are told, where a matrix fits.
    start : array_like (k,), optional
        First start. The model draws the others, or all.
    n_starts : int
        Number of starts.
    n_hops : int
        Further climbs of a network with hidden units, from the best of the points where searches ended, with a unit or
        two drawn anew (:func:`bayesnn.optimum.hop`). With several units they mostly end higher than as many more
        starts, in less time.
    seed : int
        Seed of the drawn starts and units.
    max_steps : int
        Steps at most, each start.
    tolerance : float
        Newton decrement at which a run has converged, in posterior standard deviations.
    throw : bool
        Whether to raise if the best point is not an optimum.
    progress : bool, optional
        Whether to show a bar; by default where stderr is a terminal.

    Returns
    -------
    Optimum
        The one of the highest log density; the rest in `others`, deduplicated modulo the symmetries of the network that
        its prior keeps.
        Ctrl-C stops the search and returns the best point reached so far, `interrupted`, if there is one; runs under
        way have status ``max_steps``.

    Raises
    ------
    ArgumentError
        If an argument is out of range, or there are no hidden units to hop with, or no room for a matrix.
    OptimumError
        If ``throw=True`` and the best point is not an optimum.

    Examples
    --------
    >>> from bayesnn import MLP, Gaussian, NormalPrior
    >>> x = np.linspace(-1, 1, 30)[:, None]
    >>> post = Posterior(MLP(1, (2,), 1), x, np.sin(3 * x), Gaussian(0.1), NormalPrior(1.0))
    >>> best = find_optimum(post, n_starts=4, seed=0)
    >>> best.status.value, best.certificate.rank
    ('converged', 7)
    """
    one_of("method", method, METHODS)
    n_starts = integer_at_least("n_starts", n_starts, 1)
    n_hops = integer_at_least("n_hops", n_hops, 0)
    if n_hops and not has_units(posterior):
        raise ArgumentError(
            "n_hops", f"{n_hops} for {posterior.network!r}", "0: there are no hidden units to draw anew"
        )
    if n_hops and not square_fits(posterior.n_weights):
        got = f"{n_hops} for {posterior.n_weights} weights, whose curvature does not fit in memory"
        raise ArgumentError("n_hops", got, "0: hops climb by it")
    max_steps = integer_at_least("max_steps", max_steps, 1)
    tolerance = positive_number("tolerance", tolerance)
    starts = _starts(posterior, start, n_starts, seed)
    ended: dict[int, Descent] = {}
    interrupted = False
    with progress_bar("optimum", n_starts + n_hops, progress) as tick:
        try:
            for i, descent in _descents(posterior, starts, method, max_steps, tolerance):
                ended[i] = descent
                tick(log_density=max(d.log_density for d in ended.values()))
            if n_hops:
                for made, (i, descent) in enumerate(_hopped(posterior, ended, n_hops, seed, max_steps, tolerance)):
                    ended[i] = descent
                    # the climbs that end what hops began are not counted
                    tick(int(made < n_hops), log_density=max(d.log_density for d in ended.values()))
            for i, descent in ended.items():
                ended[i] = _polish(posterior, descent)
        except KeyboardInterrupt:
            if not ended:
                raise
            interrupted = True
    descents = [ended[i] for i in sorted(ended)]
    try:
        optima = _all_certified(posterior, descents, perturb=not interrupted)
    except KeyboardInterrupt:  # what was found is there: all but the searches beside it takes little time
        if interrupted:
            raise
        optima, interrupted = _all_certified(posterior, descents, perturb=False), True
    best = replace(optima[0], others=tuple(optima[1:]), interrupted=interrupted)
    if throw and best.status is not Status.converged:
        raise OptimumError(best.status, best.certificate.reasons)
    return best


def _all_certified(posterior: Posterior, descents: Sequence[Descent], perturb: bool) -> list[Optimum]:
    """Certify each distinct point where searches ended; the best, if wanted, with searches beside it."""
    groups = _distinct(posterior, descents)
    return [_certified(posterior, group, perturb=perturb and group is groups[0]) for group in groups]


def uninterrupted(optimum: Optimum) -> Optimum:
    """Hand on the KeyboardInterrupt that a search, used by itself, turns into a partial result."""
    if optimum.interrupted:
        raise KeyboardInterrupt
    return optimum


def _starts(posterior: Posterior, start: ArrayLike | None, n_starts: int, seed: int) -> list[FloatArray]:
    given: list[FloatArray] = []
    if start is not None:
        wants = f"shape ({posterior.n_weights},)"
        given.append(finite_array("start", start, (1,), wants))
        if given[0].shape != (posterior.n_weights,):
            raise ArgumentError("start", f"shape {given[0].shape}", wants)
    drawn = [posterior.model.initial_weights(generator(seed, "optimum start", i)) for i in range(n_starts - len(given))]
    return given + drawn


def _descents(
    posterior: Posterior, starts: Sequence[FloatArray], method: str, max_steps: int, tolerance: float
) -> Iterator[tuple[int, Descent]]:
    if method == "levenberg-marquardt":
        yield from climb_together(posterior, starts, max_steps, tolerance)
        return
    for i, start in enumerate(starts):
        yield i, scipy_descent(posterior, start, method, max_steps, tolerance)


def _hopped(
    posterior: Posterior, ended: dict[int, Descent], n_hops: int, seed: int, max_steps: int, tolerance: float
) -> Iterator[tuple[int, Descent]]:
    """Hop from the best distinct points, and tell after every climb which start leads how high."""
    leaders = [group[0] for group in _distinct(posterior, [ended[i] for i in sorted(ended)])[:MOST_HOPPED]]
    starts = [next(i for i in ended if ended[i] is leader) for leader in leaders]
    reached = list(leaders)
    for i, descent in hop(posterior, leaders, n_hops, generator(seed, "hops")):
        reached[i] = descent
        yield starts[i], descent
    higher = [i for i, leader in enumerate(leaders) if reached[i] is not leader]
    for i, end in climb_together(posterior, [reached[i].weights for i in higher], max_steps, tolerance):
        yield starts[higher[i]], replace(end, n_steps=reached[higher[i]].n_steps + end.n_steps)


def _polish(posterior: Posterior, descent: Descent) -> Descent:
    """Take full Newton steps as long as they bring the point closer to the mode.

    The tolerance of a search is relative to the noise the user states; certified digits are relative to the noise
    there is. Where the Hessian is too ill-conditioned for Cholesky, the step is that of the GGN by QR.
    """
    if descent.status not in (Status.converged, Status.stalled) or not square_fits(posterior.n_weights):
        return descent
    weights, best, failures = descent.weights, np.inf, 0
    for _ in range(POLISH_STEPS):
        value, gradient = posterior.value_and_gradient(weights)
        factor = factor_gram(posterior.hessian(weights))
        if factor is None:
            factor = posterior.factor_ggn(weights)
        loss = max(POLISH_LOSS, hidden_gain(float(descent.log_density), posterior.n_rows))
        if not factor.is_full_rank or not value >= descent.log_density - loss:
            break
        decrement = float(np.linalg.norm(factor.half_solve(gradient)))
        if decrement <= 0.5 * best:
            best, failures = decrement, 0
            descent = replace(descent, weights=weights, log_density=float(value), newton_decrement=decrement)
        else:
            failures += 1
        if failures > POLISH_PATIENCE:
            break
        weights = weights + factor.solve(gradient)
    return descent


def _distinct(posterior: Posterior, descents: Sequence[Descent]) -> list[list[Descent]]:
    """Group runs that ended at the same point modulo symmetry: best group first, earliest start first within it.

    The earliest, not the highest, stands for its group: the runs of a group differ in height by rounding alone, and
    rounding must not choose the image that everything after this is computed at. Those that were cut short come after
    all others.
    """

    def height(i: int) -> float:
        return descents[i].log_density if np.isfinite(descents[i].log_density) else -np.inf

    fits = square_fits(posterior.n_weights)
    factors = [posterior.factor_ggn(d.weights) if fits and d.status is not Status.nonfinite else None for d in descents]
    groups: list[list[int]] = []
    for i in sorted(range(len(descents)), key=height, reverse=True):
        for group in groups:
            leader, factor = descents[group[0]], factors[group[0]]
            if factor is None or factors[i] is None:
                continue
            image = nearest_image(posterior.model, descents[i].weights, leader.weights, posterior.symmetries)
            distance = np.linalg.norm(factor.whiten(image - leader.weights))
            if distance <= SAME_OPTIMUM_SD * np.sqrt(posterior.n_weights):
                group.append(i)
                break
        else:
            groups.append([i])

    def precedence(i: int) -> tuple[bool, int]:
        return descents[i].status in (Status.max_steps, Status.nonfinite), i

    return [[descents[i] for i in sorted(group, key=precedence)] for group in groups]


def _certified(posterior: Posterior, group: Sequence[Descent], perturb: bool) -> Optimum:
    found = group[0]
    certificate = certify(posterior, found.weights, perturb=perturb)
    status = found.status
    if certificate.is_optimum and status in (Status.stalled, Status.max_steps):
        status = Status.converged  # however the search ended, the point is an optimum
    elif not certificate.is_optimum and status is Status.converged:
        status = Status.saddle if certificate.negative_direction is not None else Status.stalled
    ranked = square_fits(posterior.n_weights)  # else the rank is not known
    free = ranked and certificate.rank < certificate.n_weights and is_flat(posterior)
    if free and status in (Status.max_steps, Status.stalled):
        status = Status.rank_deficient  # the search wandered, or rested, in a valley the data do not close
    return Optimum(
        found.weights, found.log_density, status, certificate, len(group), found.n_steps, posterior=posterior
    )
