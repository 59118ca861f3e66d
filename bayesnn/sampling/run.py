"""The loop over steps: emcee makes them, warm-up learns from them, and the draws are kept."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

from emcee import EnsembleSampler
from emcee.state import State

from bayesnn.arrays import FloatArray
from bayesnn.errors import ArgumentError
from bayesnn.progress import Tick, progress_bar
from bayesnn.sampling.adaptation import DualAveraging, EnergyErrorTuning
from bayesnn.sampling.better_optimum import BetterOptimum
from bayesnn.sampling.chains import Chains, Recorder
from bayesnn.sampling.interruption import interruption_held
from bayesnn.sampling.left_modes import LeftModes
from bayesnn.sampling.metric import Metric
from bayesnn.sampling.moves import MoveStats, TrackedMove
from bayesnn.sampling.pilot import Pilot
from bayesnn.sampling.schedule import Schedule, Wishes
from bayesnn.sampling.snapshot import Snapshot
from bayesnn.sampling.store import ChainStore
from bayesnn.sampling.travels import Travels
from bayesnn.sampling.watch import Watch
from bayesnn.seeds import legacy_state

# The objects a state on disk may hold.
KNOWN: dict[str, type] = {
    kind.__name__: kind
    for kind in (BetterOptimum, DualAveraging, EnergyErrorTuning, LeftModes, Metric, Pilot, Travels, Wishes)
}
# Seconds between commits, and the largest share of the run they may take.
COMMIT_EVERY, COMMIT_SHARE = 2.0, 0.05
# Fewer draws make no tree.
FEWEST_DRAWS = 4


@dataclass
class Run:
    """One run of all chains.

    Parameters
    ----------
    log_density : callable
        Of weights (chains, k).
    move : TrackedMove
        Makes the steps; changed in place.
    points : ndarray (chains, k)
        Where chains begin.
    schedule : Schedule
        Warm-up of `move`.
    num_warmup, num_samples, seed : int
        As for :func:`bayesnn.sample`.
    """

    log_density: Callable[[FloatArray], FloatArray]
    move: TrackedMove
    points: FloatArray
    schedule: Schedule
    num_warmup: int
    num_samples: int
    seed: int
    record: Recorder = field(init=False)
    state: State = field(init=False)
    step: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.record = Recorder(len(self.points), self.num_samples, self.points.shape[1])
        self.state = State(self.points, random_state=legacy_state(self.seed, "chains").get_state(), copy=True)

    def snapshot(self) -> Snapshot:
        """Return all that decides what comes next."""
        return {
            "step": self.step,
            "coords": self.state.coords,
            "log_prob": self.state.log_prob,
            "random": tuple(self.state.random_state),
            "schedule": self.schedule.snapshot(),
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of the same run."""
        self.step = snapshot["step"]
        self.state = State(snapshot["coords"], log_prob=snapshot["log_prob"], random_state=snapshot["random"])
        self.schedule.restore(snapshot["schedule"])

    def go(self, store: ChainStore | None, watch: Watch, progress: bool | None) -> Chains:
        """Make all steps that are still to be made.

        Parameters
        ----------
        store : ChainStore, optional
            Where to keep what is made, and to go on from what is there.
        watch : Watch
            Judges the draws for the progress bar.
        progress : bool, optional
            Whether to show it.

        Returns
        -------
        Chains
            Ctrl-C ends the run early, after the step under way, and leaves the draws made until then.

        Raises
        ------
        KeyboardInterrupt
            If there are too few draws for that; what was made is in the store, if there is one.
        """
        found = None if store is None else store.restore(self.num_warmup)
        if found is not None:
            self.restore(found[1])
        keeper = _Keeper(self, store)
        total = self.num_warmup + self.num_samples
        interrupted = False
        with progress_bar("chains", total, progress) as tick:
            tick(min(self.step, total))
            try:
                self._advance(total - self.step, keeper, watch, tick)
            except KeyboardInterrupt:
                if self.record.count < FEWEST_DRAWS and store is not None and keeper.failure is None:
                    raise KeyboardInterrupt(store.how_to_go_on) from None
                if self.record.count < FEWEST_DRAWS:
                    raise
                interrupted = True
        warm_up = self.schedule.warm_up
        return self.record.finish(warm_up.step_size, warm_up.metric, interrupted, keeper.failure)

    def _advance(self, n_steps: int, keeper: "_Keeper", watch: Watch, tick: Tick) -> None:
        if n_steps <= 0:
            return
        sampler = EnsembleSampler(
            self.points.shape[0], self.points.shape[1], self.log_density, moves=self.move, vectorize=True
        )
        steps = sampler.sample(self.state, iterations=n_steps, store=False, skip_initial_state_check=True)
        with interruption_held() as interruption:
            for now in steps:
                stats = _stats(self.move)
                if self.step < self.num_warmup:
                    if self.schedule.after(self.step, now.coords):
                        now.log_prob[:] = self.log_density(now.coords)
                else:
                    self.record.add(now.coords, now.log_prob, stats)
                self.state = now
                self.step += 1
                if interruption.requested:
                    break
                keeper.after_step()
                figures = watch.figures(self.record)
                acceptance = float(stats.acceptance_rate.mean())
                tick(acceptance=acceptance, step_size=self.schedule.warm_up.step_size, **figures)
            keeper.commit()
            if interruption.requested:
                raise KeyboardInterrupt


class _Keeper:
    """Commits a run to its store now and then; where the disk fails, says so and lets the run go on."""

    def __init__(self, run: Run, store: ChainStore | None) -> None:
        self.failure: str | None = None
        self._run, self._store = run, store
        self._due = time.monotonic() + COMMIT_EVERY

    def after_step(self) -> None:
        """Commit if it is time to."""
        if self._store is not None and time.monotonic() >= self._due:
            self.commit()

    def commit(self) -> None:
        """Write what is not yet written."""
        if self._store is None:
            return
        begin = time.monotonic()
        try:
            self._store.commit(self._run.step, self._run.snapshot())
            self.failure = None
        except OSError as error:
            if self.failure is None:
                words = "the run goes on in memory, and later commits are tried"
                warnings.warn(f"store: {error}; {words}", RuntimeWarning, stacklevel=2)
            self.failure = str(error)
        end = time.monotonic()
        self._due = end + max(COMMIT_EVERY, (end - begin) / COMMIT_SHARE)


def _stats(move: TrackedMove) -> MoveStats:
    if move.stats is None:
        raise ArgumentError("move", type(move).__name__, "a move that sets `stats` in propose")
    return move.stats
