"""Any log density as a target: no network, no data."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bayesnn.arrays import AnyArray, ArrayLike, FloatArray
from bayesnn.checks import describe, finite_array
from bayesnn.errors import ArgumentError
from bayesnn.models import Parameters
from bayesnn.posterior.bernoulli import Bernoulli
from bayesnn.posterior.posterior import Linearization, Posterior
from bayesnn.posterior.prior import FlatPrior

# Steps of central differences, relative to the parameter's size: for first derivatives, and for second ones of the
# function itself, the roots of the rounding error that balance it against the next term of the series.
FIRST_STEP = float(np.finfo(float).eps ** (1.0 / 3.0))
SECOND_STEP = float(np.finfo(float).eps ** 0.25)
# A gradient of the user's may differ from differences by this much, relative to its length: what rounding of the
# function may do to them, and far less than a wrong sign or a forgotten factor.
GRADIENT_TOLERANCE = 1e-4


class LogDensity(Posterior):
    r"""A log density of your own, to find optima of, to approximate and to sample.

    A posterior without rows: what is asked of data, such as predictions, is refused. Its curvature is the Hessian `H`
    of the negative log density, by differences; where `H` is indefinite, methods that want a positive one are given
    :math:`|H|`, with the absolute values of the eigenvalues (Dauphin et al. 2014, saddle-free Newton; Betancourt 2013,
    SoftAbs metric). Constants left out of the function are missing from the log evidence, too.

    Parameters
    ----------
    function : callable
        Maps parameters (k,) to the log density, a number; ``-inf`` where there is none.
    names : sequence of str
        One name per parameter.
    gradient : callable, optional
        Maps parameters (k,) to the gradient (k,). Checked once against differences. Without it derivatives are central
        differences, `2 k` calls of the function.
    start : array_like (k,), optional
        Around which searches begin, drawn normal with standard deviation 1; the origin otherwise.
    vectorized : bool
        Whether the functions take many points at once, (m, k), and return (m,) and (m, k): much faster where they can.

    Raises
    ------
    ArgumentError
        If an argument has the wrong type, names repeat or, when used, a function returns another shape or the gradient
        disagrees with differences.

    Examples
    --------
    >>> from bayesnn import find_optimum, fit_laplace
    >>> target = LogDensity(lambda w: -0.5 * (w[0] - 3.0) ** 2 - 2.0 * w[1] ** 2, ["a", "b"])
    >>> laplace = fit_laplace(target, find_optimum(target), curvature="hessian")
    >>> laplace.mean.round(6) + 0.0, laplace.posterior_variance.round(6)
    (array([3., 0.]), array([1.  , 0.25]))
    """

    def __init__(
        self,
        function: Callable[[FloatArray], ArrayLike],
        names: Sequence[str],
        gradient: Callable[[FloatArray], ArrayLike] | None = None,
        start: ArrayLike | None = None,
        vectorized: bool = False,
    ) -> None:
        if not callable(function):
            raise ArgumentError("function", describe(function), "a function of parameters")
        if gradient is not None and not callable(gradient):
            raise ArgumentError("gradient", describe(gradient), "a function of parameters, or None")
        model = Parameters(names, None if start is None else finite_array("start", start, (1,), "shape (k,)"))
        self.function, self.gradient, self.vectorized = function, gradient, vectorized
        self.network = self.model = self.scaled_network = model
        self.prior = FlatPrior()
        self.given_likelihood = self.likelihood = Bernoulli()  # of no rows: nothing is asked of it
        self.prior_precision, self.prior_mean = np.zeros(model.n_weights), np.zeros(model.n_weights)
        self.prior_precision.flags.writeable = self.prior_mean.flags.writeable = False
        self.log_prior_normaliser = 0.0
        self._checked = gradient is None

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return f"LogDensity({name}, {list(self.weight_names)})"

    @property
    def n_rows(self) -> int:
        """0: there are no data."""
        return 0

    @property
    def has_gradient(self) -> bool:
        """Whether the gradient is the user's own, not differences."""
        return self.gradient is not None

    @property
    def linearized_together(self) -> int:
        """One: nothing is shared between points."""
        return 1

    @property
    def x(self) -> FloatArray:
        """Refuse: there are no data."""
        raise _no_data("x")

    @property
    def y(self) -> FloatArray:
        """Refuse: there are no data."""
        raise _no_data("y")

    def with_data(self, x: ArrayLike, y: ArrayLike) -> Posterior:
        """Refuse: there are no data."""
        raise _no_data("x")

    def with_hyperparameters(self, likelihood: object, prior: object) -> Posterior:
        """Refuse: there are no hyperparameters."""
        raise ArgumentError("posterior", "a LogDensity", "a Posterior, which has likelihood and prior")

    def log_likelihood(self, weights: ArrayLike) -> FloatArray:
        """Return no rows (..., 0)."""
        return np.zeros((*self.check_weights(weights).shape[:-1], 0))

    def log_density(self, weights: ArrayLike) -> FloatArray:
        """Log density () or (chains,) at parameters (k,) or (chains, k); NaN counts as no density."""
        w = self.check_weights(weights)
        return self._values(w.reshape(-1, self.n_weights)).reshape(w.shape[:-1])

    def value_and_gradient(self, weights: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Log density () or (chains,) and gradient (k,) or (chains, k)."""
        w = self.check_weights(weights)
        return self.log_density(w), self._slopes(w.reshape(-1, self.n_weights)).reshape(w.shape)

    def linearize(self, weights: ArrayLike) -> Linearization:
        """Log density, gradient and :meth:`ggn`."""
        value, gradient = self.value_and_gradient(weights)
        return Linearization(value, gradient, self.ggn(weights))

    def ggn(self, weights: ArrayLike) -> FloatArray:
        """Hessian of the negative log density with the absolute values of its eigenvalues, (k, k) or (chains, k, k)."""
        w = self.check_weights(weights)
        each = [self._absolute(row) for row in w.reshape(-1, self.n_weights)]
        return np.array(each).reshape(*w.shape, self.n_weights)

    def hessian(self, weights: ArrayLike, ggn: FloatArray | None = None) -> FloatArray:
        """Hessian (k, k) of the negative log density at parameters (k,), by central differences."""
        w = self.check_weights(weights, batch=False)
        rough = FIRST_STEP if self.has_gradient else SECOND_STEP
        steps = rough * np.maximum(np.abs(w), 1.0)
        if self.has_gradient:
            moves = np.diag(steps)
            hessian = (self._slopes(w - moves) - self._slopes(w + moves)) / (2.0 * steps[:, None])
        else:
            hessian = self._second_differences(w, np.diag(steps))
        return 0.5 * (hessian + hessian.T)

    def likelihood_rows(self, weights: ArrayLike) -> Iterator[FloatArray]:
        """Rows whose Gram matrix is :meth:`ggn`."""
        hessian = self.hessian(weights)
        if not np.isfinite(hessian).all():
            yield np.full_like(hessian, np.nan)
            return
        values, directions = np.linalg.eigh(hessian)
        yield np.sqrt(np.abs(values))[:, None] * directions.T

    def fisher_diagonal(self, weights: ArrayLike) -> FloatArray:
        """Diagonal (k,) of :meth:`ggn` at parameters (k,)."""
        return self.ggn(self.check_weights(weights, batch=False)).diagonal().copy()

    def value_and_fisher_diagonal(self, weights: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Log density () and :meth:`fisher_diagonal` (k,) at parameters (k,)."""
        return self.log_density(weights), self.fisher_diagonal(weights)

    def fisher_grams(self, weights: ArrayLike, places: tuple[slice, ...]) -> list[FloatArray]:
        """Blocks of :meth:`ggn` on its diagonal, at parameters (k,)."""
        whole = self.ggn(self.check_weights(weights, batch=False))
        return [whole[place, place] for place in places]

    def fisher_product(self, weights: ArrayLike, columns: FloatArray) -> FloatArray:
        """Multiply :meth:`ggn` at parameters (k,) with columns (k, m)."""
        return self.ggn(self.check_weights(weights, batch=False)) @ columns

    def scores_gram(self, weights: ArrayLike) -> FloatArray:
        """Refuse: there are no rows."""
        raise ArgumentError("curvature", "'fisher' of a LogDensity, which has no rows", "'hessian'")

    def check_gradient(self, weights: FloatArray) -> None:
        """Compare the user's gradient with differences, once.

        Raises
        ------
        ArgumentError
            If they disagree, naming the parameter.
        """
        value = float(self._values(weights[None])[0])
        if self._checked or self.gradient is None or not np.isfinite(value):
            return
        given, expected = self._given_slopes(self.gradient, weights[None])[0], self._differences(weights[None])[0]
        if not np.isfinite(expected).all():
            return  # no verdict here; the next point is checked instead
        steps: FloatArray = FIRST_STEP * np.maximum(np.abs(weights), 1.0)
        rounding: FloatArray = 10.0 * float(np.finfo(float).eps) * (1.0 + abs(value)) / steps
        allowed: FloatArray = rounding + GRADIENT_TOLERANCE * float(np.sqrt(expected @ expected))
        excess = np.abs(given - expected) - allowed
        worst = int(np.argmax(excess))
        if not excess[worst] <= 0.0:
            raise ArgumentError(
                "gradient",
                f"{given[worst]:.6g} by {self.weight_names[worst]} where differences give {expected[worst]:.6g}",
                "the gradient of function",
            )
        self._checked = True

    def _values(self, points: FloatArray) -> FloatArray:
        """Log densities (m,) at points (m, k)."""
        values = self._called("function", self.function, points, (len(points),), "the log density")
        return np.where(np.isnan(values), -np.inf, values)

    def _slopes(self, points: FloatArray) -> FloatArray:
        """Gradients (m, k) at points (m, k)."""
        if self.gradient is None:
            return self._differences(points)
        if not self._checked:
            self.check_gradient(points[0])
        return self._given_slopes(self.gradient, points)

    def _given_slopes(self, gradient: Callable[[FloatArray], ArrayLike], points: FloatArray) -> FloatArray:
        return self._called("gradient", gradient, points, points.shape, "the gradient")

    def _called(
        self,
        argument: str,
        function: Callable[[FloatArray], ArrayLike],
        points: FloatArray,
        shape: tuple[int, ...],
        what: str,
    ) -> FloatArray:
        """Call a function of the user's at points (m, k), one by one or all at once, and check what it returns."""
        if self.vectorized:
            results: list[AnyArray] = [np.asarray(function(points))]
            wanted = shape
        else:
            results = [np.asarray(function(point)) for point in points]
            wanted = shape[1:]
        for result in results:
            is_number = wanted == () and result.size == 1
            if result.dtype.kind not in "iuf" or not (result.shape == wanted or is_number):
                got = f"a result of shape {result.shape} and type {result.dtype}"
                raise ArgumentError(argument, got, f"{what}, real numbers of shape {wanted}")
        return np.array(results, dtype=np.float64).reshape(shape)

    def _differences(self, points: FloatArray) -> FloatArray:
        """Central differences (m, k) of the function."""
        steps = FIRST_STEP * np.maximum(np.abs(points), 1.0)
        moves = steps[:, :, None] * np.eye(self.n_weights)  # (m, k, k): one weight moved in each row
        ahead, behind = (self._values((points[:, None] + m).reshape(-1, self.n_weights)) for m in (moves, -moves))
        with np.errstate(invalid="ignore"):
            return (ahead - behind).reshape(steps.shape) / (2.0 * steps)

    def _second_differences(self, weights: FloatArray, steps: FloatArray) -> FloatArray:
        """Minus the second differences (k, k) of the function."""
        k, sizes = self.n_weights, steps.diagonal()
        first, second = np.triu_indices(k)
        pairs = np.stack([steps[first] + steps[second], steps[first] - steps[second]])
        with np.errstate(invalid="ignore"):
            same, crossed = (self._values(weights + p) + self._values(weights - p) for p in pairs)
            entries = (crossed - same) / (4.0 * sizes[first] * sizes[second])
        hessian = np.empty((k, k))
        hessian[first, second] = hessian[second, first] = entries
        return hessian

    def _absolute(self, weights: FloatArray) -> FloatArray:
        rows = next(iter(self.likelihood_rows(weights)))
        return rows.T @ rows


def _no_data(argument: str) -> ArgumentError:
    return ArgumentError(argument, "a LogDensity, which has no data", "a Posterior")
