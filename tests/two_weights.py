"""A network of two weights, whose posterior has two modes and is known by quadrature."""

import numpy as np

from bayesnn import MLP, Gaussian, NormalPrior, Posterior
from bayesnn.chain_statistics import ess

GRID = np.linspace(-9.0, 9.0, 3001)


def two_weights(sigma_noise=0.1):
    """A network v tanh(w x): its two modes are one another's image, and nothing crosses between them."""
    x = np.linspace(-2.0, 2.0, 12)[:, None]
    y = 0.8 * np.tanh(1.3 * x) + 0.1 * np.random.default_rng(5).standard_normal(x.shape)
    return Posterior(MLP(1, (1,), 1, bias=False), x, y, Gaussian(sigma_noise), NormalPrior(1.0))


def exact_moments(posterior):
    """Mean and mean square of |w|, by quadrature over the marginal density that NumPy computes."""
    values = np.array([dense(posterior, w) for w in GRID])
    shares = np.exp(values - values.max())
    shares /= shares.sum()
    return float(shares @ np.abs(GRID)), float(shares @ GRID**2)


def dense(posterior, w):
    """Log density of w with v integrated out."""
    h, y = np.tanh(w * posterior.x[:, 0]), posterior.y[:, 0]
    noise = posterior.likelihood.noise_sds(len(y))[:, 0] ** 2
    precision, pull = 1.0 + (h**2 / noise).sum(), (h * y / noise).sum()
    return 0.5 * pull**2 / precision - 0.5 * np.log(precision) - 0.5 * w**2


def off_by(draws, expected):
    """How many Monte-Carlo errors the mean of draws (chains, draws) is from what it should be."""
    error = draws.std() / np.sqrt(float(ess(draws[:, :, None]).min()))
    return abs(draws.mean() - expected) / error
