"""From B at the optimum to a Gaussian posterior."""

from bayesnn.laplace.evidence import EvidenceRound, EvidenceTuning, TunedPosterior, maximize_evidence
from bayesnn.laplace.fit import fit_laplace
from bayesnn.laplace.laplace import Laplace
from bayesnn.laplace.predictive import Prediction

__all__ = [
    "EvidenceRound",
    "EvidenceTuning",
    "Laplace",
    "Prediction",
    "TunedPosterior",
    "fit_laplace",
    "maximize_evidence",
]
