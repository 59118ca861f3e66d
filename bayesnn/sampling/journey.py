"""The way from where chains start to the bulk of a posterior that nothing mixes over."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from emcee.model import Model
from emcee.state import State

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, finite_array, integer_at_least
from bayesnn.errors import ArgumentError
from bayesnn.posterior import Posterior
from bayesnn.progress import progress_bar
from bayesnn.sampling.adaptation import EnergyErrorTuning
from bayesnn.sampling.moves.hmc import DIVERGENCE
from bayesnn.sampling.moves.microcanonical import MicrocanonicalLangevin
from bayesnn.seeds import legacy_state
from bayesnn.threads import on_one_blas_thread

# Of the first step, in units of sqrt(k) as all steps of the move: small anywhere, and soon tuned.
FIRST_STEP = 1e-4


@dataclass(frozen=True)
class Journey:
    """Where chains went.

    Parameters
    ----------
    ends : ndarray (chains, k)
        Where they are: starts for what follows.
    step_size : float
        Of the last steps, as :class:`bayesnn.moves.MicrocanonicalLangevin` takes it.
    log_density : ndarray (legs, chains)
        Log densities along the way.
    distance : ndarray (chains,)
        From the starts to the ends.
    """

    ends: FloatArray
    step_size: float
    log_density: FloatArray
    distance: FloatArray


@on_one_blas_thread
def journey(
    posterior: Posterior,
    starts: ArrayLike,
    *,
    num_steps: int = 40_000,
    energy_variance: tuple[float, float] = (0.5, 0.03),
    steps_per_leg: int = 8,
    seed: int = 0,
    progress: bool | None = None,
) -> Journey:
    """Take chains into the bulk by unadjusted microcanonical Langevin with large steps that become smaller.

    An optimum of a network with many weights is a narrow place of small weights, far from the bulk of the posterior;
    exact chains that start there hardly move. Steps a thousand times as wrong as those of draws that count carry chains
    over, and are no longer that wrong at the end. The draws are biased on the way: what comes after is not, if it is
    adjusted.

    Parameters
    ----------
    posterior : Posterior
        What will be sampled.
    starts : array_like (chains, k)
        Such as those of :func:`bayesnn.sampling.early_stopped`.
    num_steps : int
        Leapfrog steps of each chain.
    energy_variance : tuple of two floats
        Variance of the energy error of a step, per dimension, to which the step size is tuned, at first and at last;
        between them it falls along a straight line.
    steps_per_leg : int
        Steps after which the step size is tuned anew.
    seed : int
        Seed.
    progress : bool, optional
        Whether to show a bar; by default where stderr is a terminal.

    Returns
    -------
    Journey

    Raises
    ------
    ArgumentError
        If an argument is out of range, or the log density is not finite at a start.

    References
    ----------
    Sommer et al. (2025), Microcanonical Langevin ensembles, arXiv:2502.06335, section 4, whose variances are 0.5 and
    0.1; the steps: Robnik & Seljak (2024), arXiv:2303.18221.

    Examples
    --------
    >>> from bayesnn import MLP, Gaussian, NormalPrior
    >>> x = np.linspace(-1, 1, 40)[:, None]
    >>> post = Posterior(MLP(1, (4,), 1), x, np.sin(3 * x), Gaussian(0.1), NormalPrior(1.0))
    >>> found = journey(post, np.zeros((3, post.n_weights)), num_steps=400)
    >>> found.ends.shape, bool((found.log_density[-1] > found.log_density[0]).all())
    ((3, 13), True)
    """
    num_steps = integer_at_least("num_steps", num_steps, 1)
    steps_per_leg = integer_at_least("steps_per_leg", steps_per_leg, 1)
    first, last = _variances(energy_variance)
    wants = f"shape (chains, {posterior.n_weights})"
    points = finite_array("starts", starts, (2,), wants)
    if points.shape[1] != posterior.n_weights or not len(points):
        raise ArgumentError("starts", f"shape {points.shape}", wants)
    density = compiled(posterior)
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(posterior.log_density(points))
    if not finite.all():
        raise ArgumentError(
            "starts",
            f"log density not finite at {np.sum(~finite)} of {len(points)} starts",
            "points where it is finite",
        )
    move = MicrocanonicalLangevin(density, np.ones(posterior.n_weights), FIRST_STEP, min(steps_per_leg, num_steps))
    tuning = EnergyErrorTuning(move.step_size, first)

    def log_density(weights: FloatArray) -> tuple[FloatArray, None]:
        return posterior.log_density(weights), None

    model = Model(posterior.log_density, log_density, map, legacy_state(seed, "journey"))
    state = State(points, log_prob=np.full(len(points), -np.inf), copy=True)
    n_legs = -(-num_steps // steps_per_leg)
    heights = np.empty((n_legs, len(points)))
    with progress_bar("journey", n_legs, progress) as tick:
        for leg in range(n_legs):
            state, _ = move.propose(model, state)
            heights[leg] = state.log_prob
            tuning.target_variance = first + (last - first) * (leg + 1) / n_legs
            tuning.update(_errors(move))
            move.step_size = tuning.step_size
            tick(log_density=float(heights[leg].max()))
    distance = np.linalg.norm(state.coords - points, axis=1)
    return Journey(np.array(state.coords), move.step_size, heights, distance)


def compiled(posterior: Posterior) -> Callable[[FloatArray], tuple[FloatArray, FloatArray]]:
    """Return value and gradient, in compiled code where there is such."""
    try:
        return posterior.fused()
    except ArgumentError:
        return posterior.value_and_gradient


def _errors(move: MicrocanonicalLangevin) -> FloatArray:
    """Return squares of energy errors (chains,), per dimension, with those of steps that were not taken."""
    assert move.stats is not None
    refused = DIVERGENCE**2 / (move.metric.size * move.num_integration_steps)
    return move.seen() + np.where(move.stats.diverging, refused, 0.0)


def _variances(given: tuple[float, float]) -> tuple[float, float]:
    """Check the two variances."""
    wants = "two finite numbers above 0, at first and at last"
    pair = finite_array("energy_variance", given, (1,), wants)
    if pair.shape != (2,) or not np.all(pair > 0.0):
        raise ArgumentError("energy_variance", describe(given), wants)
    return float(pair[0]), float(pair[1])
