"""A better optimum than the one the chains started at, found by climbing from where they have gone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from bayesnn.arrays import FloatArray
from bayesnn.errors import ArgumentError
from bayesnn.laplace import Laplace, fit_laplace
from bayesnn.laplace.structures import LowRank
from bayesnn.optimum.descent import Descent
from bayesnn.optimum.levenberg_marquardt import climb_together
from bayesnn.posterior import LogDensity, Posterior
from bayesnn.sampling.starts import start_points
from bayesnn.sampling.target import Target
from bayesnn.tree import values_of

# Steps of a climb at most, and weights beyond which 16 climbs take longer than the warm-up.
MOST_STEPS, MOST_WEIGHTS = 100, 200
# Nats of log evidence by which an optimum must be better for the chains to start anew there: what they leave has less
# than one percent of the mass.
MUCH_BETTER = 5.0


class BetterOptimumWarning(RuntimeWarning):
    """Chains have left the optimum they were given for a far better one."""


@dataclass(frozen=True, eq=False)
class BetterOptimum:
    """An optimum above the one that was given.

    Parameters
    ----------
    weights : ndarray (k,)
        Where.
    log_density : float
        There.
    gained, evidence_gained : float
        Nats by which log density and Laplace's log evidence are higher.
    points : ndarray (chains, k)
        Where the chains start anew.
    """

    weights: FloatArray
    log_density: float
    gained: float
    evidence_gained: float
    points: FloatArray

    def words(self) -> str:
        """Say what was found."""
        return (
            f"chains found a better optimum, log density {self.log_density:.6g}, {self.gained:.3g} nats above the one "
            f"given (log evidence {self.evidence_gained:.3g} higher), and started anew there in warm-up. The group "
            "better_optimum has its weights; bayesnn.sampling.laplace_at_better_optimum(laplace, tree) returns the "
            "Gaussian to compare the draws with"
        )


def laplace_at_better_optimum(laplace: Laplace, tree: xr.DataTree) -> Laplace:
    """Return the Gaussian at the optimum around which the draws of a tree are.

    Parameters
    ----------
    laplace : Laplace
        What was sampled.
    tree : xarray.DataTree
        What :func:`bayesnn.sample` returned for it.

    Returns
    -------
    Laplace
        `laplace` itself, or, where the chains found a far better optimum and started anew there, one of the same
        curvature and structure at that.

    Raises
    ------
    ArgumentError
        If the Gaussian cannot be built there, as by :func:`bayesnn.fit_laplace`.
    """
    if "better_optimum" not in tree.children:
        return laplace
    weights = values_of(tree, "better_optimum", "weights")
    how: dict[str, Any] = {"curvature": laplace.curvature, "structure": laplace.structure}
    if isinstance(laplace.precision, LowRank):
        how["rank"] = laplace.precision.eigenvalues.size
    return fit_laplace(laplace.posterior, weights, **how)


def better_optimum(target: Target, points: FloatArray, start: str, seed: int) -> BetterOptimum | None:
    """Climb from where chains are, and tell of an optimum far better than the one they started at.

    Searches from random weights may miss the mode that holds nearly all the mass; chains leave lesser ones for it by
    themselves, but some late, or never. All start anew, not only those whose climb ends elsewhere: a climb crosses
    what a chain cannot.

    Parameters
    ----------
    target : Target
        What is sampled, from one optimum.
    points : ndarray (chains, k)
        Where the chains are.
    start : str
        Kind of the new starts, as :func:`bayesnn.sample` takes it.
    seed : int
        Of the new starts.

    Returns
    -------
    BetterOptimum or None
        None where there is no better one, several optima were given, or there are too many weights.
    """
    posterior = target.posterior
    # A density that is a mere function may have no derivatives but differences: climbs would cost more than the run.
    if target.n_modes > 1 or isinstance(posterior, LogDensity) or posterior.n_weights > MOST_WEIGHTS:
        return None
    mean = target.best.mean
    given = float(posterior.log_density(mean))
    ends = sorted((end for _, end in climb_together(posterior, list(points), MOST_STEPS)), key=_height, reverse=True)
    higher = [end for end in ends if end.log_density > given + MUCH_BETTER]
    optima = ((end, gaussian_at(posterior, end.weights)) for end in higher)
    best, found = next(((end, laplace) for end, laplace in optima if laplace is not None), (None, None))
    # The Gaussian given may be of another curvature or structure, whose evidence is no measure of this one's.
    at_given = None if found is None else gaussian_at(posterior, mean, certified=False)
    if best is None or found is None or at_given is None:
        return None
    gained = found.log_marginal_likelihood - at_given.log_marginal_likelihood
    if not gained > MUCH_BETTER:
        return None
    starts = start_points(found, start, len(points), seed)
    return BetterOptimum(best.weights, best.log_density, best.log_density - given, gained, starts)


def gaussian_at(posterior: Posterior, weights: FloatArray, certified: bool = True) -> Laplace | None:
    """Return the Gaussian where a climb has ended; None where there is none, or no optimum.

    A climb may end where the data leave directions free, on its way to infinity.
    """
    try:
        laplace = fit_laplace(posterior, weights)
    except ArgumentError:
        return None
    return laplace if laplace.certificate.is_optimum or not certified else None


def optima_near(posterior: Posterior, points: FloatArray) -> list[Laplace]:
    """Climb from points (p, k), and return the Gaussians at the optima where climbs ended.

    None of posteriors with so many weights that climbs would take longer than the warm-up.
    """
    if isinstance(posterior, LogDensity) or posterior.n_weights > MOST_WEIGHTS:
        return []
    ends = climb_together(posterior, list(points), MOST_STEPS)
    found = [gaussian_at(posterior, end.weights) for _, end in ends if np.isfinite(end.log_density)]
    return [laplace for laplace in found if laplace is not None]


def _height(end: Descent) -> float:
    return end.log_density if np.isfinite(end.log_density) else -np.inf
