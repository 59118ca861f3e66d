"""Gaussian against draws."""

from bayesnn.chain_statistics import ess, rhat
from bayesnn.diagnostics.agreement import Agreement, compare
from bayesnn.diagnostics.convergence import Convergence, converge
from bayesnn.diagnostics.held_out import PREDICTIVES, Scores, add_predictions
from bayesnn.diagnostics.importance import ImportanceEvidence, importance_evidence, independence_acceptance
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
    "LeaveOneOut",
    "MixturePrediction",
    "ModeWeights",
    "Scores",
    "Verdict",
    "add_predictions",
    "compare",
    "converge",
    "ess",
    "importance_evidence",
    "independence_acceptance",
    "judge",
    "mode_weights",
    "predict_over_modes",
    "rhat",
]
