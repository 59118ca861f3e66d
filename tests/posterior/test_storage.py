"""Posteriors taken apart and put together again are the same to the bit; what no file can hold is named."""

import numpy as np
import pytest

from bayesnn.models import MLP, DeepLinear, FunctionModel, LinearSystem
from bayesnn.posterior import (
    Bernoulli,
    Categorical,
    FlatPrior,
    Gaussian,
    HeteroscedasticGaussian,
    LogDensity,
    NormalPrior,
    Poisson,
    Posterior,
    StudentT,
)
from bayesnn.posterior.storage import PARTS, posterior_of, posterior_parts
from bayesnn.sampling.snapshot import load_snapshot, save_snapshot
from tests.refusals import refuses

NET, TWO = MLP(2, (3,), 1, "softplus"), MLP(2, (2, 2), 2, bias=False)
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((9, 2)), RNG.standard_normal(9)
NORMAL = NormalPrior(0.7)


class MyGaussian(Gaussian):
    """A user's own."""


@pytest.mark.parametrize(
    ("network", "y", "likelihood", "prior"),
    [
        (NET, Y, Gaussian(0.1), NORMAL),
        (NET, Y, Gaussian(np.linspace(0.1, 0.3, 9)), FlatPrior()),
        (NET, Y, Gaussian("infer", log_sigma_prior=(0.1, 2.0)), NormalPrior([0.3, 2.0], prior_mean=0.1)),
        (NET, Y, StudentT(3.0, 0.2), NormalPrior("infer_by_layer", log_precision_prior=(0.0, 1.0))),
        (NET, Y > 0, Bernoulli(), NormalPrior(np.linspace(0.1, 1.3, 13))),
        (NET, np.arange(9), Poisson(), NORMAL),
        (TWO, np.arange(9) % 2, Categorical(), NORMAL),
        (TWO, Y, HeteroscedasticGaussian(), NORMAL),
        (TWO, np.stack([Y, -Y], axis=1), Gaussian(0.3), NORMAL),
        (DeepLinear((2, 3, 1)), Y, Gaussian(0.3), NORMAL),
        (DeepLinear((2, 2, 2), residual=True), np.stack([Y, -Y], axis=1), Gaussian("infer"), NORMAL),
        (LinearSystem(1), Y, Gaussian(0.3), NORMAL),
    ],
    ids=repr,
)
def test_what_is_put_together_is_the_same_to_the_bit(network, y, likelihood, prior, tmp_path):
    posterior = Posterior(network, X, np.asarray(y, dtype=float), likelihood, prior)
    save_snapshot(posterior_parts(posterior), tmp_path / "a.npz")
    again = posterior_of(load_snapshot(tmp_path / "a.npz", PARTS))
    w = RNG.standard_normal((4, posterior.n_weights))
    for method in ("log_density", "value_and_gradient", "ggn"):
        first, second = getattr(posterior, method)(w), getattr(again, method)(w)
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert repr(again) == repr(posterior)


@pytest.mark.parametrize(
    ("posterior", "got"),
    [
        (LogDensity(lambda w: -(w @ w), ["a"]), "a LogDensity"),
        (Posterior(FunctionModel(lambda w, x: w[0] * x[:, 0], ["a"]), X, Y, Gaussian(1.0), NORMAL), "a FunctionModel"),
        (Posterior(NET, X, Y, MyGaussian(1.0), NORMAL), "a MyGaussian"),
    ],
)
def test_code_of_the_users_own_is_named(posterior, got):
    with refuses("posterior", got, "of this package"):
        posterior_parts(posterior)


def test_networks_of_another_version_are_named():
    parts = posterior_parts(Posterior(NET, X, Y, Gaussian(1.0), NORMAL))
    with refuses("posterior", "a network 2, written by another version", "MLP"):
        posterior_of(parts | {"network": parts["network"][1:]})


def test_data_outside_memory_and_very_large_data_are_not_copied(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", X)
    mapped = Posterior(NET, np.load(tmp_path / "x.npy", mmap_mode="r"), Y, Gaussian(1.0), NORMAL)
    with refuses("posterior", "not in memory", "data in memory"):
        posterior_parts(mapped)
    monkeypatch.setattr("bayesnn.posterior.storage.LARGEST_DATA", 9 * 3 * 8 - 1)
    with refuses("posterior", "data of more than 215 bytes", "data in memory"):
        posterior_parts(Posterior(NET, X, Y, Gaussian(1.0), NORMAL))
