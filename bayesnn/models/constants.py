"""A model with further outputs that are weights themselves: what a likelihood infers beside the network."""

from collections.abc import Sequence

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.models.model import Model, Pullback, WeightBlock


class WithConstants:
    """The outputs of a model and, after them, constants: one more weight and one more output each.

    Parameters
    ----------
    model : Model
        The network.
    names : sequence of str
        Of the constants.
    """

    def __init__(self, model: Model, names: Sequence[str]) -> None:
        self.model = model
        #: Where searches begin (c,).
        self.start = np.zeros(len(names))
        layer = max(block.layer for block in model.weight_blocks) + 1
        constants = tuple(WeightBlock(name, (), (), layer) for name in names)
        self.weight_blocks: tuple[WeightBlock, ...] = (*model.weight_blocks, *constants)
        self.weight_names: tuple[str, ...] = (*model.weight_names, *names)
        self.n_constants = len(names)
        self.runs_in_threads = bool(getattr(model, "runs_in_threads", False))

    def __repr__(self) -> str:
        return repr(self.model)

    @property
    def n_weights(self) -> int:
        """Number of weights and constants, k."""
        return self.model.n_weights + self.n_constants

    @property
    def n_outputs(self) -> int:
        """Number of outputs and constants."""
        return self.model.n_outputs + self.n_constants

    def check_inputs(self, x: ArrayLike) -> FloatArray:
        """Return `x` as the model takes it."""
        return self.model.check_inputs(x)

    def initial_weights(self, rng: np.random.Generator) -> FloatArray:
        """Draw the model's weights; constants begin at `start`."""
        return np.concatenate([self.model.initial_weights(rng), self.start])

    def predict(self, weights: FloatArray, x: FloatArray) -> FloatArray:
        """Return outputs (..., n, out + c) at weights (..., k)."""
        inner, constants = self._split(weights)
        return _joined(self.model.predict(inner, x), constants)

    def vjp(self, weights: FloatArray, x: FloatArray) -> tuple[FloatArray, Pullback]:
        """Return outputs (..., n, out + c) and the map from cotangents to (..., k)."""
        inner, constants = self._split(weights)
        outputs, pull_back = self.model.vjp(inner, x)

        def pullback(cotangent: FloatArray) -> FloatArray:
            of_model, of_constants = np.split(cotangent, [self.model.n_outputs], axis=-1)
            return np.concatenate([pull_back(of_model), of_constants.sum(axis=-2)], axis=-1)

        return _joined(outputs, constants), pullback

    def jacobian(self, weights: FloatArray, x: FloatArray) -> FloatArray:
        """`B` (n, out + c, k)."""
        return self.linearize(weights, x)[1]

    def linearize(self, weights: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return outputs (..., n, out + c) and `B` (..., n, out + c, k)."""
        inner, constants = self._split(weights)
        outputs, jacobian = self.model.linearize(inner, x)
        whole = np.zeros((*outputs.shape[:-1], self.n_outputs, self.n_weights))
        whole[..., : self.model.n_outputs, : self.model.n_weights] = jacobian
        for i in range(self.n_constants):
            whole[..., self.model.n_outputs + i, self.model.n_weights + i] = 1.0
        return _joined(outputs, constants), whole

    def hessian_product(
        self, weights: FloatArray, x: FloatArray, cotangent: FloatArray, directions: FloatArray
    ) -> FloatArray:
        """Second-order term times `directions` (m, k): constants have none."""
        inner, _ = self._split(weights)
        result = np.zeros_like(directions)
        k, out = self.model.n_weights, self.model.n_outputs
        result[:, :k] = self.model.hessian_product(inner, x, cotangent[:, :out], directions[:, :k])
        return result

    def _split(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        return weights[..., : self.model.n_weights], weights[..., self.model.n_weights :]


def _joined(outputs: FloatArray, constants: FloatArray) -> FloatArray:
    columns = np.broadcast_to(constants[..., None, :], (*outputs.shape[:-1], constants.shape[-1]))
    return np.concatenate([outputs, columns], axis=-1)
