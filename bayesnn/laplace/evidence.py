"""Prior precision and noise by the marginal likelihood."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, integer_at_least, positive_number
from bayesnn.errors import ArgumentError
from bayesnn.laplace.fit import fit_laplace
from bayesnn.optimum import Optimum, Status, find_optimum, levenberg_marquardt
from bayesnn.posterior import Gaussian, NormalPrior, Posterior
from bayesnn.progress import progress_bar
from bayesnn.threads import on_one_blas_thread

# Noise below this share of the targets' size is the rounding of the outputs.
ROUNDING = 1e-13


@dataclass(frozen=True)
class EvidenceRound:
    """One round of the fixed point.

    Parameters
    ----------
    prior_precision, sigma_noise : float
        Hyperparameters of the round.
    log_marginal_likelihood : float
        Laplace evidence at the round's mode, nats.
    effective_parameters : float
        MacKay's gamma there.
    """

    prior_precision: float
    sigma_noise: float
    log_marginal_likelihood: float
    effective_parameters: float


@dataclass(frozen=True)
class EvidenceTuning:
    """How the hyperparameters were found.

    Parameters
    ----------
    status : Status
        ``converged``, ``max_steps`` or ``diverged``.
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
        super().__init__(posterior.model, posterior.x, posterior.y, posterior.likelihood, posterior.prior)
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
    r"""Choose one prior precision and the noise by maximising the Laplace evidence.

    MacKay's fixed point, alternating with re-optimisation of the weights until neither moves:

    .. math:: \gamma = \sum_i \frac{\lambda_i}{\lambda_i + \alpha}, \quad \alpha = \gamma / |\hat w|^2, \quad
              \sigma^2 = |r|^2 / (N - \gamma)

    with :math:`\lambda_i` the eigenvalues of :math:`B'B/\sigma^2` and `N` the number of targets (MacKay 1992,
    Neural Computation 4, 415, eqs. 4.8-4.10).

    Parameters
    ----------
    posterior : Posterior
        Gaussian likelihood with one ``sigma_noise`` and ``NormalPrior`` with one precision: where to begin.
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
        If the likelihood or prior has other hyperparameters than these two.

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
    sigma, precision = _hyperparameters(posterior)
    if optimum is None:
        optimum = find_optimum(posterior, n_starts=8, seed=seed, progress=progress)
    weights = np.array(optimum.weights if isinstance(optimum, Optimum) else optimum, dtype=np.float64)
    rounds: list[EvidenceRound] = []
    current, status = posterior, Status.max_steps
    with progress_bar("evidence", max_rounds, progress) as tick:
        while True:
            weights = levenberg_marquardt(current, weights).weights
            laplace = fit_laplace(current, weights)
            gamma = posterior.n_weights - precision * float((laplace.factor.scale**2).sum())
            rounds.append(EvidenceRound(precision, sigma, laplace.log_marginal_likelihood, gamma))
            tick(log_evidence=rounds[-1].log_marginal_likelihood, sigma_noise=sigma)
            residuals = posterior.y - posterior.model.predict(weights, posterior.x)
            new_sigma, new_precision = _fixed_point(residuals, weights, gamma)
            if not (np.isfinite(new_sigma) and np.isfinite(new_precision) and min(new_sigma, new_precision) > 0):
                status = Status.diverged
                break
            if new_sigma <= ROUNDING * float(np.sqrt((posterior.y**2).mean())):
                status = Status.diverged  # a perfect fit: what is left is rounding, and no noise to be found
                break
            change = max(abs(np.log(new_sigma / sigma)), abs(np.log(new_precision / precision)))
            if change <= tolerance:
                status = Status.converged
                break
            if len(rounds) == max_rounds:
                break
            sigma, precision = new_sigma, new_precision
            current = posterior.with_hyperparameters(Gaussian(sigma), NormalPrior(precision))
    best = find_optimum(current, start=weights, progress=False)
    return TunedPosterior(current, EvidenceTuning(status, tuple(rounds), best))


def _hyperparameters(posterior: Posterior) -> tuple[float, float]:
    likelihood, prior = posterior.likelihood, posterior.prior
    if not (isinstance(likelihood, Gaussian) and isinstance(likelihood.sigma_noise, float)):
        raise ArgumentError("likelihood", describe(likelihood), "Gaussian with one sigma_noise for all rows")
    if not (isinstance(prior, NormalPrior) and isinstance(prior.prior_precision, float)):
        raise ArgumentError("prior", describe(prior), "NormalPrior with one prior_precision for all weights")
    return likelihood.sigma_noise, prior.prior_precision


def _fixed_point(residuals: FloatArray, weights: FloatArray, gamma: float) -> tuple[float, float]:
    """Return MacKay's next noise and prior precision."""
    square, freedom = float(weights @ weights), residuals.size - gamma
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma = np.sqrt(np.divide((residuals**2).sum(), freedom))
        return float(sigma), float(np.divide(gamma, square))
