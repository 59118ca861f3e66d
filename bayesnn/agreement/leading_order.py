"""How far the Gaussian is from the posterior, from derivatives at the optimum alone: to leading order in 1/n."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.errors import ArgumentError
from bayesnn.laplace import Laplace
from bayesnn.posterior import LogDensity
from bayesnn.seeds import generator
from bayesnn.threads import on_one_blas_thread

# Steps of the differences of the Hessian, in the Gaussian's standard deviations.
STEP = 1e-3
# Normal draws for the expectations of |T[z, z, z]|.
N_DRAWS = 20_000
# A cubic of normals is held for so many numbers at once.
BLOCK = 4_000_000


@dataclass(frozen=True, eq=False)
class LeadingOrder:
    r"""What third derivatives say of the distance between the Gaussian and the posterior, before any draw is made.

    In the Gaussian's whitened coordinates, with `T` the third derivatives of the negative log posterior at the optimum,
    :math:`t_i = \sum_j T_{ijj}` and `D` its Hessian less the identity (zero where the Gaussian's precision is the whole
    Hessian). Relative errors are :math:`O(1/n)`, so that a KL of a nat or more is a warning, not an estimate.

    Parameters
    ----------
    third : ndarray (k, k, k)
        `T`, symmetric.
    mismatch : ndarray (k, k)
        `D`.
    seed : int
        Of the draws for `total_variation` and `acceptance_of_independence`.

    References
    ----------
    Tierney & Kadane (1986), JASA 81, 82; Katsevich (2023), arXiv:2306.07262, for the leading order of the distances.
    """

    third: FloatArray
    mismatch: FloatArray
    seed: int = 0

    @property
    def trace(self) -> FloatArray:
        """`t` (k,)."""
        return np.einsum("ijj->i", self.third)

    @property
    def kl(self) -> float:
        r""":math:`|T|^2/12 + |t|^2/8 + |D|_F^2/4`, nats, in either direction."""
        return float((self.third**2).sum() / 12.0 + (self.trace**2).sum() / 8.0 + (self.mismatch**2).sum() / 4.0)

    @property
    def mean_shift(self) -> FloatArray:
        r"""Posterior mean less the mode (k,), :math:`-t/2`, in whitened coordinates."""
        return -0.5 * self.trace

    @property
    def skewness(self) -> float:
        r"""Root of Mardia's skewness, :math:`|T|`."""
        return float(np.linalg.norm(self.third))

    @property
    def covariance_error(self) -> float:
        r"""Frobenius distance of the posterior's whitened covariance from the identity, :math:`|D|_F`.

        0 for the whole Hessian, whose error is of the order of 1/n, and not told by third derivatives alone.
        """
        return float(np.linalg.norm(self.mismatch))

    @property
    def total_variation(self) -> float:
        r""":math:`E|T[z,z,z] / 6 + z'Dz/2 - tr D/2| / 2`: for `D = 0`, :math:`E|T[z,z,z]|/12`."""
        return float(np.abs(self._log_ratios[0]).mean() / 2.0)

    @property
    def acceptance_of_independence(self) -> float:
        r"""Of independence Metropolis-Hastings: :math:`1 - E|c - c'|/12`, :math:`c = T[z,z,z]`, where `D` is 0."""
        first, second = self._log_ratios
        return 1.0 - float(np.abs(first - second).mean() / 2.0)

    @cached_property
    def _log_ratios(self) -> FloatArray:
        """Log of posterior over Gaussian, less its mean, at two sets of draws of the Gaussian (2, N_DRAWS)."""
        k, random = len(self.third), generator(self.seed, "leading order")
        ratios, step = np.empty((2, N_DRAWS)), max(1, BLOCK // k**2)
        for part in ratios:
            for begin in range(0, N_DRAWS, step):
                z = random.standard_normal((min(step, N_DRAWS - begin), k))
                once = (z @ self.third.reshape(k, -1)).reshape(len(z), k, k)
                cubic = np.einsum("sij,si,sj->s", once, z, z)
                quadratic = ((z @ self.mismatch) * z).sum(axis=1) - np.trace(self.mismatch)
                part[begin : begin + step] = -cubic / 6.0 - quadratic / 2.0
        return ratios


def has_third_derivatives(laplace: Laplace) -> bool:
    """Whether there are any: of a density without a gradient the Hessian is differences already."""
    return not (isinstance(laplace.posterior, LogDensity) and laplace.posterior.gradient is None)


@on_one_blas_thread
def leading_order(laplace: Laplace, seed: int = 0) -> LeadingOrder:
    """Predict the distance between Gaussian and posterior from third derivatives at the optimum.

    The exact Hessian is differenced along each of the Gaussian's whitened coordinates: 2 k Hessians.

    Parameters
    ----------
    laplace : Laplace
        At an optimum.
    seed : int
        Of normal draws.

    Returns
    -------
    LeadingOrder

    Raises
    ------
    ArgumentError
        If the posterior has no Hessian.

    Examples
    --------
    Of a model linear in its weights nothing is left:

    >>> from bayesnn import MLP, Gaussian, NormalPrior, Posterior, find_optimum, fit_laplace
    >>> x = np.linspace(-1, 1, 40)[:, None]
    >>> post = Posterior(MLP(1, (), 1), x, 2 * x, Gaussian(0.5), NormalPrior(1.0))
    >>> leading_order(fit_laplace(post, find_optimum(post))).kl < 1e-12
    True
    """
    posterior, scale = laplace.posterior, laplace.posterior_scale
    if not has_third_derivatives(laplace):
        raise ArgumentError("laplace", "of a density without a gradient", "of one whose Hessian is known")
    k = laplace.n_weights
    third = np.empty((k, k, k))
    for i, direction in enumerate(STEP * scale.T):
        ahead, behind = (posterior.hessian(laplace.mean + sign * direction) for sign in (1.0, -1.0))
        third[i] = scale.T @ (ahead - behind) @ scale / (2.0 * STEP)
    third = (third + third.transpose(1, 2, 0) + third.transpose(2, 0, 1)) / 3.0
    mismatch = scale.T @ posterior.hessian(laplace.mean) @ scale - np.eye(k)
    if laplace.curvature == "hessian" and laplace.structure == "full":
        mismatch[:] = 0.0  # what is left is rounding
    return LeadingOrder(third, mismatch, seed)
