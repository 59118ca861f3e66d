"""What each of several modes counts for: by evidence, by stacking, or all alike."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.special import softmax

from bayesnn.arrays import FloatArray, IntArray
from bayesnn.checks import one_of
from bayesnn.diagnostics.leave_one_out import LeaveOneOut, leave_one_out
from bayesnn.diagnostics.stacking import stack
from bayesnn.errors import ArgumentError
from bayesnn.tree import group_of, values_of

MODE_WEIGHTINGS = ("stacking", "evidence", "equal")


@dataclass(frozen=True, eq=False)
class ModeWeights:
    """Weights of the modes that the chains of a tree began in.

    Parameters
    ----------
    method : str
        ``"stacking"``, ``"evidence"`` or ``"equal"``.
    weights : ndarray (m,)
        Summing to 1.
    leave_one_out : LeaveOneOut or None
        What stacking rests on: `elpd` of each mode with its Monte-Carlo error, and Pareto k of every row; None for the
        other methods.
    score : float
        Leave-one-out log score of the weighted mixture, nats, which stacking maximises; NaN for the other methods.
    gap : float
        How far that may be from the maximum, nats.
    """

    method: str
    weights: FloatArray
    leave_one_out: LeaveOneOut | None = None
    score: float = float("nan")
    gap: float = float("nan")

    @property
    def n_modes(self) -> int:
        """Number of modes, m."""
        return self.weights.size


def mode_weights(tree: xr.DataTree, method: str = "stacking", *, extend_tree: bool = True) -> ModeWeights:
    """Weigh the modes that chains began in, from what the tree holds.

    Chains that do not cross between modes sample each mode right, and say nothing of what the modes weigh. The evidence
    is the right answer where the model is; stacking asks which mixture predicts best, and gains where it is not (Yao,
    Vehtari & Gelman 2022, Stacking for non-mixing Bayesian computations, JMLR 23). Chains in one mode are pooled, all
    their draws alike, also those that left it during warm-up.

    Parameters
    ----------
    tree : xarray.DataTree
        From :func:`bayesnn.sample` of several optima, at which chains began; of a single one, and where they began
        elsewhere, all are one mode of weight 1.
    method : {"stacking", "evidence", "equal"}
        ``"stacking"`` maximises the log score of the mixture over the rows, each left out in turn by Pareto-smoothed
        importance sampling; ``"evidence"`` is in proportion to the Laplace evidences, those of all symmetric images, as
        in :class:`bayesnn.LaplaceMixture`; ``"equal"`` weighs all alike.
    extend_tree : bool
        Whether to keep the weights in group ``modes``, as ``stacking_weights`` and so on, for
        :func:`bayesnn.write_report`; for stacking also `elpd`, `elpd_error`, `pareto_k_limit` (mode,) and `pareto_k`
        (mode, obs).

    Returns
    -------
    ModeWeights

    Raises
    ------
    ArgumentError
        If `method` is unknown, a mode has no chain, or stacking is asked for and the tree has no log likelihoods.

    Examples
    --------
    >>> from bayesnn import MLP, Gaussian, NormalPrior, Posterior, find_optimum, fit_laplace, sample
    >>> x = np.linspace(-1, 1, 30)[:, None]
    >>> post = Posterior(MLP(1, (2,), 1), x, np.sin(5 * x), Gaussian(0.3), NormalPrior(1.0))
    >>> best = find_optimum(post, n_starts=8, seed=0)
    >>> laplaces = [fit_laplace(post, optimum) for optimum in (best, best.others[0])]
    >>> tree = sample(laplaces, move="hmc", num_chains=4, num_warmup=60, num_samples=50, seed=0)
    >>> mode_weights(tree, "equal").weights
    array([0.5, 0.5])
    >>> stacked = mode_weights(tree, "stacking")
    >>> round(float(stacked.weights.sum()), 12), stacked.leave_one_out.pareto_k.shape
    (1.0, (2, 30))
    """
    one_of("method", method, MODE_WEIGHTINGS)
    modes = mode_of_chains(tree)
    n_modes = int(modes.max()) + 1
    if method == "stacking":
        by_row = leave_one_out(tree, modes)
        stacked = stack(by_row.log_density)
        found = ModeWeights(method, stacked.weights, by_row, stacked.score, stacked.gap)
    elif method == "evidence" and n_modes > 1:
        evidence = values_of(tree, "modes", "log_marginal_likelihood")
        if "log_symmetry_order" in group_of(tree, "modes"):  # not in trees of before
            evidence = evidence + values_of(tree, "modes", "log_symmetry_order")
        found = ModeWeights(method, softmax(evidence))
    else:
        found = ModeWeights(method, np.full(n_modes, 1.0 / n_modes))
    found.weights.flags.writeable = False
    if extend_tree and "modes" in tree.children:
        tree["modes"] = xr.DataTree(group_of(tree, "modes").assign(_variables(found)))
    return found


def mode_of_chains(tree: xr.DataTree) -> IntArray:
    """Return the mode (chains,) that each chain of a tree began in: 0 for all where there is one.

    Raises
    ------
    ArgumentError
        If some mode has no chain in the tree.
    """
    draws = group_of(tree, "posterior")
    if "mode" not in draws.coords:
        return np.zeros(draws.sizes["chain"], dtype=np.int64)
    modes = np.asarray(draws["mode"].values, dtype=np.int64)
    missing = set(range(group_of(tree, "modes").sizes["mode"])) - set(modes.tolist())
    if missing:
        raise ArgumentError("tree", f"no chain that began in mode {min(missing)}", "chains of every mode")
    return modes


def _variables(found: ModeWeights) -> dict[str, tuple[tuple[str, ...], FloatArray]]:
    """Name what group ``modes`` keeps of the weights."""
    named: dict[str, tuple[tuple[str, ...], FloatArray]] = {f"{found.method}_weights": (("mode",), found.weights)}
    by_row = found.leave_one_out
    if by_row is not None:
        named |= {
            "elpd": (("mode",), by_row.elpd),
            "elpd_error": (("mode",), by_row.elpd_error),
            "pareto_k": (("mode", "obs"), by_row.pareto_k),
            "pareto_k_limit": (("mode",), by_row.pareto_k_limit),
        }
    return named
