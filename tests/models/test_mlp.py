import tracemalloc

import numpy as np
import pytest

import bayesnn.models.mlp as mlp_module
from bayesnn.models import MLP, Model, block_slices
from tests import oracles
from tests.refusals import refuses

SHAPES = [(2, (3,), 1), (1, (2, 3), 2), (3, (2, 2, 2), 1), (3, (), 2), (2, (4,), 3)]


def cases(activations):
    return pytest.mark.parametrize(
        ("net", "x", "weights"),
        [
            _case(MLP(*shape, activation=activation, bias=bias))
            for shape in SHAPES
            for activation in activations
            for bias in (True, False)
        ],
        ids=lambda value: repr(value) if isinstance(value, MLP) else "",
    )


def _case(net):
    rng = np.random.default_rng(net.n_weights)
    return net, rng.standard_normal((7, net.in_features)), rng.standard_normal(net.n_weights)


every_net = cases(["tanh", "relu", "softplus", "sin", "identity"])


def assert_close(got, expected, relative):
    """Each entry to `relative` of the largest: what a sum of such terms can promise."""
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= relative * np.abs(expected).max()


@every_net
def test_predict_agrees_with_loops(net, x, weights):
    assert_close(net.predict(weights, x), oracles.predict(oracles.Net.of(net), weights, x), 1e-13)


@every_net
def test_jacobian_agrees_with_the_oracle(net, x, weights):
    expected = oracles.jacobian(oracles.Net.of(net), weights, x)
    # complex steps are exact to rounding; relu's central differences of step 1e-6 err by about 1e-9
    assert_close(net.jacobian(weights, x), expected, 1e-7 if net.activation.name == "relu" else 1e-10)


@every_net
def test_vjp_agrees_with_the_chain_rule_by_hand(net, x, weights):
    cotangent = np.random.default_rng(1).standard_normal((len(x), net.n_outputs))
    outputs, pullback = net.vjp(weights, x)
    assert_close(outputs, oracles.predict(oracles.Net.of(net), weights, x), 1e-13)
    expected = oracles.weighted_gradient(oracles.Net.of(net), weights, x, cotangent)
    assert_close(pullback(cotangent), expected, 1e-10)


@every_net
def test_hessian_product_agrees_with_the_oracle(net, x, weights):
    cotangent = np.random.default_rng(2).standard_normal((len(x), net.n_outputs))
    expected = oracles.weighted_hessian(oracles.Net.of(net), weights, x, cotangent)
    got = net.hessian_product(weights, x, cotangent, np.eye(net.n_weights))
    scale = max(1.0, np.abs(expected).max())  # a linear model's is exactly 0
    assert np.abs(got - expected).max() <= 1e-10 * scale


def test_hessian_product_is_linear_in_its_directions(rng):
    net = MLP(2, (3,), 2)
    w, x, c = rng.standard_normal(net.n_weights), rng.standard_normal((6, 2)), rng.standard_normal((6, 2))
    directions = rng.standard_normal((4, net.n_weights))
    whole = net.hessian_product(w, x, c, np.eye(net.n_weights))
    assert_close(net.hessian_product(w, x, c, directions), directions @ whole, 1e-13)
    assert_close(net.hessian_product(w, x, c, directions[:1]), directions[:1] @ whole, 1e-13)


@pytest.mark.parametrize("lead", [(1,), (4,), (2, 3)])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_batch_of_chains_is_each_chain_by_itself(shape, lead, rng):
    net = MLP(*shape)
    x = rng.standard_normal((5, net.in_features))
    weights = rng.standard_normal((*lead, net.n_weights))
    cotangent = rng.standard_normal((*lead, 5, net.n_outputs))
    outputs, pullback = net.vjp(weights, x)
    gradients = pullback(cotangent)
    assert outputs.shape == (*lead, 5, net.n_outputs)
    assert gradients.shape == weights.shape
    assert np.array_equal(net.predict(weights, x), outputs)
    for index in np.ndindex(*lead):
        one, one_pullback = net.vjp(weights[index], x)
        assert np.allclose(outputs[index], one, rtol=0, atol=1e-13)
        assert np.allclose(gradients[index], one_pullback(cotangent[index]), rtol=0, atol=1e-12)


def test_small_blocks_change_nothing(monkeypatch, rng):
    net = MLP(2, (3, 2), 2)
    x = rng.standard_normal((11, 2))
    weights = rng.standard_normal((9, net.n_weights))
    cotangent = rng.standard_normal((11, 2))
    directions = np.eye(net.n_weights)
    at_once = net.predict(weights, x), net.hessian_product(weights[0], x, cotangent, directions)
    monkeypatch.setattr(mlp_module, "ELEMENTS_AT_A_TIME", 1)
    in_blocks = net.predict(weights, x), net.hessian_product(weights[0], x, cotangent, directions)
    assert np.allclose(at_once[0], in_blocks[0], rtol=0, atol=1e-13)
    assert np.allclose(at_once[1], in_blocks[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_bias_free_relu_obeys_eulers_theorem(depth, rng):
    # theory A2: f(cW) = c**L f(W), hence B W = L f
    net = MLP(3, (3,) * (depth - 1), 1, activation="relu", bias=False)
    x, w = rng.standard_normal((20, 3)), rng.standard_normal(net.n_weights)
    outputs = net.predict(w, x)
    assert np.abs(outputs).max() > 0.01
    assert np.allclose(net.jacobian(w, x) @ w, depth * outputs, rtol=0, atol=1e-12)


def test_weights_are_laid_out_as_their_names_say(rng):
    net = MLP(2, (3,), 2)
    assert net.n_weights == 17
    assert net.weight_names == (
        *(f"W1[{i},{j}]" for i in range(2) for j in range(3)),
        *(f"b1[{j}]" for j in range(3)),
        *(f"W2[{i},{j}]" for i in range(3) for j in range(2)),
        *(f"b2[{j}]" for j in range(2)),
    )
    # W1[0,2] runs from input 0 to unit 2: with everything else 0 but W2[2,1], only output 1 sees input 0
    w = np.zeros(17)
    w[net.weight_names.index("W1[0,2]")] = 0.7
    w[net.weight_names.index("W2[2,1]")] = 2.0
    x = rng.standard_normal((4, 2))
    expected = np.column_stack([np.zeros(4), 2.0 * np.tanh(0.7 * x[:, 0])])
    assert np.allclose(net.predict(w, x), expected, rtol=0, atol=1e-15)


def test_blocks_cover_the_weight_vector_without_overlap():
    net = MLP(2, (3, 4), 1)
    covered = [i for place in block_slices(net.weight_blocks) for i in range(net.n_weights)[place]]
    assert covered == list(range(net.n_weights))
    assert [block.layer for block in net.weight_blocks] == [0, 0, 1, 1, 2, 2]
    assert [block.name for block in MLP(2, (3,), 1, bias=False).weight_blocks] == ["W1", "W2"]


def test_an_mlp_is_a_model_and_equals_its_like():
    assert isinstance(MLP(1, (2,), 1), Model)
    assert MLP(1, [2], 1) == MLP(1, (2,), 1)
    assert hash(MLP(1, [2], 1)) == hash(MLP(1, (2,), 1))
    assert MLP(1, (2,), 1) != MLP(1, (2,), 1, activation="relu")
    assert MLP(1, (2,), 1) != MLP(1, (2,), 1, bias=False)


def test_initial_weights_have_variance_one_over_fan_in():
    net = MLP(100, (100,), 1)
    draws = np.stack([net.initial_weights(np.random.default_rng(seed)) for seed in range(20)])
    first, biases = draws[:, : 100 * 100], draws[:, 100 * 100 : 100 * 101]
    # relative error of a variance from m normal draws: sqrt(2 / m); 4.5 of them
    assert abs(100 * first.var() - 1.0) < 4.5 * np.sqrt(2 / first.size)
    assert abs(biases.var() - 1.0) < 4.5 * np.sqrt(2 / biases.size)


@pytest.mark.parametrize("method", ["predict", "vjp", "jacobian"])
def test_weights_of_another_length_are_refused(method):
    net = MLP(2, (2,), 1)
    with refuses("weights", "shape (8,)", "9"):
        getattr(net, method)(np.zeros(8), np.zeros((3, 2)))


def test_whole_numbers_are_weights(rng):
    net, x = MLP(2, (2,), 1), rng.standard_normal((5, 2))
    whole = np.arange(net.n_weights)
    cotangent = np.ones((5, 1))
    for method in (net.vjp, net.squared_vjp):
        outputs, pull = method(whole, x)
        expected, expected_pull = method(whole.astype(float), x)
        np.testing.assert_array_equal(outputs, expected)
        np.testing.assert_array_equal(pull(cotangent), expected_pull(cotangent))


def test_second_derivatives_of_many_inputs_are_taken_a_few_rows_at_a_time():
    net, rng = MLP(300, (2,), 1), np.random.default_rng(0)
    x, cotangent = rng.standard_normal((200, 300)), rng.standard_normal((200, 1))
    weights, direction = 0.1 * rng.standard_normal(net.n_weights), rng.standard_normal((1, net.n_weights))
    tracemalloc.start()
    product = net.hessian_product(weights, x, cotangent, direction)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # the Hessian itself has 3 MB, and three arrays of a megabyte of numbers are formed beside it
    assert most < 60e6
    step = 1e-6
    slopes = [(net.vjp(weights + sign * step * direction[0], x)[1](cotangent)) / (2 * step) for sign in (1.0, -1.0)]
    np.testing.assert_allclose(product[0], slopes[0] - slopes[1], atol=1e-5 * np.abs(product).max())
