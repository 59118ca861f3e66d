"""All distances of whitened draws from the Gaussian that depend on no choice of axes."""

from dataclasses import dataclass, fields

import numpy as np

from bayesnn.agreement.moments import (
    chi_squared_distance,
    covariance_distance,
    kurtosis_distance,
    mean_distance,
    skewness_distance,
)
from bayesnn.agreement.null import Distance
from bayesnn.agreement.sliced import sliced_distances
from bayesnn.arrays import FloatArray
from bayesnn.chain_statistics import Layout
from bayesnn.seeds import generator


@dataclass(frozen=True)
class Distances:
    """Draws against a Gaussian in coordinates in which this is standard normal.

    Parameters
    ----------
    mean_error : Distance
        Length of the mean: the root of what Mahalanobis would say of it.
    covariance_error : Distance
        Frobenius norm of the covariance less the identity.
    skewness : Distance
        Root of Mardia's skewness, the length of the tensor of third cumulants.
    kurtosis : Distance
        Mardia's kurtosis less a normal's, as a share of that.
    mahalanobis_ks : Distance
        Kolmogorov-Smirnov, of squared lengths from chi-squared.
    sliced_w2 : Distance
        2-Wasserstein over random projections, root mean square.
    max_sliced_ks : Distance
        Kolmogorov-Smirnov, the largest over random projections.
    """

    mean_error: Distance
    covariance_error: Distance
    skewness: Distance
    kurtosis: Distance
    mahalanobis_ks: Distance
    sliced_w2: Distance
    max_sliced_ks: Distance

    @staticmethod
    def of(z: FloatArray, layout: Layout, seed: int) -> "Distances":
        """Measure all of them.

        Parameters
        ----------
        z : ndarray (chains, draws, k)
            Draws in whitened coordinates.
        layout : Layout
            Of the chains.
        seed : int
            Of products that tell of many.
        """
        random = generator(seed, "agreement distances")
        sliced = sliced_distances(z, layout)
        return Distances(
            mean_error=mean_distance(z, layout),
            covariance_error=covariance_distance(z, layout, random),
            skewness=skewness_distance(z, layout, random),
            kurtosis=kurtosis_distance(z, layout),
            mahalanobis_ks=chi_squared_distance(z, layout),
            sliced_w2=sliced.w2,
            max_sliced_ks=sliced.max_ks,
        )

    def items(self) -> list[tuple[str, Distance]]:
        """Return names and distances."""
        return [(field.name, getattr(self, field.name)) for field in fields(self)]

    def table(self) -> FloatArray:
        """Return values, noise and bands (distances, 3)."""
        return np.array([[distance.value, distance.noise, distance.band] for _, distance in self.items()])
