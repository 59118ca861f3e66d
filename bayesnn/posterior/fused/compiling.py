"""How functions of the kernel are compiled."""

from collections.abc import Callable
from typing import Any

import numba
from numba.extending import intrinsic as intrinsic_of_numba

# Counting the references to the arrays, which other threads may count too, takes longer than the arithmetic of a small
# network. Functions inside the kernel make and keep no array, and do without. Only what Python calls counts, and only
# that is kept on the disk: Numba keeps with it all that it calls.
INSIDE: dict[str, Any] = {"error_model": "numpy", "nogil": True, "_nrt": False}
FAST = {"contract", "reassoc", "nsz"}  # neither NaN nor infinity is assumed away

_njit: Any = numba.njit

# A function that returns what an operation on LLVM's values gives; see Numba's documentation of the same name.
intrinsic: Callable[[Callable[..., Any]], Callable[..., Any]] = intrinsic_of_numba


def inside[F: Callable[..., Any]](function: F) -> F:
    """Compile a function inside the kernel."""
    return _njit(**INSIDE)(function)


def reordered[F: Callable[..., Any]](function: F) -> F:
    """Compile one whose sums may be taken in another order, so that they are vectorised."""
    return _njit(**INSIDE, fastmath=FAST)(function)


def inlined[F: Callable[..., Any]](function: F) -> F:
    """Compile one that becomes part of its caller: handing it the whole problem would take some hundred stores."""
    return _njit(**INSIDE, forceinline=True)(function)
