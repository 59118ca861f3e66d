import itertools
import math

import numpy as np
import pytest

from bayesnn.models import (
    MLP,
    StandardWeights,
    Symmetries,
    WithConstants,
    block_slices,
    canonicalize,
    log_coinciding,
    log_symmetry_order,
    nearest_image,
    nearest_images,
    random_images,
)
from tests import oracles
from tests.refusals import refuses


class NotAnMLP:
    """A model whose symmetries nobody knows."""


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("hidden", [1, 2, 3, 4])
def test_nearest_image_is_the_best_of_all_images(activation, hidden):
    # 25 nets for each of the 8 cases: 200 in all
    for seed in range(25):
        rng = np.random.default_rng([hidden, seed])
        net = MLP(2, (hidden,), 1 + seed % 2, activation=activation, bias=seed % 3 > 0)
        weights, reference = rng.standard_normal((2, net.n_weights))
        expected = oracles.nearest_image(oracles.Net.of(net), weights, reference)
        # ties have probability 0, so the image itself is unique, not only its distance
        assert np.array_equal(nearest_image(net, weights, reference), expected)


@pytest.mark.parametrize("activation", ["tanh", "sin", "relu", "softplus"])
@pytest.mark.parametrize("hidden", [(5,), (3, 4)])
def test_nearest_image_gives_the_same_function(activation, hidden, rng):
    net = MLP(2, hidden, 2, activation=activation)
    x = rng.standard_normal((10, 2))
    weights, reference = rng.standard_normal((2, net.n_weights))
    image = nearest_image(net, weights, reference)
    assert not np.array_equal(image, weights)
    assert np.allclose(net.predict(image, x), net.predict(weights, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("hidden", [(6,), (3, 4), (2, 2, 2)])
def test_nearest_image_is_never_farther_than_the_weights_themselves(hidden, rng):
    net = MLP(2, hidden, 1)
    for _ in range(20):
        weights, reference = rng.standard_normal((2, net.n_weights))
        image = nearest_image(net, weights, reference)
        assert np.linalg.norm(image - reference) <= np.linalg.norm(weights - reference) + 1e-12


def test_a_scrambled_reference_comes_home(rng):
    net = MLP(2, (4,), 1)
    reference = rng.standard_normal(net.n_weights)
    scrambled = nearest_image(net, reference, rng.standard_normal(net.n_weights))  # some image of it
    assert not np.array_equal(scrambled, reference)
    assert np.array_equal(nearest_image(net, scrambled, reference), reference)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("hidden", [(3, 3), (2, 3, 2)])
def test_in_deep_networks_no_change_of_one_layer_comes_nearer(hidden, activation):
    # coordinate descent promises this much, not the nearest image of all
    net = MLP(2, hidden, 1, activation=activation)
    for seed in range(5):
        weights, reference = np.random.default_rng(seed).standard_normal((2, net.n_weights))
        found = nearest_image(net, weights, reference)
        distance = np.linalg.norm(found - reference)
        for layer in range(len(hidden)):
            images = oracles.images(oracles.Net.of(net), found, layer)
            assert min(np.linalg.norm(image - reference) for image in images) >= distance - 1e-12


def test_nearest_image_leaves_its_arguments_alone(rng):
    net = MLP(2, (3,), 1)
    weights, reference = rng.standard_normal((2, net.n_weights))
    kept = weights.copy(), reference.copy()
    nearest_image(net, weights, reference)
    assert np.array_equal(weights, kept[0])
    assert np.array_equal(reference, kept[1])


@pytest.mark.parametrize("activation", ["tanh", "sin", "relu", "softplus"])
@pytest.mark.parametrize("hidden", [1, 2, 3])
def test_symmetry_order_counts_the_images(activation, hidden, rng):
    net = MLP(1, (hidden,), 1, activation=activation)
    images = {tuple(i) for i in oracles.images(oracles.Net.of(net), rng.standard_normal(net.n_weights))}
    assert math.isclose(math.exp(log_symmetry_order(net)), len(images), rel_tol=1e-12)


def test_symmetry_order_of_known_networks():
    # theory D: 2-2-1 has 8; 16 units 2**16 16!; 16-16 the square of that
    one = 16 * math.log(2) + math.lgamma(17)
    assert math.isclose(log_symmetry_order(MLP(2, (2,), 1)), math.log(8), rel_tol=1e-14)
    assert math.isclose(log_symmetry_order(MLP(2, (16,), 1)), one, rel_tol=1e-14)
    assert math.isclose(log_symmetry_order(MLP(2, (16, 16), 1)), 2 * one, rel_tol=1e-14)
    assert math.isclose(log_symmetry_order(MLP(2, (4,), 1, activation="relu")), math.log(24), rel_tol=1e-14)
    assert log_symmetry_order(MLP(2, (), 1)) == 0.0


def test_a_model_of_unknown_symmetry_has_order_one_and_itself_as_image():
    weights = np.array([1.0, -2.0])
    assert log_symmetry_order(NotAnMLP()) == 0.0
    image = nearest_image(NotAnMLP(), weights, -weights)
    assert np.array_equal(image, weights)
    assert image is not weights


def test_canonicalize_folds_any_number_of_weight_vectors(rng):
    net = MLP(2, (3,), 1)
    reference = rng.standard_normal(net.n_weights)
    images = random_images(net, np.tile(reference, (6, 1)), np.random.RandomState(0)).reshape(2, 3, -1)
    assert not np.allclose(images, reference)
    np.testing.assert_array_equal(canonicalize(net, images, reference), np.broadcast_to(reference, images.shape))
    np.testing.assert_array_equal(canonicalize(net, images[0, 0], reference), reference)


@pytest.mark.parametrize(
    ("argument", "weights", "reference"),
    [
        ("weights", np.zeros(4), np.zeros(5)),
        ("weights", np.array([[1.0, np.nan, 0.0, 0.0, 0.0]]), np.zeros(5)),
        ("weights", 3.0, np.zeros(5)),
        ("reference", np.zeros(5), np.zeros((2, 5))),
        ("reference", np.zeros(5), np.full(5, np.inf)),
    ],
)
def test_canonicalize_refuses_what_is_no_weight_vector(argument, weights, reference):
    net = MLP(2, (1,), 1)
    with refuses(argument, "", "5"):
        canonicalize(net, weights, reference)


def test_a_density_has_the_symmetries_that_its_prior_keeps():
    net = MLP(2, (2, 3), 1)
    k, ones = net.n_weights, np.ones(net.n_weights)
    assert Symmetries.of(net) == Symmetries((True, True), (True, True))
    assert Symmetries.of(net, ones, np.zeros(k)) == Symmetries.of(net)
    assert Symmetries.of(net, ones, np.full(k, 0.5)) == Symmetries((True, True), (False, False))
    one_apart = ones.copy()
    one_apart[0] = 2.0  # of W1, into the first unit of the first layer
    assert Symmetries.of(net, one_apart, np.zeros(k)) == Symmetries((False, True), (True, True))
    between = np.zeros(k)
    between[6] = 0.5  # of W2, from the first unit of one layer to the first of the next
    assert Symmetries.of(net, ones, between) == Symmetries((False, False), (False, False))
    relu = MLP(2, (2,), 1, activation="relu")
    assert Symmetries.of(relu) == Symmetries((True,), (False,))
    centre = np.full(k, 0.5)
    standard = StandardWeights(net, np.zeros(k, dtype=int), centre, np.zeros(1))
    assert Symmetries.of(standard) == Symmetries((True, True), (False, False))
    assert Symmetries.of(WithConstants(net, ["c"]), np.ones(k + 1), np.zeros(k + 1)) == Symmetries.of(net)
    assert Symmetries.of(NotAnMLP()) == Symmetries()


@pytest.mark.parametrize(("permutes", "flips"), [(True, False), (False, True), (False, False)])
def test_the_nearest_image_is_one_of_those_that_count(permutes, flips):
    net, those = MLP(2, (3,), 1), Symmetries((permutes,), (flips,))
    orders = list(itertools.permutations(range(3))) if permutes else [(0, 1, 2)]
    signs = list(itertools.product((1.0, -1.0), repeat=3)) if flips else [(1.0, 1.0, 1.0)]
    for seed in range(25):
        weights, reference = np.random.default_rng(seed).standard_normal((2, net.n_weights))
        incoming, bias, outgoing, last = weights[:6].reshape(2, 3), weights[6:9], weights[9:12], weights[12:]
        images = [
            np.concatenate([(incoming[:, order] * s).ravel(), bias[list(order)] * s, outgoing[list(order)] * s, last])
            for order in map(list, orders)
            for s in map(np.array, signs)
        ]
        expected = min(images, key=lambda image: ((image - reference) ** 2).sum())
        assert np.array_equal(nearest_image(net, weights, reference, those), expected)
        folded, _ = nearest_images(net, np.stack(images), reference, those)
        assert np.array_equal(folded, np.broadcast_to(expected, folded.shape))
        assert math.isclose(math.exp(log_symmetry_order(net, those)), len(images), rel_tol=1e-12)


@pytest.mark.parametrize(("activation", "hidden", "bias"), [("tanh", (3,), True), ("relu", (4, 2), False)])
def test_images_that_coincide_are_counted(activation, hidden, bias, rng):
    """Twins up to sign, an idle unit, and units of their own: 400 random images are all there are."""
    net = MLP(2, hidden, 1, activation=activation, bias=bias)
    weights = rng.standard_normal(net.n_weights)
    blocks = net.weight_blocks
    parts = [weights[place].reshape(block.shape) for place, block in zip(block_slices(blocks), blocks, strict=True)]
    incoming, outgoing = (parts[:2], parts[2]) if bias else (parts[:1], parts[1])
    sign = -1.0 if activation == "tanh" else 1.0
    for part in incoming:
        part[..., 1] = sign * part[..., 0]
        part[..., 2] = 0.0
    outgoing[1], outgoing[2] = sign * outgoing[0], 0.0
    images = {
        tuple(random_images(net, weights[None], np.random.RandomState(seed))[0].round(9) + 0.0) for seed in range(400)
    }
    reach = np.full(len(weights), 1e-9)
    coinciding = math.exp(log_coinciding(net, weights, reach, lambda image: np.allclose(image, weights)))
    assert round(coinciding) == (4 if activation == "tanh" else 2)
    assert len(images) == round(math.exp(log_symmetry_order(net)) / coinciding)
    assert log_coinciding(net, weights, reach, lambda image: False) == 0.0


def test_no_draws_are_folded_to_none():
    net = MLP(2, (2,), 1)
    assert canonicalize(net, np.empty((0, net.n_weights)), np.zeros(net.n_weights)).shape == (0, net.n_weights)
