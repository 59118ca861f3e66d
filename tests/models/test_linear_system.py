"""Linear systems as models of the last output of a sequence."""

import numpy as np
import pytest

import bayesnn as bnn
from bayesnn.models import LinearSystem, Model, block_slices, companion, windows
from bayesnn.tree import weight_matrix
from tests.refusals import refuses

ORDERS = [1, 2, 3, 6]


def naive_outputs(weights, x, order):
    """Outputs at every time (n, T) of the recursion h = A h + B x, y = C h + D x, also of complex weights."""
    a, c, d = weights[:order], weights[order:-1], weights[-1]
    outputs = np.zeros(x.shape, dtype=weights.dtype)
    for row, series in enumerate(x):
        h = np.zeros(order, dtype=weights.dtype)
        for t, value in enumerate(series):
            outputs[row, t] = c @ h + d * value
            h = np.append(h[1:], value - a[::-1] @ h)
    return outputs


def naive_jacobian(weights, x, order):
    """Complex steps: exact to rounding."""
    steps = 1e-30j * np.eye(len(weights))
    return np.stack([naive_outputs(weights + step, x, order)[:, -1].imag / 1e-30 for step in steps], axis=-1)


def case(order, length=12, n=5, seed=0):
    rng = np.random.default_rng([order, seed])
    system = LinearSystem(order)
    return system, system.initial_weights(rng), rng.standard_normal((n, length)), rng


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("length", [7, 30])
def test_it_predicts_what_the_recursion_says(order, length):
    system, weights, x, _ = case(order, length)
    expected = naive_outputs(weights, x, order)
    assert np.allclose(system.predict(weights, x)[:, 0], expected[:, -1], rtol=0, atol=1e-12)
    assert np.allclose(system.simulate(weights, x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("length", [7, 30])
def test_its_derivatives_are_those_of_the_recursion(order, length):
    system, weights, x, rng = case(order, length)
    expected = naive_jacobian(weights, x, order)
    size = np.abs(expected).max()
    assert np.allclose(system.jacobian(weights, x)[:, 0], expected, rtol=0, atol=1e-12 * size)
    cotangent = rng.standard_normal((len(x), 1))
    outputs, pullback = system.vjp(weights, x)
    assert np.array_equal(outputs, system.predict(weights, x))
    assert np.allclose(pullback(cotangent), cotangent[:, 0] @ expected, rtol=0, atol=1e-11 * size)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("length", [7, 30])
def test_its_second_derivatives_are_differences_of_the_first(order, length):
    system, weights, x, rng = case(order, length)
    cotangent = rng.standard_normal((len(x), 1))
    step = 1e-5
    expected = np.stack(
        [
            cotangent[:, 0]
            @ (naive_jacobian(weights + e, x, order) - naive_jacobian(weights - e, x, order))
            / (2 * step)
            for e in step * np.eye(system.n_weights)
        ]
    )
    got = system.hessian_product(weights, x, cotangent, np.eye(system.n_weights))
    assert np.abs(expected).max() > 0.1
    # central differences err by step^2 times third derivatives, of the size of the second by the reach of the memory
    assert np.allclose(got, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    directions = rng.standard_normal((3, system.n_weights))
    assert np.allclose(system.hessian_product(weights, x, cotangent, directions), directions @ got, rtol=0, atol=1e-9)


@pytest.mark.parametrize("lead", [(1,), (4,), (2, 3), (12,), (3, 5)])
def test_a_batch_of_chains_is_each_chain_by_itself(lead):
    system, _, x, rng = case(3)
    weights = np.stack([system.initial_weights(rng) for _ in range(int(np.prod(lead)))]).reshape(*lead, 7)
    cotangent = rng.standard_normal((*lead, len(x), 1))
    outputs, pullback = system.vjp(weights, x)
    together, jacobian = system.linearize(weights, x)
    gradients = pullback(cotangent)
    assert outputs.shape == together.shape == (*lead, len(x), 1)
    assert jacobian.shape == (*lead, len(x), 1, 7)
    for index in np.ndindex(*lead):
        one, one_pullback = system.vjp(weights[index], x)
        assert np.allclose(outputs[index], one, rtol=0, atol=1e-12)
        assert np.allclose(together[index], one, rtol=0, atol=1e-12)
        assert np.allclose(system.predict(weights, x)[index], one, rtol=0, atol=1e-12)
        assert np.allclose(gradients[index], one_pullback(cotangent[index]), rtol=0, atol=1e-11)
        assert np.allclose(jacobian[index], system.jacobian(weights[index], x), rtol=0, atol=1e-11)


def test_the_jacobian_is_the_callers_own():
    system, weights, x, _ = case(2)
    _, first = system.linearize(weights, x)
    kept = first.copy()
    first[:] = 7.0
    assert np.array_equal(system.linearize(weights, x)[1], kept)


@pytest.mark.parametrize("order", ORDERS)
def test_the_transfer_function_has_one_value_by_every_way(order):
    system, weights, _, rng = case(order)
    space = system.state_space(weights)
    z = 1.5 * np.exp(1j * rng.uniform(0, 2 * np.pi, 20))
    by_matrices = [space.D + space.C @ np.linalg.solve(at * np.eye(order) - space.A, space.B) for at in z]
    response = system.impulse_response(weights, 120)  # 1.5^-120 is 1e-21
    by_series = (response * z[:, None] ** -np.arange(120.0)).sum(axis=1)
    found = system.transfer_function(weights, z)
    assert np.allclose(found, by_matrices, rtol=0, atol=1e-14 * np.abs(found).max() * order)
    assert np.allclose(found, by_series, rtol=0, atol=1e-14 * np.abs(found).max() * order)


def test_transfer_functions_of_a_batch_are_each_systems_own():
    system, _, _, rng = case(2)
    weights = np.stack([system.initial_weights(rng) for _ in range(6)]).reshape(2, 3, 5)
    z = np.exp(1j * np.linspace(0, 3, 4))
    found = system.transfer_function(weights, z)
    assert found.shape == (2, 3, 4)
    assert np.array_equal(found[1, 2], system.transfer_function(weights[1, 2], z))
    assert system.poles(weights).shape == (2, 3, 2)
    assert np.allclose(system.spectral_radius(weights)[0, 1], np.abs(np.roots([1, *weights[0, 1, :2]])).max())


def test_poles_are_the_roots_of_the_denominator():
    roots = np.array([0.9, -0.5, 0.3 + 0.4j, 0.3 - 0.4j])
    a = np.real(np.poly(roots))[1:]
    weights = np.concatenate([a, np.zeros(5)])
    assert np.allclose(np.sort_complex(LinearSystem(4).poles(weights)), np.sort_complex(roots), atol=1e-10)
    assert np.allclose(np.poly(companion(a)), np.append(1.0, a), atol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 5, 20])
def test_starts_are_stable_systems(order, rng):
    system = LinearSystem(order)
    radii = [float(system.spectral_radius(system.initial_weights(rng))) for _ in range(200)]
    assert max(radii) < 1.0
    assert max(radii) - min(radii) > 0.05  # not one and the same


def test_windows_end_with_each_value_and_make_up_no_past():
    series = np.arange(6.0)
    assert np.array_equal(windows(series, 4), [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]])
    assert windows(series, 6).shape == (1, 6)
    system, weights, _, rng = case(2)
    inputs = rng.standard_normal(300)
    whole = system.simulate(weights, inputs)
    radius = float(system.spectral_radius(weights))
    cut = system.predict(weights, windows(inputs, 200))[:, 0]
    assert np.allclose(cut, whole[199:], rtol=0, atol=1e3 * radius**190 + 1e-12)


def test_weights_are_named_and_laid_out_in_order():
    system = LinearSystem(2)
    assert system.weight_names == ("a[0]", "a[1]", "c[0]", "c[1]", "D")
    assert [place.stop for place in block_slices(system.weight_blocks)] == [2, 4, 5]
    assert [block.layer for block in system.weight_blocks] == [0, 1, 1]
    assert isinstance(system, Model)
    assert system == LinearSystem(2)
    assert hash(system) == hash(LinearSystem(2))
    assert system != LinearSystem(3)


@pytest.mark.parametrize("chains", [1, 20])
def test_systems_far_from_stable_overflow_in_silence(chains):
    system = LinearSystem(2)
    weights = np.tile([-1e3, 1e3, 1.0, 1.0, 0.0], (chains, 1))
    x = np.ones((3, 400))
    assert not np.isfinite(system.predict(weights, x)).all()
    outputs, pullback = system.vjp(weights, x)
    assert pullback(np.ones_like(outputs)).shape == weights.shape
    system.linearize(weights, x)
    system.hessian_product(weights[0], x, np.ones((3, 1)), np.eye(5))


@pytest.fixture(scope="module")
def fitted():
    """400 outputs of a known system of order 2, under noise, and its optimum."""
    rng = np.random.default_rng(5)
    system, truth = LinearSystem(2), np.array([-0.5, 0.3, -0.4, 1.0, 0.5])
    inputs = rng.standard_normal(440)
    y = system.simulate(truth, inputs)[40:] + 0.2 * rng.standard_normal(400)
    post = bnn.Posterior(system, windows(inputs[1:], 40), y, bnn.Gaussian(0.2), bnn.NormalPrior([1.0, 0.1]))
    return truth, post, bnn.find_optimum(post, n_starts=4, seed=0)


def test_its_posterior_has_exact_derivatives(fitted):
    _, post, opt = fitted
    w = opt.weights + 0.05
    steps = 1e-6 * np.eye(5)
    by_value = [(post.log_density(w + e) - post.log_density(w - e)) / 2e-6 for e in steps]
    value, gradient = post.value_and_gradient(w)
    assert value == post.log_density(w)
    # rounding of the value, a sum of hundreds of nats, over the step
    assert np.allclose(gradient, by_value, rtol=0, atol=1e-7 * np.abs(gradient).max())
    by_gradient = [(post.value_and_gradient(w + e)[1] - post.value_and_gradient(w - e)[1]) / -2e-6 for e in steps]
    assert np.allclose(post.hessian(w), by_gradient, rtol=1e-6, atol=1e-6 * np.abs(by_gradient).max())


def test_optimum_laplace_draws_and_agreement_work_on_it(fitted):
    truth, post, opt = fitted
    assert opt.status == "converged"
    lap = bnn.fit_laplace(post, opt, curvature="hessian")
    sd = np.sqrt(np.diag(lap.posterior_covariance))
    assert np.all(np.abs(opt.weights - truth) < 4.0 * sd)
    tree = bnn.sample(lap, num_chains=8, num_warmup=200, num_samples=1000, seed=0, progress=False)
    agree = bnn.compare(lap, tree)
    assert agree.verdict == bnn.Verdict.gaussian
    draws = weight_matrix(tree["posterior"].to_dataset(), post.model.weight_blocks).reshape(-1, 5)
    assert np.all(np.abs(draws.mean(axis=0) - opt.weights) < sd)
    assert post.network.spectral_radius(draws).max() < 1.0


def test_bad_input_is_refused():
    system = LinearSystem(3)
    with refuses("order", "0", "an integer of at least 1"):
        LinearSystem(0)
    with refuses("x", "shape (5, 3)", "T at least 4"):
        system.check_inputs(np.zeros((5, 3)))
    with refuses("x", "shape (0, 9)", "n at least 1"):
        system.check_inputs(np.zeros((0, 9)))
    with refuses("x", "first at index (1, 2)", "all finite"):
        system.check_inputs(np.where(np.arange(12).reshape(2, 6) == 8, np.nan, 0.0))
    with refuses("inputs", "first at index (1,)", "all finite"):
        windows([1.0, np.nan, 2.0], 2)
    with refuses("inputs", "first at index (1,)", "all finite"):
        system.simulate(np.zeros(7), [1.0, np.nan, 2.0])
    with refuses("inputs", "2 values", "at least one window of 3"):
        windows([1.0, 2.0], 3)
    with refuses("weights", "shape (6,)", "shape (..., 7)"):
        system.poles(np.zeros(6))
    with refuses("weights", "shape (2, 7)", "shape (7,): a, c and D of order 3"):
        system.simulate(np.zeros((2, 7)), np.zeros(9))
    with refuses("length", "0", "an integer of at least 1"):
        system.impulse_response(np.zeros(7), 0)
    with refuses("x", "shape (4, 3)", "T at least 4"):
        bnn.Posterior(system, np.zeros((4, 3)), np.zeros(4), bnn.Gaussian(1.0), bnn.NormalPrior(1.0))
