import numpy as np
import pytest

import bayesnn.posterior.row_sums as row_sums_module
from bayesnn.models import MLP
from bayesnn.posterior import FlatPrior, Gaussian, NormalPrior, Posterior
from tests import oracles
from tests.refusals import refuses

N = 150  # three blocks of 64 rows, the least the package makes, where blocks are forced to be small
NETS = [
    MLP(2, (3,), 1),
    MLP(1, (2, 2), 2, activation="softplus"),
    MLP(2, (2,), 1, activation="relu", bias=False),
    MLP(3, (), 2),
]
SIGMAS = {"common sigma": 0.3, "sigma per row": np.linspace(0.2, 2.0, N)}
PRIORS = ["scalar", "per layer", "per weight", "flat"]


def prior_of(kind, net):
    """The prior, and the precision of each weight written out by hand."""
    n_layers, k = len(net.hidden) + 1, net.n_weights
    if kind == "scalar":
        return NormalPrior(0.7), np.full(k, 0.7)
    if kind == "per weight":
        return NormalPrior(np.linspace(0.1, 3.0, k)), np.linspace(0.1, 3.0, k)
    if kind == "per layer":
        of_layer = 0.5 + np.arange(n_layers)
        widths = net.widths
        sizes = [(widths[i] + net.bias) * widths[i + 1] for i in range(n_layers)]
        return NormalPrior(of_layer), np.repeat(of_layer, sizes)
    return FlatPrior(), np.zeros(k)


class Case:
    """A posterior and the same said for the oracles."""

    def __init__(self, net, sigma, kind):
        rng = np.random.default_rng(5)
        prior, precision = prior_of(kind, net)
        x, y = rng.standard_normal((N, net.in_features)), rng.standard_normal((N, net.out_features))
        self.posterior = Posterior(net, x, y, Gaussian(sigma), prior)
        self.net, self.data, self.precision = oracles.Net.of(net), (x, y, sigma), precision
        self.weights = rng.standard_normal((3, net.n_weights))
        # relu's Jacobian oracle is good to 1e-7 of its largest entry; the others to rounding in sums over N rows
        self.relative = 1e-7 if net.activation.name == "relu" else 1e-10

    def assert_close(self, got, expected):
        assert np.abs(got - expected).max() <= self.relative * np.abs(expected).max()


@pytest.fixture(params=["one block", "several blocks"])
def blocks(request, monkeypatch):
    if request.param == "several blocks":
        monkeypatch.setattr(row_sums_module, "OUTPUTS_AT_A_TIME", 1)
        monkeypatch.setattr(row_sums_module, "JACOBIAN_AT_A_TIME", 1)
        monkeypatch.setattr(row_sums_module, "UNITS_AT_A_TIME", 1)
    return request.param


@pytest.fixture(params=SIGMAS)
def sigma(request):
    return SIGMAS[request.param]


@pytest.fixture(params=NETS, ids=repr)
def net(request):
    return request.param


@pytest.fixture
def case(net, sigma, blocks):
    return Case(net, sigma, "per weight")


def test_value_agrees_with_scipy(case):
    expected = [oracles.log_density(case.net, w, *case.data, case.precision) for w in case.weights]
    case.assert_close(case.posterior.log_density(case.weights), np.array(expected))
    case.assert_close(case.posterior.value_and_gradient(case.weights)[0], np.array(expected))
    case.assert_close(case.posterior.log_density(case.weights[0]), expected[0])


def test_gradient_agrees_with_the_chain_rule_by_hand(case):
    expected = np.array([oracles.gradient(case.net, w, *case.data, case.precision) for w in case.weights])
    case.assert_close(case.posterior.value_and_gradient(case.weights)[1], expected)
    case.assert_close(case.posterior.value_and_gradient(case.weights[0])[1], expected[0])


def test_ggn_agrees_with_a_sum_over_rows(case):
    x, _, sigma = case.data
    w = case.weights[0]
    expected = oracles.ggn(case.net, w, x, sigma, case.precision)
    case.assert_close(case.posterior.ggn(w), expected)
    rows = np.vstack(list(case.posterior.scaled_rows(w)))
    case.assert_close(rows.T @ rows, expected)
    case.assert_close(case.posterior.factor_ggn(w).precision, expected)


def test_scaled_rows_are_the_noise_scaled_jacobian_over_the_root_prior(case):
    x, _, sigma = case.data
    w = case.weights[0]
    scaled = oracles.jacobian(case.net, w, x) / oracles.sigma_of_rows(sigma, N)[:, None, None]
    expected = np.vstack([scaled.reshape(-1, len(w)), np.diag(np.sqrt(case.precision))])
    case.assert_close(np.vstack(list(case.posterior.scaled_rows(w))), expected)


def test_linearization_holds_value_gradient_and_ggn(case):
    x, _, sigma = case.data
    w = case.weights[1]
    linear = case.posterior.linearize(w)
    case.assert_close(linear.log_density, oracles.log_density(case.net, w, *case.data, case.precision))
    case.assert_close(linear.gradient, oracles.gradient(case.net, w, *case.data, case.precision))
    case.assert_close(linear.ggn, oracles.ggn(case.net, w, x, sigma, case.precision))


def test_hessian_agrees_with_the_oracle(case):
    w = case.weights[0]
    got = case.posterior.hessian(w)
    case.assert_close(got, oracles.hessian(case.net, w, *case.data, case.precision))
    assert np.array_equal(got, got.T)


@pytest.mark.parametrize("kind", PRIORS)
def test_every_form_of_prior_enters_value_gradient_and_curvature(kind, net):
    case = Case(net, 0.3, kind)
    w = case.weights[0]
    value, gradient = case.posterior.value_and_gradient(w)
    case.assert_close(value, oracles.log_density(case.net, w, *case.data, case.precision))
    case.assert_close(gradient, oracles.gradient(case.net, w, *case.data, case.precision))
    case.assert_close(case.posterior.hessian(w), oracles.hessian(case.net, w, *case.data, case.precision))
    assert np.isclose(case.posterior.log_prior(w), oracles.log_prior(w, case.precision), rtol=1e-13, atol=0)


def test_small_blocks_really_are_several(monkeypatch):
    posterior = Case(NETS[0], 0.3, "scalar").posterior
    assert len(list(posterior.scaled_rows(np.zeros(13)))) == 1 + 1
    monkeypatch.setattr(row_sums_module, "JACOBIAN_AT_A_TIME", 1)
    monkeypatch.setattr(row_sums_module, "UNITS_AT_A_TIME", 1)
    assert len(list(posterior.scaled_rows(np.zeros(13)))) == 3 + 1


def test_log_likelihood_is_that_of_every_row(sigma, net):
    case = Case(net, sigma, "scalar")
    got = case.posterior.log_likelihood(case.weights)
    expected = np.array([oracles.log_likelihood(case.net, w, *case.data) for w in case.weights])
    assert got.shape == (3, N)
    assert np.allclose(got, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("lead", [(), (1,), (4,), (2, 3)])
def test_a_batch_of_chains_is_each_chain_by_itself(lead, rng):
    posterior = Case(NETS[0], 0.3, "scalar").posterior
    weights = rng.standard_normal((*lead, 13))
    value, gradient = posterior.value_and_gradient(weights)
    assert value.shape == lead
    assert gradient.shape == weights.shape
    for index in np.ndindex(*lead):
        one, one_gradient = posterior.value_and_gradient(weights[index])
        assert np.isclose(value[index], one, rtol=1e-13, atol=0)
        assert np.allclose(gradient[index], one_gradient, rtol=1e-12, atol=1e-10)
        assert np.isclose(posterior.log_density(weights)[index], one, rtol=1e-13, atol=0)


def test_data_cannot_be_changed_after_the_fact(rng):
    x, y = rng.standard_normal((5, 2)), rng.standard_normal(5)
    posterior = Posterior(MLP(2, (2,), 1), x, y, Gaussian(0.1), NormalPrior(1.0))
    before = posterior.log_density(np.ones(9))
    x[:], y[:] = 99.0, 99.0
    assert posterior.log_density(np.ones(9)) == before
    with pytest.raises(ValueError, match="read-only"):
        posterior.x[0] = 1.0


def test_with_data_and_with_hyperparameters_change_only_that(rng):
    x, y = rng.standard_normal((5, 2)), rng.standard_normal(5)
    posterior = Posterior(MLP(2, (2,), 1), x, y, Gaussian(0.1), NormalPrior(1.0))
    other = posterior.with_data(x[:3], y[:3])
    assert (other.n_rows, other.model, other.likelihood, other.prior) == (
        3,
        posterior.model,
        posterior.likelihood,
        posterior.prior,
    )
    tuned = posterior.with_hyperparameters(Gaussian(0.2), NormalPrior(3.0))
    assert np.array_equal(tuned.x, posterior.x)
    expected = oracles.log_density(oracles.Net.of(posterior.model), np.ones(9), x, y[:, None], 0.2, np.full(9, 3.0))
    assert np.isclose(tuned.log_density(np.ones(9)), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("net", NETS, ids=repr)
@pytest.mark.parametrize("cache", [1, 2**17])  # one weight vector at a time, or all at once
def test_a_batch_is_linearized_as_one_by_one(net, cache, monkeypatch):
    monkeypatch.setattr("bayesnn.posterior.row_sums.CACHED_JACOBIAN", cache)
    posterior = Case(net, 0.3, "scalar").posterior
    batch = 0.5 * np.random.default_rng(3).standard_normal((3, net.n_weights))
    together = posterior.linearize(batch)
    for i, weights in enumerate(batch):
        alone = posterior.linearize(weights)
        assert alone.log_density.shape == ()
        for name in ("log_density", "gradient", "ggn"):
            expected = getattr(alone, name)
            assert getattr(together[i], name) == pytest.approx(expected, rel=1e-12, abs=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("method", ["hessian", "factor_ggn"])
def test_curvature_wants_one_weight_vector(method):
    posterior = Case(NETS[0], 0.3, "scalar").posterior
    with refuses("weights", "shape (2, 13)", "shape (13,)"):
        getattr(posterior, method)(np.zeros((2, 13)))


@pytest.mark.parametrize("method", ["log_density", "value_and_gradient", "log_prior", "log_likelihood"])
def test_weights_of_another_length_are_refused(method):
    posterior = Case(NETS[0], 0.3, "scalar").posterior
    with refuses("weights", "shape (12,)", "shape (..., 13)"):
        getattr(posterior, method)(np.zeros(12))
