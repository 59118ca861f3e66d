"""What the moves learn before the draws that count."""

import numpy as np

from bayesnn.sampling.adaptation import StepSizeAdaptation
from bayesnn.sampling.metric import Metric
from bayesnn.sampling.moves import IndependenceT, PreconditionedMove, TrackedMove


class WarmUp:
    """Adapts the step size of every part of a move that has one, each by the steps it made itself.

    Parameters
    ----------
    move : TrackedMove
        To be changed in place.
    """

    def __init__(self, move: TrackedMove) -> None:
        self._move = move
        self._averaging = {part: part.adaptation() for part in move.parts if isinstance(part, PreconditionedMove)}

    @property
    def step_size(self) -> float:
        """Of the first part that has one; NaN if none has."""
        return next((part.step_size for part in self._averaging), float("nan"))

    @property
    def metric(self) -> Metric:
        """Of the first part that has one; of size 0 if none has."""
        metrics = (part.metric for part in self._move.parts if isinstance(part, PreconditionedMove | IndependenceT))
        return next(metrics, Metric(np.ones(0), "none"))

    def learn(self) -> None:
        """Learn from what the last proposal did."""
        for part in self._move.active:
            if isinstance(part, PreconditionedMove) and part.stats is not None:
                averaging = self._averaging[part]
                averaging.update(part.seen())
                part.step_size = averaging.step_size

    def use_metric(self, metric: Metric, step_size: float | None = None) -> None:
        """Change the metric of all parts, whose step sizes then begin anew, from `step_size` if one is known."""
        for part in self._averaging:
            self.renew(part, metric, step_size)
        for part in self._move.parts:
            if isinstance(part, IndependenceT):
                part.metric = metric

    def renew(self, part: PreconditionedMove, metric: Metric, step_size: float | None = None) -> None:
        """Change the metric of one part."""
        part.use_metric(metric)
        part.step_size = part.default_step_size if step_size is None else step_size
        self._averaging[part] = part.adaptation()

    def snapshot(self) -> list[StepSizeAdaptation]:
        """Return what is known of each part's step size."""
        return list(self._averaging.values())

    def restore(self, snapshot: list[StepSizeAdaptation]) -> None:
        """Go on from a snapshot of the warm-up of the same moves."""
        self._averaging = dict(zip(self._averaging, snapshot, strict=True))

    def finish(self) -> None:
        """Keep the averaged step sizes."""
        for part, averaging in self._averaging.items():
            part.step_size = averaging.averaged_step_size
