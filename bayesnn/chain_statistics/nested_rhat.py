"""R-hat for many chains of few draws, and what it is by chance alone when they have converged."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import FloatArray, IntArray
from bayesnn.chain_statistics.rank_normalised import folded, halves, normal_scores
from bayesnn.chain_statistics.short_chains import variance_of_mean
from bayesnn.errors import ArgumentError

# Bulk and folded draws are each looked at.
LOOKS = 2
# Degrees of freedom of what is known.
MANY = 1e9
# Fewer draws have no halves with a variance of their own.
SHORTEST_TO_SPLIT = 4


@dataclass(frozen=True, eq=False)
class NestedRhat:
    """Nested R-hat of some quantities and the upper end of its null band.

    Parameters
    ----------
    value : ndarray (...)
        Of the rank-normalised draws or of their distances from the median, between superchains or between halves of the
        draws, whichever is furthest beyond its band.
    band : ndarray (...)
        Which converged chains exceed by chance with the probability stated, for any of the quantities.
    """

    value: FloatArray
    band: FloatArray


@dataclass(frozen=True, eq=False)
class _Spread:
    """Variances of superchain means, of chain means within a superchain, and of draws within a chain, each (q,)."""

    between: FloatArray
    of_chains: FloatArray
    of_draws: FloatArray

    @property
    def within(self) -> FloatArray:
        return self.of_chains + self.of_draws

    @property
    def rhat(self) -> FloatArray:
        still = self.within == 0.0
        ratio = self.between / np.where(still, 1.0, self.within)
        return np.where(still, np.where(self.between > 0, np.inf, 1.0), np.sqrt(1.0 + ratio))


def nested_rhat(draws: FloatArray, superchains: IntArray, method: str = "rank") -> FloatArray:
    r"""Nested R-hat: :math:`\sqrt{1 + B/W}`, `B` the variance between means of superchains, `W` that within them.

    A superchain is a group of chains that start at the same place, or one chain. Chains may have a single draw, if
    superchains have several chains.

    Parameters
    ----------
    draws : ndarray (chains, draws, ...)
        Any quantities.
    superchains : ndarray of int (chains,)
        To which superchain each chain belongs; all have the same number.
    method : {"rank", "identity"}
        ``"rank"``: the larger of those of the rank-normalised draws and of their distances from the median.
        ``"identity"``: of the draws as they are.

    Returns
    -------
    ndarray (...)

    Raises
    ------
    ArgumentError
        If there are fewer than 2 superchains, they differ in size, or each is one chain of one draw.

    References
    ----------
    Margossian, Hoffman, Sountsov, Riou-Durand, Vehtari & Gelman (2024), Nested R-hat, Bayesian Analysis, equations 6
    to 8.

    Examples
    --------
    >>> draws = np.random.default_rng(0).standard_normal((64, 5))
    >>> float(nested_rhat(draws, np.arange(64) // 8).round(3))
    1.015
    """
    grouped, flat = _grouped(draws, superchains)
    order = np.argsort(superchains, kind="stable")
    looks = (flat,) if method == "identity" else (normal_scores(flat), normal_scores(folded(flat)))
    return np.max([_spread(look[order], grouped).rhat for look in looks], axis=0).reshape(draws.shape[2:])


def nested_rhat_band(
    num_superchains: int,
    chains_per_superchain: int,
    effective: FloatArray | float,
    level: float = 0.95,
    freedom: FloatArray | float = MANY,
) -> FloatArray:
    r"""Quantile of the nested R-hat of one quantity when all chains have converged.

    For normal draws :math:`(\hat R^2 - 1)\,M N_{eff}` is F-distributed. The first degrees of freedom are those of `K`
    superchain means. The second are those of the estimate of the effective draws: the :math:`K(M-1)` of the chain means
    within superchains, or, where each superchain is one chain, `freedom`, those of its autocovariances.

    Parameters
    ----------
    num_superchains, chains_per_superchain : int
        `K`, at least 2, and `M`.
    effective : ndarray or float
        Effective draws of one chain: `W` over the variance of a chain's mean.
    level : float
        Probability of staying below.
    freedom : ndarray or float
        Where `M` is 1.

    Returns
    -------
    ndarray, the shape of `effective`

    Examples
    --------
    >>> float(nested_rhat_band(8, 16, 5.0).round(3)), float(nested_rhat_band(8, 16, 500.0).round(5))
    (1.013, 1.00013)
    """
    from scipy.stats import f as f_distribution

    second = num_superchains * (chains_per_superchain - 1) if chains_per_superchain > 1 else freedom
    quantile = np.asarray(f_distribution.ppf(level, num_superchains - 1, second), dtype=np.float64)
    return np.sqrt(1.0 + quantile / (chains_per_superchain * np.asarray(effective, dtype=np.float64)))


def nested_rhat_with_band(
    draws: FloatArray, superchains: IntArray, level: float = 0.95, n_quantities: int | None = None
) -> NestedRhat:
    """Rank-normalised nested R-hat, with the band for this layout of chains at their effective number of draws.

    The band holds for the largest of all quantities: each gets its share of the error as if they were independent
    (Sidak), so that quantities that go together leave it less often than stated.

    Effective draws are estimated *within* superchains, from the spread of their chains' means, or, where each is one
    chain, by :func:`variance_of_mean`: superchains that disagree do not widen their own band. Single chains shorter
    than some five autocorrelation times seem to forget sooner than they do, and leave the band more often than stated;
    superchains of several chains know what a chain is worth whatever its length.

    Chains of 4 draws or more are compared a second time, the first halves of all as one superchain and the second
    halves as another: drift that all chains share shows there.

    Parameters
    ----------
    draws : ndarray (chains, draws, ...)
        Any quantities.
    superchains : ndarray of int (chains,)
        To which superchain each chain belongs.
    level : float
        Probability with which converged chains stay below the band in all quantities.
    n_quantities : int, optional
        How many quantities share the error; by default those of `draws`.

    Returns
    -------
    NestedRhat

    Raises
    ------
    ArgumentError
        As :func:`nested_rhat`.

    Examples
    --------
    >>> draws = np.random.default_rng(1).standard_normal((64, 5))
    >>> found = nested_rhat_with_band(draws, np.arange(64) // 8)
    >>> bool(found.value < found.band)
    True
    """
    flat = _grouped(draws, superchains)[1]
    groupings = [(flat, superchains)]
    if draws.shape[1] >= SHORTEST_TO_SPLIT:
        groupings.append((halves(flat), np.tile(np.arange(2), len(flat))))
    looks = LOOKS * len(groupings)
    share = level ** (1.0 / (looks * (n_quantities or flat.shape[2])))
    found = [
        _value_and_band(look, groups, share)
        for values, groups in groupings
        for look in (normal_scores(values), normal_scores(folded(values)))
    ]
    value, band = np.stack([pair[0] for pair in found]), np.stack([pair[1] for pair in found])
    beyond = (value - 1.0) / np.maximum(band - 1.0, 1e-300)
    worst = np.argmax(np.where(np.isnan(beyond), np.inf, beyond), axis=0)[None]
    shape = draws.shape[2:]
    return NestedRhat(
        np.take_along_axis(value, worst, axis=0).reshape(shape), np.take_along_axis(band, worst, axis=0).reshape(shape)
    )


def _value_and_band(draws: FloatArray, superchains: IntArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Nested R-hat of draws (chains, draws, q), and the band of each quantity by itself."""
    grouped = _grouped(draws, superchains)[0]
    spread = _spread(draws[np.argsort(superchains, kind="stable")], grouped)
    if grouped[1] > 1:
        effective = spread.within / np.maximum(spread.of_chains, 1e-300)
        return spread.rhat, nested_rhat_band(*grouped, effective, level)
    # What a chain's own mean takes off its spread is in W, and must be in the band.
    variance, freedom = variance_of_mean(draws)
    effective = np.where(variance > 0.0, spread.within / np.where(variance > 0.0, variance, 1.0), draws.shape[1])
    return spread.rhat, nested_rhat_band(*grouped, effective, level, freedom)


def half_superchains(superchains: IntArray) -> IntArray:
    """Name the superchains (2 chains,) of the halves of chains, first and second halves apart."""
    return (2 * superchains[:, None] + np.arange(2)).ravel()


def _grouped(draws: FloatArray, superchains: IntArray) -> tuple[tuple[int, int], FloatArray]:
    """Return numbers of superchains and of chains in each, and draws (chains, draws, q)."""
    sizes = np.unique(superchains, return_counts=True)[1]
    if len(superchains) != len(draws):
        raise ArgumentError("superchains", f"shape {superchains.shape}", f"shape ({len(draws)},), one a chain")
    if len(sizes) < 2 or np.ptp(sizes) > 0:
        raise ArgumentError("superchains", f"{len(sizes)} of {sorted(set(sizes.tolist()))} chains", "2 of one size")
    if sizes[0] == 1 and draws.shape[1] == 1:
        raise ArgumentError("draws", "one draw of each superchain", "2 draws, or superchains of 2 chains")
    return (len(sizes), int(sizes[0])), draws.reshape(*draws.shape[:2], -1)


def _spread(draws: FloatArray, grouped: tuple[int, int]) -> _Spread:
    """Analyse the variance of draws (chains, draws, q) whose chains are sorted by superchain."""
    nested = draws.reshape(*grouped, *draws.shape[1:])
    chain_means = nested.mean(axis=2)
    none = np.zeros(draws.shape[2])
    return _Spread(
        between=chain_means.mean(axis=1).var(axis=0, ddof=1),
        of_chains=chain_means.var(axis=1, ddof=1).mean(axis=0) if grouped[1] > 1 else none,
        of_draws=nested.var(axis=2, ddof=1).mean(axis=(0, 1)) if nested.shape[2] > 1 else none,
    )
