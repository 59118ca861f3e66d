"""Jumps between the modes of a network by the Gaussians at its optima, the output layer integrated out."""

from collections.abc import Sequence

import numpy as np
from emcee.model import Model
from emcee.state import State
from scipy.special import softmax

from bayesnn.arrays import BoolArray, FloatArray, IntArray
from bayesnn.checks import describe, integer_at_least
from bayesnn.errors import ArgumentError
from bayesnn.factor import factor_gram
from bayesnn.laplace import Laplace
from bayesnn.optimum.find import SAME_OPTIMUM_SD
from bayesnn.sampling.marginal import UnitMarginal
from bayesnn.sampling.metric import Metric
from bayesnn.sampling.moves.base import MoveStats, WalkerMove
from bayesnn.sampling.unit_images import UnitImages

# Laplace's evidences are some nats off, and proposals of a mode that has more than they say must not be rare.
EVIDENCE_POWER, LEAST_WEIGHT = 0.5, 1e-3
# Proposals of a walker in a step: at most so many, and as many as make about one jump.
MOST_TRIES, JUMPS_WANTED = 200, 1.0
# By how much centres are moved where images are matched to them: beyond rounding, and of no other consequence.
TIE_BREAK = 1e-9


class ModeJump(WalkerMove):
    r"""Independent proposals from a mixture of the Gaussians at several optima, of the hidden weights alone.

    With the output layer integrated out, and drawn afterwards, what is left of each Gaussian may be near enough to its
    mode for proposals to be accepted, where Gaussians of all weights are hopeless; each costs one value of the density,
    no gradient, and a few hundred are made at a time. Acceptance is Metropolis's for the
    mixture (Tierney 1994, Markov chains for exploring posterior distributions, Annals of Statistics 22, section 2.3.3),
    taken modulo the symmetries of the network: weights are compared with each Gaussian in the image nearest to its
    centre, and an accepted proposal is put into an image drawn at random. It is exact whatever the Gaussians are; they
    decide how often it jumps. To be mixed with a move that goes where no optimum is known (:class:`Mixture`,
    :class:`ReplicaExchange`).

    Parameters
    ----------
    marginal : MarginalDensity
        ``posterior.marginal()``, of one hidden layer whose units have priors alike.
    laplaces : sequence of Laplace
        Of the optima.
    num_tries : int
        Proposals of each walker in each step, to begin with (:meth:`choose_tries`).

    Raises
    ------
    ArgumentError
        If `marginal` is something else, its units are not alike, or there is no Laplace that fits it.

    Examples
    --------
    >>> import emcee
    >>> from bayesnn import MLP, Gaussian, NormalPrior, Posterior, find_optimum, fit_laplace
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> post = Posterior(MLP(1, (2,), 1), x, np.sin(3 * x), Gaussian(0.1), NormalPrior(1.0))
    >>> best = find_optimum(post, n_starts=4, seed=0)
    >>> move = ModeJump(post.marginal(), [fit_laplace(post, best)], num_tries=20)
    >>> sampler = emcee.EnsembleSampler(4, 7, post.log_density, moves=move, vectorize=True)
    >>> _ = sampler.run_mcmc(np.tile(best.weights, (4, 1)), 100, skip_initial_state_check=True)
    >>> bool(move.stats.acceptance_rate.mean() > 0.1)
    True
    """

    state_names = ("centres", "scales", "evidences", "num_tries")

    def __init__(self, marginal: UnitMarginal, laplaces: Sequence[Laplace], num_tries: int = MOST_TRIES) -> None:
        if not isinstance(marginal, UnitMarginal):  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
            raise ArgumentError("marginal", describe(marginal), "posterior.marginal()")
        if not marginal.units_are_alike:
            got = "several hidden layers, or units whose priors differ"
            raise ArgumentError("marginal", got, "one hidden layer, and a prior that no permutation or sign changes")
        if len(laplaces) == 0:
            raise ArgumentError("laplaces", describe(laplaces), "at least one Laplace")
        self.marginal = marginal
        self.images = UnitImages(marginal.unit_places, marginal.units_are_odd)
        self.num_tries = integer_at_least("num_tries", num_tries, 1)
        size = len(marginal.kept)
        #: Centres (modes, m) of the Gaussians, `S` (modes, m, m) of each, covariance ``S @ S.T``, and log evidences.
        self.centres: FloatArray = np.empty((0, size))
        self.scales: FloatArray = np.empty((0, size, size))
        self.evidences: FloatArray = np.empty(0)
        self.add(laplaces)

    @property
    def log_weights(self) -> FloatArray:
        """Log weights (modes,) in the mixture."""
        weights = np.maximum(softmax(EVIDENCE_POWER * self.evidences), LEAST_WEIGHT)
        return np.log(weights / weights.sum())

    @property
    def heights(self) -> FloatArray:
        """Log densities (modes,) of the weighted Gaussians at their centres, up to a constant of all."""
        return self.log_weights - np.log(np.abs(np.diagonal(self.scales, axis1=1, axis2=2))).sum(axis=1)

    def choose_tries(self, n_accepted: float) -> None:
        """Make as many proposals as give about one jump a step; only before the draws that count.

        Parameters
        ----------
        n_accepted : float
            How many of the present number were accepted, on average of walkers and steps.
        """
        wanted = self.num_tries * JUMPS_WANTED / n_accepted if n_accepted > 0.0 else MOST_TRIES
        self.num_tries = max(1, min(MOST_TRIES, round(wanted)))

    def add(self, laplaces: Sequence[Laplace]) -> None:
        """Add the Gaussians at optima that are not yet known to the mixture; only before the draws that count.

        Raises
        ------
        ArgumentError
            If there is none with a covariance of the kept coordinates, or one is of another number of weights.
        """
        for laplace in laplaces:
            if laplace.n_weights <= self.marginal.kept.max():
                raise ArgumentError("laplaces", f"one of {laplace.n_weights} weights", "of the marginal's network")
            factor = factor_gram(self.marginal.precision_of(laplace.posterior_precision))
            centre = laplace.mean[self.marginal.kept]
            if factor is not None and not self._knows(centre):
                self.centres = np.concatenate([self.centres, centre[None]])
                self.scales = np.concatenate([self.scales, factor.scale[None]])
                self.evidences = np.append(self.evidences, laplace.log_marginal_likelihood)
        if len(self.centres) == 0:
            raise ArgumentError("laplaces", f"{len(laplaces)} without a covariance", "at least one that has one")

    def propose(self, model: Model, state: State) -> tuple[State, BoolArray]:
        """Offer every walker its proposals, and draw its output layer; emcee calls this."""
        if state.coords.shape[1] <= self.marginal.kept.max():
            got = f"coordinates up to {self.marginal.kept.max()}"
            raise ArgumentError("marginal", got, f"{state.coords.shape[1]}")
        start = np.ascontiguousarray(state.coords[:, self.marginal.kept])
        kept, _, n_accepted = self.advance(start, self.marginal.log_density(start), model.random)
        weights, log_prob = self.marginal.draw(kept, model.random)
        everywhere = np.ones(len(kept), dtype=np.bool_)
        self.stats = MoveStats(
            acceptance_rate=n_accepted / self.num_tries,
            energy=-log_prob,
            diverging=np.zeros(len(kept), dtype=np.bool_),
            n_steps=self.num_tries,
        )
        return self.moved(model, state, weights, log_prob, everywhere), n_accepted > 0

    def advance(
        self, kept: FloatArray, log_prob: FloatArray, random: np.random.RandomState
    ) -> tuple[FloatArray, FloatArray, IntArray]:
        """Offer proposals to walkers at kept coordinates (walkers, m) with log densities (walkers,).

        Returns
        -------
        kept : ndarray (walkers, m)
        log_prob : ndarray (walkers,)
        n_accepted : ndarray of int (walkers,)
            How many proposals each accepted.
        """
        kept, log_prob, n_accepted = kept.copy(), log_prob.copy(), np.zeros(len(kept), dtype=np.int64)
        anchors = self.anchors
        modes, proposed, own = self._draw(len(kept), random)
        values = self.marginal.log_density(proposed)
        thresholds = np.log(random.random_sample(modes.shape))
        # The mixture is at least the term of the proposal's own Gaussian: what this refuses is refused.
        bounds = np.where(np.isnan(values), -np.inf, values) - own
        heights = self.heights
        for walker in range(len(kept)):
            here = log_prob[walker] - self.log_mixture(kept[walker], heights, anchors)
            for i in np.flatnonzero(np.isfinite(bounds[walker])):
                if not bounds[walker, i] - here > thresholds[walker, i]:
                    continue
                new, anchor = proposed[walker, i], anchors[modes[walker, i]]
                if not np.array_equal(self.images.nearest(new, anchor), new):
                    continue  # counted in another image
                there = values[walker, i] - self.log_mixture(new, heights, anchors)
                if there - here > thresholds[walker, i]:
                    kept[walker], log_prob[walker], here = self.images.random(new, random), values[walker, i], there
                    n_accepted[walker] += 1
        return kept, log_prob, n_accepted

    def log_mixture(self, kept: FloatArray, heights: FloatArray, anchors: FloatArray) -> float:
        """Log density, up to a constant, of the mixture of `heights` at coordinates (m,), modulo the symmetries."""
        images = np.array([self.images.nearest(kept, anchor) for anchor in anchors])
        whitened = np.linalg.solve(self.scales, (images - self.centres)[..., None])[..., 0]
        return float(np.logaddexp.reduce(heights - 0.5 * (whitened**2).sum(axis=1)))

    @property
    def anchors(self) -> FloatArray:
        """Where images are the nearest to (modes, m): the centres, but for a little that breaks ties.

        A unit that is 0 at a centre is as near as its mirror image, and one that another equals as near as that: of
        such images one must count, and not each.
        """
        generic: FloatArray = np.random.default_rng(0).standard_normal((1, self.centres.shape[1]))
        return self.centres + TIE_BREAK * (1.0 + np.abs(self.centres).max(axis=1, keepdims=True)) * generic

    def _knows(self, centre: FloatArray) -> bool:
        """Whether an optimum is, up to a symmetry, one that is in the mixture."""
        for other, scale in zip(self.centres, self.scales, strict=True):
            off = Metric(scale).whiten((self.images.nearest(centre, other) - other)[None])
            if float((off**2).sum()) <= SAME_OPTIMUM_SD**2 * off.size:
                return True
        return False

    def _draw(self, n_walkers: int, random: np.random.RandomState) -> tuple[IntArray, FloatArray, FloatArray]:
        """Draw modes (walkers, tries), proposals (walkers, tries, m), and the terms of their own Gaussians."""
        shape = (n_walkers, self.num_tries)
        modes: IntArray = random.choice(len(self.centres), size=shape, p=np.exp(self.log_weights))
        standard = random.standard_normal((*shape, self.centres.shape[1]))
        proposed = np.empty_like(standard)
        for mode in np.unique(modes):
            of_mode = modes == mode
            proposed[of_mode] = self.centres[mode] + standard[of_mode] @ self.scales[mode].T
        own = self.heights[modes] - 0.5 * (standard**2).sum(axis=-1)
        return modes, proposed, own
