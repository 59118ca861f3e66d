"""Hardt & Ma (2016): the corrected bound, the small optimum, and descents with the rates of the theory notes."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bayesnn import DeepLinear
from bayesnn.landscape import (
    Ending,
    Point,
    PopulationRisk,
    SpectralBall,
    along_path,
    descend,
    descend_residual,
    guaranteed_polyak,
    largest_norm,
    optimality,
    printed_polyak,
    small_optimum,
)
from tests.refusals import refuses


def residual(d, n_layers):
    return DeepLinear((d,) * (n_layers + 1), residual=True)


def random_problem(rng):
    """A risk and a point within a ball of radius below 1, of random sizes."""
    d, n_layers = int(rng.integers(1, 4)), int(rng.integers(1, 6))
    root = rng.standard_normal((d, d + 1))
    risk = PopulationRisk(residual(d, n_layers), rng.standard_normal((d, d)), root @ root.T, noise=float(rng.random()))
    weights = SpectralBall(risk.network, rng.uniform(0.05, 0.95)).sample(rng, 1)[0]
    return risk, weights


def ratios(risk, weights):
    """Square of the gradient over the corrected bound, and over the printed one."""
    value, gradient = risk.value_and_gradient(weights)
    tau, n_layers = largest_norm(risk.network, weights), risk.network.n_layers
    square, gap = gradient @ gradient, value - risk.noise
    return [square / (bound(n_layers, tau, risk.least_variance) * gap) for bound in (guaranteed_polyak, printed_polyak)]


def test_the_corrected_bound_holds_on_3000_random_points_and_the_printed_one_does_not():
    rng = np.random.default_rng(0)
    corrected, printed = np.array([ratios(*random_problem(rng)) for _ in range(3000)]).T
    assert corrected.min() >= 1.0 - 1e-9
    assert (printed < 1.0).mean() > 0.05


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("n_layers", [1, 2, 5])
def test_the_corrected_bound_is_attained(d, n_layers):
    rng = np.random.default_rng(1)
    root = rng.standard_normal((d, d + 1))
    covariance, tau = root @ root.T, 0.4
    along = np.linalg.eigh(covariance)[1][:, 0]
    # all A_i = -tau I, and the error's rows along the least variance
    target = (1.0 - tau) ** n_layers * np.eye(d) + np.outer(rng.standard_normal(d), along)
    risk = PopulationRisk(residual(d, n_layers), target, covariance)
    weights = -tau * np.tile(np.eye(d).ravel(), n_layers)
    assert ratios(risk, weights)[0] == pytest.approx(1.0, abs=1e-6)


def test_the_counterexample_to_the_printed_bound():
    risk = PopulationRisk(residual(1, 2), [[1.0]])
    value, gradient = risk.value_and_gradient(np.array([-0.5, -0.5]))
    assert gradient @ gradient == 1.125
    assert printed_polyak(2, 0.5, 1.0) * value == 2.25
    assert guaranteed_polyak(2, 0.5, 1.0) * value == 1.125


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_the_small_optimum_is_one_and_small(d):
    rng = np.random.default_rng(d)
    for _ in range(20):
        target = rng.standard_normal((d, d))
        target[0] *= np.sign(np.linalg.det(target))
        gamma = np.abs(np.log(np.linalg.svd(target, compute_uv=False))).max()
        for n_layers in (2, int(np.ceil(3.0 * gamma)) + 2, 40):
            found = small_optimum(target, n_layers)
            model = residual(d, n_layers)
            np.testing.assert_allclose(model.matrix(found.weights).T, target, rtol=1e-9, atol=1e-10)
            assert found.gamma == pytest.approx(gamma)
            assert found.largest_norm == pytest.approx(largest_norm(model, found.weights))
            if n_layers >= 3.0 * gamma:
                assert found.largest_norm <= found.bound
            else:
                assert np.isnan(found.bound)
            risk = PopulationRisk(model, target)
            value, gradient = risk.value_and_gradient(found.weights)
            assert value < 1e-18 * max(1.0, np.abs(target).max()) ** 2 * d * d * 1e4
            assert np.linalg.norm(gradient) < 1e-8


def test_rotations_by_half_a_turn_have_a_root():
    for target in (np.diag([-1.0, -1.0]), np.diag([-1.0, 2.0, -1.0]), -np.eye(4)):
        found = small_optimum(target, 30)
        np.testing.assert_allclose(residual(len(target), 30).matrix(found.weights).T, target, atol=1e-12)
        assert found.largest_norm <= found.bound


def test_of_a_positive_matrix_the_factors_are_its_roots():
    target = np.diag([2.0, 0.5])
    found = small_optimum(target, 8)
    assert found.n_rotations == 0
    assert found.largest_norm == pytest.approx(2.0 ** (1 / 8) - 1.0)
    # D: at most e^(gamma / l) - 1 <= 1.19 gamma / l
    assert found.largest_norm <= 1.19 * found.gamma / 8


# Theory notes E2: R of eigenvalues 2, 1.2, 1/2, each depth with one of its own, whose eigenvectors are not told: no one
# R gives all three rates. These rotation vectors were searched for; all seven numbers of a row come out together.
# layers, rotation vector: steps to 1e-22, alpha on the path, guaranteed, tau, rate, 1 - eta alpha, l max|A|
RUNS = [
    (2, (0.45, -0.89, -1.2), (439, 4.23, 1.37, 0.415, 0.8971, 0.8944, 0.829)),
    (8, (-0.09, -1.93, -1.41), (1373, 5.38, 4.22, 0.091, 0.9667, 0.9664, 0.726)),
    (32, (-0.526, -0.018, 0.543), (968, 30.6, 16.0, 0.022, 0.9527, 0.9522, 0.707)),
]


@pytest.mark.parametrize(("n_layers", "turn", "expected"), RUNS, ids=lambda value: str(value)[:2])
def test_rates_from_zero(n_layers, turn, expected):
    basis = Rotation.from_rotvec(turn).as_matrix()
    target = basis @ np.diag([2.0, 1.2, 0.5]) @ basis.T
    risk = PopulationRisk(residual(3, n_layers), target, np.diag([1.0, 0.5, 2.0]))
    found = descend_residual(risk, 0.05 / n_layers, 5000, until=1e-22)
    measured = along_path(found.path, 0.0)
    steps, least_alpha, guaranteed, tau, rate, implied, norm = expected
    assert found.path.n_steps == steps
    assert found.path.ending == Ending.reached
    assert measured.least_polyak == pytest.approx(least_alpha, abs=0.005 if n_layers < 32 else 0.05)
    assert found.largest_norms.max() == pytest.approx(tau, abs=5e-4)
    assert found.guaranteed == pytest.approx(guaranteed, abs=0.005 if n_layers < 32 else 0.05)
    assert found.guaranteed <= measured.least_polyak
    assert measured.observed_rate[-1] == pytest.approx(rate, abs=5e-5)
    assert measured.implied_rate[-1] == pytest.approx(implied, abs=5e-5)
    assert n_layers * found.largest_norms[-1] == pytest.approx(norm, abs=5e-4)
    # every step keeps what the guaranteed constant promises
    assert np.all(measured.observed_rate <= 1.0 - 0.5 * found.path.step * found.guaranteed)


def test_negative_determinant_ends_on_the_boundary():
    risk = PopulationRisk(residual(2, 4), np.diag([1.0, -1.0]))
    found = descend_residual(risk, 0.05 / 4, 5000, radius=0.9)
    assert found.path.ending == Ending.stationary
    assert found.ends_on_boundary
    assert found.largest_norms[-1] == pytest.approx(0.900, abs=1e-9)
    # the second coordinate goes to 0.1 four times: (1 + 1e-4)^2, and 4 layers of 2 (1 + 1e-4) 1e-3
    assert found.path.values[-1] == pytest.approx(1.0002, abs=5e-5)
    assert found.path.values[-1] == pytest.approx((1.0 + 1e-4) ** 2, rel=1e-9)
    assert found.path.gradient_norms[-1] == pytest.approx(0.004, abs=5e-5)
    with refuses("target", "a determinant of -1", "above 0"):
        small_optimum(np.diag([1.0, -1.0]), 4)


def test_from_zero_the_residual_network_moves_and_the_plain_one_does_not():
    target = np.array([[1.5, 0.3], [-0.2, 0.8]])
    for n_layers in (2, 4):
        plain = PopulationRisk(DeepLinear((2,) * (n_layers + 1)), target)
        stuck = descend(plain, np.zeros(4 * n_layers), 0.02, 2000)
        assert stuck.ending == Ending.stationary
        assert stuck.n_steps == 0
        at_zero = optimality(plain, np.zeros(4 * n_layers))
        assert at_zero.gradient_norm == 0.0
        assert at_zero.verdict == (Point.strict_saddle if n_layers == 2 else Point.degenerate)
        assert at_zero.value == pytest.approx((target**2).sum())
        moved = descend_residual(PopulationRisk(residual(2, n_layers), target), 0.02, 2000, until=1e-20)
        assert moved.path.ending == Ending.reached
        assert np.linalg.norm(moved.path.gradients[0]) > 0.1


def test_guaranteed_rates_are_kept():
    rng = np.random.default_rng(3)
    for n_layers in (2, 5):
        risk = PopulationRisk(residual(2, n_layers), np.eye(2) + 0.3 * rng.standard_normal((2, 2)), noise=0.1)
        found = descend_residual(risk, 0.02, 300)
        measured = along_path(found.path, risk.noise)
        assert 0.0 < found.guaranteed <= measured.least_polyak
        rates = measured.observed_rate
        known = measured.gap[:-1] > 1e-6  # of a loss of 0.1 and more the gap has errors of 1e-17
        assert known.sum() > 30
        assert np.all(rates[known] <= 1.0 - 0.5 * found.path.step * found.guaranteed)


def test_bad_input():
    with refuses("radius", "1", "below 1"):
        guaranteed_polyak(2, 1.0, 1.0)
    with refuses("least_variance", "0", "above 0"):
        guaranteed_polyak(2, 0.5, 0.0)
    with refuses("n_layers", "0", "at least 1"):
        printed_polyak(0, 0.5, 1.0)
    with refuses("target", "singular", "positive determinant"):
        small_optimum(np.ones((2, 2)), 4)
    with refuses("target", "(1, 2)", "square"):
        small_optimum([[1.0, 2.0]], 4)
    with refuses("target", "1 NaN", "all finite"):
        small_optimum([[np.nan]], 4)
    with refuses("n_layers", "1", "at least 2"):
        small_optimum([[0.0, -2.0], [0.5, 0.0]], 1)
    with refuses("risk", "PopulationRisk", "residual"):
        descend_residual(PopulationRisk(DeepLinear((1, 1)), [[1.0]]), 0.1)


@pytest.mark.parametrize("off", [5e-6, 1e-9])
def test_a_stretch_or_a_turn_however_small_is_not_dropped(off):
    turn = np.array([[np.cos(off), -np.sin(off)], [np.sin(off), np.cos(off)]])
    half = np.array([[0.0, -1.0], [1.0, 0.0]])
    for target in (np.array([[1.0 + off]]), (1.0 + off) * half, np.diag([2.0, 0.5]) @ turn):
        found = small_optimum(target, 3)
        made = residual(len(target), 3).matrix(found.weights).T
        np.testing.assert_allclose(made, target, rtol=0.0, atol=1e-14 * len(target) * 4)
