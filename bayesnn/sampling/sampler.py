"""MCMC started and preconditioned by a Laplace posterior, driven by ``emcee.EnsembleSampler``."""

import os
import warnings
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from emcee.moves import Move

from bayesnn.arrays import ArrayLike
from bayesnn.checks import finite_array, integer_at_least, one_of
from bayesnn.errors import ArgumentError
from bayesnn.posterior import LogDensity, Posterior
from bayesnn.progress import is_shown
from bayesnn.sampling.assemble import chains_tree
from bayesnn.sampling.better_optimum import BetterOptimumWarning
from bayesnn.sampling.call import keep_call
from bayesnn.sampling.chain_labels import chain_labels
from bayesnn.sampling.density import density_of
from bayesnn.sampling.ensembles import DEFAULT_CHAINS, Ensembles, as_tracked
from bayesnn.sampling.gradient_check import check_gradients
from bayesnn.sampling.hopped import hopped
from bayesnn.sampling.identity import identity_of
from bayesnn.sampling.metric import METRICS, first_metric
from bayesnn.sampling.monitor import Monitor
from bayesnn.sampling.moves import (
    HMC,
    PCN,
    IndependenceT,
    MicrocanonicalLangevin,
    ReplicaExchange,
    TrackedMove,
    WalkerMove,
)
from bayesnn.sampling.moves.mixture import crosses_modes, members_of
from bayesnn.sampling.path import PosteriorPath
from bayesnn.sampling.proposal import fitting_move, proposal_of
from bayesnn.sampling.replicas import begin_replicas
from bayesnn.sampling.run import KNOWN, Run
from bayesnn.sampling.schedule import Schedule, Wishes
from bayesnn.sampling.standstill import standstill
from bayesnn.sampling.starts import STARTS, check_marginal_starts, start_points
from bayesnn.sampling.store import ChainStore
from bayesnn.sampling.target import Gaussians, Target
from bayesnn.sampling.watch import Watch
from bayesnn.threads import on_one_blas_thread

# Chains of replica exchange, each of which has replicas at all temperatures.
DEFAULT_SYSTEMS = 8


@on_one_blas_thread
def sample(
    target: Gaussians | Posterior,
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
    target : Laplace, sequence of Laplace, LaplaceMixture, LogDensity or Posterior
        The Gaussian at the optimum; its ``posterior`` is what is sampled. For a LogDensity it is made here, at the best
        of a few optima. Of several optima, each has its share of the chains; what weights a mixture has does not
        matter. :func:`bayesnn.mode_weights` weighs the modes afterwards; chains that begin at draws of the prior, or at
        points of your own, are of no mode. A Posterior is for chains that begin far from
        any optimum, at points of your own such as the ends of a :func:`bayesnn.sampling.journey`.
    num_chains : int, optional
        Independent chains, advanced together; as many as there are points in `start`, else 16, and 8 of replica
        exchange, each with replicas at all temperatures. Of `m` optima, chain `i` begins in mode
        ``i * m // num_chains``; two chains a mode at least, but for replica exchange, whose chains do not stay there.
        Of a move of emcee's whose walkers look at each other: all walkers of all ensembles, by default as few as it
        works with, ``num_ensembles * (2 k + 2)``.
    num_warmup : int
        Steps that adapt the step size and the metric, not kept.
    num_samples : int
        Draws of each chain.
    seed : int
        Seed of starts, proposals and Gaussian draws: the same seed gives the same tree.
    move : str or a move
        ``"auto"``, ``"marginal_hmc"``, ``"hmc"``, ``"replica_exchange"``, ``"microcanonical"``, ``"mala"``, ``"pcn"``,
        ``"random_walk"`` or ``"independence"``. ``"auto"`` is HMC on the hidden weights with the output layer
        integrated out (``"marginal_hmc"``) for an MLP under Gaussian noise and a normal prior, and replica exchange of
        it (:class:`bayesnn.moves.ReplicaExchange`) where several optima are given; else HMC where there is a gradient,
        and a random walk for a LogDensity without one. A move of :mod:`bayesnn.moves` keeps its metric; its step size
        is adapted. Replica exchange learns both, and its temperatures. A ``moves.Mixture`` adapts each of its parts.
        ``"pcn"`` and ``"independence"`` propose around one Gaussian and are refused for several optima, or none.
        emcee's own moves are run as they are.
    num_ensembles : int
        Ensembles of emcee's interacting moves (``StretchMove`` and the like), at least 2: each counts as one chain, and
        R-hat is taken between them.
    metric : {"auto", "averaged", "laplace", "diagonal", "unit"}
        ``"averaged"``: prior plus B'ΛB averaged over the chains during warm-up; ``"laplace"``: at the optimum alone,
        the precisions averaged where there are several; ``"diagonal"``: the diagonal of the averaged one; ``"unit"``:
        none. Of a Posterior, what is averaged over the starts comes first. ``"auto"`` is ``"averaged"`` but for HMC,
        where a pilot run measures how far each moves function values per gradient: ``"unit"`` unless a learnt one
        promises three times as much, and among these ``"averaged"`` unless another promises half as much again; and but
        for ``"independence"``, where it is ``"laplace"``.
    start : {"laplace", "laplace_t", "prior"} or array_like (chains, k)
        Draws from the Gaussian, that of the chain's own mode, the same with Student-t tails, draws from the prior, or
        points. A Posterior has the last two only.
    num_integration_steps : int, optional
        Mean number of leapfrog steps of the trajectories of ``"hmc"``; without it the pilot chooses.
    store : path-like, optional
        A folder for the draws, written every few seconds in files that are whole or not there. Where it holds an
        unfinished run with the same arguments, that run goes on, to the same bits as if it had never ended; so does
        :func:`bayesnn.resume`. A finished one is read, and made longer if `num_samples` is now larger. The draws are in
        ``draws.zarr`` (``xr.open_zarr(..., consolidated=False)``).
    progress : bool, optional
        Whether to show a bar, with acceptance, step size, the worst bulk ESS so far and the time left; by default where
        stderr is a terminal.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior``, ``sample_stats``, ``log_likelihood``, ``posterior_predictive``, ``monitor``,
        ``observed_data``, ``constant_data``, ``laplace``, ``laplace_posterior``, ``laplace_stats``, and ``pilot``: what
        it measured of each metric and length, and the reason of its choice in words. Of several optima, ``posterior``
        has the coordinate `mode` (chain,), where each chain began, group ``modes`` says what they are, and the groups
        ``laplace*`` are those of the highest evidence. Ctrl-C ends the run early; the tree holds the draws made until
        then and its settings say ``"interrupted": true``. Of a Posterior there are no groups ``laplace*``.

    Raises
    ------
    ArgumentError
        If an argument is out of range, Laplaces are of different densities or of one optimum twice, the log density is
        not finite at a start, values or gradients of a move of your own are not those of the density, or the store
        belongs to another run or cannot be written.

    Warns
    -----
    RuntimeWarning
        If emcee's GaussianMove has a full covariance, whose walkers are not independent.
        If a store is damaged, and how many steps are made again; or if it cannot be written any more, the disk being
        full: the run then goes on in memory, and the settings say ``"store_failure"``. If no proposal was accepted in
        any chain; the settings say so, too, and of fewer chains, in ``"status"``.
    BetterOptimumWarning
        If chains found a far better optimum than the one given, and started anew there;
        :func:`bayesnn.sampling.laplace_at_better_optimum` makes the Gaussian to compare their draws with. If all chains
        of one of several optima left it for better ones, or replicas began at far better ones than all that were given,
        which were found by drawing single units anew; group ``left_modes`` has these.

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
    if num_chains is not None:
        num_chains = integer_at_least("num_chains", num_chains, 2)
    num_ensembles = integer_at_least("num_ensembles", num_ensembles, 2)
    num_warmup = integer_at_least("num_warmup", num_warmup, 0)
    num_samples = integer_at_least("num_samples", num_samples, 4)
    seed = integer_at_least("seed", seed, 0)
    one_of("metric", metric, ("auto", *METRICS))
    if isinstance(start, str):
        one_of("start", start, STARTS)
    if num_integration_steps is not None:
        num_integration_steps = integer_at_least("num_integration_steps", num_integration_steps, 1)
    modes = Target.of(target, seed, needs_laplace=False)
    for laplace in modes.laplaces:
        _ = laplace.factor  # refuses what has none before anything is drawn
    if not isinstance(start, str):
        start = finite_array("start", start, (2,), f"shape (chains, {modes.n_weights})")
        num_chains = num_chains or max(2, len(start))
    if isinstance(move, str) and move == "auto":
        move = fitting_move(modes)
    exchanges = isinstance(move, ReplicaExchange) or (isinstance(move, str) and move == "replica_exchange")
    if exchanges:
        num_chains = num_chains or DEFAULT_SYSTEMS
    ensemble = None
    if isinstance(move, Move):
        move, num_chains, ensemble = as_tracked(move, num_chains, num_ensembles, modes.n_weights)
    m = modes.n_modes
    if ensemble is not None and m > 1 and (num_ensembles % m or num_ensembles < 2 * m):
        wants = f"a multiple of {m}, at least {2 * m}: whole ensembles in each, with R-hat between them"
        raise ArgumentError("num_ensembles", f"{num_ensembles} for {m} optima", wants)
    num_chains = num_chains or DEFAULT_CHAINS
    around_optima = start if isinstance(start, str) and start != "prior" else None
    if around_optima and not exchanges and modes.laplaces:
        modes.mode_of_chains(num_chains)  # refuses too few
    if not modes.laplaces:
        modes = replace(modes, starts=start_points(modes, start, num_chains, seed))
    density = density_of(modes.posterior)
    begin_at, left = modes, None
    if around_optima and isinstance(move, str) and move == "replica_exchange":
        PosteriorPath(modes.posterior)  # refuses what has none before the work
        begin_at, left = hopped(modes, num_warmup, seed)
    proposal = proposal_of(begin_at, density.value_and_gradient, move, metric, num_integration_steps)
    if isinstance(proposal, ReplicaExchange):
        if left is not None and proposal.jumps is not None:
            proposal.jumps.add(modes.laplaces)  # what they were given to be sampled for
        points = begin_replicas(proposal, begin_at, start, num_chains, seed)
    else:
        points = start_points(modes, start, num_chains, seed)
    check_marginal_starts(proposal, points)
    if isinstance(modes.posterior, LogDensity):
        modes.posterior.check_gradient(points[0])
    if isinstance(move, WalkerMove):
        sds = np.sqrt(modes.best.posterior_variance) if modes.laplaces else first_metric("diagonal", modes).scale
        check_gradients(move, density.log_density, points, sds, seed)
    # A Gaussian of the user's own is where chains are wanted.
    own_gaussian = isinstance(move, TrackedMove) and any(isinstance(m, PCN | IndependenceT) for m in members_of(move))
    wishes = Wishes(
        metric if isinstance(move, str) else None,
        num_integration_steps,
        around_optima,
        may_start_anew=not own_gaussian,
    )
    functions = Monitor.of(modes.posterior).values
    schedule = Schedule(proposal, begin_at, density.log_density, functions, wishes, num_warmup, seed)
    schedule.left = left
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
        identity = identity_of(modes, density.log_density(points), points, proposal, arguments)
        given = {"num_samples": num_samples, "move": move, "start": start if isinstance(start, str) else points}
        with closing(ChainStore(store, identity, run.record, KNOWN)) as opened:
            keep_call(opened.root, modes, arguments | given)
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
    if isinstance(proposal, HMC | MicrocanonicalLangevin):
        settings["num_integration_steps"] = proposal.num_integration_steps
    unadjusted = [part for part in proposal.parts if isinstance(part, MicrocanonicalLangevin)]
    if unadjusted:
        settings["bias"] = "; ".join(part.words() for part in unadjusted)
    if chains.store_failure is not None:
        settings["store_failure"] = chains.store_failure
    n_stuck, words = standstill(chains, proposal)
    if n_stuck:
        settings["status"] = words
    if n_stuck == num_chains:
        warnings.warn(words, RuntimeWarning, stacklevel=3)  # of the caller, past the decorator
    if schedule.better is not None:
        settings["better_optimum"] = schedule.better.words()
        warnings.warn(schedule.better.words(), BetterOptimumWarning, stacklevel=3)
    if schedule.left is not None:
        settings["left_modes"] = schedule.left.words()
        if schedule.left.is_news:
            warnings.warn(schedule.left.words(), BetterOptimumWarning, stacklevel=3)
    if schedule.pilot is not None:
        settings["metric_reason"] = schedule.pilot.reason
    # Chains that began elsewhere are of whichever mode they came to.
    keeps_modes = modes.n_modes > 1 and around_optima is not None and not crosses_modes(proposal)
    if keeps_modes:
        settings["n_modes"] = modes.n_modes
    tree = chains_tree(modes, chains, settings, seed, keeps_modes)
    for member in members_of(proposal):
        if isinstance(member, ReplicaExchange) and "tempering" not in tree.children:
            tree["tempering"] = xr.DataTree(member.to_dataset())
    labels = chain_labels(points, ensemble)
    if labels:
        tree["posterior"] = xr.DataTree(tree["posterior"].to_dataset().assign_coords(labels))
    if schedule.better is not None:
        found = {"weights": (("weight",), schedule.better.weights), "log_density": ((), schedule.better.log_density)}
        tree["better_optimum"] = xr.DataTree(xr.Dataset(found, coords={"weight": list(modes.posterior.weight_names)}))
    if schedule.left is not None:
        tree["left_modes"] = xr.DataTree(schedule.left.to_dataset(modes.posterior.weight_names))
    if schedule.pilot is not None:
        tree["pilot"] = xr.DataTree(schedule.pilot.to_dataset())
    return tree
