"""Mean and covariance of the posterior from importance weights at pairs of opposite Gaussian draws."""

from dataclasses import dataclass

import numpy as np

from bayesnn.agreement.null import Distance, norm_of_errors
from bayesnn.arrays import FloatArray

UNKNOWN = Distance(np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class MirroredMoments:
    """Distances whose noise is a share of themselves, so that small ones are seen, too.

    Parameters
    ----------
    mean_error : Distance
        Length of the posterior mean in whitened coordinates.
    covariance_error : Distance
        Frobenius norm of the whitened posterior covariance less the identity.
    """

    mean_error: Distance
    covariance_error: Distance

    @staticmethod
    def of(z: FloatArray, log_ratios: FloatArray) -> "MirroredMoments":
        r"""Weigh pairs of draws `z` and `-z`.

        What chance does to moments of draws has a size of its own, :math:`\sqrt{k/S}`; what it does to
        :math:`E_q[(w - 1) z]` is a share of :math:`w - 1`, which shrinks as the Gaussian is approached. Of
        :math:`w(z)` and :math:`w(-z)` half the difference is what third derivatives make, of the order of
        :math:`n^{-1/2}`, and moves the mean; half the sum, less 1, is of the order of 1/n, and makes the covariance.

        Parameters
        ----------
        z : ndarray (S, k)
            Standard normal draws: the Gaussian's, in its whitened coordinates.
        log_ratios : ndarray (2, S)
            Log posterior, which need not be normalised, less log Gaussian density at `z` and at `-z`.

        Returns
        -------
        MirroredMoments
            NaN where the posterior is zero at one of the draws.

        Examples
        --------
        A Gaussian tilted to one side is one shifted:

        >>> z = np.random.default_rng(0).standard_normal((4000, 1))
        >>> tilted = MirroredMoments.of(z, 0.01 * np.stack([z[:, 0], -z[:, 0]]))
        >>> round(tilted.mean_error.value, 3), tilted.covariance_error.value < 1e-4
        (0.01, True)
        """
        if not np.isfinite(log_ratios).all():
            return MirroredMoments(UNKNOWN, UNKNOWN)
        size, k = z.shape
        weights = np.exp(log_ratios - log_ratios.max())
        weights /= weights.mean()
        odd, even = 0.5 * (weights[0] - weights[1]), 0.5 * (weights[0] + weights[1]) - 1.0
        shifts = odd[:, None] * z
        mean = shifts.mean(axis=0)
        covariance = (z.T * even) @ z / size - np.eye(k) * even.mean() - np.outer(mean, mean)
        squares = z**2
        # Of (w - 1)(z_i z_j - 1 if i = j): second moments, for all pairs at once.
        second = (squares.T * even**2) @ squares / size
        second[np.diag_indices(k)] = ((even[:, None] * (squares - 1.0)) ** 2).mean(axis=0)
        upper = np.triu_indices(k)
        counts = np.where(upper[0] == upper[1], 1.0, 2.0)
        noise = (second[upper] - covariance[upper] ** 2).clip(0.0) / size
        # A covariance stands for two entries of the matrix, which are wrong together.
        entries = norm_of_errors(covariance[upper] * np.sqrt(counts), counts * noise)
        return MirroredMoments(norm_of_errors(mean, shifts.var(axis=0) / size), entries)
