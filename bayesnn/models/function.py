"""Any function of weights and inputs as a model."""

from collections.abc import Callable, Iterable, Sequence
from typing import cast

import numpy as np
from scipy.differentiate import jacobian as adaptive_jacobian

from bayesnn.arrays import AnyArray, ArrayLike, FloatArray
from bayesnn.checks import describe, finite_array, integer_at_least
from bayesnn.errors import ArgumentError
from bayesnn.models.model import Pullback, WeightBlock

# First step of the adaptive differences, relative to the weight; a weight at 0 is taken to be of this size.
FIRST_STEP = 2.0**-4
SIZE_OF_ZERO = 1e-2
# Times the adaptive differences halve their step at most.
HALVINGS = 8
# Step of second differences, relative: the fourth root of the rounding error balances it against curvature.
SECOND_STEP = float(np.finfo(float).eps ** 0.25)
# A Jacobian of the user's may differ from accurate differences by this much, relative to its column's length.
JACOBIAN_TOLERANCE = 1e-4

type UserFunction = Callable[[FloatArray, FloatArray], AnyArray]


# What draws are laid out along in their tree, beside the weights.
TAKEN = ("chain", "draw", "mode", "ensemble", "superchain")


class FunctionModel:
    """A user's own ``f(w, x)``.

    Parameters
    ----------
    function : callable
        Maps weights (k,) and inputs (n, ...) to outputs (n,) or (n, out).
    weight_names : sequence of str
        One name per weight.
    jacobian : callable, optional
        Maps the same to the derivative (n, k) or (n, out, k). Checked once against differences. Without it,
        derivatives are adaptive central differences of order 8 (:func:`scipy.differentiate.jacobian`), some hundred
        calls of `function` each.
    start : array_like (k,), optional
        Where searches begin; drawn standard normal otherwise.

    Raises
    ------
    ArgumentError
        If an argument has the wrong type, names repeat, or, when first used, `function` returns another shape than
        ``(n,)`` or ``(n, out)`` or `jacobian` disagrees with differences.

    Examples
    --------
    >>> model = FunctionModel(lambda w, x: w[0] * np.exp(-w[1] * x), ["height", "rate"])
    >>> x = np.array([0.0, 1.0, 2.0])
    >>> model.predict(np.array([2.0, 0.5]), x)[:, 0]
    array([2.        , 1.21306132, 0.73575888])
    >>> model.jacobian(np.array([2.0, 0.5]), x)[:, 0].round(6)
    array([[ 1.      ,  0.      ],
           [ 0.606531, -1.213061],
           [ 0.367879, -1.471518]])
    """

    n_outputs: int

    def __init__(
        self,
        function: UserFunction,
        weight_names: Sequence[str],
        jacobian: UserFunction | None = None,
        start: ArrayLike | None = None,
        n_outputs: int = 1,
    ) -> None:
        if not callable(function):
            raise ArgumentError("function", describe(function), "a function of weights and inputs")
        if jacobian is not None and not callable(jacobian):
            raise ArgumentError("jacobian", describe(jacobian), "a function of weights and inputs, or None")
        names = checked_names("weight_names", weight_names)
        self.function = function
        self.user_jacobian = jacobian
        self.weight_names: tuple[str, ...] = names
        self.weight_blocks: tuple[WeightBlock, ...] = tuple(WeightBlock(name, (), (), 0) for name in names)
        self.n_outputs = integer_at_least("n_outputs", n_outputs, 1)
        self.start = None if start is None else self._checked_start(start)
        self._jacobian_checked = jacobian is None

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return f"FunctionModel({name}, {list(self.weight_names)})"

    @property
    def n_weights(self) -> int:
        """Number of weights, k."""
        return len(self.weight_names)

    def check_inputs(self, x: ArrayLike) -> FloatArray:
        """Return `x` as a float array with rows along its first axis, or raise ArgumentError."""
        array = finite_array("x", x, (1, 2, 3, 4), "rows along the first axis")
        if array.shape[0] == 0:
            raise ArgumentError("x", f"shape {array.shape}", "at least one row")
        return array

    def initial_weights(self, rng: np.random.Generator) -> FloatArray:
        """Return the user's start, or a standard normal draw (k,)."""
        return rng.standard_normal(self.n_weights) if self.start is None else self.start.copy()

    def predict(self, weights: FloatArray, x: FloatArray) -> FloatArray:
        """Return outputs (..., n, out) at weights (..., k); the function is called once for each weight vector."""
        flat = weights.reshape(-1, self.n_weights)
        outputs = np.stack([self._call(w, x) for w in flat])
        return outputs.reshape(*weights.shape[:-1], *outputs.shape[1:])

    def vjp(self, weights: FloatArray, x: FloatArray) -> tuple[FloatArray, Pullback]:
        """Return outputs (..., n, out) and the map from cotangents (..., n, out) to (..., k), by the Jacobian."""

        def pullback(cotangent: FloatArray) -> FloatArray:
            flat = weights.reshape(-1, self.n_weights)
            each = cotangent.reshape(len(flat), -1)
            rows = [c @ self.jacobian(w, x).reshape(c.size, -1) for w, c in zip(flat, each, strict=True)]
            return np.stack(rows).reshape(weights.shape)

        return self.predict(weights, x), pullback

    def jacobian(self, weights: FloatArray, x: FloatArray) -> FloatArray:
        """`B` (n, out, k) at `weights` (k,), by the user's Jacobian or by adaptive differences."""
        if self.user_jacobian is None:
            return self._differences(weights, x)
        if not self._jacobian_checked:
            self._check_jacobian(weights, x)
        return self._call_jacobian(self.user_jacobian, weights, x)

    def linearize(self, weights: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return outputs (..., n, out) and a copy of `B` (..., n, out, k) at `weights` (..., k)."""
        outputs = self.predict(weights, x)
        jacobian = np.stack([self.jacobian(w, x) for w in weights.reshape(-1, self.n_weights)])
        return outputs, jacobian.reshape(*outputs.shape, self.n_weights)

    def hessian_product(
        self, weights: FloatArray, x: FloatArray, cotangent: FloatArray, directions: FloatArray
    ) -> FloatArray:
        """Second-order term times `directions` (m, k), by central differences of the Jacobian."""
        sizes = self._scales(weights, x)
        hessian = np.empty((self.n_weights, self.n_weights))
        for i, step in enumerate(SECOND_STEP * sizes):
            move = np.zeros(self.n_weights)
            move[i] = step
            ahead, behind = self.jacobian(weights + move, x), self.jacobian(weights - move, x)
            hessian[i] = np.tensordot(cotangent, ahead - behind, axes=2) / (2.0 * step)
        return directions @ (0.5 * (hessian + hessian.T))

    def _scales(self, weights: FloatArray, x: FloatArray) -> FloatArray:
        """Change of each weight (k,) that changes the outputs by their own size: its natural scale here."""
        columns = np.linalg.norm(self.jacobian(weights, x), axis=(0, 1))
        outputs = float(np.linalg.norm(self.predict(weights, x)))
        usual = np.maximum(np.abs(weights), SIZE_OF_ZERO)
        with np.errstate(divide="ignore", invalid="ignore"):
            natural = outputs / columns
        known = np.isfinite(natural) & (natural > 0)
        # No further than the weight itself, where it has a size: a flat direction has no scale of its own.
        return np.where(known, np.minimum(natural, 1e2 * usual), usual)

    def _call(self, weights: FloatArray, x: FloatArray) -> FloatArray:
        outputs = np.asarray(self.function(weights, x))
        if outputs.shape == x.shape[:1] and self.n_outputs == 1:
            outputs = outputs[:, None]
        if outputs.shape != (x.shape[0], self.n_outputs) or outputs.dtype.kind not in "iuf":
            wants = f"real outputs of shape ({x.shape[0]},)"
            if self.n_outputs > 1:
                wants = f"real outputs of shape ({x.shape[0]}, {self.n_outputs})"
            raise ArgumentError("function", f"outputs of shape {outputs.shape} and type {outputs.dtype}", wants)
        return outputs.astype(np.float64)

    def _call_jacobian(self, jacobian: UserFunction, weights: FloatArray, x: FloatArray) -> FloatArray:
        matrix = np.asarray(jacobian(weights, x))
        shape = (x.shape[0], self.n_outputs, self.n_weights)
        allowed = (shape,) if self.n_outputs > 1 else (shape, (shape[0], shape[2]))
        if matrix.dtype.kind not in "iuf" or matrix.shape not in allowed:
            wants = shape if self.n_outputs > 1 else (shape[0], shape[2])
            got = f"a result of shape {matrix.shape} and type {matrix.dtype}"
            raise ArgumentError("jacobian", got, f"real numbers of shape {wants}")
        return matrix.astype(np.float64).reshape(shape)

    def _differences(self, weights: FloatArray, x: FloatArray) -> FloatArray:
        def stacked(points: FloatArray) -> FloatArray:
            flat = points.reshape(self.n_weights, -1)
            outputs = np.stack([self._call(flat[:, i], x).ravel() for i in range(flat.shape[1])], axis=-1)
            return outputs.reshape(-1, *points.shape[1:])

        def at(first: FloatArray) -> tuple[FloatArray, FloatArray]:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                found = adaptive_jacobian(
                    stacked, weights, initial_step=first, tolerances={"rtol": 1e-13, "atol": 0.0}, maxiter=HALVINGS
                )
            return np.asarray(found.df), np.nan_to_num(np.linalg.norm(found.error, axis=0), nan=np.inf)

        sizes = np.where(weights != 0, np.abs(weights), SIZE_OF_ZERO)
        columns, errors = at(FIRST_STEP * sizes)
        if np.any(sizes < SIZE_OF_ZERO):
            # A small weight may be small by its units or by chance: the step that is sized to it, or the other.
            others, other_errors = at(FIRST_STEP * np.maximum(sizes, SIZE_OF_ZERO))
            columns = np.where(other_errors < errors, others, columns)
        return columns.reshape(x.shape[0], self.n_outputs, self.n_weights)

    def _check_jacobian(self, weights: FloatArray, x: FloatArray) -> None:
        assert self.user_jacobian is not None  # else there is nothing to check
        given = self._call_jacobian(self.user_jacobian, weights, x)
        expected = self._differences(weights, x)
        if not np.isfinite(expected).all():
            return  # no verdict here; the next point is checked instead
        lengths = np.linalg.norm(expected, axis=(0, 1))
        apart = np.linalg.norm(given - expected, axis=(0, 1)) / np.where(lengths > 0, lengths, 1.0)
        # What rounding of the outputs makes of differences over the smallest step, which may be all a column has.
        outputs = float(np.linalg.norm(self._call(weights, x)))
        steps = FIRST_STEP * 2.0**-HALVINGS * np.where(weights != 0, np.abs(weights), SIZE_OF_ZERO)
        rounding = 10.0 * float(np.finfo(float).eps) * outputs / steps / np.where(lengths > 0, lengths, 1.0)
        excess = apart - rounding
        worst = int(np.argmax(excess))
        if not excess[worst] <= JACOBIAN_TOLERANCE:
            raise ArgumentError(
                "jacobian",
                f"a derivative by {self.weight_names[worst]} that is {apart[worst]:.2g} off relative to differences",
                "the derivative of function",
            )
        self._jacobian_checked = True

    def _checked_start(self, start: ArrayLike) -> FloatArray:
        wants = f"shape ({self.n_weights},)"
        array = finite_array("start", start, (1,), wants)
        if array.shape != (self.n_weights,):
            raise ArgumentError("start", f"shape {array.shape}", wants)
        return array


def checked_names(argument: str, weight_names: object) -> tuple[str, ...]:
    """Return the names as a tuple, or raise ArgumentError."""
    wants, got = f"a sequence of different names, without '/' and none of {', '.join(TAKEN)}", describe(weight_names)
    if isinstance(weight_names, str) or not isinstance(weight_names, Iterable):
        raise ArgumentError(argument, got, wants)
    given = list(cast("Iterable[object]", weight_names))
    names = [str(name) for name in given if isinstance(name, str) and name]
    if not names or len(names) < len(given) or len(set(names)) < len(given):
        raise ArgumentError(argument, got, wants)
    for name in names:
        if "/" in name or name in TAKEN:  # the tree of the draws could not hold it
            raise ArgumentError(argument, repr(name), wants)
    return tuple(names)
