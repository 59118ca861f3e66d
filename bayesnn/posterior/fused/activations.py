"""Activations of the fused kernel, a layer of a block at a time, in place."""

from typing import Any

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.posterior.fused.compiling import inside
from bayesnn.posterior.fused.packs import (
    WIDTH,
    add,
    clamp,
    div,
    filled,
    load,
    mul,
    mul_add,
    narrow,
    power_of_two,
    store,
    sub,
)

TANH, RELU, SOFTPLUS, SIN, IDENTITY = range(5)
CODES = {"tanh": TANH, "relu": RELU, "softplus": SOFTPLUS, "sin": SIN, "identity": IDENTITY}

TWICE_LOG2_E = 2 * 1.4426950408889634
# Adding 1.5 * 2**52 rounds to an integer, which stands in the low bits then; 1023 is the bias of a double's exponent.
ROUNDER = 6755399441055744.0 + 1023
# 2**f on |f| <= 1/2 as a polynomial through the Chebyshev points: error below 2**-51.
P1, P2, P3, P4 = 0.69314718055995, 0.24022650695910097, 0.05550410866444772, 0.009618129107606888
P5, P6, P7 = 0.0013333558230164974, 0.0001540353044173605, 1.5252657260200837e-05
P8, P9, P10 = 1.321544258792169e-06, 1.0208690299958306e-07, 7.072585949269223e-09
# tanh is 1 to the last bit beyond.
TANH_END = 19.1


@inside
def tanh(z: FloatArray, at: int, count: int) -> None:  # pragma: no cover -- compiled
    """Replace some numbers from one on, in whole packs, by their hyperbolic tangents ``1 - 2 / (exp(2 z) + 1)``."""
    zero = narrow()
    one = filled(zero, 1.0)
    for i in range(at, at + count, WIDTH):
        t = clamp(load(zero, z, i), TANH_END)
        # exp(2 t) = 2**k 2**f. Where k is so large that rounding 2 t log2(e) is felt in f, the slope of tanh is small.
        shifted = mul_add(t, filled(zero, TWICE_LOG2_E), filled(zero, ROUNDER))
        minus_k = sub(filled(zero, ROUNDER), shifted)
        f = mul_add(t, filled(zero, TWICE_LOG2_E), minus_k)
        # Even and odd powers apart: half as long to wait for.
        s = mul(f, f)
        even, odd = mul_add(s, filled(zero, P10), filled(zero, P8)), mul_add(s, filled(zero, P9), filled(zero, P7))
        even, odd = mul_add(s, even, filled(zero, P6)), mul_add(s, odd, filled(zero, P5))
        even, odd = mul_add(s, even, filled(zero, P4)), mul_add(s, odd, filled(zero, P3))
        even, odd = mul_add(s, even, filled(zero, P2)), mul_add(s, odd, filled(zero, P1))
        power = mul_add(f, odd, mul_add(s, even, one))
        quotient = div(filled(zero, -2.0), mul_add(power, power_of_two(shifted), one))
        store(add(one, quotient), z, i)


@inside
def activate(code: int, z: FloatArray, slopes: FloatArray, at: int, count: int) -> None:  # pragma: no cover -- compiled
    """Replace some sums from one on by their activations; write the slopes unless the values tell them."""
    if code == TANH:
        tanh(z, at, count)
    elif code == RELU:
        for i in range(at, at + count):
            positive = z[i] > 0.0
            slopes[i] = 1.0 if positive else 0.0
            z[i] = z[i] if positive or z[i] != z[i] else 0.0
    elif code == SOFTPLUS:
        for i in range(at, at + count):
            small = np.exp(-abs(z[i]))
            slopes[i] = (1.0 if z[i] > 0.0 else small) / (1.0 + small)
            z[i] = np.log1p(small) + (z[i] if z[i] > 0.0 else 0.0)
    elif code == SIN:
        for i in range(at, at + count):
            slopes[i] = np.cos(z[i])
            z[i] = np.sin(z[i])
    else:
        for i in range(at, at + count):
            slopes[i] = 1.0


@inside
def slope_of(zero: Any, code: int, hidden: FloatArray, slopes: FloatArray, at: int) -> Any:  # pragma: no cover
    """Return a pack of slopes of hidden units, as long as another."""
    if code == TANH:
        h = load(zero, hidden, at)
        return sub(filled(zero, 1.0), mul(h, h))
    return load(zero, slopes, at)
