"""How far the Gaussian is from the sampled posterior: the numbers."""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import xarray as xr
from rich.table import Table
from scipy.special import ndtri

from bayesnn.arrays import FloatArray
from bayesnn.chain_statistics import Layout
from bayesnn.diagnostics.convergence import Convergence, converge
from bayesnn.diagnostics.importance import ImportanceEvidence, importance_evidence, independence_acceptance
from bayesnn.diagnostics.verdict import Finding, Verdict, judge
from bayesnn.errors import ArgumentError
from bayesnn.laplace import Laplace
from bayesnn.models import nearest_images
from bayesnn.seeds import generator
from bayesnn.threads import on_one_blas_thread
from bayesnn.tree import group_of, settings_of, values_of, weight_matrix

# Family-wise error of every null band.
BAND_LEVEL = 0.05
# `reasons` has them all; a sentence that gives more than this is not read.
REASONS_IN_A_SENTENCE = 3


@dataclass(frozen=True, eq=False)
class Agreement:
    """Gaussian against draws, each statistic with the band it would keep to if the two were one.

    Directions are the eigendirections of the Gaussian's covariance, widest first; shifts are in its
    standard deviations. Bands hold jointly over all entries of a statistic with 95 %, at the chains'
    *effective* sample size.

    Parameters
    ----------
    importance : ImportanceEvidence
        From weights at Gaussian draws; needs no chains.
    laplace_log_evidence : float
        Laplace's log evidence, nats.
    acceptance_of_independence : float
        Of independence Metropolis-Hastings with the Gaussian as proposal; 1 if the two agree.
    directions : ndarray (k, k)
        Unit eigendirections in columns.
    along : ndarray (chains, draws, k)
        Folded draws in standard deviations along each direction.
    mean_shift, mean_shift_band : ndarray (k,)
        Mean of the draws along each direction, and the half-width of its band around 0.
    sd_ratio, sd_ratio_band : ndarray (k,)
        Standard deviation of the draws over the Gaussian's, and the half-width of its band around 1.
    mahalanobis_ks, mahalanobis_ks_band : float
        Kolmogorov-Smirnov distance of squared Mahalanobis distances from chi-squared with k degrees of freedom.
    predictive_mean_gap, predictive_mean_gap_band : ndarray (m,)
        Difference of predictive means, in the Gaussian's predictive sd, at each function value.
    predictive_sd_ratio, predictive_sd_ratio_band : ndarray (m,)
        Sampled over linearized predictive sd.
    fraction_folded : float
        Share of draws that lay nearer to another symmetric image of the mode and were folded back.
    convergence : Convergence
        Of the chains, after folding.
    weight_names : tuple of str
        Names of the k weights.
    """

    importance: ImportanceEvidence
    laplace_log_evidence: float
    acceptance_of_independence: float
    directions: FloatArray
    along: FloatArray
    mean_shift: FloatArray
    mean_shift_band: FloatArray
    sd_ratio: FloatArray
    sd_ratio_band: FloatArray
    mahalanobis_ks: float
    mahalanobis_ks_band: float
    predictive_mean_gap: FloatArray
    predictive_mean_gap_band: FloatArray
    predictive_sd_ratio: FloatArray
    predictive_sd_ratio_band: FloatArray
    fraction_folded: float
    convergence: Convergence
    weight_names: tuple[str, ...]

    @property
    def kl(self) -> float:
        """KL divergence from Gaussian to posterior, nats."""
        return self.importance.kl

    @property
    def pareto_k(self) -> float:
        """Tail shape of the importance weights."""
        return self.importance.pareto_k

    @property
    def log_evidence_gap(self) -> float:
        """Importance-sampled minus Laplace log evidence, nats."""
        return self.importance.log_evidence - self.laplace_log_evidence

    @property
    def predictive_gap(self) -> float:
        """Largest difference of predictive means, in the Gaussian's predictive sd."""
        return float(np.max(np.abs(self.predictive_mean_gap)))

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """One line per statistic, those a user feels first: value, null band, limit."""
        shift, ratio = (
            _worst(self.mean_shift, self.mean_shift_band),
            _worst(self.sd_ratio - 1, self.sd_ratio_band),
        )
        gap = _worst(self.predictive_mean_gap, self.predictive_mean_gap_band)
        spread = _worst(self.predictive_sd_ratio - 1, self.predictive_sd_ratio_band)
        evidence = self.importance
        return (
            Finding(
                "predictive_mean_gap",
                abs(self.predictive_mean_gap[gap]),
                self.predictive_mean_gap_band[gap],
                0.2,
            ),
            Finding(
                "predictive_sd_ratio",
                abs(self.predictive_sd_ratio[spread] - 1),
                self.predictive_sd_ratio_band[spread],
                0.15,
            ),
            Finding("kl", evidence.kl, 2.0 * np.nan_to_num(evidence.kl_error), 0.1, needs_chains=False),
            Finding("mean_shift", abs(self.mean_shift[shift]), self.mean_shift_band[shift], 0.2),
            Finding("sd_ratio", abs(self.sd_ratio[ratio] - 1), self.sd_ratio_band[ratio], 0.15),
            Finding("pareto_k", evidence.pareto_k, 0.0, evidence.pareto_k_limit, needs_chains=False),
            Finding("acceptance_of_independence", 1 - self.acceptance_of_independence, 0.0, 0.3),
            Finding("mahalanobis_ks", self.mahalanobis_ks, self.mahalanobis_ks_band, 0.1),
        )

    @cached_property
    def _judgement(self) -> tuple[Verdict, tuple[str, ...]]:
        return judge(self.findings, self.convergence)

    @property
    def verdict(self) -> Verdict:
        """Whether the Gaussian can stand for the posterior."""
        return self._judgement[0]

    @property
    def reasons(self) -> tuple[str, ...]:
        """What the verdict rests on, in words."""
        return self._judgement[1]

    @property
    def sentence(self) -> str:
        """The verdict and its reasons in one sentence."""
        return f"{self.verdict.sentence}: {'; '.join(self.reasons[:REASONS_IN_A_SENTENCE])}."

    def table(self) -> Table:
        """Return the findings as a rich table."""
        table = Table(title=f"Gaussian against draws: {self.verdict}", title_justify="left")
        for name, justify in (
            ("statistic", "left"),
            ("distance", "right"),
            ("null band", "right"),
            ("limit", "right"),
        ):
            table.add_column(name, justify=justify)  # pyright: ignore[reportArgumentType]
        for finding in self.findings:
            table.add_row(finding.name, f"{finding.value:.3g}", f"{finding.band:.3g}", f"{finding.limit:.3g}")
        return table

    def to_dataset(self) -> xr.Dataset:
        """Group ``agreement`` of the tree."""
        per_direction = ("mean_shift", "mean_shift_band", "sd_ratio", "sd_ratio_band")
        per_function = tuple(f.name for f in fields(self) if f.name.startswith("predictive_"))
        scalars = {
            "kl": self.kl,
            "kl_error": self.importance.kl_error,
            "pareto_k": self.pareto_k,
            "log_evidence": self.importance.log_evidence,
            "log_evidence_gap": self.log_evidence_gap,
            "acceptance_of_independence": self.acceptance_of_independence,
            "mahalanobis_ks": self.mahalanobis_ks,
            "mahalanobis_ks_band": self.mahalanobis_ks_band,
            "fraction_folded": self.fraction_folded,
        }
        return xr.Dataset(
            {
                **{name: ((), value) for name, value in scalars.items()},
                **{name: (("direction",), getattr(self, name)) for name in per_direction},
                "directions": (("weight", "direction"), self.directions),
                "along": (("chain", "draw", "direction"), self.along),
                **{name: (("function",), getattr(self, name)) for name in per_function},
                "distance": (("finding",), [f.value for f in self.findings]),
                "null_band": (("finding",), [f.band for f in self.findings]),
                "limit": (("finding",), [f.limit for f in self.findings]),
            },
            coords={"finding": [f.name for f in self.findings], "weight": list(self.weight_names)},
            attrs={
                "verdict": self.verdict.value,
                "reasons": "; ".join(self.reasons),
                "sentence": self.sentence,
            },
        )


@on_one_blas_thread
def compare(laplace: Laplace, tree: xr.DataTree, *, extend_tree: bool = True) -> Agreement:
    """Compare the Gaussian with the draws it started.

    Draws are first folded to the symmetric image nearest to the mode (:func:`bayesnn.models.nearest_image`).

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
        If the tree was sampled from another Laplace.

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
    from scipy.stats import chi2, kstest, kstwobign

    blocks = laplace.posterior.model.weight_blocks
    weights = weight_matrix(group_of(tree, "posterior"), blocks)
    if not np.array_equal(values_of(tree, "laplace", "mean"), laplace.mean):
        raise ArgumentError("tree", "draws of another Laplace posterior", "the tree sample(laplace) returned")
    folded, fraction_folded = nearest_images(laplace.posterior.model, weights, laplace.mean)
    convergence = converge(tree, folded)
    layout = convergence.layout
    log_p, log_q = (values_of(tree, "laplace_stats", name).ravel() for name in ("log_p", "log_q"))
    chain_ratios = values_of(tree, "sample_stats", "lp") - laplace.log_prob(folded)
    rng = generator(int(settings_of(tree)["seed"]), "agreement pairs")
    sds, directions = laplace.eigendirections
    along = (folded - laplace.mean) @ directions / sds
    squared = (along**2).sum(axis=-1)
    gap, gap_band, spread, spread_band = _predictive(tree, layout)
    agreement = Agreement(
        importance=importance_evidence(log_p, log_q),
        laplace_log_evidence=laplace.log_marginal_likelihood,
        acceptance_of_independence=independence_acceptance(chain_ratios, log_p - log_q, rng),
        directions=directions,
        along=along,
        mean_shift=along.mean(axis=(0, 1)),
        mean_shift_band=_band(along.shape[-1]) / np.sqrt(layout.ess(along, "mean")),
        sd_ratio=along.std(axis=(0, 1), ddof=1),
        sd_ratio_band=_band(along.shape[-1]) / np.sqrt(2.0 * layout.ess(along, "sd")),
        mahalanobis_ks=float(kstest(squared.ravel(), chi2(laplace.n_weights).cdf).statistic),
        mahalanobis_ks_band=float(kstwobign.ppf(1 - BAND_LEVEL) / np.sqrt(layout.ess(squared))),
        predictive_mean_gap=gap,
        predictive_mean_gap_band=gap_band,
        predictive_sd_ratio=spread,
        predictive_sd_ratio_band=spread_band,
        fraction_folded=fraction_folded,
        convergence=convergence,
        weight_names=laplace.posterior.weight_names,
    )
    if extend_tree:
        tree["agreement"] = xr.DataTree(agreement.to_dataset())
        tree["convergence"] = xr.DataTree(convergence.to_dataset())
    return agreement


def _predictive(tree: xr.DataTree, layout: Layout) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Gaps of mean and sd, with bands, between sampled and linearized outputs."""
    group = "predictions" if "predictions" in tree.children else "monitor"
    values = values_of(tree, group, "f")
    values = values.reshape(*values.shape[:2], -1)
    mean, sd = (values_of(tree, f"laplace_{group}", name).ravel() for name in ("mean", "sd"))
    band = _band(mean.size)
    return (
        (values.mean(axis=(0, 1)) - mean) / sd,
        band / np.sqrt(layout.ess(values, "mean")),
        values.std(axis=(0, 1), ddof=1) / sd,
        band / np.sqrt(2.0 * layout.ess(values, "sd")),
    )


def _band(count: int) -> float:
    """Return the normal quantile for a band over `count` entries, by Bonferroni."""
    return float(ndtri(1.0 - 0.5 * BAND_LEVEL / count))


def _worst(deviations: FloatArray, bands: FloatArray) -> int:
    """Index of the largest deviation among those outside their bands, or of the largest at all."""
    outside = np.abs(deviations) > bands
    return int(np.argmax(np.where(outside, np.abs(deviations) + 1e6, np.abs(deviations))))
