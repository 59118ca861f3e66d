"""From the Gaussian to exact draws."""

from bayesnn.sampling import moves
from bayesnn.sampling.adaptation import DualAveraging
from bayesnn.sampling.better_optimum import BetterOptimumWarning, laplace_at_better_optimum
from bayesnn.sampling.chains import Chains
from bayesnn.sampling.early_stopped import early_stopped
from bayesnn.sampling.journey import Journey, journey
from bayesnn.sampling.metric import Metric, metric_from_inverse_mass_matrix
from bayesnn.sampling.path_evidence import PathEvidence, log_evidence
from bayesnn.sampling.sampler import sample
from bayesnn.sampling.starts import start_points

__all__ = [
    "BetterOptimumWarning",
    "Chains",
    "DualAveraging",
    "Journey",
    "Metric",
    "PathEvidence",
    "early_stopped",
    "journey",
    "laplace_at_better_optimum",
    "log_evidence",
    "metric_from_inverse_mass_matrix",
    "moves",
    "sample",
    "start_points",
]
