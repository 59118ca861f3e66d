"""Activation functions with their first and second derivatives."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from bayesnn.arrays import FloatArray
from bayesnn.checks import one_of


@dataclass(frozen=True)
class Activation:
    """An elementwise nonlinearity.

    Parameters
    ----------
    name : str
        As the user writes it.
    value : callable
        ``value(z)``.
    slope : callable
        ``slope(z, h)``: first derivative at `z`, where ``h = value(z)`` may save work.
    bend : callable
        ``bend(z, h)``: second derivative.
    is_odd : bool
        Whether ``value(-z) == -value(z)``: the network is then unchanged when a hidden unit changes sign.
    is_homogeneous : bool
        Whether ``value(c z) == c value(z)`` for positive `c`: a unit's weights in and out may then be scaled.
    """

    name: str
    value: Callable[[FloatArray], FloatArray]
    slope: Callable[[FloatArray, FloatArray], FloatArray]
    bend: Callable[[FloatArray, FloatArray], FloatArray]
    is_odd: bool
    is_homogeneous: bool = False

    def __reduce__(self) -> tuple[Callable[[str], "Activation"], tuple[str]]:
        # Functions without a name cannot be pickled; other processes know activations by theirs.
        return activation_named, (self.name,)


def _softplus(z: FloatArray) -> FloatArray:
    return np.logaddexp(0.0, z)


def _softplus_bend(z: FloatArray, h: FloatArray) -> FloatArray:
    slope = expit(z)
    return slope * (1.0 - slope)


ACTIVATIONS: dict[str, Activation] = {
    activation.name: activation
    for activation in (
        Activation("tanh", np.tanh, lambda z, h: 1.0 - h * h, lambda z, h: 2.0 * h * (h * h - 1.0), is_odd=True),
        Activation(
            "relu",
            lambda z: np.maximum(z, 0.0),
            lambda z, h: (z > 0).astype(np.float64),
            lambda z, h: np.zeros_like(z),
            is_odd=False,
            is_homogeneous=True,
        ),
        Activation("softplus", _softplus, lambda z, h: expit(z), _softplus_bend, is_odd=False),
        Activation("sin", np.sin, lambda z, h: np.cos(z), lambda z, h: -h, is_odd=True),
        Activation(
            "identity",
            lambda z: z,
            lambda z, h: np.ones_like(z),
            lambda z, h: np.zeros_like(z),
            is_odd=True,
            is_homogeneous=True,
        ),
    )
}


def activation_named(name: str) -> Activation:
    """Return the activation called `name`; raise ArgumentError listing the known ones otherwise."""
    return ACTIVATIONS[one_of("activation", name, ACTIVATIONS)]
