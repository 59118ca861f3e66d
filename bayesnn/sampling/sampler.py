"""MCMC started and preconditioned by a Laplace posterior, driven by ``emcee.EnsembleSampler``."""

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import xarray as xr
from emcee.moves import Move

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, integer_at_least, one_of
from bayesnn.errors import ArgumentError
from bayesnn.laplace import Laplace, fit_laplace
from bayesnn.optimum import find_optimum
from bayesnn.posterior import LogDensity, Posterior
from bayesnn.progress import is_shown
from bayesnn.sampling.assemble import chains_tree
from bayesnn.sampling.chain_labels import chain_labels
from bayesnn.sampling.ensembles import DEFAULT_CHAINS, Ensembles, as_tracked
from bayesnn.sampling.identity import identity_of
from bayesnn.sampling.metric import METRICS, first_metric
from bayesnn.sampling.monitor import Monitor
from bayesnn.sampling.moves import HMC, MALA, PCN, IndependenceT, RandomWalk, TrackedMove
from bayesnn.sampling.run import KNOWN, Run
from bayesnn.sampling.schedule import Schedule, Wishes
from bayesnn.sampling.starts import start_points
from bayesnn.sampling.store import ChainStore
from bayesnn.sampling.watch import Watch
from bayesnn.threads import on_one_blas_thread

type ValueAndGradient = Callable[[FloatArray], tuple[FloatArray, FloatArray]]

MOVES = ("auto", "hmc", "mala", "pcn", "random_walk", "independence")
# Searches for the optimum of a LogDensity.
N_SEARCHES = 4
# Leapfrog steps until the pilot has chosen, and for good where warm-up is too short for one.
FIRST_LENGTH = 8


@on_one_blas_thread
def sample(
    target: Laplace | LogDensity,
    *,
    num_chains: int | None = None,
    num_warmup: int = 200,
    num_samples: int = 500,
    seed: int = 0,
    move: str | Move = "auto",
    num_ensembles: int = 4,
    metric: str = "auto",
    start: str | ArrayLike = "laplace",
    num_integration_steps: int | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> xr.DataTree:
    """Draw from the exact posterior, chains started and preconditioned by its linearization.

    Parameters
    ----------
    target : Laplace or LogDensity
        The Gaussian at the optimum; its ``posterior`` is what is sampled. For a LogDensity it is made here, at the best
        of a few optima.
    num_chains : int, optional
        Independent chains, advanced together; 16 by default. Of a move of emcee's whose walkers look at each other: all
        walkers of all ensembles, by default as few as it works with, ``num_ensembles * (2 k + 2)``.
    num_warmup : int
        Steps that adapt the step size and the metric, not kept.
    num_samples : int
        Draws of each chain.
    seed : int
        Seed of starts, proposals and Gaussian draws: the same seed gives the same tree.
    move : {"auto", "hmc", "mala", "pcn", "random_walk", "independence"} or a move
        ``"auto"`` is HMC where there is a gradient, and a random walk for a LogDensity without one. A move of
        :mod:`bayesnn.moves` keeps its metric; its step size is adapted. A ``moves.Mixture`` adapts each of its parts.
        emcee's own moves are run as they are.
    num_ensembles : int
        Ensembles of emcee's interacting moves (``StretchMove`` and the like), at least 2: each counts as one chain, and
        R-hat is taken between them.
    metric : {"auto", "averaged", "laplace", "diagonal", "unit"}
        ``"auto"``: whichever of the others moves function values furthest per gradient in a pilot run, for HMC, and
        ``"averaged"`` for other moves; ``"averaged"``: prior plus B'ΛB averaged over the chains during warm-up;
        ``"laplace"``: at the optimum alone; ``"diagonal"``: the diagonal of the averaged one; ``"unit"``: none.
    start : {"laplace", "laplace_t", "prior"} or array_like (chains, k)
        Draws from the Gaussian, the same with Student-t tails, draws from the prior, or points.
    num_integration_steps : int, optional
        Mean number of leapfrog steps of the trajectories of ``"hmc"``; without it the pilot chooses.
    store : path-like, optional
        A folder for the draws, written every few seconds in files that are whole or not there. Where it holds an
        unfinished run with the same arguments, that run goes on, to the same bits as if it had never ended; a finished
        one is read, and made longer if `num_samples` is now larger. The draws are in ``draws.zarr``
        (``xr.open_zarr(..., consolidated=False)``).
    progress : bool, optional
        Whether to show a bar, with acceptance, step size, the worst bulk ESS so far and the time left; by default where
        stderr is a terminal.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior``, ``sample_stats``, ``log_likelihood``, ``posterior_predictive``, ``monitor``,
        ``observed_data``, ``constant_data``, ``laplace``, ``laplace_posterior``, ``laplace_stats``, and ``pilot``: what
        it measured of each metric and length, and the reason of its choice in words. Ctrl-C ends the
        run early; the tree holds the draws made until then and its settings say ``"interrupted": true``.

    Raises
    ------
    ArgumentError
        If an argument is out of range, the log density is not finite at a start, or the store belongs to another run
        or cannot be written.

    Warns
    -----
    RuntimeWarning
        If emcee's GaussianMove has a full covariance, whose walkers are not independent.
        If a store is damaged, and how many steps are made again; or if it cannot be written any more, the disk being
        full: the run then goes on in memory, and the settings say ``"store_failure"``.

    Examples
    --------
    >>> from bayesnn import MLP, Gaussian, NormalPrior, Posterior, find_optimum, fit_laplace
    >>> x = np.linspace(-1, 1, 30)[:, None]
    >>> post = Posterior(MLP(1, (2,), 1), x, np.sin(3 * x), Gaussian(0.1), NormalPrior(1.0))
    >>> laplace = fit_laplace(post, find_optimum(post, n_starts=4, seed=0))
    >>> tree = sample(laplace, num_chains=4, num_warmup=50, num_samples=20, seed=0)
    >>> dict(tree["posterior"].sizes)
    {'chain': 4, 'draw': 20, 'input': 1, 'hidden1': 2, 'output': 1}
    """
    if not isinstance(target, Laplace | LogDensity):  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
        raise ArgumentError("target", describe(target), "a Laplace, such as fit_laplace returns, or a LogDensity")
    if num_chains is not None:
        integer_at_least("num_chains", num_chains, 2)
    integer_at_least("num_ensembles", num_ensembles, 2)
    num_warmup = integer_at_least("num_warmup", num_warmup, 0)
    num_samples = integer_at_least("num_samples", num_samples, 4)
    seed = integer_at_least("seed", seed, 0)
    one_of("metric", metric, ("auto", *METRICS))
    if num_integration_steps is not None:
        integer_at_least("num_integration_steps", num_integration_steps, 1)
    if isinstance(target, LogDensity):
        target = _gaussian_at_best(target, seed)
    if isinstance(move, str) and move == "auto":
        move = (
            "random_walk" if isinstance(target.posterior, LogDensity) and not target.posterior.has_gradient else "hmc"
        )
    ensemble = None
    if isinstance(move, Move):
        move, num_chains, ensemble = as_tracked(move, num_chains, num_ensembles, target.n_weights)
    num_chains = num_chains or DEFAULT_CHAINS
    points = start_points(target, start, num_chains, seed)
    if isinstance(target.posterior, LogDensity):
        target.posterior.check_gradient(points[0])
    density = _density(target.posterior)
    proposal = _proposal(target, density.value_and_gradient, move, metric, num_integration_steps or FIRST_LENGTH)
    wishes = Wishes(metric if isinstance(move, str) else None, num_integration_steps)
    functions = Monitor.of(target.posterior).values
    schedule = Schedule(proposal, target, density.log_density, functions, wishes, num_warmup, seed)
    run = Run(density.log_density, proposal, points, schedule, num_warmup, num_samples, seed)
    watch = Watch(functions, is_shown(progress), ensemble)
    if store is None:
        chains = run.go(None, watch, progress)
    else:
        arguments = {
            "seed": seed,
            "num_chains": num_chains,
            "num_warmup": num_warmup,
            "metric": metric if isinstance(move, str) else None,
            "num_integration_steps": num_integration_steps,
            "kernel": density.kernel,
        }
        identity = identity_of(target, density.log_density(points), points, proposal, arguments)
        with closing(ChainStore(store, identity, run.record, KNOWN)) as opened:
            chains = run.go(opened, watch, progress)
    settings: dict[str, Any] = {
        "seed": seed,
        "num_chains": num_chains,
        "num_warmup": num_warmup,
        "num_samples": num_samples,
        "move": proposal.name if isinstance(proposal, Ensembles) else type(proposal).__name__,
        "metric": chains.metric.name,
        "start": start if isinstance(start, str) else "given",
        "kernel": density.kernel,
        "interrupted": chains.interrupted,
    }
    if chains.step_size > 0:  # some moves have none
        settings["step_size"] = chains.step_size
    if ensemble is not None:
        settings["num_ensembles"] = num_ensembles
    if isinstance(proposal, HMC):
        settings["num_integration_steps"] = proposal.num_integration_steps
    if chains.store_failure is not None:
        settings["store_failure"] = chains.store_failure
    if schedule.pilot is not None:
        settings["metric_reason"] = schedule.pilot.reason
    tree = chains_tree(target, chains, settings, seed)
    labels = chain_labels(points, ensemble)
    if labels:
        tree["posterior"] = xr.DataTree(tree["posterior"].to_dataset().assign_coords(labels))
    if schedule.pilot is not None:
        tree["pilot"] = xr.DataTree(schedule.pilot.to_dataset())
    return tree


def _gaussian_at_best(target: LogDensity, seed: int) -> Laplace:
    """Return the Gaussian at the best optimum of a few searches."""
    found = find_optimum(target, n_starts=N_SEARCHES, seed=seed, progress=False)
    return fit_laplace(target, found, curvature="hessian" if found.certificate.is_optimum else "ggn")


@dataclass(frozen=True)
class Density:
    """What moves and sampler ask of the target."""

    log_density: Callable[[FloatArray], FloatArray]
    value_and_gradient: ValueAndGradient
    kernel: str


def _density(posterior: Posterior) -> Density:
    """Return the compiled density where there is one, and the posterior's own where not."""
    try:
        fused = posterior.fused()
    except ArgumentError:
        return Density(posterior.log_density, posterior.value_and_gradient, "numpy")
    return Density(fused.log_density, fused, "fused")


def _proposal(
    target: Laplace,
    value_and_gradient: ValueAndGradient,
    move: str | TrackedMove,
    metric: str,
    num_integration_steps: int,
) -> TrackedMove:
    if isinstance(move, TrackedMove):
        return move.copied()  # warm-up changes the step size; the user's own stays as it was
    one_of("move", move, MOVES)
    begin = first_metric("averaged" if metric == "auto" else metric, target)
    if move == "random_walk":
        return RandomWalk(begin)
    if move == "pcn":
        return PCN(target.mean, begin)
    if move == "independence":
        return IndependenceT(target.mean, begin)
    if move == "mala":
        return MALA(value_and_gradient, begin)
    hmc = HMC(value_and_gradient, begin, num_integration_steps=num_integration_steps)
    hmc.step_size = hmc.default_step_size
    return hmc
