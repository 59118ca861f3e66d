"""Which metric, and how long a trajectory: measured on function values before the draws that count."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from emcee.model import Model
from emcee.state import State

from bayesnn.arrays import FloatArray, IntArray
from bayesnn.sampling.adaptation import DualAveraging
from bayesnn.sampling.components import Components
from bayesnn.sampling.metric import Metric
from bayesnn.sampling.moves import HMC
from bayesnn.sampling.moves.base import acceptance

# Leapfrog steps at which trajectories are looked at.
LENGTHS: IntArray = np.array([2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512])
# All candidates go so far; those that still gain by going on, and are not far behind, go further.
FIRST_REACH = 32
# A candidate goes on if its best is within this factor of its last, and its last within this factor of the best of all.
STILL_GAINS, NOT_FAR_BEHIND = 1.3, 4.0
N_TRAJECTORIES = 4
TUNING_STEPS, TUNING_LENGTH = 20, 4
# Halvings and doublings from the first step size to one that half the walkers accept.
MAX_DOUBLINGS = 30
# A Laplace metric that costs more than this, compared to the one chosen, is named in the reason.
HARMFUL = 2.0

# A trajectory whose end is so large a part of an independent draw is long enough. Where none is, the longest of at
# least such a share of the best efficiency is taken; and none is shorter than this.
LONG_ENOUGH, NEARLY_AS_GOOD, SHORTEST = 0.5, 0.5, 6
# By how much another metric must beat the averaged one. The walkers have seen little of what moves slowly, so that all
# efficiencies are too high, and those of metrics that do not know the posterior's slow directions most of all; the
# averaged curvature knows these in advance.
PREFERRED, PREFERENCE = "averaged", 3.0

type Functions = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class Pilot:
    """What short trial runs say of metrics and trajectory lengths.

    Parameters
    ----------
    names : tuple of str
        The metrics tried.
    lengths : ndarray of int (l,)
        Leapfrog steps at which trajectories were looked at.
    efficiency : ndarray (metrics, l)
        Independent draws of the function values per gradient, by how far these jump; NaN where it was not tried.
    step_size : ndarray (metrics,)
        To which each was tuned.
    settled : int, optional
        Index of the metric that was chosen before; None to choose by the efficiencies.
    """

    names: tuple[str, ...]
    lengths: IntArray
    efficiency: FloatArray
    step_size: FloatArray
    settled: int | None = None

    @property
    def best(self) -> FloatArray:
        """Efficiency of each metric (metrics,) at its best length."""
        return np.nanmax(self.efficiency, axis=1)

    @property
    def chosen(self) -> int:
        """Index of the metric with the highest efficiency; another than the averaged one must be far ahead of it."""
        if self.settled is not None:
            return self.settled
        weights = np.array([PREFERENCE if name == PREFERRED else 1.0 for name in self.names])
        return int(np.argmax(weights * self.best))

    @property
    def name(self) -> str:
        """The metric chosen."""
        return self.names[self.chosen]

    @property
    def length(self) -> int:
        """Mean number of leapfrog steps chosen: the shortest whose end is half an independent draw, if there is one.

        Otherwise the longest at least half as good as the best. Jumps are short where the posterior is narrow, and
        chains there are slow to leave: what the mean over all chains does not see, and longer trajectories mend.
        """
        of_chosen = np.nan_to_num(self.efficiency[self.chosen])
        good = of_chosen >= NEARLY_AS_GOOD * of_chosen.max()
        enough = good & (of_chosen * self.lengths >= LONG_ENOUGH)
        length = int(self.lengths[enough].min() if enough.any() else self.lengths[good].max())
        return max(length, min(SHORTEST, int(self.lengths.max())))

    @property
    def reason(self) -> str:
        """Say what was chosen, and against what, in one line."""
        order = np.argsort(-self.best)
        each = "; ".join(f"{self.names[i]} {self.best[i]:.2g} (step {self.step_size[i]:.2g})" for i in order)
        words = f"{self.name}, {self.length} steps. Independent function values per gradient: {each}"
        if "laplace" in self.names:
            laplace = self.best[self.names.index("laplace")]
            if HARMFUL * laplace < self.best[self.chosen]:
                words += (
                    f". The Laplace metric would cost {self.best[self.chosen] / max(laplace, 1e-300):.2g} times as much"
                )
        return words

    def renewed(self, later: "Pilot") -> "Pilot":
        """Return the same choice of metric with what a later pilot of this metric alone says of lengths."""
        efficiency, step_size = self.efficiency.copy(), self.step_size.copy()
        efficiency[self.chosen], step_size[self.chosen] = later.efficiency[0], later.step_size[0]
        return replace(self, efficiency=efficiency, step_size=step_size, settled=self.chosen)

    def to_dataset(self) -> xr.Dataset:
        """Group ``pilot`` of the tree."""
        return xr.Dataset(
            {
                "efficiency": (("metric", "length"), self.efficiency),
                "step_size": (("metric",), self.step_size),
            },
            coords={"metric": list(self.names), "length": self.lengths},
            attrs={"metric": self.name, "length": self.length, "reason": self.reason},
        )


def run_pilot(
    move: HMC,
    log_density: Callable[[FloatArray], FloatArray],
    functions: Functions,
    metrics: Mapping[str, Metric],
    points: FloatArray,
    seen: FloatArray,
    random: np.random.RandomState,
    length: int | None = None,
) -> Pilot:
    r"""Try metrics from where the chains are, and measure how far function values jump along trajectories.

    Each trajectory is looked at on its way. At length `L` the jump of a principal component `c` of the function values,
    weighted with the probability that the end would be accepted, over twice its variance,
    :math:`p = E[a (c_L - c_0)^2] / 2 V`, is one less the autocorrelation of successive draws, and
    :math:`L (2 - p) / p` the gradients that an independent draw takes, of a chain with geometric autocorrelation; `p`
    counts up to 1, so that swinging from side to side gains nothing. A function value takes what its components take,
    weighted with their shares in its variance; the criterion is the tenth of the function values that is slowest. That
    trajectories are judged by jumps is the idea of ChEES (Hoffman, Radul & Sountsov 2021), which looks at the weights.

    Parameters
    ----------
    move : HMC
        To copy density and jitter from; it stays as it is.
    log_density : callable
        Of weights (chains, k).
    functions : callable
        Function values (chains, m) at weights (chains, k).
    metrics : mapping of str to Metric
        The candidates.
    points : ndarray (chains, k)
        Where the chains are.
    seen : ndarray (draws, m)
        Function values under the posterior, as far as it is known.
    random : numpy.random.RandomState
        Source of momenta.
    length : int, optional
        The only length to try.

    Returns
    -------
    Pilot
    """
    components = Components.of(seen)

    def scores(weights: FloatArray) -> FloatArray:
        return functions(weights) @ components.basis

    trials = [_Trial(move, log_density, scores, metric, points, random) for metric in metrics.values()]
    steps = np.array([trial.move.step_size for trial in trials])
    lengths = LENGTHS if length is None else np.array([length])
    efficiency = np.full((len(trials), len(lengths)), np.nan)
    reach = int(np.searchsorted(lengths, max(FIRST_REACH, lengths[0]), side="right"))
    going = list(range(len(trials)))
    done = 0
    while going:
        for i in going:
            jumps = trials[i].advance(lengths[done:reach])
            efficiency[i, done:reach] = components.efficiency(jumps, lengths[done:reach])
        leader = np.nanmax(efficiency)
        gains = [i for i in going if np.nanmax(efficiency[i]) < STILL_GAINS * efficiency[i, reach - 1]]
        going = [i for i in gains if NOT_FAR_BEHIND * efficiency[i, reach - 1] > leader]
        done, reach = reach, min(reach + 2, len(lengths))
        if done == len(lengths):
            break
    return Pilot(tuple(metrics), lengths, efficiency, steps)


class _Trial:
    """Trajectories in one metric, followed as far as they are wanted."""

    def __init__(
        self,
        move: HMC,
        log_density: Callable[[FloatArray], FloatArray],
        functions: Functions,
        metric: Metric,
        points: FloatArray,
        random: np.random.RandomState,
    ) -> None:
        self.functions = functions
        self.move = HMC(move.value_and_gradient, metric, num_integration_steps=TUNING_LENGTH)
        state = _tuned(self.move, log_density, points, random)
        weights = np.concatenate([state.coords] * N_TRAJECTORIES)
        self.values, self.gradient = self.move.value_and_gradient(weights)
        self.weights, self.momenta = weights, random.standard_normal(weights.shape)
        # Of equal steps some length would be a full period of many directions at once.
        jitter = self.move.step_size_jitter * (2.0 * random.random_sample((len(weights), 1)) - 1.0)
        self.steps = self.move.step_size * (1.0 + jitter)
        self.energy = 0.5 * (self.momenta**2).sum(axis=1) - self.values
        self.begin = functions(weights)
        self.length = 0

    def advance(self, lengths: IntArray) -> FloatArray:
        """Go on to each length, and return the mean squared jumps (lengths, m) of what would be accepted."""
        jumps: list[FloatArray] = []
        for length in lengths:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                ends = self.move.integrate(
                    self.weights, self.momenta, self.gradient, self.steps, int(length) - self.length
                )
                self.weights, self.momenta, log_prob, self.gradient = ends
                accepted = acceptance(self.energy - 0.5 * (self.momenta**2).sum(axis=1) + log_prob)
            alive = accepted > 0.0
            values = self.functions(np.where(alive[:, None], self.weights, 0.0))
            jump = np.where(alive[:, None], (values - self.begin) ** 2, 0.0)
            jumps.append((accepted[:, None] * jump).mean(axis=0))
            self.length = int(length)
        return np.array(jumps)


def _tuned(
    move: HMC, log_density: Callable[[FloatArray], FloatArray], points: FloatArray, random: np.random.RandomState
) -> State:
    """Tune the step size, and return where the walkers are after."""

    def log_density_and_blobs(weights: FloatArray) -> tuple[FloatArray, None]:
        return log_density(weights), None

    model = Model(log_density, log_density_and_blobs, map, random)
    state = State(points, log_prob=log_density(points), copy=True)
    move.step_size = _first_step_size(move, points, random)
    averaging = DualAveraging(move.step_size, move.target_acceptance, move.chain_mean)
    for _ in range(TUNING_STEPS):
        state, _ = move.propose(model, state)
        assert move.stats is not None  # propose has set it
        averaging.update(move.stats.acceptance_rate)
        move.step_size = averaging.step_size
    move.step_size = averaging.averaged_step_size
    return state


def _first_step_size(move: HMC, points: FloatArray, random: np.random.RandomState) -> float:
    """Double or halve the step size until single steps are accepted by half (Hoffman & Gelman 2014, algorithm 4)."""
    momenta = random.standard_normal(points.shape)
    values, gradient = move.value_and_gradient(points)

    def accepted(step_size: float) -> float:
        steps = np.full((len(points), 1), step_size)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            _, ends, log_prob, _ = move.integrate(points, momenta, gradient, steps, 1)
            return float(acceptance(0.5 * (momenta**2 - ends**2).sum(axis=1) + log_prob - values).mean())

    step_size = move.default_step_size
    factor = 2.0 if accepted(step_size) > 0.5 else 0.5
    for _ in range(MAX_DOUBLINGS):
        further = step_size * factor
        if (accepted(further) > 0.5) != (factor > 1.0):
            return further if factor < 1.0 else step_size
        step_size = further
    return step_size
