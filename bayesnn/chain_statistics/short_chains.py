"""What the mean of a chain is worth that is too short to know it."""

import numpy as np

from bayesnn.arrays import FloatArray

# The mean of a short chain is taken off its draws, which hides some of the autocovariance that is looked for; what is
# found says how much, and is then looked for anew. Converged to rounding, but for chains that are one long memory.
ROUNDS = 30


def variance_of_mean(draws: FloatArray) -> tuple[FloatArray, FloatArray]:
    r"""Variance of one chain's mean, from autocovariances within chains pooled over all of them.

    Differences *between* chains do not enter, unlike in :func:`ess`: chains that disagree shall not seem to have a
    reason to. With :math:`\gamma_t` the autocovariances, :math:`\bar x` the chain's mean and `v` its variance,

    .. math:: E\,c_t = \gamma_t + v - 2\,\mathrm{cov}(x_n, \bar x), \qquad
              v = \frac1N\sum_{|t|<N}(1 - |t|/N)\,\gamma_t,

    where :math:`c_t` are the autocovariances about each chain's own mean, and the covariance, itself a sum of
    :math:`\gamma_t`, is averaged over the draws `n` that have one `t` later. All are solved together, the sums cut by
    Geyer's initial monotone sequence (Geyer 1992, Statistical Science 7, section 3.3). A chain of a few
    autocorrelation times cannot know its memory, and its mean seems surer than it is.

    Parameters
    ----------
    draws : ndarray (chains, draws, ...)
        At least 2 draws.

    Returns
    -------
    variance : ndarray (...)
    freedom : ndarray (...)
        Degrees of freedom of it as an estimate, for chains that are independent.

    Examples
    --------
    >>> variance, _ = variance_of_mean(np.random.default_rng(0).standard_normal((500, 10)))
    >>> bool(abs(variance - 0.1) < 0.01)
    True
    """
    flat = draws.reshape(*draws.shape[:2], -1)
    num_chains, size = flat.shape[:2]
    fades = (1.0 - np.arange(size, dtype=np.float64) / size)[:, None]
    about_means = _autocovariances(flat)
    # Stan's floor for anticorrelated chains, whose sum may come out as nothing.
    least = 1.0 / np.log10(max(num_chains * size, 10))
    hidden = np.zeros_like(about_means)
    total = window = variance = np.zeros(flat.shape[2])
    for _ in range(ROUNDS):
        kept, window = _geyer(about_means + hidden, fades)
        total = kept[0]
        summed: FloatArray = 2.0 * np.asarray((fades * kept).sum(axis=0)) - total
        variance: FloatArray = np.clip(summed, least * total, size * total) / size
        hidden = _hidden(kept, variance)
    # Relative variance of a truncated sum: 2 (2 w + 1) / (chains * draws), Sokal (1997), section 3.
    freedom = np.maximum(num_chains * size / (2.0 * window + 1.0), 1.0)
    return variance.reshape(draws.shape[2:]), freedom.reshape(draws.shape[2:])


def _autocovariances(draws: FloatArray) -> FloatArray:
    """Autocovariances (draws, q) about each chain's mean, each lag averaged over the pairs it has."""
    size = draws.shape[1]
    centred = draws - draws.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(centred, n=2 * size, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).mean(axis=0)
    return np.fft.irfft(power, n=2 * size, axis=0)[:size] / np.arange(size, 0, -1, dtype=np.float64)[:, None]


def _geyer(covariances: FloatArray, fades: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return covariances (lags, q), made a monotone sequence of pairs in their sum, and the lag where it is cut."""
    n_pairs = len(covariances) // 2
    pairs = (fades * covariances)[: 2 * n_pairs].reshape(n_pairs, 2, -1).sum(axis=1)
    positive = np.logical_and.accumulate(pairs > 0, axis=0)
    monotone = np.minimum.accumulate(np.where(positive, pairs, 0.0), axis=0)
    share = np.where(positive, monotone / np.where(positive, pairs, 1.0), 0.0)
    kept = np.zeros_like(covariances)
    kept[: 2 * n_pairs] = covariances[: 2 * n_pairs] * np.repeat(share, 2, axis=0)
    kept[0] = covariances[0]
    window = np.maximum(2 * positive.sum(axis=0) - 1, 0)
    return kept, window.astype(np.float64)


def _hidden(covariances: FloatArray, variance: FloatArray) -> FloatArray:
    """Return what taking off the chain's mean takes from autocovariances (lags, q), averaged over pairs of draws."""
    size = len(covariances)
    sums = np.cumsum(covariances, axis=0)
    with_mean = (sums + sums[::-1] - covariances[0]) / size  # covariance of draw n with the mean of all
    averages = np.cumsum(with_mean, axis=0) / np.arange(1, size + 1)[:, None]  # over the first 1, 2, ... draws
    return 2.0 * averages[::-1] - variance
