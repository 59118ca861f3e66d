"""Moments by weights at opposite draws: exact integrals, and noise that shrinks with what is measured."""

import numpy as np
import pytest

from bayesnn.agreement import MirroredMoments


def moments_on_a_grid(log_ratio):
    """Mean and covariance of exp(log_ratio) times a standard normal of two dimensions."""
    line = np.linspace(-9.0, 9.0, 1201)
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1)
    weights = np.exp(log_ratio(grid) - 0.5 * (grid**2).sum(axis=-1))
    weights /= weights.sum()
    mean = np.einsum("ij,ijk->k", weights, grid)
    return mean, np.einsum("ij,ijk,ijl->kl", weights, grid, grid) - np.outer(mean, mean)


def bent(size):
    """Third and fourth derivatives of a posterior of `1 / size**2` rows."""

    def log_ratio(z):
        a, b = z[..., 0], z[..., 1]
        return -size * (0.4 * a**3 / 6.0 - 0.3 * a * b**2 / 2.0) - size**2 * (0.3 * a**4 + 0.2 * a**2 * b**2) / 24.0

    return log_ratio


@pytest.mark.parametrize("size", [1.0, 0.1, 0.01])
def test_lengths_are_those_of_quadrature_however_small(size):
    mean, covariance = moments_on_a_grid(bent(size))
    expected = np.linalg.norm(mean), np.linalg.norm(covariance - np.eye(2))
    seen = []
    for seed in range(40):
        z = np.random.default_rng(seed).standard_normal((4000, 2))
        found = MirroredMoments.of(z, np.stack([bent(size)(z), bent(size)(-z)]) + 7.0)
        seen.append((found.mean_error.debiased, found.covariance_error.debiased))
    seen = np.array(seen)
    # the mean of 40 has a sixth of the spread
    spread = seen.std(axis=0) / np.sqrt(40)
    assert np.all(np.abs(seen.mean(axis=0) - expected) < 4.5 * spread)
    # a share of what is measured, where 4000 draws by themselves know the mean to 0.02
    assert np.all(seen.std(axis=0) < 0.5 * np.array(expected))


def test_noise_and_band_are_those_of_replicates():
    # a posterior that is Gaussian but for a tilt of the weights by chance: errors have mean 0
    squares, promised, alarms = np.zeros((200, 2)), np.zeros((200, 2)), np.zeros(2)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        z = rng.standard_normal((1000, 3))
        found = MirroredMoments.of(z, 0.1 * rng.standard_normal((2, 1000)))
        for i, distance in enumerate((found.mean_error, found.covariance_error)):
            squares[seed, i], promised[seed, i] = distance.value**2, distance.noise**2
            alarms[i] += distance.value > distance.band
    error = squares.std(axis=0) / np.sqrt(200)
    assert np.all(np.abs(squares.mean(axis=0) - promised.mean(axis=0)) < 4.0 * error)
    # 5 % of 200 is 10, and more than 22 or fewer than 2 have a probability of 1e-3
    assert np.all((alarms >= 2) & (alarms <= 22)), alarms


def test_where_the_posterior_is_zero_nothing_is_known():
    z = np.ones((4, 2))
    found = MirroredMoments.of(z, np.array([[0.0, 0.0, 0.0, -np.inf], [0.0] * 4]))
    assert np.isnan(found.mean_error.value)
    assert np.isnan(found.covariance_error.debiased)
