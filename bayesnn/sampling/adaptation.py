"""Warm-up: step size by dual averaging over all chains, metric by averaging over windows."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from bayesnn.arrays import FloatArray

# In a harmonic mean acceptances below this count as this: a single step that fails must not decide for a hundred.
LEAST_ACCEPTANCE = 0.05
# A chain that has accepted nothing, not with a probability that is a number above 0, since the step size was so many
# times larger stands where no step size will do, such as where the density has no gradient.
STUCK = 100.0

type ChainMean = Literal["harmonic", "arithmetic"]


class StepSizeAdaptation(Protocol):
    """Finds a step size from what steps of the present one do."""

    step_size: float

    def update(self, seen: FloatArray, /) -> None:
        """Learn from one number of each chain (chains,) about one step."""
        ...

    @property
    def averaged_step_size(self) -> float:
        """The step size to keep."""
        ...


@dataclass
class DualAveraging:
    """Nesterov's dual averaging of the log step size, fed by all chains together.

    Parameters
    ----------
    step_size : float
        The first step size; changes with every update.
    target_acceptance : float
        Acceptance rate to reach.
    chain_mean : {"harmonic", "arithmetic"}
        How the chains' acceptance probabilities make one rate. Harmonic for gradient moves: one chain in a narrow place
        counts, and is not left stuck there (Hoffman, Radul & Sountsov 2021, ChEES-HMC, section 3.2), but for no less
        than ``LEAST_ACCEPTANCE``. Arithmetic for
        random walks, whose optimal rate is the share of proposals accepted.
    largest : float
        Step sizes stay at or below it.

    A chain that accepts nothing while the step size falls and falls is left out, and the others begin anew from where
    that began.

    References
    ----------
    Hoffman & Gelman (2014), The No-U-Turn Sampler, JMLR 15, section 3.2, with their constants.

    Examples
    --------
    >>> adaptation = DualAveraging(step_size=1.0, target_acceptance=0.8)
    >>> for _ in range(2000):
    ...     adaptation.update(np.array([np.exp(-adaptation.step_size)]))
    >>> bool(abs(adaptation.averaged_step_size - np.log(1 / 0.8)) < 0.01)
    True
    """

    step_size: float
    target_acceptance: float
    chain_mean: ChainMean = "harmonic"
    largest: float = np.inf
    _center: float = field(init=False)
    _error: float = field(init=False, default=0.0)
    _log_average: float = field(init=False, default=0.0)
    _count: int = field(init=False, default=0)
    # Of each chain the largest step size since it accepts nothing, 0 if it does; and whether it is left out.
    _refused_from: tuple[float, ...] = field(init=False, default=())
    _stuck: tuple[bool, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        self._center = float(np.log(10.0 * self.step_size))

    def update(self, acceptance: FloatArray) -> None:
        """Learn from the acceptance probabilities (chains,) of one step."""
        acceptance = self._of_those_that_move(acceptance)
        if self.chain_mean == "harmonic":
            rate = 1.0 / float(np.mean(1.0 / np.maximum(acceptance, LEAST_ACCEPTANCE)))
        else:
            rate = float(np.mean(acceptance))
        self._count += 1
        weight = 1.0 / (self._count + 10.0)
        self._error += weight * (self.target_acceptance - rate - self._error)
        log_step = min(self._center - np.sqrt(self._count) / 0.05 * self._error, np.log(self.largest))
        fade = self._count**-0.75
        self._log_average = fade * log_step + (1.0 - fade) * self._log_average
        self.step_size = float(np.exp(log_step))

    def _of_those_that_move(self, acceptance: FloatArray) -> FloatArray:
        """Leave out chains for which no step size will do, unless that is all of them."""
        refuses, none = ~(acceptance > 0.0), [0.0] * len(acceptance)
        # Where all refuse the step is too large for all: that speaks against none of them.
        now = 0.0 if refuses.all() else self.step_size
        refused_from = np.where(refuses, np.maximum(self._refused_from or none, now), 0.0)
        known = refuses & np.array(self._stuck or none, dtype=np.bool_)
        stuck = known | (refuses & (refused_from > 0.0) & (STUCK * self.step_size <= refused_from))
        if stuck.all():
            stuck = known = np.zeros(len(acceptance), dtype=np.bool_)
        if np.any(stuck & ~known):
            self._center = float(np.log(refused_from[stuck & ~known].max()))
            self._error, self._log_average, self._count = 0.0, 0.0, 0
        self._refused_from, self._stuck = tuple(map(float, refused_from)), tuple(map(bool, stuck))
        return acceptance[~stuck]

    @property
    def averaged_step_size(self) -> float:
        """The step size to keep."""
        return float(np.exp(self._log_average)) if self._count else self.step_size


@dataclass
class EnergyErrorTuning:
    """Step size of an integrator that is not adjusted, from the variance of its energy errors.

    The error of a leapfrog step grows as the cube of its size, its variance as the sixth power: the step size follows
    the sixth root of what the variance is over what it should be, in steps that become smaller (Robbins & Monro 1951).

    Parameters
    ----------
    step_size : float
        The first step size; changes with every update.
    target_variance : float
        Wanted variance of a step's energy error, per dimension.

    Examples
    --------
    >>> tuning = EnergyErrorTuning(step_size=1.0, target_variance=1e-3)
    >>> for _ in range(300):
    ...     tuning.update(np.array([tuning.step_size**6]))
    >>> bool(abs(tuning.averaged_step_size - 1e-3 ** (1 / 6)) < 0.01)
    True
    """

    step_size: float
    target_variance: float
    _count: int = field(init=False, default=0)
    _log_average: float = field(init=False, default=0.0)

    def update(self, seen: FloatArray) -> None:
        """Learn from the mean squares (chains,) of the energy errors of some steps, per dimension."""
        self._count += 1
        off = np.log(max(float(np.mean(seen)), 1e-300) / self.target_variance) / 6.0
        log_step = float(np.log(self.step_size) - np.clip(off, -1.0, 1.0) * self._count**-0.5)
        fade = self._count**-0.75
        self._log_average = fade * log_step + (1.0 - fade) * self._log_average
        self.step_size = float(np.exp(log_step))

    @property
    def averaged_step_size(self) -> float:
        """The step size to keep."""
        return float(np.exp(self._log_average)) if self._count else self.step_size


def window_ends(num_warmup: int, adapts_metric: bool) -> tuple[int, ...]:
    """Return after which warm-up steps the metric is renewed; what follows the last adapts the step size alone.

    Each window is longer than the one before, as the chains come to know more of the posterior.

    Examples
    --------
    >>> window_ends(200, True), window_ends(200, False), window_ends(10, True)
    ((20, 60, 120), (), ())
    """
    if not adapts_metric or num_warmup < 20:
        return ()
    return tuple(int(share * num_warmup) for share in (0.1, 0.3, 0.6))
