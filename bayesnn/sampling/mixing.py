"""How fast a chain forgets, by how far its function values and its slow weights jump in one step."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.sampling.metric import Metric

# Function values that move least count: this share of them.
WORST_SHARE = 0.1
# Principal components of the function values count if they make such a share of the variance of some value. At most so
# many do, and so many directions of the weights: their jumps are learnt from a few hundred trajectories.
LEAST_SHARE, MOST_COMPONENTS, MOST_DIRECTIONS = 0.01, 48, 16
# Directions of the weights whose spread is below this share of the widest one's are what function values say already.
LEAST_SPREAD = 1e-2
# Variance of jumps, in units of the posterior's, that counts as none.
NO_JUMP = 1e-9
# An autocorrelation time below this is no gain: draws on opposite sides say much of means, and nothing new of spreads.
LEAST_TIME = 1.0


@dataclass(frozen=True)
class MixingSpace:
    r"""Principal components of function values and the widest directions of the weights, in which jumps are measured.

    A chain that is reversible with respect to the posterior forgets a function value `f` with the autocorrelation time
    :math:`\tau = 2 \langle f, (I - P)^{-1} f \rangle / \langle f, f \rangle - 1`, where `P` is the expectation after
    one step. In a space of functions `z` that `f` is one of,
    :math:`\langle z, (I - P) z' \rangle = E[\Delta z \Delta z'] / 2` is known from jumps, and :math:`2 c' M^{-1} c - 1`
    with `M` this matrix and `c` the covariances of `f` and `z`, for an `f` of variance 1, bounds its time from below:
    Galerkin's method, as in the variational approach to conformation dynamics (Noé & Nüske 2013, Multiscale Model.
    Simul. 11). The matrix, not its diagonal, tells that a part of `f` is slow; the weights tell what no function value
    shows at once. A time below 1 counts as 1.

    Parameters
    ----------
    basis : ndarray (m, r)
        From function values to components of variance 1.
    loadings : ndarray (m, r)
        Of each function value that varies, in units of its standard deviation, on the components.
    metric : Metric
        In whose coordinates the weights are taken.
    regression : ndarray (r, k)
        Of these on the components, within chains.
    directions : ndarray (k, d)
        From what is left of the weights to the coordinates taken.
    widest : float
        Standard deviation of the weights, in the metric's coordinates, along the direction where it is largest.
    """

    basis: FloatArray
    loadings: FloatArray
    metric: Metric
    regression: FloatArray
    directions: FloatArray
    widest: float

    @staticmethod
    def of(values: FloatArray, weights: FloatArray, metric: Metric) -> "MixingSpace":
        """Find it from what chains have seen.

        Parameters
        ----------
        values : ndarray (steps, chains, m)
            Function values.
        weights : ndarray (steps, chains, k)
            Where they were taken.
        metric : Metric
            Directions in which the weights spread wider than it expects are those that it moves slowly.

        Returns
        -------
        MixingSpace
        """
        steps, chains, _ = values.shape
        flat = values.reshape(steps * chains, -1)
        centred = flat - flat.mean(axis=0)
        sds = centred.std(axis=0)
        _, lengths, rows = np.linalg.svd(centred / np.sqrt(len(flat)), full_matrices=False)
        varies = sds > 0.0
        loadings = (rows.T * lengths)[varies] / sds[varies, None]
        kept = (loadings**2 > LEAST_SHARE).any(axis=0)
        kept[MOST_COMPONENTS:] = False
        basis, loadings = rows[kept].T / lengths[kept], loadings[:, kept]
        # Chains that never meet differ by chance: what their function values have to do with it is no slow mixing.
        scores = _within_chains((centred @ basis).reshape(steps, chains, -1))
        deviations = _within_chains(metric.whiten(weights.reshape(steps * chains, -1)).reshape(steps, chains, -1))
        regression = np.linalg.lstsq(scores, deviations, rcond=None)[0]
        _, spreads, axes = np.linalg.svd((deviations - scores @ regression) / np.sqrt(len(flat)), full_matrices=False)
        wide = spreads > LEAST_SPREAD * np.sqrt(np.mean(deviations**2, axis=0).max())
        wide[MOST_DIRECTIONS:] = False
        widest = float(np.sqrt(np.linalg.eigvalsh(deviations.T @ deviations / len(flat))[-1].clip(0.0)))
        return MixingSpace(basis, loadings, metric, regression, axes[wide].T / spreads[wide], widest)

    def jumps(self, values: FloatArray, weights: FloatArray) -> FloatArray:
        """Return jumps (n, r + d) in this space for jumps of function values (n, m) and weights (n, k)."""
        components = values @ self.basis
        rest = (self.metric.whiten(weights) - components @ self.regression) @ self.directions
        return np.concatenate([components, rest], axis=1)

    def independent_draws(self, half_squares: FloatArray) -> float:
        """Independent draws that one step is worth to the function values that it moves least.

        Parameters
        ----------
        half_squares : ndarray (r + d, r + d)
            Half of the mean outer product of jumps in one step.

        Returns
        -------
        float
        """
        r = self.loadings.shape[1]
        if len(half_squares) == 0 or not np.isfinite(half_squares).all():
            return 0.0
        # What does not jump has no inverse: it is held above nothing, or above rounding of what jumps most.
        squares, axes = np.linalg.eigh(half_squares)
        inverse = (axes / np.maximum(squares, NO_JUMP * max(1.0, float(squares[-1])))) @ axes.T
        # Where no function value varies the weights are all there is.
        of_values = np.einsum("ij,jk,ik->i", self.loadings, inverse[:r, :r], self.loadings) if r else np.diag(inverse)
        times = 2.0 * of_values - 1.0
        slowest = np.sort(np.maximum(times, LEAST_TIME))[::-1]
        if len(slowest) == 0:
            return 0.0
        return float(1.0 / slowest[: max(1, round(WORST_SHARE * len(slowest)))].mean())


def _within_chains(values: FloatArray) -> FloatArray:
    """Take each chain's mean off values (steps, chains, m); one axis for both is left."""
    steps, chains, size = values.shape
    return (values - values.mean(axis=0)).reshape(steps * chains, size)
