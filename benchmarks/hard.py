"""Hard posteriors: ``bayesnn.sample`` beside its peers on networks whose chains do not converge, for a fixed time each.

Everybody starts from the same dispersed optima and has 120 seconds, compiling and warm-up counted. What counts is the
worst R-hat and the least effective sample size of the outputs at held-out inputs, and the held-out log predictive
density of the pooled draws, whose differences come with their error over the rows. README.md tells how to make the
environment of the peers.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from sampling import PEER_PYTHON, PEER_SCRIPT, PEERS, THIN, of_ensemble, run
from scipy.special import logsumexp
from setting import machine, versions

from bayesnn import (
    MLP,
    Gaussian,
    NormalPrior,
    Posterior,
    datasets,
    find_optimum,
    fit_laplace,
    maximize_evidence,
)
from bayesnn.chain_statistics import ess, rhat

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results" / "hard.json"
OUR_SCRIPT = FOLDER / "hard_ours.py"
ENTRIES = {
    "yacht 6-3-1": ("yacht", 3),
    "yacht 6-8-1": ("yacht", 8),
    "energy 8-8-1": ("energy", 8),
    "concrete 8-8-1": ("concrete", 8),
    "airfoil 5-16-1": ("airfoil", 16),
}
N_STARTS, N_OPTIMA, N_HELD_OUT = 64, 8, 50
OURS = "bayesnn"
SECONDS, BLOCK = 120.0, 20


def problem_of(name: str, infer: bool) -> dict[str, np.ndarray]:
    """Return data, noise and prior by the evidence at the best optimum, and the optima where everybody starts."""
    data, hidden = datasets.load(ENTRIES[name][0]), ENTRIES[name][1]
    order = np.random.default_rng(0).permutation(len(data.x))
    held_out, rows = order[:N_HELD_OUT], np.sort(order[N_HELD_OUT:])
    all_x, all_y = np.asarray(data.x), np.asarray(data.y).reshape(len(data.x), -1)
    centre, spread = all_x[rows].mean(axis=0), all_x[rows].std(axis=0)
    y_centre, y_spread = all_y[rows].mean(axis=0), all_y[rows].std(axis=0)
    x, new_x = (all_x[rows] - centre) / spread, (all_x[held_out] - centre) / spread
    y, new_y = (all_y[rows] - y_centre) / y_spread, (all_y[held_out] - y_centre) / y_spread
    net = MLP(x.shape[1], (hidden,), 1)
    first = Posterior(net, x, y, Gaussian(0.3), NormalPrior(1.0))
    tuned = maximize_evidence(first, find_optimum(first, n_starts=N_STARTS, seed=0))
    sigma, precision = tuned.likelihood.noise_sds(tuned.n_rows)[0, 0], tuned.prior_precision[0]
    likelihood = Gaussian("infer") if infer else Gaussian(float(sigma))
    posterior = Posterior(net, x, y, likelihood, NormalPrior(float(precision)))
    found = find_optimum(posterior, n_starts=N_STARTS, seed=0)
    optima = [each for each in (found, *found.others) if each.certificate.is_optimum][:N_OPTIMA]
    laplaces = [fit_laplace(posterior, each) for each in optima]
    # Chains of one optimum begin at the optimum and at draws of its Gaussian, in turns, so that any number of first
    # starts is spread over the optima.
    n_each = -(-4 * posterior.n_weights // len(laplaces))
    draws = [np.vstack([each.mean, each.sample(n_each - 1, seed=i)]) for i, each in enumerate(laplaces)]
    return {
        "x": x,
        "y": y,
        "new_x": new_x,
        "new_y": new_y,
        "hidden": np.array(hidden),
        "sigma": np.array(np.nan if infer else sigma),
        "prior_precision": np.array(precision),
        "optima": np.array([each.weights for each in optima]),
        "log_densities": np.array([each.log_density for each in optima]),
        "starts": np.stack(draws, axis=1).reshape(-1, posterior.n_weights),
    }


def judged(
    arrays: dict[str, np.ndarray], weights: np.ndarray, seconds: dict[str, Any], ensemble: bool
) -> dict[str, Any]:
    """Turn draws (chains, draws, k) into the figures."""
    net = MLP(arrays["x"].shape[1], (int(arrays["hidden"]),), 1)
    f = np.stack([net.predict(chain[:, : net.n_weights], arrays["new_x"])[..., 0] for chain in weights])
    effective, disagreement = of_ensemble(f) if ensemble else (float(ess(f).min()), float(rhat(f).max()))
    log_sigma = np.log(arrays["sigma"]) if weights.shape[2] == net.n_weights else weights[..., -1:]
    each = -0.5 * ((arrays["new_y"][:, 0] - f) * np.exp(-log_sigma)) ** 2 - log_sigma - 0.5 * np.log(2.0 * np.pi)
    lpd = logsumexp(each.reshape(-1, f.shape[2]), axis=0) - np.log(f.shape[0] * f.shape[1])
    figures = {"ess": effective, "rhat": disagreement, "lpd": float(lpd.mean()), "lpd_of_rows": lpd.round(4).tolist()}
    return {**seconds, "cpu": machine()["cpu"], "chains": f.shape[0], "draws": f.shape[1], **figures}


def runs_on(
    name: str, infer: bool, samplers: list[str], peer_python: Path, folder: Path, seconds: float
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Run samplers on one posterior, and yield the figures of each."""
    arrays = problem_of(name, infer)
    problem = folder / "problem.npz"
    np.savez(problem, **arrays)
    request = {"problem": str(problem), "seed": 0, "until": seconds}
    for sampler in samplers:
        if sampler == OURS:
            found = run([sys.executable, str(OUR_SCRIPT)], request, folder / "ours.npz")
        else:
            asked = {**request, "sampler": sampler, "block": BLOCK, "thin": THIN.get(sampler, 1)}
            found = run([str(peer_python), str(PEER_SCRIPT)], asked, folder / "peer.npz")
        yield sampler, None if found is None else judged(arrays, *found, ensemble=sampler.startswith("emcee"))


def table_of(result: dict[str, Any]) -> Table:
    """Lay out one entry."""
    table = Table(title=f"{result['problem']}, noise {result['noise']}")
    order = [name for name in (OURS, *PEERS) if name in result["samplers"]]
    for column in ("sampler", "chains", "draws", "ESS", "R-hat", "held-out lpd", "ours less it"):
        table.add_column(column)
    for sampler in order:
        row = result["samplers"][sampler]
        if row is None:
            table.add_row(sampler, *["failed"] * 6)
            continue
        numbers = (f"{row['ess']:.0f}", f"{row['rhat']:.3f}", f"{row['lpd']:.3f}")
        ours = result["samplers"].get(OURS)
        less = "" if ours is None or ours is row else "{:.3f} +- {:.3f}".format(*difference(ours, row))
        table.add_row(sampler, str(row["chains"]), str(row["draws"]), *numbers, less)
    return table


def tally(results: list[dict[str, Any]]) -> str:
    """Count the comparisons of ours with each peer's, over all entries; peers that made no draw are none."""
    pairs = [
        (result["samplers"][OURS], name, row)
        for result in results
        if result["samplers"].get(OURS) is not None
        for name, row in result["samplers"].items()
        if name != OURS
    ]
    drawn = [(ours, name, row) for ours, name, row in pairs if row is not None]
    independent = [(ours, row) for ours, name, row in drawn if not name.startswith("emcee")]
    errors = [np.divide(*difference(ours, row)) for ours, _, row in drawn]
    return (
        f"{len(drawn)} comparisons, {len(pairs) - len(drawn)} peers failed. "
        f"R-hat lower in {sum(ours['rhat'] < row['rhat'] for ours, _, row in drawn)}; "
        f"least ESS higher in {sum(ours['ess'] > row['ess'] for ours, row in independent)} of the {len(independent)} "
        f"with independent chains; held-out lpd lower by more than two errors in {sum(e < -2.0 for e in errors)}, "
        f"higher by as much in {sum(e > 2.0 for e in errors)}."
    )


def difference(one: dict[str, Any], other: dict[str, Any]) -> tuple[float, float]:
    """Held-out log predictive density of one less that of another, and its standard error over the rows, in pairs."""
    if "lpd_of_rows" not in one or "lpd_of_rows" not in other:
        return one["lpd"] - other["lpd"], np.nan
    of_rows = np.subtract(one["lpd_of_rows"], other["lpd_of_rows"])
    return float(of_rows.mean()), float(of_rows.std(ddof=1) / np.sqrt(len(of_rows)))


def main() -> None:
    """Run what is asked for and not yet in the results, and write after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=ENTRIES, default=list(ENTRIES))
    parser.add_argument("--noise", nargs="+", choices=("fixed", "inferred"), default=("fixed", "inferred"))
    parser.add_argument("--samplers", nargs="+", choices=(OURS, *PEERS), default=[OURS, *PEERS])
    parser.add_argument("--again", action="store_true", help="run what the results hold, too")
    parser.add_argument("--peer-python", type=Path, default=PEER_PYTHON)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--show", action="store_true", help="print what the results hold, and run nothing")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    if arguments.output.exists():
        results = json.loads(arguments.output.read_text(encoding="utf-8"))["results"]
    if arguments.show:
        for result in results:
            Console(width=120).print(table_of(result))
        Console(width=120).print(tally(results), highlight=False)
        return
    for name in arguments.only:
        for noise in arguments.noise:
            result = next((each for each in results if (each["problem"], each["noise"]) == (name, noise)), None)
            if result is None:
                result = {"problem": name, "noise": noise, "samplers": {}}
                results.append(result)
                results.sort(key=lambda each: (list(ENTRIES).index(each["problem"]), each["noise"]))
            asked = [each for each in arguments.samplers if arguments.again or each not in result["samplers"]]
            if not asked:
                continue
            with tempfile.TemporaryDirectory() as folder:
                infer = noise == "inferred"
                rows = runs_on(name, infer, asked, arguments.peer_python, Path(folder), arguments.seconds)
                for sampler, row in rows:
                    result["samplers"][sampler] = row
                    found = {
                        "seconds": arguments.seconds,
                        "versions": versions(),
                        "machine": machine(),
                        "results": results,
                    }
                    arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            Console(width=120).print(table_of(result))


if __name__ == "__main__":
    main()
