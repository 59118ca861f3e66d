"""What chains and ensembles of walkers say of their own convergence: R-hat and effective sample sizes."""

from bayesnn.chain_statistics.ensembles import autocorrelation_time, ensemble_ess, ensemble_rhat
from bayesnn.chain_statistics.layout import Layout
from bayesnn.chain_statistics.nested_rhat import NestedRhat, nested_rhat, nested_rhat_band, nested_rhat_with_band
from bayesnn.chain_statistics.rank_normalised import ess, rhat
from bayesnn.chain_statistics.short_chains import variance_of_mean

__all__ = [
    "Layout",
    "NestedRhat",
    "autocorrelation_time",
    "ensemble_ess",
    "ensemble_rhat",
    "ess",
    "nested_rhat",
    "nested_rhat_band",
    "nested_rhat_with_band",
    "rhat",
    "variance_of_mean",
]
