"""Gaussian against draws: how far apart, and whether it matters."""

from bayesnn.agreement.agreement import Agreement, Informed, Mardia
from bayesnn.agreement.compare import compare
from bayesnn.agreement.coordinates import Coordinates
from bayesnn.agreement.distances import Distances
from bayesnn.agreement.findings import Finding
from bayesnn.agreement.importance import ImportanceEvidence, importance_evidence, independence_acceptance
from bayesnn.agreement.leading_order import LeadingOrder, leading_order
from bayesnn.agreement.learning_coefficient import LearningCoefficient, learning_coefficient, learning_curve
from bayesnn.agreement.mirrored import MirroredMoments
from bayesnn.agreement.null import Distance
from bayesnn.agreement.verdict import Verdict, judge

__all__ = [
    "Agreement",
    "Coordinates",
    "Distance",
    "Distances",
    "Finding",
    "ImportanceEvidence",
    "Informed",
    "LeadingOrder",
    "LearningCoefficient",
    "Mardia",
    "MirroredMoments",
    "Verdict",
    "compare",
    "importance_evidence",
    "independence_acceptance",
    "judge",
    "leading_order",
    "learning_coefficient",
    "learning_curve",
]
