"""Activations of the fused kernel: plain loops over a block, so that the compiler vectorises them.

Each works in place on a contiguous block of sums `z` and leaves the slope there, the value in `h`.
"""

import numpy as np
from numba import njit

from bayesnn.arrays import FloatArray
from bayesnn.posterior.fused.bits import bits_of, double_of

TANH, RELU, SOFTPLUS, SIN, IDENTITY = range(5)
CODES = {"tanh": TANH, "relu": RELU, "softplus": SOFTPLUS, "sin": SIN, "identity": IDENTITY}

LOG2_E = 1.4426950408889634
# ln 2 in two parts (Cody & Waite 1980): the first has 32 trailing zero bits, so that n * LN2_HIGH is exact.
LN2_HIGH, LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10
# Adding 1.5 * 2**52 rounds to an integer, which stands in the low bits then.
ROUNDER = 6755399441055744.0
# Taylor's coefficients of exp to the 12th power: error below 2**-52 on |r| <= ln(2)/2.
P2, P3, P4, P5, P6, P7 = 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040
P8, P9, P10, P11, P12 = 1 / 40320, 1 / 362880, 1 / 3628800, 1 / 39916800, 1 / 479001600
# tanh is 1 to the last bit beyond; a NaN passes both comparisons and stays one.
TANH_END = 19.1


# Sums may be fused with products but not reordered: reordering would fold the rounding trick away.
@njit(cache=True, error_model="numpy", fastmath={"contract"}, nogil=True)
def tanh_and_slope(z: FloatArray, h: FloatArray) -> None:  # pragma: no cover -- compiled
    """Write tanh(z) into `h` and its derivative into `z`."""
    for i in range(z.size):
        t = z[i]
        t = TANH_END if t > TANH_END else t
        t = -TANH_END if t < -TANH_END else t
        u = 2.0 * t
        shifted = u * LOG2_E + ROUNDER
        k = shifted - ROUNDER
        r = (u - k * LN2_HIGH) - k * LN2_LOW
        # Even and odd powers apart: half as long to wait for.
        s = r * r
        even = P10 + s * P12
        odd = P9 + s * P11
        even = P8 + s * even
        odd = P7 + s * odd
        even = P6 + s * even
        odd = P5 + s * odd
        even = P4 + s * even
        odd = P3 + s * odd
        even = P2 + s * even
        odd = 1.0 + s * odd
        even = 1.0 + s * even
        power = double_of((bits_of(shifted) + 1023) << 52)  # pyright: ignore[reportCallIssue] -- compiled
        value = 1.0 - 2.0 / ((even + r * odd) * power + 1.0)
        h[i] = value
        z[i] = 1.0 - value * value


@njit(cache=True, error_model="numpy", nogil=True)
def activate(code: int, z: FloatArray, h: FloatArray) -> None:  # pragma: no cover -- compiled
    """Write the activation of `z` into `h` and its derivative into `z`."""
    if code == TANH:
        tanh_and_slope(z, h)
    elif code == RELU:
        for i in range(z.size):
            positive = z[i] > 0.0
            h[i] = z[i] if positive or z[i] != z[i] else 0.0
            z[i] = 1.0 if positive else 0.0
    elif code == SOFTPLUS:
        for i in range(z.size):
            small = np.exp(-abs(z[i]))
            h[i] = np.log1p(small) + (z[i] if z[i] > 0.0 else 0.0)
            z[i] = (1.0 if z[i] > 0.0 else small) / (1.0 + small)
    elif code == SIN:
        for i in range(z.size):
            h[i] = np.sin(z[i])
            z[i] = np.cos(z[i])
    else:
        for i in range(z.size):
            h[i] = z[i]
            z[i] = 1.0
