"""Whether a user's move follows the density that is sampled."""

from collections.abc import Callable

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.errors import ArgumentError
from bayesnn.sampling.moves import HMC, MarginalHMC, ReplicaExchange, WalkerMove
from bayesnn.seeds import generator

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

    It costs two evaluations of the density at all starts. Where it is not smooth, differences mislead at some starts:
    a gradient is refused if it disagrees at most of them.

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
    if isinstance(move, ReplicaExchange):
        return  # each of its densities is that of a path, at a temperature of its own
    steps = STEP * scale * generator(seed, "gradient check").standard_normal(points.shape)
    for part in move.parts:
        if isinstance(part, MarginalHMC):
            kept = part.marginal.kept
            _check(part, part.marginal.log_density, points[:, kept], steps[:, kept])
        elif isinstance(part, HMC):
            _check(part, log_density, points, steps)


def _check(part: HMC, log_density: Callable[[FloatArray], FloatArray], points: FloatArray, steps: FloatArray) -> None:
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


def _name(part: HMC) -> str:
    return f"{type(part).__name__} with a value_and_gradient"
