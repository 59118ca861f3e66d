"""Distances between Gaussian and posterior from importance weights at Gaussian draws."""

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from bayesnn.arrays import FloatArray


@dataclass(frozen=True)
class ImportanceEvidence:
    r"""What the log ratios :math:`\log \tilde p(w_s) - \log q(w_s)`, :math:`w_s \sim q`, say.

    Parameters
    ----------
    kl, kl_error : float
        :math:`KL(q \| p) = \log\overline{e^{l}} - \bar l`, nats, and its standard error (delta method). Zero for
        every draw if q is the posterior. A lower bound where `pareto_k` is large.
    log_evidence, log_evidence_error : float
        Importance-sampled log evidence and its standard error.
    pareto_k : float
        Shape of the tail of the weights (Vehtari, Simpson, Gelman, Yao & Gabry 2024, JMLR 25).
    pareto_k_limit : float
        :math:`\min(1 - 1/\log_{10} S, 0.7)`: weights are usable below it.
    """

    kl: float
    kl_error: float
    log_evidence: float
    log_evidence_error: float
    pareto_k: float
    pareto_k_limit: float


def importance_evidence(log_p: FloatArray, log_q: FloatArray) -> ImportanceEvidence:
    """Compute distances from Gaussian draws.

    Parameters
    ----------
    log_p, log_q : ndarray (S,)
        Unnormalised log posterior and log Gaussian density at draws from the Gaussian.

    Returns
    -------
    ImportanceEvidence

    Examples
    --------
    >>> z = np.random.default_rng(0).standard_normal(4000)
    >>> exact = importance_evidence(-0.5 * z**2 + 3.0, -0.5 * z**2)
    >>> round(exact.kl, 12), round(exact.log_evidence, 12), exact.pareto_k
    (0.0, 3.0, -inf)
    """
    size = log_p.size
    limit = min(1.0 - 1.0 / np.log10(size), 0.7)
    ratios = log_p - log_q
    finite = np.isfinite(ratios)
    log_evidence = float(logsumexp(ratios[finite]) - np.log(size)) if finite.any() else -np.inf
    weights = np.exp(np.where(finite, ratios, -np.inf) - log_evidence)
    evidence_error = float(weights.std(ddof=1) / np.sqrt(size))
    if not finite.all():  # q reaches where the posterior is zero: KL(q|p) is infinite
        return ImportanceEvidence(np.inf, np.nan, log_evidence, evidence_error, np.inf, limit)
    kl = log_evidence - float(ratios.mean())
    kl_error = float((weights - ratios).std(ddof=1) / np.sqrt(size))
    return ImportanceEvidence(kl, kl_error, log_evidence, evidence_error, _pareto_k(ratios), limit)


def _pareto_k(log_ratios: FloatArray) -> float:
    if np.ptp(log_ratios) < 1e-8:  # constant weights have no tail
        return -np.inf
    from arviz_stats.base import array_stats

    with np.errstate(over="ignore"):
        _, shape = array_stats.psislw(-log_ratios)  # psislw wants minus the log ratio
    # Where one draw carries all the weight the fit has no tail left to look at.
    return float(shape) if np.isfinite(shape) else np.inf


def independence_acceptance(chain_ratios: FloatArray, gaussian_ratios: FloatArray, rng: np.random.Generator) -> float:
    r"""Stationary acceptance rate of independence Metropolis-Hastings with the Gaussian as proposal.

    :math:`E_{w\sim p, w'\sim q} \min(1, r(w')/r(w))`, `r` the importance ratio: 1 if the two agree.

    Parameters
    ----------
    chain_ratios : ndarray (any shape)
        Log ratios at posterior draws.
    gaussian_ratios : ndarray (S,)
        Log ratios at Gaussian draws.
    rng : numpy.random.Generator
        Pairs the draws.

    Returns
    -------
    float
    """
    here = chain_ratios.ravel()
    there = rng.choice(gaussian_ratios, size=here.size)
    return float(np.exp(np.minimum(there - here, 0.0)).mean())
