"""What is sampled: one posterior density, known by the Gaussians at some of its optima, or by where chains begin."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import xarray as xr

from bayesnn.arrays import FloatArray, IntArray
from bayesnn.checks import describe
from bayesnn.errors import ArgumentError
from bayesnn.factor import PrecisionFactor, factor_rows
from bayesnn.laplace import Laplace, LaplaceMixture, fit_laplace
from bayesnn.laplace.mixture import same_functions, same_rows
from bayesnn.models import nearest_image
from bayesnn.optimum import find_optimum, uninterrupted
from bayesnn.optimum.find import SAME_OPTIMUM_SD
from bayesnn.posterior import LogDensity, Posterior

# Searches for the optimum of a LogDensity.
N_SEARCHES = 4
# R-hat within a mode compares chains.
CHAINS_PER_MODE = 2
type Gaussians = Laplace | Sequence[Laplace] | LaplaceMixture

WANTS = "a Laplace, such as fit_laplace returns, or a LogDensity, or Laplaces of several optima"


@dataclass(frozen=True, eq=False)
class Target:
    """A posterior density and the Gaussians at its optima, among which chains are shared out.

    Parameters
    ----------
    posterior : Posterior
        What is sampled.
    laplaces : tuple of Laplace
        One of each optimum; none where no optimum is known, and chains begin at points of the user's own.
    starts : ndarray (chains, k), optional
        These points.
    """

    posterior: Posterior
    laplaces: tuple[Laplace, ...] = ()
    starts: FloatArray | None = None

    @staticmethod
    def of(given: object, seed: int = 0, *, needs_laplace: bool = True) -> "Target":
        """Take in what a user wants sampled.

        Parameters
        ----------
        given : Laplace, iterable of Laplace, LaplaceMixture or LogDensity
            For a LogDensity the Gaussian is made here, at the best of a few optima.
        seed : int
            Of the search for these.
        needs_laplace : bool
            Whether a Posterior, without any Gaussian, is refused.

        Raises
        ------
        ArgumentError
            If it is something else, none, Laplaces of different densities, or of one optimum twice.
        """
        if isinstance(given, Laplace):
            return Target(given.posterior, (given,))
        if isinstance(given, LogDensity):
            return Target(given, (_gaussian_at_best(given, seed),))
        if isinstance(given, Posterior) and not needs_laplace:
            return Target(given)
        if isinstance(given, LaplaceMixture):
            given = given.laplaces
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise ArgumentError("target", describe(given), WANTS)
        laplaces: list[Laplace] = []
        for laplace in cast("Iterable[object]", given):
            if not isinstance(laplace, Laplace):
                raise ArgumentError("target", f"a sequence with {describe(laplace)}", WANTS)
            laplaces.append(laplace)
        if not laplaces:
            raise ArgumentError("target", "no Laplace", WANTS)
        for i, laplace in enumerate(laplaces):
            _check_same_density(laplaces[0], laplace)
            _check_distinct(laplaces[:i], laplace)
        return Target(laplaces[0].posterior, tuple(laplaces))

    @property
    def n_modes(self) -> int:
        """Number of known optima, m."""
        return len(self.laplaces)

    @property
    def n_weights(self) -> int:
        """Number of weights, k."""
        return self.posterior.n_weights

    @property
    def log_evidences(self) -> FloatArray:
        """Laplace approximation of each mode's log evidence (m,), nats."""
        return np.array([laplace.log_marginal_likelihood for laplace in self.laplaces])

    @property
    def best(self) -> Laplace:
        """The Gaussian of the highest evidence, the first of equals."""
        if self.n_modes == 1:
            return self.laplaces[0]
        return max(self.laplaces, key=lambda laplace: laplace.log_marginal_likelihood)

    @cached_property
    def posterior_precision(self) -> FloatArray:
        """Mean of the Gaussians' precisions (k, k)."""
        if self.n_modes == 1:
            return self.laplaces[0].posterior_precision
        return np.mean([laplace.posterior_precision for laplace in self.laplaces], axis=0)

    @cached_property
    def factor(self) -> PrecisionFactor:
        """Triangular factor of that."""
        if self.n_modes == 1:
            return self.laplaces[0].factor
        share = 1.0 / np.sqrt(self.n_modes)
        return factor_rows((share * laplace.factor.upper for laplace in self.laplaces), self.n_weights)

    def mode_of_chains(self, num_chains: int) -> IntArray:
        """Share chains out over the modes, in blocks as equal as can be: the mode (chains,) of each.

        Raises
        ------
        ArgumentError
            If some mode would have fewer than two.
        """
        least = CHAINS_PER_MODE * self.n_modes
        if num_chains < least:
            wants = f"at least {least}, {CHAINS_PER_MODE} in each: R-hat within one compares chains"
            raise ArgumentError("num_chains", f"{num_chains} for {self.n_modes} optima", wants)
        return self.shared_out(num_chains)

    def shared_out(self, count: int) -> IntArray:
        """Share any number of things out over the modes, in blocks as equal as can be: the mode (count,) of each."""
        return np.arange(count, dtype=np.int64) * self.n_modes // count

    def centred(self, values: FloatArray) -> FloatArray:
        """Take each mode's mean off values (steps, chains, ...): of several modes, what varies within them is left.

        For one mode, or none that is known, they come back as they are.
        """
        if self.n_modes <= 1:
            return values
        modes = self.mode_of_chains(values.shape[1])
        means = np.stack([values[:, modes == mode].mean(axis=(0, 1)) for mode in range(self.n_modes)])
        return values - means[modes]

    def to_dataset(self, num_chains: int) -> xr.Dataset:
        """Group ``modes`` of the tree."""
        means = np.stack([laplace.mean for laplace in self.laplaces])
        return xr.Dataset(
            {
                "mean": (("mode", "weight"), means),
                "log_marginal_likelihood": (("mode",), self.log_evidences),
                "log_symmetry_order": (("mode",), np.array([each.log_symmetry_order for each in self.laplaces])),
                "log_density": (("mode",), np.array([float(self.posterior.log_density(mean)) for mean in means])),
                "num_chains": (("mode",), np.bincount(self.mode_of_chains(num_chains))),
            },
            coords={"mode": np.arange(self.n_modes), "weight": list(self.posterior.weight_names)},
        )


def _gaussian_at_best(target: LogDensity, seed: int) -> Laplace:
    """Return the Gaussian at the best optimum of a few searches."""
    found = uninterrupted(find_optimum(target, n_starts=N_SEARCHES, seed=seed, progress=False))
    return fit_laplace(target, found, curvature="hessian" if found.certificate.is_optimum else "ggn")


def _check_same_density(first: Laplace, laplace: Laplace) -> None:
    """Refuse a Laplace of another density than the first one's, and say what differs."""
    one, other = first.posterior, laplace.posterior
    if one is other:
        return
    if isinstance(one, LogDensity) and isinstance(other, LogDensity):
        if same_functions(one, other):
            return
        raise _differ("function", repr(one), f"another {other!r}")
    if repr(one.network) != repr(other.network) or one.n_weights != other.n_weights:
        raise _differ("network", repr(one.network), repr(other.network))
    if not (same_rows(one.x, other.x) and same_rows(one.y, other.y)):
        raise _differ("data", f"{one.n_rows} rows", f"{other.n_rows} rows")
    blocks = one.network.weight_blocks
    priors = [
        # Where precisions are inferred no coordinate's prior shows the means.
        np.concatenate([p.prior_precision, p.prior_mean, p.prior.mean_for(blocks)])
        for p in (one, other)
    ]
    if not np.array_equal(priors[0], priors[1]):
        raise _differ("prior", repr(one.prior), repr(other.prior))
    # The repr of a noise level for each row is cut short: the densities, to the bit, tell.
    same = all(one.log_density(w) == other.log_density(w) for w in (first.mean, laplace.mean))
    if repr(one.given_likelihood) != repr(other.given_likelihood) or not same:
        raise _differ("likelihood", repr(one.given_likelihood), repr(other.given_likelihood))


def _differ(part: str, one: str, other: str) -> ArgumentError:
    one, other = (" ".join(words.split()) for words in (one, other))
    wants = "Laplaces of one density: the same network, data, likelihood and prior"
    return ArgumentError("target", f"Laplaces that differ in their {part}, {one} and {other}", wants)


def _check_distinct(before: list[Laplace], laplace: Laplace) -> None:
    """Refuse an optimum that is a symmetric image of one before it, by the measure of :func:`bayesnn.find_optimum`."""
    same = _same_as(before, laplace)
    if same is not None:
        got = f"one optimum twice, as numbers {same} and {len(before)}, up to a symmetry of the network"
        raise ArgumentError("target", got, "Laplaces of distinct optima, such as find_optimum(...).others")


def is_distinct(before: Sequence[Laplace], laplace: Laplace) -> bool:
    """Whether an optimum is none of those before it, nor a symmetric image."""
    return _same_as(before, laplace) is None


def _same_as(before: Sequence[Laplace], laplace: Laplace) -> int | None:
    """Return which of the optima before this one it is, up to a symmetry."""
    if not before:
        return None
    posterior = laplace.posterior
    factor = posterior.factor_ggn(laplace.mean)
    for i, other in enumerate(before):
        image = nearest_image(posterior.model, other.mean, laplace.mean, posterior.symmetries)
        if np.linalg.norm(factor.whiten(image - laplace.mean)) <= SAME_OPTIMUM_SD * np.sqrt(posterior.n_weights):
            return i
    return None
