"""A ReLU unit that its data know well but for its scaling, which no output feels."""

import numpy as np

from bayesnn import MLP, Gaussian, NormalPrior, Posterior, find_optimum, fit_laplace


def relu_unit():
    """Its Laplace posterior."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((2000, 2))
    net = MLP(2, (1,), 1, activation="relu", bias=False)
    y = net.predict(np.array([1.0, -0.8, 1.5]), x) + 0.2 * rng.standard_normal((2000, 1))
    posterior = Posterior(net, x, y, Gaussian(0.2), NormalPrior(1.0))
    return fit_laplace(posterior, find_optimum(posterior, n_starts=8, progress=False))
