"""Small matrix products of the fused kernel, over blocks of rows that stay in the cache.

Arrays are feature-major, (features, rows): every inner loop runs along contiguous rows. Eight features at a time keep
the sums in registers between loads; more would pass the number of pointers the compiler can prove apart.
"""

from numba import njit

from bayesnn.arrays import FloatArray

FAST = {"contract", "reassoc", "nsz"}  # neither NaN nor infinity is assumed away


@njit(cache=True, error_model="numpy", fastmath=FAST, nogil=True)
def put_products(
    weights: FloatArray,
    first: int,
    stride: int,
    inputs: FloatArray,
    count: int,
    start: float,
    total: FloatArray,
    rows: int,
) -> None:  # pragma: no cover -- compiled
    """Write ``start + sum_i weights[first + i * stride] * inputs[i]`` into `total`, for so many features and rows."""
    if count >= 4:
        a, b = weights[first], weights[first + stride]
        c, d = weights[first + 2 * stride], weights[first + 3 * stride]
        x0, x1, x2, x3 = inputs[0], inputs[1], inputs[2], inputs[3]
        for r in range(rows):
            total[r] = start + a * x0[r] + b * x1[r] + c * x2[r] + d * x3[r]
        i = 4
    else:
        a, x0 = weights[first], inputs[0]
        for r in range(rows):
            total[r] = start + a * x0[r]
        i = 1
    while i + 8 <= count:
        a, b = weights[first + i * stride], weights[first + (i + 1) * stride]
        c, d = weights[first + (i + 2) * stride], weights[first + (i + 3) * stride]
        e, f = weights[first + (i + 4) * stride], weights[first + (i + 5) * stride]
        g, h = weights[first + (i + 6) * stride], weights[first + (i + 7) * stride]
        x0, x1, x2, x3 = inputs[i], inputs[i + 1], inputs[i + 2], inputs[i + 3]
        x4, x5, x6, x7 = inputs[i + 4], inputs[i + 5], inputs[i + 6], inputs[i + 7]
        for r in range(rows):
            total[r] += a * x0[r] + b * x1[r] + c * x2[r] + d * x3[r] + e * x4[r] + f * x5[r] + g * x6[r] + h * x7[r]
        i += 8
    while i + 4 <= count:
        a, b = weights[first + i * stride], weights[first + (i + 1) * stride]
        c, d = weights[first + (i + 2) * stride], weights[first + (i + 3) * stride]
        x0, x1, x2, x3 = inputs[i], inputs[i + 1], inputs[i + 2], inputs[i + 3]
        for r in range(rows):
            total[r] += a * x0[r] + b * x1[r] + c * x2[r] + d * x3[r]
        i += 4
    while i < count:
        a, x0 = weights[first + i * stride], inputs[i]
        for r in range(rows):
            total[r] += a * x0[r]
        i += 1


@njit(cache=True, error_model="numpy", fastmath=FAST, nogil=True)
def add_outer(
    inputs: FloatArray, n_in: int, delta: FloatArray, n_out: int, rows: int, gradient: FloatArray, first: int
) -> None:  # pragma: no cover -- compiled
    """Add the row sums of ``inputs[i] * delta[j]`` to ``gradient[first + i * n_out + j]``."""
    for j in range(0, n_out - n_out % 2, 2):
        d0, d1 = delta[j], delta[j + 1]
        i = 0
        while i + 4 <= n_in:
            x0, x1, x2, x3 = inputs[i], inputs[i + 1], inputs[i + 2], inputs[i + 3]
            a = b = c = d = e = f = g = h = 0.0
            for r in range(rows):
                p, q = d0[r], d1[r]
                u, v, s, t = x0[r], x1[r], x2[r], x3[r]
                a += u * p
                b += v * p
                c += s * p
                d += t * p
                e += u * q
                f += v * q
                g += s * q
                h += t * q
            at = first + i * n_out + j
            gradient[at] += a
            gradient[at + 1] += e
            gradient[at + n_out] += b
            gradient[at + n_out + 1] += f
            gradient[at + 2 * n_out] += c
            gradient[at + 2 * n_out + 1] += g
            gradient[at + 3 * n_out] += d
            gradient[at + 3 * n_out + 1] += h
            i += 4
        while i < n_in:
            x0 = inputs[i]
            a = b = 0.0
            for r in range(rows):
                a += x0[r] * d0[r]
                b += x0[r] * d1[r]
            gradient[first + i * n_out + j] += a
            gradient[first + i * n_out + j + 1] += b
            i += 1
    if n_out % 2:
        j = n_out - 1
        d0 = delta[j]
        i = 0
        while i + 4 <= n_in:
            x0, x1, x2, x3 = inputs[i], inputs[i + 1], inputs[i + 2], inputs[i + 3]
            a = b = c = d = 0.0
            for r in range(rows):
                p = d0[r]
                a += x0[r] * p
                b += x1[r] * p
                c += x2[r] * p
                d += x3[r] * p
            gradient[first + i * n_out + j] += a
            gradient[first + (i + 1) * n_out + j] += b
            gradient[first + (i + 2) * n_out + j] += c
            gradient[first + (i + 3) * n_out + j] += d
            i += 4
        while i < n_in:
            x0 = inputs[i]
            a = 0.0
            for r in range(rows):
                a += x0[r] * d0[r]
            gradient[first + i * n_out + j] += a
            i += 1


@njit(cache=True, error_model="numpy", fastmath=FAST, nogil=True)
def add_row_sums(
    delta: FloatArray, n_out: int, rows: int, gradient: FloatArray, first: int
) -> None:  # pragma: no cover -- compiled
    """Add the row sums of ``delta[j]`` to ``gradient[first + j]``."""
    for j in range(n_out):
        row, total = delta[j], 0.0
        for r in range(rows):
            total += row[r]
        gradient[first + j] += total
