"""Structures a Laplace precision may have."""

from bayesnn.laplace.structures.block_diagonal import BlockDiagonal, layer_slices
from bayesnn.laplace.structures.diagonal import Diagonal
from bayesnn.laplace.structures.dual import dual
from bayesnn.laplace.structures.full import Full
from bayesnn.laplace.structures.last_layer import LastLayer
from bayesnn.laplace.structures.low_rank import LowRank, low_rank
from bayesnn.laplace.structures.structure import Structure

__all__ = ["BlockDiagonal", "Diagonal", "Full", "LastLayer", "LowRank", "Structure", "dual", "layer_slices", "low_rank"]
