"""One statistic of an agreement, and what matters of it in practice."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bayesnn.agreement.distances import Distances
from bayesnn.arrays import FloatArray

# What would matter in practice. A KL of 0.1 nats is |m|^2 / 2, |C - I|^2 / 4, |skewness|^2 / 12 if all of it came from
# one of these, and bounds the squared 2-Wasserstein distance, k times the mean over slices, by 0.2 (Talagrand 1996).
KL = 0.1
LIMITS: Mapping[str, float] = {
    "kl": KL,
    "mean_shift": 0.2,
    "sd_ratio": 0.15,
    "acceptance_of_independence": 0.3,
    "predictive_mean_gap": 0.2,
    "predictive_sd_ratio": 0.15,
    "mean_error": float(np.sqrt(2.0 * KL)),
    "covariance_error": float(np.sqrt(4.0 * KL)),
    "skewness": float(np.sqrt(12.0 * KL)),
    "kurtosis": 0.25,
    "mahalanobis_ks": 0.1,
    "max_sliced_ks": 0.1,
}
# What the distance of each finding means, for a sentence.
WORDS: Mapping[str, str] = {
    "pareto_k": "the tail of its importance weights has k-hat {value:.2f}, wants below {limit:.2f}",
    "kl": "it is {value:.2g} nats (KL) away, wants below {limit:g}",
    "mean_shift": "the posterior mean lies {value:.2f} sd off along one direction, wants within {limit:g}",
    "sd_ratio": "the posterior sd differs by {percent:.0f} % along one direction, wants within {limit_percent:.0f} %",
    "mean_error": "the posterior mean lies {value:.2f} sd off in all, wants within {limit:.2g}",
    "covariance_error": "its covariance is {value:.2g} off the posterior's (whitened, Frobenius), "
    "wants within {limit:.2g}",
    "skewness": "the posterior is skewed by {value:.2g} (root of Mardia's), wants within {limit:.2g}",
    "kurtosis": "the posterior's tails are {percent:.0f} % off a normal's (Mardia's kurtosis), "
    "wants within {limit_percent:.0f} %",
    "mahalanobis_ks": "distances from the mode are {value:.2f} (KS) off chi-squared, wants within {limit:g}",
    "sliced_w2": "projections are {value:.2g} sd off (sliced W2), wants within {limit:.2g}",
    "max_sliced_ks": "one projection is {value:.2f} (KS) off normal, wants within {limit:g}",
    "acceptance_of_independence": "its draws as proposals would be rejected {percent:.0f} % of the time, "
    "wants below {limit_percent:.0f} %",
    "predictive_mean_gap": "a predictive mean is {value:.2f} sd off, wants within {limit:g}",
    "predictive_sd_ratio": "a predictive sd is {percent:.0f} % off, wants within {limit_percent:.0f} %",
}


@dataclass(frozen=True)
class Finding:
    """One statistic of an agreement.

    Parameters
    ----------
    name : str
        Which.
    value : float
        Distance from perfect agreement, at least 0 (k-hat may be negative).
    band : float
        Distance that chance alone would produce.
    limit : float
        Distance that matters in practice.
    needs_chains : bool
        Whether it means nothing unless the chains converged.
    """

    name: str
    value: float
    band: float
    limit: float
    needs_chains: bool = True

    @property
    def matters(self) -> bool:
        """Whether the distance is both beyond chance and beyond what matters; a NaN matters."""
        return not (self.value <= self.limit or self.value <= self.band)

    def words(self) -> str:
        """Say the distance in words."""
        return WORDS[self.name].format(
            value=self.value, limit=self.limit, percent=100 * self.value, limit_percent=100 * self.limit
        )


def worst_of(name: str, deviations: FloatArray, bands: FloatArray) -> Finding:
    """Return the finding of the largest deviation (e,) among those outside their bands (e,), or of the largest."""
    outside = np.abs(deviations) > bands
    worst = int(np.argmax(np.where(outside, np.abs(deviations) + 1e6, np.abs(deviations))))
    return Finding(name, float(abs(deviations[worst])), float(bands[worst]), LIMITS[name])


def findings_of(distances: Distances, k: int) -> list[Finding]:
    """Return a finding of each distance in k dimensions, less what chance adds to it."""
    limits = {**LIMITS, "sliced_w2": float(np.sqrt(2.0 * KL / k))}
    return [
        Finding(name, d.debiased, float(np.sqrt(max(d.band**2 - d.noise**2, 0.0))), limits[name])
        for name, d in distances.items()
    ]
