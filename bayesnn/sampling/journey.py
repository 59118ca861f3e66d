"""The way from where chains start to the bulk of a posterior that nothing mixes over."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, finite_array, integer_at_least
from bayesnn.errors import ArgumentError
from bayesnn.posterior import Posterior
from bayesnn.progress import progress_bar
from bayesnn.sampling.density import density_of
from bayesnn.sampling.metric import metric_from_inverse_mass_matrix
from bayesnn.sampling.moves.dynamics import FORGOTTEN, Isokinetic, ValueAndGradient, lengths
from bayesnn.seeds import legacy_state
from bayesnn.threads import on_one_blas_thread

# The first step, in units of sqrt(k) as those of the move, and the share of what a leg says is wrong with it that is
# corrected at once: the squares of its few errors scatter, and chains come through narrow places and wide ones.
FIRST_STEP, GAIN = 1e-4, 0.2
# Chains have arrived where the mean log density rises, from one quarter of the way to the next, by at most so many
# standard errors, or such a share of sqrt(k / 2), by which log densities of a posterior scatter: steps that become
# smaller, and less biased, bring as much.
RISE_ERRORS, RISE_SHARE = 3.0, 0.3
# What a step counts that led out of the numbers, nats, and a mean square below which none is told from rounding.
LOST, TINY = 1e3, 1e-30


@dataclass(frozen=True)
class Journey:
    """Where chains went.

    Parameters
    ----------
    ends : ndarray (chains, k)
        Where they are: starts for what follows.
    step_size : ndarray (chains,)
        Of each chain's last steps, as :class:`bayesnn.moves.MicrocanonicalLangevin` takes it.
    log_density : ndarray (legs, chains)
        Log densities along the way.
    distance : ndarray (chains,)
        From the starts to the ends.
    num_steps : int
        Of each chain.
    """

    ends: FloatArray
    step_size: FloatArray
    log_density: FloatArray
    distance: FloatArray
    num_steps: int

    @property
    def gains(self) -> FloatArray:
        """By how many nats the mean log density rose from each quarter of the way to the next (3, chains)."""
        n_legs, n_chains = self.log_density.shape
        if n_legs < 4:
            return np.full((3, n_chains), np.nan)
        quarters = self.log_density[n_legs % 4 :].reshape(4, -1, n_chains)
        return np.diff(quarters.mean(axis=1), axis=0)

    @property
    def has_arrived(self) -> bool:
        """Whether the log density no longer rises, by more than chance and smaller steps bring."""
        return bool(self._has_gains and self.gains[2].mean() <= self._least_gain)

    def words(self) -> str:
        """Say whether the way was long enough, and if not what it would take."""
        way = f"{self.num_steps:,} steps, a way of {np.median(self.distance):.3g}"
        if not self._has_gains:
            return f"{way}: whether the log density still rises is told by at least 2 chains and 4 legs"
        if self.has_arrived:
            return f"{way}: the log density rises no more"
        before, last = self.gains[1:].mean(axis=1)
        words = f"{way}: too short, the log density still rose by {last:.3g} nats over the last quarter"
        if last >= before:
            return f"{words}, no slower than before: more than {2 * self.num_steps:,} steps"
        # What is gained falls by the same factor each quarter, until it is not told from none.
        quarters = int(np.ceil(np.log(self._least_gain / last) / np.log(last / before)))
        return f"{words}; where it goes on as it slowed down, some {self.num_steps * (4 + quarters) // 4:,} steps"

    @property
    def _has_gains(self) -> bool:
        return self.gains.shape[1] > 1 and bool(np.all(np.isfinite(self.gains)))

    @property
    def _least_gain(self) -> float:
        """Nats below which a gain is not told from none."""
        last = self.gains[2]
        error = float(last.std(ddof=1)) / np.sqrt(len(last))
        return max(RISE_ERRORS * error, RISE_SHARE * float(np.sqrt(self.ends.shape[1] / 2)))


@on_one_blas_thread
def journey(
    posterior: Posterior,
    starts: ArrayLike,
    *,
    num_steps: int = 40_000,
    energy_variance: tuple[float, float] = (0.5, 0.03),
    steps_per_leg: int = 8,
    seed: int = 0,
    progress: bool | None = None,
) -> Journey:
    """Take chains into the bulk by unadjusted microcanonical Langevin with large steps that become smaller.

    An optimum of a network with many weights is a narrow place of small weights, far from the bulk of the posterior;
    exact chains that start there hardly move. Steps a thousand times as wrong as those of draws that count carry chains
    over, and are no longer that wrong at the end. The draws are biased on the way: what comes after is not, if it is
    adjusted.

    Parameters
    ----------
    posterior : Posterior
        What will be sampled.
    starts : array_like (chains, k)
        Such as those of :func:`bayesnn.sampling.early_stopped`.
    num_steps : int
        Leapfrog steps of each chain.
    energy_variance : tuple of two floats
        Variance of the energy error of a step, per dimension, to which the step size is tuned, at first and at last;
        between them it falls along a straight line.
    steps_per_leg : int
        Steps after which the step size is tuned anew.
    seed : int
        Seed.
    progress : bool, optional
        Whether to show a bar; by default where stderr is a terminal.

    Returns
    -------
    Journey
        Its ``words()`` say whether the way was long enough.

    Raises
    ------
    ArgumentError
        If an argument is out of range, or the log density is not finite at a start.

    References
    ----------
    Sommer et al. (2025), Microcanonical Langevin ensembles, arXiv:2502.06335, section 4, whose variances are 0.5 and
    0.1; the steps: Robnik & Seljak (2024), arXiv:2303.18221.

    Examples
    --------
    >>> from bayesnn import MLP, Gaussian, NormalPrior
    >>> x = np.linspace(-1, 1, 40)[:, None]
    >>> post = Posterior(MLP(1, (4,), 1), x, np.sin(3 * x), Gaussian(0.1), NormalPrior(1.0))
    >>> found = journey(post, np.zeros((3, post.n_weights)), num_steps=400)
    >>> found.ends.shape, bool((found.log_density[-1] > found.log_density[0]).all())
    ((3, 13), True)
    """
    num_steps = integer_at_least("num_steps", num_steps, 1)
    steps_per_leg = integer_at_least("steps_per_leg", steps_per_leg, 1)
    first, last = _variances(energy_variance)
    wants = f"shape (chains, {posterior.n_weights})"
    if posterior.n_weights < 2:
        raise ArgumentError("posterior", f"{posterior.n_weights} weight", "at least 2: directions turn")
    points = finite_array("starts", starts, (2,), wants)
    if points.shape[1] != posterior.n_weights or not len(points):
        raise ArgumentError("starts", f"shape {points.shape}", wants)
    density, dynamics = density_of(posterior).value_and_gradient, Isokinetic()
    random = legacy_state(seed, "journey")
    chains = _Chains.of(density, points, random)
    if not np.all(np.isfinite(chains.log_prob)):
        got = f"log density not finite at {np.sum(~np.isfinite(chains.log_prob))} of {len(points)} starts"
        raise ArgumentError("starts", got, "points where it is finite")
    n_legs = -(-num_steps // steps_per_leg)
    heights = np.empty((n_legs, len(points)))
    log_step = np.full(len(points), np.log(FIRST_STEP))
    with progress_bar("journey", n_legs, progress) as tick:
        for leg in range(n_legs):
            squares = chains.go(density, dynamics, np.exp(log_step), steps_per_leg, random)
            heights[leg] = chains.log_prob
            target = first + (last - first) * (leg + 1) / n_legs
            # The error of a leapfrog step grows as the cube of its size: a variance off by 2**6 wants half the step.
            off = np.log(np.maximum(squares / posterior.n_weights, TINY) / target) / 6.0
            log_step -= GAIN * np.clip(off, -1.0, 1.0)
            tick(log_density=float(heights[leg].max()))
    distance = np.linalg.norm(chains.weights - points, axis=1)
    return Journey(chains.weights, np.exp(log_step), heights, distance, n_legs * steps_per_leg)


@dataclass
class _Chains:
    """Chains on their way: weights, directions and gradients (chains, k), log densities (chains,)."""

    weights: FloatArray
    direction: FloatArray
    log_prob: FloatArray
    gradient: FloatArray

    @staticmethod
    def of(density: ValueAndGradient, points: FloatArray, random: np.random.RandomState) -> "_Chains":
        """Set chains out from points, in directions drawn."""
        with np.errstate(over="ignore", invalid="ignore"):
            log_prob, gradient = density(points)
        return _Chains(points.copy(), Isokinetic().draw(random, points.shape), log_prob, gradient)

    def go(
        self,
        density: ValueAndGradient,
        dynamics: Isokinetic,
        step: FloatArray,
        n_steps: int,
        random: np.random.RandomState,
    ) -> FloatArray:
        """Take steps of sizes (chains,) in place; return the mean squares of their energy errors (chains,).

        Whatever the error, a step is taken: far below the bulk all errors are large, and up is the way. Where numbers
        end it is not, and the chain turns back.
        """
        size = self.weights.shape[1]
        unit = metric_from_inverse_mass_matrix(np.ones(size))
        # Robnik et al. (2023), section 3.2: the direction is forgotten after a way of sqrt(k).
        noise = np.sqrt(np.expm1(np.minimum(2.0 * step, FORGOTTEN)) / size)[:, None]
        squares = np.zeros(len(step))
        for _ in range(n_steps):
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                weights, momenta, log_prob, gradient = dynamics.integrate(
                    density, unit, self.weights, self.direction, self.gradient, step[:, None], 1
                )
                error = dynamics.kinetic(momenta) - log_prob + self.log_prob
                good = np.isfinite(error) & np.isfinite(gradient).all(axis=1) & np.isfinite(momenta).all(axis=1)
            squares += np.where(good, error, LOST) ** 2 / n_steps
            self.weights = np.where(good[:, None], weights, self.weights)
            self.gradient = np.where(good[:, None], gradient, self.gradient)
            self.log_prob = np.where(good, log_prob, self.log_prob)
            turned = np.where(good[:, None], momenta, -self.direction)
            turned = turned / lengths(turned) + noise * random.standard_normal(turned.shape)
            self.direction = turned / lengths(turned)
        return squares


def _variances(given: tuple[float, float]) -> tuple[float, float]:
    """Check the two variances."""
    wants = "two finite numbers above 0, at first and at last"
    pair = finite_array("energy_variance", given, (1,), wants)
    if pair.shape != (2,) or not np.all(pair > 0.0):
        raise ArgumentError("energy_variance", describe(given), wants)
    return float(pair[0]), float(pair[1])
