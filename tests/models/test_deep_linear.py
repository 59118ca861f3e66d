"""Linear networks against products of matrices in complex arithmetic, and as models of the whole road."""

from functools import reduce

import numpy as np
import pytest

from bayesnn import DeepLinear, FlatPrior, Gaussian, NormalPrior, Posterior, compare, find_optimum, fit_laplace, sample
from bayesnn.models import Model, block_slices
from bayesnn.posterior.fused import FusedDensity
from tests.refusals import refuses

NETS = [
    DeepLinear((3, 2)),
    DeepLinear((3, 2, 4)),
    DeepLinear((2, 3, 1, 2)),
    DeepLinear((2, 2), residual=True),
    DeepLinear((3, 3, 3, 3), residual=True),
]
every_net = pytest.mark.parametrize("net", NETS, ids=repr)


def product(net, weights):
    """The end-to-end matrix, in the arithmetic of the weights."""
    factors = []
    for block, place in zip(net.weight_blocks, block_slices(net.weight_blocks), strict=True):
        factors.append(weights[place].reshape(block.shape) + (np.eye(block.shape[0]) if net.residual else 0.0))
    return reduce(np.matmul, factors)


def drawn(net, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(net.n_weights), rng.standard_normal((5, net.widths[0]))


@every_net
def test_outputs_are_rows_times_the_product(net):
    w, x = drawn(net)
    np.testing.assert_allclose(net.predict(w, x), x @ product(net, w), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(net.matrix(w), product(net, w), rtol=1e-12, atol=1e-12)
    assert isinstance(net, Model)


@every_net
def test_derivatives_are_those_of_complex_steps(net):
    w, x = drawn(net)
    steps = 1e-30j * np.eye(net.n_weights)
    expected = np.stack([(x @ product(net, w + step)).imag / 1e-30 for step in steps], axis=-1)
    np.testing.assert_allclose(net.jacobian(w, x), expected, rtol=1e-12, atol=1e-12)
    cotangent = np.random.default_rng(1).standard_normal((5, net.n_outputs))
    outputs, pull_back = net.vjp(w, x)
    np.testing.assert_allclose(outputs, x @ product(net, w), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        pull_back(cotangent), np.einsum("no,nok->k", cotangent, expected), rtol=1e-11, atol=1e-12
    )
    # the Hessian differences the Jacobian, which is a polynomial of the weights: 1e-6 of its size
    bent = net.hessian_product(w, x, cotangent, np.eye(net.n_weights))
    h = 1e-6
    slopes = [net.vjp(w + sign * h * e, x)[1](cotangent) for e in np.eye(net.n_weights) for sign in (1.0, -1.0)]
    differences = (np.array(slopes[::2]) - np.array(slopes[1::2])) / (2.0 * h)
    np.testing.assert_allclose(bent, differences, atol=1e-7 * max(1.0, np.abs(differences).max()))


@pytest.mark.parametrize("lead", [(4,), (2, 3)])
@every_net
def test_a_batch_is_each_by_itself(net, lead):
    x = drawn(net)[1]
    batch = np.random.default_rng(2).standard_normal((*lead, net.n_weights))
    outputs, jacobian = net.linearize(batch, x)
    matrices = net.matrix(batch)
    assert matrices.shape == (*lead, net.widths[0], net.n_outputs)
    for i in np.ndindex(lead):
        np.testing.assert_allclose(outputs[i], net.predict(batch[i], x), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(jacobian[i], net.jacobian(batch[i], x), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(matrices[i], net.matrix(batch[i]), rtol=1e-12, atol=1e-12)


def test_blocks_are_named_as_in_the_papers_and_in_order():
    net = DeepLinear((2, 3, 1))
    assert [block.name for block in net.weight_blocks] == ["W1", "W2"]
    assert net.weight_names[1] == "W1[0,1]"
    assert [block.name for block in DeepLinear((2, 2, 2), residual=True).weight_blocks] == ["A1", "A2"]


def test_layers_and_flat_are_inverse():
    net = DeepLinear((2, 3, 1))
    w = np.arange(9.0)
    np.testing.assert_array_equal(net.flat(net.layers(w)), w)


def test_residual_networks_start_near_the_identity():
    net = DeepLinear((3,) * 5, residual=True)
    starts = np.array([net.initial_weights(np.random.default_rng(i)) for i in range(200)])
    # 0.1 / 4 each, of 9600 numbers: 1 / sqrt(2 * 9600) of that in error
    assert abs(starts.std() / 0.025 - 1.0) < 4.0 / np.sqrt(2.0 * starts.size)
    plain = DeepLinear((3, 5, 2)).initial_weights(np.random.default_rng(0))
    assert plain.shape == (25,)


def posterior_of(net, prior=1.0, n=60):
    rng = np.random.default_rng(4)
    x = rng.standard_normal((n, net.widths[0]))
    y = x @ rng.standard_normal((net.widths[0], net.n_outputs)) + 0.3 * rng.standard_normal((n, net.n_outputs))
    return Posterior(net, x, y, Gaussian(0.3), NormalPrior(prior))


@pytest.mark.parametrize("net", [DeepLinear((2, 1, 2)), DeepLinear((2, 2, 2), residual=True)], ids=repr)
def test_the_whole_road_runs(net):
    posterior = posterior_of(net)
    found = find_optimum(posterior, seed=0, progress=False)
    assert found.certificate.is_optimum
    laplace = fit_laplace(posterior, found)
    tree = sample(laplace, num_warmup=100, num_samples=200, seed=0, progress=False)
    agreement = compare(laplace, tree)
    assert agreement.along.shape[-1] == net.n_weights
    # the best fit of its rank (Eckart & Young 1936), but for a prior that says 1 where the data say 60 / 0.3^2
    left, singular, right = np.linalg.svd(posterior.x @ np.linalg.lstsq(posterior.x, posterior.y)[0])
    rank = min(net.widths)
    fit = (left[:, :rank] * singular[:rank]) @ right[:rank]
    missed = posterior.x @ net.matrix(found.weights) - fit
    assert np.linalg.norm(missed) < 3.0 * 0.3**2 / 60 * np.linalg.norm(fit) * net.n_layers


def test_rotations_of_hidden_units_leave_no_isolated_optimum():
    # W1 G, G' W2 has the same outputs and the same prior: the Hessian is flat along the one rotation of two units
    posterior = posterior_of(DeepLinear((2, 2, 1)))
    found = find_optimum(posterior, seed=0, progress=False)
    eigenvalues = np.linalg.eigvalsh(posterior.hessian(found.weights))
    assert np.abs(eigenvalues[0]) < 1e-8 * eigenvalues[-1] < eigenvalues[1]
    assert not found.certificate.is_optimum
    assert found.certificate.gradient_norm < 1e-5


def test_the_compiled_kernel_serves_plain_networks():
    posterior = posterior_of(DeepLinear((2, 3, 2)))
    w = np.random.default_rng(5).standard_normal((4, posterior.n_weights))
    value, gradient = posterior.value_and_gradient(w)
    fused_value, fused_gradient = FusedDensity(posterior)(w)
    np.testing.assert_allclose(fused_value, value, rtol=1e-11)
    np.testing.assert_allclose(fused_gradient, gradient, rtol=1e-10, atol=1e-9)
    marginal = posterior.marginal()
    whole, density = marginal.draw(w[:, :6], np.random.RandomState(0))
    np.testing.assert_allclose(density, posterior.log_density(whole), rtol=1e-10)


def test_the_compiled_kernel_does_not_take_residual_networks():
    # at unshifted weights its numbers would be those of another network
    posterior = posterior_of(DeepLinear((2, 2, 2), residual=True))
    with refuses("posterior", "type DeepLinear", "an MLP"):
        posterior.fused()


def test_a_residual_optimum_is_the_plain_one_less_the_identity():
    plain, residual = DeepLinear((2, 2)), DeepLinear((2, 2), residual=True)
    rng = np.random.default_rng(6)
    x, y = rng.standard_normal((30, 2)), rng.standard_normal((30, 2))
    at = [
        find_optimum(Posterior(net, x, y, Gaussian(1.0), FlatPrior()), progress=False).weights
        for net in (plain, residual)
    ]
    np.testing.assert_allclose(at[0] - np.eye(2).ravel(), at[1], atol=1e-6)


def test_equal_networks_are_equal():
    assert DeepLinear((2, 3, 1)) == DeepLinear([2, 3, 1])
    assert hash(DeepLinear((2, 2), True)) != hash(DeepLinear((2, 2)))
    assert DeepLinear((2, 2), True) != DeepLinear((2, 2))


@pytest.mark.parametrize("widths", [3, (3,), "32", None, np.array([2, 2])])
def test_widths_must_be_a_sequence(widths):
    with refuses("widths", "", "at least two widths"):
        DeepLinear(widths)


@pytest.mark.parametrize("width", [0, -1, 2.5, True])
def test_widths_must_be_positive_integers(width):
    with refuses("widths", str(width), "integer of at least 1"):
        DeepLinear((2, width))


def test_other_bad_input():
    with refuses("widths", "(2, 3, 2)", "equal widths"):
        DeepLinear((2, 3, 2), residual=True)
    with refuses("residual", "1", "True or False"):
        DeepLinear((2, 2), residual=1)
    net = DeepLinear((2, 3, 1))
    with refuses("layers", "(2, 2)", "which chain"):
        net.flat([np.zeros((2, 2)), np.zeros((3, 1))])
    with refuses("weights", "(8,)", "9"):
        net.layers(np.zeros(8))
    with refuses("x", "1 NaN", "all finite"):
        net.check_inputs([[1.0, np.nan]])
