"""Small matrix products of the fused kernel, over blocks of rows that stay in the cache.

Arrays are feature-major, features by rows, and flat: a matrix is told by where it begins, and each of its features has
as many rows as the block. A tile of sums, four features by a pack of rows, stays in registers while the loop goes along
what is summed: each pack that is read serves four features.
"""

from typing import Any

from bayesnn.arrays import FloatArray
from bayesnn.posterior.fused.activations import slope_of
from bayesnn.posterior.fused.compiling import inside
from bayesnn.posterior.fused.packs import (
    WIDE,
    WIDTH,
    add_totals,
    load,
    mul,
    mul_add,
    narrow,
    plain,
    spread,
    store,
    total_of,
    wide,
)

# Instead of a code of an activation: nothing is multiplied.
NO_SLOPE = -1


@inside
def put_four(
    zero: Any,
    weights: FloatArray,
    first: int,
    across: int,
    along: int,
    starts: int,
    inputs: FloatArray,
    at: int,
    n_in: int,
    totals: FloatArray,
    to: int,
    rows: int,
    code: int,
    hidden: FloatArray,
    slopes: FloatArray,
    unit: int,
) -> None:  # pragma: no cover -- compiled
    """Write four features of a pack of rows."""
    a = b = c = d = zero
    if starts >= 0:
        a, b = spread(zero, weights, starts), spread(zero, weights, starts + 1)
        c, d = spread(zero, weights, starts + 2), spread(zero, weights, starts + 3)
    for _ in range(n_in):
        x = load(zero, inputs, at)
        a = mul_add(x, spread(zero, weights, first), a)
        b = mul_add(x, spread(zero, weights, first + across), b)
        c = mul_add(x, spread(zero, weights, first + 2 * across), c)
        d = mul_add(x, spread(zero, weights, first + 3 * across), d)
        at += rows
        first += along
    if code != NO_SLOPE:
        a = mul(a, slope_of(zero, code, hidden, slopes, unit))
        b = mul(b, slope_of(zero, code, hidden, slopes, unit + rows))
        c = mul(c, slope_of(zero, code, hidden, slopes, unit + 2 * rows))
        d = mul(d, slope_of(zero, code, hidden, slopes, unit + 3 * rows))
    store(a, totals, to)
    store(b, totals, to + rows)
    store(c, totals, to + 2 * rows)
    store(d, totals, to + 3 * rows)


@inside
def put_one(
    zero: Any,
    weights: FloatArray,
    first: int,
    along: int,
    starts: int,
    inputs: FloatArray,
    at: int,
    n_in: int,
    totals: FloatArray,
    to: int,
    rows: int,
    code: int,
    hidden: FloatArray,
    slopes: FloatArray,
    unit: int,
) -> None:  # pragma: no cover -- compiled
    """Write one feature of a pack of rows."""
    a = zero
    if starts >= 0:
        a = spread(zero, weights, starts)
    for _ in range(n_in):
        a = mul_add(load(zero, inputs, at), spread(zero, weights, first), a)
        at += rows
        first += along
    if code != NO_SLOPE:
        a = mul(a, slope_of(zero, code, hidden, slopes, unit))
    store(a, totals, to)


@inside
def put_products(
    weights: FloatArray,
    first: int,
    across: int,
    along: int,
    starts: int,
    inputs: FloatArray,
    at: int,
    n_in: int,
    totals: FloatArray,
    to: int,
    n_out: int,
    rows: int,
    code: int,
    hidden: FloatArray,
    slopes: FloatArray,
    unit: int,
) -> None:  # pragma: no cover -- compiled
    """Write ``weights[starts + j] + sum_i weights[first + j * across + i * along] * inputs[i]`` into ``totals[j]``.

    Inputs begin at `at` in their array, totals at `to`; nothing is added where `starts` is negative. Unless the code of
    the activation is `NO_SLOPE`, totals are multiplied with the slopes of the hidden units that begin at `unit`.
    """
    many = rows - rows % WIDE
    for j in range(0, n_out - 3, 4):
        w, s = first + j * across, starts + j if starts >= 0 else starts
        for r in range(0, many, WIDE):
            t, u = to + j * rows + r, unit + j * rows + r
            put_four(
                wide(), weights, w, across, along, s, inputs, at + r, n_in, totals, t, rows, code, hidden, slopes, u
            )
        for r in range(many, rows, WIDTH):
            t, u = to + j * rows + r, unit + j * rows + r
            put_four(
                narrow(), weights, w, across, along, s, inputs, at + r, n_in, totals, t, rows, code, hidden, slopes, u
            )
    for j in range(n_out - n_out % 4, n_out):
        w, s = first + j * across, starts + j if starts >= 0 else starts
        for r in range(0, many, WIDE):
            t, u = to + j * rows + r, unit + j * rows + r
            put_one(wide(), weights, w, along, s, inputs, at + r, n_in, totals, t, rows, code, hidden, slopes, u)
        for r in range(many, rows, WIDTH):
            t, u = to + j * rows + r, unit + j * rows + r
            put_one(narrow(), weights, w, along, s, inputs, at + r, n_in, totals, t, rows, code, hidden, slopes, u)


@inside
def outer_four(
    inputs: FloatArray, x: int, deltas: FloatArray, y: int, rows: int, gradient: FloatArray, to: int, n_out: int
) -> None:  # pragma: no cover -- compiled
    """Add the row sums of four inputs times four derivatives."""
    a = b = c = d = e = f = g = h = narrow()
    i = j = k = l = m = n = o = p = narrow()  # noqa: E741
    for _ in range(0, rows, WIDTH):
        s, t = load(a, inputs, x), load(a, inputs, x + rows)
        u, v = load(a, inputs, x + 2 * rows), load(a, inputs, x + 3 * rows)
        z = load(a, deltas, y)
        a, e, i, m = mul_add(s, z, a), mul_add(t, z, e), mul_add(u, z, i), mul_add(v, z, m)
        z = load(a, deltas, y + rows)
        b, f, j, n = mul_add(s, z, b), mul_add(t, z, f), mul_add(u, z, j), mul_add(v, z, n)
        z = load(a, deltas, y + 2 * rows)
        c, g, k, o = mul_add(s, z, c), mul_add(t, z, g), mul_add(u, z, k), mul_add(v, z, o)
        z = load(a, deltas, y + 3 * rows)
        d, h, l, p = mul_add(s, z, d), mul_add(t, z, h), mul_add(u, z, l), mul_add(v, z, p)  # noqa: E741
        x += WIDTH
        y += WIDTH
    add_totals(gradient, to, a, b, c, d)
    add_totals(gradient, to + n_out, e, f, g, h)
    add_totals(gradient, to + 2 * n_out, i, j, k, l)
    add_totals(gradient, to + 3 * n_out, m, n, o, p)


@inside
def outer_one(
    one: FloatArray, x: int, four: FloatArray, y: int, rows: int, gradient: FloatArray, to: int, step: int
) -> None:  # pragma: no cover -- compiled
    """Add the row sums of four features times one, to elements of the gradient so many apart."""
    a = b = c = d = narrow()
    for _ in range(0, rows, WIDTH):
        s = load(a, one, x)
        a = mul_add(s, load(a, four, y), a)
        b = mul_add(s, load(a, four, y + rows), b)
        c = mul_add(s, load(a, four, y + 2 * rows), c)
        d = mul_add(s, load(a, four, y + 3 * rows), d)
        x += WIDTH
        y += WIDTH
    if step == 1:
        add_totals(gradient, to, a, b, c, d)
    else:
        gradient[to] += total_of(a)
        gradient[to + step] += total_of(b)
        gradient[to + 2 * step] += total_of(c)
        gradient[to + 3 * step] += total_of(d)


@inside
def add_outer(
    inputs: FloatArray,
    at: int,
    n_in: int,
    deltas: FloatArray,
    start: int,
    n_out: int,
    rows: int,
    gradient: FloatArray,
    first: int,
) -> None:  # pragma: no cover -- compiled
    """Add the row sums of ``inputs[i] * deltas[j]`` to ``gradient[first + i * n_out + j]``.

    Inputs begin at `at` in their array, deltas at `start`.
    """
    fours_in, fours_out = n_in - n_in % 4, n_out - n_out % 4
    for j in range(0, fours_out, 4):
        for i in range(0, fours_in, 4):
            outer_four(inputs, at + i * rows, deltas, start + j * rows, rows, gradient, first + i * n_out + j, n_out)
        for i in range(fours_in, n_in):
            outer_one(inputs, at + i * rows, deltas, start + j * rows, rows, gradient, first + i * n_out + j, plain(1))
    for j in range(fours_out, n_out):
        for i in range(0, fours_in, 4):
            outer_one(deltas, start + j * rows, inputs, at + i * rows, rows, gradient, first + i * n_out + j, n_out)
        for i in range(fours_in, n_in):
            total = narrow()
            for r in range(0, rows, WIDTH):
                total = mul_add(
                    load(total, inputs, at + i * rows + r), load(total, deltas, start + j * rows + r), total
                )
            gradient[first + i * n_out + j] += total_of(total)
