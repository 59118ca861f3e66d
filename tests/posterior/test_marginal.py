"""The density with the output layer integrated out, against dense formulas."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from bayesnn import MLP, Bernoulli, FlatPrior, Gaussian, NormalPrior, Posterior
from bayesnn.posterior.fused import MarginalDensity
from tests.refusals import refuses

N = 301  # more than a block, and no multiple of a vector


def problem(hidden=(5,), n_outputs=1, bias=True, sigma=0.3, activation="tanh", prior=None, n=N, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, 3)), rng.standard_normal((n, n_outputs))
    net = MLP(3, hidden, n_outputs, activation=activation, bias=bias)
    likelihood = (
        sigma if isinstance(sigma, Gaussian) else Gaussian(rng.uniform(0.1, 1.0, n) if sigma is None else sigma)
    )
    return Posterior(net, x, y, likelihood, prior or NormalPrior(1.5))


def varied_prior(seed=0):
    """A precision and a mean of its own for each weight of a 3-5-2 network."""
    rng = np.random.default_rng(seed)
    return NormalPrior(rng.uniform(0.5, 3.0, 32), rng.standard_normal(32))


CASES = {
    "one layer": {},
    "two layers": {"hidden": (4, 3)},
    "three layers": {"hidden": (3, 5, 2)},
    "two outputs": {"n_outputs": 2},
    "no biases": {"bias": False, "hidden": (4, 3)},
    "sigma per row": {"sigma": None, "n_outputs": 2},
    "relu": {"activation": "relu"},
    "sin": {"activation": "sin", "hidden": (6, 4)},
    "priors of each weight": {"prior": varied_prior(), "n_outputs": 2},
    "few rows": {"n": 3},
    "many units": {"hidden": (21,)},
    "inferred noise": {"sigma": Gaussian("infer", (-1.0, 0.5))},
    "inferred noise, flat, two outputs": {"sigma": Gaussian("infer"), "n_outputs": 2, "hidden": (4, 3)},
}


def kept_points(marginal, chains=5, seed=1):
    return 0.7 * np.random.default_rng(seed).standard_normal((chains, marginal.n_kept))


def dense_log_density(posterior, marginal, kept, inverse_temperature=1.0):
    """Log density of the kept coordinates: outputs are linear in the output weights, so targets are normal."""
    weights = np.zeros(posterior.n_weights)
    weights[marginal.kept] = kept
    net = posterior.network
    features = net.jacobian(weights[: net.n_weights], posterior.x)[:, :, marginal.integrated]
    outputs = net.predict(weights[: net.n_weights], posterior.x)
    assert not np.any(outputs)  # linear, and no constant part
    features = features.reshape(-1, len(marginal.integrated))
    prior_covariance = np.diag(1.0 / posterior.prior_precision[marginal.integrated])
    infers_noise = posterior.n_weights > net.n_weights
    sds = np.exp(kept[-1]) if infers_noise else posterior.likelihood.noise_sds(posterior.n_rows)
    noise = np.broadcast_to(sds, (posterior.n_rows, posterior.y.shape[1])).ravel() ** 2
    # a power of a normal density is one of a wider noise, but for its constant
    wider = noise / inverse_temperature
    constant = 0.5 * (np.log(2 * np.pi * wider) - inverse_temperature * np.log(2 * np.pi * noise)).sum()
    covariance = np.diag(wider) + features @ prior_covariance @ features.T
    mean = features @ posterior.prior_mean[marginal.integrated]
    prior = [
        0.5 * np.log(t / (2 * np.pi)) - 0.5 * t * (w - m) ** 2
        for w, t, m in zip(
            kept, posterior.prior_precision[marginal.kept], posterior.prior_mean[marginal.kept], strict=True
        )
        if t > 0
    ]
    return multivariate_normal(mean, covariance).logpdf(posterior.y.ravel()) + constant + sum(prior)


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_integral(case):
    posterior = problem(**CASES[case])
    marginal = MarginalDensity(posterior)
    points = kept_points(marginal)
    expected = [dense_log_density(posterior, marginal, point) for point in points]
    assert np.allclose(marginal(points)[0], expected, rtol=1e-9)
    assert np.allclose(marginal.log_density(points), expected, rtol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_at_another_temperature_it_is_the_integral_of_the_power(case):
    posterior = problem(**CASES[case])
    marginal = posterior.marginal(inverse_temperature=0.3)
    points = kept_points(marginal)
    expected = [dense_log_density(posterior, marginal, point, 0.3) for point in points]
    assert np.allclose(marginal(points)[0], expected, rtol=1e-9)
    assert np.allclose(marginal.log_density(points), expected, rtol=1e-9)


@pytest.mark.parametrize("inverse_temperature", [1.0, 0.3])
@pytest.mark.parametrize("case", CASES)
def test_its_gradient_is_the_slope(case, inverse_temperature):
    marginal = MarginalDensity(problem(**CASES[case]), inverse_temperature)
    points = kept_points(marginal)
    _, gradient = marginal(points)
    step = 1e-5 if case != "relu" else 1e-7
    for i in range(marginal.n_kept):
        e = np.zeros(marginal.n_kept)
        e[i] = step
        # Richardson: error of order step**4
        near = (marginal.log_density(points + e) - marginal.log_density(points - e)) / (2 * step)
        far = (marginal.log_density(points + 2 * e) - marginal.log_density(points - 2 * e)) / (4 * step)
        slope = (4 * near - far) / 3
        assert np.allclose(gradient[:, i], slope, rtol=1e-6, atol=1e-6 * np.abs(gradient).max())


@pytest.mark.parametrize("case", CASES)
def test_drawn_weights_have_the_joint_density(case):
    posterior = problem(**CASES[case])
    marginal = MarginalDensity(posterior)
    weights, log_density = marginal.draw(kept_points(marginal), np.random.RandomState(0))
    assert np.array_equal(weights[:, marginal.kept], kept_points(marginal))
    assert np.allclose(log_density, posterior.log_density(weights), rtol=1e-10)


@pytest.mark.parametrize("case", ["one layer", "two outputs", "sigma per row", "priors of each weight"])
def test_output_weights_are_drawn_from_their_law(case):
    """Against the posterior's own Hessian, which is exact along the output layer; entries within 4.5 errors."""
    posterior = problem(**CASES[case], seed=4)
    marginal = MarginalDensity(posterior)
    point, n = kept_points(marginal, 1)[0], 20_000
    weights, _ = marginal.draw(np.tile(point, (n, 1)), np.random.RandomState(1))
    drawn, mode = weights[:, marginal.integrated], marginal.complete(point)
    gradient = posterior.value_and_gradient(mode)[1][marginal.integrated]
    assert np.abs(gradient).max() < 1e-8 * N
    precision = posterior.hessian(mode)[np.ix_(marginal.integrated, marginal.integrated)]
    z = (drawn - mode[marginal.integrated]) @ np.linalg.cholesky(precision)
    assert np.abs(z.mean(axis=0)).max() < 4.5 / np.sqrt(n)
    off = z.T @ z / n - np.eye(z.shape[1])
    assert np.abs(off).max() < 4.5 * np.sqrt(2.0 / n)


def test_numbers_do_not_depend_on_the_other_chains():
    marginal = MarginalDensity(problem((4, 3), n=1000))
    points = kept_points(marginal, 7)
    value, gradient = marginal(points)
    for i in range(7):
        alone = marginal(points[i])
        assert np.array_equal(alone[0], value[i])
        assert np.array_equal(alone[1], gradient[i])


def test_trajectories_are_those_of_the_gradients():
    marginal = MarginalDensity(problem())
    rng = np.random.default_rng(3)
    start, momenta = kept_points(marginal), rng.standard_normal((5, marginal.n_kept))
    scale = 0.02 * np.linalg.cholesky(np.eye(marginal.n_kept) + 0.1)
    steps = rng.uniform(0.5, 1.0, 5)
    w, r, values, gradients = marginal.leapfrog(start, momenta, marginal(start)[1], scale, steps, 4)
    x, p, g = start, momenta + 0.5 * steps[:, None] * marginal(start)[1] @ scale, None
    for step in range(4):
        x = x + steps[:, None] * p @ scale.T
        v, g = marginal(x)
        p = p + (0.5 if step == 3 else 1.0) * steps[:, None] * g @ scale
    for ours, expected in ((w, x), (r, p), (values, v), (gradients, g)):
        assert np.allclose(ours, expected, rtol=1e-9)


def test_precision_is_that_of_the_kept_coordinates_alone():
    posterior = problem()
    marginal = MarginalDensity(posterior)
    precision = posterior.ggn(marginal.complete(kept_points(marginal, 1)[0]))
    covariance = np.linalg.inv(precision)[np.ix_(marginal.kept, marginal.kept)]
    assert np.allclose(marginal.precision_of(precision) @ covariance, np.eye(marginal.n_kept), atol=1e-8)


def test_features_that_rounding_cannot_tell_apart_are_no_density(teacher_data):
    # Both units saturated, noise of exp(-134): a pivot of the output layer's precision is rounded to 0, and minus its
    # logarithm must not make the density infinite. A chain met this point.
    prior = NormalPrior([1.0, 2.0])
    marginal = Posterior(MLP(2, (2,), 1), *teacher_data, Gaussian("infer", (-2.0, 1.0)), prior).marginal()
    kept = np.array([15.882126823270367, 86.37167446099365, -21.26818452056877, -12.460262832028558])
    kept = np.append(kept, [-238.4527312233731, -194.74792405946388, -134.04306511533468])
    assert np.isnan(marginal.log_density(kept))
    # next to it rounding leaves a little more, or less: never what would be accepted
    near = kept + 1e-3 * np.random.default_rng(0).standard_normal((200, 7))
    assert not np.any(marginal.log_density(near) > -1e100)


def test_where_nothing_is_finite_the_value_is_not():
    marginal = MarginalDensity(problem())
    points = kept_points(marginal)
    points[1, 0], points[3, 2] = np.nan, np.inf
    value = marginal(points)[0]
    assert np.isfinite(value[[0, 2, 4]]).all()
    assert np.isnan(value[1])


@pytest.mark.parametrize(
    ("make", "got", "wants"),
    [
        (lambda: problem(hidden=()), "no hidden layer", "an MLP with hidden units"),
        (lambda: problem(prior=FlatPrior()), "a flat prior of output weights", "a proper one"),
        (
            lambda: problem(prior=NormalPrior("infer", log_precision_prior=(0.0, 1.0))),
            "inferred prior precisions",
            "given prior precisions",
        ),
        (
            lambda: Posterior(MLP(2, (3,), 1), np.ones((4, 2)), np.ones(4), Bernoulli(), NormalPrior(1.0)),
            "a likelihood of type Bernoulli",
            "Gaussian noise",
        ),
    ],
)
def test_other_posteriors_are_refused(make, got, wants):
    with refuses("posterior", got, wants):
        MarginalDensity(make())


def test_other_shapes_are_refused():
    marginal = MarginalDensity(problem())
    with refuses("kept", "shape (2, 3)", f"shape (..., {marginal.n_kept})"):
        marginal(np.zeros((2, 3)))
