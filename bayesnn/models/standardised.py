"""A model whose weights are in units of their prior's standard deviations, which are coordinates themselves."""

from dataclasses import replace

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray, IntArray
from bayesnn.models.model import Model, Pullback, WeightBlock

SUFFIX = "_standard"
SCALES = "log_prior_precision"


class StandardWeights:
    r"""A model in non-centred coordinates: :math:`w_j = m_j + u_j e^{-t_{g(j)} / 2}`.

    With `u` standard normal and `t` the log precision of group `g`, `w` has the prior :math:`N(m, e^{-t})`. The density
    of `(u, t)` has a mode where the data are; that of `(w, t)` has its highest where all weights vanish together with
    their prior's width (Papaspiliopoulos, Roberts & Skold 2007, Statistical Science 22, on non-centred coordinates).

    Parameters
    ----------
    model : Model
        The network, f(w, x).
    group_of : ndarray of int (k,)
        Which log precision each weight has.
    centre : ndarray (k,)
        Prior mean of the weights.
    start : ndarray (groups,)
        Log precisions where searches begin.

    Examples
    --------
    >>> from bayesnn import MLP
    >>> scaled = StandardWeights(MLP(1, (), 1), np.zeros(2, dtype=int), np.zeros(2), np.zeros(1))
    >>> scaled.weight_names
    ('W1_standard[0,0]', 'b1_standard[0]', 'log_prior_precision')
    >>> scaled.predict(np.array([4.0, 2.0, np.log(4.0)]), np.ones((1, 1)))
    array([[3.]])
    """

    def __init__(self, model: Model, group_of: IntArray, centre: FloatArray, start: FloatArray) -> None:
        self.model = model
        self.group_of, self.centre, self.start = group_of, centre, start
        self.n_groups = len(start)
        layer = max(block.layer for block in model.weight_blocks) + 1
        dims: tuple[str, ...] = ("prior_layer",) if self.n_groups > 1 else ()
        shape = (self.n_groups,) if self.n_groups > 1 else ()
        standard = tuple(replace(block, name=block.name + SUFFIX) for block in model.weight_blocks)
        self.weight_blocks: tuple[WeightBlock, ...] = (*standard, WeightBlock(SCALES, shape, dims, layer))
        self.weight_names: tuple[str, ...] = tuple(
            name for block in self.weight_blocks for name in block.weight_names()
        )
        self.runs_in_threads = bool(getattr(model, "runs_in_threads", False))

    def __repr__(self) -> str:
        return repr(self.model)

    @property
    def n_weights(self) -> int:
        """Number of weights and log precisions."""
        return self.model.n_weights + self.n_groups

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return self.model.n_outputs

    def check_inputs(self, x: ArrayLike) -> FloatArray:
        """Return `x` as the model takes it."""
        return self.model.check_inputs(x)

    def initial_weights(self, rng: np.random.Generator) -> FloatArray:
        """Draw the model's weights, standardised under the log precisions `start`."""
        drawn = self.model.initial_weights(rng)
        return np.concatenate([(drawn - self.centre) * np.exp(0.5 * self.start[self.group_of]), self.start])

    def weights_of(self, coordinates: FloatArray) -> FloatArray:
        """Return the model's weights (..., k) at coordinates (..., k + groups)."""
        standard, sd = self._split(coordinates)
        return self.centre + standard * sd

    def coordinates_of(self, weights: FloatArray, coordinates: FloatArray) -> FloatArray:
        """Return coordinates (..., k + groups) of weights (..., k) under the log precisions of other coordinates."""
        sd = self._split(coordinates)[1]
        return np.concatenate([(weights - self.centre) / sd, coordinates[..., self.model.n_weights :]], axis=-1)

    def predict(self, weights: FloatArray, x: FloatArray) -> FloatArray:
        """Return outputs (..., n, out) at coordinates (..., k + groups)."""
        return self.model.predict(self.weights_of(weights), x)

    def vjp(self, weights: FloatArray, x: FloatArray) -> tuple[FloatArray, Pullback]:
        """Return outputs (..., n, out) and the map from cotangents to (..., k + groups)."""
        outputs, pull_back = self.model.vjp(self.weights_of(weights), x)

        def pullback(cotangent: FloatArray) -> FloatArray:
            return self._pull_back(weights, pull_back(cotangent))

        return outputs, pullback

    def jacobian(self, weights: FloatArray, x: FloatArray) -> FloatArray:
        """`B` (n, out, k + groups)."""
        return self.linearize(weights, x)[1]

    def linearize(self, weights: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return outputs (..., n, out) and `B` (..., n, out, k + groups)."""
        outputs, jacobian = self.model.linearize(self.weights_of(weights), x)
        return outputs, self._pull_back(weights[..., None, None, :], jacobian)

    def hessian_product(
        self, weights: FloatArray, x: FloatArray, cotangent: FloatArray, directions: FloatArray
    ) -> FloatArray:
        """Second-order term times `directions` (m, k + groups): the model's own, and that of the scaling."""
        standard, sd = self._split(weights)
        k = self.model.n_weights
        of_standard, of_scale = directions[:, :k], directions[:, k:][:, self.group_of]
        inner = self.weights_of(weights)
        moved = sd * (of_standard - 0.5 * standard * of_scale)  # direction of w
        of_weights = self._pull_back(weights, self.model.hessian_product(inner, x, cotangent, moved))
        slope = self.model.vjp(inner, x)[1](cotangent) * sd
        # d2w/du dt = -sd / 2, d2w/dt2 = u sd / 4
        of_scaling = slope * (0.25 * standard * of_scale - 0.5 * of_standard)
        return of_weights + np.concatenate([-0.5 * slope * of_scale, self._by_group(of_scaling)], axis=-1)

    def _split(self, coordinates: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return standard weights (..., k) and the standard deviation of each (..., k)."""
        k = self.model.n_weights
        return coordinates[..., :k], np.exp(-0.5 * coordinates[..., k:])[..., self.group_of]

    def _pull_back(self, coordinates: FloatArray, by_weights: FloatArray) -> FloatArray:
        """Turn derivatives by the weights (..., k) into derivatives by the coordinates."""
        standard, sd = self._split(coordinates)
        by_standard = by_weights * sd
        return np.concatenate([by_standard, self._by_group(-0.5 * standard * by_standard)], axis=-1)

    def _by_group(self, of_weights: FloatArray) -> FloatArray:
        """Sum (..., k) over the weights of each group."""
        sums = [of_weights[..., self.group_of == g].sum(axis=-1, keepdims=True) for g in range(self.n_groups)]
        return np.concatenate(sums, axis=-1)
