"""A density of two Gaussian modes whose masses are known."""

import numpy as np
from scipy.special import logsumexp

from bayesnn.posterior import LogDensity

MASSES = np.array([0.3, 0.7])
MEANS = (np.array([0.0, 0.0]), np.array([30.0, -15.0]))
COVARIANCES = (np.array([[1.0, 0.5], [0.5, 2.0]]), np.array([[0.5, -0.2], [-0.2, 0.3]]))
PRECISIONS = tuple(np.linalg.inv(covariance) for covariance in COVARIANCES)


def _components(w):
    """Log densities (2, m), masses included, and slopes (2, m, 2) of the components."""
    values, slopes = [], []
    for mass, mean, precision in zip(MASSES, MEANS, PRECISIONS, strict=True):
        d = w - mean
        normaliser = 0.5 * np.linalg.slogdet(precision)[1] - np.log(2 * np.pi)
        values.append(np.log(mass) + normaliser - 0.5 * np.einsum("mi,ij,mj->m", d, precision, d))
        slopes.append(-d @ precision)
    return np.stack(values), np.stack(slopes)


def two_modes():
    """The density, normalised: some thirty standard deviations between the modes, so that nothing crosses."""

    def gradient(w):
        values, slopes = _components(w)
        shares = np.exp(values - logsumexp(values, axis=0))
        return (shares[..., None] * slopes).sum(axis=0)

    def log_density(w):
        return logsumexp(_components(w)[0], axis=0)

    return LogDensity(log_density, ("a", "b"), gradient=gradient, vectorized=True)
