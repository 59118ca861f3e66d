"""Gradient descent on the idealised risk, and stochastic projected gradients on sequences."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, finite_array, integer_at_least, positive_number
from bayesnn.errors import ArgumentError
from bayesnn.landscape.acquiescence import AcquiescentSet
from bayesnn.landscape.idealised_risk import IdealisedRisk, unstable
from bayesnn.models import LinearSystem, filtered
from bayesnn.seeds import generator

FIRST_STEP = 0.1
LONGER, SHORTER = 1.5, 0.5
# A step that was made so much shorter moves nothing.
SHORTEST_STEP = 1e-20
# Losses that are so many times the mean square of the outputs do not come back.
TOO_LARGE = 1e6


@dataclass(frozen=True, eq=False)
class SystemDescent:
    """A path through systems.

    Parameters
    ----------
    path : ndarray (S + 1, k)
        Weights, the start first.
    risk : ndarray (S + 1,)
        Of the idealised risk, there; of stochastic gradients, the mean loss of the sequences of each pass (passes,).
    gradient_norm : ndarray (S + 1,) or (S,)
        Length of the gradient; where there is a projection, of the step over its size.
    reason : str
        Why it ended: ``"risk"``, ``"gradient"``, ``"step"`` (none is short enough), or ``"steps"`` (as many as wanted).
    """

    path: FloatArray
    risk: FloatArray
    gradient_norm: FloatArray
    reason: str

    @property
    def weights(self) -> FloatArray:
        """Where it ended (k,)."""
        return self.path[-1]

    @property
    def n_steps(self) -> int:
        """How many steps it took."""
        return len(self.path) - 1


def descend_system(
    risk: IdealisedRisk,
    start: ArrayLike,
    *,
    region: AcquiescentSet | None = None,
    n_steps: int = 1000,
    tolerance: float = 1e-14,
    method: str = "stein",
) -> SystemDescent:
    """Minimise the idealised risk by gradient descent, projected on to acquiescent systems if wanted.

    Steps grow by half after one that was taken and are halved until the risk is below the quadratic model with the
    step's curvature; steps to unstable systems are too long.

    Parameters
    ----------
    risk : IdealisedRisk
        What to minimise.
    start : array_like (k,)
        A stable system.
    region : AcquiescentSet, optional
        On to which the denominator is projected, that of the start first.
    n_steps : int
        At most.
    tolerance : float
        Risk at which it ends.
    method : {"stein", "powers", "parseval"}
        How the risk is computed.

    Returns
    -------
    SystemDescent

    Raises
    ------
    ArgumentError
        If the start is unstable or an argument out of range.

    Examples
    --------
    >>> found = descend_system(IdealisedRisk([-0.5, 1.0, 0.25]), np.zeros(3), region=AcquiescentSet())
    >>> found.reason, bool(np.allclose(found.weights, [-0.5, 1.0, 0.25], atol=1e-5))
    ('risk', True)
    """
    most, wanted = integer_at_least("n_steps", n_steps, 1), positive_number("tolerance", tolerance)
    n = risk.system.order
    here = _projected(region, _stable(risk.system, start), n)
    value, gradient = risk.value_and_gradient(here, method)
    path, values, norms, step, reason = [here], [value], [float(np.linalg.norm(gradient))], FIRST_STEP, "steps"
    for _ in range(most):
        if value <= wanted:
            reason = "risk"
            break
        if norms[-1] == 0.0:
            reason = "gradient"
            break
        while step > SHORTEST_STEP:
            ahead = _projected(region, here - step * gradient, n)
            move = ahead - here
            allowed = value + float(gradient @ move) + float(move @ move) / (2.0 * step)
            new = _value_and_gradient(risk, ahead, method)
            if new is not None and new[0] <= allowed:
                break
            step *= SHORTER
        else:
            reason = "step"
            break
        value, gradient = new
        norms.append(float(np.linalg.norm(gradient if region is None else move / step)))
        here, step = ahead, step * LONGER
        path.append(here)
        values.append(value)
    if reason == "steps" and value <= wanted:
        reason = "risk"
    return SystemDescent(np.array(path), np.array(values), np.array(norms), reason)


def stochastic_descent(
    inputs: ArrayLike,
    outputs: ArrayLike,
    order: int,
    region: AcquiescentSet,
    *,
    start: ArrayLike | None = None,
    step: float = 0.01,
    n_passes: int = 10,
    seed: int = 0,
) -> SystemDescent:
    r"""Fit a system to sequences by stochastic projected gradients.

    One sequence at a time, in a new random order each pass: the gradient of its mean squared error over the times after
    the first quarter, a step, and the projection of the denominator on to the acquiescent set. Steps are divided by the
    square root of the number of the pass.

    Parameters
    ----------
    inputs, outputs : array_like (N, T)
        Sequences, each from rest; the step suits inputs of about unit size.
    order : int
        Of the system; sequences are longer.
    region : AcquiescentSet
        Where the denominators stay.
    start : array_like (k,), optional
        By default all zeros, which is acquiescent.
    step : float
        Of the first pass.
    n_passes : int
        Over all sequences.
    seed : int
        Of the order of the sequences.

    Returns
    -------
    SystemDescent
        Its path has the weights after every pass, its risk the mean loss during each.

    Raises
    ------
    ArgumentError
        If shapes disagree, sequences are no longer than the order, a value is not finite, an argument is out of range,
        or the losses grow without bound (`step`).

    References
    ----------
    Hardt, Ma & Recht (2018), JMLR 19, algorithm 1.
    """
    system = LinearSystem(order)
    x = finite_array("inputs", inputs, (2,), "sequences (N, T)")
    y = finite_array("outputs", outputs, (2,), "sequences (N, T)")
    if x.shape[1] <= system.order or x.shape[0] == 0:
        raise ArgumentError("inputs", f"shape {x.shape}", f"sequences (N, T), T at least {system.order + 1}")
    if y.shape != x.shape:
        raise ArgumentError("outputs", f"shape {y.shape}", f"that of the inputs, {x.shape}")
    if not isinstance(region, AcquiescentSet):  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
        raise ArgumentError("region", describe(region), "an AcquiescentSet")
    size, passes = positive_number("step", step), integer_at_least("n_passes", n_passes, 1)
    here = _projected(region, np.zeros(system.n_weights) if start is None else _stable(system, start), system.order)
    typical = float(np.mean(y**2)) + sequence_loss(system, here, x[0], y[0])[0]
    random = generator(seed, "sequences")
    path = [here]
    losses: list[float] = []
    norms: list[float] = []
    for number in range(passes):
        total = moved = 0.0
        for i in random.permutation(len(x)):
            loss, gradient = sequence_loss(system, here, x[i], y[i])
            if not loss <= TOO_LARGE * typical:
                raise ArgumentError("step", f"{size:g}, with which losses grow without bound", "a smaller one")
            ahead = _projected(region, here - size / np.sqrt(number + 1.0) * gradient, system.order)
            total, moved, here = total + loss, moved + float(gradient @ gradient), ahead
        path.append(here)
        losses.append(total / len(x))
        norms.append(float(np.sqrt(moved / len(x))))
    return SystemDescent(np.array(path), np.array(losses), np.array(norms), "steps")


def sequence_loss(
    system: LinearSystem, weights: FloatArray, inputs: FloatArray, outputs: FloatArray
) -> tuple[float, FloatArray]:
    """Mean squared error of one sequence (T,) over the times after its first quarter, and its gradient (k,)."""
    n, length = system.order, len(inputs)
    below = np.append(1.0, weights[:n])
    with np.errstate(over="ignore", invalid="ignore"):
        state = filtered(np.ones(1), below, inputs)
        strictly = filtered(np.append(0.0, weights[n:-1][::-1]), np.ones(1), state)
        twice = filtered(np.ones(1), below, strictly)
        error = strictly + weights[-1] * inputs - outputs
        counted = length - length // 4
        error[: length // 4] = 0.0
        gradient = np.empty(system.n_weights)
        for lag in range(1, n + 1):
            gradient[lag - 1] = -(error[lag:] @ twice[:-lag])
            gradient[2 * n - lag] = error[lag:] @ state[:-lag]
        gradient[-1] = error @ inputs
        return float(error @ error) / counted, gradient * (2.0 / counted)


def _stable(system: LinearSystem, start: ArrayLike) -> FloatArray:
    weights = system.check_weights(start, "start", batch=False)
    radius = float(system.spectral_radius(weights))
    if not radius < 1.0:
        raise unstable("start", radius)
    return weights


def _projected(region: AcquiescentSet | None, weights: FloatArray, order: int) -> FloatArray:
    if region is None:
        return weights
    return np.concatenate([region.project(weights[:order]), weights[order:]])


def _value_and_gradient(risk: IdealisedRisk, weights: FloatArray, method: str) -> tuple[float, FloatArray] | None:
    """Return them, or None of an unstable system."""
    try:
        return risk.value_and_gradient(weights, method)
    except ArgumentError:
        return None
