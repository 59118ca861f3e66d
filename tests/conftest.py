"""Fixtures, and the switch between the short and the long form."""

import os

import numpy as np
import pytest

from bayesnn.laplace import fit_laplace
from bayesnn.models import MLP
from bayesnn.optimum import find_optimum
from bayesnn.posterior import Gaussian, NormalPrior, Posterior


def pytest_collection_modifyitems(items):
    if os.environ.get("BAYESNN_TRUST") == "1":
        return
    skip = pytest.mark.skip(reason="long form: set BAYESNN_TRUST=1")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture
def rng():
    return np.random.default_rng(20240229)


@pytest.fixture(scope="session")
def teacher_data():
    """200 rows of the two-unit teacher of the theory notes (A4): every unit is needed, so modes are isolated."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((200, 2))
    w = np.array([1.2, -0.6, 0.5, 1.4, 0.3, -0.4, 1.0, -1.2, 0.2])
    y = np.tanh(x @ w[:4].reshape(2, 2) + w[4:6]) @ w[6:8] + w[8]
    return x, y + 0.1 * rng.standard_normal(200)


@pytest.fixture(scope="session")
def teacher_posterior(teacher_data):
    return Posterior(MLP(2, (2,), 1), *teacher_data, Gaussian(0.1), NormalPrior(1.0))


@pytest.fixture(scope="session")
def teacher_optimum(teacher_posterior):
    return find_optimum(teacher_posterior, n_starts=6, seed=0)


@pytest.fixture(scope="session")
def teacher_laplace(teacher_posterior, teacher_optimum):
    return fit_laplace(teacher_posterior, teacher_optimum)


@pytest.fixture(scope="session")
def linear_data():
    """30 rows of a noisy linear function of 3 inputs in different units."""
    rng = np.random.default_rng(11)
    x = rng.standard_normal((30, 3)) * np.array([1.0, 0.3, 4.0])
    y = x @ np.array([0.5, -2.0, 0.1]) + 1.5 + 0.4 * rng.standard_normal(30)
    return x, y


@pytest.fixture(scope="session")
def linear_precision():
    """A prior precision of its own for each weight of the linear model."""
    return np.array([0.5, 1.0, 2.0, 0.1])


@pytest.fixture(scope="session")
def linear_laplace(linear_data, linear_precision):
    """The Laplace posterior of a linear model: exact."""
    post = Posterior(MLP(3, (), 1), *linear_data, Gaussian(0.4), NormalPrior(linear_precision))
    return fit_laplace(post, find_optimum(post, seed=0))
