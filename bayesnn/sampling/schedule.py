"""When warm-up learns what: the metric at the ends of its windows, trajectories by a pilot, the step size all along."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from bayesnn.arrays import FloatArray, spread_indices
from bayesnn.laplace import fit_laplace
from bayesnn.sampling.adaptation import window_ends
from bayesnn.sampling.better_optimum import BetterOptimum, better_optimum, optima_near
from bayesnn.sampling.left_modes import LeftModes, left_modes
from bayesnn.sampling.metric import Metric, averaged_metric, first_metric
from bayesnn.sampling.moves import HMC, MALA, PCN, IndependenceT, MarginalHMC, ReplicaExchange, TrackedMove
from bayesnn.sampling.moves.mixture import crosses_modes, members_of
from bayesnn.sampling.pilot import Functions, Pilot, run_pilot
from bayesnn.sampling.snapshot import Snapshot
from bayesnn.sampling.target import Target
from bayesnn.sampling.warm_up import WarmUp
from bayesnn.seeds import legacy_state

# Points of each chain, in a window of the warm-up, at which the curvature is averaged.
CURVATURE_POINTS = 4
# The pilot follows the second of three windows: chains have left their starts, and most of the warm-up is to come.
# After the last window the length is chosen once more, for the renewed metric, from where the chains are by then.
PILOT_AFTER, LENGTH_AFTER = 1, 2
CANDIDATES = ("averaged", "laplace", "diagonal", "unit")
AVERAGED = ("averaged", "diagonal")
# Coldest levels from whose replicas climbs look for optima to jump to.
JUMP_LEVELS = 3
# Share of the warm-up after which climbs from where the chains are look for a better optimum: they have had time to
# leave the one they started at, and the metric is still to be learnt.
BETTER_AFTER = 0.15


@dataclass(frozen=True)
class Wishes:
    """What the user leaves to warm-up.

    Parameters
    ----------
    metric : str or None
        Name of the metric, ``"auto"``, or None where the move brings its own.
    length : int or None
        Leapfrog steps of HMC; None to choose them.
    start : str or None
        Kind of the starts around the optimum; None where chains begin elsewhere.
    may_start_anew : bool
        Whether they may be taken anew at a far better one.
    """

    metric: str | None
    length: int | None
    start: str | None = None
    may_start_anew: bool = True

    @property
    def wants_pilot(self) -> bool:
        """Whether there is a choice to make."""
        return self.metric == "auto" or (self.metric is not None and self.length is None)


class Schedule:
    """Warm-up of one run, a step at a time.

    Parameters
    ----------
    move : TrackedMove
        To be adapted in place.
    target : Target
        What is sampled.
    log_density : callable
        Of weights (chains, k), as the chains use it.
    functions : callable
        Function values (chains, m) at weights (chains, k).
    wishes : Wishes
        What may be chosen.
    num_warmup : int
        Steps.
    seed : int
        The run's.
    """

    def __init__(
        self,
        move: TrackedMove,
        target: Target,
        log_density: Callable[[FloatArray], FloatArray],
        functions: Functions,
        wishes: Wishes,
        num_warmup: int,
        seed: int,
    ) -> None:
        self.warm_up = WarmUp(move)
        self.pilot: Pilot | None = None
        self.better: BetterOptimum | None = None
        self.left: LeftModes | None = None
        self._move, self._target, self._log_density, self._functions = move, target, log_density, functions
        self._wishes, self._seed, self._num_warmup = wishes, seed, num_warmup
        # Proposals around the optimum keep its own Gaussian unless another is asked for.
        names = AVERAGED if isinstance(move, IndependenceT) else (*AVERAGED, "auto")
        self._adapts = wishes.metric in names
        self._ladders = [member for member in members_of(move) if isinstance(member, ReplicaExchange)]
        self._ends = window_ends(num_warmup, self._adapts or wishes.wants_pilot or bool(self._ladders))
        for ladder in self._ladders:
            ladder.learns = bool(self._ends)
        self._visited: list[FloatArray] = []
        self._marginal = move.marginal if isinstance(move, MarginalHMC) else None

    def after(self, step: int, weights: FloatArray) -> bool:
        """Learn from one step of warm-up that ended at weights (chains, k); tell whether these now are new starts."""
        self.warm_up.learn()
        start, starts_anew = self._wishes.start, False
        if start is not None and self._wishes.may_start_anew and step + 1 == round(BETTER_AFTER * self._num_warmup):
            self.better = better_optimum(self._target, weights, start, self._seed)
            if self.better is not None:
                weights[:], starts_anew = self.better.points, True
                self._recentre(self.better)
        # What is seen is looked at when its window ends, and is large.
        if not self._ladders and self._wishes.metric is not None and step < max(self._ends, default=0):
            self._visited.append(weights.copy())
        if step + 1 in self._ends:
            for ladder in self._ladders:
                self._renew(ladder, is_last=step + 1 == self._ends[-1])
            if not self._ladders:
                self._end_window(self._ends.index(step + 1))
        if step + 1 == self._num_warmup:
            self.warm_up.finish()
            self._settle()
            if not crosses_modes(self._move) and start is not None:  # points of the user's own may be anywhere
                self.left = left_modes(self._target, weights)
        return starts_anew

    def snapshot(self) -> Snapshot:
        """Return all that was learnt, with the state of the moves; arrays in it are not copies."""
        return {
            "moves": [part.snapshot() for part in self._move.parts],
            "averaging": self.warm_up.snapshot(),
            "pilot": self.pilot,
            "better": self.better,
            "left": self.left,
            "wishes": self._wishes,
            "adapts": self._adapts,
            "visited": list(self._visited),
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of the warm-up of the same run."""
        for part, state in zip(self._move.parts, snapshot["moves"], strict=True):
            part.restore(state)
        self.warm_up.restore(snapshot["averaging"])
        self.pilot, self._wishes = snapshot["pilot"], snapshot["wishes"]
        self.better, self.left = snapshot["better"], snapshot["left"]
        self._adapts, self._visited = snapshot["adapts"], snapshot["visited"]

    def _end_window(self, window: int) -> None:
        move = self._move
        wants_pilot = window in (PILOT_AFTER, LENGTH_AFTER) and self._wishes.wants_pilot
        if wants_pilot and isinstance(move, HMC) and not isinstance(move, MALA):
            self._choose(move)
        elif self._wishes.metric is not None and self._adapts:
            name = "averaged" if self._wishes.metric == "auto" else self._wishes.metric
            metric = self._metric_of(name)
            if metric is not None:
                self.warm_up.use_metric(metric)
        self._visited = []

    def _recentre(self, better: BetterOptimum) -> None:
        """Let proposals around the optimum that was given be around the better one."""
        if isinstance(self._move, PCN | IndependenceT) and self._wishes.metric is not None:
            self._move.mean = better.weights.copy()
            if self._wishes.metric != "unit":
                name = "diagonal" if self._wishes.metric == "diagonal" else "laplace"
                self.warm_up.use_metric(first_metric(name, fit_laplace(self._target.posterior, better.weights)))

    def _renew(self, ladder: ReplicaExchange, is_last: bool) -> None:
        """Move the levels of a ladder, and learn the metric of each, unless it was asked for another."""
        ladder.learns = not is_last
        if not ladder.visited:  # of a mixture that has not drawn it
            return
        for part, metric in zip(ladder.trajectories, ladder.renew(), strict=True):
            if metric is None or self._wishes.metric in ("laplace", "unit"):
                continue
            is_diagonal = self._wishes.metric == "diagonal"
            self.warm_up.renew(part, metric.without_correlations("diagonal averaged") if is_diagonal else metric)
        if ladder.jumps is not None and ladder.is_jumping and ladder.replicas is not None:
            # Searches do not find the modes that have the mass; replicas that have come down the ladder are in them.
            kept = ladder.replicas[:JUMP_LEVELS].reshape(-1, ladder.replicas.shape[-1])
            ladder.jumps.add(optima_near(self._target.posterior, ladder.jumps.marginal.complete(kept)))

    def _choose(self, move: HMC) -> None:
        """Run the pilot, and go on with what it finds."""
        names = CANDIDATES if self._target.laplaces else tuple(name for name in CANDIDATES if name != "laplace")
        if self._wishes.metric != "auto":
            names = (str(self._wishes.metric),)
        metrics = {name: metric for name in names if (metric := self._metric_of(name)) is not None}
        if not metrics:
            return
        visited = np.stack(self._visited[len(self._visited) // 2 :])
        log_density, functions = self._log_density, self._functions
        if self._marginal is not None:
            # The output layer is drawn afresh at every step: what moves slowly is its mean.
            marginal = self._marginal
            visited = visited[..., marginal.kept]
            log_density = marginal.log_density

            def functions(weights: FloatArray, /) -> FloatArray:
                return self._functions(marginal.complete(weights))

        random = legacy_state(self._seed, "pilot" if self.pilot is None else "pilot again")
        # Of several modes what is between them is left out: no chain is to be judged by a jump it cannot make.
        centred = None if self._wishes.start is None else self._target.centred
        pilot = run_pilot(move, log_density, functions, metrics, visited, random, self._wishes.length, centred)
        self.pilot = pilot if self.pilot is None else self.pilot.renewed(pilot)
        move.num_integration_steps = self.pilot.length
        self.warm_up.use_metric(metrics[self.pilot.name], float(self.pilot.step_size[self.pilot.chosen]))
        self._wishes = replace(self._wishes, metric=self.pilot.name)
        self._adapts = self.pilot.name in AVERAGED

    def _settle(self) -> None:
        """Keep the trajectories the pilot chose, in steps of the size that was found since."""
        move = self._move
        for ladder in self._ladders:
            ladder.settle()
        if self.pilot is None or self._wishes.length is not None or not isinstance(move, HMC):
            return
        self.pilot = replace(self.pilot, kept_step_size=move.step_size)
        move.num_integration_steps = self.pilot.length

    def _metric_of(self, name: str) -> Metric | None:
        if name in AVERAGED:
            return averaged_metric(name, self._target.posterior, self._spread(), self._marginal)
        return first_metric(name, self._target, self._marginal)

    def _spread(self) -> list[FloatArray]:
        """Points of all chains at a few steps spread over the later half of the window."""
        half = self._visited[len(self._visited) // 2 :]
        return [point for i in spread_indices(len(half), CURVATURE_POINTS) for point in half[int(i)]]
