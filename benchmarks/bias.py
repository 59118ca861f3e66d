"""What the draws of unadjusted microcanonical Langevin are off by, against the target its step size is tuned to.

On a Gaussian of 27 dimensions, whose variances are known, and on concrete 8-3-1, beside exact draws: the largest error
of a predictive sd and mean at 50 held-out inputs, and the Monte-Carlo error of one of them.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from panel import entry_of
from rich.console import Console
from rich.table import Table
from setting import machine, versions

from bayesnn import LogDensity, fit_laplace, moves, sample
from bayesnn.chain_statistics import ess
from bayesnn.laplace import Laplace
from bayesnn.tree import settings_of, weight_matrix

RESULTS = Path(__file__).parent / "results" / "bias.json"
TARGETS = (5e-2, 5e-3, 5e-4, 5e-5)
NUM_STEPS = 32
GAUSSIAN_SIZE, GAUSSIAN_CONDITION = 27, 1e4


def draws_of(laplace: Laplace, num_samples: int, move: Any = "auto") -> tuple[np.ndarray, dict[str, Any]]:
    """Weights (chains, draws, k) and the settings of a run."""
    tree = sample(laplace, move=move, num_warmup=600, num_samples=num_samples, seed=0, progress=False)
    blocks = laplace.posterior.model.weight_blocks
    return weight_matrix(tree["posterior"].to_dataset(), blocks), settings_of(tree)


def unadjusted(laplace: Laplace, target: float) -> moves.MicrocanonicalLangevin:
    """Return the move in the Laplace metric."""
    density = (
        laplace.posterior.value_and_gradient if isinstance(laplace.posterior, LogDensity) else laplace.posterior.fused()
    )
    metric = laplace.posterior_covariance
    return moves.MicrocanonicalLangevin(density, metric, 0.2, NUM_STEPS, energy_variance=target)


def against_known(values: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> dict[str, float]:
    """Largest errors of mean and sd of functions (chains, draws, m), in units of the sd, and their noise."""
    effective = np.minimum(ess(values), ess((values - mean) ** 2))
    return {
        "mean": float(np.abs((values.mean(axis=(0, 1)) - mean) / sd).max()),
        "sd": float(np.abs(values.std(axis=(0, 1)) / sd - 1.0).max()),
        "noise_of_mean": float((1.0 / np.sqrt(effective)).max()),
        "noise_of_sd": float((1.0 / np.sqrt(2.0 * effective)).max()),
    }


def gaussian(num_samples: int) -> list[dict[str, Any]]:
    """Measure the bias on a Gaussian in a metric that is wrong by factors of up to two in every direction."""
    rng = np.random.default_rng(0)
    axes, _ = np.linalg.qr(rng.standard_normal((GAUSSIAN_SIZE, GAUSSIAN_SIZE)))
    variances = np.geomspace(1.0, GAUSSIAN_CONDITION, GAUSSIAN_SIZE)
    precision = (axes / variances) @ axes.T
    names = [f"w{i}" for i in range(GAUSSIAN_SIZE)]
    target = LogDensity(
        lambda w: -0.5 * np.einsum("...i,ij,...j->...", w, precision, w),
        names,
        gradient=lambda w: -w @ precision,
        start=np.zeros(GAUSSIAN_SIZE),
        vectorized=True,
    )
    laplace = fit_laplace(target, np.zeros(GAUSSIAN_SIZE), curvature="hessian")
    wrong = variances * np.geomspace(0.5, 2.0, GAUSSIAN_SIZE) ** 2
    rows = []
    for energy_variance in TARGETS:
        metric = (axes * wrong) @ axes.T
        move = moves.MicrocanonicalLangevin(
            target.value_and_gradient, metric, 0.2, NUM_STEPS, energy_variance=energy_variance
        )
        tree = sample(laplace, move=move, num_warmup=600, num_samples=num_samples, seed=0, progress=False)
        draws = np.stack([tree["posterior"][name].values for name in names], axis=-1) @ axes
        found = against_known(draws, np.zeros(GAUSSIAN_SIZE), np.sqrt(variances))
        rows.append({"energy_variance": energy_variance, "step": settings_of(tree)["step_size"], **found})
    return rows


def concrete(num_samples: int) -> list[dict[str, Any]]:
    """Measure the bias of predictions on concrete 8-3-1 against long exact chains."""
    entry = entry_of("concrete 8-3-1")
    predict = entry.laplace.posterior.model.predict
    exact, _ = draws_of(entry.laplace, 4 * num_samples)
    f = np.stack([predict(chain, entry.new_x)[..., 0] for chain in exact])
    mean, sd = f.mean(axis=(0, 1)), f.std(axis=(0, 1))
    rows = [{"energy_variance": 0.0, "step": 0.0, **against_known(f, mean, sd)}]
    for energy_variance in TARGETS:
        draws, settings = draws_of(entry.laplace, num_samples, unadjusted(entry.laplace, energy_variance))
        f = np.stack([predict(chain, entry.new_x)[..., 0] for chain in draws])
        found = against_known(f, mean, sd)
        rows.append({"energy_variance": energy_variance, "step": settings["step_size"], **found})
    return rows


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-samples", type=int, default=2000)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    found = {"gaussian": gaussian(arguments.num_samples), "concrete 8-3-1": concrete(arguments.num_samples)}
    for name, rows in found.items():
        table = Table(title=f"{name}: largest error, in posterior sds (noise)")
        for column in ("target", "step", "mean", "sd"):
            table.add_column(column)
        for row in rows:
            label = "exact" if row["energy_variance"] == 0.0 else f"{row['energy_variance']:g}"
            table.add_row(
                label,
                f"{row['step']:.3f}",
                f"{row['mean']:.3f} ({row['noise_of_mean']:.3f})",
                f"{row['sd']:.3f} ({row['noise_of_sd']:.3f})",
            )
        Console().print(table)
    arguments.output.write_text(
        json.dumps({"versions": versions(), "machine": machine(), "results": found}, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
