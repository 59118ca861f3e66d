"""The log evidence by bridges along a ladder, against exact values."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from bayesnn import MLP, Bernoulli, FlatPrior, Gaussian, NormalPrior, Posterior, find_optimum, fit_laplace
from bayesnn.sampling import log_evidence, path_evidence
from bayesnn.sampling.moves import ReplicaExchange
from bayesnn.sampling.path_evidence import bennett
from tests.refusals import refuses
from tests.two_weights import GRID, dense, two_weights

# Of 16 systems the error has 15 degrees of freedom: a right estimate is more than three errors off in 0.9 % of seeds.
EFFORT = {"num_levels": 12, "num_chains": 16, "num_warmup": 100, "num_samples": 150, "progress": False}


def laplace_of(posterior):
    return fit_laplace(posterior, find_optimum(posterior, n_starts=4, seed=0, progress=False))


def linear(d=6, n=40, sigma=0.3, precision=2.0):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((n, d))
    y = x @ rng.standard_normal((d, 1)) + sigma * rng.standard_normal((n, 1))
    posterior = Posterior(MLP(d, (), 1), x, y, Gaussian(sigma), NormalPrior(precision))
    features = np.column_stack([x, np.ones(n)])
    covariance = sigma**2 * np.eye(n) + features @ features.T / precision
    return posterior, float(multivariate_normal(np.zeros(n), covariance).logpdf(y[:, 0]))


def by_quadrature(posterior):
    """Evidence of the network v tanh(w x): over v in closed form, over w on a grid."""
    n, noise = posterior.n_rows, posterior.likelihood.noise_sds(1)[0, 0] ** 2
    constant = -0.5 * n * np.log(2.0 * np.pi * noise) - 0.5 * (posterior.y**2).sum() / noise - 0.5 * np.log(2.0 * np.pi)
    values = np.array([dense(posterior, w) for w in GRID])
    return float(logsumexp(values) + np.log(GRID[1] - GRID[0]) + constant)


def logistic():
    """One weight and a logit: by quadrature."""
    x = np.linspace(-2.0, 2.0, 30)[:, None]
    y = (x + 0.7 * np.sin(9.0 * x) > 0).astype(float)
    posterior = Posterior(MLP(1, (), 1, bias=False), x, y, Bernoulli(), NormalPrior(0.1))
    w = np.linspace(-20.0, 40.0, 20001)[:, None]
    return posterior, float(logsumexp(posterior.log_density(w)) + np.log(w[1, 0] - w[0, 0]))


CASES = {
    "linear": linear,
    "two weights": lambda: (two_weights(), by_quadrature(two_weights())),
    "two weights, little noise": lambda: (two_weights(0.02), by_quadrature(two_weights(0.02))),
    "logistic": logistic,
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [0])
def test_it_is_within_three_errors_of_the_exact_value(case, seed):
    posterior, exact = CASES[case]()
    found = log_evidence(laplace_of(posterior), seed=seed, **EFFORT)
    assert abs(found.log_evidence - exact) < 3.0 * found.error
    assert found.error < 0.2
    assert found.has_converged, found.doubts
    assert abs(found.upward - exact) < 1.0
    assert abs(found.downward - exact) < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_errors_are_what_they_say(case):
    posterior, exact = CASES[case]()
    laplace = laplace_of(posterior)
    off = []
    for seed in range(20):
        found = log_evidence(laplace, seed=seed, **EFFORT)
        off.append((found.log_evidence - exact) / found.error)
    # squares of Student's t of 15 degrees of freedom: mean 15 / 13, and a variance of 4.0
    assert abs(np.mean(np.square(off)) - 15 / 13) < 4.5 * np.sqrt(4.0 / 20)


def test_a_factor_that_is_forgotten_is_seen(monkeypatch):
    posterior, exact = linear()
    laplace = laplace_of(posterior)

    def without_normaliser(self, w):
        return -0.5 * (self.precision * (w - self.mean) ** 2).sum(axis=1)

    monkeypatch.setattr(path_evidence._Prior, "log_density", without_normaliser)
    found = log_evidence(laplace, seed=0, **EFFORT)
    assert abs(found.log_evidence - exact) > 3.0 * found.error


def test_a_ladder_too_short_says_so():
    posterior, _ = linear(sigma=0.01)
    found = log_evidence(laplace_of(posterior), **(EFFORT | {"num_levels": 2, "num_samples": 30}))
    assert not found.has_converged
    assert "more levels" in found.doubts[0]
    assert "NOT CONVERGED" in str(found)


def test_the_same_seed_gives_the_same_number():
    laplace = laplace_of(two_weights())
    few = EFFORT | {"num_samples": 20}
    first, second = (log_evidence(laplace, seed=3, **few) for _ in range(2))
    assert first.log_evidence == second.log_evidence
    assert first.error == second.error
    assert log_evidence(laplace, seed=4, **few).log_evidence != first.log_evidence


@pytest.mark.parametrize(("m", "n"), [(20_000, 20_000), (4_000, 20_000), (20_000, 4_000)])
def test_bennetts_ratio_of_two_gaussians(m, n):
    rng = np.random.default_rng(m)
    zero, one = rng.standard_normal(m), 1.5 + 0.5 * rng.standard_normal(n)

    def ratio(w):
        return 2.0 - 0.5 * ((w - 1.5) / 0.5) ** 2 + 0.5 * w**2  # Z_1 / Z_0 = e^2 / 2

    expected = 2.0 + np.log(0.5)
    estimates = [bennett(ratio(a), ratio(b)) for a, b in zip(np.split(zero, 20), np.split(one, 20), strict=True)]
    assert abs(np.mean(estimates) - expected) < 4.5 * np.std(estimates, ddof=1) / np.sqrt(20)


def test_what_has_no_evidence_is_refused():
    x = np.linspace(-1, 1, 20)[:, None]
    flat = Posterior(MLP(1, (), 1), x, x + 0.01 * x**2, Gaussian(0.1), FlatPrior())
    with refuses("target", "a flat prior of", "a proper prior for every coordinate"):
        log_evidence(laplace_of(flat))
    laplace = laplace_of(two_weights())
    for argument, value, wants in (
        ("num_levels", 1, "at least 2"),
        ("num_chains", 3, "at least 4"),
        ("num_warmup", 5, "at least 20"),
        ("num_samples", 2, "at least 10"),
        ("num_integration_steps", 0, "at least 1"),
    ):
        with refuses(argument, str(value), wants):
            log_evidence(laplace, **{argument: value})
    with refuses("target", "", "a Laplace"):
        log_evidence("laplace")


def test_draws_without_a_density_count_for_nothing():
    rng = np.random.default_rng(0)
    # q_0 standard normal, q_1 half of it: Z_1 / Z_0 = 1/2, and every other draw of q_0 has no q_1
    zero, one = rng.standard_normal(4000), np.abs(rng.standard_normal(4000))
    up, down = np.where(zero > 0.0, 0.0, -np.inf), np.zeros_like(one)
    # the estimate is that of a share of 4000 draws
    assert abs(np.exp(bennett(up, down)) - 0.5) < 4.5 * 0.5 / np.sqrt(4000)


def test_draws_of_a_prior_without_a_density_leave_an_estimate(monkeypatch):
    neighbours, calls, missing = ReplicaExchange.neighbours, [], slice(3, 4)

    def some_missing(self, *arguments):
        up, down = neighbours(self, *arguments)
        calls.append(1)
        if len(calls) - 1 in range(20)[missing]:
            up[-1, 0] = np.nan
        return up, down

    monkeypatch.setattr(ReplicaExchange, "neighbours", some_missing)
    found = log_evidence(laplace_of(two_weights()), seed=0, **(EFFORT | {"num_samples": 20}))
    assert np.isfinite([found.log_evidence, found.error, found.upward, found.downward]).all()
    calls, missing = [], slice(0, 20)  # of one system all
    found = log_evidence(laplace_of(two_weights()), seed=0, **(EFFORT | {"num_samples": 20}))
    assert np.isfinite(found.log_evidence)
    assert not found.has_converged
    assert "without a draw in common" in str(found)
