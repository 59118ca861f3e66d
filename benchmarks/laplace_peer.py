"""The Laplace posterior of bayesnn beside laplace-torch's: the same network, data and weights, both in float64.

Both log marginal likelihoods carry all their constants. laplace-torch's log likelihood has the Gaussian's normaliser
(`BaseLaplace.log_likelihood` subtracts n log(sigma sqrt(2 pi))). Its prior's k/2 log(2 pi) is left out together with
Laplace's, and its log det(prior precision) stands in `log_det_ratio`. Ours has `- k/2 log(2 pi)` in the log prior and
`+ k/2 log(2 pi)` from Laplace's integral, which cancel. So the numbers compare as they are.
"""

import json
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import numpy as np

from bayesnn import MLP, Gaussian, NormalPrior, Posterior, fit_laplace
from bayesnn.optimum import levenberg_marquardt

SCRIPT = Path(__file__).parent / "peers" / "laplace_torch_run.py"
# Hidden units and rows.
CASES = ((16, 1_000), (50, 1_000), (50, 20_000))
STRUCTURES = ("full", "diag")
N_INPUTS = 8
SIGMA, PRIOR_PRECISION = 0.1, 1.0
N_REPEATS = 5
# laplace-torch runs with whichever of these is fastest: for each backend, structure and case another one is.
BATCH_SIZES = (32, 100, 316, 1000)
DEFAULT_BACKEND = "CurvlinopsGGN"
WANTED = {"time_ratio": 20.0, "covariance": 1e-6, "log_marginal_likelihood": 1e-8}
LOG_2PI = float(np.log(2.0 * np.pi))


class Peer:
    """The process that runs laplace-torch."""

    def __init__(self, python: Path, threads: int) -> None:
        command = [str(python), "-W", "ignore", str(SCRIPT), "--threads", str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        hello = self._answer()
        self.versions: dict[str, str] = hello["versions"]
        self.backends: list[str] = hello["backends"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def ask(self, request: dict[str, Any]) -> dict[str, float]:
        """Send one request and wait for its answer."""
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("laplace-torch's process ended; its message stands above")
        return json.loads(line)


def problem(n_hidden: int, n_rows: int) -> tuple[Posterior, np.ndarray]:
    """Return noisy targets of a network of the same shape, and the optimum near its weights."""
    rng = np.random.default_rng(n_hidden + n_rows)
    model = MLP(N_INPUTS, (n_hidden,), 1)
    x, teacher = rng.standard_normal((n_rows, N_INPUTS)), model.initial_weights(rng)
    y = model.predict(teacher, x) + SIGMA * rng.standard_normal((n_rows, 1))
    posterior = Posterior(model, x, y, Gaussian(SIGMA), NormalPrior(PRIOR_PRECISION))
    return posterior, levenberg_marquardt(posterior, teacher).weights


def in_blocks(posterior: Posterior, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return the weights as the arrays W1, b1, W2, b2."""
    ends = np.cumsum([block.size for block in posterior.model.weight_blocks])
    parts = np.split(weights, ends[:-1])
    blocks = zip(posterior.model.weight_blocks, parts, strict=True)
    return {block.name: part.reshape(block.shape) for block, part in blocks}


def torch_order(posterior: Posterior) -> np.ndarray:
    """Return where each of torch's weights stands among ours: its matrices are (out, in), ours (in, out)."""
    positions = in_blocks(posterior, np.arange(posterior.n_weights))
    return np.concatenate([block.T.ravel() for block in positions.values()])


def bare(posterior: Posterior, weights: np.ndarray, structure: str) -> tuple[np.ndarray, float]:
    """Return covariance, or its diagonal, and log marginal likelihood: what laplace-torch computes, and no more."""
    if structure == "full":
        linearized = posterior.linearize(weights)
        factor, peak = posterior.factor_ggn(weights, linearized.ggn), linearized.log_density
        covariance, log_det = factor.covariance, factor.log_det
    else:
        peak, diagonal = posterior.value_and_fisher_diagonal(weights)
        precision = diagonal + posterior.prior_precision
        covariance, log_det = 1.0 / precision, float(np.log(precision).sum())
    return covariance, float(peak) + 0.5 * (posterior.n_weights * LOG_2PI - log_det)


def certified(posterior: Posterior, weights: np.ndarray, structure: str) -> tuple[np.ndarray, float]:
    """Return the same by `fit_laplace`, which also certifies the optimum."""
    laplace = fit_laplace(posterior, weights, structure=structure)
    covariance = laplace.posterior_covariance if structure == "full" else laplace.posterior_variance
    return covariance, laplace.log_marginal_likelihood


def seconds_of(run: Callable[[], object]) -> float:
    """Time one run."""
    begin = perf_counter()
    run()
    return perf_counter() - begin


def disagreement(ours: np.ndarray, theirs: np.ndarray, order: np.ndarray) -> float:
    """Return the largest difference of the covariances, in units of the standard deviations of both weights."""
    if ours.ndim == 1:
        return float(np.max(np.abs(theirs / ours[order] - 1.0)))
    permuted = ours[np.ix_(order, order)]
    sd = np.sqrt(np.diag(permuted))
    return float(np.max(np.abs(theirs - permuted) / np.outer(sd, sd)))


def compare(peer: Peer, n_hidden: int, n_rows: int, folder: Path) -> list[dict[str, Any]]:
    """Compare all structures and backends on one case."""
    posterior, weights = problem(n_hidden, n_rows)
    data, covariance_file = folder / f"{n_hidden}-{n_rows}.npz", folder / "covariance.npy"
    np.savez(data, x=posterior.x, y=posterior.y, **in_blocks(posterior, weights))
    results = []
    for structure in STRUCTURES:
        base = {"data": str(data), "structure": structure, "covariance": None}
        base |= {"sigma_noise": SIGMA, "prior_precision": PRIOR_PRECISION}
        covariance, evidence = bare(posterior, weights, structure)
        theirs = {}
        for backend in peer.backends:
            ask = base | {"backend": backend, "covariance": str(covariance_file)}
            peer.ask(ask | {"batch_size": BATCH_SIZES[-1]})
            # Long fits need no repetition to be told apart.
            answers = {
                size: [peer.ask(ask | {"batch_size": size}) for _ in range(3 if n_rows <= 1000 else 1)]
                for size in BATCH_SIZES
            }
            found = np.load(covariance_file, allow_pickle=False)
            theirs[backend] = {
                "batch_size": min(BATCH_SIZES, key=lambda size, a=answers: min(each["seconds"] for each in a[size])),
                "covariance_disagreement": disagreement(covariance, found, torch_order(posterior)),
                "log_marginal_likelihood_disagreement": max(
                    abs(a["log_marginal_likelihood"] / evidence - 1.0) for each in answers.values() for a in each
                ),
            }
        times = race(peer, base, theirs, posterior, weights)
        results.append(
            {
                "network": f"{N_INPUTS}-{n_hidden}-1",
                "k": posterior.n_weights,
                "n": n_rows,
                "structure": structure,
                "log_marginal_likelihood": evidence,
                "ours_seconds": {name: statistics.median(times[name]) for name in ("bare", "fit_laplace")},
                "theirs": {
                    backend: {
                        **known,
                        "seconds": statistics.median(times[backend]),
                        "time_over_bare": ratio(times[backend], times["bare"]),
                        "time_over_fit_laplace": ratio(times[backend], times["fit_laplace"]),
                    }
                    for backend, known in theirs.items()
                },
            }
        )
    return results


def race(
    peer: Peer, base: dict[str, Any], theirs: dict[str, dict[str, Any]], posterior: Posterior, weights: np.ndarray
) -> dict[str, list[float]]:
    """Time everyone in turn, several times."""
    times: dict[str, list[float]] = {name: [] for name in ("bare", "fit_laplace", *theirs)}
    for _ in range(N_REPEATS):
        times["bare"].append(seconds_of(lambda: bare(posterior, weights, base["structure"])))
        times["fit_laplace"].append(seconds_of(lambda: certified(posterior, weights, base["structure"])))
        for backend, known in theirs.items():
            answer = peer.ask(base | {"backend": backend, "batch_size": known["batch_size"]})
            times[backend].append(answer["seconds"])
    return times


def ratio(theirs: list[float], ours: list[float]) -> float:
    """Return their time over ours, median over the turns."""
    return statistics.median(t / o for t, o in zip(theirs, ours, strict=True))


def measure(python: Path, threads: int) -> dict[str, Any]:
    """Compare on all cases."""
    with Peer(python, threads) as peer, tempfile.TemporaryDirectory() as folder:
        return {
            "versions": peer.versions,
            "threads_each": threads,
            "default_backend": DEFAULT_BACKEND,
            "wanted": WANTED,
            "results": [each for case in CASES for each in compare(peer, *case, Path(folder))],
        }
