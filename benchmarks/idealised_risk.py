"""Idealised risk of linear systems and its gradient, by Stein equation, powers and Parseval.

Systems of rising order with the same spectral radius; the target's part is not computed anew at every call. One
core, one BLAS thread. Beside them `scipy.linalg.solve_discrete_lyapunov` on the joint system, for the risk alone.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.linalg import block_diag, solve_discrete_lyapunov
from setting import machine, on_cores, versions

from bayesnn.arrays import FloatArray
from bayesnn.landscape.idealised_risk import METHODS, IdealisedRisk
from bayesnn.models import LinearSystem

RESULTS = Path(__file__).parent / "results" / "idealised_risk.json"
ORDERS = (2, 10, 20, 50)
RADII = (0.9, 0.99)
REPEATS = 30
WANTED_MS = 5.0


def system_of(order: int, radius: float, seed: int) -> FloatArray:
    """Draw a system whose outermost pole is at a radius."""
    rng = np.random.default_rng([order, seed])
    a = rng.standard_normal(order) / order
    system = LinearSystem(order)
    weights = np.concatenate([a, rng.standard_normal(order + 1)])
    # A factor for all poles at once.
    weights[:order] *= (radius / float(system.spectral_radius(weights))) ** np.arange(1, order + 1)
    return weights


def milliseconds(function: Callable[[], object], repeats: int) -> float:
    """Time a call: the median."""
    function()
    times: list[float] = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


def by_scipy(weights: FloatArray, target: FloatArray) -> float:
    """Solve the joint system's Stein equation with SciPy."""
    system = LinearSystem(len(target) // 2)
    own, other = system.state_space(weights), system.state_space(target)
    a, b = block_diag(own.A, other.A), np.concatenate([own.B, other.B])
    c = np.concatenate([own.C, -other.C])
    return float(c @ solve_discrete_lyapunov(a, np.outer(b, b)) @ c) + (own.D - other.D) ** 2


def measure(order: int, radius: float) -> dict[str, Any]:
    """Time every way, and say how far they are apart."""
    target, weights = system_of(order, radius, 0), system_of(order, radius, 1)
    risk = IdealisedRisk(target)
    found: dict[str, Any] = {"order": order, "radius": radius}
    values = {}
    for method in METHODS:
        values[method] = risk.value_and_gradient(weights, method)[0]
        found[f"{method}_ms"] = milliseconds(lambda method=method: risk.value_and_gradient(weights, method), REPEATS)
    values["scipy"] = by_scipy(weights, target)
    found["scipy_value_ms"] = milliseconds(lambda: by_scipy(weights, target), 5)
    found["apart"] = max(abs(value / values["stein"] - 1.0) for value in values.values())
    return found


def main() -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with on_cores(1):
        results = [measure(order, radius) for radius in RADII for order in ORDERS]
        found = {"repeats": REPEATS, "versions": versions(), "machine": machine(), "results": results}
    table = Table(title=f"Risk and gradient, ms; wanted below {WANTED_MS:g} by the Stein equation at order 50")
    for column in ("radius", "order", *METHODS, "SciPy, risk alone", "relative distance"):
        table.add_column(column)
    for r in results:
        cells = [f"{r[f'{name}_ms']:.3f}" for name in (*METHODS, "scipy_value")]
        table.add_row(f"{r['radius']:g}", str(r["order"]), *cells, f"{r['apart']:.1e}")
    Console(width=120).print(table)
    arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
