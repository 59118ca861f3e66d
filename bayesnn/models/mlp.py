"""Multilayer perceptrons with analytic first and second derivatives."""

from collections.abc import Sequence

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, finite_array, integer_at_least
from bayesnn.errors import ArgumentError
from bayesnn.models.activations import Activation, activation_named
from bayesnn.models.layers import Layer, Trace, run_forward, weight_gradient
from bayesnn.models.model import Pullback, WeightBlock, block_slices
from bayesnn.models.second_order import hessian_products, one_layer_hessian

# Elements of the widest layer held at a time: 2**20 doubles are 8 MiB an array.
ELEMENTS_AT_A_TIME = 2**20


class MLP:
    """A fully connected network with a linear output layer.

    ``h = activation(x @ W1 + b1)`` and so on to ``f = h @ WL + bL``. The flat weight vector holds, layer by
    layer, `W` then `b`, each raveled in C order, so ``W1[0,2]`` runs from input 0 to unit 2.

    Parameters
    ----------
    in_features : int
        Number of inputs.
    hidden : sequence of int
        Widths of the hidden layers; empty for a linear model.
    out_features : int
        Number of outputs.
    activation : {"tanh", "relu", "softplus", "sin", "identity"}
        Nonlinearity of the hidden units. The derivative of relu at 0 is taken as 0.
    bias : bool
        Whether every layer has biases.

    Raises
    ------
    ArgumentError
        If a width is not a positive integer, the activation is unknown or `bias` is not a bool.

    Examples
    --------
    >>> net = MLP(2, (3,), 1)
    >>> net.n_weights, net.weight_names[:4], net.weight_names[-1]
    (13, ('W1[0,0]', 'W1[0,1]', 'W1[0,2]', 'W1[1,0]'), 'b2[0]')
    >>> net.predict(np.zeros(13), np.ones((5, 2))).shape
    (5, 1)
    """

    #: Blocks of rows may be evaluated in several threads at once.
    runs_in_threads = True

    def __init__(
        self,
        in_features: int,
        hidden: Sequence[int],
        out_features: int,
        activation: str = "tanh",
        bias: bool = True,
    ) -> None:
        if isinstance(hidden, str) or not isinstance(hidden, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance] -- users pass 16 for (16,)
            raise ArgumentError("hidden", describe(hidden), "a sequence of widths such as (16,)")
        if not isinstance(bias, bool):  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
            raise ArgumentError("bias", describe(bias), "True or False")
        self.in_features = integer_at_least("in_features", in_features, 1)
        self.hidden = tuple(integer_at_least("hidden", width, 1) for width in hidden)
        self.out_features = integer_at_least("out_features", out_features, 1)
        self.activation: Activation = activation_named(activation)
        self.bias = bias
        #: The arrays ``W1, b1, W2, ...`` that make up the weight vector.
        self.weight_blocks: tuple[WeightBlock, ...] = _blocks(self.widths, bias)
        #: One name per weight.
        self.weight_names: tuple[str, ...] = tuple(
            name for block in self.weight_blocks for name in block.weight_names()
        )
        self._slices = block_slices(self.weight_blocks)

    def __repr__(self) -> str:
        return (
            f"MLP({self.in_features}, {self.hidden}, {self.out_features}, "
            f"activation={self.activation.name!r}, bias={self.bias})"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MLP) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths from input to output."""
        return (self.in_features, *self.hidden, self.out_features)

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return self.out_features

    @property
    def n_weights(self) -> int:
        """Number of weights, k."""
        return self._slices[-1].stop

    def check_inputs(self, x: ArrayLike) -> FloatArray:
        """Return `x` as an (n, in_features) array.

        Raises
        ------
        ArgumentError
            If the shape is another, there are no rows, or a value is NaN or infinite.
        """
        wants = f"shape (n, {self.in_features})"
        array = finite_array("x", x, (2,), wants)
        if array.shape[1] != self.in_features or array.shape[0] == 0:
            raise ArgumentError("x", f"shape {array.shape}", f"{wants}, n at least 1")
        return array

    def initial_weights(self, rng: np.random.Generator) -> FloatArray:
        """Draw weights (k,) of variance 1/fan-in, biases standard normal so that units bend at different places."""
        parts = [
            rng.standard_normal(block.size) / (np.sqrt(block.shape[0]) if len(block.shape) == 2 else 1.0)
            for block in self.weight_blocks
        ]
        return np.concatenate(parts)

    def predict(self, weights: FloatArray, x: FloatArray) -> FloatArray:
        """Compute the outputs.

        Parameters
        ----------
        weights : ndarray (..., k)
            One weight vector, or any batch of them.
        x : ndarray (n, in_features)
            Inputs.

        Returns
        -------
        ndarray (..., n, out_features)
        """
        batch = self._batch(weights)
        outputs = np.empty((batch.shape[0], x.shape[0], self.out_features))
        step = max(1, ELEMENTS_AT_A_TIME // (x.shape[0] * max(self.widths)))
        for start in range(0, batch.shape[0], step):
            chains = slice(start, start + step)
            outputs[chains] = self._trace(batch[chains], x).outputs.transpose(0, 2, 1)
        return outputs.reshape(*weights.shape[:-1], *outputs.shape[1:])

    def vjp(self, weights: FloatArray, x: FloatArray) -> tuple[FloatArray, Pullback]:
        """Compute the outputs and the vector-Jacobian product, by back-propagation.

        Parameters
        ----------
        weights : ndarray (..., k)
            One weight vector, or any batch of them.
        x : ndarray (n, in_features)
            Inputs.

        Returns
        -------
        outputs : ndarray (..., n, out_features)
        pullback : callable
            Maps cotangents (..., n, out_features) to ``B.T @ c`` (..., k).
        """
        batch = self._batch(weights)
        trace = self._trace(batch, x)
        outputs = trace.outputs.transpose(0, 2, 1)

        def pullback(cotangent: FloatArray) -> FloatArray:
            delta = cotangent.reshape(batch.shape[0], *cotangent.shape[-2:]).transpose(0, 2, 1)
            gradient = np.empty_like(batch)
            for layer, delta_here in trace.deltas(delta):
                self._put(gradient, layer, weight_gradient(trace.inputs[layer], delta_here), delta_here)
            return gradient.reshape(weights.shape)

        return outputs.reshape(*weights.shape[:-1], *outputs.shape[1:]), pullback

    def squared_vjp(self, weights: FloatArray, x: FloatArray) -> tuple[FloatArray, Pullback]:
        r"""Compute the outputs and the product with the squared entries of `B`, without `B`.

        An entry of `B` is an input of its layer times a delta, so that sums of their squares over the rows are matrix
        products of squares (LeCun, Denker & Solla 1989 do the same for second derivatives).

        Parameters
        ----------
        weights : ndarray (k,)
            Where.
        x : ndarray (n, in_features)
            Inputs.

        Returns
        -------
        outputs : ndarray (n, out_features)
        pull_squares : callable
            Maps `c` (n, out_features) to :math:`\sum_{io} c_{io} B_{io}^2` (k,).
        """
        batch = self._batch(weights)
        trace = self._trace(batch, x)

        def pull_squares(cotangent: FloatArray) -> FloatArray:
            total = np.zeros_like(batch)
            for output in range(self.out_features):
                part, delta = np.empty_like(batch), np.zeros((1, self.out_features, x.shape[0]))
                delta[:, output] = 1.0
                for layer, delta_here in trace.deltas(delta):
                    squares = delta_here**2 * cotangent[:, output]
                    self._put(part, layer, weight_gradient(trace.inputs[layer] ** 2, squares), squares)
                total += part
            return total[0]

        return trace.outputs[0].T, pull_squares

    def jacobian(self, weights: FloatArray, x: FloatArray) -> FloatArray:
        """Compute `B`, the derivative of every output by every weight, by back-propagation.

        Parameters
        ----------
        weights : ndarray (k,)
            Where to linearize.
        x : ndarray (n, in_features)
            Inputs.

        Returns
        -------
        ndarray (n, out_features, k)
        """
        return self.linearize(weights, x)[1]

    def linearize(self, weights: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Compute the outputs and `B` in one sweep.

        Parameters
        ----------
        weights : ndarray (..., k)
            Where to linearize: one weight vector, or any batch of them.
        x : ndarray (n, in_features)
            Inputs.

        Returns
        -------
        outputs : ndarray (..., n, out_features)
        jacobian : ndarray (..., n, out_features, k)
            A view of memory laid out (..., k, n, out_features): filled, and multiplied, along the long axis.
        """
        batch = self._batch(weights)
        trace = self._trace(batch, x)
        chains, n_rows = batch.shape[0], x.shape[0]
        columns = np.empty((chains, self.n_weights, n_rows, self.out_features))
        for output in range(self.out_features):
            delta = np.zeros((chains, self.out_features, n_rows))
            delta[:, output] = 1.0
            for layer, delta_here in trace.deltas(delta):
                inputs = trace.inputs[layer]
                place = self._slices[layer * (2 if self.bias else 1)]
                shape = (chains, inputs.shape[-2], delta_here.shape[1], n_rows)
                target = columns[:, place, :, output].reshape(shape, copy=False)
                np.multiply(inputs[..., :, None, :], delta_here[:, None], out=target)
                if self.bias:
                    columns[:, self._slices[2 * layer + 1], :, output] = delta_here
        outputs = trace.outputs.transpose(0, 2, 1)
        jacobian = columns.transpose(0, 2, 3, 1)
        leading = weights.shape[:-1]
        return outputs.reshape(*leading, *outputs.shape[1:]), jacobian.reshape(*leading, *jacobian.shape[1:])

    def hessian_product(
        self, weights: FloatArray, x: FloatArray, cotangent: FloatArray, directions: FloatArray
    ) -> FloatArray:
        r"""Multiply the Hessian of :math:`\sum_{io} c_{io} f_{io}(w)` with directions, forward over reverse.

        Parameters
        ----------
        weights : ndarray (k,)
            Where to differentiate.
        x : ndarray (n, in_features)
            Inputs.
        cotangent : ndarray (n, out_features)
            The weights `c` of the outputs.
        directions : ndarray (m, k)
            Directions; ``numpy.eye(k)`` gives the whole matrix.

        Returns
        -------
        ndarray (m, k)

        References
        ----------
        Pearlmutter (1994), Fast exact multiplication by the Hessian, Neural Computation 6.
        """
        batch = self._batch(weights)
        if len(self.hidden) == 1:
            inputs = self.in_features + self.bias
            step = max(1, ELEMENTS_AT_A_TIME // max(inputs * self.hidden[0], inputs * (inputs + 1) // 2))
        else:
            step = max(1, ELEMENTS_AT_A_TIME // (directions.shape[0] * max(self.widths)))
        if len(self.hidden) == 1:
            whole = np.zeros((self.n_weights, self.n_weights))
            for start in range(0, x.shape[0], step):
                rows = slice(start, start + step)
                whole += one_layer_hessian(self._trace(batch, x[rows]), cotangent[rows])
            return directions @ whole
        result = np.zeros_like(directions)
        for start in range(0, x.shape[0], step):
            rows = slice(start, start + step)
            trace = self._trace(batch, x[rows])
            part = np.empty_like(directions)
            for layer, weight_part, delta in hessian_products(trace, self._layers(directions), cotangent[rows]):
                self._put(part, layer, weight_part, delta)
            result += part
        return result

    def _batch(self, weights: FloatArray) -> FloatArray:
        if weights.shape[-1:] != (self.n_weights,):
            raise ArgumentError("weights", f"shape {weights.shape}", f"last axis of {self.n_weights}")
        return np.asarray(weights, dtype=np.float64).reshape(-1, self.n_weights)

    def _layers(self, batch: FloatArray) -> list[Layer]:
        layers: list[Layer] = []
        stride = 2 if self.bias else 1
        for index, (fan_in, fan_out) in enumerate(zip(self.widths[:-1], self.widths[1:], strict=True)):
            weight = batch[:, self._slices[stride * index]].reshape(-1, fan_in, fan_out)
            bias = batch[:, self._slices[stride * index + 1], None] if self.bias else None
            layers.append(Layer(weight, bias))
        return layers

    def _trace(self, batch: FloatArray, x: FloatArray) -> Trace:
        return run_forward(self._layers(batch), self.activation, np.ascontiguousarray(x.T))

    def _put(self, target: FloatArray, layer: int, weight_part: FloatArray, delta: FloatArray) -> None:
        """Write one layer's weight and bias derivatives into the flat `target` (c, k)."""
        stride = 2 if self.bias else 1
        place = self._slices[stride * layer]
        target[:, place] = weight_part.reshape(weight_part.shape[0], -1)
        if self.bias:
            target[:, self._slices[stride * layer + 1]] = delta.sum(axis=2)


def _blocks(widths: tuple[int, ...], bias: bool) -> tuple[WeightBlock, ...]:
    """Name the arrays of a network of these widths, layer by layer, W then b."""
    sides = ("input", *(f"hidden{i + 1}" for i in range(len(widths) - 2)), "output")
    blocks: list[WeightBlock] = []
    for layer in range(len(widths) - 1):
        shape, dims = widths[layer : layer + 2], sides[layer : layer + 2]
        blocks.append(WeightBlock(f"W{layer + 1}", shape, dims, layer))
        if bias:
            blocks.append(WeightBlock(f"b{layer + 1}", shape[1:], dims[1:], layer))
    return tuple(blocks)
