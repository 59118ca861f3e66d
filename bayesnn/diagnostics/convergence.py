"""Whether the chains agree: rank-normalised R-hat and ESS, in function space first."""

from dataclasses import dataclass

import xarray as xr

from bayesnn.arrays import FloatArray
from bayesnn.chain_statistics import ess, rhat
from bayesnn.errors import ArgumentError
from bayesnn.tree import values_of

# Vehtari, Gelman, Simpson, Carpenter & Buerkner (2021), Bayesian Analysis 16: R-hat below 1.01, ESS above 400.
RHAT_LIMIT = 1.01
ESS_LIMIT = 400.0


@dataclass(frozen=True)
class Convergence:
    """R-hat and effective sample sizes of function values, log posterior and weights.

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
        Of each weight.
    num_chains, n_stuck : int
        Number of chains, and of those that never moved: to R-hat, chains that all stand at one point agree.
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

    @property
    def worst_rhat(self) -> float:
        """Largest R-hat over function values and log posterior."""
        return max(float(self.function_rhat.max()), self.lp_rhat)

    @property
    def least_ess(self) -> float:
        """Least bulk or tail ESS over function values and log posterior."""
        return min(float(self.function_ess_bulk.min()), float(self.function_ess_tail.min()), self.lp_ess_bulk)

    @property
    def has_converged(self) -> bool:
        """Whether predictions and log posterior pass both limits, and every chain moved."""
        return self.n_stuck == 0 and self.worst_rhat <= RHAT_LIMIT and self.least_ess >= ESS_LIMIT

    def to_dataset(self) -> xr.Dataset:
        """Group ``convergence`` of the tree."""
        return xr.Dataset(
            {
                "function_rhat": (("function",), self.function_rhat),
                "function_ess_bulk": (("function",), self.function_ess_bulk),
                "function_ess_tail": (("function",), self.function_ess_tail),
                "lp_rhat": ((), self.lp_rhat),
                "lp_ess_bulk": ((), self.lp_ess_bulk),
                "weight_rhat": (("weight",), self.weight_rhat),
                "weight_ess_bulk": (("weight",), self.weight_ess_bulk),
            },
            attrs={
                "function_group": self.function_group,
                "has_converged": int(self.has_converged),
                "n_stuck": self.n_stuck,
            },
        )


def converge(tree: xr.DataTree, weights: FloatArray) -> Convergence:
    """Measure the convergence of a tree's chains.

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
        If the tree has fewer than 2 chains or 4 draws.
    """
    if weights.shape[0] < 2 or weights.shape[1] < 4:
        raise ArgumentError("tree", f"{weights.shape[0]} chains of {weights.shape[1]} draws", "at least 2 of 4")
    group = "predictions" if "predictions" in tree.children else "monitor"
    functions = values_of(tree, group, "f")
    functions = functions.reshape(*functions.shape[:2], -1)
    lp = values_of(tree, "sample_stats", "lp")
    return Convergence(
        function_group=group,
        function_rhat=rhat(functions),
        function_ess_bulk=ess(functions),
        function_ess_tail=ess(functions, "tail"),
        lp_rhat=float(rhat(lp)),
        lp_ess_bulk=float(ess(lp)),
        weight_rhat=rhat(weights),
        weight_ess_bulk=ess(weights),
        num_chains=len(weights),
        n_stuck=int((weights == weights[:, :1]).all(axis=(1, 2)).sum()),
    )
