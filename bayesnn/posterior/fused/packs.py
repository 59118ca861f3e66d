"""Packs of doubles that live in vector registers, inside compiled loops.

Numba has no such type: it leaves the compiler to find loops that can be vectorised, which it does for a loop with one
result, but not for one that keeps a tile of sums in registers. Here the kernel says what it wants. Arithmetic on packs
is that of their doubles, one by one; a function of packs is compiled for each length it is called with.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from bayesnn.posterior.fused.compiling import intrinsic

type Typed = tuple[Any, Callable[..., Any]]

# They have no types of their own.
ir: Any = import_module("llvmlite.ir")
llvm: Any = import_module("llvmlite.binding")
types: Any = import_module("numba.types")
cgutils: Any = import_module("numba.core.cgutils")
extending: Any = import_module("numba.extending")

# Doubles in a pack, and in a wide one, of which four and their operands fit into the registers: 32 of eight doubles
# with AVX-512, 16 of four with AVX2. Elsewhere the compiler makes a pack of several registers. Numba keeps what it
# compiled apart by the same features of the machine.
HAS_AVX512 = bool(llvm.get_host_cpu_features().get("avx512f"))
WIDTH, WIDE = (8, 32) if HAS_AVX512 else (4, 8)
DOUBLE, INDEX = ir.DoubleType(), ir.IntType(32)


class Pack(types.Type):
    """Numba's type of a pack.

    Parameters
    ----------
    width : int
        Number of doubles, a power of two from four on.
    """

    def __init__(self, width: int) -> None:
        super().__init__(name=f"Pack({width})")
        self.width = width
        self.vector = ir.VectorType(DOUBLE, width)


@extending.register_model(Pack)
class PackModel(extending.models.PrimitiveModel):
    """A pack is one vector of LLVM."""

    def __init__(self, manager: Any, kind: Pack) -> None:
        super().__init__(manager, kind, kind.vector)


@intrinsic
def plain(_context: Any, number: Any) -> Typed:
    """Return an integer as one of no known value: a function called with a literal is compiled for this one alone."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.cast(builder, args[0], number, types.int64)

    return types.int64(number), codegen


def zeros_of(width: int) -> Any:
    """Return a function that returns a pack of so many zeros."""

    @intrinsic
    def zeros(_context: Any) -> Typed:
        """Return a pack of zeros."""
        kind = Pack(width)

        def codegen(_context: Any, _builder: Any, _signature: Any, _args: Any) -> Any:
            return ir.Constant(kind.vector, [0.0] * width)

        return kind(), codegen

    return zeros


narrow, wide = zeros_of(WIDTH), zeros_of(WIDE)


@intrinsic
def filled(_context: Any, like: Any, number: Any) -> Typed:
    """Return a pack, as long as another, of one double."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return splat(builder, args[1], like.vector)

    return like(like, types.float64), codegen


@intrinsic
def spread(_context: Any, like: Any, array: Any, at: Any) -> Typed:
    """Return a pack, as long as another, of one element of an array (n,)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = place_of(context, builder, signature.args[1], args[1], args[2], DOUBLE)
        return splat(builder, builder.load(place), like.vector)

    return like(like, array, types.int64), codegen


@intrinsic
def load(_context: Any, like: Any, array: Any, at: Any) -> Typed:
    """Return a pack, as long as another, of the elements of an array (n,) from one on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = place_of(context, builder, signature.args[1], args[1], args[2], like.vector)
        return builder.load(place, align=8)

    return like(like, array, types.int64), codegen


@intrinsic
def store(_context: Any, pack: Any, array: Any, at: Any) -> Typed:
    """Write a pack to the elements of an array (n,) from one on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = place_of(context, builder, signature.args[1], args[1], args[2], pack.vector)
        builder.store(args[0], place, align=8)
        return context.get_dummy_value()

    return types.void(pack, array, types.int64), codegen


@intrinsic
def mul_add(_context: Any, a: Any, b: Any, c: Any) -> Typed:
    """Return ``a * b + c``, rounded once where the machine has an instruction for it."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(a.vector, [a.vector] * 3)
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{a.width}f64")
        return builder.call(function, args)

    return a(a, a, a), codegen


def elementwise(operation: str) -> Any:
    """Return an operation on packs, by LLVM's name."""

    @intrinsic
    def of_packs(_context: Any, a: Any, b: Any) -> Typed:
        def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return getattr(builder, operation)(*args)

        return a(a, a), codegen

    return of_packs


add, sub, mul, div = (elementwise(name) for name in ("fadd", "fsub", "fmul", "fdiv"))


@intrinsic
def clamp(_context: Any, pack: Any, end: Any) -> Typed:
    """Return a pack cut off at ``-end`` and `end`; what is no number stays so."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        numbers, end = args
        high, low = splat(builder, end, pack.vector), splat(builder, builder.fneg(end), pack.vector)
        numbers = builder.select(builder.fcmp_ordered(">", numbers, high), high, numbers)
        return builder.select(builder.fcmp_ordered("<", numbers, low), low, numbers)

    return pack(pack, types.float64), codegen


@intrinsic
def power_of_two(_context: Any, exponents: Any) -> Typed:
    """Return the doubles whose biased exponents are the low bits of those of a pack."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        integers = ir.VectorType(ir.IntType(64), exponents.width)
        bits = builder.shl(builder.bitcast(args[0], integers), ir.Constant(integers, [52] * exponents.width))
        return builder.bitcast(bits, exponents.vector)

    return exponents(exponents), codegen


@intrinsic
def total_of(_context: Any, pack: Any) -> Typed:
    """Return the sum of a pack's doubles."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        sums = halved(builder, args[0], pack.width, 1)
        return builder.extract_element(sums, ir.Constant(INDEX, 0))

    return types.float64(pack), codegen


@intrinsic
def add_totals(_context: Any, array: Any, at: Any, a: Any, b: Any, c: Any, d: Any) -> Typed:
    """Add the sums of four packs' doubles to four elements of an array (n,) from one on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ab, cd = (paired(builder, args[i], args[i + 1], a.width, 1) for i in (2, 4))
        sums = halved(builder, paired(builder, ab, cd, a.width, 2), a.width, 4)
        place = place_of(context, builder, signature.args[0], args[0], args[1], ir.VectorType(DOUBLE, 4))
        builder.store(builder.fadd(builder.load(place, align=8), sums), place, align=8)
        return context.get_dummy_value()

    return types.void(array, types.int64, a, a, a, a), codegen


def splat(builder: Any, number: Any, vector: Any) -> Any:
    """Put a number into all places of a vector."""
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(INDEX, 0))
    return shuffled(builder, first, first, [0] * vector.count)


def place_of(context: Any, builder: Any, kind: Any, array: Any, at: Any, what: Any) -> Any:
    """Return a pointer to what begins at an element of an array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), what.as_pointer())


def shuffled(builder: Any, a: Any, b: Any, lanes: list[int]) -> Any:
    """Return a vector of some places of two, those of the second counted on."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INDEX, len(lanes)), lanes))


def halved(builder: Any, sums: Any, width: int, end: int) -> Any:
    """Add the upper half to the lower one until so many doubles are left."""
    while width > end:
        width //= 2
        low, high = list(range(width)), list(range(width, 2 * width))
        sums = builder.fadd(shuffled(builder, sums, sums, low), shuffled(builder, sums, sums, high))
    return sums


def paired(builder: Any, a: Any, b: Any, width: int, run: int) -> Any:
    """Add every other run of doubles to the one before, of `a` and `b` in turn: half as many sums of each."""
    first = [i + side + j for i in range(0, width, 2 * run) for side in (0, width) for j in range(run)]
    return builder.fadd(shuffled(builder, a, b, first), shuffled(builder, a, b, [lane + run for lane in first]))
