"""One cell of a growth study: optimum, certificate, Gaussians, draws, agreement."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from bayesnn.agreement import Agreement, compare
from bayesnn.agreement.learning_coefficient import learning_coefficient
from bayesnn.arrays import FloatArray
from bayesnn.executors import at_most_cores
from bayesnn.growth.record import FAILED, LEVELS, NO_OPTIMUM, OK, OUT_OF_MEMORY, Record, key_of
from bayesnn.laplace import Laplace, fit_laplace
from bayesnn.models import nearest_image
from bayesnn.optimum import certify, find_optimum, uninterrupted
from bayesnn.posterior import Posterior
from bayesnn.sampling import laplace_at_better_optimum, sample
from bayesnn.sampling.identity import digest
from bayesnn.seeds import generator, seed_sequence
from bayesnn.tree import uninterrupted_draws

CURVATURES = ("hessian", "ggn")
# Weights at which a posterior is known again.
N_PROBES = 4

type MakePosterior = Callable[[int, int], Posterior]


@dataclass(frozen=True)
class CellSettings:
    """How every cell is treated.

    Parameters
    ----------
    seed : int
        The study's.
    num_chains, num_warmup, num_samples : int
        As of :func:`bayesnn.sample`.
    n_starts : int
        Searches for the optimum; the first starts at that of the size before.
    learning : bool
        Whether to estimate the learning coefficient, too.
    """

    seed: int = 0
    num_chains: int = 16
    num_warmup: int = 200
    num_samples: int = 500
    n_starts: int = 8
    learning: bool = False


@dataclass(frozen=True)
class Cell:
    """One size, one replicate, and where the search for the optimum starts.

    Parameters
    ----------
    n, replicate : int
        Which.
    start : tuple of float
        Weights of the size before; empty for none.
    """

    n: int
    replicate: int
    start: tuple[float, ...] = ()

    def data_seed(self, settings: CellSettings) -> int:
        """Seed of the replicate's data: the same for all sizes."""
        return int(seed_sequence(settings.seed, "growth data", self.replicate).generate_state(1)[0])

    def run_seed(self, settings: CellSettings) -> int:
        """Seed of searches and chains."""
        return int(seed_sequence(settings.seed, "growth cell", self.n, self.replicate).generate_state(1)[0])

    def key(self, make_posterior: MakePosterior, settings: CellSettings) -> str:
        """Digest of everything that decides the record: settings, start, data, and what the posterior is.

        Model, likelihood and prior are known by the log density at a few weights: for a function of the user's, too.
        """
        posterior = make_posterior(self.n, self.data_seed(settings))
        weights = generator(0, "growth key").standard_normal((N_PROBES, posterior.n_weights))
        words = {
            "weights": list(posterior.weight_names),
            "data": digest(posterior.x, posterior.y),
            "log density": digest(posterior.log_density(weights)),
            "start": digest(np.array(self.start)),
        }
        return key_of({"n": self.n, "replicate": self.replicate, **asdict(settings), **words})


def run_cell(make_posterior: MakePosterior, cell: Cell, settings: CellSettings, key: str, threads: int) -> Record:
    """Compute a cell's record; whatever goes wrong in it becomes its status.

    Parameters
    ----------
    make_posterior : callable
        From size and seed to the posterior.
    cell : Cell
        Which.
    settings : CellSettings
        How.
    key : str
        Of the record.
    threads : int
        How many cores it may use; the numbers do not depend on it.
    """
    try:
        with at_most_cores(threads):
            return _computed(make_posterior, cell, settings, key)
    except MemoryError as error:
        return Record(cell.n, cell.replicate, key, FAILED, f"{OUT_OF_MEMORY}: {error}")
    except Exception as error:  # whatever a user's model raises, the rest goes on
        return Record(cell.n, cell.replicate, key, FAILED, f"{type(error).__name__}: {error}")


def _computed(make_posterior: MakePosterior, cell: Cell, settings: CellSettings, key: str) -> Record:
    posterior, seed = make_posterior(cell.n, cell.data_seed(settings)), cell.run_seed(settings)
    start = np.array(cell.start) if cell.start else None
    search = find_optimum(posterior, start=start, n_starts=settings.n_starts, seed=seed, progress=False)
    optimum = uninterrupted(search)
    if start is not None:
        # Of symmetric images the one that goes on from the size before, so that weights can be followed.
        image = nearest_image(posterior.model, optimum.weights, start, posterior.symmetries)
        if np.isclose(posterior.log_density(image), optimum.log_density, rtol=1e-12, atol=1e-9):
            optimum = replace(optimum, weights=image)
    message = ""
    if not optimum.certificate.is_optimum:
        message = "; ".join(optimum.certificate.reasons)
        # A local maximum with another optimum inside its Gaussian is one all the same: how wrong the Gaussian is there,
        # as it may be in a singular posterior at any size, is what the study is about.
        if not certify(posterior, optimum.weights).is_optimum:
            found = f"{optimum.status.value}: {message}"
            return Record(cell.n, cell.replicate, key, NO_OPTIMUM, found, weights=tuple(map(float, optimum.weights)))
    laplaces = {curvature: fit_laplace(posterior, optimum, curvature=curvature) for curvature in CURVATURES}
    tree = sample(
        laplaces["ggn"],
        num_chains=settings.num_chains,
        num_warmup=settings.num_warmup,
        num_samples=settings.num_samples,
        seed=seed,
        progress=False,
    )
    tree = uninterrupted_draws(tree)  # a record is of whole chains
    laplaces = {curvature: laplace_at_better_optimum(laplace, tree) for curvature, laplace in laplaces.items()}
    mode = laplaces["hessian"].mean
    found = {curvature: compare(laplace, tree, extend_tree=False) for curvature, laplace in laplaces.items()}
    numbers = {"k": float(posterior.n_weights), "log_density": float(posterior.log_density(mode))}
    for curvature, agreement in found.items():
        numbers |= {f"{curvature}_{name}": value for name, value in _numbers(agreement).items()}
    convergence = found["hessian"].convergence
    numbers |= {"rhat": convergence.worst_rhat, "ess": convergence.least_ess}
    numbers["converged"] = float(convergence.has_converged)
    if settings.learning:
        learnt = learning_coefficient(laplaces["ggn"], seed=seed)
        numbers |= {
            "learning_coefficient": learnt.value,
            "learning_coefficient_error": learnt.error,
            "learning_coefficient_regular": learnt.regular,
            "learning_coefficient_rhat": learnt.rhat,
            "wbic": learnt.wbic,
        }
    verdict = found["hessian"].verdict.value
    draws = mode + _deviations(found["hessian"], laplaces["hessian"])
    quantiles = np.quantile(draws.reshape(-1, posterior.n_weights), LEVELS, axis=0).T
    return Record(
        cell.n,
        cell.replicate,
        key,
        OK,
        message,
        verdict=verdict,
        weights=tuple(map(float, mode)),
        weight_names=posterior.weight_names,
        numbers=numbers,
        quantiles=tuple(tuple(map(float, each)) for each in quantiles),
        sds=tuple(map(float, np.sqrt(laplaces["hessian"].posterior_variance))),
    )


def _deviations(agreement: Agreement, laplace: Laplace) -> FloatArray:
    """Folded draws less the mode (chains, draws, k)."""
    return (agreement.along * laplace.eigendirections[0]) @ agreement.directions.T


def _numbers(agreement: Agreement) -> dict[str, float]:
    numbers = {
        "kl": agreement.kl,
        "kl_error": agreement.importance.kl_error,
        "pareto_k": agreement.pareto_k,
        "acceptance": agreement.acceptance_of_independence,
        "log_evidence_gap": agreement.log_evidence_gap,
        "worst_mean_shift": float(np.abs(agreement.mean_shift).max()),
        "worst_sd_ratio": float(agreement.sd_ratio[np.abs(np.log(agreement.sd_ratio)).argmax()]),
        "predictive_gap": agreement.predictive_gap,
        "predictive_band_gap": float(agreement.predictive_band_gap.max()),
        "fraction_folded": agreement.fraction_folded,
        "n_informed": float(agreement.n_informed),
    }
    if agreement.pareto_k < agreement.importance.pareto_k_limit:
        numbers |= {
            "mean_error_by_weights": agreement.mirrored.mean_error.debiased,
            "covariance_error_by_weights": agreement.mirrored.covariance_error.debiased,
        }
    if agreement.leading_order is not None:
        numbers["kl_leading_order"] = agreement.leading_order.kl
    for name, distance in agreement.distances.items():
        numbers |= {name: distance.debiased, f"{name}_band": distance.band, f"{name}_noise": distance.noise}
    return numbers
