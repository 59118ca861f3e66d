"""The shared harness for samplers: every move must pass it, and moves spoiled on purpose must fail it.

Chains start from exact draws of a Gaussian target, so every draw of a right sampler has the target's law and no
warm-up is needed; all statistics are taken in whitened coordinates, where that law is N(0, I) whatever the
conditioning.
"""

import itertools
from dataclasses import dataclass

import emcee
import numpy as np
from arviz_stats.base import array_stats
from scipy import stats

# Normal quantile for |z| at 7e-6: over the 20 moments, the walkers and so on of one run, a right sampler fails about
# once in 5,000 seeds; seeds are fixed.
BOUND = 4.5


def bound_of(count):
    """Bound in standard errors that `count` right numbers together break as seldom as one breaks BOUND."""
    return stats.norm.isf(stats.norm.sf(BOUND) / count)


class GaussianTarget:
    """N(mean, covariance) with log density and gradient for (walkers, k), condition number as asked.

    ``rotated``: principal axes in general position, for dense metrics. Otherwise the scales lie along the axes
    with correlations of 0.3 between all, for diagonal ones.
    """

    def __init__(self, k=5, condition=1e6, rotated=True, seed=0):
        rng = np.random.default_rng(seed)
        scales = np.sqrt(np.geomspace(1.0, condition, k))
        if rotated:
            axes, _ = np.linalg.qr(rng.standard_normal((k, k)))
            self.covariance = (axes * scales**2) @ axes.T
        else:
            correlation = 0.3 + 0.7 * np.eye(k)
            self.covariance = correlation * scales * scales[:, None]
        self.mean = 10.0 * rng.standard_normal(k)
        self.lower = np.linalg.cholesky(self.covariance)
        self.precision = np.linalg.inv(self.covariance)
        self.size = k

    def log_prob(self, w):
        d = w - self.mean
        return -0.5 * np.einsum("wi,ij,wj->w", d, self.precision, d)

    def value_and_gradient(self, w):
        return self.log_prob(w), -(w - self.mean) @ self.precision

    def draw(self, n, seed):
        return self.mean + np.random.default_rng(seed).standard_normal((n, self.size)) @ self.lower.T

    def whiten(self, w):
        return np.linalg.solve(self.lower, (w - self.mean).reshape(-1, self.size).T).T.reshape(w.shape)


class GaussianMarginal:
    """What is left of a Gaussian target for some coordinates, the others integrated out."""

    def __init__(self, target, kept):
        self.target, self.kept = target, np.array(kept)
        self.others = np.setdiff1d(np.arange(target.size), self.kept)
        self.covariance = target.covariance[np.ix_(self.kept, self.kept)]
        self.precision = np.linalg.inv(self.covariance)
        self.slopes = target.covariance[np.ix_(self.others, self.kept)] @ self.precision
        self.lower = np.linalg.cholesky(np.linalg.inv(target.precision[np.ix_(self.others, self.others)]))

    def __call__(self, kept):
        d = kept - self.target.mean[self.kept]
        return -0.5 * np.einsum("wi,ij,wj->w", d, self.precision, d), -d @ self.precision

    def log_density(self, kept):
        return self(kept)[0]

    def complete(self, kept):
        w = np.empty((len(kept), self.target.size))
        w[:, self.kept] = kept
        w[:, self.others] = self.target.mean[self.others] + (kept - self.target.mean[self.kept]) @ self.slopes.T
        return w

    def draw(self, kept, random):
        w = self.complete(kept)
        w[:, self.others] += random.standard_normal((len(kept), len(self.others))) @ self.lower.T
        return w, self.target.log_prob(w)

    def precision_of(self, precision):
        return np.linalg.inv(np.linalg.inv(precision)[np.ix_(self.kept, self.kept)])


@dataclass(frozen=True)
class Effort:
    """How long to run. More draws sharpen every check; more walkers sharpen the check of the ESS."""

    walkers: int
    draws: int
    # Standard error of the ratio of variances is sqrt(2 / (walkers * k)): the bound is at least 4.4 of them, k = 5.
    ess_bound: float


SHORT = Effort(walkers=128, draws=1500, ess_bound=0.25)  # sqrt(2 / 640) = 0.056
LONG = Effort(walkers=512, draws=12000, ess_bound=0.125)  # sqrt(2 / 2560) = 0.028


def run(move, target, effort, seed, log_prob=None):
    """Whitened draws (walkers, draws, k) of a move under emcee, from exact starts."""
    sampler = emcee.EnsembleSampler(
        effort.walkers, target.size, log_prob or target.log_prob, moves=move, vectorize=True
    )
    sampler._random = np.random.RandomState(seed)  # emcee offers no seed but the global one
    sampler.run_mcmc(target.draw(effort.walkers, seed), effort.draws, skip_initial_state_check=True)
    return target.whiten(sampler.get_chain().transpose(1, 0, 2))


def assert_standard_normal_moments(z):
    """Mean 0 and covariance I of draws (chains, draws, k), every entry within its own Monte-Carlo error.

    The error of each entry is that of a mean, sd / sqrt(ESS), with the ESS of that very product.
    """
    k = z.shape[-1]
    entries = {f"mean of z{i}": (z[..., i], 0.0) for i in range(k)}
    for i, j in itertools.combinations_with_replacement(range(k), 2):
        entries[f"covariance of z{i} z{j}"] = (z[..., i] * z[..., j], float(i == j))
    for name, (values, expected) in entries.items():
        ess = array_stats.ess(values, chain_axis=0, draw_axis=1, method="mean")
        error = values.std() / np.sqrt(ess)
        off = (values.mean() - expected) / error
        assert abs(off) < BOUND, f"{name}: {values.mean():.4f}, wants {expected} +- {error:.4f} ({off:.1f} se)"


def assert_walkers_independent(z, watched=24):
    """Increments of different walkers are uncorrelated: each pair of some, and all taken together.

    Under independence the products of two walkers' increments have mean 0 (increments have mean 0 in equilibrium);
    the error of their average comes from the ESS of the series of products.
    """
    increments = np.diff(z, axis=1)
    first, second = np.triu_indices(min(watched, len(z)), 1)
    products = (increments[first] * increments[second]).sum(axis=-1)
    together = (increments.sum(axis=0) ** 2).sum(axis=-1) - (increments**2).sum(axis=(0, 2))
    series = np.concatenate([products, together[None]])
    ess = array_stats.ess(series[:, None], chain_axis=1, draw_axis=2, method="mean")
    off = series.mean(axis=1) * np.sqrt(ess) / series.std(axis=1)
    worst = int(np.argmax(np.abs(off)))
    pair = "all walkers" if worst == len(first) else f"walkers {first[worst]} and {second[worst]}"
    assert np.all(np.abs(off) < bound_of(len(off))), f"walkers not independent: {pair}, {off[worst]:.1f} se"


def assert_ess_honest(z, bound):
    """The ESS predicts the variance of means over replicates: each walker is a replicate of the others.

    Averaged over the k whitened coordinates, whose variance is 1.
    """
    walkers, _, k = z.shape
    ess = array_stats.ess(z, chain_axis=0, draw_axis=1, method="mean") / walkers
    seen = (z.mean(axis=1) ** 2).mean()  # the true mean is 0: walkers * k squares, none spent on estimating it
    ratio = seen / (1.0 / ess).mean()
    assert abs(ratio - 1.0) < bound, f"variance of means is {ratio:.2f} times what the ESS says"
    assert 4.4 * np.sqrt(2.0 / (walkers * k)) < bound, "bound below the Monte-Carlo error of the ratio"


def check_sampler(move, target, effort=SHORT, seed=0, log_prob=None):
    """Run all checks; return the whitened draws."""
    z = run(move, target, effort, seed, log_prob)
    assert np.isfinite(z).all()
    assert_standard_normal_moments(z)
    assert_walkers_independent(z)
    assert_ess_honest(z, effort.ess_bound)
    return z
