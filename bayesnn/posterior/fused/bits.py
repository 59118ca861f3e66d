"""The bits of a double as an integer and back, inside compiled loops, where they cost nothing."""

from typing import Any

from llvmlite import ir  # pyright: ignore[reportMissingTypeStubs] -- it has none
from numba import types
from numba.extending import intrinsic

type Codegen = Any


@intrinsic
def bits_of(_context: Any, number: Any) -> tuple[Any, Codegen]:
    """Return the 64 bits of a double as an integer."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), codegen


@intrinsic
def double_of(_context: Any, bits: Any) -> tuple[Any, Codegen]:
    """Return the double that has these 64 bits."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen
