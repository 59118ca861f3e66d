"""Draws of inferred prior precisions while the weights themselves stay: the centred half of interweaving."""

import numpy as np
from emcee.model import Model
from emcee.state import State
from scipy.special import wrightomega

from bayesnn.arrays import BoolArray, FloatArray
from bayesnn.checks import describe, integer_at_least
from bayesnn.errors import ArgumentError
from bayesnn.models import StandardWeights
from bayesnn.posterior import Posterior
from bayesnn.sampling.moves.base import MoveStats, WalkerMove

# Degrees of freedom of the proposals: the density's tails are a normal's at their heaviest.
FREEDOM = 5.0


class CentredPrecision(WalkerMove):
    r"""Draw inferred log precisions of the prior given the weights, which stay where they are.

    The posterior's coordinates are non-centred: weights in units of their prior's standard deviation, `u`, and log
    precisions `t` (:class:`bayesnn.models.StandardWeights`). With `u` held fast, a new `t` rescales all weights, which
    data that say much about them do not allow. This move holds the weights :math:`w = m + u e^{-t/2}` fast instead, as
    the centred form does: given them, `t` of each group of `n` has the density
    :math:`\propto N(t; \mu, s^2)\, e^{(n t - e^t \sum (w - m)^2) / 2}`, whatever the data, so that a step costs no
    value of the posterior. In turns with a move of all coordinates (:class:`Mixture`) the two forms interweave, and the
    chain mixes where either would (Yu & Meng 2011, To center or not to center, J. Comput. Graph. Stat. 20). Proposals
    are Student's, at the mode, which is in closed form by Wright's omega function.

    Parameters
    ----------
    posterior : Posterior
        Whose prior is ``NormalPrior("infer", ...)`` or ``NormalPrior("infer_by_layer", ...)``.
    num_tries : int
        Metropolis steps, of which most are accepted.

    Raises
    ------
    ArgumentError
        If the prior's precision is not inferred, or `num_tries` is out of range.

    Examples
    --------
    >>> from bayesnn import MLP, Gaussian, NormalPrior, find_optimum, fit_laplace, moves, sample
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> prior = NormalPrior("infer", log_precision_prior=(0.0, 1.0))
    >>> post = Posterior(MLP(1, (2,), 1), x, np.sin(3 * x), Gaussian(0.1), prior)
    >>> laplace = fit_laplace(post, find_optimum(post, n_starts=4, seed=0))
    >>> hmc = moves.HMC(post.fused(), laplace.posterior_covariance, num_integration_steps=8)
    >>> move = moves.Mixture([hmc, moves.CentredPrecision(post)])
    >>> tree = sample(laplace, move=move, num_chains=4, num_warmup=50, num_samples=20)
    >>> tree["posterior"]["log_prior_precision"].shape
    (4, 20)
    """

    def __init__(self, posterior: Posterior, num_tries: int = 4) -> None:
        network = getattr(posterior, "scaled_network", None)
        if not isinstance(network, StandardWeights):
            raise ArgumentError("posterior", describe(posterior), "one whose prior precision is inferred")
        self.num_tries = integer_at_least("num_tries", num_tries, 1)
        self._weights = slice(0, network.model.n_weights)
        self._scales = slice(network.model.n_weights, network.n_weights)
        self._members = np.arange(network.n_groups)[:, None] == network.group_of  # (groups, k)
        self._group_of = network.group_of
        self._precision = posterior.prior_precision[self._scales]
        self._mean = posterior.prior_mean[self._scales]

    def propose(self, model: Model, state: State) -> tuple[State, BoolArray]:
        """Draw the log precisions of every walker; emcee calls this."""
        if state.coords.shape[1] < self._scales.stop:
            raise ArgumentError("posterior", f"{self._scales.stop} coordinates", f"{state.coords.shape[1]}")
        standard, before = state.coords[:, self._weights], state.coords[:, self._scales]
        squares = (standard**2) @ self._members.T * np.exp(-before)  # of the weights, by group
        mode, scale = self._mode(squares)
        log_precision, accepted = before.copy(), np.zeros((self.num_tries, *before.shape), dtype=np.bool_)
        height = self._log_density(log_precision, squares) - _student((log_precision - mode) / scale)
        for i in range(self.num_tries):
            drawn = np.asarray(model.random.standard_t(FREEDOM, before.shape), dtype=np.float64)
            proposed = mode + scale * drawn
            there = self._log_density(proposed, squares) - _student(drawn)
            accepted[i] = np.log(model.random.random_sample(before.shape)) < there - height
            log_precision = np.where(accepted[i], proposed, log_precision)
            height = np.where(accepted[i], there, height)
        moved = state.coords.copy()
        moved[:, self._scales] = log_precision
        moved[:, self._weights] = standard * np.exp(0.5 * (log_precision - before))[:, self._group_of]
        # The likelihood is that of the same weights; what changes is the prior of the coordinates.
        log_prob = state.log_prob + self._log_prior(moved) - self._log_prior(state.coords)
        everywhere = np.ones(len(moved), dtype=np.bool_)
        rate = accepted.mean(axis=(0, 2))
        self.stats = MoveStats(rate, -log_prob, np.zeros(len(moved), dtype=np.bool_), self.num_tries)
        return self.moved(model, state, moved, log_prob, everywhere), accepted.any(axis=(0, 2))

    def _mode(self, squares: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return where the densities of log precisions (walkers, groups) are highest, and their widths there."""
        # The slope, n / 2 - e^t S / 2 - p (t - mu), is 0 where z = a - t solves z e^z = e^a S / 2p.
        end = self._mean + self._members.sum(axis=1) / (2.0 * self._precision)
        with np.errstate(divide="ignore"):  # weights that are all 0 leave the prior alone
            logs: FloatArray = np.log(squares / (2.0 * self._precision)) + end
        z: FloatArray = wrightomega(logs)
        mode = end - z
        return mode, 1.0 / np.sqrt(self._precision + 0.5 * squares * np.exp(mode))

    def _log_density(self, log_precision: FloatArray, squares: FloatArray) -> FloatArray:
        """Log density, up to a constant, of log precisions (walkers, groups) given the weights."""
        of_weights = self._members.sum(axis=1) * log_precision - np.exp(log_precision) * squares
        return 0.5 * (of_weights - self._precision * (log_precision - self._mean) ** 2)

    def _log_prior(self, coords: FloatArray) -> FloatArray:
        """Log prior (walkers,) of coordinates, up to a constant, but for those after the log precisions."""
        off = coords[:, self._scales] - self._mean
        return -0.5 * ((coords[:, self._weights] ** 2).sum(axis=1) + (self._precision * off**2).sum(axis=1))


def _student(t: FloatArray) -> FloatArray:
    """Log density of Student's t, up to a constant."""
    return -0.5 * (FREEDOM + 1.0) * np.log1p(t**2 / FREEDOM)
