"""Gaussian against draws."""

from bayesnn.chain_statistics import Layout, ess, nested_rhat, nested_rhat_band, rhat
from bayesnn.diagnostics.agreement import Agreement, compare
from bayesnn.diagnostics.convergence import Convergence, Worst, converge
from bayesnn.diagnostics.held_out import PREDICTIVES, Scores, add_predictions
from bayesnn.diagnostics.importance import ImportanceEvidence, importance_evidence, independence_acceptance
from bayesnn.diagnostics.layout import layout_of
from bayesnn.diagnostics.verdict import Finding, Verdict, judge

__all__ = [
    "PREDICTIVES",
    "Agreement",
    "Convergence",
    "Finding",
    "ImportanceEvidence",
    "Layout",
    "Scores",
    "Verdict",
    "Worst",
    "add_predictions",
    "compare",
    "converge",
    "ess",
    "importance_evidence",
    "independence_acceptance",
    "judge",
    "layout_of",
    "nested_rhat",
    "nested_rhat_band",
    "rhat",
]
