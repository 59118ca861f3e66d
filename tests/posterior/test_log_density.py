"""LogDensity: any function of parameters as a target."""

import numpy as np
import pytest

from bayesnn import LogDensity, Status, certify, compare, find_optimum, fit_laplace, sample
from tests.refusals import refuses

MEAN = np.array([1.0, -2.0, 0.5])
PRECISION = np.array([[4.0, 1.0, 0.0], [1.0, 2.0, -0.5], [0.0, -0.5, 1.0]])
NAMES = ["a", "b", "c"]


def normal(w):
    return -0.5 * np.einsum("...i,ij,...j->...", w - MEAN, PRECISION, w - MEAN)


def normal_slope(w):
    return -(w - MEAN) @ PRECISION


def quartic(w):
    return -(w[0] ** 4) / 4 + w[0] ** 2 / 2 - w[1] ** 2 * (1 + w[0] ** 2)


def quartic_slope(w):
    return np.array([-(w[0] ** 3) + w[0] - 2 * w[0] * w[1] ** 2, -2 * w[1] * (1 + w[0] ** 2)])


def quartic_hessian(w):
    cross = 4 * w[0] * w[1]
    return np.array([[3 * w[0] ** 2 - 1 + 2 * w[1] ** 2, cross], [cross, 2 * (1 + w[0] ** 2)]])


@pytest.fixture(params=["gradient", "differences", "vectorized", "vectorized differences"])
def target(request):
    slope = None if "differences" in request.param else normal_slope
    return LogDensity(normal, NAMES, slope, vectorized="vectorized" in request.param)


def test_values_and_gradients_are_those_of_the_function(target, rng):
    for shape in [(3,), (5, 3)]:
        w = rng.standard_normal(shape)
        value, gradient = target.value_and_gradient(w)
        assert np.allclose(value, normal(w), rtol=1e-14)
        assert value.shape == shape[:-1]
        # central differences of a quadratic err by rounding alone, eps |value| / step
        assert np.allclose(gradient, normal_slope(w), rtol=0, atol=1e-12 if target.has_gradient else 1e-8)


def test_the_curvature_is_the_hessian(target):
    w = np.array([0.3, 0.1, -0.2])
    atol = 1e-8 if target.has_gradient else 1e-6  # eps |value| / step**2 with step = eps**0.25
    assert np.allclose(target.hessian(w), PRECISION, rtol=0, atol=atol)
    assert np.allclose(target.ggn(w), PRECISION, rtol=0, atol=atol)


@pytest.mark.parametrize("slope", [quartic_slope, None], ids=["gradient", "differences"])
def test_where_it_is_indefinite_the_ggn_has_the_absolute_eigenvalues(slope):
    target, w = LogDensity(quartic, ["x", "y"], slope), np.array([0.1, 0.4])
    exact = quartic_hessian(w)
    values, directions = np.linalg.eigh(exact)
    assert values[0] < 0 < values[1]
    assert np.allclose(target.hessian(w), exact, rtol=0, atol=1e-6)
    assert np.allclose(target.ggn(w), directions * np.abs(values) @ directions.T, rtol=0, atol=1e-6)
    assert np.allclose(target.linearize(w[None]).ggn[0], target.ggn(w))


def test_its_optimum_is_found_and_certified(target):
    found = find_optimum(target, n_starts=2, seed=0)
    assert found.status is Status.converged, found.certificate.reasons
    assert found.certificate.is_optimum
    assert np.allclose(found.weights, MEAN, atol=1e-6)
    assert found.certificate.rank == 3


def test_two_modes_are_two_optima_and_the_saddle_between_is_none():
    target = LogDensity(quartic, ["x", "y"], quartic_slope)
    found = find_optimum(target, n_starts=8, seed=1)
    modes = sorted(round(float(o.weights[0]), 6) for o in (found, *found.others))
    assert modes == [-1.0, 1.0]
    at_saddle = certify(target, np.zeros(2))
    assert not at_saddle.is_optimum
    assert np.allclose(np.abs(at_saddle.negative_direction), [1.0, 0.0], atol=1e-6)


def test_its_gaussian_and_evidence_are_exact_for_a_normal(target):
    laplace = fit_laplace(target, find_optimum(target, seed=0), curvature="hessian")
    assert np.allclose(laplace.posterior_covariance, np.linalg.inv(PRECISION), atol=1e-5)
    exact = 1.5 * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(PRECISION)[1]
    assert laplace.log_marginal_likelihood == pytest.approx(exact, abs=1e-5)


def test_its_chains_have_its_moments(target):
    tree = sample(target, num_chains=16, num_warmup=200, num_samples=1000, seed=2)
    assert set(tree["posterior"].data_vars) == set(NAMES)
    draws = np.stack([tree["posterior"][name].values for name in NAMES], axis=-1)
    z = (draws - MEAN) @ np.linalg.cholesky(PRECISION)
    means = z.mean(axis=1)  # of each chain: independent of each other
    error = means.std(axis=0, ddof=1) / np.sqrt(16)
    assert np.abs(means.mean(axis=0) / error).max() < 5.5  # Student-t of 15 degrees of freedom, 3 of them: 2e-4
    squares = (z**2).mean(axis=1)
    error = squares.std(axis=0, ddof=1) / np.sqrt(16)
    assert np.abs((squares.mean(axis=0) - 1.0) / error).max() < 5.5
    assert not {"log_likelihood", "observed_data", "posterior_predictive"} & set(tree.children)
    assert tree["monitor"]["f"].shape == (16, 1000, 1, 3)


def test_it_is_compared_with_its_gaussian():
    target = LogDensity(normal, NAMES, normal_slope, vectorized=True)
    laplace = fit_laplace(target, find_optimum(target, seed=0), curvature="hessian")
    tree = sample(laplace, num_chains=16, num_warmup=200, num_samples=1000, seed=2)
    assert compare(laplace, tree).kl == pytest.approx(0.0, abs=1e-6)


def test_without_a_gradient_chains_walk_at_random_unless_told_otherwise():
    target = LogDensity(normal, NAMES, vectorized=True)
    small = {"num_chains": 4, "num_warmup": 20, "num_samples": 4}
    assert "RandomWalk" in sample(target, **small).attrs["bayesnn"]
    assert "HMC" in sample(target, **small, move="hmc").attrs["bayesnn"]


def test_rosenbrock_has_its_exact_moments():
    # Goodman & Weare (2010), section 4: exp(-(100 (y - x^2)^2 + (1 - x)^2) / 20), x ~ N(1, 10), y | x ~ N(x^2, 1/10)
    def density(w):
        x, y = w[:, 0], w[:, 1]
        return -(100 * (y - x**2) ** 2 + (1 - x) ** 2) / 20

    def slope(w):
        x, y = w[:, 0], w[:, 1]
        return np.stack([20 * x * (y - x**2) + (1 - x) / 10, -10 * (y - x**2)], axis=1)

    target = LogDensity(density, ["x", "y"], slope, vectorized=True)
    tree = sample(target, num_chains=32, num_warmup=300, num_samples=1000, num_integration_steps=64, seed=0)
    x, y = tree["posterior"]["x"].values, tree["posterior"]["y"].values
    functions = {"x": (x, 1.0), "y": (y, 11.0), "xx": (x**2, 11.0), "yy": (y**2, 240.1 + 121.0), "xy": (x * y, 31.0)}
    for name, (values, exact) in functions.items():
        means = values.mean(axis=1)
        error = means.std(ddof=1) / np.sqrt(len(means))
        assert abs(means.mean() - exact) < 4.5 * error, name  # Student-t of 31 degrees of freedom: 1e-4
        assert error < 0.2 * abs(exact), name


@pytest.mark.parametrize(
    ("arguments", "argument", "got", "wants"),
    [
        ((3.0, ["a"]), "function", "3.0", "a function"),
        ((normal, "abc"), "names", "'abc'", "a sequence"),
        ((normal, ["a", "a"]), "names", "['a', 'a']", "different names"),
        ((normal, NAMES, "slope"), "gradient", "'slope'", "a function"),
        ((normal, NAMES, None, [0.0]), "start", "shape (1,)", "shape (3,)"),
        ((normal, NAMES, None, [0.0, np.nan, 0.0]), "start", "first at index (1,)", "all finite"),
    ],
)
def test_what_is_no_log_density_is_refused(arguments, argument, got, wants):
    with refuses(argument, got, wants):
        LogDensity(*arguments)


@pytest.mark.parametrize("result", [np.zeros(3), "1", None, 1j, [[1.0, 2.0]]], ids=str)
def test_a_function_that_returns_no_number_is_refused(result):
    with refuses("function", "a result of", "real numbers"):
        LogDensity(lambda w: result, NAMES).log_density(np.zeros(3))


@pytest.mark.parametrize("result", [np.zeros(2), 0.0, None], ids=str)
def test_a_gradient_of_another_shape_is_refused(result):
    with refuses("gradient", "a result of", "(3,)"):
        LogDensity(normal, NAMES, lambda w: result).value_and_gradient(np.zeros(3))


def test_a_gradient_that_disagrees_is_refused_and_names_the_parameter():
    def wrong(w):
        return normal_slope(w) * np.array([1.0, 1.0, -1.0])

    target = LogDensity(normal, NAMES, wrong)
    for use in (
        lambda: target.value_and_gradient(np.zeros(3)),
        lambda: find_optimum(target),
        lambda: sample(target),
    ):
        with refuses("gradient", "by c where differences give", "the gradient of function"):
            use()


def test_nan_is_no_density():
    target = LogDensity(lambda w: np.nan if w[0] < 0 else -w[0], ["x"])
    assert np.array_equal(target.log_density(np.array([[-1.0], [2.0]])), [-np.inf, -2.0])


def test_starts_without_density_are_counted():
    target = LogDensity(lambda w: -0.5 * w[0] ** 2 if w[0] > -1 else -np.inf, ["x"])
    laplace = fit_laplace(target, find_optimum(target, seed=0), curvature="hessian")
    with refuses("start", "not finite at 2 of 4 starts, first chain 1", "finite"):
        sample(laplace, num_chains=4, start=[[0.0], [-2.0], [0.5], [-3.0]])


def test_what_is_asked_of_data_is_refused():
    target = LogDensity(normal, NAMES, normal_slope)
    laplace = fit_laplace(target, find_optimum(target, seed=0))
    for ask in (
        lambda: laplace.predict(np.zeros((1, 1))),
        lambda: target.x,
        lambda: target.y,
        lambda: target.with_data(np.zeros(1), np.zeros(1)),
    ):
        with pytest.raises(ValueError, match="a Posterior"):
            ask()
    with refuses("curvature", "'fisher' of a LogDensity", "'hessian'"):
        fit_laplace(target, MEAN, curvature="fisher")


@pytest.mark.parametrize("curvature", ["ggn", "hessian"])
def test_every_structure_is_that_of_the_precision(target, curvature):
    for structure in ("full", "diag", "layer", "last_layer"):
        laplace = fit_laplace(target, MEAN, curvature=curvature, structure=structure)
        expected = np.diag(np.diag(PRECISION)) if structure == "diag" else PRECISION  # of one layer
        np.testing.assert_allclose(laplace.posterior_precision, expected, atol=1e-4)
    with refuses("prior" if curvature == "ggn" else "curvature", "", "'"):
        fit_laplace(target, MEAN, curvature=curvature, structure="lowrank")
    columns = np.eye(3)[:, :2]
    np.testing.assert_allclose(target.fisher_product(MEAN, columns), PRECISION @ columns, atol=1e-4)
    value, diagonal = target.value_and_fisher_diagonal(MEAN)
    np.testing.assert_allclose(diagonal, np.diag(PRECISION), atol=1e-4)
    assert value == pytest.approx(0.0)


@pytest.mark.parametrize("names", [["rate [1/s]", "b"], ["chain", "b"], ["a", "draw"]])
def test_names_that_the_tree_of_the_draws_cannot_hold_are_refused(names):
    with refuses("names", repr(next(n for n in names if n not in "ab")), "without '/' and none of chain, draw"):
        LogDensity(lambda w: -0.5 * (w**2).sum(), names)
