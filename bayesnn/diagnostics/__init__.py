"""Gaussian against draws."""

from bayesnn.chain_statistics import ess, rhat
from bayesnn.diagnostics.agreement import Agreement, compare
from bayesnn.diagnostics.convergence import Convergence, converge
from bayesnn.diagnostics.held_out import PREDICTIVES, Scores, add_predictions
from bayesnn.diagnostics.importance import ImportanceEvidence, importance_evidence, independence_acceptance
from bayesnn.diagnostics.verdict import Finding, Verdict, judge

__all__ = [
    "PREDICTIVES",
    "Agreement",
    "Convergence",
    "Finding",
    "ImportanceEvidence",
    "Scores",
    "Verdict",
    "add_predictions",
    "compare",
    "converge",
    "ess",
    "importance_evidence",
    "independence_acceptance",
    "judge",
    "rhat",
]
