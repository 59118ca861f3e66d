"""Gradient descent that keeps its path: plain, or projected on to a set."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, finite_array, integer_at_least, positive_number
from bayesnn.errors import ArgumentError
from bayesnn.landscape.loss import Loss, loss_of, point_of
from bayesnn.posterior import Posterior


class Ending(StrEnum):
    """How a descent ended."""

    reached = "value reached"
    stationary = "stationary"
    out_of_steps = "out of steps"
    diverged = "diverged"


@dataclass(frozen=True, eq=False)
class DescentPath:
    """What gradient descent passed through, the start included.

    Parameters
    ----------
    values : ndarray (t,)
        Losses.
    gradients : ndarray (t, k)
        Their gradients.
    weights : ndarray (t, k)
        Where.
    step : float
        Step size.
    ending : Ending
        Why it stopped.
    """

    values: FloatArray
    gradients: FloatArray
    weights: FloatArray
    step: float
    ending: Ending

    @property
    def gradient_norms(self) -> FloatArray:
        """Euclidean norms (t,) of the gradients."""
        return np.linalg.norm(self.gradients, axis=1)

    @property
    def n_steps(self) -> int:
        """Steps made."""
        return len(self.values) - 1


@np.errstate(over="ignore", invalid="ignore")
def descend(
    loss: Loss | Posterior,
    start: ArrayLike,
    step: float,
    max_steps: int = 1000,
    *,
    until: float | None = None,
    stationary: float = 0.0,
    project: Callable[[FloatArray], FloatArray] | None = None,
) -> DescentPath:
    r"""Descend by :math:`w \leftarrow \Pi(w - \eta \nabla f(w))`.

    Parameters
    ----------
    loss : Loss or Posterior
        Of a posterior, minus its log density.
    start : array_like (k,)
        Where to begin.
    step : float
        :math:`\eta`, above 0.
    max_steps : int
        Steps at most.
    until : float, optional
        Stop at a value below this.
    stationary : float
        Stop where a step changes the weights by no more than this, in Euclidean distance: exactly not at all by
        default.
    project : callable, optional
        :math:`\Pi`, from (k,) to (k,), such as the ``project`` of a region; the identity without it.

    Returns
    -------
    DescentPath

    Raises
    ------
    ArgumentError
        If a shape or a number is not as above.

    Examples
    --------
    >>> from bayesnn import LogDensity
    >>> bowl = LogDensity(lambda w: -0.5 * w[0] ** 2, ["a"], gradient=lambda w: -w)
    >>> path = descend(bowl, [1.0], 0.5, until=1e-6)
    >>> path.n_steps, path.ending.value
    (10, 'value reached')
    """
    loss = loss_of(loss)
    w = point_of(loss, start, "start")
    size, most = positive_number("step", step), integer_at_least("max_steps", max_steps, 1)
    goal = -np.inf if until is None else float(finite_array("until", until, (0,), "a number"))
    if not isinstance(stationary, int | float) or not stationary >= 0.0:  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
        raise ArgumentError("stationary", describe(stationary), "a number of at least 0")
    values: list[float] = []
    gradients: list[FloatArray] = []
    weights: list[FloatArray] = []
    ending = Ending.out_of_steps
    w = w if project is None else project(w)
    for count in range(most + 1):
        value, gradient = loss.value_and_gradient(w)
        if not np.isfinite(value) or not np.isfinite(gradient).all():
            ending = Ending.diverged
            break
        values.append(value)
        gradients.append(gradient)
        weights.append(w)
        if value < goal:
            ending = Ending.reached
            break
        moved = w - size * gradient
        moved = moved if project is None else project(moved)
        if np.linalg.norm(moved - w) <= stationary:
            ending = Ending.stationary
            break
        if count < most:
            w = moved
    if not values:
        raise ArgumentError("start", "a point where the loss or its gradient is not finite", "one where both are")
    return DescentPath(np.array(values), np.array(gradients), np.array(weights), size, ending)
