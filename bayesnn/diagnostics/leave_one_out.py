"""What each mode's chains say of rows they did not see: Pareto-smoothed importance sampling, leave-one-out."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from bayesnn.arrays import FloatArray, IntArray
from bayesnn.chain_statistics import Layout
from bayesnn.diagnostics.layout import layout_of
from bayesnn.errors import ArgumentError
from bayesnn.tree import values_of

# A row whose log likelihood varies by less is as likely without itself as with.
CONSTANT = 1e-8


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    r"""Log densities :math:`\log p(y_i \mid y_{-i})`, chains of one mode pooled.

    Vehtari, Gelman & Gabry (2017), Statistics and Computing 27, 1413; the smoothing is that of Vehtari, Simpson,
    Gelman, Yao & Gabry (2024), JMLR 25.

    Parameters
    ----------
    log_density : ndarray (m, n)
        Of each row under each mode.
    error : ndarray (m, n)
        Its Monte-Carlo standard error; too small where `pareto_k` is large.
    pareto_k : ndarray (m, n)
        Shape of the tail of the importance weights.
    pareto_k_limit : ndarray (m,)
        :math:`\min(1 - 1/\log_{10} S, 0.7)` for `S` draws: below it log densities can be trusted.
    """

    log_density: FloatArray
    error: FloatArray
    pareto_k: FloatArray
    pareto_k_limit: FloatArray

    @property
    def elpd(self) -> FloatArray:
        """Expected log predictive density (m,) of as many new rows, nats."""
        return self.log_density.sum(axis=1)

    @property
    def elpd_error(self) -> FloatArray:
        """Monte-Carlo standard error (m,) of that."""
        return np.sqrt((self.error**2).sum(axis=1))

    @property
    def n_unreliable(self) -> IntArray:
        """Rows (m,) of each mode whose `pareto_k` is above its limit."""
        return (self.pareto_k > self.pareto_k_limit[:, None]).sum(axis=1)


def leave_one_out(tree: xr.DataTree, mode_of_chains: IntArray) -> LeaveOneOut:
    """Estimate each mode's leave-one-out densities from the log likelihoods a tree holds.

    Parameters
    ----------
    tree : xarray.DataTree
        From :func:`bayesnn.sample`.
    mode_of_chains : ndarray of int (chains,)
        Which mode each chain belongs to, all of ``range(m)``.

    Returns
    -------
    LeaveOneOut

    Raises
    ------
    ArgumentError
        If the tree has no log likelihoods, as of a LogDensity or of more data than it keeps, or not finite ones.
    """
    values = values_of(tree, "log_likelihood", "y")
    if not np.isfinite(values).all():
        raise ArgumentError("tree", "log likelihoods that are not finite", "finite ones in group 'log_likelihood'")
    layout, modes = layout_of(tree), list[tuple[FloatArray, FloatArray, FloatArray, FloatArray]]()
    for mode in range(int(mode_of_chains.max()) + 1):
        chains = np.flatnonzero(mode_of_chains == mode)
        modes.append(_of_mode(values[chains], layout.of(chains)))
    log_density, error, pareto_k, limit = (np.stack(parts) for parts in zip(*modes, strict=True))
    return LeaveOneOut(log_density, error, pareto_k, limit)


def _of_mode(values: FloatArray, layout: Layout) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return the parts of :class:`LeaveOneOut` for the chains of one mode (chains, draws, n)."""
    rows = values.reshape(-1, values.shape[2]).T
    size = rows.shape[1]
    # Counted on the densities, whose mean it is about.
    efficiency = layout.ess(np.exp(values - values.max(axis=(0, 1))), "mean") / size
    smoothed = [_smoothed(row, float(efficiency.mean())) for row in rows]
    log_weights, pareto_k = np.stack([weights for weights, _ in smoothed]), np.array([k for _, k in smoothed])
    log_density = logsumexp(log_weights + rows, axis=1)
    # Delta method for a self-normalised mean: sum of w^2 (p - mean)^2, over the mean squared and the efficiency.
    relative = np.exp(log_weights + rows - log_density[:, None]) - np.exp(log_weights)
    error = np.sqrt((relative**2).sum(axis=1) / efficiency)
    return log_density, error, pareto_k, np.array(min(1.0 - 1.0 / np.log10(size), 0.7))


def _smoothed(row: FloatArray, efficiency: float) -> tuple[FloatArray, float]:
    """Return log weights (S,), proportional to one over the row's likelihood before smoothing, and Pareto k."""
    if np.ptp(row) < CONSTANT:
        return np.full(row.size, -np.log(row.size)), -np.inf
    from arviz_stats.base import array_stats

    try:
        log_weights, pareto_k = array_stats.psislw(row, r_eff=efficiency)  # wants minus the log ratio
    except ValueError:  # the largest weights are one number: chains stood still there
        return -row - logsumexp(-row), np.inf
    # Where one draw carries all the weight the fit has no tail left to look at.
    return log_weights, float(pareto_k) if np.isfinite(pareto_k) else np.inf
