"""Metropolis steps of single hidden units, the output layer integrated out."""

import numpy as np
from emcee.model import Model
from emcee.state import State

from bayesnn.arrays import BoolArray, FloatArray
from bayesnn.checks import describe, integer_at_least
from bayesnn.errors import ArgumentError
from bayesnn.posterior.unit_steps import UnitSteps
from bayesnn.sampling.marginal import UnitMarginal
from bayesnn.sampling.moves.base import MoveStats, WalkerMove

# Half of the steps draw a unit's weights anew from the prior; the others move them, by a share of the prior's standard
# deviation that is log-uniform between these: units that hold the fit are narrow, idle ones as wide as the prior.
FRESH = 0.5
SMALLEST, LARGEST = 0.005, 1.0


class UnitMetropolis(WalkerMove):
    r"""Metropolis steps of the incoming weights of one hidden unit at a time, and then a draw of the output layer.

    Half of the steps propose a draw from the prior, which finds a use for units that have none; the others move the
    unit, by a normal step of a random scale. The output layer is integrated out (:class:`MarginalHMC`), so that a unit
    may change without its output weight, and all other units stay, so that a step costs far less than a gradient. To be
    mixed with a move of all weights (:class:`Mixture`).

    Parameters
    ----------
    marginal : MarginalDensity
        ``posterior.marginal()``.
    num_steps : int
        Steps of each proposal, each of one unit drawn at random.

    Raises
    ------
    ArgumentError
        If `marginal` is something else.

    Examples
    --------
    >>> import emcee
    >>> from bayesnn import MLP, Gaussian, NormalPrior, Posterior
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> post = Posterior(MLP(1, (2,), 1), x, np.sin(3 * x), Gaussian(0.1), NormalPrior(1.0))
    >>> move = UnitMetropolis(post.marginal(), num_steps=10)
    >>> sampler = emcee.EnsembleSampler(4, 7, post.log_density, moves=move, vectorize=True)
    >>> start = np.random.default_rng(0).standard_normal((4, 7))
    >>> _ = sampler.run_mcmc(start, 100, skip_initial_state_check=True)
    >>> sampler.get_chain().shape
    (100, 4, 7)
    """

    def __init__(self, marginal: UnitMarginal, num_steps: int = 100) -> None:
        if not isinstance(marginal, UnitMarginal):  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
            raise ArgumentError("marginal", describe(marginal), "posterior.marginal()")
        self.marginal = marginal
        self.num_steps = integer_at_least("num_steps", num_steps, 1)

    def propose(self, model: Model, state: State) -> tuple[State, BoolArray]:
        """Advance every walker; emcee calls this."""
        if state.coords.shape[1] <= self.marginal.kept.max():
            raise ArgumentError("marginal", f"coordinates up to {self.marginal.kept.max()}", f"{state.coords.shape[1]}")
        start = np.ascontiguousarray(state.coords[:, self.marginal.kept])
        kept, _, accepted = self.advance(start, self.marginal.log_density(start), model.random)
        weights, log_prob = self.marginal.draw(kept, model.random)
        everywhere = np.ones(len(kept), dtype=np.bool_)
        self.stats = MoveStats(
            acceptance_rate=accepted.mean(axis=1),
            energy=-log_prob,
            diverging=np.zeros(len(kept), dtype=np.bool_),
            n_steps=self.num_steps,
        )
        return self.moved(model, state, weights, log_prob, everywhere), accepted.any(axis=1)

    def advance(
        self, kept: FloatArray, log_prob: FloatArray, random: np.random.RandomState
    ) -> tuple[FloatArray, FloatArray, BoolArray]:
        """Try steps from kept coordinates (walkers, m) and log densities (walkers,).

        Returns
        -------
        kept : ndarray (walkers, m)
        log_prob : ndarray (walkers,)
        accepted : ndarray of bool (walkers, steps)
        """
        steps = unit_steps(self.marginal, len(kept), self.num_steps, random)
        return self.marginal.step_units(kept, log_prob, steps)


def unit_steps(marginal: UnitMarginal, num_chains: int, num_steps: int, random: np.random.RandomState) -> UnitSteps:
    """Draw so many steps for every chain, without a look at where it is."""
    shape, precision, mean = (num_chains, num_steps), marginal.unit_prior_precision, marginal.unit_prior_mean
    units = random.randint(precision.shape[1], size=shape)
    # A flat prior has no draws, and no scale but that of standardised data.
    is_proper = (precision > 0.0).all(axis=0)
    is_fresh = (random.random_sample(shape) < FRESH) & is_proper[units]
    sds = 1.0 / np.sqrt(np.where(precision > 0.0, precision, 1.0)).T
    deviations = sds[units] * random.standard_normal((*shape, len(precision)))
    shares = np.exp(random.uniform(np.log(SMALLEST), np.log(LARGEST), shape))
    moves = np.where(is_fresh[..., None], mean.T[units] + deviations, shares[..., None] * deviations)
    return UnitSteps(units, is_fresh, np.ascontiguousarray(moves), np.log(random.random_sample(shape)))
