"""From B at the optimum to a Gaussian posterior."""

from bayesnn.laplace.evidence import EvidenceRound, EvidenceTuning, TunedPosterior, maximize_evidence
from bayesnn.laplace.laplace import Laplace, Prediction, fit_laplace

__all__ = [
    "EvidenceRound",
    "EvidenceTuning",
    "Laplace",
    "Prediction",
    "TunedPosterior",
    "fit_laplace",
    "maximize_evidence",
]
