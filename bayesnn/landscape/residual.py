"""Linear residual networks: the gradient bound, and descent within the ball."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, finite_array, integer_at_least, positive_number
from bayesnn.errors import ArgumentError
from bayesnn.landscape.descent_path import DescentPath, descend
from bayesnn.landscape.population import PopulationRisk
from bayesnn.landscape.regions import SpectralBall
from bayesnn.models import DeepLinear

# A layer's norm within this share of the radius lies on the boundary.
ON_BOUNDARY = 1e-9


def guaranteed_polyak(n_layers: int, radius: float, least_variance: float) -> float:
    r"""Polyak constant of a linear residual network in the ball of matrices of spectral norm up to `radius`.

    .. math:: |\nabla f|_F^2 \ge 4 l (1 - \tau)^{2(l-1)} \sigma_{\min}(\Sigma) (f - C)

    Each of the l blocks of the gradient is :math:`2 P_i' E \Sigma Q_i'`, with :math:`l - 1` factors
    :math:`I + A_j` in `P` and `Q` together, none of which shrinks a vector to less than :math:`1 - \tau`; and
    :math:`|E\Sigma|_F^2 \ge \sigma_{\min}(\Sigma) |E\Sigma^{1/2}|_F^2`. There is equality where every
    :math:`A_j = -\tau I` and the rows of `E` lie along the least variance. Hardt & Ma (2016), theorem 2.2, whose (2.3)
    prints a stronger and false bound: :func:`printed_polyak`.

    Parameters
    ----------
    n_layers : int
        l.
    radius : float
        :math:`\tau`, from 0 to below 1.
    least_variance : float
        :math:`\sigma_{\min}(\Sigma)`, above 0.

    Returns
    -------
    float
        :math:`\alpha`.

    Raises
    ------
    ArgumentError
        If a number is not as above.

    Examples
    --------
    >>> guaranteed_polyak(2, 0.5, 1.0)
    2.0
    """
    layers, tau, variance = _checked(n_layers, radius, least_variance)
    return 4.0 * layers * (1.0 - tau) ** (2 * (layers - 1)) * variance


def printed_polyak(n_layers: int, radius: float, least_variance: float) -> float:
    r""":math:`4 l (1 - \tau)^{l-1} \sigma_{\min}^2`, as (2.3) of the stored text of Hardt & Ma has it: no bound.

    The square of :math:`(1 - \tau)^{l-1}` is missing, and :math:`\sigma_{\min}^2` needs variances up to 1.

    Parameters
    ----------
    n_layers, radius, least_variance
        As of :func:`guaranteed_polyak`.

    Returns
    -------
    float

    Raises
    ------
    ArgumentError
        As of :func:`guaranteed_polyak`.

    Examples
    --------
    One input, two layers, both weights -1/2, and 1 to be learned: the gradient's square is below what is printed.

    >>> risk = PopulationRisk(DeepLinear((1, 1, 1), residual=True), [[1.0]])
    >>> value, gradient = risk.value_and_gradient(np.array([-0.5, -0.5]))
    >>> float(gradient @ gradient), printed_polyak(2, 0.5, 1.0) * value, guaranteed_polyak(2, 0.5, 1.0) * value
    (1.125, 2.25, 1.125)
    """
    layers, tau, variance = _checked(n_layers, radius, least_variance)
    return 4.0 * layers * (1.0 - tau) ** (layers - 1) * variance**2


def largest_norm(model: DeepLinear, weights: FloatArray) -> float:
    r"""Largest spectral norm of the network's matrices, :math:`\max_i |A_i|_2`, at weights (k,)."""
    return max(float(np.linalg.norm(matrix, 2)) for matrix in model.layers(weights))


@dataclass(frozen=True, eq=False)
class ResidualDescent:
    r"""Gradient descent on a linear residual network from zero, with what theory guarantees along it.

    Parameters
    ----------
    path : DescentPath
        Every step.
    largest_norms : ndarray (t,)
        :math:`\max_i |A_i|_2` at each.
    guaranteed : float
        :func:`guaranteed_polyak` with the largest of these for :math:`\tau`; 0 if it reaches 1.
    radius : float or None
        Of the ball that was projected on to; None without.
    """

    path: DescentPath
    largest_norms: FloatArray
    guaranteed: float
    radius: float | None

    @property
    def ends_on_boundary(self) -> bool:
        """Whether the last point lies on the boundary of the ball."""
        return self.radius is not None and bool(self.largest_norms[-1] >= self.radius * (1.0 - ON_BOUNDARY))


def descend_residual(
    risk: PopulationRisk,
    step: float,
    max_steps: int = 1000,
    *,
    radius: float | None = None,
    start: ArrayLike | None = None,
    until: float | None = None,
    stationary: float = 0.0,
) -> ResidualDescent:
    """Descend a linear residual network by gradients, projected on to the ball of spectral norms if there is a radius.

    Parameters
    ----------
    risk : PopulationRisk
        Of a residual :class:`bayesnn.DeepLinear`.
    step, max_steps, until, stationary
        As of :func:`descend`.
    radius : float, optional
        Largest spectral norm of each matrix.
    start : array_like (k,), optional
        Zero, the identity network, without it.

    Returns
    -------
    ResidualDescent

    Raises
    ------
    ArgumentError
        If the network is not residual, or a number is not as above.

    Examples
    --------
    >>> risk = PopulationRisk(DeepLinear((1, 1, 1), residual=True), [[2.0]])
    >>> found = descend_residual(risk, 0.05, until=1e-12)
    >>> bool((found.path.values[-1] < 1e-12) and found.guaranteed > 0.0)
    True
    """
    if not isinstance(risk, PopulationRisk) or not risk.network.residual:  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
        raise ArgumentError("risk", describe(risk), "a PopulationRisk of a residual DeepLinear")
    model = risk.network
    ball = None if radius is None else SpectralBall(model, radius)
    path = descend(
        risk,
        np.zeros(model.n_weights) if start is None else start,
        step,
        max_steps,
        until=until,
        stationary=stationary,
        project=None if ball is None else ball.project,
    )
    norms = np.array([largest_norm(model, weights) for weights in path.weights])
    tau = float(norms.max())
    guaranteed = guaranteed_polyak(model.n_layers, tau, risk.least_variance) if tau < 1.0 else 0.0
    return ResidualDescent(path, norms, guaranteed, radius)


def _checked(n_layers: int, radius: float, least_variance: float) -> tuple[int, float, float]:
    layers = integer_at_least("n_layers", n_layers, 1)
    tau = float(finite_array("radius", radius, (0,), "a number from 0 to below 1"))
    if not 0.0 <= tau < 1.0:
        raise ArgumentError("radius", f"{tau:g}", "a number from 0 to below 1")
    return layers, tau, positive_number("least_variance", least_variance)
