"""Predictions by the weighted mixture of the modes that chains began in."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import probabilities
from bayesnn.diagnostics.mode_weights import ModeWeights, mode_of_chains
from bayesnn.laplace.mixture import mixed_moments
from bayesnn.laplace.predictive import check_new_rows, log_density_over_draws, moments_of_targets
from bayesnn.sampling.target import Gaussians, Target
from bayesnn.threads import on_one_blas_thread
from bayesnn.tree import group_of, weight_matrix


@dataclass(frozen=True, eq=False)
class MixturePrediction:
    """What a weighted mixture of modes says of new targets.

    Parameters
    ----------
    mean, sd : ndarray (n, t)
        Predictive mean and standard deviation of each target, noise in it; for classes (n, classes), of probabilities.
    log_density : ndarray (n,) or None
        Log predictive density of each row's targets, nats; None where none were given.
    """

    mean: FloatArray
    sd: FloatArray
    log_density: FloatArray | None


@on_one_blas_thread
def predict_over_modes(
    tree: xr.DataTree,
    laplace: Gaussians,
    x: ArrayLike,
    weights: ModeWeights | ArrayLike,
    y: ArrayLike | None = None,
) -> MixturePrediction:
    r"""Predict new targets by :math:`\sum_m w_m p_m`, `p_m` the predictive of the chains that began in mode `m`.

    Parameters
    ----------
    tree : xarray.DataTree
        From :func:`bayesnn.sample`.
    laplace : Laplace, sequence of Laplace or LaplaceMixture
        What it was sampled from.
    x : array_like (n, d)
        New inputs.
    weights : ModeWeights or array_like (m,)
        Such as :func:`bayesnn.mode_weights` returns, or numbers in proportion to the weights.
    y : array_like (n,) or (n, out), optional
        Targets, to be given their density.

    Returns
    -------
    MixturePrediction

    Raises
    ------
    ArgumentError
        If shapes do not fit the model, each training row has noise of its own, or `weights` are not non-negative
        numbers, one for each mode.

    Examples
    --------
    >>> from bayesnn import MLP, Gaussian, NormalPrior, Posterior, find_optimum, fit_laplace, sample
    >>> x = np.linspace(-1, 1, 30)[:, None]
    >>> post = Posterior(MLP(1, (2,), 1), x, np.sin(5 * x), Gaussian(0.3), NormalPrior(1.0))
    >>> best = find_optimum(post, n_starts=8, seed=0)
    >>> laplaces = [fit_laplace(post, optimum) for optimum in (best, best.others[0])]
    >>> tree = sample(laplaces, move="hmc", num_chains=4, num_warmup=60, num_samples=50, seed=0)
    >>> prediction = predict_over_modes(tree, laplaces, [[0.0], [0.5]], [3, 1])
    >>> prediction.mean.shape, bool(np.all(prediction.sd > 0.3))
    ((2, 1), True)
    """
    posterior = Target.of(laplace).posterior
    model, likelihood = posterior.model, posterior.likelihood
    inputs = model.check_inputs(x)
    check_new_rows(likelihood, len(inputs))
    targets = None if y is None else likelihood.check_targets(y, len(inputs), model.n_outputs)
    draws = weight_matrix(group_of(tree, "posterior"), model.weight_blocks)
    modes = mode_of_chains(tree)
    shares = weights.weights if isinstance(weights, ModeWeights) else weights
    shares = probabilities("weights", shares, int(modes.max()) + 1)
    means: list[FloatArray] = []
    variances: list[FloatArray] = []
    densities: list[FloatArray] = []
    for mode in range(shares.size):
        outputs = model.predict(draws[modes == mode].reshape(-1, posterior.n_weights), inputs)
        mean, variance = moments_of_targets(likelihood, outputs)
        means.append(mean)
        variances.append(variance)
        if targets is not None:
            densities.append(log_density_over_draws(likelihood, outputs, targets))
    mean, variance = mixed_moments(shares, np.stack(means), np.stack(variances))
    log_density = logsumexp(np.stack(densities), axis=0, b=shares[:, None]) if densities else None
    return MixturePrediction(mean, np.sqrt(variance), log_density)
