"""Learning coefficients against exact integrals: regular, singular and between."""

import os
import sys
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from bayesnn import MLP, Bernoulli, FlatPrior, Gaussian, NormalPrior, Posterior, find_optimum, fit_laplace
from bayesnn.agreement import learning_coefficient, learning_curve
from bayesnn.posterior.tempered import Tempered, tempered
from tests.interruption import interrupt_draws
from tests.refusals import refuses


def linear(x, first):
    """Outputs of linear layers (draws, n, h), of weights (draws, ...) of all of them."""
    return x @ first


def tanh(x, first):
    return np.tanh(x @ first)


def relu(x, first):
    return np.maximum(x @ first, 0.0)


@dataclass(frozen=True)
class Row:
    """A model without biases, and its truth: the loss of weights is t times what they miss of it, squared."""

    widths: tuple[int, ...]
    #: Asymptotic learning coefficient, and its multiplicity.
    coefficient: float
    multiplicity: int
    truth: tuple[float, ...] | None = None
    activation: str = "identity"
    x: np.ndarray | None = None
    t: float = 300.0

    @property
    def inputs(self):
        return np.eye(self.widths[0]) if self.x is None else self.x

    @property
    def network(self):
        return MLP(self.widths[0], self.widths[1:-1], self.widths[-1], activation=self.activation, bias=False)

    @property
    def weights(self):
        return np.zeros(self.network.n_weights) if self.truth is None else np.array(self.truth)

    def laplace(self, t=None):
        net, x = self.network, np.tile(self.inputs, (3, 1))  # some rows are wanted
        sigma = np.sqrt(3.0 / (2.0 * (self.t if t is None else t)))
        return fit_laplace(
            Posterior(net, x, net.predict(self.weights, x), Gaussian(sigma), NormalPrior(1.0)), self.weights
        )

    def exact(self, t=None, draws=400_000):
        """lambda(t) and its error: given the other layers the last is normal, and those are drawn from the prior."""
        t, x, widths = self.t if t is None else t, self.inputs, self.widths
        y, random = self.network.predict(self.weights, x), np.random.default_rng(0)
        features = np.broadcast_to(x, (draws, *x.shape))
        act = {"identity": linear, "tanh": tanh, "relu": relu}[self.activation]
        for i, j in pairwise(widths[:-1]):
            features = act(features, random.standard_normal((draws, i, j)))
        gram = features.transpose(0, 2, 1) @ features
        inner = np.eye(widths[-2]) + 2.0 * t * gram
        ridge = np.linalg.solve(inner, 2.0 * t * features.transpose(0, 2, 1) @ y)
        missed = ((y - features @ ridge) ** 2).sum(axis=(1, 2))
        size = (ridge**2).sum(axis=(1, 2))
        log_z = -0.5 * widths[-1] * np.linalg.slogdet(inner)[1] - t * missed - 0.5 * size
        effective = np.trace(np.linalg.solve(inner, 2.0 * t * gram), axis1=1, axis2=2)
        values = 0.5 * widths[-1] * effective + t * missed
        z = np.exp(log_z - log_z.max())
        value = float((z * values).sum() / z.sum())
        return value, float(np.sqrt((z**2 * (values - value) ** 2).sum()) / z.sum())


LINE = np.linspace(-2.0, 2.0, 9)[:, None]
TABLE = {
    "product of two": Row((1, 1, 1), 0.5, 2),
    "reduced rank 2-2-2": Row((2, 2, 2), 1.5, 1),
    "reduced rank 3-2-3": Row((3, 2, 3), 2.5, 1),
    "reduced rank 4-2-3": Row((4, 2, 3), 3.0, 2),
    "reduced rank 5-2-2": Row((5, 2, 2), 2.0, 1),
    "reduced rank 2-1-2": Row((2, 1, 2), 1.0, 2),
    "reduced rank 2-1-2 of rank 1": Row((2, 1, 2), 1.5, 1, truth=(1.0, 0.5, 0.8, -0.6)),
    "product of three": Row((1, 1, 1, 1), 0.5, 3),
    "deep linear 2-2-2-2": Row((2, 2, 2, 2), 1.5, 3),
    "tanh of 2 units, truth 0": Row((1, 2, 1), 2 / 3, 1, activation="tanh", x=LINE),
    "tanh of 3 units, truth 0": Row((1, 3, 1), 5 / 6, 1, activation="tanh", x=LINE),
    "tanh of 2 units, truth of 1": Row((1, 2, 1), 1.25, 1, (1.0, 0.0, 1.0, 0.0), "tanh", LINE),
    "relu of 1 unit, 3 inputs": Row(
        (3, 1, 1), 1.5, 1, (0.8, 0.5, -0.6, 1.0), "relu", np.vstack([np.eye(3), -np.eye(3)]), t=30.0
    ),
}
TRUST = os.environ.get("BAYESNN_TRUST") == "1"
FULL = {"num_samples": 4000, "num_warmup": 1000} if TRUST else {"num_samples": 1000}


def test_product_of_two_numbers_is_what_its_integral_says():
    # Z(t) = e^{1/8t} K0(1/8t) / sqrt(4 pi t): lambda(1e3) = 0.39027
    found = learning_coefficient(TABLE["product of two"].laplace(1e3), inverse_temperature=1.0, num_samples=2000)
    assert found.rhat < 1.01
    assert found.error < 0.01
    assert abs(found.value - 0.39027) < 4.0 * found.error
    assert found.is_singular


@cache
def standard_errors_off(name):
    row = TABLE[name]
    expected, uncertain = row.exact()
    found = learning_coefficient(row.laplace(), inverse_temperature=1.0, **FULL)
    assert found.rhat < 1.02
    assert uncertain < 0.05
    return (found.value - expected) / np.hypot(found.error, uncertain)


@pytest.mark.parametrize("name", TABLE)
def test_rows_of_the_table_are_what_their_integrals_say(name):
    # of 13 rows all are within 3.5 standard errors but for a probability of 0.6 %
    assert abs(standard_errors_off(name)) < 3.5


def test_twelve_rows_are_within_two_standard_errors():
    # a probability of 14 % that two or more of 13 are not; of 0.1 % that their squares sum to more than 34.5
    off = np.array([standard_errors_off(name) for name in TABLE])
    assert (abs(off) < 2.0).sum() >= 12
    assert np.sum(off**2) < 34.5


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.truth is None])
def test_integrals_go_to_the_table(name):
    # lambda(t) = lambda - (m - 1) / log t + o(1 / log t)
    row = TABLE[name]
    near, far = row.exact(1e2), row.exact(1e3)
    limit = row.coefficient - (row.multiplicity - 1) / np.log(1e3)
    if row.multiplicity == 1:
        assert abs(far[0] - limit) < 0.03 + 4.0 * far[1]
        assert abs(far[0] - limit) < abs(near[0] - limit) + 4.0 * np.hypot(near[1], far[1])
    else:
        # the next order is a share of this one
        assert near[0] < far[0] + 4.0 * np.hypot(near[1], far[1])
        assert 0.5 < (row.coefficient - far[0]) * np.log(1e3) / (row.multiplicity - 1) < 1.5


def regular_laplace(n, precision=1e-4, sigma=0.3):
    rng = np.random.default_rng(n)
    x = rng.standard_normal((n, 3))
    y = x @ np.array([1.0, -2.0, 0.5]) + sigma * rng.standard_normal(n)
    posterior = Posterior(MLP(3, (), 1), x, y, Gaussian(sigma), NormalPrior(precision))
    return fit_laplace(posterior, find_optimum(posterior, progress=False))


def test_a_quadratic_has_half_of_its_weights():
    found = learning_coefficient(regular_laplace(300))
    assert abs(found.value - 2.0) < 4.0 * found.error + 1e-3  # the prior takes a 1e-3 of it
    assert not found.is_singular
    assert found.quadratic == pytest.approx(2.0, abs=1e-3)


def test_a_prior_that_is_felt_takes_its_share():
    # around the weights of the highest likelihood, which the posterior's own prior is too wide to move
    laplace = regular_laplace(50)
    found = learning_coefficient(laplace, localization=20.0)
    # quadratic and centred: exact
    assert abs(found.value - found.quadratic) < 4.0 * found.error
    assert found.quadratic < 1.8


def test_wbic_is_the_free_energy_of_a_regular_model():
    # Watanabe: WBIC = -log evidence + O(sqrt(log n))
    laplace = regular_laplace(2000, precision=1.0)
    found = learning_coefficient(laplace)
    assert abs(found.wbic + laplace.log_marginal_likelihood) < 3.0 * np.sqrt(np.log(2000))


def test_temperatures_are_followed():
    curve = learning_curve(TABLE["product of two"].laplace(1e3), [0.01, 0.1, 1.0], num_samples=1000)
    # exact values at t = 10, 100, 1000
    for found, expected in zip(curve, [0.29027, 0.35420, 0.39027], strict=True):
        assert abs(found.value - expected) < 4.5 * found.error


@pytest.mark.parametrize("likelihood", [Gaussian(0.7), Bernoulli()])
def test_tempering_is_a_power(likelihood):
    rng = np.random.default_rng(0)
    f, y = rng.standard_normal((5, 1)), np.array([[0.0], [1.0], [1.0], [0.0], [1.0]])
    warm = Tempered(likelihood, 0.3)
    np.testing.assert_allclose(warm.log_density(f, y), 0.3 * likelihood.log_density(f, y))
    step = 1e-6
    slope = (warm.log_density(f + step, y) - warm.log_density(f - step, y)) / (2 * step)
    np.testing.assert_allclose(warm.gradient(f, y)[:, 0], slope, rtol=1e-7)
    jacobian = rng.standard_normal((5, 1, 4))
    rows = warm.fisher_rows(f, jacobian.copy())
    np.testing.assert_allclose(rows.T @ rows, np.einsum("nak,nab,nbl->kl", jacobian, warm.fisher(f), jacobian))
    other = tempered(likelihood, 0.3)
    differences = other.log_density(f, y) - warm.log_density(f, y)
    assert np.ptp(differences) < 1e-12


def test_bad_input():
    laplace = regular_laplace(30)
    with refuses("inverse_temperature", "-1", "above 0"):
        learning_coefficient(laplace, inverse_temperature=-1.0)
    with refuses("localization", "0", "above 0"):
        learning_coefficient(laplace, localization=0.0)
    with refuses("laplace", "a posterior with 2 rows", "at least 3 rows"):
        learning_coefficient(regular_laplace(2, precision=1.0))


def test_of_a_flat_prior_and_large_inputs_all_is_from_the_data():
    x = np.linspace(0.0, 1e5, 300)[:, None]
    posterior = Posterior(MLP(1, (), 1), x, 2.0 * x, Gaussian(1e-4), FlatPrior())
    laplace = fit_laplace(posterior, find_optimum(posterior, progress=False))
    found = learning_coefficient(laplace, num_chains=4, num_warmup=50, num_samples=50)
    assert found.quadratic == pytest.approx(1.0, abs=1e-6)  # k / 2


def test_ctrl_c_is_passed_on(teacher_laplace, monkeypatch):
    interrupt_draws(monkeypatch, 8)
    with pytest.raises(KeyboardInterrupt):
        learning_coefficient(teacher_laplace, num_samples=20)


def test_what_the_prior_takes_of_it_makes_no_model_singular():
    # per direction some 60 % of a half: far below k / 2, and exactly Gaussian
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 3)), rng.standard_normal(60)
    posterior = Posterior(MLP(3, (), 1), x, y, Gaussian(1.0), NormalPrior(10.0))
    found = learning_coefficient(fit_laplace(posterior, find_optimum(posterior, progress=False)))
    assert found.value + 3.0 * found.error < 0.85 * 2.0
    assert found.n_flat == 0
    assert not found.is_singular


def test_directions_without_curvature_count_in_full():
    found = learning_coefficient(TABLE["relu of 1 unit, 3 inputs"].laplace(), inverse_temperature=1.0)
    assert found.n_flat == 1  # the unit's scaling
    assert found.regular == pytest.approx(found.quadratic + 0.5)
    assert found.is_singular


def test_a_curve_checks_all_its_temperatures_first(monkeypatch):
    module = sys.modules["bayesnn.agreement.learning_coefficient"]  # the package has the function by this name
    monkeypatch.setattr(module, "sample", lambda *_, **__: pytest.fail("sampled"))
    with refuses("inverse_temperatures", "[1.0, -1.0]", "above 0"):
        learning_curve(regular_laplace(30), [1.0, -1.0])


def test_inferred_precisions_make_no_model_singular():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 1))
    y = 2.0 * x[:, 0] + 1.0 + 0.3 * rng.standard_normal(200)
    prior = NormalPrior("infer", log_precision_prior=(0.0, 1.0))
    posterior = Posterior(MLP(1, (), 1), x, y, Gaussian(0.3), prior)
    found = learning_coefficient(fit_laplace(posterior, find_optimum(posterior, progress=False)))
    assert found.n_flat == 0
    assert not found.is_singular
