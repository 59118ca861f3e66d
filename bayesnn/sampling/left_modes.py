"""Modes that chains have left for better ones, or did not begin at."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from bayesnn.arrays import FloatArray, IntArray
from bayesnn.optimum.levenberg_marquardt import climb_together
from bayesnn.posterior import LogDensity
from bayesnn.sampling.better_optimum import MOST_STEPS, MOST_WEIGHTS, MUCH_BETTER
from bayesnn.sampling.target import Target


@dataclass(frozen=True, eq=False)
class LeftModes:
    """Optima that were given, at which no chain has stayed.

    Parameters
    ----------
    modes : ndarray of int (left,)
        Which.
    weights : ndarray (left, k)
        The best optimum that is reached from each, by climbs from its chains, or by hops.
    log_density : ndarray (left,)
        There.
    gained : ndarray (left,)
        Nats by which that is above the optimum given.
    by : {"climbs", "hops"}
        Whether its chains left, or replicas began elsewhere at once.
    is_news : bool
        Whether that is worth a warning: chains that are to cross between modes need no better start for a lesser one.
    """

    modes: IntArray
    weights: FloatArray
    log_density: FloatArray
    gained: FloatArray
    by: str = "climbs"
    is_news: bool = True

    def words(self) -> str:
        """Say what it means."""
        each = ", ".join(f"{mode} ({gain:.3g} nats)" for mode, gain in zip(self.modes, self.gained, strict=True))
        if self.by == "hops":
            return (
                f"replicas began at better optima than these modes, by so much in log density: {each}. They were found "
                "by drawing single units anew (find_optimum(posterior, n_hops=...)); the group left_modes has their "
                "weights"
            )
        return (
            f"all chains left these modes in warm-up for better ones, by so much in log density: {each}. What they "
            "draw is not the Gaussian's of the mode, nor is its evidence theirs. The group left_modes has the weights "
            "of the optima that climbs from them reach: give these instead (find_optimum(posterior, start=...))"
        )

    def to_dataset(self, names: tuple[str, ...]) -> xr.Dataset:
        """Group ``left_modes`` of the tree."""
        return xr.Dataset(
            {
                "weights": (("mode", "weight"), self.weights),
                "log_density": (("mode",), self.log_density),
                "gained": (("mode",), self.gained),
            },
            coords={"mode": self.modes, "weight": list(names)},
        )


def left_modes(target: Target, points: FloatArray) -> LeftModes | None:
    """Climb from where chains (chains, k) of several modes are, and tell which modes they have all left.

    Returns
    -------
    LeftModes or None
        None where there is none, one optimum was given, or there are too many weights to climb in good time.
    """
    posterior = target.posterior
    if target.n_modes == 1 or isinstance(posterior, LogDensity) or posterior.n_weights > MOST_WEIGHTS:
        return None
    ends = dict(climb_together(posterior, list(points), MOST_STEPS))  # in the order of ending
    reached = np.array([ends[chain].log_density for chain in range(len(points))])
    given = np.array([float(posterior.log_density(laplace.mean)) for laplace in target.laplaces])
    own = target.mode_of_chains(len(points))
    # A climb that ended nowhere has left nothing.
    has_left = np.isfinite(reached) & (reached > given[own] + MUCH_BETTER)
    modes = np.array([mode for mode in range(target.n_modes) if has_left[own == mode].all()], dtype=np.int64)
    if not len(modes):
        return None
    best = [int(np.argmax(np.where(own == mode, reached, -np.inf))) for mode in modes]
    weights = np.array([ends[chain].weights for chain in best])
    return LeftModes(modes, weights, reached[best], reached[best] - given[modes])
