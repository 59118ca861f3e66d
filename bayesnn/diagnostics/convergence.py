"""Whether the chains agree: rank-normalised R-hat and ESS, of predictions, log posterior and noise before weights."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import xarray as xr

from bayesnn.arrays import FloatArray
from bayesnn.chain_statistics import Layout, NestedRhat, ess, rhat
from bayesnn.diagnostics.layout import layout_of
from bayesnn.errors import ArgumentError
from bayesnn.tree import group_of, values_of

__all__ = ["ESS_LIMIT", "RHAT_LIMIT", "Convergence", "Worst", "converge", "ess", "rhat"]

# Vehtari, Gelman, Simpson, Carpenter & Buerkner (2021), Bayesian Analysis 16: R-hat below 1.01, ESS above 400.
RHAT_LIMIT = 1.01
ESS_LIMIT = 400.0
# Coordinates that are no weights and that predictions of targets feel, each by itself.
NOISE = ("log_sigma_noise", "log_prior_precision")


def _none() -> FloatArray:
    return np.zeros(0)


@dataclass(frozen=True)
class Worst:
    """The R-hat that is furthest beyond what is allowed.

    Parameters
    ----------
    rhat : float
        R-hat, or nested R-hat where chains are short.
    limit : float
        1.01, or the upper end of the null band.
    """

    rhat: float
    limit: float

    @property
    def agrees(self) -> bool:
        """Whether it is within its limit; a NaN is not."""
        return self.rhat <= self.limit

    @staticmethod
    def of(values: FloatArray, limits: FloatArray) -> "Worst":
        """Choose among R-hats (q,) the one furthest beyond its limit (q,)."""
        beyond = (values - 1.0) / np.maximum(limits - 1.0, 1e-300)
        worst = int(np.argmax(np.where(np.isnan(beyond), np.inf, beyond)))
        return Worst(float(values[worst]), float(limits[worst]))


@dataclass(frozen=True, eq=False)
class Convergence:
    """R-hat and effective sample sizes of function values, log posterior, noise and weights.

    Function values come first: weights may disagree by a symmetry that no prediction feels.

    Parameters
    ----------
    function_group : str
        Group of the tree that held the function values: ``"predictions"`` or ``"monitor"``.
    function_rhat, function_ess_bulk, function_ess_tail : ndarray (m,)
        At each of the `m` function values.
    lp_rhat, lp_ess_bulk : float
        Of the log posterior.
    weight_rhat, weight_ess_bulk : ndarray (k,)
        Of each weight, and of what is inferred beside them.
    num_chains, n_stuck : int
        Number of chains, and of those that never moved: to R-hat, chains that all stand at one point agree.
    lp_ess_tail : float
        Of the log posterior.
    noise_names : tuple of str
        The `c` inferred noise and precision coordinates.
    noise_rhat, noise_ess_bulk, noise_ess_tail : ndarray (c,)
        Of each of them.
    weight_ess_tail : ndarray (k,)
        Of each weight.
    layout : Layout
        How chains belong together.
    nested : NestedRhat or None
        Nested R-hat and its null band (m + 1 + c,) of function values, log posterior and noise, for chains of few draws
        and for superchains. The band holds for all of them at once, with 95 %.
    mode_names : tuple of int
        The modes chains started in, where there were several.
    within : tuple of Worst
        Of predictions, log posterior and noise, over the chains of each mode.
    autocorrelation_time : ndarray (m + 1 + c,)
        Integrated autocorrelation times of interacting ensembles, in steps; empty where chains are independent.
    """

    function_group: str
    function_rhat: FloatArray
    function_ess_bulk: FloatArray
    function_ess_tail: FloatArray
    lp_rhat: float
    lp_ess_bulk: float
    weight_rhat: FloatArray
    weight_ess_bulk: FloatArray
    num_chains: int
    n_stuck: int
    lp_ess_tail: float = np.inf
    noise_names: tuple[str, ...] = ()
    noise_rhat: FloatArray = field(default_factory=_none)
    noise_ess_bulk: FloatArray = field(default_factory=_none)
    noise_ess_tail: FloatArray = field(default_factory=_none)
    weight_ess_tail: FloatArray = field(default_factory=_none)
    layout: Layout = field(default_factory=lambda: Layout(1, 0))
    nested: NestedRhat | None = None
    mode_names: tuple[int, ...] = ()
    within: tuple[Worst, ...] = ()
    autocorrelation_time: FloatArray = field(default_factory=_none)

    @cached_property
    def rhats(self) -> FloatArray:
        """R-hat (m + 1 + c,) of function values, log posterior and noise, over all chains."""
        return np.concatenate([self.function_rhat, [self.lp_rhat], self.noise_rhat])

    @property
    def worst_rhat(self) -> float:
        """Largest R-hat over function values, log posterior and noise."""
        return float(self.rhats.max())

    @property
    def least_ess(self) -> float:
        """Least bulk or tail ESS over function values, log posterior and noise."""
        sizes = (self.function_ess_bulk, self.function_ess_tail, self.noise_ess_bulk, self.noise_ess_tail)
        least = [self.lp_ess_bulk, self.lp_ess_tail, *(size.min() for size in sizes if size.size)]
        return float(np.min(least))  # NaN where one is, which min() would pass over

    @property
    def across(self) -> Worst:
        """The R-hat that judges all chains together: of short ones the nested one, against its null band."""
        return _judging(self.rhats, self.nested if self.layout.is_short else None)

    @property
    def across_rhat(self) -> float:
        """R-hat of predictions, log posterior and noise over all chains, the furthest beyond its limit."""
        return self.across.rhat

    @property
    def within_rhat(self) -> FloatArray:
        """The same over the chains of each mode (modes,); empty where there was one mode."""
        return np.array([worst.rhat for worst in self.within])

    @property
    def samples_separate_modes(self) -> bool:
        """Whether chains agree within each mode and not across them."""
        return bool(self.within) and all(worst.agrees for worst in self.within) and not self.across.agrees

    @property
    def has_converged(self) -> bool:
        """Whether predictions, log posterior and noise pass both limits, and every chain moved."""
        return self.n_stuck == 0 and self.across.agrees and self.least_ess >= ESS_LIMIT

    @property
    def wants_draws(self) -> bool:
        """Whether all that keeps chains from having converged is their effective number of draws."""
        return self.n_stuck == 0 and self.across.agrees and not self.has_converged

    def to_dataset(self) -> xr.Dataset:
        """Group ``convergence`` of the tree."""
        per_function = ("function_rhat", "function_ess_bulk", "function_ess_tail")
        per_weight = ("weight_rhat", "weight_ess_bulk", "weight_ess_tail")
        dataset = xr.Dataset(
            {
                **{name: (("function",), getattr(self, name)) for name in per_function},
                **{name: ((), getattr(self, name)) for name in ("lp_rhat", "lp_ess_bulk", "lp_ess_tail")},
                **{name: (("weight",), getattr(self, name)) for name in per_weight if getattr(self, name).size},
                "across_rhat": ((), self.across.rhat),
                "across_limit": ((), self.across.limit),
            },
            attrs={
                "function_group": self.function_group,
                "has_converged": int(self.has_converged),
                "n_stuck": self.n_stuck,
                "is_short": int(self.layout.is_short),
                "num_ensembles": self.layout.num_ensembles,
            },
        )
        if self.noise_names:
            per_noise = ("noise_rhat", "noise_ess_bulk", "noise_ess_tail")
            dataset = dataset.assign({name: (("noise",), getattr(self, name)) for name in per_noise})
            dataset = dataset.assign_coords(noise=list(self.noise_names))
        if self.nested is not None:
            dataset["nested_rhat"] = (("monitored",), self.nested.value)
            dataset["nested_rhat_band"] = (("monitored",), self.nested.band)
        if self.autocorrelation_time.size:
            dataset["autocorrelation_time"] = (("monitored",), self.autocorrelation_time)
        if self.within:
            dataset["within_rhat"] = (("mode",), self.within_rhat)
            dataset["within_limit"] = (("mode",), [worst.limit for worst in self.within])
            dataset = dataset.assign_coords(mode=list(self.mode_names))
            dataset.attrs["samples_separate_modes"] = int(self.samples_separate_modes)
        return dataset


def converge(tree: xr.DataTree, weights: FloatArray) -> Convergence:
    """Measure the convergence of a tree's chains.

    Interacting ensembles, superchains and modes are read from the coordinates of the tree's group ``posterior``
    (:func:`layout_of`).

    Parameters
    ----------
    tree : xarray.DataTree
        From :func:`bayesnn.sample`. Function values are those of ``predictions`` if there are any, else ``monitor``.
    weights : ndarray (chains, draws, k)
        Its weights, as vectors.

    Returns
    -------
    Convergence

    Raises
    ------
    ArgumentError
        If the tree has fewer than 2 chains or 4 draws, or walkers of one ensemble alone, which has nothing to be
        compared with.
    """
    if weights.shape[0] < 2 or weights.shape[1] < 4:
        raise ArgumentError("tree", f"{weights.shape[0]} chains of {weights.shape[1]} draws", "at least 2 of 4")
    layout = layout_of(tree)
    if layout.num_ensembles == 1:
        wants = "several ensembles: R-hat between walkers of one means nothing"
        raise ArgumentError("tree", "one ensemble of interacting walkers", wants)
    group = "predictions" if "predictions" in tree.children else "monitor"
    functions = values_of(tree, group, "f")
    functions = functions.reshape(*functions.shape[:2], -1)
    lp = values_of(tree, "sample_stats", "lp")
    noise_names, noise = _noise(tree, weights.shape[:2])
    monitored = np.concatenate([functions, lp[..., None], noise], axis=2)
    size = functions.shape[2]
    rhats, bulk, tail = layout.rhat(monitored), layout.ess(monitored), layout.ess(monitored, "tail")
    modes = layout.modes()
    wants_nested = layout.is_short or layout.superchain is not None
    return Convergence(
        function_group=group,
        function_rhat=rhats[:size],
        function_ess_bulk=bulk[:size],
        function_ess_tail=tail[:size],
        lp_rhat=float(rhats[size]),
        lp_ess_bulk=float(bulk[size]),
        lp_ess_tail=float(tail[size]),
        noise_names=noise_names,
        noise_rhat=rhats[size + 1 :],
        noise_ess_bulk=bulk[size + 1 :],
        noise_ess_tail=tail[size + 1 :],
        weight_rhat=layout.rhat(weights),
        weight_ess_bulk=layout.ess(weights),
        weight_ess_tail=layout.ess(weights, "tail"),
        num_chains=len(weights),
        n_stuck=int((weights == weights[:, :1]).all(axis=(1, 2)).sum()),
        layout=layout,
        nested=layout.nested_rhat(monitored) if wants_nested else None,
        mode_names=tuple(modes),
        within=tuple(_within(part, monitored[chains]) for chains, part in modes.values()),
        autocorrelation_time=layout.autocorrelation_time(monitored) if layout.num_ensembles else np.zeros(0),
    )


def _judging(rhats: FloatArray, nested: NestedRhat | None) -> Worst:
    if nested is None:
        return Worst.of(rhats, np.full(rhats.shape, RHAT_LIMIT))
    # The band may lie below 1.01 where there are many chains: what is within 1.01 is no disagreement that matters.
    return Worst.of(nested.value, np.maximum(nested.band, RHAT_LIMIT))


def _within(layout: Layout, monitored: FloatArray) -> Worst:
    """Worst R-hat over the chains of one mode."""
    return _judging(layout.rhat(monitored), layout.nested_rhat(monitored) if layout.is_short else None)


def _noise(tree: xr.DataTree, shape: tuple[int, ...]) -> tuple[tuple[str, ...], FloatArray]:
    """Return names and draws (chains, draws, c) of the inferred noise and precisions."""
    names: list[str] = []
    draws: list[FloatArray] = [np.zeros((*shape, 0))]
    posterior = group_of(tree, "posterior") if "posterior" in tree.children else xr.Dataset()
    for name in NOISE:
        if name in posterior:
            values = np.asarray(posterior[name].values, dtype=np.float64).reshape(*shape, -1)
            draws.append(values)
            count = values.shape[2]
            names += [name] if count == 1 else [f"{name}[{place}]" for place in range(count)]
    return tuple(names), np.concatenate(draws, axis=2)
