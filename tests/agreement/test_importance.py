"""Importance weights between two Gaussians, where every number is known."""

import numpy as np
import pytest

from bayesnn.agreement import importance_evidence, independence_acceptance

SIZE = 20_000


@pytest.fixture(scope="module")
def shifted():
    """Log densities of p = 5 + log N(0.5, 1) and q = N(0, 1) at draws from q: KL(q|p) = 1/8, log Z = 5."""
    z = np.random.default_rng(3).standard_normal(SIZE)
    return 5.0 - 0.5 * (z - 0.5) ** 2, -0.5 * z**2


def test_kl_and_evidence_lie_within_four_of_their_errors_of_the_exact_values(shifted):
    found = importance_evidence(*shifted)
    assert abs(found.kl - 0.125) < 4 * found.kl_error
    assert abs(found.log_evidence - 5.0) < 4 * found.log_evidence_error


def test_errors_agree_with_the_spread_over_replicates():
    rng = np.random.default_rng(4)
    replicates = []
    for _ in range(400):
        z = rng.standard_normal(2000)
        replicates.append(importance_evidence(-0.5 * (z - 0.5) ** 2, -0.5 * z**2))
    kl = np.array([r.kl for r in replicates])
    evidence = np.array([r.log_evidence for r in replicates])
    # The sd of 400 values has a relative error of 1/sqrt(800) = 3.5 %; 15 % is four of those.
    assert np.mean([r.kl_error for r in replicates]) == pytest.approx(kl.std(ddof=1), rel=0.15)
    assert np.mean([r.log_evidence_error for r in replicates]) == pytest.approx(evidence.std(ddof=1), rel=0.15)


def test_pareto_k_tells_light_from_heavy_weights():
    z = np.random.default_rng(5).standard_normal(SIZE)
    light = importance_evidence(-0.5 * z**2 / 0.9, -0.5 * z**2)
    heavy = importance_evidence(-0.5 * z**2 / 9.0, -0.5 * z**2)  # p three times as wide: infinite variance
    assert light.pareto_k < light.pareto_k_limit < heavy.pareto_k


def test_one_draw_that_carries_all_the_weight_is_an_infinite_k():
    ratios = -1e6 * np.arange(4000.0)
    assert importance_evidence(ratios, np.zeros(4000)).pareto_k > 0.7


def test_mass_where_the_posterior_is_zero_is_an_infinite_kl():
    log_p = np.zeros(1000)
    log_p[3] = -np.inf
    found = importance_evidence(log_p, np.zeros(1000))
    assert found.kl == np.inf
    assert found.pareto_k == np.inf
    assert found.log_evidence == pytest.approx(np.log(0.999))


def test_acceptance_of_independence_is_one_for_equal_densities_and_exact_for_a_shift():
    rng = np.random.default_rng(6)
    assert independence_acceptance(np.full(100, 2.0), np.full(50, 2.0), rng) == 1.0
    # p = N(d, 1), q = N(0, 1): log ratio d z - d^2/2; acceptance = 2 Phi(-d / sqrt 2), by symmetry of z - z'.
    shift = 1.0
    here = rng.standard_normal(SIZE) + shift
    there = rng.standard_normal(SIZE)
    found = independence_acceptance(shift * here - 0.5, shift * there - 0.5, rng)
    exact = 0.47950012218695337  # 2 Phi(-1/sqrt 2), scipy.stats.norm.cdf
    assert found == pytest.approx(exact, abs=4 * 0.5 / np.sqrt(SIZE))
