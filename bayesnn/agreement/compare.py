"""Compare the Gaussian with the draws it started."""

import numpy as np
import xarray as xr

from bayesnn.agreement.agreement import Agreement, Informed
from bayesnn.agreement.coordinates import Coordinates
from bayesnn.agreement.distances import Distances
from bayesnn.agreement.importance import importance_evidence, independence_acceptance
from bayesnn.agreement.leading_order import has_third_derivatives, leading_order
from bayesnn.agreement.mirrored import MirroredMoments
from bayesnn.agreement.null import bonferroni
from bayesnn.arrays import FloatArray
from bayesnn.chain_statistics import Layout
from bayesnn.diagnostics.convergence import converge
from bayesnn.errors import ArgumentError
from bayesnn.laplace import Laplace
from bayesnn.models import balanced, nearest_images
from bayesnn.seeds import generator
from bayesnn.threads import on_one_blas_thread
from bayesnn.tree import group_of, settings_of, values_of, weight_matrix

# Third derivatives are k**3 numbers, from 2 k Hessians: beyond so many weights they take longer than the draws.
MOST_WEIGHTS = 150
# A Gaussian is the tree's if its log densities at the tree's draws are the stored ones, up to rounding of each weight.
SAME_LOG_DENSITY = 1e-9
# Central bands of function values that are compared, and their ends in standard deviations of a normal.
BAND, BAND_ENDS = (0.05, 0.95), (-1.6448536269514722, 1.6448536269514722)


@on_one_blas_thread
def compare(laplace: Laplace, tree: xr.DataTree, *, extend_tree: bool = True) -> Agreement:
    """Compare the Gaussian with the draws it started.

    Draws are first folded to the symmetric image nearest to the mode (:func:`bayesnn.models.nearest_image`), and, for
    the informed directions, along the scalings of ReLU units (:func:`bayesnn.models.balanced`). Of a tree
    sampled from several optima only the chains that started at this one are compared.

    Parameters
    ----------
    laplace : Laplace
        The Gaussian.
    tree : xarray.DataTree
        From :func:`bayesnn.sample` of it.
    extend_tree : bool
        Whether to store the result in `tree`, as groups ``agreement`` and ``convergence``, where
        :func:`bayesnn.write_report` finds it.

    Returns
    -------
    Agreement

    Raises
    ------
    ArgumentError
        If the tree was sampled from another Laplace, or holds no more draws than there are weights.

    Examples
    --------
    >>> from bayesnn import MLP, Gaussian, NormalPrior, Posterior, find_optimum, fit_laplace, sample
    >>> x = np.linspace(-1, 1, 40)[:, None]
    >>> post = Posterior(MLP(1, (), 1), x, 2 * x, Gaussian(0.5), NormalPrior(1.0))
    >>> laplace = fit_laplace(post, find_optimum(post))
    >>> tree = sample(laplace, num_warmup=100, num_samples=500, seed=0)
    >>> compare(laplace, tree).verdict.value
    'gaussian'
    """
    whole, tree = tree, _chains_of(laplace, tree)
    posterior, seed = laplace.posterior, int(settings_of(tree)["seed"])
    weights = weight_matrix(group_of(tree, "posterior"), posterior.model.weight_blocks)
    n_draws, k = weights.shape[0] * weights.shape[1], laplace.n_weights
    if n_draws <= k:
        raise ArgumentError("tree", f"{n_draws} draws of {k} weights", f"more draws than weights, at least {k + 1}")
    symmetries = posterior.symmetries
    folded, fraction_folded = nearest_images(posterior.model, weights, laplace.mean, symmetries)
    convergence, of_all = converge(tree, folded), None
    if whole is not tree:
        everything = weight_matrix(group_of(whole, "posterior"), posterior.model.weight_blocks)
        of_all = converge(whole, nearest_images(posterior.model, everything, laplace.mean, symmetries)[0])
    layout = convergence.layout
    gaussian, log_p, log_q = _gaussian_draws(laplace, tree, seed)
    ratios = values_of(tree, "sample_stats", "lp") - laplace.log_prob(folded)
    sds, directions = laplace.eigendirections
    along = (folded - laplace.mean) @ directions / sds
    coordinates = Coordinates.of(laplace)
    gap, gap_band, spread, spread_band, band_gap = _predictive(laplace, tree, layout)
    shift, shift_band, ratio, ratio_band = _of_each(along, layout)
    agreement = Agreement(
        importance=importance_evidence(log_p, log_q),
        mirrored=_mirrored(laplace, gaussian, log_p - log_q),
        leading_order=leading_order(laplace, seed) if k <= MOST_WEIGHTS and has_third_derivatives(laplace) else None,
        laplace_log_evidence=laplace.log_marginal_likelihood,
        log_symmetry_order=laplace.log_symmetry_order,
        acceptance_of_independence=independence_acceptance(ratios, log_p - log_q, generator(seed, "agreement pairs")),
        directions=directions,
        along=along,
        mean_shift=shift,
        mean_shift_band=shift_band,
        sd_ratio=ratio,
        sd_ratio_band=ratio_band,
        distances=Distances.of(along, layout, seed),
        prior_share=coordinates.prior_share,
        informed=_where_informed(
            coordinates, balanced(posterior.model, folded, laplace.mean) - laplace.mean, layout, seed
        ),
        predictive_mean_gap=gap,
        predictive_mean_gap_band=gap_band,
        predictive_sd_ratio=spread,
        predictive_sd_ratio_band=spread_band,
        predictive_band_gap=band_gap,
        fraction_folded=fraction_folded,
        fraction_of_gaussian_folded=nearest_images(posterior.model, gaussian, laplace.mean, symmetries)[1],
        convergence=convergence,
        weight_names=posterior.weight_names,
        log_ratios=log_p - log_q,
        n_modes=1 if whole is tree else len(values_of(whole, "modes", "mean")),
    )
    if extend_tree:
        whole["agreement"] = xr.DataTree(agreement.to_dataset())
        whole["convergence"] = xr.DataTree((of_all or convergence).to_dataset())
    return agreement


def _chains_of(laplace: Laplace, tree: xr.DataTree) -> xr.DataTree:
    """Return the tree with the chains that started at this optimum alone."""
    if "modes" not in tree.children:
        # Chains that found a far better optimum started anew there.
        groups = [("laplace", "mean"), ("better_optimum", "weights")]
        means = [values_of(tree, group, name) for group, name in groups if group in tree.children]
        if not any(np.array_equal(mean, laplace.mean) for mean in means):
            raise ArgumentError("tree", "draws of another Laplace posterior", "the tree sample(laplace) returned")
        return tree
    means = values_of(tree, "modes", "mean")
    mine = [mode for mode, mean in enumerate(means) if np.array_equal(mean, laplace.mean)]
    if not mine:
        wants = "the tree sample(laplaces) returned for one of these"
        raise ArgumentError("tree", f"draws from {len(means)} other optima", wants)
    modes = np.asarray(group_of(tree, "posterior").coords["mode"])
    chains = np.flatnonzero(modes == mine[0])

    def choose(part: xr.Dataset) -> xr.Dataset:
        # The Gaussian's own draws are one chain.
        return part.isel(chain=chains) if part.sizes.get("chain") == len(modes) else part

    return tree.map_over_datasets(choose)


def _gaussian_draws(laplace: Laplace, tree: xr.DataTree, seed: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Draws of the Gaussian (S, k), their unnormalised log posterior and log Gaussian density (S,)."""
    log_p, log_q = (values_of(tree, "laplace_stats", name).ravel() for name in ("log_p", "log_q"))
    blocks = laplace.posterior.model.weight_blocks
    draws = weight_matrix(group_of(tree, "laplace_posterior"), blocks).reshape(-1, laplace.n_weights)
    # The tree's Gaussian may be that of another optimum, or of another curvature at this one.
    if not np.allclose(laplace.log_prob(draws), log_q, rtol=0, atol=SAME_LOG_DENSITY * laplace.n_weights):
        draws = laplace.sample(len(draws), seed)
        log_p, log_q = laplace.posterior.log_density(draws), laplace.log_prob(draws)
    return draws, log_p, log_q


def _mirrored(laplace: Laplace, draws: FloatArray, log_ratios: FloatArray) -> MirroredMoments:
    """Moments by weights at the Gaussian's draws (S, k) and at their mirror images."""
    opposite = 2.0 * laplace.mean - draws
    there = laplace.posterior.log_density(opposite) - laplace.log_prob(opposite)
    sds, directions = laplace.eigendirections
    return MirroredMoments.of((draws - laplace.mean) @ directions / sds, np.stack([log_ratios, there]))


def _of_each(z: FloatArray, layout: Layout) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Means and standard deviations (k,) of draws (chains, draws, k), each with half the width of its band."""
    quantile = bonferroni(z.shape[-1])
    return (
        z.mean(axis=(0, 1)),
        quantile / np.sqrt(layout.ess(z, "mean")),
        z.std(axis=(0, 1), ddof=1),
        quantile / np.sqrt(2.0 * layout.ess(z, "sd")),
    )


def _where_informed(coordinates: Coordinates, deviations: FloatArray, layout: Layout, seed: int) -> Informed | None:
    few, all_ = coordinates.n_informed, len(coordinates.prior_share)
    if few in (0, all_):
        return None
    z = coordinates(deviations)[..., :few]
    return Informed(*_of_each(z, layout), Distances.of(z, layout, seed))


def _predictive(
    laplace: Laplace, tree: xr.DataTree, layout: Layout
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Gaps of mean and sd with bands, and of the ends of 90 % bands, between sampled and linearized outputs."""
    group = "predictions" if "predictions" in tree.children else "monitor"
    values = values_of(tree, group, "f")
    values = values.reshape(*values.shape[:2], -1)
    mean, sd = _linearized(laplace, tree, group)
    # Where all units are silent neither the Gaussian nor the draws have anything to say.
    varies = (sd > 0.0) | (np.ptp(values, axis=(0, 1)) > 0.0)
    varies |= not varies.any()
    with np.errstate(divide="ignore", invalid="ignore"):
        standard = ((values - mean) / sd)[..., varies]
    quantiles = np.quantile(standard, BAND, axis=(0, 1))
    return (*_of_each(standard, layout), np.abs(quantiles - np.array(BAND_ENDS)[:, None]).max(axis=0))


def _linearized(laplace: Laplace, tree: xr.DataTree, group: str) -> tuple[FloatArray, FloatArray]:
    """Mean and sd (m,) of this Gaussian's linearized outputs where the tree's function values are."""
    if group == "predictions":
        x = values_of(tree, "predictions_constant_data", "x")
    elif laplace.posterior.n_rows == 0:
        return laplace.mean, np.sqrt(laplace.posterior_variance)
    else:
        x = laplace.posterior.x[np.asarray(group_of(tree, "monitor").coords["obs"], dtype=np.int64)]
    predicted = laplace.predict(x)
    return predicted.mean.ravel(), predicted.sd.ravel()
