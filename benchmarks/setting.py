"""Where a benchmark ran: the machine, the versions, and the cores it is held to."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from threadpoolctl import threadpool_info, threadpool_limits

import bayesnn


def machine() -> dict[str, Any]:
    """Describe the machine without naming it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    blas = {(lib["internal_api"], lib["version"], lib["num_threads"]) for lib in threadpool_info()}
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "platform": f"{platform.system()} {platform.machine()}",
        "blas": [f"{name} {version}, {threads} threads" for name, version, threads in sorted(blas)],
    }


def versions() -> dict[str, str]:
    """Versions of what every benchmark uses."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "bayesnn": bayesnn.__version__,
    }


@contextmanager
def on_cores(n: int) -> Iterator[None]:
    """Hold this thread, and the processes and threads it starts, to `n` cores, and BLAS to as many threads.

    bayesnn sums blocks of rows on all cores that it may use.
    """
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:n])
    try:
        with threadpool_limits(n, "blas"):
            yield
    finally:
        os.sched_setaffinity(0, allowed)
