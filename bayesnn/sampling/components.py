"""How fast function values move, judged by their principal components."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import FloatArray, IntArray

# Function values that move least count: this share of them.
WORST_SHARE = 0.1
# Principal components of the function values below this share of the largest standard deviation are rounding.
LEAST_COMPONENT = 1e-6


@dataclass(frozen=True)
class Components:
    """Principal components of function values: what is slow may be a small part of each of them.

    Parameters
    ----------
    basis : ndarray (m, r)
        From function values to scores of variance 1.
    shares : ndarray (m, r)
        Share of each component in the variance of each function value.
    """

    basis: FloatArray
    shares: FloatArray

    @staticmethod
    def of(seen: FloatArray) -> "Components":
        """Find those of function values (draws, m)."""
        _, lengths, rows = np.linalg.svd(seen - seen.mean(axis=0), full_matrices=False)
        kept = lengths > LEAST_COMPONENT * lengths[0]
        sds, directions = lengths[kept] / np.sqrt(len(seen)), rows[kept].T
        parts = (directions * sds) ** 2
        totals = parts.sum(axis=1, keepdims=True)
        varies = totals[:, 0] > 0.0
        return Components(directions / sds, parts[varies] / totals[varies])

    def efficiency(self, jumps: FloatArray, lengths: IntArray) -> FloatArray:
        """Independent draws per gradient of the function values that move least.

        Parameters
        ----------
        jumps : ndarray (lengths, r)
            Mean squared jumps of the scores, weighted with the probability that they are accepted.
        lengths : ndarray of int (lengths,)
            Gradients each took.

        Returns
        -------
        ndarray (lengths,)
        """
        moves = np.clip(0.5 * jumps, np.finfo(float).tiny, 1.0)
        gradients = ((2.0 - moves) / moves * lengths[:, None]) @ self.shares.T
        each = np.sort(1.0 / gradients, axis=1)
        return each[:, : max(1, round(WORST_SHARE * each.shape[1]))].mean(axis=1)
