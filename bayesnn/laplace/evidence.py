"""Prior precision and noise by the marginal likelihood."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray, IntArray
from bayesnn.checks import describe, finite_array, integer_at_least, positive_number
from bayesnn.errors import ArgumentError
from bayesnn.laplace.laplace import laplace_evidence
from bayesnn.laplace.precision import build_precision
from bayesnn.optimum import Optimum, Status, find_optimum, levenberg_marquardt, uninterrupted
from bayesnn.posterior import Gaussian, NormalPrior, Posterior
from bayesnn.progress import progress_bar
from bayesnn.threads import on_one_blas_thread

# Noise below this share of the targets' size is the rounding of the outputs.
ROUNDING = 1e-13
# Nats below the evidence of the round before that a round may end: the fixed point lies that near to a maximum.
EVIDENCE_SLACK = 1e-2
# Steps in log hyperparameters below which the search for a higher evidence ends.
SMALLEST_STEP = 1e-3


@dataclass(frozen=True)
class EvidenceRound:
    """One round of the fixed point.

    Parameters
    ----------
    prior_precision : float or tuple of float
        Of the round: one for all weights, or one per layer.
    sigma_noise : float or None
        Of the round; None where the likelihood has no noise to tune.
    log_marginal_likelihood : float
        Laplace evidence at the round's mode, nats.
    effective_parameters : float
        MacKay's gamma there, summed over layers.
    """

    prior_precision: float | tuple[float, ...]
    sigma_noise: float | None
    log_marginal_likelihood: float
    effective_parameters: float


@dataclass(frozen=True)
class EvidenceTuning:
    """How the hyperparameters were found.

    Parameters
    ----------
    status : Status
        ``converged``, to the fixed point; ``stalled``, where the evidence rises no further towards it; ``max_steps`` or
        ``diverged``.
    rounds : tuple of EvidenceRound
        From the first hyperparameters to the last.
    optimum : Optimum
        Certified mode under the tuned hyperparameters.
    """

    status: Status
    rounds: tuple[EvidenceRound, ...]
    optimum: Optimum

    @property
    def effective_parameters(self) -> float:
        """MacKay's gamma, the number of weights the data determine."""
        return self.rounds[-1].effective_parameters

    @property
    def log_marginal_likelihood(self) -> float:
        """Laplace evidence of the tuned posterior, nats."""
        return self.rounds[-1].log_marginal_likelihood


class TunedPosterior(Posterior):
    """A posterior whose hyperparameters maximise the evidence; `tuning` tells how they were found.

    Parameters
    ----------
    posterior : Posterior
        With the tuned likelihood and prior.
    tuning : EvidenceTuning
        The record.
    """

    def __init__(self, posterior: Posterior, tuning: EvidenceTuning) -> None:
        super().__init__(posterior.network, posterior.x, posterior.y, posterior.given_likelihood, posterior.prior)
        self.tuning = tuning


@on_one_blas_thread
def maximize_evidence(
    posterior: Posterior,
    optimum: Optimum | ArrayLike | None = None,
    *,
    seed: int = 0,
    max_rounds: int = 200,
    tolerance: float = 1e-7,
    progress: bool | None = None,
) -> TunedPosterior:
    r"""Choose the prior precision, and the noise of a Gaussian likelihood, by maximising the Laplace evidence.

    MacKay's fixed point, alternating with re-optimisation of the weights until neither moves:

    .. math:: \gamma_l = k_l - \alpha_l \sum_{j \in l} \Sigma_{jj}, \quad
              \alpha_l = \gamma_l / |\hat w_l - m_l|^2, \quad \sigma^2 = |r|^2 / (N - \sum_l \gamma_l)

    with :math:`\Sigma` the Laplace covariance and `N` the number of targets (MacKay 1992, Neural Computation 4, 415,
    eqs. 4.8-4.10); `l` are the layers if the prior has one precision for each, else there is one group of all weights.
    For networks the fixed point is not quite the maximum: it leaves out how the curvature depends on the weights. A
    step that lowers the evidence by more than a hundredth of a nat is halved until it does not.

    Parameters
    ----------
    posterior : Posterior
        Where to begin: ``NormalPrior`` with one precision, or one per layer. The noise of a Gaussian likelihood with
        one ``sigma_noise`` is tuned too; other likelihoods stay as they are.
    optimum : Optimum or array_like (k,), optional
        The mode to follow; by default the best of 8 starts.
    seed : int
        Seed of those starts.
    max_rounds : int
        Rounds at most.
    tolerance : float
        Largest change of the log hyperparameters that counts as none.
    progress : bool, optional
        Whether to show a bar; by default where stderr is a terminal.

    Returns
    -------
    TunedPosterior
        With ``tuning.optimum`` its mode.

    Raises
    ------
    ArgumentError
        If the prior is flat or has one precision per weight, a Gaussian likelihood has one noise per row, or the
        optimum given or found is not finite, nor the log density there.

    Examples
    --------
    >>> from bayesnn import MLP
    >>> x = np.linspace(-2, 2, 60)[:, None]
    >>> noise = np.random.default_rng(0).normal(0.0, 0.2, x.shape)
    >>> post = Posterior(MLP(1, (2,), 1), x, np.tanh(2 * x) + noise, Gaussian(1.0), NormalPrior(1.0))
    >>> tuned = maximize_evidence(post, seed=0)
    >>> tuned.tuning.status.value, 0.15 < tuned.likelihood.sigma_noise < 0.25
    ('converged', True)
    """
    max_rounds = integer_at_least("max_rounds", max_rounds, 1)
    tolerance = positive_number("tolerance", tolerance)
    groups, precisions = _precisions(posterior)
    sigma = _noise(posterior)
    if optimum is None:
        optimum = uninterrupted(find_optimum(posterior, n_starts=8, seed=seed, progress=progress))
    point = optimum.weights if isinstance(optimum, Optimum) else optimum
    wants = f"finite numbers, shape ({posterior.n_weights},)"
    weights = finite_array("optimum", point, (1,), wants)
    if weights.shape != (posterior.n_weights,):
        raise ArgumentError("optimum", f"shape {weights.shape}", wants)
    with np.errstate(over="ignore", invalid="ignore"):
        has_density = bool(np.isfinite(posterior.log_density(weights)))
    if not has_density:
        raise ArgumentError("optimum", "a point where the log density is not finite", "an optimum")
    rounds: list[EvidenceRound] = []
    here, status = _at(posterior, weights, precisions, sigma), Status.max_steps
    best = here
    with progress_bar("evidence", max_rounds, progress) as tick:
        for tried in range(max_rounds):
            if tried:
                here = _at(_with(posterior, precisions, sigma), here.weights, precisions, sigma)
            tick(log_evidence=here.log_evidence)
            if here.log_evidence < best.log_evidence - EVIDENCE_SLACK:
                # The fixed point leaves out how the curvature depends on the weights, and has led downhill.
                precisions, sigma = _halfway(best, precisions, sigma)
                here = best
                if _largest_change(best, precisions, sigma) <= SMALLEST_STEP:
                    status = Status.stalled
                    break
                continue
            best = here
            gammas = best.gammas(groups)
            shown = float(precisions[0]) if len(groups) == 1 else tuple(precisions.tolist())
            rounds.append(EvidenceRound(shown, sigma, best.log_evidence, float(gammas.sum())))
            precisions, sigma = _fixed_point(best, groups, gammas)
            tuned = np.append(precisions, [] if sigma is None else [sigma])
            if not np.all(np.isfinite(tuned) & (tuned > 0)):
                status = Status.diverged
                break
            if sigma is not None and sigma <= ROUNDING * _size_of_targets(best.posterior, best.weights):
                status = Status.diverged  # a perfect fit: what is left is rounding, and no noise to be found
                break
            if _largest_change(best, precisions, sigma) <= tolerance:
                status = Status.converged
                break
    optimum = uninterrupted(find_optimum(best.posterior, start=best.weights, progress=False))
    return TunedPosterior(best.posterior, EvidenceTuning(status, tuple(rounds), optimum))


@dataclass(frozen=True)
class _Point:
    """Hyperparameters, the mode under them, and the evidence there."""

    posterior: Posterior
    precisions: FloatArray
    sigma: float | None
    weights: FloatArray
    variance: FloatArray
    log_evidence: float

    def gammas(self, groups: list[IntArray]) -> FloatArray:
        """Effective number of parameters of each group."""
        return np.array(
            [g.size - alpha * self.variance[g].sum() for g, alpha in zip(groups, self.precisions, strict=True)]
        )


def _at(posterior: Posterior, start: FloatArray, precisions: FloatArray, sigma: float | None) -> _Point:
    weights = levenberg_marquardt(posterior, start).weights
    precision = build_precision(posterior, weights, "ggn", "full", 1)
    log_evidence = laplace_evidence(posterior, weights, precision)
    return _Point(posterior, precisions, sigma, weights, precision.variance(), log_evidence)


def _halfway(best: _Point, precisions: FloatArray, sigma: float | None) -> tuple[FloatArray, float | None]:
    """Return the geometric means of the best hyperparameters and those tried."""
    middle = np.sqrt(best.precisions * precisions)
    return middle, None if sigma is None or best.sigma is None else float(np.sqrt(best.sigma * sigma))


def _largest_change(best: _Point, precisions: FloatArray, sigma: float | None) -> float:
    """Largest change of a log hyperparameter from the best."""
    change = float(np.abs(np.log(precisions / best.precisions)).max())
    return change if sigma is None or best.sigma is None else max(change, abs(float(np.log(sigma / best.sigma))))


def _precisions(posterior: Posterior) -> tuple[list[IntArray], FloatArray]:
    """Return which weights share a precision, and the precisions."""
    prior, blocks = posterior.prior, posterior.network.weight_blocks
    n_weights, n_layers = posterior.network.n_weights, max(block.layer for block in blocks) + 1
    given = np.empty(0)
    if isinstance(prior, NormalPrior) and not isinstance(prior.prior_precision, str):
        given = np.atleast_1d(np.asarray(prior.prior_precision))
    if given.size == 1:
        return [np.arange(n_weights)], given.astype(np.float64)
    if given.size != n_layers or given.size == n_weights:
        wants = "NormalPrior with one prior_precision for all weights, or one per layer"
        raise ArgumentError("prior", describe(prior), wants)
    layer_of_each = np.repeat([block.layer for block in blocks], [block.size for block in blocks])
    return [np.flatnonzero(layer_of_each == layer) for layer in range(n_layers)], given.astype(np.float64)


def _noise(posterior: Posterior) -> float | None:
    likelihood = posterior.likelihood
    if not isinstance(likelihood, Gaussian):
        return None
    if not isinstance(likelihood.sigma_noise, float):
        raise ArgumentError("likelihood", describe(likelihood), "Gaussian with one sigma_noise for all rows")
    return likelihood.sigma_noise


def _fixed_point(best: _Point, groups: list[IntArray], gammas: FloatArray) -> tuple[FloatArray, float | None]:
    """Return MacKay's next prior precisions and noise."""
    posterior = best.posterior
    deviations = best.weights - posterior.prior_mean
    squares = np.array([deviations[group] @ deviations[group] for group in groups])
    with np.errstate(divide="ignore", invalid="ignore"):
        precisions = gammas / squares
        if best.sigma is None:
            return precisions, None
        square, _ = posterior.square_lengths(best.weights)  # of residuals over sigma
        freedom = posterior.n_rows * posterior.model.n_outputs - gammas.sum()
        return precisions, float(best.sigma * np.sqrt(np.divide(square, freedom)))


def _size_of_targets(posterior: Posterior, weights: FloatArray) -> float:
    """Root mean square of the targets."""
    assert isinstance(posterior.likelihood, Gaussian)  # nothing else has noise to tune
    _, square = posterior.square_lengths(weights)  # of the targets, wherever the network is
    return float(np.sqrt(square / (posterior.n_rows * posterior.model.n_outputs))) * _noise_of(posterior.likelihood)


def _noise_of(likelihood: Gaussian) -> float:
    return float(np.asarray(likelihood.sigma_noise, dtype=np.float64))


def _with(posterior: Posterior, precisions: FloatArray, sigma: float | None) -> Posterior:
    """Return the posterior under other hyperparameters."""
    prior = posterior.prior
    assert isinstance(prior, NormalPrior)  # _precisions has seen to it
    chosen = NormalPrior(precisions if precisions.size > 1 else float(precisions[0]), prior.prior_mean)
    return posterior.with_hyperparameters(None if sigma is None else Gaussian(sigma), chosen)
