"""Layers of a perceptron for a batch of chains, and what a forward pass leaves for derivatives.

Arrays are feature-major, (chains, width, n): the long axis is contiguous, the activation runs over it in one sweep, and
each layer is one batched matrix product.
"""

from dataclasses import dataclass

from bayesnn.arrays import FloatArray
from bayesnn.models.activations import Activation


@dataclass(frozen=True)
class Layer:
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
class Trace:
    """What the forward pass leaves: inputs of each layer, and sums before activation."""

    layers: list[Layer]
    activation: Activation
    inputs: list[FloatArray]
    sums: list[FloatArray]

    @property
    def outputs(self) -> FloatArray:
        """Outputs (c, out, n)."""
        return self.sums[-1]

    def slope(self, layer: int) -> FloatArray:
        """First derivative of the activation after `layer`."""
        return self.activation.slope(self.sums[layer], self.inputs[layer + 1])

    def bend(self, layer: int) -> FloatArray:
        """Second derivative of the activation after `layer`."""
        return self.activation.bend(self.sums[layer], self.inputs[layer + 1])

    def deltas(self, delta: FloatArray) -> list[tuple[int, FloatArray]]:
        """Propagate `delta` (c, out, n) back; one (c, width, n) per layer, the last layer first."""
        deltas = [(len(self.layers) - 1, delta)]
        for layer in reversed(range(1, len(self.layers))):
            delta = self.layers[layer].weight @ delta
            delta *= self.slope(layer - 1)
            deltas.append((layer - 1, delta))
        return deltas


def run_forward(layers: list[Layer], activation: Activation, columns: FloatArray) -> Trace:
    """Run `columns` (in, n) through the layers."""
    inputs, sums = [columns], [layers[0].forward(columns)]
    for layer in layers[1:]:
        inputs.append(activation.value(sums[-1]))
        sums.append(layer.forward(inputs[-1]))
    return Trace(layers, activation, inputs, sums)


def weight_gradient(inputs: FloatArray, delta: FloatArray) -> FloatArray:
    """Sum over rows of input times delta: (c, in, out)."""
    if inputs.ndim == 2 and delta.shape[0] > 1:
        chains, width, rows = delta.shape
        flat = delta.reshape(chains * width, rows) @ inputs.T
        return flat.reshape(chains, width, -1).transpose(0, 2, 1)
    return inputs @ delta.transpose(0, 2, 1)
