"""What is descended: any function with gradient and Hessian, a posterior among them."""

from typing import Protocol, runtime_checkable

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, finite_array, positive_number
from bayesnn.errors import ArgumentError
from bayesnn.models import Model
from bayesnn.posterior import Posterior


@runtime_checkable
class Loss(Protocol):
    """A function of `k` weights to be made small."""

    @property
    def n_weights(self) -> int:
        """Number of weights, k."""
        ...

    def value_and_gradient(self, weights: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient (k,) at weights (k,)."""
        ...

    def hessian(self, weights: FloatArray) -> FloatArray:
        """Hessian (k, k) at weights (k,)."""
        ...


class NegativeLogDensity:
    """Minus the log density of a posterior, nats.

    Parameters
    ----------
    posterior : Posterior
        Or a LogDensity.
    """

    def __init__(self, posterior: Posterior) -> None:
        self.posterior = posterior

    def __repr__(self) -> str:
        return f"NegativeLogDensity({self.posterior!r})"

    @property
    def n_weights(self) -> int:
        """Number of weights, k."""
        return self.posterior.n_weights

    def value_and_gradient(self, weights: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient (k,) at weights (k,)."""
        value, gradient = self.posterior.value_and_gradient(weights)
        return -float(value), -gradient

    def hessian(self, weights: FloatArray) -> FloatArray:
        """Hessian (k, k) at weights (k,)."""
        return self.posterior.hessian(weights)


class LeastSquares:
    r"""Square loss of a model over rows, :math:`f(w) = c \sum_{io} (f_{io}(w) - y_{io})^2 + f_0`.

    With the default :math:`c = \frac12` it is the sample risk :math:`\frac12 |r|^2` of Kawaguchi (2016).

    Parameters
    ----------
    model : Model
        Of the outputs.
    x : array_like (n, d)
        Inputs.
    y : array_like (n,) or (n, out)
        Targets.
    factor : float
        c, above 0; ``1 / n`` makes it the mean square.
    constant : float
        :math:`f_0`.

    Raises
    ------
    ArgumentError
        If the model is none, shapes disagree, or a number is NaN or infinite.

    Examples
    --------
    >>> from bayesnn import DeepLinear
    >>> loss = LeastSquares(DeepLinear((1, 1, 1)), [[1.0]], [1.0])
    >>> loss.value_and_gradient(np.array([2.0, 1.0]))
    (0.5, array([1., 2.]))
    """

    def __init__(self, model: Model, x: ArrayLike, y: ArrayLike, factor: float = 0.5, constant: float = 0.0) -> None:
        if isinstance(model, type) or not isinstance(model, Model):  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
            raise ArgumentError("model", describe(model), "a Model, such as those of bayesnn")
        self.model = model
        self.x = model.check_inputs(x)
        wants = f"shape ({len(self.x)}, {model.n_outputs})"
        targets = finite_array("y", y, (1, 2), wants)
        if (
            targets.shape not in ((len(self.x), model.n_outputs), (len(self.x),))
            or targets.size != len(self.x) * model.n_outputs
        ):
            raise ArgumentError("y", f"shape {targets.shape}", wants)
        self.y = targets.reshape(len(self.x), model.n_outputs)
        self.factor = positive_number("factor", factor)
        self.constant = float(finite_array("constant", constant, (0,), "a number"))

    def __repr__(self) -> str:
        return f"LeastSquares({self.model!r}, n={len(self.x)}, factor={self.factor:g}, constant={self.constant:g})"

    @property
    def n_weights(self) -> int:
        """Number of weights, k."""
        return self.model.n_weights

    def value_and_gradient(self, weights: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient (k,) at weights (k,)."""
        outputs, pull_back = self.model.vjp(weights, self.x)
        residual = outputs - self.y
        return self.factor * float((residual**2).sum()) + self.constant, pull_back(2.0 * self.factor * residual)

    def hessian(self, weights: FloatArray) -> FloatArray:
        """Hessian (k, k) at weights (k,): twice `factor` times B'B and the second derivatives of the outputs."""
        outputs, jacobian = self.model.linearize(weights, self.x)
        rows = jacobian.reshape(-1, self.n_weights)
        bent = self.model.hessian_product(weights, self.x, outputs - self.y, np.eye(self.n_weights))
        whole = 2.0 * self.factor * (rows.T @ rows + bent)
        return 0.5 * (whole + whole.T)


def loss_of(target: Loss | Posterior) -> Loss:
    """Return a loss as it is, and of a posterior minus its log density.

    Parameters
    ----------
    target : Loss or Posterior
        What a function of this package that takes a loss was handed.

    Raises
    ------
    ArgumentError
        If it is neither.
    """
    if isinstance(target, Posterior):
        return NegativeLogDensity(target)
    if isinstance(target, type) or not isinstance(target, Loss):  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
        raise ArgumentError("loss", describe(target), "a Posterior, or a loss with value_and_gradient and hessian")
    return target


def point_of(loss: Loss, weights: ArrayLike, argument: str = "weights") -> FloatArray:
    """Return weights as finite numbers (k,), or raise ArgumentError."""
    wants = f"shape ({loss.n_weights},)"
    point = finite_array(argument, weights, (1,), wants)
    if point.shape != (loss.n_weights,):
        raise ArgumentError(argument, f"shape {point.shape}", wants)
    return point
