"""Products of matrices as models: linear networks, plain and residual."""

from collections.abc import Sequence
from functools import reduce

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, integer_at_least
from bayesnn.errors import ArgumentError
from bayesnn.models.mlp import MLP
from bayesnn.models.model import Pullback, WeightBlock, block_slices

# Standard deviation of the entries of a residual layer at the start, times the number of layers: near the identity.
RESIDUAL_START = 0.1


class DeepLinear:
    r"""A linear network: no activation, no biases, and its landscape nevertheless not convex.

    Plain, :math:`f(x) = x W_1 \cdots W_l`; residual, :math:`f(x) = x (I + A_1) \cdots (I + A_l)`, as rows times
    matrices: each block is the transpose of the matrix of the same name in the papers, where columns are multiplied
    from the left. The flat weight vector is that of :class:`bayesnn.MLP` without biases, of which this is a special
    case: the derivatives are its own, taken at the weights plus the identities.

    Parameters
    ----------
    widths : sequence of int
        From input to output, at least two; all equal if `residual`.
    residual : bool
        Whether every layer is the identity plus its matrix.

    Raises
    ------
    ArgumentError
        If `widths` are not at least two positive integers, or differ in a residual network.

    References
    ----------
    Kawaguchi (2016), Deep learning without poor local minima; Hardt & Ma (2016), Identity matters in deep learning,
    arXiv:1611.04231.

    Examples
    --------
    >>> net = DeepLinear((2, 3, 1))
    >>> net.n_weights, net.weight_names[0], net.weight_names[-1]
    (9, 'W1[0,0]', 'W2[2,0]')
    >>> DeepLinear((2, 2, 2), residual=True).matrix(np.zeros(8))
    array([[1., 0.],
           [0., 1.]])
    """

    #: Blocks of rows may be evaluated in several threads at once.
    runs_in_threads = True

    def __init__(self, widths: Sequence[int], residual: bool = False) -> None:
        wants = "a sequence of at least two widths such as (3, 2, 3), from input to output"
        if isinstance(widths, str) or not isinstance(widths, Sequence) or len(widths) < 2:  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
            raise ArgumentError("widths", describe(widths), wants)
        if not isinstance(residual, bool):  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
            raise ArgumentError("residual", describe(residual), "True or False")
        #: Widths from input to output.
        self.widths: tuple[int, ...] = tuple(integer_at_least("widths", width, 1) for width in widths)
        if residual and len(set(self.widths)) > 1:
            raise ArgumentError("widths", describe(self.widths), "equal widths: the identity is added to every layer")
        self.residual = residual
        #: The network without identities, of which this is the same function at shifted weights.
        self.mlp = MLP(self.widths[0], self.widths[1:-1], self.widths[-1], activation="identity", bias=False)
        letter = "A" if residual else "W"
        #: The matrices ``W1, W2, ...``, or ``A1, A2, ...`` of a residual network.
        self.weight_blocks: tuple[WeightBlock, ...] = tuple(
            WeightBlock(f"{letter}{block.layer + 1}", block.shape, block.dims, block.layer)
            for block in self.mlp.weight_blocks
        )
        #: One name per weight.
        self.weight_names: tuple[str, ...] = tuple(
            name for block in self.weight_blocks for name in block.weight_names()
        )
        #: What is added to the weights (k,): the identities of a residual network.
        self.offset: FloatArray = np.zeros(self.n_weights)
        if residual:
            self.offset = np.tile(np.eye(self.widths[0]).ravel(), self.n_layers)
        self.offset.flags.writeable = False

    def __repr__(self) -> str:
        return f"DeepLinear({self.widths}, residual={self.residual})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeepLinear) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    @property
    def n_layers(self) -> int:
        """Number of matrices, l."""
        return len(self.widths) - 1

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return self.widths[-1]

    @property
    def n_weights(self) -> int:
        """Number of weights, k."""
        return self.mlp.n_weights

    def check_inputs(self, x: ArrayLike) -> FloatArray:
        """Return `x` as an (n, inputs) array, or raise ArgumentError."""
        return self.mlp.check_inputs(x)

    def initial_weights(self, rng: np.random.Generator) -> FloatArray:
        """Draw weights (k,): of variance 1/fan-in, or, of a residual network, near zero, where it is the identity."""
        if self.residual:
            return RESIDUAL_START / self.n_layers * rng.standard_normal(self.n_weights)
        return self.mlp.initial_weights(rng)

    def layers(self, weights: FloatArray) -> list[FloatArray]:
        """Cut weights (..., k) into matrices (..., in, out), without the identities."""
        w = np.asarray(weights, dtype=np.float64)
        if w.shape[-1:] != (self.n_weights,):
            raise ArgumentError("weights", f"shape {w.shape}", f"last axis of {self.n_weights}")
        return [
            w[..., place].reshape(*w.shape[:-1], *block.shape)
            for block, place in zip(self.weight_blocks, block_slices(self.weight_blocks), strict=True)
        ]

    def flat(self, layers: Sequence[ArrayLike]) -> FloatArray:
        """Join matrices (in, out), without the identities, to weights (k,).

        Raises
        ------
        ArgumentError
            If there are more or fewer than layers, or one has another shape.
        """
        shapes = [np.shape(layer) for layer in layers]
        wanted = [block.shape for block in self.weight_blocks]
        if shapes != wanted:
            raise ArgumentError("layers", f"shapes {shapes}", f"shapes {wanted}, which chain")
        return np.concatenate([np.asarray(layer, dtype=np.float64).ravel() for layer in layers])

    def matrix(self, weights: FloatArray) -> FloatArray:
        """Return the product of all layers (..., in, out) at weights (..., k): ``f = x @ matrix``."""
        return reduce(np.matmul, self.layers(self._shifted(weights)))

    def predict(self, weights: FloatArray, x: FloatArray) -> FloatArray:
        """Return outputs (..., n, out) at `weights` (..., k)."""
        return self.mlp.predict(self._shifted(weights), x)

    def vjp(self, weights: FloatArray, x: FloatArray) -> tuple[FloatArray, Pullback]:
        """Return outputs (..., n, out), and the map from cotangents (..., n, out) to (..., k), B'c."""
        return self.mlp.vjp(self._shifted(weights), x)

    def jacobian(self, weights: FloatArray, x: FloatArray) -> FloatArray:
        """`B` (n, out, k) at `weights` (k,)."""
        return self.mlp.jacobian(self._shifted(weights), x)

    def linearize(self, weights: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return outputs (..., n, out) and `B` (..., n, out, k) at `weights` (..., k)."""
        return self.mlp.linearize(self._shifted(weights), x)

    def hessian_product(
        self, weights: FloatArray, x: FloatArray, cotangent: FloatArray, directions: FloatArray
    ) -> FloatArray:
        """Second-order term: Hessian of ``sum(cotangent * f)`` at `weights` (k,) times `directions` (m, k)."""
        return self.mlp.hessian_product(self._shifted(weights), x, cotangent, directions)

    def _shifted(self, weights: FloatArray) -> FloatArray:
        return weights + self.offset if self.residual else weights
