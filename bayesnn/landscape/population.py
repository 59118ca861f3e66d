"""Expected square loss of a linear network whose targets are a linear map of its inputs."""

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, finite_array
from bayesnn.errors import ArgumentError
from bayesnn.landscape.loss import LeastSquares
from bayesnn.models import DeepLinear

# An input covariance's eigenvalue below this share of the largest is zero up to rounding.
SINGULAR = 1e-13


class PopulationRisk(LeastSquares):
    r"""Risk :math:`f(w) = E|f(w, x) - y|^2` with :math:`y = Rx + \xi`, exact: no sample is drawn.

    With `M` the network's end-to-end matrix and :math:`E xx' = \Sigma`,
    :math:`f(w) = |(M' - R) \Sigma^{1/2}|_F^2 + E|\xi|^2` (Hardt & Ma 2016, section 2): the square loss over the rows of
    a square root of :math:`\Sigma`.

    Parameters
    ----------
    model : DeepLinear
        The network, plain or residual.
    target : array_like (out, in)
        R, as in the papers: columns are multiplied from the left.
    covariance : array_like (in, in), optional
        :math:`\Sigma`, symmetric positive definite; the identity without it.
    noise : float
        :math:`E|\xi|^2`, at least 0, summed over the outputs.

    Raises
    ------
    ArgumentError
        If the model is another, a shape does not fit it, a number is NaN or infinite, or the covariance is not
        symmetric, or singular: which directions of the input never vary is said.

    Examples
    --------
    >>> risk = PopulationRisk(DeepLinear((1, 1, 1), residual=True), [[1.0]])
    >>> value, gradient = risk.value_and_gradient(np.array([-0.5, -0.5]))
    >>> value, float(gradient @ gradient)
    (0.5625, 1.125)
    """

    def __init__(
        self, model: DeepLinear, target: ArrayLike, covariance: ArrayLike | None = None, noise: float = 0.0
    ) -> None:
        if not isinstance(model, DeepLinear):  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
            raise ArgumentError("model", describe(model), "a DeepLinear")
        d, out = model.widths[0], model.n_outputs
        self.network = model
        #: R (out, in).
        self.target = finite_array("target", target, (2,), f"shape ({out}, {d})")
        if self.target.shape != (out, d):
            raise ArgumentError("target", f"shape {self.target.shape}", f"shape ({out}, {d}), to chain with {model!r}")
        #: The covariance of the inputs (in, in).
        self.covariance = _checked_covariance(np.eye(d) if covariance is None else covariance, d)
        #: The risk of the target itself, which none is below.
        self.noise = float(finite_array("noise", noise, (0,), "a number of at least 0"))
        if self.noise < 0.0:
            raise ArgumentError("noise", f"{self.noise:g}", "a number of at least 0")
        rows = np.linalg.cholesky(self.covariance).T
        super().__init__(model, rows, rows @ self.target.T, factor=1.0, constant=self.noise)

    def __repr__(self) -> str:
        return f"PopulationRisk({self.network!r}, noise={self.noise:g})"

    @property
    def least_variance(self) -> float:
        r"""Least eigenvalue of :math:`\Sigma`."""
        # Of the inverse's factor: variables may be in units far apart, and the matrix has lost the least digits then.
        return float(np.linalg.norm(np.linalg.inv(np.linalg.cholesky(self.covariance)), 2)) ** -2

    @property
    def least(self) -> float:
        r"""The least risk: what the network's narrowest layer must leave of :math:`R\Sigma^{1/2}`, and the noise.

        The network makes every matrix of rank up to its smallest width: Eckart & Young (1936).
        """
        singular = np.linalg.svd(self.y, compute_uv=False)
        return self.noise + float((singular[min(self.network.widths) :] ** 2).sum())


def _checked_covariance(value: ArrayLike, d: int) -> FloatArray:
    wants = f"a symmetric positive definite matrix, shape ({d}, {d})"
    covariance = finite_array("covariance", value, (2,), wants)
    if covariance.shape != (d, d):
        raise ArgumentError("covariance", f"shape {covariance.shape}", wants)
    if not np.allclose(covariance, covariance.T, rtol=1e-12, atol=1e-12 * float(np.abs(covariance).max())):
        raise ArgumentError("covariance", "a matrix that is not symmetric", wants)
    covariance = 0.5 * (covariance + covariance.T)
    refuse_singular("covariance", covariance, wants)
    return covariance


def refuse_singular(argument: str, gram: FloatArray, wants: str) -> None:
    """Raise ArgumentError if a symmetric matrix is not positive definite, and name the directions.

    Variables may be in units of their own: the matrix is looked at with a unit diagonal.
    """
    diagonal = gram.diagonal()
    scale = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    eigenvalues, directions = np.linalg.eigh(gram * scale * scale[:, None])
    bad = np.flatnonzero(eigenvalues <= SINGULAR * max(eigenvalues[-1], 0.0))
    if len(bad):
        directions = scale[:, None] * directions
        directions /= np.linalg.norm(directions, axis=0)
        named = ", ".join("(" + ", ".join(f"{c:.2g}" for c in directions[:, i] + 0.0) + ")" for i in bad[:3])
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise ArgumentError(argument, f"no variance along {named}{more}", wants)
