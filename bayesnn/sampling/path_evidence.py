"""The log evidence of a posterior, by bridges between the temperatures of a ladder."""

from dataclasses import dataclass

import numpy as np
from emcee.model import Model
from emcee.state import State
from scipy.optimize import brentq
from scipy.special import expit, logsumexp

from bayesnn.arrays import FloatArray
from bayesnn.checks import integer_at_least
from bayesnn.errors import ArgumentError
from bayesnn.posterior import LogDensity
from bayesnn.progress import progress_bar
from bayesnn.sampling.ladder import geometric_ladder
from bayesnn.sampling.marginal import Marginal
from bayesnn.sampling.monitor import Monitor
from bayesnn.sampling.moves import ReplicaExchange
from bayesnn.sampling.path import PosteriorPath
from bayesnn.sampling.replicas import begin_replicas, replica_exchange
from bayesnn.sampling.schedule import Schedule, Wishes
from bayesnn.sampling.target import Gaussians, Target
from bayesnn.seeds import generator, legacy_state
from bayesnn.threads import on_one_blas_thread

# The hottest level that is sampled is where draws from the prior have weights that vary by about so many nats.
PRIOR_SPREAD, N_PRIOR_DRAWS, HOTTEST_OF_ALL = 1.0, 400, 1e-12
# Mean leapfrog steps of trajectories.
LENGTH = 64
# An estimate is not trusted where neighbours have hardly a draw in common, or ways up and down disagree by so many
# errors and nats.
FAR_APART, DISAGREE_ERRORS, DISAGREE_NATS = 0.97, 4.0, 1.0


@dataclass(frozen=True, eq=False)
class PathEvidence:
    r"""Log evidence :math:`\log \int p(w)\, p(y \mid w)\, dw`, over all modes and images, with its error.

    Parameters
    ----------
    log_evidence : float
        Nats.
    error : float
        Standard error, from the spread of the systems of replicas, which are independent; nats.
    of_chains : ndarray (chains,)
        The estimate of each system alone.
    inverse_temperatures : ndarray (levels,)
        From 1 down; the prior itself is below the last.
    steps : ndarray (levels,)
        Log ratio of the evidences of each level and the next one down, the prior at last; they sum to the log evidence.
    rejection : ndarray (levels - 1,)
        How often neighbours refused to change places.
    upward, downward : float
        The log evidence by draws of the hotter of two neighbours alone, and of the colder alone (stepping stones, Xie
        et al. 2011, Systematic Biology 60, and their reverse): they disagree where levels are too far apart.
    """

    log_evidence: float
    error: float
    of_chains: FloatArray
    inverse_temperatures: FloatArray
    steps: FloatArray
    rejection: FloatArray
    upward: float
    downward: float

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the estimate is not to be trusted, in words; empty where nothing speaks against it."""
        found: list[str] = []
        worst = int(np.argmax(self.rejection))
        if self.rejection[worst] > FAR_APART:
            pair = f"{self.inverse_temperatures[worst]:.3g} and {self.inverse_temperatures[worst + 1]:.3g}"
            found.append(f"levels {pair} change places in {1.0 - self.rejection[worst]:.1%} of the steps: more levels")
        apart = abs(self.upward - self.downward)
        if apart > max(DISAGREE_NATS, DISAGREE_ERRORS * self.error):
            found.append(f"ways up and down the ladder differ by {apart:.3g} nats: more levels, or more draws")
        if not np.isfinite(self.error):
            found.append("some systems have levels without a draw in common: more levels, or more draws")
        if self.error > DISAGREE_NATS:
            found.append(f"systems of replicas differ by more than a nat each way (error {self.error:.3g}): more draws")
        return tuple(found)

    @property
    def has_converged(self) -> bool:
        """Whether nothing speaks against the estimate."""
        return not self.doubts

    def __str__(self) -> str:
        words = f"log evidence {self.log_evidence:.3f} +- {self.error:.3f} nats"
        return "; ".join([words, *(f"NOT CONVERGED: {doubt}" for doubt in self.doubts)])


@on_one_blas_thread
def log_evidence(
    target: Gaussians,
    *,
    num_levels: int = 24,
    num_chains: int = 16,
    num_warmup: int = 150,
    num_samples: int = 300,
    num_integration_steps: int = LENGTH,
    seed: int = 0,
    progress: bool | None = None,
) -> PathEvidence:
    r"""Estimate the log evidence along powers of the likelihood, from the prior to the posterior.

    Replicas at all temperatures, as :class:`bayesnn.moves.ReplicaExchange` advances them, and draws of the prior below
    the hottest. Between neighbours the ratio of the evidences is Bennett's (1976, J. Comput. Phys. 22) from the draws
    of both, the optimal bridge of Meng & Wong (1996). The systems of replicas are independent, and each makes an
    estimate; the spread of these is the error, whatever the autocorrelation.

    Parameters
    ----------
    target : Laplace, sequence of Laplace or LaplaceMixture
        Of the posterior; replicas begin in all of its modes.
    num_levels : int
        Temperatures above the prior, at least 2.
    num_chains : int
        Systems of replicas, at least 4.
    num_warmup, num_samples : int
        Steps that adapt levels, metrics and step sizes, and steps that count.
    num_integration_steps : int
        Mean number of leapfrog steps of each trajectory.
    seed : int
        The same seed gives the same numbers.
    progress : bool, optional
        Whether to show a bar; by default where stderr is a terminal.

    Returns
    -------
    PathEvidence
        Its ``doubts`` say where it has not converged.

    Raises
    ------
    ArgumentError
        If an argument is out of range, the prior is flat for some weight, so that there is no evidence, or the
        posterior has no compiled code.

    Examples
    --------
    >>> from bayesnn import MLP, Gaussian, NormalPrior, Posterior, find_optimum, fit_laplace
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> post = Posterior(MLP(1, (), 1), x, 2 * x, Gaussian(0.1), NormalPrior(1.0))
    >>> laplace = fit_laplace(post, find_optimum(post, n_starts=1))  # exact: the posterior is Gaussian
    >>> found = log_evidence(laplace, num_levels=8, num_chains=8, num_samples=100)
    >>> bool(abs(found.log_evidence - laplace.log_marginal_likelihood) < 4 * found.error), found.has_converged
    (True, True)
    """
    num_levels = integer_at_least("num_levels", num_levels, 2)
    num_chains = integer_at_least("num_chains", num_chains, 4)
    num_warmup = integer_at_least("num_warmup", num_warmup, 20)
    num_samples = integer_at_least("num_samples", num_samples, 10)
    num_integration_steps = integer_at_least("num_integration_steps", num_integration_steps, 1)
    if isinstance(target, LogDensity):
        raise ArgumentError("target", "a LogDensity", "Laplaces of a Posterior: likelihood and prior apart")
    modes = Target.of(target, seed)
    path = PosteriorPath(modes.posterior)
    hot = _Prior(path, modes, seed)
    move = replica_exchange(modes, "averaged", num_integration_steps, geometric_ladder(num_levels, hot.reach()))
    start = begin_replicas(move, modes, "laplace", num_chains, seed)
    density, functions = modes.posterior.log_density, Monitor.of(modes.posterior).values
    schedule = Schedule(move, modes, density, functions, Wishes(None, None), num_warmup, seed)
    random = legacy_state(seed, "log evidence")
    up, down = _ratios(move, schedule, start, hot, num_warmup, num_samples, random, progress)
    pairs = range(num_levels)
    of_chains = np.array([sum(bennett(up[i, :, c], down[i, :, c]) for i in pairs) for c in range(num_chains)])
    steps = np.array([bennett(up[i].ravel(), down[i].ravel()) for i in pairs])
    count = np.log(up[0].size)
    with np.errstate(invalid="ignore"):  # of systems that may be infinite
        error = float(of_chains.std(ddof=1) / np.sqrt(num_chains))
    return PathEvidence(
        log_evidence=float(steps.sum()),
        error=error,
        of_chains=of_chains,
        inverse_temperatures=move.inverse_temperatures,
        steps=steps,
        rejection=move.travels.rejection,
        upward=float(sum(logsumexp(up[i]) - count for i in pairs)),
        downward=float(sum(count - logsumexp(-down[i]) for i in pairs)),
    )


def bennett(up: FloatArray, down: FloatArray) -> float:
    r"""Return :math:`\log Z_1 / Z_0` from log ratios :math:`\log q_1 / q_0` at draws of both densities.

    Parameters
    ----------
    up : ndarray (m,)
        Log ratios at draws of :math:`q_0`.
    down : ndarray (n,)
        Log ratios at draws of :math:`q_1`.

    Returns
    -------
    float
        Where a draw of :math:`q_0` is as likely taken for one of :math:`q_1`, all together, as the other way round
        (Bennett 1976, equation 12). Infinite, or NaN, where the one has no density at any draw of the other.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> zero, one = rng.standard_normal(4000), 1.0 + rng.standard_normal(4000)
    >>> ratio = lambda w: 3.0 + w - 0.5  # log of 20.09 N(w; 1, 1) over N(w; 0, 1)
    >>> bool(abs(bennett(ratio(zero), ratio(one)) - 3.0) < 0.1)
    True
    """
    shift = float(np.log(len(down) / len(up)))

    def excess(value: float) -> float:
        taken: FloatArray = np.asarray(expit(up - value + shift))
        missed: FloatArray = np.asarray(expit(value - shift - down))
        return float(taken.sum() - missed.sum())

    if not np.isfinite(up).any() or not np.isfinite(down).any():
        return -np.inf if np.isfinite(down).any() else np.inf if np.isfinite(up).any() else np.nan
    ends = np.concatenate([up, down])
    ends = ends[np.isfinite(ends)]  # draws of the one that the other has no density at count, and bound nothing
    low, high = float(ends.min()) - 10.0, float(ends.max()) + 10.0
    return float(brentq(excess, low - abs(shift), high + abs(shift), xtol=1e-10))


class _Prior:
    """The prior of the coordinates that replicas have, and draws of it."""

    def __init__(self, path: PosteriorPath, target: Target, seed: int) -> None:
        posterior = target.posterior
        self.path, self.random = path, generator(seed, "draws of the prior")
        flat = np.flatnonzero(posterior.prior_precision == 0.0)
        if len(flat):
            got = f"a flat prior of {posterior.weight_names[flat[0]]}"
            raise ArgumentError("target", got, "a proper prior for every coordinate: without one there is no evidence")
        coldest = path.at(1.0)
        kept = coldest.kept if isinstance(coldest, Marginal) else np.arange(posterior.n_weights)
        self.precision, self.mean = posterior.prior_precision[kept], posterior.prior_mean[kept]

    def draw(self, n: int) -> FloatArray:
        """Draw coordinates (n, m)."""
        return self.mean + self.random.standard_normal((n, len(self.mean))) / np.sqrt(self.precision)

    def log_density(self, w: FloatArray) -> FloatArray:
        """Log density (n,) of coordinates (n, m)."""
        normaliser = 0.5 * float(np.log(self.precision / (2.0 * np.pi)).sum())
        return normaliser - 0.5 * (self.precision * (w - self.mean) ** 2).sum(axis=1)

    def reach(self) -> float:
        """Return the inverse temperature at which draws of the prior have weights that vary by `PRIOR_SPREAD` nats."""
        w = self.draw(N_PRIOR_DRAWS)
        prior, beta = self.log_density(w), 0.5
        while beta > HOTTEST_OF_ALL:
            with np.errstate(over="ignore", invalid="ignore"):
                ratios = self.path.at(beta).log_density(w) - prior
            if np.isfinite(ratios).all() and ratios.std() < PRIOR_SPREAD:
                break
            beta *= 0.7
        return beta


def _ratios(
    move: ReplicaExchange,
    schedule: Schedule,
    start: FloatArray,
    hot: _Prior,
    num_warmup: int,
    num_samples: int,
    random: np.random.RandomState,
    progress: bool | None,
) -> tuple[FloatArray, FloatArray]:
    """Run, and return log ratios (levels, draws, chains) at draws of the hotter and of the colder of two neighbours.

    Those of level `i` are of its density over that of the next one down, the prior at last.
    """
    density = hot.path.posterior.log_density

    def without_blobs(weights: FloatArray) -> tuple[FloatArray, None]:
        return density(weights), None

    model = Model(density, without_blobs, map, random)
    state = State(start, log_prob=density(start), copy=True)
    shape = (move.num_levels, num_samples, len(start))
    up, down = np.empty(shape), np.empty(shape)
    with progress_bar("replicas", num_warmup + num_samples, progress) as tick:
        for step in range(num_warmup + num_samples):
            state, _ = move.propose(model, state)
            if step < num_warmup:
                schedule.after(step, state.coords)
            else:
                draw = step - num_warmup
                up[:, draw], down[:, draw] = move.neighbours(hot.draw(len(start)), hot.log_density)
            tick()
    # Where a density is not a number there is none: at draws of the hotter level, the colder; and the other way round.
    up[np.isnan(up)], down[np.isnan(down)] = -np.inf, np.inf
    return up, down
