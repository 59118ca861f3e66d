from dataclasses import replace

import numpy as np
import pytest

from bayesnn.laplace import evidence, fit_laplace, maximize_evidence
from bayesnn.models import MLP
from bayesnn.optimum import Status, find_optimum
from bayesnn.posterior import FlatPrior, Gaussian, NormalPrior, Posterior
from tests import oracles
from tests.refusals import refuses


@pytest.fixture(scope="module")
def linear_tuned(linear_data):
    post = Posterior(MLP(3, (), 1), *linear_data, Gaussian(1.0), NormalPrior(1.0))
    return maximize_evidence(post, seed=0)


@pytest.fixture(scope="module")
def teacher_tuned(teacher_data, teacher_optimum):
    post = Posterior(MLP(2, (2,), 1), *teacher_data, Gaussian(0.2), NormalPrior(3.0))
    return maximize_evidence(post, teacher_optimum)


@pytest.fixture(params=["linear", "network"])
def tuned(request, linear_tuned, teacher_tuned):
    return linear_tuned if request.param == "linear" else teacher_tuned


def hyperparameters(tuned):
    return tuned.likelihood.sigma_noise, tuned.prior.prior_precision


def test_the_fixed_point_equations_hold_at_the_result(tuned):
    sigma, alpha = hyperparameters(tuned)
    w = tuned.tuning.optimum.weights
    net = oracles.Net.of(tuned.model)
    curvature = oracles.ggn(net, w, tuned.x, sigma, np.zeros(len(w)))
    values = np.linalg.eigvalsh(curvature)
    gamma = (values / (values + alpha)).sum()
    residuals = tuned.y - oracles.predict(net, w, tuned.x)
    assert tuned.tuning.status is Status.converged
    # hyperparameters moved by at most 1e-7 of themselves in the last round, and their map contracts
    assert np.isclose(tuned.tuning.effective_parameters, gamma, rtol=1e-6)
    assert np.isclose(alpha, gamma / (w @ w), rtol=1e-6)
    assert np.isclose(sigma**2, (residuals**2).sum() / (residuals.size - gamma), rtol=1e-6)


def test_the_result_is_a_certified_optimum_of_the_tuned_posterior(tuned):
    assert tuned.tuning.optimum.status is Status.converged
    assert find_optimum(tuned, start=tuned.tuning.optimum.weights).log_density == pytest.approx(
        tuned.tuning.optimum.log_density, rel=1e-12
    )


def test_the_evidence_it_reports_is_that_of_the_result(tuned):
    laplace = fit_laplace(tuned, tuned.tuning.optimum)
    # the modes of the two agree to 1e-6 posterior sd, the tolerance of the search; log det follows at that order
    assert tuned.tuning.log_marginal_likelihood == pytest.approx(laplace.log_marginal_likelihood, abs=1e-5)


@pytest.mark.parametrize("max_rounds", [1, 3])
def test_the_evidence_it_reports_is_that_of_the_result_even_if_rounds_run_out(linear_data, max_rounds):
    post = Posterior(MLP(3, (), 1), *linear_data, Gaussian(1.0), NormalPrior(1.0))
    tuned = maximize_evidence(post, seed=0, max_rounds=max_rounds)
    assert tuned.tuning.status is Status.max_steps
    assert len(tuned.tuning.rounds) == max_rounds
    laplace = fit_laplace(tuned, tuned.tuning.optimum)
    # the modes of the two agree to 1e-6 posterior sd, the tolerance of the search; log det follows at that order
    assert tuned.tuning.log_marginal_likelihood == pytest.approx(laplace.log_marginal_likelihood, abs=1e-5)


def test_of_a_linear_model_the_exact_evidence_falls_on_every_side(linear_tuned):
    # B does not depend on the weights here, so MacKay's fixed point is the maximum itself
    sigma, alpha = hyperparameters(linear_tuned)
    A, y = oracles.design(linear_tuned.x), linear_tuned.y[:, 0]

    def evidence(s, a):
        return oracles.LinearGaussian(A, y, s, np.full(4, a)).log_evidence

    best = evidence(sigma, alpha)
    assert best == pytest.approx(linear_tuned.tuning.log_marginal_likelihood, abs=1e-8)
    for factor in (0.95, 1.05):
        assert evidence(factor * sigma, alpha) < best
        assert evidence(sigma, factor * alpha) < best


def reoptimised(tuned, sigma, alpha, B=None):
    """Laplace evidence at the mode under other hyperparameters, B of that mode or the one given."""
    post = tuned.with_hyperparameters(Gaussian(sigma), NormalPrior(alpha))
    optimum = find_optimum(post, start=tuned.tuning.optimum.weights)
    assert optimum.status is Status.converged
    laplace = fit_laplace(post, optimum)
    if B is None:
        return laplace.log_marginal_likelihood
    k = post.n_weights
    log_det = np.linalg.slogdet(B.T @ B / sigma**2 + alpha * np.eye(k))[1]
    return optimum.log_density + 0.5 * k * np.log(2 * np.pi) - 0.5 * log_det


def test_of_a_network_the_evidence_with_b_held_falls_on_every_side(teacher_tuned):
    # what MacKay's equations maximise: they take B at the mode to stay as the hyperparameters move
    sigma, alpha = hyperparameters(teacher_tuned)
    w = teacher_tuned.tuning.optimum.weights
    B = oracles.jacobian(oracles.Net.of(teacher_tuned.model), w, teacher_tuned.x).reshape(-1, len(w))
    best = reoptimised(teacher_tuned, sigma, alpha, B)
    assert best == pytest.approx(teacher_tuned.tuning.log_marginal_likelihood, abs=1e-5)
    for factor in (0.95, 1.05):
        assert reoptimised(teacher_tuned, factor * sigma, alpha, B) < best
        assert reoptimised(teacher_tuned, sigma, factor * alpha, B) < best


def test_of_a_network_the_evidence_does_not_rise_when_the_noise_is_moved(teacher_tuned):
    sigma, alpha = hyperparameters(teacher_tuned)
    best = reoptimised(teacher_tuned, sigma, alpha)
    assert reoptimised(teacher_tuned, 0.95 * sigma, alpha) < best
    assert reoptimised(teacher_tuned, 1.05 * sigma, alpha) < best


def test_of_a_network_the_evidence_does_not_rise_when_the_prior_is_moved(teacher_tuned):
    sigma, alpha = hyperparameters(teacher_tuned)
    best = reoptimised(teacher_tuned, sigma, alpha)
    assert reoptimised(teacher_tuned, sigma, 0.95 * alpha) < best
    assert reoptimised(teacher_tuned, sigma, 1.05 * alpha) < best


def test_the_noise_of_the_teacher_is_found(teacher_tuned):
    # 200 targets of noise 0.1: an estimate of sigma errs by sigma / sqrt(2 * 191); 4.5 times
    assert abs(teacher_tuned.likelihood.sigma_noise / 0.1 - 1.0) < 4.5 / np.sqrt(2 * 191)


def test_the_result_does_not_depend_on_where_it_began(teacher_data, teacher_optimum, teacher_tuned):
    post = Posterior(MLP(2, (2,), 1), *teacher_data, Gaussian(0.05), NormalPrior(0.1))
    again = maximize_evidence(post, teacher_optimum)
    assert again.likelihood.sigma_noise == pytest.approx(teacher_tuned.likelihood.sigma_noise, rel=1e-6)
    assert again.prior.prior_precision == pytest.approx(teacher_tuned.prior.prior_precision, rel=1e-6)


def test_the_evidence_of_a_linear_model_rises_from_round_to_round(linear_tuned):
    heights = [entry.log_marginal_likelihood for entry in linear_tuned.tuning.rounds]
    assert len(heights) > 2
    assert np.all(np.diff(heights) > -1e-10)


def test_the_same_seed_gives_the_same(teacher_data):
    post = Posterior(MLP(2, (2,), 1), *teacher_data, Gaussian(0.2), NormalPrior(3.0))
    first, again = (maximize_evidence(post, seed=1, max_rounds=4) for _ in range(2))
    assert hyperparameters(first) == hyperparameters(again)
    assert np.array_equal(first.tuning.optimum.weights, again.tuning.optimum.weights)


def test_targets_fewer_than_weights_do_not_pass_for_a_result(rng):
    # a perfect fit has no residuals left: sigma runs to 0
    x = rng.standard_normal((4, 1))
    post = Posterior(MLP(1, (4,), 1), x, rng.standard_normal(4), Gaussian(0.1), NormalPrior(1.0))
    tuned = maximize_evidence(post, find_optimum(post, seed=0), max_rounds=30)
    sigma, alpha = hyperparameters(tuned)
    assert np.isfinite(sigma)
    assert np.isfinite(alpha)
    assert min(sigma, alpha) > 0
    if tuned.tuning.status is Status.converged:
        gamma = tuned.tuning.effective_parameters
        w = tuned.tuning.optimum.weights
        assert np.isclose(alpha, gamma / (w @ w), rtol=1e-5)


@pytest.mark.parametrize(
    ("likelihood", "prior", "argument", "wants"),
    [
        (Gaussian(np.full(30, 0.1)), NormalPrior(1.0), "likelihood", "one sigma_noise"),
        (Gaussian(0.1), NormalPrior(np.ones(4)), "prior", "one prior_precision"),
        (Gaussian(0.1), FlatPrior(), "prior", "one prior_precision"),
    ],
)
def test_other_hyperparameters_are_refused(linear_data, likelihood, prior, argument, wants):
    post = Posterior(MLP(3, (), 1), *linear_data, likelihood, prior)
    with refuses(argument, "", wants):
        maximize_evidence(post)


def test_ctrl_c_in_the_search_is_passed_on(teacher_posterior, monkeypatch):
    search = evidence.find_optimum
    monkeypatch.setattr(evidence, "find_optimum", lambda *a, **how: replace(search(*a, **how), interrupted=True))
    with pytest.raises(KeyboardInterrupt):
        maximize_evidence(teacher_posterior)


def test_a_point_that_is_no_number_is_refused_by_name(teacher_posterior):
    with refuses("optimum", "NaN", "finite"):
        maximize_evidence(teacher_posterior, np.full(teacher_posterior.n_weights, np.nan))
    with refuses("optimum", "shape (3,)", "shape (9,)"):
        maximize_evidence(teacher_posterior, np.zeros(3))
    with refuses("optimum", "not finite", "an optimum"):
        maximize_evidence(teacher_posterior, np.full(9, 1e200))
