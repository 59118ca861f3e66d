"""From B at the optimum to a Gaussian posterior."""

from bayesnn.laplace.evidence import EvidenceRound, EvidenceTuning, TunedPosterior, maximize_evidence
from bayesnn.laplace.fit import fit_laplace
from bayesnn.laplace.laplace import Laplace
from bayesnn.laplace.mixture import LaplaceMixture
from bayesnn.laplace.predictive import Prediction
from bayesnn.laplace.storage import load_laplace, save_laplace

__all__ = [
    "EvidenceRound",
    "EvidenceTuning",
    "Laplace",
    "LaplaceMixture",
    "Prediction",
    "TunedPosterior",
    "fit_laplace",
    "load_laplace",
    "maximize_evidence",
    "save_laplace",
]
