"""Activations of the fused kernel: plain loops over a block, so that the compiler vectorises them.

Each works in place on a contiguous block of sums `z` and leaves the slope there, the value in `h`.
"""

import numpy as np
from numba import njit

from bayesnn.arrays import FloatArray, IntArray

TANH, RELU, SOFTPLUS, SIN, IDENTITY = range(5)
CODES = {"tanh": TANH, "relu": RELU, "softplus": SOFTPLUS, "sin": SIN, "identity": IDENTITY}

LOG2_E = 1.4426950408889634
# ln 2 in two parts (Cody & Waite 1980): the first has 32 trailing zero bits, so that n * LN2_HIGH is exact.
LN2_HIGH, LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10
# Adding 1.5 * 2**52 rounds to an integer, which stands in the low bits then.
ROUNDER = 6755399441055744.0
# Taylor's coefficients of exp to the 13th power: error below 2**-53 on |r| <= ln(2)/2.
P2, P3, P4, P5, P6, P7 = 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040
P8, P9, P10, P11, P12, P13 = 1 / 40320, 1 / 362880, 1 / 3628800, 1 / 39916800, 1 / 479001600, 1 / 6227020800
# tanh is 1 to the last bit beyond; a NaN passes both comparisons and stays one.
TANH_END = 19.1


# Sums may be fused with products but not reordered: reordering would fold the rounding trick away.
@njit(cache=True, error_model="numpy", fastmath={"contract"}, nogil=True)
def tanh_and_slope(z: FloatArray, h: FloatArray, bits: IntArray) -> None:  # pragma: no cover -- compiled
    """Write tanh(z) into `h` and its derivative into `z`; `bits` is room for as many integers."""
    n = z.size
    rounded = bits.view(np.float64)
    for i in range(n):
        t = z[i]
        t = TANH_END if t > TANH_END else t
        t = -TANH_END if t < -TANH_END else t
        u = 2.0 * t
        shifted = u * LOG2_E + ROUNDER
        rounded[i] = shifted
        k = shifted - ROUNDER
        r = (u - k * LN2_HIGH) - k * LN2_LOW
        p = P12 + r * P13
        p = P11 + r * p
        p = P10 + r * p
        p = P9 + r * p
        p = P8 + r * p
        p = P7 + r * p
        p = P6 + r * p
        p = P5 + r * p
        p = P4 + r * p
        p = P3 + r * p
        p = P2 + r * p
        p = 1.0 + r * p
        h[i] = 1.0 + r * p
    for i in range(n):
        bits[i] = (bits[i] + 1023) << 52
    for i in range(n):
        value = 1.0 - 2.0 / (h[i] * rounded[i] + 1.0)
        h[i] = value
        z[i] = 1.0 - value * value


@njit(cache=True, error_model="numpy", nogil=True)
def activate(code: int, z: FloatArray, h: FloatArray, bits: IntArray) -> None:  # pragma: no cover -- compiled
    """Write the activation of `z` into `h` and its derivative into `z`."""
    if code == TANH:
        tanh_and_slope(z, h, bits)
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
