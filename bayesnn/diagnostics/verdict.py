"""How far the Gaussian is from the sampled posterior: the words."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bayesnn.diagnostics.convergence import Convergence
from bayesnn.diagnostics.reasons import disagreement

# What the distance of each finding means, for a sentence.
WORDS = {
    "pareto_k": "the tail of its importance weights has k-hat {value:.2f}, wants below {limit:.2f}",
    "kl": "it is {value:.2g} nats (KL) away, wants below {limit:g}",
    "mean_shift": "the posterior mean lies {value:.2f} sd off along one direction, wants within {limit:g}",
    "sd_ratio": "the posterior sd differs by {percent:.0f} % along one direction, wants within {limit_percent:.0f} %",
    "mahalanobis_ks": "distances from the mode are {value:.2f} (KS) off chi-squared, wants within {limit:g}",
    "acceptance_of_independence": "its draws as proposals would be rejected {percent:.0f} % of the time, "
    "wants below {limit_percent:.0f} %",
    "predictive_mean_gap": "a predictive mean is {value:.2f} sd off, wants within {limit:g}",
    "predictive_sd_ratio": "a predictive sd is {percent:.0f} % off, wants within {limit_percent:.0f} %",
}


@dataclass(frozen=True)
class Finding:
    """One statistic of an agreement.

    Parameters
    ----------
    name : str
        Which.
    value : float
        Distance from perfect agreement, at least 0 (k-hat may be negative).
    band : float
        Distance that chance alone would produce.
    limit : float
        Distance that matters in practice.
    needs_chains : bool
        Whether it means nothing unless the chains converged.
    """

    name: str
    value: float
    band: float
    limit: float
    needs_chains: bool = True

    @property
    def matters(self) -> bool:
        """Whether the distance is both beyond chance and beyond what matters; a NaN matters."""
        return not (self.value <= self.limit or self.value <= self.band)

    def words(self) -> str:
        """Say the distance in words."""
        return WORDS[self.name].format(
            value=self.value, limit=self.limit, percent=100 * self.value, limit_percent=100 * self.limit
        )


class Verdict(StrEnum):
    """Whether the Gaussian can stand for the posterior.

    Examples
    --------
    >>> Verdict.no_verdict.value
    'chains not converged: no verdict'
    """

    sentence: str

    gaussian = "gaussian", "The Gaussian can be trusted"
    not_gaussian = "not gaussian", "The Gaussian cannot be trusted"
    no_verdict = (
        "chains not converged: no verdict",
        "The chains disagree and the Gaussian cannot be trusted here",
    )

    def __new__(cls, value: str, sentence: str) -> "Verdict":
        """Make a member whose value is the verdict and whose sentence travels along."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member


def judge(findings: Sequence[Finding], convergence: Convergence) -> tuple[Verdict, tuple[str, ...]]:
    """Give the verdict and its reasons.

    Parameters
    ----------
    findings : sequence of Finding
        The numbers.
    convergence : Convergence
        Of the chains.

    Returns
    -------
    verdict : Verdict
    reasons : tuple of str
    """
    if not convergence.has_converged:
        without_chains = [f.words() for f in findings if not f.needs_chains and f.matters]
        return Verdict.no_verdict, (
            disagreement(convergence),
            *(f"of the Gaussian, {words}" for words in without_chains),
        )
    failed = tuple(finding.words() for finding in findings if finding.matters)
    if failed:
        return Verdict.not_gaussian, failed
    kl = next(f for f in findings if f.name == "kl")
    shift = next(f for f in findings if f.name == "mean_shift")
    return Verdict.gaussian, (
        f"KL {kl.value:.2g} nats, no mean off by more than {shift.value:.2f} sd, "
        f"all {len(findings)} statistics within chance or within what matters",
    )
