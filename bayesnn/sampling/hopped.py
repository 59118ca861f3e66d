"""Better optima than those that were given, found by drawing single units anew, for replicas to begin at."""

import numpy as np

from bayesnn.laplace import Laplace
from bayesnn.optimum.descent import Descent
from bayesnn.optimum.hops import has_units, hop
from bayesnn.optimum.levenberg_marquardt import climb_together
from bayesnn.optimum.status import Status
from bayesnn.posterior import LogDensity
from bayesnn.sampling.better_optimum import MOST_STEPS, MOST_WEIGHTS, MUCH_BETTER, gaussian_at
from bayesnn.sampling.left_modes import LeftModes
from bayesnn.sampling.target import Target, is_distinct
from bayesnn.seeds import generator
from bayesnn.threads import on_one_blas_thread

# Hops for each step of warm-up: a third to a half of the time that replicas take for it, on some hundred rows.
HOPS_A_STEP = 1.0


@on_one_blas_thread
def hopped(target: Target, num_warmup: int, seed: int) -> tuple[Target, LeftModes | None]:
    """Hop from each of the optima that are known, and put far better ones in their places.

    Replicas that come down from hotter levels find deep modes late, or never in the time there is: those that are
    there then stand in lesser modes, each in its own. Each optimum is searched around by itself, so that what is as
    dispersed as the optima given stays so.

    Parameters
    ----------
    target : Target
        The optima given.
    num_warmup : int
        Steps of warm-up, of whose time hops have a share.
    seed : int
        Of the hops.

    Returns
    -------
    Target
        The same density, with the optima to begin at.
    LeftModes or None
        Which were replaced, and by what; None where none was, there are no units to draw anew, or so many weights that
        climbs would take longer than the warm-up.
    """
    posterior, n_hops = target.posterior, int(HOPS_A_STEP * num_warmup)
    if isinstance(posterior, LogDensity) or posterior.n_weights > MOST_WEIGHTS or not has_units(posterior):
        return target, None
    given = [float(posterior.log_density(laplace.mean)) for laplace in target.laplaces]
    begin = [
        Descent(laplace.mean, height, 0.0, Status.converged, 0)
        for laplace, height in zip(target.laplaces, given, strict=True)
    ]
    reached = list(begin)
    for mode, end in hop(posterior, begin, n_hops, generator(seed, "hops")):
        reached[mode] = end
    higher = [mode for mode, end in enumerate(reached) if end.log_density > given[mode] + MUCH_BETTER]
    better: dict[int, Laplace] = {}
    for i, end in climb_together(posterior, [reached[mode].weights for mode in higher], MOST_STEPS):
        mode, laplace = higher[i], gaussian_at(posterior, end.weights)
        # The Gaussian given may be of another curvature or structure, whose evidence is no measure of this one's.
        before = gaussian_at(posterior, begin[mode].weights, certified=False)
        if laplace is None or before is None:
            continue
        if laplace.log_marginal_likelihood > before.log_marginal_likelihood + MUCH_BETTER:
            better[mode] = laplace
    if not better:
        return target, None
    laplaces: list[Laplace] = []
    for mode, laplace in enumerate(target.laplaces):
        found = better.get(mode, laplace)
        if is_distinct(laplaces, found):
            laplaces.append(found)
    modes = sorted(better)
    weights = np.array([better[mode].mean for mode in modes])
    heights = np.array([float(posterior.log_density(w)) for w in weights])
    gained = heights - np.array([given[mode] for mode in modes])
    is_news = bool(heights.max() > max(given) + MUCH_BETTER)
    left = LeftModes(np.array(modes, dtype=np.int64), weights, heights, gained, "hops", is_news)
    return Target(posterior, tuple(laplaces)), left
