"""Parameters by themselves: the model of a density without a network."""

from collections.abc import Sequence

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.errors import ArgumentError
from bayesnn.models.function import checked_names
from bayesnn.models.model import Pullback, WeightBlock


class Parameters:
    """A model whose outputs are its weights, in one row, whatever the inputs.

    Parameters
    ----------
    names : sequence of str
        One per parameter.
    centre : ndarray (k,), optional
        Around which searches begin; the origin otherwise.
    """

    def __init__(self, names: Sequence[str], centre: FloatArray | None = None) -> None:
        self.weight_names: tuple[str, ...] = checked_names("names", names)
        self.weight_blocks: tuple[WeightBlock, ...] = tuple(WeightBlock(name, (), (), 0) for name in self.weight_names)
        self.centre = np.zeros(self.n_weights) if centre is None else centre
        if self.centre.shape != (self.n_weights,):
            raise ArgumentError("start", f"shape {self.centre.shape}", f"shape ({self.n_weights},)")

    def __repr__(self) -> str:
        return f"Parameters({list(self.weight_names)})"

    @property
    def n_weights(self) -> int:
        """Number of parameters, k."""
        return len(self.weight_names)

    @property
    def n_outputs(self) -> int:
        """As many."""
        return self.n_weights

    def check_inputs(self, x: ArrayLike) -> FloatArray:
        """Refuse: there are no inputs."""
        raise ArgumentError("x", "inputs for a LogDensity, which predicts nothing", "a Posterior")

    def initial_weights(self, rng: np.random.Generator) -> FloatArray:
        """Draw a start (k,), normal around the centre."""
        return self.centre + rng.standard_normal(self.n_weights)

    def predict(self, weights: FloatArray, x: FloatArray) -> FloatArray:
        """Return the parameters (..., 1, k)."""
        return weights[..., None, :]

    def vjp(self, weights: FloatArray, x: FloatArray) -> tuple[FloatArray, Pullback]:
        """Return the parameters (..., 1, k), and the map from cotangents (..., 1, k) to (..., k)."""
        return self.predict(weights, x), lambda cotangent: cotangent[..., 0, :]

    def jacobian(self, weights: FloatArray, x: FloatArray) -> FloatArray:
        """Identity (1, k, k)."""
        return np.eye(self.n_weights)[None]

    def linearize(self, weights: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the parameters (..., 1, k) and identities (..., 1, k, k)."""
        shape = (*weights.shape[:-1], 1, self.n_weights, self.n_weights)
        return self.predict(weights, x), np.broadcast_to(np.eye(self.n_weights), shape).copy()

    def hessian_product(
        self, weights: FloatArray, x: FloatArray, cotangent: FloatArray, directions: FloatArray
    ) -> FloatArray:
        """Zeros (m, k)."""
        return np.zeros_like(directions)
