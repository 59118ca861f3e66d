"""NormalPrior("infer"): log precisions of the prior as coordinates, after weights in units of their prior's sd."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

from bayesnn import (
    MLP,
    FunctionModel,
    Gaussian,
    NormalPrior,
    Posterior,
    StudentT,
    find_optimum,
    fit_laplace,
    load_laplace,
    maximize_evidence,
    sample,
    save_laplace,
)
from bayesnn.chain_statistics import ess
from bayesnn.models import StandardWeights, balanced, log_symmetry_order, nearest_images, random_images
from tests.refusals import refuses

HYPERPRIOR = (0.4, 1.3)
CENTRE = 0.25
NETS = [MLP(2, (3,), 1), MLP(2, (2, 2), 2, bias=False), MLP(2, (), 1)]
KINDS = ["infer", "infer_by_layer"]
LIKELIHOODS = {"known": lambda: Gaussian(0.3), "inferred": lambda: Gaussian("infer"), "t": lambda: StudentT(4.0, 0.3)}


class Problem:
    """A posterior with inferred precisions and, beside it, the same network with a fixed prior."""

    def __init__(self, net, kind="infer", likelihood="known", n=30):
        rng = np.random.default_rng(5)
        self.net, self.kind, self.likelihood = net, kind, LIKELIHOODS[likelihood]()
        self.x, self.y = rng.standard_normal((n, 2)), rng.standard_normal((n, net.n_outputs))
        prior = NormalPrior(kind, prior_mean=CENTRE, log_precision_prior=HYPERPRIOR)
        self.posterior = Posterior(net, self.x, self.y, self.likelihood, prior)
        self.n_groups = len(net.widths) - 1 if kind == "infer_by_layer" else 1
        self.points = 0.7 * rng.standard_normal((3, self.posterior.n_weights))
        sizes = [block.size for block in net.weight_blocks]
        layers = np.repeat([block.layer for block in net.weight_blocks], sizes)
        self.groups = layers if kind == "infer_by_layer" else np.zeros_like(layers)

    def centred(self, point):
        """Weights, log precisions and what else there is, at one point."""
        k = self.net.n_weights
        log_precisions, rest = point[k : k + self.n_groups], point[k + self.n_groups :]
        return CENTRE + point[:k] / np.sqrt(np.exp(log_precisions[self.groups])), log_precisions, rest


@pytest.fixture(params=NETS, ids=repr)
def net(request):
    return request.param


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_density_is_that_of_weights_and_precisions_in_other_coordinates(net, kind, likelihood):
    problem = Problem(net, kind, likelihood)
    for point in problem.points:
        weights, log_precisions, rest = problem.centred(point)
        precisions = np.exp(log_precisions[problem.groups])
        fixed = Posterior(net, problem.x, problem.y, problem.likelihood, NormalPrior(precisions, CENTRE))
        centred = fixed.log_density(np.append(weights, rest)) + norm.logpdf(log_precisions, *HYPERPRIOR).sum()
        volume = -0.5 * log_precisions[problem.groups].sum()
        assert problem.posterior.log_density(point) == pytest.approx(centred + volume, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_derivatives_are_differences_of_the_density(net, kind, likelihood):
    problem = Problem(net, kind, likelihood)
    post, h = problem.posterior, 1e-5
    for point in problem.points:
        steps = h * np.eye(len(point))
        slope = np.array([(post.log_density(point + s) - post.log_density(point - s)) / (2 * h) for s in steps])
        value, gradient = post.value_and_gradient(point)
        assert np.abs(gradient - slope).max() < 1e-7 * np.abs(slope).max()
        bend = np.array(
            [(post.value_and_gradient(point - s)[1] - post.value_and_gradient(point + s)[1]) / (2 * h) for s in steps]
        )
        assert np.abs(post.hessian(point) - bend).max() < 1e-7 * np.abs(bend).max()
        linear = post.linearize(point)
        assert linear.log_density == pytest.approx(value, rel=1e-12)
        assert np.allclose(linear.gradient, gradient, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_jacobian_is_the_difference_of_the_outputs(net, kind):
    problem = Problem(net, kind)
    model, point, h = problem.posterior.model, problem.points[0], 1e-6
    steps = h * np.eye(len(point))
    difference = np.stack(
        [(model.predict(point + s, problem.x) - model.predict(point - s, problem.x)) / (2 * h) for s in steps], -1
    )
    assert np.allclose(model.jacobian(point, problem.x), difference, rtol=0, atol=1e-8)
    batch = model.linearize(problem.points, problem.x)[1]
    assert np.allclose(batch[0], model.jacobian(point, problem.x), rtol=1e-13, atol=1e-13)
    outputs, pullback = model.vjp(problem.points, problem.x)
    cotangent = np.random.default_rng(1).standard_normal(outputs.shape)
    assert np.allclose(pullback(cotangent), np.einsum("cnok,cno->ck", batch, cotangent), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_kernel_has_the_numbers_of_the_oracle(net, kind, likelihood):
    problem = Problem(net, kind, likelihood)
    post, points = problem.posterior, problem.points
    value, gradient = post.fused()(points)
    expected, slope = post.value_and_gradient(points)
    assert np.allclose(value, expected, rtol=1e-12, atol=0.0)
    assert np.allclose(post.fused().log_density(points), expected, rtol=1e-12, atol=0.0)
    assert np.abs(gradient - slope).max() <= 1e-12 * np.abs(slope).max()


def test_coordinates_are_named_for_what_they_are():
    post = Problem(NETS[0], "infer_by_layer", "inferred").posterior
    k = NETS[0].n_weights
    assert post.weight_names[0] == "W1_standard[0,0]"
    assert post.weight_names[k:] == ("log_prior_precision[0]", "log_prior_precision[1]", "log_sigma_noise")
    assert np.array_equal(post.prior_precision, [*np.ones(k), *[HYPERPRIOR[1] ** -2] * 2, 0.0])
    assert np.array_equal(post.prior_mean, [*np.zeros(k), HYPERPRIOR[0], HYPERPRIOR[0], 0.0])


def test_the_network_and_its_outputs_are_found_in_the_coordinates(net):
    problem = Problem(net, "infer_by_layer", "inferred")
    for point in problem.points:
        weights, _, _ = problem.centred(point)
        assert np.allclose(problem.posterior.network_weights(point), weights, rtol=1e-14)
        assert np.allclose(problem.posterior.outputs(point, problem.x), net.predict(weights, problem.x), rtol=1e-13)


def test_symmetric_images_have_the_same_density():
    problem = Problem(NETS[0], "infer_by_layer", "inferred")
    post = Posterior(
        NETS[0], problem.x, problem.y, problem.likelihood, NormalPrior("infer", log_precision_prior=HYPERPRIOR)
    )
    points = np.random.default_rng(3).standard_normal((6, post.n_weights))
    images = random_images(post.model, points, np.random.RandomState(0))
    assert not np.allclose(images, points)
    assert np.allclose(post.log_density(images), post.log_density(points), rtol=1e-12)
    folded, fraction = nearest_images(post.model, images, points[0])
    assert np.allclose(folded[0], points[0])
    assert fraction > 0
    assert log_symmetry_order(post.model) == log_symmetry_order(NETS[0])


def line_posterior():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((12, 2))
    y = x @ np.array([[0.4], [-0.2]]) + 0.5 * rng.standard_normal((12, 1))
    net = MLP(2, (), 1, bias=False)
    return Posterior(net, x, y, Gaussian(0.5), NormalPrior("infer", log_precision_prior=HYPERPRIOR))


def log_marginal(post, log_precision):
    """Of the targets and the log precision, weights integrated out."""
    covariance = 0.25 * np.eye(12) + post.x @ post.x.T * np.exp(-log_precision)
    return multivariate_normal(np.zeros(12), covariance).logpdf(post.y[:, 0]) + norm.logpdf(log_precision, *HYPERPRIOR)


def test_chains_have_the_moments_that_quadrature_gives():
    post = line_posterior()
    laplace = fit_laplace(post, find_optimum(post, seed=0))
    tree = sample(laplace, num_chains=16, num_warmup=300, num_samples=1500, num_integration_steps=8, seed=4)
    draws = tree["posterior"]["log_prior_precision"].values
    low, high = HYPERPRIOR[0] - 10 * HYPERPRIOR[1], HYPERPRIOR[0] + 10 * HYPERPRIOR[1]

    def density(t):
        return np.exp(log_marginal(post, t) - log_marginal(post, 0.0))

    mass, mean, square = (quad(lambda t, p=p: t**p * density(t), low, high, epsabs=1e-12)[0] for p in range(3))
    mean, square = mean / mass, square / mass
    for got, expected in [(draws, mean), (draws**2, square)]:
        error = got.std() / np.sqrt(ess(got).min())
        assert abs(got.mean() - expected) < 4 * error
    assert abs(draws.mean() - HYPERPRIOR[0]) > 8 * draws.std() / np.sqrt(ess(draws).min())  # data moved it
    # weights in units of the targets, beside those in units of their prior
    scaled = tree["posterior"]["W1_standard"].values * np.exp(-0.5 * draws)[..., None, None]
    assert np.allclose(tree["posterior"]["W1"].values, scaled, rtol=1e-13)


def test_importance_weights_correct_the_evidence_to_quadrature():
    post = line_posterior()
    laplace = fit_laplace(post, find_optimum(post, seed=0), curvature="hessian")
    grid = np.linspace(HYPERPRIOR[0] - 10 * HYPERPRIOR[1], HYPERPRIOR[0] + 10 * HYPERPRIOR[1], 4001)
    exact = logsumexp([log_marginal(post, t) for t in grid]) + np.log(grid[1] - grid[0])
    # the density of (u, t) is no Gaussian: importance sampling says by how much, and corrects it
    draws = laplace.sample(20_000, seed=1)
    ratios = post.log_density(draws) - laplace.log_prob(draws)
    corrected = logsumexp(ratios) - np.log(len(ratios))
    error = np.exp(ratios - ratios.max()).std() / np.exp(ratios - ratios.max()).mean() / np.sqrt(len(ratios))
    assert abs(corrected - exact) < 4 * error


def test_optimum_laplace_and_predictions_take_it_as_any_other(tmp_path):
    problem = Problem(NETS[0], "infer_by_layer")
    found = find_optimum(problem.posterior, n_starts=4, seed=0)
    assert found.certificate.is_optimum
    for structure in ("full", "layer", "diag", "lowrank", "last_layer"):
        laplace = fit_laplace(problem.posterior, found, structure=structure)
        assert laplace.predict(problem.x).mean.shape == problem.y.shape
    save_laplace(laplace, tmp_path / "laplace.npz")
    again = load_laplace(tmp_path / "laplace.npz", problem.posterior)
    assert np.array_equal(again.mean, laplace.mean)
    for other in (
        NormalPrior("infer_by_layer", log_precision_prior=HYPERPRIOR),
        NormalPrior("infer_by_layer", CENTRE, log_precision_prior=(0.4, 1.0)),
    ):
        with refuses("posterior", "prior digest", "as in the file"):
            load_laplace(tmp_path / "laplace.npz", problem.posterior.with_hyperparameters(None, other))


def test_any_model_will_do():
    model = FunctionModel(lambda w, x: w[0] + w[1] * x, ["a", "b"])
    x = np.linspace(-1, 1, 9)[:, None]
    post = Posterior(model, x, 2 * x + 1, Gaussian(0.1), NormalPrior("infer", log_precision_prior=HYPERPRIOR))
    assert isinstance(post.model, StandardWeights)
    assert post.weight_names == ("a_standard", "b_standard", "log_prior_precision")
    found = find_optimum(post, seed=0)
    assert found.certificate.is_optimum
    assert np.allclose(post.network_weights(found.weights), [1.0, 2.0], atol=0.1)


def test_other_data_keep_it_and_other_priors_drop_it():
    problem = Problem(NETS[0])
    assert problem.posterior.with_data(problem.x[:9], problem.y[:9]).n_weights == NETS[0].n_weights + 1
    assert problem.posterior.with_hyperparameters(None, NormalPrior(1.0)).n_weights == NETS[0].n_weights


def test_a_coordinate_is_not_tuned():
    with refuses("prior", "infer", "one prior_precision"):
        maximize_evidence(Problem(NETS[0]).posterior)


@pytest.mark.parametrize("word", ["guess", "", "Infer"])
def test_other_words_are_refused(word):
    with refuses("prior_precision", repr(word), "infer_by_layer"):
        NormalPrior(word, log_precision_prior=HYPERPRIOR)


@pytest.mark.parametrize("pair", [None, (0.0, 0.0), (0.0, -1.0), (np.nan, 1.0), (0.0,), 1.0, "wide"])
def test_an_inferred_precision_wants_a_hyperprior(pair):
    with refuses("log_precision_prior", "", ""):
        NormalPrior("infer", log_precision_prior=pair)


def test_a_hyperprior_for_a_fixed_precision_is_refused():
    with refuses("log_precision_prior", "(0.0, 1.0)", "infer"):
        NormalPrior(1.0, log_precision_prior=(0.0, 1.0))


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_symmetries_are_of_the_weights_wherever_the_prior_is_centred(activation, rng):
    net = MLP(2, (3,), 1, activation=activation)
    post = Posterior(
        net,
        rng.standard_normal((9, 2)),
        rng.standard_normal(9),
        Gaussian(0.5),
        NormalPrior("infer", 0.7, log_precision_prior=HYPERPRIOR),
    )
    points, x = rng.standard_normal((5, post.n_weights)), rng.standard_normal((20, 2))
    for images in (
        random_images(post.model, points, np.random.RandomState(0)),
        balanced(post.model, points, rng.standard_normal(post.n_weights)),
    ):
        np.testing.assert_allclose(post.outputs(images, x), post.outputs(points, x), atol=1e-12)
        assert np.array_equal(images[:, net.n_weights :], points[:, net.n_weights :])
    assert not np.allclose(random_images(post.model, points, np.random.RandomState(0)), points)
