"""What theory says of linearized networks: conditions, linear residual and recurrent networks."""

from bayesnn.landscape.acquiescence import AcquiescentSet
from bayesnn.landscape.along_path import AlongPath, along_path
from bayesnn.landscape.bayes import LinearNetworkBayes, bayes_of_linear_network, n_free_directions
from bayesnn.landscape.conditions import Optimality, Point, optimality, polyak_of_jacobian
from bayesnn.landscape.critical_points import CriticalPoint, CriticalPoints, Escape, Way, critical_points, escape
from bayesnn.landscape.descent_path import DescentPath, Ending, descend
from bayesnn.landscape.extension import Extension, acquiescent_extension, extended, extension
from bayesnn.landscape.idealised_risk import IdealisedRisk
from bayesnn.landscape.learning_coefficients import ExactLearningCoefficient, learning_coefficient_exact
from bayesnn.landscape.loss import LeastSquares, Loss, NegativeLogDensity, loss_of
from bayesnn.landscape.over_set import WorstFound, polyak_over, weak_quasi_convexity_over
from bayesnn.landscape.population import PopulationRisk
from bayesnn.landscape.quasi_convexity import QuasiConvexity, quasi_convexity
from bayesnn.landscape.regions import Ball, Box, Region, SpectralBall
from bayesnn.landscape.residual import (
    ResidualDescent,
    descend_residual,
    guaranteed_polyak,
    largest_norm,
    printed_polyak,
)
from bayesnn.landscape.small_optimum import SmallOptimum, small_optimum
from bayesnn.landscape.system_descent import SystemDescent, descend_system, stochastic_descent

__all__ = [
    "AcquiescentSet",
    "AlongPath",
    "Ball",
    "Box",
    "CriticalPoint",
    "CriticalPoints",
    "DescentPath",
    "Ending",
    "Escape",
    "ExactLearningCoefficient",
    "Extension",
    "IdealisedRisk",
    "LeastSquares",
    "LinearNetworkBayes",
    "Loss",
    "NegativeLogDensity",
    "Optimality",
    "Point",
    "PopulationRisk",
    "QuasiConvexity",
    "Region",
    "ResidualDescent",
    "SmallOptimum",
    "SpectralBall",
    "SystemDescent",
    "Way",
    "WorstFound",
    "acquiescent_extension",
    "along_path",
    "bayes_of_linear_network",
    "critical_points",
    "descend",
    "descend_residual",
    "descend_system",
    "escape",
    "extended",
    "extension",
    "guaranteed_polyak",
    "largest_norm",
    "learning_coefficient_exact",
    "loss_of",
    "n_free_directions",
    "optimality",
    "polyak_of_jacobian",
    "polyak_over",
    "printed_polyak",
    "quasi_convexity",
    "small_optimum",
    "stochastic_descent",
    "weak_quasi_convexity_over",
]
