"""Coordinates in which the Gaussian is standard normal, those that the data inform first."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.laplace import Laplace

# A direction is informed if the data's precision along it is more than so many times the prior's.
INFORMED = 10.0


@dataclass(frozen=True, eq=False)
class Coordinates:
    """A whitening of the Gaussian along the directions in which data and prior speak apart.

    Parameters
    ----------
    whitening : ndarray (k, k)
        From deviations from the mean to coordinates, as ``d @ whitening``.
    prior_share : ndarray (k,)
        Share of the prior in the posterior precision along each, increasing.
    """

    whitening: FloatArray
    prior_share: FloatArray

    @staticmethod
    def of(laplace: Laplace) -> "Coordinates":
        """Find those of a Gaussian: eigenvectors of the prior's precision in its whitened coordinates."""
        upper, scale = laplace.factor.upper, laplace.posterior_scale
        prior = (scale.T * laplace.posterior.prior_precision) @ scale
        shares, rotation = np.linalg.eigh(prior)
        return Coordinates(upper.T @ rotation, np.clip(shares, 0.0, None))

    @property
    def n_informed(self) -> int:
        """Number of directions along which the data's precision is more than 10 times the prior's."""
        return n_informed(self.prior_share)

    def __call__(self, deviations: FloatArray) -> FloatArray:
        """Return coordinates (..., k) of deviations (..., k) from the mean."""
        return deviations @ self.whitening


def n_informed(prior_share: FloatArray) -> int:
    """Count directions along which the data's precision is more than 10 times the prior's, whose shares are (k,)."""
    return int(np.sum(prior_share < 1.0 / (1.0 + INFORMED)))
