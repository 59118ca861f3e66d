"""Replica exchange along the powers of the likelihood."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import xarray as xr
from emcee.model import Model
from emcee.state import State

from bayesnn.arrays import ArrayLike, BoolArray, FloatArray, IntArray, spread_indices
from bayesnn.checks import describe, integer_at_least
from bayesnn.errors import ArgumentError
from bayesnn.posterior import Posterior
from bayesnn.sampling.ladder import checked_ladder, equal_rejection, geometric_ladder
from bayesnn.sampling.marginal import Marginal, UnitMarginal
from bayesnn.sampling.metric import Metric
from bayesnn.sampling.moves.base import MoveStats, TrackedMove, WalkerMove, metropolis
from bayesnn.sampling.moves.hmc import HMC
from bayesnn.sampling.moves.mode_jump import ModeJump
from bayesnn.sampling.moves.unit_metropolis import unit_steps
from bayesnn.sampling.path import Path, PosteriorPath
from bayesnn.sampling.travels import Travels

type LogDensityOf = Callable[[FloatArray], FloatArray]

# The hottest level need not be the prior: only so hot that chains there go everywhere by themselves.
NUM_LEVELS, HOTTEST = 10, 0.1
# Mean leapfrog steps of trajectories.
LENGTH = 50
# Points at which the curvature of a level is averaged.
CURVATURE_POINTS = 40


class ReplicaExchange(WalkerMove):
    r"""Chains that reach other modes over hotter levels, where the likelihood is taken to a power below 1.

    Each walker is the coldest of a system of replicas, one at each inverse temperature :math:`\beta_l`, whose density
    is :math:`p(w)\, p(y \mid w)^{\beta_l}`. In every step each replica advances by a trajectory of HMC in the metric
    of its level and by Metropolis steps of single units (:class:`UnitMetropolis`), and then neighbours change places
    with the probability of Metropolis, even and odd pairs in turn, which makes replicas travel (Geyer 1991; Okabe et
    al. 2001; Syed et al. 2022, Non-reversible parallel tempering, JRSS B 84). Where the output layer can be integrated
    out it is, at all levels, and drawn at the coldest. Systems do not look at each other: R-hat between walkers is
    valid. :func:`bayesnn.sample` learns the metric and step size of each level, and where the levels stand, in warm-up.

    Parameters
    ----------
    path : Posterior or Path
        What is sampled: the posterior of an MLP, or densities of your own (:class:`bayesnn.sampling.path.Path`).
    inverse_mass_matrix : array_like (m, m) or (m,) or Metric
        Estimate of the posterior covariance of the kept coordinates, to begin with at all levels.
    inverse_temperatures : array_like (levels,), optional
        From 1 down; by default 10 from 1 to 0.1 in equal ratios.
    step_size : float, optional
        In units of the metric, to begin with.
    num_integration_steps : int
        Mean number of leapfrog steps of each trajectory.
    num_unit_steps : int
        Metropolis steps of single units after each, where the output layer is integrated out.
    jumps : ModeJump, optional
        Jumps between known modes, of the coldest replicas. They are given up where none is accepted: in warm-up from
        its second window on, and for the draws where none was since warm-up learnt the last modes.

    Raises
    ------
    ArgumentError
        If the posterior is of another kind, there are fewer than two levels or they do not fall from 1.

    Examples
    --------
    >>> import emcee
    >>> from bayesnn import MLP, Gaussian, NormalPrior, Posterior
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> post = Posterior(MLP(1, (2,), 1), x, np.sin(3 * x), Gaussian(0.1), NormalPrior(1.0))
    >>> move = ReplicaExchange(post, 0.01 * np.eye(4), [1.0, 0.5, 0.2], num_integration_steps=4)
    >>> sampler = emcee.EnsembleSampler(4, 7, post.log_density, moves=move, vectorize=True)
    >>> start = np.random.default_rng(0).standard_normal((4, 7))
    >>> _ = sampler.run_mcmc(start, 100, skip_initial_state_check=True)
    >>> sampler.get_chain().shape
    (100, 4, 7)
    """

    state_names = (
        "inverse_temperatures",
        "replicas",
        "log_densities",
        "parity",
        "travels",
        "num_jumps",
        "is_jumping",
        "n_renewals",
        "learns",
        "visited",
    )

    def __init__(
        self,
        path: Posterior | Path,
        inverse_mass_matrix: ArrayLike | Metric,
        inverse_temperatures: ArrayLike | None = None,
        step_size: float | None = None,
        num_integration_steps: int = LENGTH,
        num_unit_steps: int = 100,
        jumps: ModeJump | None = None,
    ) -> None:
        if isinstance(path, Posterior):
            path = PosteriorPath(path)
        if not isinstance(path, Path):  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
            raise ArgumentError("path", describe(path), "a Posterior, or densities at inverse temperatures")
        self.path = path
        self.inverse_temperatures = (
            geometric_ladder(NUM_LEVELS, HOTTEST)
            if inverse_temperatures is None
            else checked_ladder(inverse_temperatures)
        )
        self.num_unit_steps = integer_at_least("num_unit_steps", num_unit_steps, 0)
        self.jumps, self.is_jumping = jumps, jumps is not None
        self._densities = [path.at(float(beta)) for beta in self.inverse_temperatures]
        coldest = self._densities[0]
        self.marginal = coldest if isinstance(coldest, Marginal) else None
        self.trajectories = tuple(
            HMC(density, inverse_mass_matrix, 1.0 if step_size is None else step_size, num_integration_steps)
            for density in self._densities
        )
        size = self.trajectories[0].metric.size
        if self.marginal is not None and size != len(self.marginal.kept):
            wants = f"size {len(self.marginal.kept)}, of the hidden weights"
            raise ArgumentError("inverse_mass_matrix", f"size {size}", wants)
        if step_size is None:
            for each in self.trajectories:
                each.step_size = each.default_step_size
        #: Kept coordinates (levels, walkers, m) and log densities (levels, walkers) of all replicas.
        self.replicas: FloatArray | None = None
        self.log_densities: FloatArray | None = None
        self.parity = self.n_renewals = 0
        self.learns = False
        self.visited: list[FloatArray] = []
        self._forget_travels(0)

    @property
    def num_levels(self) -> int:
        """Replicas of each walker."""
        return len(self.inverse_temperatures)

    @property
    def parts(self) -> tuple[TrackedMove, ...]:
        """The move itself and the trajectories of all levels, the coldest first."""
        return (self, *self.trajectories, *(() if self.jumps is None else (self.jumps,)))

    @property
    def active(self) -> tuple[TrackedMove, ...]:
        """The trajectories of all levels."""
        return self.trajectories

    def copied(self) -> Self:
        """Return a move to be adapted, while this one stays as it is."""
        copied = copy.copy(self)
        copied.trajectories = tuple(copy.copy(each) for each in self.trajectories)
        copied.jumps = None if self.jumps is None else self.jumps.copied()
        if self.replicas is not None and self.log_densities is not None:
            copied.replicas, copied.log_densities = self.replicas.copy(), self.log_densities.copy()
        copied.travels, copied.num_jumps = copy.deepcopy(self.travels), self.num_jumps.copy()
        copied.visited = list(self.visited)
        return copied

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot of a move of the same kind."""
        super().restore(snapshot)
        self._use_densities()

    def begin(self, points: FloatArray) -> None:
        """Place the replicas of all walkers at weights (levels, walkers, k)."""
        self.replicas = np.array(points if self.marginal is None else points[..., self.marginal.kept], order="C")
        levels = zip(self._densities, self.replicas, strict=True)
        self.log_densities = np.array([density.log_density(kept) for density, kept in levels])
        self._forget_travels(self.replicas.shape[1])

    def propose(self, model: Model, state: State) -> tuple[State, BoolArray]:
        """Advance all replicas, and let neighbours change places; emcee calls this."""
        self.check_shape(state)
        replicas, log_densities = self._replicas_at(state.coords)
        accepted, kinetic = np.zeros(replicas.shape[1], dtype=np.bool_), np.zeros(replicas.shape[1])
        for level, (trajectory, density) in enumerate(zip(self.trajectories, self._densities, strict=True)):
            kept, log_density, moved = trajectory.advance(replicas[level], log_densities[level], model.random)
            if level == 0 and trajectory.stats is not None:
                accepted, kinetic = moved, trajectory.stats.energy + log_density
            if self.num_unit_steps and isinstance(density, UnitMarginal):
                steps = unit_steps(density, len(kept), self.num_unit_steps, model.random)
                kept, log_density, _ = density.step_units(kept, log_density, steps)
            if level == 0 and self.jumps is not None and self.is_jumping:
                kept, log_density, n_accepted = self.jumps.advance(kept, log_density, model.random)
                self.num_jumps += n_accepted
            replicas[level], log_densities[level] = kept, log_density
        self._exchange(replicas, log_densities, model.random)
        if self.learns:
            self.visited.append(replicas.copy())
        cold = self.trajectories[0].stats
        assert cold is not None  # it has just advanced
        n_steps = sum(each.stats.n_steps for each in self.trajectories if each.stats is not None)
        self.stats = MoveStats(cold.acceptance_rate, kinetic - log_densities[0], cold.diverging, n_steps)
        weights, log_prob = replicas[0].copy(), log_densities[0].copy()
        if self.marginal is not None:
            weights, log_prob = self.marginal.draw(weights, model.random)
        everywhere = np.ones(len(weights), dtype=np.bool_)
        return self.moved(model, state, weights, log_prob, everywhere), accepted

    def check_shape(self, state: State) -> None:
        """Raise ArgumentError if the walkers have not the dimension of the metric, or of the path."""
        if self.marginal is None:
            self.trajectories[0].check_shape(state)
        elif state.coords.shape[1] <= self.marginal.kept.max():
            got = f"coordinates up to {self.marginal.kept.max()}"
            raise ArgumentError("path", got, f"{state.coords.shape[1]}")

    def renew(self) -> list[Metric | None]:
        """Move the levels to where neighbours refuse equally often, by what was seen since the last time.

        Jumps are tried as often as it takes for about one a step.

        Returns
        -------
        list of Metric or None
            Of each level, averaged over where its replicas were; None where they have no finite curvature.
        """
        self._stand_at(equal_rejection(self.inverse_temperatures, self.travels.rejection))
        metrics: list[Metric | None] = []
        later = np.concatenate(self.visited[len(self.visited) // 2 :], axis=1)  # (levels, steps * walkers, m)
        chosen = spread_indices(later.shape[1], CURVATURE_POINTS)
        for beta, points in zip(self.inverse_temperatures, later[:, chosen], strict=True):
            metrics.append(self.path.metric(points, float(beta)))
        if self.jumps is not None and self.num_jumps.size:
            self.jumps.choose_tries(float(self.num_jumps.mean()) / len(self.visited))
            # The first modes may be the wrong ones; where climbs have added others and none is jumped to, none will be.
            self.is_jumping = self.is_jumping and (self.n_renewals == 0 or bool(self.num_jumps.any()))
        self.n_renewals += 1
        self.visited = []
        self._forget_travels(self.num_jumps.size)
        return metrics

    def neighbours(self, below: FloatArray, hottest: LogDensityOf) -> tuple[FloatArray, FloatArray]:
        """Compare the densities of neighbours where the replicas are.

        Parameters
        ----------
        below : ndarray (walkers, m)
            Draws of a density below the hottest level.
        hottest : callable
            That density: log densities (walkers,) of coordinates (walkers, m).

        Returns
        -------
        up, down : ndarray (levels, walkers)
            Log density of each level less that of the next one down, at the replicas of that one and at its own.
        """
        assert self.replicas is not None  # asked for after a step
        assert self.log_densities is not None
        up, down = np.empty(self.log_densities.shape), np.empty(self.log_densities.shape)
        for level, density in enumerate(self._densities):
            own = self.replicas[level]
            if level + 1 < self.num_levels:
                hotter, there = self._densities[level + 1].log_density, self.replicas[level + 1]
                up[level] = density.log_density(there) - self.log_densities[level + 1]
            else:
                hotter = hottest
                up[level] = density.log_density(below) - hottest(below)
            down[level] = self.log_densities[level] - hotter(own)
        return up, down

    def settle(self) -> None:
        """End warm-up: levels stay where they are, and travels are counted from here."""
        self.learns, self.visited = False, []
        self.is_jumping = self.is_jumping and bool(self.num_jumps.any())
        self._forget_travels(self.num_jumps.size)

    def to_dataset(self) -> xr.Dataset:
        """Group ``tempering`` of the tree."""
        travels = self.travels
        return xr.Dataset(
            {
                "inverse_temperature": (("level",), self.inverse_temperatures),
                "step_size": (("level",), np.array([each.step_size for each in self.trajectories])),
                "from_hot": (("level",), travels.share_from_hot),
                "rejection": (("pair",), travels.rejection),
                "round_trips": (("chain",), travels.round_trips),
                "num_jumps": (("chain",), self.num_jumps),
            },
            attrs={
                "barrier": float(travels.rejection.sum()),
                "num_exchanges": travels.n_exchanges,
                "num_modes": 0 if self.jumps is None else len(self.jumps.centres),
                "is_jumping": int(self.is_jumping),
            },
        )

    def _replicas_at(self, coords: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return all replicas and log densities, the coldest being at weights (walkers, k)."""
        if self.replicas is None or self.log_densities is None or self.replicas.shape[1] != len(coords):
            self.begin(np.broadcast_to(coords, (self.num_levels, *coords.shape)))
        assert self.replicas is not None
        assert self.log_densities is not None
        cold = coords if self.marginal is None else coords[:, self.marginal.kept]
        if not np.array_equal(cold, self.replicas[0]):  # something else moved them
            self.replicas[0], self.log_densities[0] = cold, self._densities[0].log_density(cold)
        return self.replicas, self.log_densities

    def _exchange(self, replicas: FloatArray, log_densities: FloatArray, random: np.random.RandomState) -> None:
        """Let neighbours change places, in place."""
        for cold in range(self.parity, self.num_levels - 1, 2):
            hot = cold + 1
            up = self._densities[cold].log_density(replicas[hot])
            down = self._densities[hot].log_density(replicas[cold])
            probability, swaps = metropolis(up + down - log_densities[cold] - log_densities[hot], random)
            self.travels.swap(cold, probability, swaps)
            pair = replicas[[hot, cold]]
            replicas[cold], replicas[hot] = np.where(swaps[:, None], pair, pair[::-1])
            log_densities[cold] = np.where(swaps, up, log_densities[cold])
            log_densities[hot] = np.where(swaps, down, log_densities[hot])
        self.parity = 1 - self.parity
        self.travels.arrive()

    def _stand_at(self, inverse_temperatures: FloatArray) -> None:
        """Change the levels, and with them the densities of the replicas."""
        self.inverse_temperatures = inverse_temperatures
        self._use_densities()
        if self.replicas is not None:
            levels = zip(self._densities, self.replicas, strict=True)
            self.log_densities = np.array([density.log_density(kept) for density, kept in levels])

    def _use_densities(self) -> None:
        """Make the densities of the levels, and hand them to the trajectories."""
        self._densities = [self.path.at(float(beta)) for beta in self.inverse_temperatures]
        for trajectory, density in zip(self.trajectories, self._densities, strict=True):
            trajectory.use_density(density)

    def _forget_travels(self, n_walkers: int) -> None:
        """Begin counting anew."""
        self.travels = Travels.of(self.num_levels, n_walkers)
        self.num_jumps: IntArray = np.zeros(n_walkers, dtype=np.int64)
