"""What fits in the memory of this machine."""

import os

# Matrices of the size of the precision that building, factoring and using one holds at a time.
MATRICES_AT_A_TIME = 4
# Share of the machine's memory they may take.
MEMORY_SHARE = 0.5


def memory_for_square(size: int) -> float:
    """Bytes that work with matrices (size, size) takes."""
    return 8.0 * MATRICES_AT_A_TIME * size**2


def memory_present() -> float:
    """Bytes of memory of this machine; infinite where it does not say."""
    if not hasattr(os, "sysconf"):
        return float("inf")
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def square_fits(size: int) -> bool:
    """Whether matrices (size, size) can be worked with."""
    return memory_for_square(size) <= MEMORY_SHARE * memory_present()
