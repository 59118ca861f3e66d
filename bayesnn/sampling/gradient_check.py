"""Whether a user's move follows the density that is sampled."""

from collections.abc import Callable

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.errors import ArgumentError
from bayesnn.sampling.marginal import Marginal
from bayesnn.sampling.moves import HMC, MarginalHMC, MicrocanonicalLangevin, ReplicaExchange, TrackedMove, WalkerMove
from bayesnn.sampling.moves.mixture import members_of
from bayesnn.seeds import generator, legacy_state

# Step of the differences in posterior standard deviations, and what share of a slope a sound gradient may miss there:
# room for gradients in single precision, and far less than a wrong sign or a forgotten factor.
STEP, SLOPE_TOLERANCE = 1e-4, 1e-2
# Share of a log density by which values may differ: single precision again.
VALUE_TOLERANCE = 1e-4


@np.errstate(over="ignore", invalid="ignore")
def check_gradients(
    move: WalkerMove,
    log_density: Callable[[FloatArray], FloatArray],
    points: FloatArray,
    scale: FloatArray,
    seed: int,
) -> None:
    """Compare values and gradients of a move with the density, once, along a random direction from each start.

    It costs a few evaluations of the density at all starts. Where it is not smooth, differences mislead at some starts:
    a gradient is refused if it disagrees at most of them. A marginal density is that of the posterior if its draws of
    the other coordinates have the log density that it says.

    Parameters
    ----------
    move : WalkerMove
        The user's.
    log_density : callable
        Of weights (chains, k), as the chains use it.
    points : ndarray (chains, k)
        The starts.
    scale : ndarray (k,)
        Posterior standard deviations.
    seed : int
        Of the directions.

    Raises
    ------
    ArgumentError
        If they disagree.
    """
    steps = STEP * scale * generator(seed, "gradient check").standard_normal(points.shape)
    for part in members_of(move):
        if isinstance(part, ReplicaExchange):
            continue  # each of its densities is that of a path, at a temperature of its own
        marginal = getattr(part, "marginal", None)
        if isinstance(marginal, Marginal):
            _check_marginal(part, marginal, log_density, points, seed)
        if isinstance(part, MarginalHMC):
            kept = part.marginal.kept
            _check(part, part.marginal.log_density, points[:, kept], steps[:, kept])
        elif isinstance(part, HMC | MicrocanonicalLangevin):
            _check(part, log_density, points, steps)


def _check_marginal(
    part: TrackedMove,
    marginal: Marginal,
    log_density: Callable[[FloatArray], FloatArray],
    points: FloatArray,
    seed: int,
) -> None:
    """Check that a marginal density is of the density that is sampled, at draws given the points (chains, k)."""
    if points.shape[1] <= marginal.kept.max():
        raise ArgumentError("marginal", f"coordinates up to {marginal.kept.max()}", f"{points.shape[1]}")
    weights, value = marginal.draw(points[:, marginal.kept], legacy_state(seed, "marginal check"))
    if weights.shape != points.shape:
        got = f"a marginal density of {weights.shape[1]} coordinates"
        raise ArgumentError("move", f"{type(part).__name__} with {got}", f"one of {points.shape[1]}")
    here = log_density(weights)
    wrong = ~(np.abs(value - here) <= VALUE_TOLERANCE * (1.0 + np.abs(here)))
    if 2 * wrong.sum() > len(points):
        chain = int(np.argmax(wrong))
        got = f"{type(part).__name__} with a marginal density that gives {value[chain]:.6g} where the log density is"
        wants = "the marginal density of the posterior that is sampled"
        raise ArgumentError("move", f"{got} {here[chain]:.6g}, chain {chain}", wants)


def _check(
    part: HMC | MicrocanonicalLangevin,
    log_density: Callable[[FloatArray], FloatArray],
    points: FloatArray,
    steps: FloatArray,
) -> None:
    """Check one move at points (chains, k), by differences along steps (chains, k)."""
    here, ahead, behind = log_density(points), log_density(points + steps), log_density(points - steps)
    expected = (ahead - behind) / 2.0
    rounding = 10.0 * float(np.finfo(float).eps) * (1.0 + np.abs(here))
    value, gradient = part.value_and_gradient(points)
    wrong = ~(np.abs(value - here) <= VALUE_TOLERANCE * (1.0 + np.abs(here)))
    if 2 * wrong.sum() > len(points):
        chain = int(np.argmax(wrong))
        got = f"{_name(part)} giving {value[chain]:.6g} where the log density is {here[chain]:.6g}, chain {chain}"
        raise ArgumentError("move", got, "value_and_gradient of the density that is sampled, constants included")
    given = (gradient * steps).sum(axis=1)
    allowed = rounding + SLOPE_TOLERANCE * np.sqrt(((gradient * steps) ** 2).sum(axis=1))
    wrong = np.isfinite(expected) & ~(np.abs(given - expected) <= allowed)
    if 2 * wrong.sum() > len(points):
        chain = int(np.argmax(wrong))
        got = f"{_name(part)} giving a slope of {given[chain] / STEP:.6g} where differences give"
        raise ArgumentError("move", f"{got} {expected[chain] / STEP:.6g}, chain {chain}", "the gradient of the density")


def _name(part: HMC | MicrocanonicalLangevin) -> str:
    return f"{type(part).__name__} with a value_and_gradient"
