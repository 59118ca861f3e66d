"""How chains belong together, and the statistics that are right for it."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import FloatArray, IntArray
from bayesnn.chain_statistics.ensembles import autocorrelation_time, ensemble_ess, ensemble_rhat
from bayesnn.chain_statistics.nested_rhat import NestedRhat, nested_rhat_with_band
from bayesnn.chain_statistics.rank_normalised import ess, halves, rhat

# With fewer draws a chain, R-hat of converged chains is above 1.01 by itself: it is 1 + (1 / N_eff - 1 / N) / 2 on
# average, for half-chains of N draws, give or take chance.
SHORT = 100


@dataclass(frozen=True, eq=False)
class Layout:
    """Chains of equal length and the groups they belong to.

    Parameters
    ----------
    num_chains, num_draws : int
        Chains, or walkers, and draws of each.
    ensemble : ndarray of int (chains,), optional
        Interacting ensemble of each walker; without it chains are independent.
    superchain : ndarray of int (chains,), optional
        Chains that started at the same place have the same number; without it all started apart.
    mode : ndarray of int (chains,), optional
        Optimum near which each chain started.

    Examples
    --------
    >>> Layout(128, 20).is_short, Layout(16, 500).is_short
    (True, False)
    """

    num_chains: int
    num_draws: int
    ensemble: IntArray | None = None
    superchain: IntArray | None = None
    mode: IntArray | None = None

    @property
    def num_ensembles(self) -> int:
        """Number of interacting ensembles; 0 where chains are independent."""
        return 0 if self.ensemble is None else len(np.unique(self.ensemble))

    @property
    def is_short(self) -> bool:
        """Whether chains are so short that R-hat must be judged against its null band."""
        return self.ensemble is None and self.num_draws < SHORT and self.num_chains > 1

    @property
    def superchains(self) -> IntArray:
        """Superchain of each chain; each chain by itself unless there are at least 2 groups of one size."""
        if self.superchain is not None:
            names, sizes = np.unique(self.superchain, return_counts=True)
            if len(names) > 1 and np.ptp(sizes) == 0:
                return self.superchain
        return np.arange(self.num_chains)

    def rhat(self, values: FloatArray) -> FloatArray:
        """R-hat (...) of values (chains, draws, ...), between ensembles where there are any."""
        if self.ensemble is not None:
            return ensemble_rhat(values, self.ensemble)
        # arviz_stats has nothing to say of one chain, but the halves of a chain can be compared all the same.
        return rhat(values if self.num_chains > 1 else halves(values))

    def nested_rhat(self, values: FloatArray, n_quantities: int | None = None) -> NestedRhat:
        """Nested R-hat of values (chains, draws, ...) with its band."""
        return nested_rhat_with_band(values, self.superchains, n_quantities=n_quantities)

    def ess(self, values: FloatArray, method: str = "bulk") -> FloatArray:
        """Effective sample size (...) of values (chains, draws, ...)."""
        return ess(values, method) if self.ensemble is None else ensemble_ess(values, self.ensemble, method)

    def autocorrelation_time(self, values: FloatArray) -> FloatArray:
        """Integrated autocorrelation time (...) of values (chains, draws, ...), in steps."""
        each = np.arange(self.num_chains) if self.ensemble is None else self.ensemble
        return autocorrelation_time(values, each)

    def modes(self) -> "dict[int, tuple[IntArray, Layout]]":
        """Return chains, and their layout, of each mode; nothing where there is one mode."""
        if self.mode is None or np.ptp(self.mode) == 0:
            return {}
        found: dict[int, tuple[IntArray, Layout]] = {}
        for name in np.unique(self.mode):
            chains = np.flatnonzero(self.mode == name)
            found[int(name)] = chains, self.of(chains)
        return found

    def of(self, chains: IntArray) -> "Layout":
        """Return the layout of some chains (c,), of one mode."""
        groups = (None if group is None else group[chains] for group in (self.ensemble, self.superchain))
        return Layout(len(chains), self.num_draws, *groups)
