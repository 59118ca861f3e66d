"""Statistics of ensembles whose walkers look at each other: an ensemble is one chain, of all its walkers together.

Walkers of one ensemble are no independent chains, so R-hat between them means nothing, and an effective sample size
that adds them up may be many times too large (emcee 3.1.6's ``GaussianMove`` with a full covariance: 9 times).
"""

import numpy as np

from bayesnn.arrays import FloatArray, IntArray
from bayesnn.chain_statistics.nested_rhat import half_superchains, nested_rhat
from bayesnn.chain_statistics.rank_normalised import TAIL, ess, halves, normal_scores, where_it_varies


def autocorrelation_time(draws: FloatArray, ensemble: IntArray) -> FloatArray:
    r"""Integrated autocorrelation time, in steps: walkers times draws over the effective sample size of the mean.

    By the autocovariance :math:`C_t` of the ensemble's *mean*, as Goodman & Weare define it,
    :math:`\tau = \sum_t C_t / (\sigma^2/L)` with `L` walkers of variance :math:`\sigma^2`, so that the mean of `N`
    draws has variance :math:`\sigma^2\tau/(L N)` whatever one walker has to do with another. emcee averages the
    autocorrelations of single walkers instead, which leaves out what passes between walkers: 10 % for the stretch move,
    all of it where walkers share their random numbers.

    Parameters
    ----------
    draws : ndarray (walkers, draws, ...)
        Of all ensembles, at least 4 draws.
    ensemble : ndarray of int (walkers,)
        To which ensemble each walker belongs.

    Returns
    -------
    ndarray (...)

    References
    ----------
    Goodman & Weare (2010), Ensemble samplers with affine invariance, Comm. App. Math. Comp. Sci. 5, equations 17 to 20.

    Examples
    --------
    >>> draws = np.random.default_rng(0).standard_normal((40, 500))
    >>> bool(abs(autocorrelation_time(draws, np.arange(40) // 10) - 1) < 0.2)
    True
    """
    return draws.shape[0] * draws.shape[1] / ensemble_ess(draws, ensemble, "mean")


def ensemble_ess(draws: FloatArray, ensemble: IntArray, method: str = "bulk") -> FloatArray:
    """Effective sample size of all walkers, from the variance and autocovariance of ensemble means.

    Variance and autocovariance of the means, with the differences between ensembles, enter as those of chains do in
    :func:`ess`. A few series of means are a noisy witness: walkers count for no more than they would as chains.

    Parameters
    ----------
    draws : ndarray (walkers, draws, ...)
        Of all ensembles, at least 4 draws.
    ensemble : ndarray of int (walkers,)
        To which ensemble each walker belongs.
    method : {"bulk", "tail", "mean", "sd"}
        Of the mean of rank-normalised draws, of the 5 % and 95 % quantiles (the smaller), of the mean, or of the
        variance.

    Returns
    -------
    ndarray (...)
    """

    def of_mean(values: FloatArray) -> FloatArray:
        means = np.stack([values[ensemble == which].mean(axis=0) for which in np.unique(ensemble)])
        variance = means.var(axis=(0, 1))
        worth = values.var(axis=(0, 1)) / np.where(variance > 0, variance, 1.0)  # one draw of an ensemble, in draws
        return np.minimum(ess(means, "mean") * np.where(variance > 0, worth, 1.0), ess(values, "mean"))

    def of_draws(values: FloatArray) -> FloatArray:
        if method == "tail":
            limits = np.quantile(values, TAIL, axis=(0, 1))
            below = [np.where(np.isnan(values), np.nan, values <= limit) for limit in limits]
            return np.min([of_mean(each) for each in below], axis=0)
        if method == "bulk":
            return of_mean(normal_scores(values))
        return of_mean(values if method == "mean" else (values - values.mean(axis=(0, 1))) ** 2)

    return where_it_varies(draws, of_draws, float(draws.shape[0] * draws.shape[1]))


def ensemble_rhat(draws: FloatArray, ensemble: IntArray) -> FloatArray:
    """Rank-normalised R-hat between independent ensembles: each half of an ensemble's draws is one superchain.

    The variance between means of half-ensembles is set against that of all walkers within, as nested R-hat does
    (:func:`nested_rhat`).

    Parameters
    ----------
    draws : ndarray (walkers, draws, ...)
        Of all ensembles, which are equally large; at least 4 draws.
    ensemble : ndarray of int (walkers,)
        To which ensemble each walker belongs.

    Returns
    -------
    ndarray (...)
    """
    return nested_rhat(halves(draws), half_superchains(ensemble))
