"""Which metric, and how long a trajectory: measured on function values before the draws that count."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from emcee.model import Model
from emcee.state import State

from bayesnn.arrays import FloatArray, IntArray, spread_indices
from bayesnn.sampling.adaptation import DualAveraging
from bayesnn.sampling.metric import Metric
from bayesnn.sampling.mixing import MixingSpace
from bayesnn.sampling.moves import HMC
from bayesnn.sampling.moves.base import acceptance
from bayesnn.sampling.moves.hmc import trajectory_steps

# Mean leapfrog steps of the trajectories among which is chosen.
LENGTHS: IntArray = np.array(
    [2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512]
)
# All candidates are judged up to the first of these; those that may still win go on to the next.
REACHES = (8, 16, 32, 64, 128, 256, 512)
# A candidate may if its best is within this factor of its last, and its last within this factor of the best of all.
STILL_GAINS, NOT_FAR_BEHIND = 1.3, 8.0
# Looks at a trajectory, one at least for each such share of its length.
LOOK_EVERY = 0.2
N_TRAJECTORIES = 256
TUNING_STEPS, TUNING_LENGTH = 20, 4
# Halvings and doublings from the first step size to one that half the walkers accept.
MAX_DOUBLINGS = 30
# A Laplace metric that costs more than this, compared to the one chosen, is named in the reason.
HARMFUL = 2.0
# What a metric is worth beyond the figures: the averaged one alone goes on learning; and the unit metric stretches no
# direction. Where one that a metric takes for wide bends, chains stick, in places too rare for the pilot to meet: a
# metric that is learnt has to promise three times as much. This holds for a unit metric whose trajectories go so many
# standard deviations along the widest direction, which no function value may feel (scalings of ReLU units).
PREFERENCE, GOES_FAR = {"averaged": 1.5, "unit": 4.5}, 0.3

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
    widest : ndarray (metrics,)
        Standard deviation of the weights in each metric's coordinates, along the widest direction.
    settled : int, optional
        Index of the metric that was chosen before; None to choose by the efficiencies.
    kept_step_size : float, optional
        With which the draws are made; None while it still adapts.
    """

    names: tuple[str, ...]
    lengths: IntArray
    efficiency: FloatArray
    step_size: FloatArray
    widest: FloatArray
    settled: int | None = None
    kept_step_size: float | None = None

    @property
    def best(self) -> FloatArray:
        """Efficiency of each metric (metrics,) at its best length."""
        return np.nanmax(self.efficiency, axis=1)

    @property
    def chosen(self) -> int:
        """Index of the metric with the highest efficiency, by preference where they are near each other."""
        if self.settled is not None:
            return self.settled
        weights = np.array([PREFERENCE.get(name, 1.0) for name in self.names])
        too_short = self.lengths[np.nanargmax(self.efficiency, axis=1)] * self.step_size < GOES_FAR * self.widest
        weights[too_short & (np.array(self.names) == "unit")] = 1.0
        return int(np.argmax(weights * self.best))

    @property
    def name(self) -> str:
        """The metric chosen."""
        return self.names[self.chosen]

    @property
    def length(self) -> int:
        """Mean number of leapfrog steps: of the most efficient trajectory, at the step size the draws are made with."""
        best = int(self.lengths[np.nanargmax(self.efficiency[self.chosen])])
        if self.kept_step_size is None:
            return best
        # Where steps have become tiny no trajectory is long enough, and one that tried would never end.
        most = max(best, int(LENGTHS[-1]))
        return int(np.clip(round(best * float(self.step_size[self.chosen]) / self.kept_step_size), 1, most))

    @property
    def reason(self) -> str:
        """Say what was chosen, and against what, in one line."""
        order = np.argsort(-self.best)
        each = "; ".join(f"{self.names[i]} {self.best[i]:.2g} (step {self.step_size[i]:.2g})" for i in order)
        words = f"{self.name}, {self.length} steps. Independent function values per gradient: {each}"
        if order[0] != self.chosen:
            words += f". {self.name} is preferred to what is better by less than its risk"
        if "laplace" in self.names:
            laplace = self.best[self.names.index("laplace")]
            if HARMFUL * laplace < self.best[self.chosen]:
                words += (
                    f". The Laplace metric would cost {self.best[self.chosen] / max(laplace, 1e-300):.2g} times as much"
                )
        return words

    def renewed(self, later: "Pilot") -> "Pilot":
        """Return the same choice of metric with what a later pilot of this metric alone says of lengths."""
        efficiency, step_size, widest = self.efficiency.copy(), self.step_size.copy(), self.widest.copy()
        efficiency[self.chosen], step_size[self.chosen] = later.efficiency[0], later.step_size[0]
        widest[self.chosen] = later.widest[0]
        return replace(self, efficiency=efficiency, step_size=step_size, widest=widest, settled=self.chosen)

    def to_dataset(self) -> xr.Dataset:
        """Group ``pilot`` of the tree."""
        return xr.Dataset(
            {
                "efficiency": (("metric", "length"), self.efficiency),
                "step_size": (("metric",), self.step_size),
                "widest": (("metric",), self.widest),
            },
            coords={"metric": list(self.names), "length": self.lengths},
            attrs={"metric": self.name, "length": self.length, "reason": self.reason},
        )


def run_pilot(
    move: HMC,
    log_density: Callable[[FloatArray], FloatArray],
    functions: Functions,
    metrics: Mapping[str, Metric],
    visited: FloatArray,
    random: np.random.RandomState,
    length: int | None = None,
    centred: Callable[[FloatArray], FloatArray] | None = None,
) -> Pilot:
    """Try metrics from where the chains have been, and measure how far function values jump along trajectories.

    Each trajectory is looked at on its way, so that one of some length tells of all that are shorter. Jumps are
    weighted with the probability that the end would be accepted, and averaged over the lengths that the move draws from
    around a mean length; what they are worth is said by :class:`bayesnn.sampling.mixing.MixingSpace`. That trajectories
    are judged by jumps of functions per gradient is the idea of ChEES (Hoffman, Radul & Sountsov 2021), which takes one
    function of the weights.

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
    visited : ndarray (steps, chains, k)
        Where the chains were, and at last are.
    random : numpy.random.RandomState
        Source of momenta.
    length : int, optional
        The only length to try.
    centred : callable, optional
        Takes from function values (steps, chains, m) what no chain is to be judged by.

    Returns
    -------
    Pilot
    """
    seen = np.stack([functions(weights) for weights in visited])
    seen = seen if centred is None else centred(seen)
    trials = [
        _Trial(move, log_density, functions, MixingSpace.of(seen, visited, metric), visited, random)
        for metric in metrics.values()
    ]
    lengths = LENGTHS if length is None else np.array([length])
    efficiency = np.full((len(trials), len(lengths)), np.nan)
    going = range(len(trials))
    done = 0
    for reach in REACHES if length is None else (length,):
        now = slice(done, int(np.searchsorted(lengths, reach, side="right")))
        for i in going:
            efficiency[i, now] = trials[i].efficiency(lengths[now])
        done = now.stop
        leader, last = np.nanmax(efficiency), efficiency[:, done - 1]
        # No longer trajectory is worth much more than one independent draw.
        if leader * reach >= 1.0:
            break
        gains = [i for i in going if np.nanmax(efficiency[i]) <= STILL_GAINS * last[i]]
        going = [i for i in gains if NOT_FAR_BEHIND * last[i] >= leader]
    step_sizes = np.array([trial.move.step_size for trial in trials])
    return Pilot(tuple(metrics), lengths, efficiency, step_sizes, np.array([trial.space.widest for trial in trials]))


class _Trial:
    """Trajectories in one metric, followed as far as they are wanted."""

    def __init__(
        self,
        move: HMC,
        log_density: Callable[[FloatArray], FloatArray],
        functions: Functions,
        space: MixingSpace,
        visited: FloatArray,
        random: np.random.RandomState,
    ) -> None:
        self.functions, self.space = functions, space
        self.gradient: FloatArray
        self.move = HMC(move.value_and_gradient, space.metric, num_integration_steps=TUNING_LENGTH)
        self.move.dynamics = move.dynamics
        state = _tuned(self.move, log_density, visited[-1], random)
        before = visited.reshape(-1, visited.shape[-1])
        before = before[spread_indices(len(before), max(0, N_TRAJECTORIES - len(state.coords)))]
        repeats = -(-N_TRAJECTORIES // (len(before) + len(state.coords)))
        weights = np.concatenate([before, state.coords] * repeats)
        self.begin, self.begin_values = weights, functions(weights)
        values, self.gradient = self.move.value_and_gradient(weights)
        self.weights, self.momenta = weights, move.dynamics.draw(random, weights.shape)
        # Of equal steps some length would be a full period of many directions at once.
        jitter = self.move.step_size_jitter * (2.0 * random.random_sample((len(weights), 1)) - 1.0)
        self.steps = self.move.step_size * (1.0 + jitter)
        self.energy = move.dynamics.kinetic(self.momenta) - values
        # Nothing has jumped after no step.
        self.looks: list[int] = [0]
        self.half_squares: list[FloatArray] = []

    def efficiency(self, lengths: IntArray) -> FloatArray:
        """Return independent draws per gradient (lengths,) at mean lengths, going on as far as these ask."""
        ranges = [trajectory_steps(int(length)) for length in lengths]
        while self.looks[-1] < ranges[-1][-1]:
            ahead = self.looks[-1] + max(1, round(LOOK_EVERY * self.looks[-1]))
            self.advance(min(ahead, int(ranges[-1][-1])))
        squares = np.array([np.zeros_like(self.half_squares[0]), *self.half_squares])
        draws: list[float] = []
        for steps in ranges:
            # Between looks the mean over the lengths is that of straight lines.
            weights = np.array([np.interp(steps, self.looks, one).mean() for one in np.eye(len(self.looks))])
            draws.append(self.space.independent_draws(np.tensordot(weights, squares, 1)) / float(steps.mean()))
        return np.array(draws)

    def advance(self, length: int) -> FloatArray:
        """Go on to a length, and return half the mean square (r + d, r + d) of jumps that would be accepted."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            ends = self.move.integrate(self.weights, self.momenta, self.gradient, self.steps, length - self.looks[-1])
            self.weights, self.momenta, log_prob, self.gradient = ends
            accepted = acceptance(self.energy - self.move.dynamics.kinetic(self.momenta) + log_prob)
        weights = np.where(accepted[:, None] > 0.0, self.weights, self.begin)
        jumps = self.space.jumps(self.functions(weights) - self.begin_values, weights - self.begin)
        square = 0.5 * (accepted[:, None] * jumps).T @ jumps / len(jumps)
        self.looks.append(length)
        self.half_squares.append(square)
        return square


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
    momenta = move.dynamics.draw(random, points.shape)
    energy = move.dynamics.kinetic(momenta)
    values, gradient = move.value_and_gradient(points)

    def accepted(step_size: float) -> float:
        steps = np.full((len(points), 1), step_size)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            _, ends, log_prob, _ = move.integrate(points, momenta, gradient, steps, 1)
            return float(acceptance(energy - move.dynamics.kinetic(ends) + log_prob - values).mean())

    step_size = move.default_step_size
    factor = 2.0 if accepted(step_size) > 0.5 else 0.5
    for _ in range(MAX_DOUBLINGS):
        further = step_size * factor
        if (accepted(further) > 0.5) != (factor > 1.0):
            return further if factor < 1.0 else step_size
        step_size = further
    return step_size
