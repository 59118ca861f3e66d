"""Bayesian neural networks from the linearization up: certified optima, Laplace posteriors, preconditioned MCMC."""

from bayesnn import datasets
from bayesnn.agreement import (
    Agreement,
    LeadingOrder,
    LearningCoefficient,
    Verdict,
    compare,
    leading_order,
    learning_coefficient,
)
from bayesnn.diagnostics import (
    LeaveOneOut,
    MixturePrediction,
    ModeWeights,
    Scores,
    add_predictions,
    mode_weights,
    predict_over_modes,
)
from bayesnn.errors import ArgumentError, BayesnnError
from bayesnn.growth import Growth, Subsamples, Teacher, Twin, data_growth
from bayesnn.laplace import (
    Laplace,
    LaplaceMixture,
    Prediction,
    TunedPosterior,
    fit_laplace,
    load_laplace,
    maximize_evidence,
    save_laplace,
)
from bayesnn.models import MLP, FunctionModel, LinearSystem, Model, canonicalize
from bayesnn.optimum import (
    Certificate,
    LinearizedPath,
    Optimum,
    OptimumError,
    Status,
    certify,
    find_optimum,
    iterate_linearized,
)
from bayesnn.posterior import (
    Bernoulli,
    Categorical,
    FlatPrior,
    Gaussian,
    HeteroscedasticGaussian,
    LogDensity,
    NormalPrior,
    Poisson,
    Posterior,
    StudentT,
)
from bayesnn.report import write_report
from bayesnn.resumption import resume
from bayesnn.sampling import moves, sample
from bayesnn.tree import load_tree, save_tree
from bayesnn.version import __version__

__all__ = [
    "MLP",
    "Agreement",
    "ArgumentError",
    "BayesnnError",
    "Bernoulli",
    "Categorical",
    "Certificate",
    "FlatPrior",
    "FunctionModel",
    "Gaussian",
    "Growth",
    "HeteroscedasticGaussian",
    "Laplace",
    "LaplaceMixture",
    "LeadingOrder",
    "LearningCoefficient",
    "LeaveOneOut",
    "LinearSystem",
    "LinearizedPath",
    "LogDensity",
    "MixturePrediction",
    "ModeWeights",
    "Model",
    "NormalPrior",
    "Optimum",
    "OptimumError",
    "Poisson",
    "Posterior",
    "Prediction",
    "Scores",
    "Status",
    "StudentT",
    "Subsamples",
    "Teacher",
    "TunedPosterior",
    "Twin",
    "Verdict",
    "__version__",
    "add_predictions",
    "canonicalize",
    "certify",
    "compare",
    "data_growth",
    "datasets",
    "find_optimum",
    "fit_laplace",
    "iterate_linearized",
    "leading_order",
    "learning_coefficient",
    "load_laplace",
    "load_tree",
    "maximize_evidence",
    "mode_weights",
    "moves",
    "predict_over_modes",
    "resume",
    "sample",
    "save_laplace",
    "save_tree",
    "write_report",
]
