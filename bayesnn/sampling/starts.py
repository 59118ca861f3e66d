"""Where chains begin."""

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import finite_array, one_of
from bayesnn.errors import ArgumentError
from bayesnn.laplace import Laplace
from bayesnn.posterior import Posterior
from bayesnn.sampling.marginal import Marginal
from bayesnn.sampling.moves import ReplicaExchange, TrackedMove
from bayesnn.sampling.moves.mixture import members_of
from bayesnn.sampling.target import Target
from bayesnn.seeds import generator

STARTS = ("laplace", "laplace_t", "prior")
# Degrees of freedom of the over-dispersed start: variance 5/3 of the Gaussian's.
T_DF = 5.0
# A start may lie so many nats a weight below what the Gaussian says of it, or is pulled towards the optimum by steps.
SLACK, PULL, MOST_PULLS = 0.5, 0.8, 50


def start_points(laplace: Laplace | Target, start: str | ArrayLike, num_chains: int, seed: int) -> FloatArray:
    """Draw or check one start for each chain.

    Parameters
    ----------
    laplace : Laplace or Target
        The Gaussian at the optimum; of several optima, each chain has its own.
    start : {"laplace", "laplace_t", "prior"} or array_like (chains, k)
        Draws from the Gaussian, draws with Student-t tails of 5 degrees of freedom, draws from the prior, or the points
        themselves. Of the first two, draws far below the log density that the Gaussian has for them are pulled towards
        the optimum.
    num_chains : int
        Number of chains.
    seed : int
        Seed.

    Returns
    -------
    ndarray (chains, k)

    Raises
    ------
    ArgumentError
        If `start` is unknown or has another shape, no Gaussian is there to draw from, the prior is flat and has no
        draws, or the log density is not finite at some start.
    """
    target = laplace if isinstance(laplace, Target) else Target.of(laplace)
    shape = (num_chains, target.n_weights)
    if isinstance(start, str):
        one_of("start", start, STARTS)
        if start != "prior" and not target.laplaces:
            wants = f"points {shape}, such as journey(...).ends, or 'prior'; or a Laplace as target"
            raise ArgumentError("start", f"{start!r} for a Posterior without a Laplace", wants)
        rng = generator(seed, "chain starts")
        standard = rng.standard_normal(shape)
        if start == "laplace_t":
            standard /= np.sqrt(rng.chisquare(T_DF, (num_chains, 1)) / T_DF)
        points = _from_prior(target.posterior, standard) if start == "prior" else _from_gaussians(target, standard)
    else:
        points = finite_array("start", start, (2,), f"shape {shape}")
        if points.shape != shape:
            raise ArgumentError("start", f"shape {points.shape}", f"shape {shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        values = target.posterior.log_density(points)
    _refuse_not_finite(values, "log density")
    return points


def check_marginal_starts(move: TrackedMove, points: FloatArray) -> None:
    """Refuse starts (chains, k) at which a density that moves follow in place of the posterior is not finite.

    Raises
    ------
    ArgumentError
        If there is one: no chain would leave it.
    """
    for part in members_of(move):
        if isinstance(part, ReplicaExchange) and part.log_densities is not None:
            for beta, values in zip(part.inverse_temperatures, part.log_densities, strict=True):
                _refuse_not_finite(values, f"density to the power {beta:.3g}")
            continue
        marginal = getattr(part, "marginal", None)
        if isinstance(marginal, Marginal) and marginal.kept.max() < points.shape[1]:
            _refuse_not_finite(marginal.log_density(points[:, marginal.kept]), "log density of the hidden weights")


def _refuse_not_finite(values: FloatArray, what: str) -> None:
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        got = f"{what} not finite at {len(bad)} of {len(values)} starts, first chain {bad[0]}: {values[bad[0]]:g}"
        wants = (
            "points where it is finite: standardise the data, take a narrower start, or give an array of good points"
        )
        raise ArgumentError("start", got, wants)


def _from_gaussians(target: Target, standard: FloatArray) -> FloatArray:
    """Give standard draws (chains, k) the mean and covariance of each chain's Gaussian."""
    modes = target.shared_out(len(standard))
    points = np.empty_like(standard)
    for mode, laplace in enumerate(target.laplaces):
        points[modes == mode] = _from_gaussian(laplace, standard[modes == mode])
    return points


def _from_gaussian(laplace: Laplace, standard: FloatArray) -> FloatArray:
    """Draw around the optimum; draws where the Gaussian misleads grossly are pulled towards it.

    Along a valley that bends, a draw from the Gaussian may lie hundreds of nats below the posterior's bulk, and a chain
    from there ends in whatever lesser mode it meets. Where the posterior is Gaussian no draw is moved.
    """
    mean, deviations = laplace.mean, laplace.factor.color(standard)
    expected = 0.5 * (standard**2).sum(axis=1)
    lowest = laplace.posterior.log_density(mean) - expected - SLACK * laplace.n_weights
    shares = np.ones(len(standard))
    for _ in range(MOST_PULLS):
        with np.errstate(over="ignore", invalid="ignore"):
            low = ~(laplace.posterior.log_density(mean + shares[:, None] * deviations) >= lowest)  # NaN is low
        if not low.any():
            break
        shares[low] *= PULL
    return mean + shares[:, None] * deviations


def _from_prior(posterior: Posterior, standard: FloatArray) -> FloatArray:
    flat = np.flatnonzero(posterior.prior_precision == 0.0)
    if len(flat):
        got = f"'prior', which is flat for {posterior.weight_names[flat[0]]}"
        raise ArgumentError("start", got, "a start of another kind, or a proper prior for every coordinate")
    return posterior.prior_mean + standard / np.sqrt(posterior.prior_precision)
