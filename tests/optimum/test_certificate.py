from fractions import Fraction

import numpy as np
import pytest

from bayesnn.models import MLP
from bayesnn.optimum import certify, find_optimum
from bayesnn.posterior import FlatPrior, Gaussian, NormalPrior, Posterior
from tests import oracles
from tests.refusals import refuses


def numbers_of(posterior):
    """What the oracles want to know of a posterior."""
    sigma = posterior.likelihood.sigma_noise
    return oracles.Net.of(posterior.model), posterior.x, posterior.y, sigma, posterior.prior_precision


@pytest.fixture
def linear_posterior(linear_data, linear_precision):
    return Posterior(MLP(3, (), 1), *linear_data, Gaussian(0.4), NormalPrior(linear_precision))


@pytest.fixture
def linear_exact(linear_data, linear_precision):
    x, y = linear_data
    return oracles.LinearGaussian(oracles.design(x), y, 0.4, linear_precision)


def test_an_optimum_passes(teacher_posterior, teacher_optimum):
    certificate = certify(teacher_posterior, teacher_optimum.weights)
    assert certificate.is_optimum
    assert certificate.newton_decrement < 1e-6
    assert certificate.smallest_hessian_eigenvalue > 0
    assert certificate.negative_direction is None
    assert certificate.rank == certificate.n_weights == 9
    assert len(certificate.reasons) == 3
    assert all("(" in reason for reason in certificate.reasons)


def test_the_exact_optimum_of_a_linear_model_passes(linear_posterior, linear_exact):
    certificate = certify(linear_posterior, linear_exact.mean)
    assert certificate.is_optimum
    assert certificate.ggn_hessian_gap < 1e-10


def test_every_number_agrees_with_the_oracle(teacher_posterior, teacher_optimum):
    net, x, y, sigma, precision = numbers_of(teacher_posterior)
    off = np.random.default_rng(0).standard_normal(9)
    w = teacher_optimum.weights + 0.01 * off
    g = oracles.gradient(net, w, x, y, sigma, precision)
    H = oracles.hessian(net, w, x, y, sigma, precision)
    ggn = oracles.ggn(net, w, x, sigma, precision)
    assert np.linalg.eigvalsh(H)[0] > 0
    step = np.linalg.solve(H, g)
    inverse_root = np.linalg.cholesky(np.linalg.inv(ggn))
    data_only = ggn - np.diag(precision)
    certificate = certify(teacher_posterior, w)
    assert np.isclose(certificate.newton_decrement, np.sqrt(g @ step), rtol=1e-9)
    assert np.isclose(certificate.gradient_norm, np.linalg.norm(g), rtol=1e-9)
    assert np.isclose(certificate.smallest_hessian_eigenvalue, np.linalg.eigvalsh(H)[0], rtol=1e-8)
    gap = np.linalg.norm(inverse_root.T @ H @ inverse_root - np.eye(9))
    assert np.isclose(certificate.ggn_hessian_gap, gap, rtol=1e-8)
    gained = oracles.log_density(net, w + step, x, y, sigma, precision) - oracles.log_density(
        net, w, x, y, sigma, precision
    )
    assert np.isclose(certificate.newton_step_change, gained, rtol=1e-7)
    informed = np.linalg.eigvalsh(data_only / np.sqrt(precision) / np.sqrt(precision)[:, None])
    assert certificate.n_informed == (informed > 1).sum()


def test_directions_the_prior_dominates_do_not_count_as_informed(linear_data):
    # A'A / sigma**2 against a prior precision between its eigenvalues
    x, y = linear_data
    A = oracles.design(x)
    values = np.linalg.eigvalsh(A.T @ A / 0.16)
    between = np.sqrt(values[1] * values[2])
    post = Posterior(MLP(3, (), 1), x, y, Gaussian(0.4), NormalPrior(between))
    certificate = certify(post, np.zeros(4))
    assert certificate.n_informed == 2
    assert certificate.rank == 4


@pytest.mark.parametrize("direction", range(4))
def test_half_a_posterior_sd_away_is_seen_as_half_a_posterior_sd(direction, linear_posterior, linear_exact):
    values, vectors = np.linalg.eigh(linear_exact.precision)
    off = 0.5 / np.sqrt(values[direction]) * vectors[:, direction]
    certificate = certify(linear_posterior, linear_exact.mean + off)
    assert not certificate.is_optimum
    # the log density is quadratic: the decrement is the distance, the gain of a Newton step half its square
    assert np.isclose(certificate.newton_decrement, 0.5, rtol=1e-9)
    assert np.isclose(certificate.newton_step_change, 0.125, rtol=1e-9)
    assert len(certificate.reasons) == 2
    assert certificate.reasons[0].startswith("Newton decrement 0.5 posterior sd, wants at most")
    assert certificate.reasons[1].startswith("one more Newton step gains 0.1")


@pytest.mark.parametrize("direction", range(9))
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_network_half_a_posterior_sd_away_is_refused(direction, sign, teacher_posterior, teacher_optimum):
    values, vectors = np.linalg.eigh(teacher_posterior.hessian(teacher_optimum.weights))
    off = sign * 0.5 / np.sqrt(values[direction]) * vectors[:, direction]
    certificate = certify(teacher_posterior, teacher_optimum.weights + off)
    assert not certificate.is_optimum
    assert any(reason.startswith("Newton decrement") for reason in certificate.reasons)


def saddle_posterior(prior_precision, hidden=2):
    """Targets odd in x, inputs symmetric: at w = 0 the gradient is exactly 0.

    There the residuals are y. The hidden units and the output weights are 0, so the gradient by W1, b1 and W2
    vanishes; by b2 it is sum(y) = 0. The only second derivatives of the outputs are x between W1 and W2, and 1 between
    b1 and W2, so the Hessian of the negative log density has blocks [[t, -c], [-c, t]], c = sum(x y) / sigma**2, with
    eigenvalues t - c and t + c, t the prior precision; sum(y) = 0 leaves b1 at t, and b2 has t + n / sigma**2.
    """
    half = np.linspace(0.2, 2.0, 10)
    x = np.concatenate([-half, half])[:, None]
    y = np.tanh(2.0 * x)
    sigma = 0.5
    c = float((x * y).sum() / sigma**2)
    post = Posterior(MLP(1, (hidden,), 1), x, y, Gaussian(sigma), NormalPrior(prior_precision))
    return post, prior_precision - c


def test_a_saddle_is_refused_though_its_gradient_is_zero():
    post, smallest = saddle_posterior(1.0)
    certificate = certify(post, np.zeros(post.n_weights))
    assert certificate.gradient_norm < 1e-13
    assert smallest < 0
    assert np.isclose(certificate.smallest_hessian_eigenvalue, smallest, rtol=1e-12)
    assert not certificate.is_optimum
    assert certificate.reasons[0].startswith("smallest Hessian eigenvalue -")
    direction = certificate.negative_direction
    assert np.isclose(np.linalg.norm(direction), 1.0, rtol=1e-12)
    assert np.isclose(direction @ post.hessian(np.zeros(7)) @ direction, smallest, rtol=1e-12)
    # moving along it does raise the log density
    assert post.log_density(0.01 * direction) > post.log_density(np.zeros(7))


def test_the_same_point_is_an_optimum_under_a_prior_that_outweighs_the_data():
    precision = 1.0 - 2.0 * saddle_posterior(1.0)[1]
    post, smallest = saddle_posterior(precision)
    assert smallest > 0
    certificate = certify(post, np.zeros(post.n_weights))
    assert certificate.is_optimum
    assert np.isclose(certificate.smallest_hessian_eigenvalue, smallest, rtol=1e-12)


def inputs(net, n):
    return np.random.default_rng(3).standard_normal((n, net.in_features))


def rank(net, weights, n=300):
    x = inputs(net, n)
    post = Posterior(net, x, np.zeros((n, net.out_features)), Gaussian(1.0), NormalPrior(1.0))
    return certify(post, weights).rank


def lively_weights(net, seed):
    """Weights whose every hidden unit switches: it is active on at least a tenth of the rows, and silent on a tenth.

    Dead units lose more rank than theory's one each, and so do units that never switch.
    """
    rng = np.random.default_rng(seed)
    while True:
        weights = rng.standard_normal(net.n_weights)
        sums = [oracles.forward_row(oracles.Net.of(net), weights, row)[1] for row in inputs(net, 300)]
        hidden = np.array([[z for layer in row[:-1] for z in layer] for row in sums])
        if np.all(np.abs((hidden > 0).mean(axis=0) - 0.5) <= 0.4):
            return weights


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("widths", "bias", "expected"), [((2, 2, 1), True, 7), ((3, 3, 1), False, 9)])
def test_relu_loses_one_direction_for_every_hidden_unit(widths, bias, expected, seed):
    # theory A6: one scaling generator a unit
    net = MLP(widths[0], widths[1:-1], widths[-1], activation="relu", bias=bias)
    assert net.n_weights - sum(net.hidden) == expected
    assert rank(net, lively_weights(net, seed)) == expected


@pytest.mark.parametrize(("hidden", "expected"), [((3, 3), 15), ((3, 3, 3), 21)])
def test_deep_relu_loses_at_least_that_and_no_more_in_general(hidden, expected):
    # theory A6: a bound, reached; many networks lose more, so the best of several draws counts
    net = MLP(3, hidden, 1, activation="relu", bias=False)
    ranks = [rank(net, lively_weights(net, seed)) for seed in range(20, 28)]
    assert net.n_weights - sum(net.hidden) == expected
    assert max(ranks) == expected


def tanh_unit_weights(spoil):
    """Weights of a tanh 2-3-1 network, spoiled; W1 (2, 3), b1, W2, b2."""
    w = np.random.default_rng(1).standard_normal(13)
    W1, b1, W2 = w[:6].reshape(2, 3), w[6:9], w[9:12]
    if spoil == "unused unit":
        W2[2] = 0.0
    elif spoil == "constant unit":
        W1[:, 2] = 0.0
    elif spoil == "identical units":
        W1[:, 2], b1[2] = W1[:, 1], b1[1]
    return w


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [("none", 13), ("unused unit", 10), ("constant unit", 11), ("identical units", 9)],
)
def test_degenerate_tanh_units_lose_the_rank_theory_says(spoil, expected):
    assert rank(MLP(2, (3,), 1), tanh_unit_weights(spoil)) == expected


def test_rank_does_not_depend_on_units_of_the_inputs():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 3)) * np.array([1e8, 1.0, 1e-8])
    post = Posterior(MLP(3, (), 1), x, np.zeros(50), Gaussian(1.0), FlatPrior())
    assert certify(post, np.zeros(4)).rank == 4


def test_fewer_rows_than_weights_bound_the_rank():
    assert rank(MLP(2, (3,), 1), tanh_unit_weights("none"), n=5) == 5


def test_without_a_prior_a_rank_deficit_is_a_reason(rng):
    x = rng.standard_normal((40, 2))
    post = Posterior(MLP(2, (2,), 1, activation="relu"), x, x[:, 0], Gaussian(1.0), FlatPrior())
    certificate = certify(post, np.abs(rng.standard_normal(9)) + 0.1)
    assert not certificate.is_optimum
    assert certificate.rank == certificate.n_informed == 7
    assert "rank of B 7, wants 9 (flat prior)" in certificate.reasons


def test_a_point_where_the_density_is_not_finite_is_refused(teacher_posterior):
    certificate = certify(teacher_posterior, np.full(9, np.nan))
    assert not certificate.is_optimum
    assert certificate.reasons == ("log density, gradient or curvature is not finite",)
    assert certificate.newton_decrement == np.inf


def test_a_badly_scaled_optimum_passes_without_a_prior():
    # Longley: condition 5e9 of the columns as they are, 4e4 at unit length
    x, y, params, _, sigma = oracles.nist("Longley")
    post = Posterior(MLP(6, (), 1), x, y, Gaussian(sigma), FlatPrior())
    certificate = certify(post, params)
    assert certificate.rank == 7
    assert certificate.is_optimum


@pytest.mark.parametrize("weights", [np.zeros(8), np.zeros((2, 9)), 0.0], ids=str)
def test_weights_of_another_shape_are_refused(teacher_posterior, weights):
    with refuses("weights", f"shape {np.shape(weights)}", "9"):
        certify(teacher_posterior, weights)


def test_rounding_of_a_large_log_density_refuses_no_optimum():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((100, 3)), 1e6 * rng.standard_normal(100)
    posterior = Posterior(MLP(3, (), 1), x, y, Gaussian(1.0), NormalPrior(1e-6))
    exact = oracles.LinearGaussian(oracles.design(x), y, 1.0, np.full(4, 1e-6))
    assert abs(posterior.log_density(exact.mean)) * np.finfo(float).eps > 1e-3
    root = np.linalg.cholesky(exact.covariance)
    for _ in range(20):
        direction = rng.standard_normal(4)
        near = exact.mean + root @ direction * 1e-4 / np.linalg.norm(direction)
        assert certify(posterior, near).is_optimum


@pytest.mark.parametrize("units", [1.0, 1e4, 1e8])
def test_what_is_an_optimum_does_not_depend_on_the_units_of_a_column(units):
    rng = np.random.default_rng(0)
    a, b, e = rng.standard_normal((3, 200))
    x = np.column_stack([units * a, b, b + 1e-6 * e])
    y = a + b + 0.1 * rng.standard_normal(200)
    posterior = Posterior(MLP(3, (), 1, bias=False), x, y, Gaussian(0.1), FlatPrior())
    weights = np.linalg.lstsq(x / [units, 1.0, 1.0], y)[0] / [units, 1.0, 1.0]
    certificate = certify(posterior, weights)
    assert certificate.smallest_hessian_eigenvalue > 0.0
    assert certificate.newton_decrement < 1e-3


def exact_inverse(matrix):
    """Inverse by elimination in fractions, rounded at the end."""
    size = len(matrix)
    rows = [[*map(Fraction, row), *(Fraction(int(i == j)) for j in range(size))] for i, row in enumerate(matrix)]
    for i in range(size):
        rows[i] = [entry / rows[i][i] for entry in rows[i]]
        for j in set(range(size)) - {i}:
            rows[j] = [a - rows[j][i] * b for a, b in zip(rows[j], rows[i], strict=True)]
    return np.array([[float(entry) for entry in row[size:]] for row in rows])


def test_the_smallest_eigenvalue_has_digits_where_the_condition_is_the_worst():
    x, y, _, _, sigma = oracles.nist("Longley")
    design = [[Fraction(entry) for entry in row] for row in oracles.design(x).tolist()]
    gram = [[sum(row[i] * row[j] for row in design) for j in range(len(design[0]))] for i in range(len(design[0]))]
    expected = sigma**-2 / np.linalg.eigvalsh(exact_inverse(gram))[-1]
    post = Posterior(MLP(x.shape[1], (), 1), x, y, Gaussian(sigma), FlatPrior())
    found = certify(post, find_optimum(post, progress=False).weights)
    assert found.smallest_hessian_eigenvalue == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("rows", [6, 60])
def test_directions_are_counted_whatever_the_noise_has_for_a_prior(rows):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((rows, 2)), rng.standard_normal(rows)
    flat, wide = (
        Posterior(MLP(2, (4,), 1), x, y, Gaussian("infer", log_sigma_prior=prior), NormalPrior(10.0))
        for prior in (None, (0.0, 1e3))
    )
    weights = np.append(0.3 * rng.standard_normal(17), 0.0)
    assert certify(flat, weights).n_informed == certify(wide, weights).n_informed < certify(flat, weights).rank


def test_a_prior_of_the_noise_is_none_of_the_weights():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 1))
    posterior = Posterior(
        MLP(2, (), 1),
        np.hstack([x, x]),
        2.0 * x[:, 0] + 0.1 * rng.standard_normal(30),
        Gaussian("infer", log_sigma_prior=(0.0, 1.0)),
        FlatPrior(),
    )
    certificate = certify(posterior, np.array([1.0, 1.0, 0.0, np.log(0.1)]))
    assert any("rank of B 3, wants 4 (flat prior)" in reason for reason in certificate.reasons)
