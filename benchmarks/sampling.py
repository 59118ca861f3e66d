"""``bayesnn.sample`` beside NumPyro, BlackJAX and emcee: time to 4,000 effective draws, and draws per second.

The figure is the bulk ESS of the function value that mixes worst, over the outputs at 50 inputs that were held out.
Every run is a process of its own, one at a time, turn by turn. README.md tells how to make the environment of the
peers and how to read the table.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from panel import PROBLEMS, Entry, entry_of
from rich.console import Console
from rich.table import Table
from setting import machine, versions

from bayesnn.chain_statistics import ess, rhat
from bayesnn.sampling import start_points

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results" / "sampling.json"
PEER_PYTHON = FOLDER / "peers" / ".venv-sampling" / "bin" / "python"
PEER_SCRIPT, OUR_SCRIPT = FOLDER / "peers" / "sampling_run.py", FOLDER / "sampling_ours.py"
PEERS = (
    "NumPyro NUTS diagonal, 2 parallel",
    "NumPyro NUTS dense, 2 parallel",
    "NumPyro NUTS diagonal, 8 vectorised",
    "NumPyro NUTS dense, 8 vectorised",
    "BlackJAX NUTS diagonal, 8 vectorised",
    "BlackJAX NUTS dense, 8 vectorised",
    "BlackJAX adjusted MCLMC of 2 steps, 8 vectorised",
    "BlackJAX adjusted MCLMC of 8 steps, 8 vectorised",
    "emcee stretch",
)
OURS = "bayesnn"
ESS_WANTED, RHAT_LIMIT = 4000.0, 1.01
# Seconds that a peer may draw beyond its first block; slower ones are extrapolated.
BUDGET, BLOCK, TIME_LIMIT = 15.0, 250, 300.0
# Steps between kept draws of samplers whose single steps are cheap.
THIN = {
    "BlackJAX adjusted MCLMC of 2 steps, 8 vectorised": 8,
    "BlackJAX adjusted MCLMC of 8 steps, 8 vectorised": 2,
    "emcee stretch": 20,
}
# Draws of each of our chains: the default; more where these do not suffice.
NUM_SAMPLES, MOST_SAMPLES, OUR_TURNS = 500, 20_000, 3
WANTED_EACH, WANTED_MEAN, AIM = 3.0, 5.0, 10.0


def write_problem(entry: Entry, path: Path) -> None:
    """Write what every sampler is given."""
    laplace = entry.laplace
    posterior = laplace.posterior
    np.savez(
        path,
        x=posterior.x,
        y=posterior.y,
        hidden=posterior.model.hidden[0],
        sigma=posterior.likelihood.noise_sds(posterior.n_rows)[0, 0],
        prior_precision=posterior.prior_precision[0],
        starts=start_points(laplace, "laplace", 4 * laplace.n_weights, seed=0),
        new_x=entry.new_x,
    )


def run(command: list[str], request: dict[str, Any], found: Path) -> tuple[np.ndarray, dict[str, Any]] | None:
    """Run one process; return draws (chains, draws, k) and what it says of its times, or None if it fails."""
    environment = {**os.environ, "BENCHMARK_BEGAN": repr(time.time())}
    try:
        done = subprocess.run(
            command,
            input=json.dumps({**request, "found": str(found)}),
            capture_output=True,
            text=True,
            env=environment,
            timeout=TIME_LIMIT,
            check=True,
        )
    except subprocess.TimeoutExpired:
        return None
    except subprocess.CalledProcessError as error:
        Console(stderr=True).print(error.stderr[-2000:], markup=False, highlight=False)
        return None
    with np.load(found, allow_pickle=False) as file:
        return file["weights"], json.loads(done.stdout.strip().splitlines()[-1])


def judged(entry: Entry, weights: np.ndarray, seconds: dict[str, Any], ensemble: bool = False) -> dict[str, Any]:
    """Turn draws and times into the figures."""
    f = np.stack([entry.laplace.posterior.model.predict(chain, entry.new_x)[..., 0] for chain in weights])
    if ensemble:
        effective, disagreement = of_ensemble(f)
    else:
        effective, disagreement = float(ess(f).min()), float(rhat(f).max())
    cold = seconds["ready"] + seconds["drawing"] * ESS_WANTED / effective + seconds.get("after", 0.0)
    return {
        **seconds,
        "chains": len(f),
        "draws": f.shape[1],
        "ess": effective,
        "rhat": disagreement,
        "converged": disagreement < RHAT_LIMIT,
        "reached": effective >= ESS_WANTED,
        "cold": cold,
        "warm": effective / seconds["drawing"],
    }


def of_ensemble(f: np.ndarray) -> tuple[float, float]:
    """ESS by the autocorrelation time of Goodman & Weare (2010), and R-hat of the halves of the ensemble's mean.

    Walkers of one ensemble look at each other: together they are one chain.
    """
    from emcee.autocorr import integrated_time

    tau = integrated_time(f.transpose(1, 0, 2), quiet=True, has_walkers=True)
    mean = f.mean(axis=0)
    half = len(mean) // 2
    means = np.stack([mean[:half], mean[half : 2 * half]])
    return float((f.shape[0] * f.shape[1] / tau).min()), float(rhat(means).max())


def run_ours(problem: Path, entry: Entry, num_samples: int, turn: int) -> dict[str, Any] | None:
    """Run ours once."""
    request = {"problem": str(problem), "num_samples": num_samples, "seed": turn}
    found = run([sys.executable, str(OUR_SCRIPT)], request, problem.with_name("ours.npz"))
    return None if found is None else judged(entry, *found)


def compare(name: str, peer_python: Path, folder: Path, budget: float) -> dict[str, Any]:
    """Run everything on one posterior: ours before, among and after the peers."""
    entry = entry_of(name)
    problem = folder / "problem.npz"
    write_problem(entry, problem)
    num_samples = NUM_SAMPLES
    first = run_ours(problem, entry, num_samples, 0)
    while first is not None and first["ess"] < ESS_WANTED and num_samples < MOST_SAMPLES:
        num_samples = min(MOST_SAMPLES, int(np.ceil(1.2 * num_samples * ESS_WANTED / first["ess"])))
        first = run_ours(problem, entry, num_samples, 0)
    ours, peers = [first], {}
    for i, sampler in enumerate(PEERS):
        request = {
            "problem": str(problem),
            "sampler": sampler,
            "budget": budget,
            "block": BLOCK,
            "thin": THIN.get(sampler, 1),
            "ess": 1.1 * ESS_WANTED,
            "seed": 0,
        }
        found = run([str(peer_python), str(PEER_SCRIPT)], request, folder / "peer.npz")
        peers[sampler] = None if found is None else judged(entry, *found, ensemble=sampler.startswith("emcee"))
        if i % 3 == 1 and len(ours) < OUR_TURNS:
            ours.append(run_ours(problem, entry, num_samples, len(ours)))
    turns = [turn for turn in ours if turn is not None]
    summary = {figure: statistics.median(turn[figure] for turn in turns) for figure in ("cold", "warm", "ess", "rhat")}
    summary["converged"] = all(turn["converged"] for turn in turns)
    result = {"problem": name, "k": entry.laplace.n_weights, "ours": summary, "turns": turns, "peers": peers}
    for figure, better in (("cold", min), ("warm", max)):
        values = {sampler: peer[figure] for sampler, peer in peers.items() if peer is not None and peer["converged"]}
        best = better(values, key=lambda sampler: values[sampler]) if values else None
        ratio = None
        if best is not None:
            ratio = values[best] / summary[figure] if figure == "cold" else summary[figure] / values[best]
        result[figure] = {"best_peer": best, "ratio": ratio}
    return result


def table_of(results: list[dict[str, Any]]) -> Table:
    """Lay the results out."""
    table = Table(title=f"Seconds to {ESS_WANTED:.0f} effective draws (cold), effective draws a second (warm); * R-hat")
    for column in ("problem", "sampler", "chains", "draws", "ESS", "R-hat", "cold", "warm", "ours: cold", "warm"):
        table.add_column(column)
    for result in results:
        ours = result["ours"]
        rows = [
            (f"{OURS} ({result['turns'][0]['metric']}, {result['turns'][0]['length']})", {**result["turns"][0], **ours})
        ]
        rows += [(sampler, peer) for sampler, peer in result["peers"].items()]
        for i, (sampler, row) in enumerate(rows):
            name = result["problem"] if i == 0 else ""
            if row is None:
                table.add_row(name, sampler, *["failed"] * 6, "", "")
                continue
            ratios = ("", "") if i == 0 else (f"{row['cold'] / ours['cold']:.1f}", f"{ours['warm'] / row['warm']:.1f}")
            mark = "" if row["converged"] else "*"
            table.add_row(
                name,
                sampler,
                str(row["chains"]),
                str(row["draws"]),
                f"{row['ess']:.0f}",
                f"{row['rhat']:.4f}{mark}",
                f"{row['cold']:.1f}",
                f"{row['warm']:.0f}",
                *ratios,
            )
        table.add_section()
    return table


def geometric_mean(results: list[dict[str, Any]], figure: str) -> float | None:
    """Mean ratio over the entries on which a peer converged."""
    ratios = [r[figure]["ratio"] for r in results if r[figure]["ratio"] is not None]
    return float(np.exp(np.mean(np.log(ratios)))) if ratios else None


def main() -> None:
    """Run the entries asked for, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PROBLEMS, default=PROBLEMS, help="posteriors to sample")
    parser.add_argument("--peer-python", type=Path, default=PEER_PYTHON)
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds a peer may draw")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    peer_versions = (FOLDER / "peers" / "sampling_requirements.txt").read_text().split()
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only:
            results.append(compare(name, arguments.peer_python, Path(folder), arguments.budget))
            Console(width=160).print(table_of(results[-1:]))
            found = {
                "ess_wanted": ESS_WANTED,
                "budget": arguments.budget,
                "geometric_mean": {figure: geometric_mean(results, figure) for figure in ("cold", "warm")},
                "wanted": {"each": WANTED_EACH, "geometric_mean": WANTED_MEAN, "aim": AIM},
                "versions": versions() | {"peers": peer_versions},
                "machine": machine(),
                "results": results,
            }
            arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for figure in ("cold", "warm"):
        Console().print(f"{figure}: geometric mean {geometric_mean(results, figure)}", highlight=False)


if __name__ == "__main__":
    main()
