"""Functions of weights and inputs, with their derivatives."""

from bayesnn.models.activations import ACTIVATIONS, Activation
from bayesnn.models.coinciding import log_coinciding
from bayesnn.models.constants import WithConstants
from bayesnn.models.deep_linear import DeepLinear
from bayesnn.models.function import FunctionModel
from bayesnn.models.linear_system import LinearSystem
from bayesnn.models.mlp import MLP
from bayesnn.models.model import Model, Pullback, WeightBlock, block_slices
from bayesnn.models.parameters import Parameters
from bayesnn.models.scaling import balanced
from bayesnn.models.standardised import StandardWeights
from bayesnn.models.state_space import StateSpace, companion, filtered, windows
from bayesnn.models.symmetry import (
    Symmetries,
    canonicalize,
    log_symmetry_order,
    nearest_image,
    nearest_images,
    random_images,
)

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "Activation",
    "DeepLinear",
    "FunctionModel",
    "LinearSystem",
    "Model",
    "Parameters",
    "Pullback",
    "StandardWeights",
    "StateSpace",
    "Symmetries",
    "WeightBlock",
    "WithConstants",
    "balanced",
    "block_slices",
    "canonicalize",
    "companion",
    "filtered",
    "log_coinciding",
    "log_symmetry_order",
    "nearest_image",
    "nearest_images",
    "random_images",
    "windows",
]
