"""Multilayer perceptrons with analytic first and second derivatives.

Inside, arrays are feature-major, (chains, width, n): the long axis is contiguous, the activation runs over
it in one sweep, and each layer is one batched matrix product (measured 1.9 times the row-major form).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, finite_array, integer_at_least
from bayesnn.errors import ArgumentError
from bayesnn.models.activations import Activation, activation_named
from bayesnn.models.model import Pullback, WeightBlock, block_slices

# Elements of the widest layer held at a time: 2**20 doubles are 8 MiB an array.
ELEMENTS_AT_A_TIME = 2**20


@dataclass(frozen=True)
class _Layer:
    """One layer's weights for a batch of chains: `weight` (c, in, out), `bias` (c, out, 1) or None."""

    weight: FloatArray
    bias: FloatArray | None

    def forward(self, inputs: FloatArray) -> FloatArray:
        """Affine map of `inputs` (c, in, n) or (in, n) to (c, out, n)."""
        chains, fan_in, fan_out = self.weight.shape
        transposed = self.weight.transpose(0, 2, 1)
        if inputs.ndim == 2:  # all chains see the same inputs: one large product instead of c small ones
            result = (transposed.reshape(chains * fan_out, fan_in) @ inputs).reshape(chains, fan_out, -1)
        else:
            result = transposed @ inputs
        if self.bias is not None:
            result += self.bias
        return result


@dataclass(frozen=True)
class _Trace:
    """What the forward pass leaves for derivatives: inputs of each layer, and sums before activation."""

    inputs: list[FloatArray]
    sums: list[FloatArray]

    @property
    def outputs(self) -> FloatArray:
        return self.sums[-1]


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
        columns = np.ascontiguousarray(x.T)
        outputs = np.empty((batch.shape[0], x.shape[0], self.out_features))
        step = max(1, ELEMENTS_AT_A_TIME // (x.shape[0] * max(self.widths)))
        for start in range(0, batch.shape[0], step):
            chains = slice(start, start + step)
            outputs[chains] = self._trace(self._layers(batch[chains]), columns).outputs.transpose(0, 2, 1)
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
        layers = self._layers(batch)
        trace = self._trace(layers, np.ascontiguousarray(x.T))
        outputs = trace.outputs.transpose(0, 2, 1)

        def pullback(cotangent: FloatArray) -> FloatArray:
            delta = cotangent.reshape(batch.shape[0], *cotangent.shape[-2:]).transpose(0, 2, 1)
            gradient = np.empty_like(batch)
            for layer, delta_here in self._deltas(layers, trace, delta):
                self._put(gradient, layer, self._outer(trace.inputs[layer], delta_here), delta_here)
            return gradient.reshape(weights.shape)

        return outputs.reshape(*weights.shape[:-1], *outputs.shape[1:]), pullback

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
        weights : ndarray (k,)
            Where to linearize.
        x : ndarray (n, in_features)
            Inputs.

        Returns
        -------
        outputs : ndarray (n, out_features)
        jacobian : ndarray (n, out_features, k)
        """
        layers = self._layers(self._batch(weights))
        trace = self._trace(layers, np.ascontiguousarray(x.T))
        jacobian = np.empty((x.shape[0], self.out_features, self.n_weights))
        for output in range(self.out_features):
            delta = np.zeros((1, self.out_features, x.shape[0]))
            delta[:, output] = 1.0
            for layer, delta_here in self._deltas(layers, trace, delta):
                rows = delta_here[0].T
                inputs = trace.inputs[layer].reshape(-1, x.shape[0]).T
                place = self._slices[layer * (2 if self.bias else 1)]
                target = jacobian[:, output, place].reshape(*inputs.shape, rows.shape[1], copy=False)
                np.multiply(inputs[:, :, None], rows[:, None, :], out=target)
                if self.bias:
                    jacobian[:, output, self._slices[2 * layer + 1]] = rows
        return trace.outputs[0].T, jacobian

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
        layers = self._layers(self._batch(weights))
        if len(self.hidden) == 1:
            step = max(1, ELEMENTS_AT_A_TIME // (self.in_features * self.hidden[0]))
        else:
            step = max(1, ELEMENTS_AT_A_TIME // (directions.shape[0] * max(self.widths)))
        result = np.zeros_like(directions)
        for start in range(0, x.shape[0], step):
            rows = slice(start, start + step)
            if len(self.hidden) == 1:
                result += directions @ self._one_layer_hessian_rows(layers, x[rows], cotangent[rows])
            else:
                result += self._hessian_product_rows(layers, x[rows], cotangent[rows], directions)
        return result

    def _one_layer_hessian_rows(self, layers: list[_Layer], x: FloatArray, cotangent: FloatArray) -> FloatArray:
        """Return the whole second-order term of one hidden layer, where only weights of the same unit meet."""
        trace = self._trace(layers, np.ascontiguousarray(x.T))
        inputs = np.vstack([x.T, np.ones(len(x))]) if self.bias else np.ascontiguousarray(x.T)
        sums, units = trace.sums[0][0], trace.inputs[1][0]
        width, fan_in = self.hidden[0], self.in_features
        bend = self.activation.bend(sums, units) * (layers[1].weight[0] @ cotangent.T)
        within = (inputs * bend[:, None]) @ inputs.T  # (unit, in, in)
        slope = self.activation.slope(sums, units)
        across = (inputs * slope[:, None]) @ cotangent  # (unit, in, out)
        incoming = np.arange(fan_in * width).reshape(fan_in, width)
        if self.bias:
            incoming = np.vstack([incoming, fan_in * width + np.arange(width)])
        outgoing = incoming.size + np.arange(width * self.out_features).reshape(width, self.out_features)
        hessian = np.zeros((self.n_weights, self.n_weights))
        rows = incoming.T[:, :, None]
        hessian[rows, incoming.T[:, None, :]] = within
        hessian[rows, outgoing[:, None, :]] = across
        hessian[outgoing[:, None, :], rows] = across
        return hessian

    def _hessian_product_rows(
        self, layers: list[_Layer], x: FloatArray, cotangent: FloatArray, directions: FloatArray
    ) -> FloatArray:
        trace = self._trace(layers, np.ascontiguousarray(x.T))
        moves = self._layers(directions)
        tangents: list[FloatArray] = []  # derivative of each layer's inputs along the directions; inputs x stay
        tangent: FloatArray | None = None
        sum_tangents: list[FloatArray] = []
        for layer, (here, move) in enumerate(zip(layers, moves, strict=True)):
            change = move.forward(trace.inputs[layer])
            if tangent is not None:
                change += here.weight.transpose(0, 2, 1) @ tangent
                tangents.append(tangent)
            sum_tangents.append(change)
            if layer < len(layers) - 1:
                tangent = self._slope(trace, layer) * change
        result = np.empty_like(directions)
        delta = np.ascontiguousarray(cotangent.T)[None]
        delta_tangent = np.zeros((directions.shape[0], *delta.shape[1:]))
        for layer in reversed(range(len(layers))):
            weight_part = self._outer(trace.inputs[layer], delta_tangent)
            if layer:
                weight_part += self._outer(tangents[layer - 1], delta)
            self._put(result, layer, weight_part, delta_tangent)
            if layer:
                back = layers[layer].weight @ delta
                below = layer - 1
                bend = self.activation.bend(trace.sums[below], trace.inputs[layer])
                delta_tangent = (
                    self._slope(trace, below) * (layers[layer].weight @ delta_tangent + moves[layer].weight @ delta)
                    + (bend * back) * sum_tangents[below]
                )
                delta = self._slope(trace, below) * back
        return result

    def _batch(self, weights: FloatArray) -> FloatArray:
        if weights.shape[-1:] != (self.n_weights,):
            raise ArgumentError("weights", f"shape {weights.shape}", f"last axis of {self.n_weights}")
        return weights.reshape(-1, self.n_weights)

    def _layers(self, batch: FloatArray) -> list[_Layer]:
        layers: list[_Layer] = []
        stride = 2 if self.bias else 1
        for index, (fan_in, fan_out) in enumerate(zip(self.widths[:-1], self.widths[1:], strict=True)):
            weight = batch[:, self._slices[stride * index]].reshape(-1, fan_in, fan_out)
            bias = batch[:, self._slices[stride * index + 1], None] if self.bias else None
            layers.append(_Layer(weight, bias))
        return layers

    def _trace(self, layers: list[_Layer], columns: FloatArray) -> _Trace:
        inputs, sums = [columns], [layers[0].forward(columns)]
        for layer in layers[1:]:
            inputs.append(self.activation.value(sums[-1]))
            sums.append(layer.forward(inputs[-1]))
        return _Trace(inputs, sums)

    def _slope(self, trace: _Trace, layer: int) -> FloatArray:
        return self.activation.slope(trace.sums[layer], trace.inputs[layer + 1])

    def _deltas(self, layers: list[_Layer], trace: _Trace, delta: FloatArray) -> list[tuple[int, FloatArray]]:
        """Propagate `delta` (c, out, n) back; one (c, width, n) per layer, the last layer first."""
        deltas = [(len(layers) - 1, delta)]
        for layer in reversed(range(1, len(layers))):
            delta = layers[layer].weight @ delta
            delta *= self._slope(trace, layer - 1)
            deltas.append((layer - 1, delta))
        return deltas

    @staticmethod
    def _outer(inputs: FloatArray, delta: FloatArray) -> FloatArray:
        """Sum over rows of input times delta: (c, in, out)."""
        if inputs.ndim == 2 and delta.shape[0] > 1:
            chains, width, rows = delta.shape
            flat = delta.reshape(chains * width, rows) @ inputs.T
            return flat.reshape(chains, width, -1).transpose(0, 2, 1)
        return inputs @ delta.transpose(0, 2, 1)

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
