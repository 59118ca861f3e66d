"""SciPy's minimisers end at the same optima as our own, and perturbed searches return to them."""

import numpy as np
import pytest

from bayesnn import MLP, FlatPrior, FunctionModel, Gaussian, NormalPrior, Posterior, Status, certify, find_optimum
from bayesnn.optimum import levenberg_marquardt, scipy_descent


@pytest.mark.parametrize("method", ["newton-cg", "l-bfgs"])
def test_every_method_ends_at_the_same_optimum(teacher_posterior, method):
    start = np.array([1.0, -0.5, 0.4, 1.1, 0.1, -0.2, 0.8, -1.0, 0.1])  # near the teacher: one basin
    own = find_optimum(teacher_posterior, start=start)
    other = find_optimum(teacher_posterior, start=start, method=method)
    assert other.status is Status.converged
    np.testing.assert_allclose(other.weights, own.weights, rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", ["newton-cg", "l-bfgs"])
def test_a_run_cut_short_says_so(teacher_posterior, method):
    run = scipy_descent(teacher_posterior, np.full(9, 0.5), method, max_steps=2)
    assert run.status is Status.max_steps
    assert run.newton_decrement > 1e-3


def test_a_start_where_the_density_is_not_finite_is_said(teacher_posterior):
    assert scipy_descent(teacher_posterior, np.full(9, 1e200), "l-bfgs").status is Status.nonfinite


def test_searches_return_to_an_optimum_from_half_a_standard_deviation(teacher_posterior, teacher_optimum):
    assert teacher_optimum.certificate.return_distance < 1e-5
    assert certify(teacher_posterior, teacher_optimum.weights).return_distance is None  # not tried unless asked


def test_searches_do_not_return_to_a_point_that_is_no_optimum(teacher_posterior, teacher_optimum):
    factor = teacher_posterior.factor_ggn(teacher_optimum.weights)
    beside = teacher_optimum.weights + factor.color(0.5 * np.eye(9)[4])
    found = certify(teacher_posterior, beside, perturb=True)
    assert found.return_distance == pytest.approx(0.5, rel=0.2)  # the metric beside the optimum is another
    assert any("perturbed" in reason for reason in found.reasons)


def test_a_second_optimum_within_the_gaussians_width_is_noticed():
    """w and -w fit equally well, 0.2 apart, and the sd is 0.35: an optimum by every derivative, but no Gaussian."""
    model = FunctionModel(lambda w, x: w[0] ** 2 * x, ["w"], jacobian=lambda w, x: 2.0 * w[0] * x[:, None])
    post = Posterior(model, np.ones(2), np.array([0.11, -0.09]), Gaussian(0.1), FlatPrior())
    by_derivatives = certify(post, [0.1])
    assert by_derivatives.is_optimum
    found = certify(post, [0.1], perturb=True)
    sd = 0.1 / (2 * 0.1 * np.sqrt(2))
    assert found.return_distance == pytest.approx(0.2 / sd, rel=1e-6)
    assert not found.is_optimum
    assert "perturbed by 0.5 posterior sd" in found.reasons[0]


def test_the_saddle_of_a_linear_network_at_zero_is_refused():
    """Kawaguchi (2016): two weight matrices at zero; eigenvalues -+ the singular values of XY' (theory E1)."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 2))
    y = x @ rng.standard_normal((2, 2))
    net = MLP(2, (2,), 2, activation="identity", bias=False)
    post = Posterior(net, x, y, Gaussian(1.0), NormalPrior(1e-3))
    at_zero = certify(post, np.zeros(8))
    expected = -np.linalg.svd(x.T @ y, compute_uv=False)[0] + 1e-3
    assert at_zero.smallest_hessian_eigenvalue == pytest.approx(expected, rel=1e-9)
    assert not at_zero.is_optimum
    assert at_zero.reasons[0].startswith("smallest Hessian eigenvalue -")
    assert find_optimum(post, start=np.zeros(8)).status is Status.saddle


def test_levenberg_marquardt_hands_on_every_kept_step(teacher_posterior):
    seen = []
    run = levenberg_marquardt(teacher_posterior, np.full(9, 0.4), on_step=seen.append)
    assert 0 < len(seen) <= run.n_steps
    np.testing.assert_array_equal(seen[-1], run.weights)
    heights = [float(teacher_posterior.log_density(w)) for w in seen]
    assert np.all(np.diff(heights) > -1e-8)
