"""How far the Gaussian is from the sampled posterior: the numbers."""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import NamedTuple

import numpy as np
import xarray as xr
from rich.table import Table

from bayesnn.agreement.coordinates import n_informed
from bayesnn.agreement.distances import Distances
from bayesnn.agreement.findings import LIMITS, Finding, findings_of, worst_of
from bayesnn.agreement.importance import ImportanceEvidence
from bayesnn.agreement.leading_order import LeadingOrder
from bayesnn.agreement.mirrored import MirroredMoments
from bayesnn.agreement.null import Distance
from bayesnn.agreement.verdict import Verdict, judge
from bayesnn.arrays import FloatArray
from bayesnn.diagnostics.convergence import Convergence

# `reasons` has them all; a sentence that gives more than this is not read.
REASONS_IN_A_SENTENCE = 3


class Mardia(NamedTuple):
    """Mardia's statistics, with what chance makes of them."""

    skewness: Distance
    kurtosis: Distance


@dataclass(frozen=True, eq=False)
class Informed:
    """The comparison along the directions that the data inform, where there are others.

    Parameters
    ----------
    mean_shift, mean_shift_band, sd_ratio, sd_ratio_band : ndarray (m,)
        As of :class:`Agreement`, along each of these directions.
    distances : Distances
        Within the space they span.
    """

    mean_shift: FloatArray
    mean_shift_band: FloatArray
    sd_ratio: FloatArray
    sd_ratio_band: FloatArray
    distances: Distances


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
    mirrored : MirroredMoments
        Lengths of mean and covariance error from weights at pairs of opposite Gaussian draws, for distances too small
        to be seen in chains; as good as the weights are (`pareto_k`).
    leading_order : LeadingOrder or None
        What the third derivatives at the mode predict; needs no draws. None where there are too many weights, or
        the density is one without a gradient.
    laplace_log_evidence : float
        Laplace's log evidence of this mode, nats.
    log_symmetry_order : float
        Log of the number of the mode's symmetric images, which both evidences leave out.
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
    distances : Distances
        Those that depend on no axes: mean, covariance, Mardia's skewness and kurtosis, lengths, projections.
    prior_share : ndarray (k,)
        Share of the prior in the posterior precision along the directions in which data and prior speak apart,
        increasing.
    informed : Informed or None
        The comparison along those where the data's precision is more than ten times the prior's; None if all are.
    predictive_mean_gap, predictive_mean_gap_band : ndarray (m,)
        Difference of predictive means, in the Gaussian's predictive sd, at each function value that varies.
    predictive_sd_ratio, predictive_sd_ratio_band : ndarray (m,)
        Sampled over linearized predictive sd.
    predictive_band_gap : ndarray (m,)
        Largest difference of the ends of the central 90 % bands of the function value, in the Gaussian's predictive sd.
    fraction_folded : float
        Share of draws that lay nearer to another symmetric image of the mode and were folded back.
    fraction_of_gaussian_folded : float
        Share of the Gaussian's own draws that do.
    convergence : Convergence
        Of the chains, after folding.
    weight_names : tuple of str
        Names of the k weights.
    log_ratios : ndarray (S,)
        Log posterior less log Gaussian density, neither with a constant of its own, at draws of the Gaussian.
    n_modes : int
        Optima at which chains of the tree started; those of this one alone are compared.
    """

    importance: ImportanceEvidence
    mirrored: MirroredMoments
    leading_order: LeadingOrder | None
    laplace_log_evidence: float
    log_symmetry_order: float
    acceptance_of_independence: float
    directions: FloatArray
    along: FloatArray
    mean_shift: FloatArray
    mean_shift_band: FloatArray
    sd_ratio: FloatArray
    sd_ratio_band: FloatArray
    distances: Distances
    prior_share: FloatArray
    informed: Informed | None
    predictive_mean_gap: FloatArray
    predictive_mean_gap_band: FloatArray
    predictive_sd_ratio: FloatArray
    predictive_sd_ratio_band: FloatArray
    predictive_band_gap: FloatArray
    fraction_folded: float
    fraction_of_gaussian_folded: float
    convergence: Convergence
    weight_names: tuple[str, ...]
    log_ratios: FloatArray
    n_modes: int = 1

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
    def log_evidence(self) -> float:
        """Importance-sampled log evidence of all symmetric images of the mode together, nats."""
        return self.importance.log_evidence + self.log_symmetry_order

    @property
    def mahalanobis_ks(self) -> Distance:
        """Kolmogorov-Smirnov distance of squared lengths from chi-squared."""
        return self.distances.mahalanobis_ks

    @property
    def mardia(self) -> Mardia:
        """Mardia's skewness and kurtosis."""
        return Mardia(self.distances.skewness, self.distances.kurtosis)

    @property
    def sliced_w2(self) -> Distance:
        """Sliced 2-Wasserstein distance, in standard deviations."""
        return self.distances.sliced_w2

    @property
    def n_informed(self) -> int:
        """Number of directions along which the data say more than ten times what the prior says."""
        return n_informed(self.prior_share)

    @property
    def predictive_gap(self) -> float:
        """Largest difference of predictive means, in the Gaussian's predictive sd."""
        return float(np.max(np.abs(self.predictive_mean_gap)))

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """One line per statistic, those a user feels first: value, null band, limit."""
        evidence = self.importance
        rejected = 1.0 - self.acceptance_of_independence
        return (
            *self._predictive_findings,
            Finding("kl", evidence.kl, 2.0 * np.nan_to_num(evidence.kl_error), LIMITS["kl"], needs_chains=False),
            worst_of("mean_shift", self.mean_shift, self.mean_shift_band),
            worst_of("sd_ratio", self.sd_ratio - 1.0, self.sd_ratio_band),
            Finding("pareto_k", evidence.pareto_k, 0.0, evidence.pareto_k_limit, needs_chains=False),
            Finding("acceptance_of_independence", rejected, 0.0, LIMITS["acceptance_of_independence"]),
            *findings_of(self.distances, len(self.mean_shift)),
        )

    @property
    def _predictive_findings(self) -> tuple[Finding, ...]:
        return (
            worst_of("predictive_mean_gap", self.predictive_mean_gap, self.predictive_mean_gap_band),
            worst_of("predictive_sd_ratio", self.predictive_sd_ratio - 1.0, self.predictive_sd_ratio_band),
        )

    @cached_property
    def findings_where_informed(self) -> tuple[Finding, ...]:
        """The same of the chains alone, for the informed directions and predictions; none if all are informed."""
        part = self.informed
        if part is None:
            return ()
        return (
            *self._predictive_findings,
            worst_of("mean_shift", part.mean_shift, part.mean_shift_band),
            worst_of("sd_ratio", part.sd_ratio - 1.0, part.sd_ratio_band),
            *findings_of(part.distances, len(part.mean_shift)),
        )

    @cached_property
    def _judgement(self) -> tuple[Verdict, tuple[str, ...]]:
        informed = self.n_informed, len(self.prior_share)
        return judge(self.findings, self.convergence, self.findings_where_informed, informed)

    @property
    def verdict(self) -> Verdict:
        """Whether the Gaussian can stand for the posterior."""
        return self._judgement[0]

    @property
    def reasons(self) -> tuple[str, ...]:
        """What the verdict rests on, in words."""
        return (*self._judgement[1], *self._of_many)

    @property
    def _of_many(self) -> tuple[str, ...]:
        """What is not compared, where there are several modes."""
        return () if self.n_modes == 1 else (f"of {self.n_modes} modes this is about one, and about its chains alone",)

    @property
    def sentence(self) -> str:
        """The verdict and its reasons in one sentence."""
        words = self.verdict.sentence
        if self.verdict is Verdict.no_verdict and self.convergence.wants_draws:
            words = "The chains agree, but are too short for a verdict on the Gaussian"
        return f"{words}: {'; '.join((*self._judgement[1][:REASONS_IN_A_SENTENCE], *self._of_many))}."

    def table(self) -> Table:
        """Return the findings as a rich table."""
        table = Table(title=f"Gaussian against draws: {self.verdict}", title_justify="left")
        table.add_column("statistic")
        for name in ("distance", "null band", "limit"):
            table.add_column(name, justify="right")
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
            "mean_error_by_weights": self.mirrored.mean_error.debiased,
            "covariance_error_by_weights": self.mirrored.covariance_error.debiased,
            "log_symmetry_order": self.log_symmetry_order,
            "acceptance_of_independence": self.acceptance_of_independence,
            "fraction_folded": self.fraction_folded,
            "fraction_of_gaussian_folded": self.fraction_of_gaussian_folded,
        }
        if self.leading_order is not None:
            scalars["kl_leading_order"] = self.leading_order.kl
        value, noise, band = self.distances.table().T
        of_distances = {"distance_value": value, "distance_noise": noise, "distance_band": band}
        return xr.Dataset(
            {
                **{name: ((), value) for name, value in scalars.items()},
                **{name: (("direction",), getattr(self, name)) for name in per_direction},
                **{name: (("axis_free",), values) for name, values in of_distances.items()},
                "directions": (("weight", "direction"), self.directions),
                "along": (("chain", "draw", "direction"), self.along),
                "log_ratio": (("gaussian_draw",), self.log_ratios),
                "prior_share": (("direction",), self.prior_share),
                **{name: (("function",), getattr(self, name)) for name in per_function},
                "distance": (("finding",), [f.value for f in self.findings]),
                "null_band": (("finding",), [f.band for f in self.findings]),
                "limit": (("finding",), [f.limit for f in self.findings]),
            },
            coords={
                "finding": [f.name for f in self.findings],
                "axis_free": [name for name, _ in self.distances.items()],
                "weight": list(self.weight_names),
            },
            attrs={
                "verdict": self.verdict.value,
                "reasons": "; ".join(self.reasons),
                "sentence": self.sentence,
                "n_informed": self.n_informed,
            },
        )
