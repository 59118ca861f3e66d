"""What the chains say: whether they agree, and how well they predict."""

from bayesnn.chain_statistics import Layout, ess, nested_rhat, nested_rhat_band, rhat
from bayesnn.diagnostics.convergence import Convergence, Worst, converge
from bayesnn.diagnostics.diagnose import diagnose
from bayesnn.diagnostics.held_out import PREDICTIVES, Scores, add_predictions
from bayesnn.diagnostics.layout import layout_of
from bayesnn.diagnostics.leave_one_out import LeaveOneOut
from bayesnn.diagnostics.mode_predictions import MixturePrediction, predict_over_modes
from bayesnn.diagnostics.mode_weights import MODE_WEIGHTINGS, ModeWeights, mode_weights

__all__ = [
    "MODE_WEIGHTINGS",
    "PREDICTIVES",
    "Convergence",
    "Layout",
    "LeaveOneOut",
    "MixturePrediction",
    "ModeWeights",
    "Scores",
    "Worst",
    "add_predictions",
    "converge",
    "diagnose",
    "ess",
    "layout_of",
    "mode_weights",
    "nested_rhat",
    "nested_rhat_band",
    "predict_over_modes",
    "rhat",
]
