"""Over-parametrisation: more poles and zeros that cancel, so that a system becomes acquiescent."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import finite_array, integer_at_least
from bayesnn.errors import ArgumentError
from bayesnn.landscape.acquiescence import AcquiescentSet
from bayesnn.landscape.idealised_risk import system_weights, unstable
from bayesnn.models import LinearSystem, filtered

CURVE_POINTS = 4096


@dataclass(frozen=True, eq=False)
class Extension:
    r"""A monic factor `u` of degree `d` with which a denominator is, or is not, acquiescent.

    Parameters
    ----------
    u : ndarray (d,)
        Coefficients after the leading 1: ``z^d + u_1 z^(d-1) + ...``.
    a : ndarray (n + d,)
        Those of the product.
    deviation : float
        :math:`\max |p_a(z) u(z) / z^{n+d} - 1|` over the circle.
    margin : float
        Of the product, from :meth:`AcquiescentSet.margin`.
    """

    u: FloatArray
    a: FloatArray
    deviation: float
    margin: float

    @property
    def degree(self) -> int:
        """How many poles and zeros were added, d."""
        return len(self.u)

    @property
    def is_acquiescent(self) -> bool:
        """Whether the product is."""
        return self.margin > 0.0


def extension(a: ArrayLike, degree: int, region: AcquiescentSet) -> Extension:
    """Extend a denominator by the truncated series of its inverse.

    Of :math:`z^n / p_a(z)` in powers of ``1/z`` the first ``degree + 1`` terms are kept: the product differs from 1
    only in higher powers, by what the series leaves out.

    Parameters
    ----------
    a : array_like (n,)
        A stable denominator.
    degree : int
        Of the factor, d, at least 0.
    region : AcquiescentSet
        The set, on whose circle the deviation is taken.

    Returns
    -------
    Extension

    Raises
    ------
    ArgumentError
        If the denominator is unstable (its spectral radius is named), misshaped or not finite.

    References
    ----------
    Hardt, Ma & Recht (2018), Gradient descent learns linear dynamical systems, JMLR 19.

    Examples
    --------
    >>> found = extension([-0.9], 10, AcquiescentSet())
    >>> round(found.deviation, 4), round(0.9**11, 4), found.is_acquiescent
    (0.3138, 0.3138, True)
    """
    denominator = finite_array("a", a, (1,), "a denominator, shape (n,)")
    d = integer_at_least("degree", degree, 0)
    if denominator.size == 0:
        raise ArgumentError("a", "shape (0,)", "a denominator, shape (n,), n at least 1")
    n = denominator.size
    radius = float(LinearSystem(n).spectral_radius(np.concatenate([denominator, np.zeros(n + 1)])))
    if not radius < 1.0:
        raise unstable("a", radius)
    impulse = np.zeros(d + 1)
    impulse[0] = 1.0
    inverse = filtered(np.ones(1), np.append(1.0, denominator), impulse)
    product = np.convolve(inverse, np.append(1.0, denominator))
    product[1 : d + 1] = 0.0  # exactly: they cancel
    deviation = float(np.abs(region.curve(product[1:], CURVE_POINTS) - 1.0).max())
    return Extension(inverse[1:], product[1:], deviation, region.margin(product[1:]))


def acquiescent_extension(a: ArrayLike, region: AcquiescentSet, most: int = 1000) -> Extension:
    """Find the smallest degree for which the truncated series makes a denominator acquiescent.

    Parameters
    ----------
    a : array_like (n,)
        A stable denominator.
    region : AcquiescentSet
        The set.
    most : int
        Degree at most.

    Returns
    -------
    Extension

    Raises
    ------
    ArgumentError
        If the denominator is unstable, or no degree up to `most` will do.

    Examples
    --------
    >>> acquiescent_extension([-0.9], AcquiescentSet()).degree  # 0.9^(d + 1) < sin(arctan(1 / 1.2))
    4
    """
    largest = integer_at_least("most", most, 0)
    found = None
    for degree in range(largest + 1):
        found = extension(a, degree, region)
        if found.is_acquiescent:
            return found
    assert found is not None  # there is degree 0
    raise ArgumentError("most", f"{largest}, where the margin is {found.margin:.3g}", "a larger degree")


def extended(weights: ArrayLike, u: ArrayLike) -> FloatArray:
    """Multiply denominator and numerator of a system (2 n + 1,) by ``z^d + u_1 z^(d-1) + ...``: (2 n + 2 d + 1,).

    Parameters
    ----------
    weights : array_like (2 n + 1,)
        `a`, `c`, `D`.
    u : array_like (d,)
        Coefficients of the factor after the leading 1.

    Returns
    -------
    ndarray (2 (n + d) + 1,)
        Weights of the same transfer function, of order n + d.

    Raises
    ------
    ArgumentError
        If a shape is another or a value is not finite.

    Examples
    --------
    >>> extended([-0.5, 2.0, 0.0], [0.25])
    array([-0.25 , -0.125,  0.5  ,  2.   ,  0.   ])
    """
    w = system_weights("weights", weights)
    factor = np.append(1.0, finite_array("u", u, (1,), "coefficients, shape (d,)"))
    n = len(w) // 2
    below, above = np.convolve(np.append(1.0, w[:n]), factor), np.convolve(w[n:-1][::-1], factor)
    return np.concatenate([below[1:], above[::-1], w[-1:]])
