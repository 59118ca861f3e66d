"""How far the Gaussian is from the sampled posterior: the words."""

from collections.abc import Sequence
from enum import StrEnum

from bayesnn.agreement.findings import Finding
from bayesnn.diagnostics.convergence import Convergence
from bayesnn.diagnostics.reasons import disagreement


class Verdict(StrEnum):
    """Whether the Gaussian can stand for the posterior.

    Examples
    --------
    >>> Verdict.no_verdict.value
    'chains not converged: no verdict'
    """

    sentence: str

    gaussian = "gaussian", "The Gaussian can be trusted"
    gaussian_where_informed = (
        "gaussian on the informed directions",
        "The Gaussian can be trusted along the directions the data inform",
    )
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


def judge(
    findings: Sequence[Finding],
    convergence: Convergence,
    where_informed: Sequence[Finding] = (),
    informed: tuple[int, int] = (0, 0),
) -> tuple[Verdict, tuple[str, ...]]:
    """Give the verdict and its reasons.

    Parameters
    ----------
    findings : sequence of Finding
        The numbers.
    convergence : Convergence
        Of the chains.
    where_informed : sequence of Finding
        The numbers for the directions the data inform and for predictions, where there are other directions, too.
    informed : tuple of int
        How many directions these are, and of how many.

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
    if not failed:
        kl = next(f for f in findings if f.name == "kl")
        shift = next(f for f in findings if f.name == "mean_shift")
        return Verdict.gaussian, (
            f"KL {kl.value:.2g} nats, no mean off by more than {shift.value:.2f} sd beyond chance, "
            f"all {len(findings)} statistics within chance or within what matters",
        )
    if where_informed and not any(finding.matters for finding in where_informed):
        few, all_ = informed
        return Verdict.gaussian_where_informed, (
            f"along the {few} of {all_} directions in which the data say ten times what the prior says, and for "
            f"predictions, all {len(where_informed)} statistics are within chance or within what matters",
            *(f"along all, {words}" for words in failed),
        )
    return Verdict.not_gaussian, failed
