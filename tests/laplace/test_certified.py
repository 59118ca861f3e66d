"""Laplace where the answer is known: certified regressions, closed forms, Gaussian processes, published numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import block_diag
from scipy.stats import multivariate_normal

import bayesnn.laplace.precision as precision_module
import bayesnn.posterior.row_sums as row_sums_module
from bayesnn import (
    MLP,
    Bernoulli,
    FlatPrior,
    FunctionModel,
    Gaussian,
    NormalPrior,
    Posterior,
    Status,
    find_optimum,
    fit_laplace,
)
from bayesnn.threads import on_one_blas_thread
from tests import oracles

DATA = Path(__file__).parents[1] / "data"
NIST = ("Norris", "Pontius", "NoInt1", "Longley", "Wampler1", "Wampler3", "Filip")


class Certified:
    """One of NIST's linear problems: design, targets, and certified numbers in the order of the weights of an MLP."""

    def __init__(self, name):
        record = json.loads((DATA / f"{name}.json").read_text())
        columns = {key: np.array(values, dtype=float) for key, values in record["data"].items()}
        self.y = columns.pop("y")
        self.bias = record["design_columns"].startswith("1")
        powers = record["n"] - record["dof"] - self.bias
        one = "x" in columns and powers > 1
        columns = [columns["x"] ** power for power in range(1, powers + 1)] if one else list(columns.values())
        self.x = np.column_stack(columns)
        self.design = oracles.design(self.x) if self.bias else self.x
        self.params, self.std = (np.roll(record["certified"][key], -self.bias) for key in ("params", "std"))
        self.residual_sd = record["residual_sd"]

    def posterior(self, kind, sigma=None):
        """As a network without hidden units, or as a function of one's own."""
        likelihood = Gaussian(sigma or self.residual_sd)
        if kind == "MLP":
            return Posterior(MLP(self.x.shape[1], (), 1, bias=self.bias), self.x, self.y, likelihood, FlatPrior())
        names = [f"b{i}" for i in range(self.params.size)]
        model = FunctionModel(lambda w, A: A @ w, names, jacobian=lambda w, A: A, start=np.zeros(self.params.size))
        return Posterior(model, self.design, self.y, likelihood, FlatPrior())


def off(found, expected):
    """Largest relative deviation."""
    return np.abs(np.asarray(found) / expected - 1.0).max()


@pytest.mark.parametrize("kind", ["MLP", "FunctionModel"])
@pytest.mark.parametrize("curvature", ["ggn", "hessian"])
@pytest.mark.parametrize("name", [name for name in NIST if name not in ("Wampler1", "Filip")])
def test_certified_parameters_and_standard_deviations(name, kind, curvature):
    problem = Certified(name)
    post = problem.posterior(kind)
    found = find_optimum(post, seed=0)
    assert found.status is Status.converged
    assert found.certificate.is_optimum
    assert off(found.weights, problem.params) < 1e-8
    laplace = fit_laplace(post, found, curvature=curvature)
    # Cholesky loses the square of the condition of the unit columns: 2e4 for Longley, below 3e3 for the others
    tolerance = 1e-6 if name == "Longley" else 1e-8
    assert off(np.sqrt(laplace.posterior_variance), problem.std) < tolerance
    assert off(np.sqrt(np.diag(laplace.posterior_covariance)), problem.std) < tolerance


@pytest.mark.parametrize("kind", ["MLP", "FunctionModel"])
@pytest.mark.parametrize("curvature", ["ggn", "hessian"])
def test_without_residuals_nothing_is_divided_by_them(kind, curvature):
    # Wampler1 is integers and fits exactly; tests run with warnings as errors
    problem = Certified("Wampler1")
    assert problem.residual_sd == 0.0
    post = problem.posterior(kind, sigma=1.0)
    found = find_optimum(post, seed=0)
    assert found.status is Status.converged
    assert off(found.weights, 1.0) < 1e-8
    laplace = fit_laplace(post, found, curvature=curvature)
    exact = np.sqrt(oracles.exact_inverse_gram_diagonal(problem.design))
    assert off(np.sqrt(laplace.posterior_variance), exact) < 1e-8
    assert np.isfinite(laplace.log_marginal_likelihood)
    assert np.isfinite(laplace.sandwich_covariance).all()
    # the scores are rounding: the optimum over repeated data without noise does not move
    assert np.all(np.sqrt(np.abs(np.diag(laplace.sandwich_covariance))) < 1e-6 * exact)


def test_of_a_condition_of_five_billion_the_digits_left_are_right():
    # QR of the rows leaves eps * 5e9 = 1e-6 at worst; Cholesky of their Gram matrix would leave none
    problem = Certified("Filip")
    unit = problem.design / np.linalg.norm(problem.design, axis=0)
    assert np.linalg.cond(unit) == pytest.approx(5.2e9, rel=0.01)
    post = problem.posterior("MLP")
    found = find_optimum(post, seed=0)
    laplace = fit_laplace(post, found)
    assert found.certificate.rank == 11
    assert laplace.factor.method == "qr"
    assert off(found.weights, problem.params) < 1e-6
    assert off(np.sqrt(laplace.posterior_variance), problem.std) < 1e-6
    # what the normal equations cannot resolve is no saddle
    assert found.status in (Status.converged, Status.stalled)


def test_between_the_two_the_factor_is_that_of_the_rows():
    # powers 1 to 8 of 1 to 21: Cholesky of the Gram matrix goes through, and has lost five digits more than QR
    x = np.arange(1.0, 22.0)[:, None] ** np.arange(1, 9)
    A = oracles.design(x)
    condition = np.linalg.cond(A / np.linalg.norm(A, axis=0))
    assert 5e5 < condition < 1e6
    laplace = fit_laplace(Posterior(MLP(8, (), 1), x, A @ np.ones(9), Gaussian(0.5), FlatPrior()), np.ones(9))
    exact = 0.5 * np.sqrt(oracles.exact_inverse_gram_diagonal(A))
    assert laplace.factor.method == "qr"
    assert off(np.sqrt(laplace.posterior_variance), exact) < 9 * np.finfo(float).eps * condition


class Regression:
    """A Gaussian model that is linear in its weights: y = B w + noise."""

    def __init__(self, n, k, precision, mean, sigma):
        rng = np.random.default_rng(n + k)
        self.A = oracles.design(rng.standard_normal((n, k - 1)) * np.geomspace(0.3, 3.0, k - 1))
        self.sigma, self.precision, self.mean = sigma, np.broadcast_to(precision, k), np.broadcast_to(mean, k)
        self.y = self.A @ rng.standard_normal(k) + np.mean(sigma) * rng.standard_normal(n)
        self.posterior = Posterior(
            MLP(k - 1, (), 1), self.A[:, :-1], self.y, Gaussian(sigma), NormalPrior(precision, mean)
        )

    @property
    def noise(self):
        return np.diag(oracles.sigma_of_rows(self.sigma, len(self.y)) ** 2)

    @property
    def log_evidence(self):
        marginal = self.noise + self.A / self.precision @ self.A.T
        return multivariate_normal.logpdf(self.y, self.A @ self.mean, marginal)


def layout(k):
    return {"one for all": (0.7, 0.4), "per layer": ([0.7], [0.4]), "per weight": weight_by_weight(k)}


def weight_by_weight(k):
    return np.geomspace(0.1, 5.0, k), np.linspace(-1.0, 2.0, k)


@pytest.mark.parametrize(("n", "k"), [(50, 9), (9, 9), (8, 40)])
@pytest.mark.parametrize("prior", ["one for all", "per layer", "per weight"])
@pytest.mark.parametrize("sigma", ["one for all", "per row"])
def test_the_evidence_of_a_linear_model_is_the_density_of_its_targets(n, k, prior, sigma):
    precision, mean = layout(k)[prior]
    problem = Regression(n, k, precision, mean, 0.5 if sigma == "one for all" else np.linspace(0.2, 2.0, n))
    optimum = find_optimum(problem.posterior, seed=0)
    laplace = fit_laplace(problem.posterior, optimum)
    assert (type(laplace.precision).__name__ == "LowRank") == (n < k)  # in the space of the data
    assert abs(laplace.log_marginal_likelihood - problem.log_evidence) < 1e-8
    if n >= k:
        hessian = fit_laplace(problem.posterior, optimum, curvature="hessian")
        assert abs(hessian.log_marginal_likelihood - problem.log_evidence) < 1e-8
    for structure, kept in (("layer", k), ("last_layer", k), ("lowrank", k)):  # one layer: nothing is left out
        other = fit_laplace(problem.posterior, optimum, structure=structure, rank=kept)
        assert abs(other.log_marginal_likelihood - problem.log_evidence) < 1e-8


class Network:
    """A network of two layers with a prior of its own for each weight, and the same by the oracles."""

    def __init__(self, n, hidden=4):
        rng = np.random.default_rng(n)
        self.mlp = MLP(2, (hidden,), 2)
        k = self.mlp.n_weights
        self.net, self.k, self.sigma = oracles.Net.of(self.mlp), k, 0.3
        self.tau, self.centre = weight_by_weight(k)
        self.x = rng.standard_normal((n, 2))
        self.y = self.mlp.predict(rng.standard_normal(k), self.x) + 0.3 * rng.standard_normal((n, 2))
        self.posterior = Posterior(
            self.mlp, self.x, self.y, Gaussian(self.sigma), NormalPrior(self.tau, self.centre / 2)
        )
        self.optimum = find_optimum(self.posterior, seed=1)
        self.w = self.optimum.weights
        self.places = (slice(0, 3 * hidden), slice(3 * hidden, k))
        self.B = oracles.jacobian(self.net, self.w, self.x).reshape(-1, k)

    @property
    def log_likelihood(self):
        return oracles.log_likelihood(self.net, self.w, self.x, self.y, self.sigma).sum()

    def log_prior(self, place=slice(None)):
        return oracles.log_prior(self.w[place] - self.centre[place] / 2, self.tau[place])

    def dense(self, structure, rank):
        """The precision (k, k) that a structure stands for."""
        ggn = self.B.T @ self.B / self.sigma**2 + np.diag(self.tau)
        if structure == "diag":
            return np.diag(np.diag(ggn))
        if structure == "layer":
            return block_diag(*(ggn[place, place] for place in self.places))
        if structure == "lowrank":
            root = np.sqrt(self.tau)
            _, values, right = np.linalg.svd(self.B / root / self.sigma, full_matrices=False)
            kept = values[:rank, None] * right[:rank]
            return np.outer(root, root) * (np.eye(self.k) + kept.T @ kept)
        return ggn


@pytest.fixture(scope="module")
def network():
    return Network(40)


@pytest.fixture(scope="module")
def small_network():
    """Fewer targets, 14, than weights, 22."""
    return Network(7)


@pytest.mark.parametrize("data", ["network", "small_network"])
@pytest.mark.parametrize(
    ("structure", "rank"), [("full", 1), ("diag", 1), ("layer", 1), ("lowrank", 5), ("lowrank", 22), ("lowrank", 99)]
)
def test_the_evidence_of_a_network_is_that_of_its_dense_precision(request, data, structure, rank):
    case = request.getfixturevalue(data)
    laplace = fit_laplace(case.posterior, case.optimum, structure=structure, rank=rank)
    dense = case.dense(structure, rank)
    peak = case.log_likelihood + case.log_prior()
    expected = peak + 0.5 * case.k * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(dense)[1]
    assert abs(laplace.log_marginal_likelihood - expected) < 1e-8
    assert np.abs(laplace.posterior_precision - dense).max() < 1e-10 * np.abs(dense).max()


@pytest.mark.parametrize("data", ["network", "small_network"])
@pytest.mark.parametrize("structure", ["full", "layer"])
def test_each_layer_has_its_own_prior(request, data, structure):
    case = request.getfixturevalue(data)
    post = case.posterior.with_hyperparameters(Gaussian(case.sigma), NormalPrior([2.0, 0.5], [0.3, -0.2]))
    sizes = [place.stop - place.start for place in case.places]
    tau, centre = np.repeat([2.0, 0.5], sizes), np.repeat([0.3, -0.2], sizes)
    dense = case.dense(structure, 1) - np.diag(case.tau) + np.diag(tau)
    peak = case.log_likelihood + oracles.log_prior(case.w - centre, tau)
    expected = peak + 0.5 * case.k * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(dense)[1]
    assert abs(fit_laplace(post, case.w, structure=structure).log_marginal_likelihood - expected) < 1e-8


@pytest.mark.parametrize("data", ["network", "small_network"])
def test_the_evidence_of_the_last_layer_is_that_of_a_linear_model_of_its_features(request, data):
    # given the first layer the model is linear in the last: a closed form, in which the other weights have no prior
    case = request.getfixturevalue(data)
    laplace = fit_laplace(case.posterior, case.optimum, structure="last_layer")
    place = case.places[1]
    B, w, tau, centre = case.B[:, place], case.w[place], case.tau[place], case.centre[place] / 2
    precision = B.T @ B / case.sigma**2 + np.diag(tau)
    by_determinant = case.log_likelihood + case.log_prior(place) + 0.5 * w.size * np.log(2 * np.pi)
    by_determinant -= 0.5 * np.linalg.slogdet(precision)[1]
    marginal = case.sigma**2 * np.eye(len(B)) + B / tau @ B.T
    by_targets = multivariate_normal.logpdf(case.y.ravel(), B @ centre, marginal)
    assert by_determinant == pytest.approx(by_targets, abs=1e-8)
    assert abs(laplace.log_marginal_likelihood - by_targets) < 1e-8


@pytest.mark.parametrize("data", ["network", "small_network"])
def test_predictive_covariance_is_that_of_the_gaussian_process_with_the_tangent_kernel(request, data):
    # Rasmussen & Williams 2006, eq. 2.24
    case = request.getfixturevalue(data)
    laplace = fit_laplace(case.posterior, case.optimum)
    new = np.random.default_rng(8).standard_normal((6, 2))
    new_B = oracles.jacobian(case.net, case.w, new).reshape(12, -1)
    prior = 1.0 / case.tau
    K = case.B * prior @ case.B.T + case.sigma**2 * np.eye(len(case.B))
    across = new_B * prior @ case.B.T
    expected = new_B * prior @ new_B.T - across @ np.linalg.solve(K, across.T)
    assert np.abs(laplace.functional_covariance(new) - expected).max() < 1e-8 * np.abs(expected).max()
    assert laplace.predict(new).sd.ravel() ** 2 == pytest.approx(np.diag(expected), rel=1e-8)
    assert laplace.predict(new).mean == pytest.approx(oracles.predict(case.net, case.w, new), rel=1e-12)


def covariance_error(covariance, n):
    """Standard error of every entry of the covariance of n normal draws."""
    variance = np.diag(covariance)
    return np.sqrt((np.outer(variance, variance) + covariance**2) / n)


@on_one_blas_thread
def second_moment(deviations):
    """Mean of their outer products; with two BLAS threads this takes seconds on a busy machine."""
    return deviations.T @ deviations / len(deviations)


def test_in_the_space_of_the_data_everything_is_as_in_the_space_of_the_weights(small_network, monkeypatch):
    case, n = small_network, 100_000
    dual = fit_laplace(case.posterior, case.optimum)
    monkeypatch.setattr(precision_module, "is_dual", lambda posterior, curvature: False)
    primal = fit_laplace(case.posterior, case.optimum)
    assert (type(dual.precision).__name__, type(primal.precision).__name__) == ("LowRank", "Full")
    new = np.random.default_rng(8).standard_normal((6, 2))
    assert dual.log_det_posterior_precision == pytest.approx(primal.log_det_posterior_precision, rel=1e-12)
    assert dual.log_marginal_likelihood == pytest.approx(primal.log_marginal_likelihood, abs=1e-8)
    assert dual.posterior_variance == pytest.approx(primal.posterior_variance, rel=1e-8)
    largest = np.abs(primal.posterior_covariance).max()
    assert np.abs(dual.posterior_covariance - primal.posterior_covariance).max() < 1e-8 * largest
    assert np.array_equal(dual.predict(new).mean, primal.predict(new).mean)
    assert dual.predict(new).sd == pytest.approx(primal.predict(new).sd, rel=1e-8)
    points = case.w + 0.1 * np.random.default_rng(9).standard_normal((5, case.k))
    assert dual.log_prob(points) == pytest.approx(primal.log_prob(points), rel=1e-10)
    for laplace in (dual, primal):
        draws = laplace.sample(n, seed=4) - case.w
        error = covariance_error(primal.posterior_covariance, n)
        assert np.all(np.abs(second_moment(draws) - primal.posterior_covariance) < 5 * error)


@pytest.mark.parametrize("data", ["network", "small_network"])
@pytest.mark.parametrize("structure", ["full", "diag", "layer", "lowrank", "last_layer"])
def test_draws_have_the_covariance_of_the_oracle(request, data, structure):
    case, n = request.getfixturevalue(data), 100_000
    dense = case.dense(structure, 6)
    expected = np.zeros((case.k, case.k))
    free = case.places[1] if structure == "last_layer" else slice(None)
    expected[free, free] = np.linalg.inv(dense[free, free])
    draws = fit_laplace(case.posterior, case.optimum, structure=structure, rank=6).sample(n, seed=11)
    deviations = draws - case.w
    assert np.all(np.abs(deviations.mean(axis=0)) <= 5 * np.sqrt(np.diag(expected) / n))
    # a covariance that is 0 by structure errs like any other, one of weights held fixed not at all
    assert np.all(np.abs(second_moment(deviations) - expected) <= 5 * covariance_error(expected, n))


@pytest.mark.parametrize("blocks", ["one block", "several blocks"])
@pytest.mark.parametrize("structure", ["full", "diag", "layer", "lowrank"])
def test_the_same_data_three_times_say_three_times_as_much(network, structure, blocks, monkeypatch):
    x, y = np.tile(network.x, (3, 1)), np.tile(network.y, (3, 1))
    thrice = network.posterior.with_data(x, y)

    def informed(post):
        precision = fit_laplace(post, network.w, structure=structure, rank=network.k).posterior_precision
        return precision - np.diag(post.prior_precision)

    once = informed(network.posterior)
    if blocks == "several blocks":
        monkeypatch.setattr(row_sums_module, "JACOBIAN_AT_A_TIME", 1)
        monkeypatch.setattr(row_sums_module, "UNITS_AT_A_TIME", 1)
        assert len(list(thrice.likelihood_rows(network.w))) == 2
    eps = np.finfo(float).eps
    assert np.abs(informed(thrice) - 3.0 * once).max() < 1000 * eps * np.abs(once).max()


def test_a_latent_gaussian():
    # peer_numbers.json, latent_gaussian: prior N(0, 2), one observation 1 of unit noise
    post = Posterior(MLP(1, (), 1, bias=False), [[1.0]], [1.0], Gaussian(1.0), NormalPrior(0.5))
    laplace = fit_laplace(post, find_optimum(post, seed=0))
    assert laplace.mean[0] == pytest.approx(2 / 3, rel=1e-10)
    assert laplace.posterior_variance[0] == pytest.approx(2 / 3, rel=1e-14)


def test_latent_gaussians_of_one_scale():
    # peer_numbers.json, gaussian_gaussian_marginal: theta_i ~ N(0, s**2), y_i ~ N(theta_i, 1), s = exp(phi)
    y = np.random.default_rng(1).standard_normal(12)

    def laplace(phi):
        post = Posterior(MLP(12, (), 1, bias=False), np.eye(12), y, Gaussian(1.0), NormalPrior(np.exp(-2 * phi)))
        return fit_laplace(post, find_optimum(post, seed=0))

    phi, h = 0.3, 1e-4
    square = np.exp(2 * phi)
    assert laplace(phi).mean == pytest.approx(square / (square + 1) * y, rel=1e-8)
    exact = -0.5 * (y @ y / (square + 1) + 12 * np.log(2 * np.pi * (square + 1)))
    assert laplace(phi).log_marginal_likelihood == pytest.approx(exact, abs=1e-10)
    slope = (laplace(phi + h).log_marginal_likelihood - laplace(phi - h).log_marginal_likelihood) / (2 * h)
    assert slope == pytest.approx(square * (y @ y / (square + 1) ** 2 - 12 / (square + 1)), rel=1e-6)


def test_a_prior_mean_moves_mode_and_evidence():
    # peer_numbers.json, known_mode_and_gradient, without the density of phi itself
    def laplace(phi):
        post = Posterior(MLP(1, (), 1, bias=False), [[1.0]], [1.0], Gaussian(1.0), NormalPrior(1.0, phi))
        return fit_laplace(post, find_optimum(post, seed=0))

    assert laplace(2.0).mean[0] == pytest.approx(1.5, rel=1e-10)
    slope = (laplace(2.01).log_marginal_likelihood - laplace(1.99).log_marginal_likelihood) / 0.02
    assert slope == pytest.approx(-0.5, rel=1e-9)


@pytest.mark.parametrize("curvature", ["ggn", "hessian", "fisher"])
def test_tossing_a_globe(curvature):
    # McElreath 2020, Statistical Rethinking, section 2.4: 6 of 9; on the logit scale p (1 - p) times the sd is the same
    post = Posterior(MLP(1, (), 1, bias=False), np.ones((9, 1)), [1] * 6 + [0] * 3, Bernoulli(), FlatPrior())
    laplace = fit_laplace(post, find_optimum(post, seed=0), curvature=curvature)
    p = 1.0 / (1.0 + np.exp(-laplace.mean[0]))
    assert p == pytest.approx(0.6666666666666666, rel=1e-6)
    sd = p * (1 - p) * np.sqrt(laplace.posterior_variance[0])
    assert sd == pytest.approx(0.15713484026367722, rel=1e-6)


@pytest.mark.parametrize("given", ["jacobian", "differences"])
def test_puromycin(given):
    # Bates & Watts 1988, Nonlinear Regression Analysis, table A1.3, treated; peer_numbers.json, puromycin_treated
    concentration = np.repeat([0.02, 0.06, 0.11, 0.22, 0.56, 1.10], 2)
    rate = [76.0, 47, 97, 107, 123, 139, 159, 152, 191, 201, 207, 200]

    def jacobian(w, x):
        return np.column_stack([x / (w[1] + x), -w[0] * x / (w[1] + x) ** 2])

    model = FunctionModel(
        lambda w, x: w[0] * x / (w[1] + x),
        ["Vm", "K"],
        jacobian=jacobian if given == "jacobian" else None,
        start=[205.0, 0.08],
    )
    post = Posterior(model, concentration, rate, Gaussian(10.933658191288766), FlatPrior())
    found = find_optimum(post)
    assert found.status is Status.converged
    laplace = fit_laplace(post, found)
    assert found.weights == pytest.approx([212.683743, 0.0641212822], rel=1e-6)
    assert np.sqrt(laplace.posterior_variance) == pytest.approx([6.94715518, 0.00828095], rel=1e-6)
    residuals = rate - model.predict(found.weights, concentration)[:, 0]
    assert np.sqrt(residuals @ residuals / 10) == pytest.approx(10.933658191288766, rel=1e-9)
