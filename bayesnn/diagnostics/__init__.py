"""Gaussian against draws."""

from bayesnn.chain_statistics import Layout, ess, nested_rhat, nested_rhat_band, rhat
from bayesnn.diagnostics.agreement import Agreement, compare
from bayesnn.diagnostics.convergence import Convergence, Worst, converge
from bayesnn.diagnostics.held_out import PREDICTIVES, Scores, add_predictions
from bayesnn.diagnostics.importance import ImportanceEvidence, importance_evidence, independence_acceptance
from bayesnn.diagnostics.layout import layout_of
from bayesnn.diagnostics.leave_one_out import LeaveOneOut
from bayesnn.diagnostics.mode_predictions import MixturePrediction, predict_over_modes
from bayesnn.diagnostics.mode_weights import MODE_WEIGHTINGS, ModeWeights, mode_weights
from bayesnn.diagnostics.verdict import Finding, Verdict, judge

__all__ = [
    "MODE_WEIGHTINGS",
    "PREDICTIVES",
    "Agreement",
    "Convergence",
    "Finding",
    "ImportanceEvidence",
    "Layout",
    "LeaveOneOut",
    "MixturePrediction",
    "ModeWeights",
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
    "mode_weights",
    "nested_rhat",
    "nested_rhat_band",
    "predict_over_modes",
    "rhat",
]
