"""Replica exchange of a target: which path, which jumps, and where replicas begin."""

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.errors import ArgumentError
from bayesnn.posterior import Posterior
from bayesnn.sampling.marginal import Marginal, UnitMarginal
from bayesnn.sampling.metric import first_metric
from bayesnn.sampling.moves import ModeJump, ReplicaExchange
from bayesnn.sampling.moves.replica_exchange import LENGTH
from bayesnn.sampling.path import PosteriorPath
from bayesnn.sampling.starts import start_points
from bayesnn.sampling.target import Target


def replica_exchange(
    target: Target, metric: str, length: int | None = None, inverse_temperatures: FloatArray | None = None
) -> ReplicaExchange:
    """Return a ladder of powers of the likelihood, the output layer integrated out and modes jumped to where it can."""
    path = PosteriorPath(target.posterior)
    coldest = path.at(1.0)
    begin = first_metric(metric, target, coldest if isinstance(coldest, Marginal) else None)
    jumps = None
    if target.laplaces and isinstance(coldest, UnitMarginal) and coldest.units_are_alike:
        jumps = ModeJump(coldest, target.laplaces)
    return ReplicaExchange(path, begin, inverse_temperatures, num_integration_steps=length or LENGTH, jumps=jumps)


def check_same_posterior(posterior: Posterior, target: Target) -> None:
    """Refuse replicas of another posterior."""
    if posterior is target.posterior:
        return
    point = target.best.mean if target.laplaces else np.zeros(target.n_weights)
    if posterior.n_weights != len(point) or posterior.log_density(point) != target.posterior.log_density(point):
        raise ArgumentError("move", f"replica exchange of {posterior!r}", "one of the posterior that is sampled")


def begin_replicas(
    move: ReplicaExchange, target: Target, start: str | ArrayLike, num_chains: int, seed: int
) -> FloatArray:
    """Place all replicas, which share the modes among them, and return the starts (chains, k) of the coldest."""
    if isinstance(start, str):
        points = start_points(target, start, num_chains * move.num_levels, seed)
        points = points.reshape(num_chains, move.num_levels, -1).swapaxes(0, 1)
    else:
        points = start_points(target, start, num_chains, seed)
        points = np.broadcast_to(points, (move.num_levels, *points.shape))
    move.begin(points)
    return points[0].copy()
