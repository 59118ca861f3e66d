"""What a growth study found."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from rich.table import Table

from bayesnn.agreement.learning_coefficient import SINGULAR_SHARE, STANDARD_ERRORS
from bayesnn.arrays import FloatArray
from bayesnn.checks import positive_number
from bayesnn.diagnostics.convergence import RHAT_LIMIT
from bayesnn.errors import ArgumentError
from bayesnn.growth.rates import LEVEL, THEORY, Rate, fit_rate, medians
from bayesnn.growth.record import OK, Record

# Figures that mean something whatever the chains do.
NEED_NO_CHAINS = ("k", "log_density", "rhat", "ess", "converged")


@dataclass(frozen=True)
class GoodEnough:
    """From which size the Gaussian is as near as is wanted.

    Parameters
    ----------
    n : float
        The size; NaN where the rate does not hold.
    interval : tuple of float
        95 %, by bootstrap over replicates.
    reason : str
        What it rests on, or why it is refused.
    """

    n: float
    interval: tuple[float, float]
    reason: str

    @property
    def sentence(self) -> str:
        """The size and what it rests on, or why none is named."""
        if np.isnan(self.n):
            return f"no size can be named: {self.reason}"
        return f"from n = {self.n:.0f} on ({self.interval[0]:.0f} to {self.interval[1]:.0f}): {self.reason}"


@dataclass(frozen=True, eq=False)
class Growth:
    """Records of all cells, by size and replicate.

    Parameters
    ----------
    records : tuple of Record
        One of each.
    """

    records: tuple[Record, ...]

    @cached_property
    def sizes(self) -> FloatArray:
        """Sizes (s,), increasing."""
        return np.unique([float(record.n) for record in self.records])

    @cached_property
    def n_replicates(self) -> int:
        """Number of replicates."""
        return 1 + max(record.replicate for record in self.records)

    def values(self, name: str) -> FloatArray:
        """One figure (s, r) of all cells that ended well and whose chains agree; NaN elsewhere.

        Learning coefficients have chains of their own, at another temperature.
        """
        found = np.full((len(self.sizes), self.n_replicates), np.nan)
        for record in self.records:
            if record.status == OK and name in record.numbers and _is_sampled(record, name):
                found[int(np.searchsorted(self.sizes, record.n)), record.replicate] = record.numbers[name]
        return found

    def _distance(self, name: str) -> FloatArray:
        return 1.0 - self.values("hessian_acceptance") if name == "rejection_of_independence" else self.values(name)

    def rates(self, seed: int = 0) -> dict[str, Rate]:
        """Fit the slopes of all distances for which there is a theory.

        Medians over replicates are fitted, of the sizes at which more than half of them show more than chance; the
        others are smaller, and count as such.

        Parameters
        ----------
        seed : int
            Of the bootstrap.
        """
        return {
            name: fit_rate(name, self.sizes, self._distance(name), theory, seed)[0] for name, theory in THEORY.items()
        }

    def good_enough(self, kl: float = 0.05, curvature: str = "hessian", seed: int = 0) -> GoodEnough:
        """Say at which size the KL divergence from Gaussian to posterior falls to what is wanted.

        Parameters
        ----------
        kl : float
            Nats.
        curvature : {"hessian", "ggn"}
            Of the Gaussian.
        seed : int
            Of the bootstrap.

        Returns
        -------
        GoodEnough
            Refused, with NaN, where the theory's rate, -1, is not that of the data.
        """
        kl = positive_number("kl", kl)
        name = f"{curvature}_kl"
        if name not in THEORY:
            raise ArgumentError("curvature", repr(curvature), "'hessian' or 'ggn'")
        rate, lines = fit_rate(name, self.sizes, self._distance(name), THEORY[name], seed)
        low, high = rate.slope_interval
        if np.isnan(rate.slope):
            sizes = "1 size" if rate.n_sizes == 1 else f"{rate.n_sizes} sizes"
            words = f"KL is known at {sizes}, and a rate takes 3: nothing is extrapolated"
            return GoodEnough(np.nan, (np.nan, np.nan), words)
        if np.isnan(low):
            words = f"KL falls as n^{rate.slope:.2f} in one replicate, which has no interval: nothing is extrapolated"
            return GoodEnough(np.nan, (np.nan, np.nan), words)
        if not rate.follows:
            words = f"KL falls as n^{rate.slope:.2f} ({low:.2f} to {high:.2f}), not as n^-1: nothing is extrapolated"
            return GoodEnough(np.nan, (np.nan, np.nan), words)
        sizes = np.exp((np.log(kl) - lines[:, 0]) / lines[:, 1])
        ends = np.nanquantile(sizes, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        n = float(np.exp((np.log(kl) - rate.intercept) / rate.slope))
        words = f"KL falls as n^{rate.slope:.2f} over {rate.n_sizes} sizes up to {self.sizes[-1]:g}"
        return GoodEnough(n, (float(ends[0]), float(ends[1])), words)

    def learning_coefficient(self) -> xr.Dataset:
        """Learning coefficient, its error and a regular model's over sizes and replicates, ``k / 2`` beside them."""
        names = ("learning_coefficient", "learning_coefficient_error", "learning_coefficient_regular")
        if not any(names[0] in record.numbers for record in self.records):
            raise ArgumentError("learning", "a study without it", "data_growth(..., learning=True)")
        axes = ("n", "replicate")
        half = 0.5 * np.nanmax(self.values("k"))
        return xr.Dataset(
            {name: (axes, self.values(name)) for name in names} | {"half_of_k": ((), half)}, coords={"n": self.sizes}
        )

    @property
    def is_singular(self) -> bool:
        """Whether the learning coefficient is well below a regular model's at every size, by more than chance.

        Where the prior is felt a regular model's is below ``k / 2``, too
        (:attr:`bayesnn.agreement.LearningCoefficient.regular`). Sizes at which no chains agree have no say, but the
        largest must have one: it is about what more data do.
        """
        values, errors = self.values("learning_coefficient"), self.values("learning_coefficient_error")
        limits = SINGULAR_SHARE * self.values("learning_coefficient_regular")
        below, seen = values + STANDARD_ERRORS * errors < limits, np.isfinite(values)
        count = seen.sum(axis=1)
        return bool(count[-1] and np.all((below & seen).sum(axis=1)[count > 0] > 0.5 * count[count > 0]))

    def to_dataset(self) -> xr.Dataset:
        """All figures over sizes and replicates, with status and verdict of each cell."""
        names = sorted({name for record in self.records for name in record.numbers})
        axes = ("n", "replicate")
        words = np.full((2, len(self.sizes), self.n_replicates), "", dtype=object)
        for record in self.records:
            place = int(np.searchsorted(self.sizes, record.n)), record.replicate
            words[(0, *place)], words[(1, *place)] = record.status, record.verdict
        return xr.Dataset(
            {name: (axes, self.values(name)) for name in names}
            | {"status": (axes, words[0].astype(str)), "verdict": (axes, words[1].astype(str))},
            coords={"n": self.sizes, "replicate": np.arange(self.n_replicates)},
        )

    def table(self) -> Table:
        """Return medians over replicates, a row for each size, and the fitted slopes."""
        columns = ("hessian_kl", "ggn_kl", "hessian_mean_error", "hessian_covariance_error", "hessian_skewness")
        table = Table(title="Medians over replicates", title_justify="left")
        for name in ("n", *columns, "k-hat", "cells"):
            table.add_column(name.replace("hessian_", ""), justify="right")
        middle = [medians(self._distance(name)) for name in (*columns, "hessian_pareto_k")]
        for i, n in enumerate(self.sizes):
            count = int(np.isfinite(self.values("hessian_kl")[i]).sum())
            table.add_row(f"{n:g}", *(f"{median[i]:.3g}" for median in middle), f"{count} of {self.n_replicates}")
        rates = self.rates()
        table.add_section()
        table.add_row("slope", *(f"{rates[name].slope:.2f}" for name in columns), "", "")
        table.add_row("theory", *(f"{rates[name].theory:g}" for name in columns), "", "")
        return table


def _is_sampled(record: Record, name: str) -> bool:
    """Whether the chains that a figure rests on agree."""
    if name.startswith(("learning_coefficient", "wbic")):
        return record.numbers.get("learning_coefficient_rhat", np.inf) <= RHAT_LIMIT
    return name in NEED_NO_CHAINS or bool(record.numbers["converged"])
