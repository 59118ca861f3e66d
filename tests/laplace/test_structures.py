"""Every structure against dense algebra on a precision assembled here."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.linalg import block_diag

from bayesnn.errors import ArgumentError
from bayesnn.factor import factor_gram, factor_rows
from bayesnn.laplace.structures import (
    BlockDiagonal,
    Diagonal,
    Full,
    LastLayer,
    LowRank,
    dual,
    layer_slices,
    low_rank,
)
from bayesnn.models import MLP, WeightBlock

K = 9
PRIOR = np.array([0.3, 1.0, 2.5, 0.7, 1.2, 4.0, 0.5, 1.0, 0.9])
SLICES = (slice(0, 4), slice(4, 6), slice(6, 9))
NAMES = ("full", "full by QR", "diagonal", "block diagonal", "low rank", "dual", "last layer", "middle layer")


def data_rows(m, k=K, seed=5):
    return np.random.default_rng(seed).standard_normal((m, k))


def orthonormal(k, r, seed=6):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((k, r)))[0]


def build(name):
    """A structure, the precision it stands for (k, k), and which weights are free."""
    rows = data_rows(20)
    dense = rows.T @ rows + np.diag(PRIOR)
    free = np.ones(K, dtype=bool)
    if name == "full":
        return Full(factor_gram(dense)), dense, free
    if name == "full by QR":
        return Full(factor_rows([rows, np.diag(np.sqrt(PRIOR))], K)), dense, free
    if name == "diagonal":
        return Diagonal(np.diag(dense)), np.diag(np.diag(dense)), free
    if name == "block diagonal":
        blocks = [dense[place, place] for place in SLICES]
        return BlockDiagonal(tuple(factor_gram(block) for block in blocks), SLICES), block_diag(*blocks), free
    if name == "low rank":
        root, directions, eigenvalues = np.diag(np.sqrt(PRIOR)), orthonormal(K, 3), np.array([30.0, 4.0, 0.5])
        update = directions @ np.diag(eigenvalues) @ directions.T
        return LowRank(PRIOR, eigenvalues, directions), root @ (np.eye(K) + update) @ root, free
    if name == "dual":
        few = rows[:5]
        return dual(few, PRIOR), few.T @ few + np.diag(PRIOR), free
    place = SLICES[2] if name == "last layer" else SLICES[1]
    free[:] = False
    free[place] = True
    return LastLayer(factor_gram(dense[place, place]), place, K), np.where(np.outer(free, free), dense, 0.0), free


@pytest.fixture(params=NAMES)
def case(request):
    structure, dense, free = build(request.param)
    covariance = np.zeros((K, K))
    covariance[np.ix_(free, free)] = np.linalg.inv(dense[np.ix_(free, free)])
    return SimpleNamespace(structure=structure, precision=dense, covariance=covariance, free=free)


def assert_close(found, expected, digits=1e-11):
    """Entry by entry up to the largest entry: cancellation within one array is not the structure's fault."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= digits * np.abs(expected).max()


def test_sizes_and_log_determinant(case):
    assert case.structure.size == K
    assert case.structure.n_free == case.free.sum()
    expected = np.linalg.slogdet(case.precision[np.ix_(case.free, case.free)])[1]
    assert isinstance(case.structure.log_det, float)
    assert np.isclose(case.structure.log_det, expected, rtol=1e-12, atol=0)


def test_dense_matrices(case):
    assert_close(case.structure.precision(), case.precision, 1e-13)
    assert_close(case.structure.covariance(), case.covariance)
    assert_close(case.structure.variance(), np.diag(case.covariance))
    assert np.array_equal(case.structure.covariance(), case.structure.covariance().T)


def test_squared_length_over_any_leading_axes(case, rng):
    deviations = rng.standard_normal((2, 3, K)) * case.free
    expected = np.einsum("...i,ij,...j->...", deviations, case.precision, deviations)
    assert_close(case.structure.squared_length(deviations), expected, 1e-13)
    assert_close(case.structure.squared_length(deviations[1, 2]), expected[1, 2], 1e-13)


def test_covariances_of_linear_functions(case, rng):
    rows = rng.standard_normal((7, K))
    found = case.structure.functional_covariance(rows)
    assert_close(found, rows @ case.covariance @ rows.T)
    assert np.array_equal(found, found.T)
    jacobian = rng.standard_normal((6, 2, K))
    expected = np.einsum("nai,ij,nbj->nab", jacobian, case.covariance, jacobian)
    assert_close(case.structure.row_covariance(jacobian), expected)
    assert_close(case.structure.row_covariance(jacobian[:, :1]), expected[:, :1, :1])
    assert case.structure.row_covariance(jacobian[:0]).shape == (0, 2, 2)


def test_covariance_of_draws(case):
    n = 100_000
    draws = case.structure.draw(n, np.random.default_rng(3))
    assert draws.shape == (n, K)
    assert np.all(draws[:, ~case.free] == 0.0)
    assert np.isfinite(case.structure.squared_length(draws)).all()
    variance = np.diag(case.covariance)
    assert np.all(np.abs(draws.mean(axis=0)) <= 5 * np.sqrt(variance / n))
    error = np.sqrt((np.outer(variance, variance) + case.covariance**2) / n)
    assert np.all(np.abs(draws.T @ draws / n - case.covariance) <= 5 * error)


def test_draws_depend_on_the_generator_alone(case):
    first, again, other = (case.structure.draw(4, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.linalg.matrix_rank(first) == min(4, case.free.sum())


@pytest.mark.parametrize("name", NAMES[:6])
def test_dense_factor(name):
    structure, dense, _ = build(name)
    factor = structure.factor()
    assert factor.is_full_rank
    assert np.array_equal(factor.upper, np.triu(factor.upper))
    assert_close(factor.upper.T @ factor.upper, dense, 1e-13)


def test_factor_of_blocks_says_how_it_was_found():
    blocks = (factor_gram(np.eye(1)), factor_rows([np.eye(2)], 2))
    assert BlockDiagonal(blocks, (slice(0, 1), slice(1, 3))).factor().method == "qr"
    assert BlockDiagonal(blocks[:1], (slice(0, 1),)).factor().method == "cholesky"


def test_a_fixed_weight_cannot_deviate():
    structure, _, free = build("middle layer")
    deviations = np.stack([free.astype(float), np.ones(K), np.where(free, 0.0, np.nan)])
    assert np.array_equal(np.isinf(structure.squared_length(deviations)), [False, True, True])
    with pytest.raises(ArgumentError, match="structure: got 'last_layer'"):
        structure.factor()


def test_dual_is_the_full_precision_with_more_rows_than_weights_too():
    for m in (1, 4, K, 25):
        rows = data_rows(m)
        exact, found = Full(factor_rows([rows, np.diag(np.sqrt(PRIOR))], K)), dual(rows, PRIOR)
        assert found.directions.shape == (K, min(m, K))
        assert np.isclose(found.log_det, exact.log_det, rtol=1e-13, atol=0)
        assert_close(found.covariance(), exact.covariance(), 1e-12)


def test_what_the_data_determine_well_keeps_its_digits():
    """The data say 1e12 times what the prior says: prior less update would leave four digits."""
    k = 300  # more weights than are taken at a time
    structure = LowRank(np.full(k, 2.0), np.full(k, 1e12), orthonormal(k, k))
    expected = 0.5 / (1.0 + 1e12)
    assert np.allclose(structure.variance(), expected, rtol=1e-10, atol=0)
    assert_close(structure.covariance(), expected * np.eye(k), 1e-10)
    assert_close(structure.row_covariance(np.eye(k)[:, None]), np.full((k, 1, 1), expected), 1e-10)


def test_a_badly_conditioned_low_rank_precision_is_factored_by_qr():
    directions = orthonormal(K, 2)
    structure = LowRank(PRIOR, np.array([1e13, 1e13]), directions)
    factor = structure.factor()
    assert factor.method == "qr"
    assert factor.is_full_rank
    assert np.isclose(factor.log_det, structure.log_det, rtol=1e-8, atol=0)


@pytest.mark.parametrize("rank", [1, 5, 28, 29, 30, 99])
def test_low_rank_is_the_truncation_of_the_whitened_eigenbasis(rank):
    k = 30
    rows, prior = data_rows(45, k), np.linspace(0.2, 3.0, k)
    root = np.sqrt(prior)
    widths = []

    def product(columns):
        widths.append(columns.shape[1])
        return rows.T @ (rows @ columns)

    found = low_rank(product, prior, rank)
    values, vectors = np.linalg.eigh(rows.T @ rows / np.outer(root, root))
    values, vectors = values[::-1][:rank], vectors[:, ::-1][:, :rank]
    dense = np.outer(root, root) * (np.eye(k) + vectors @ np.diag(values) @ vectors.T)
    assert np.allclose(found.eigenvalues, values, rtol=1e-12)
    assert_close(found.directions.T @ found.directions, np.eye(min(rank, k)), 1e-13)
    assert_close(found.precision(), dense)
    assert_close(found.covariance(), np.linalg.inv(dense))
    assert np.isclose(found.log_det, np.linalg.slogdet(dense)[1], rtol=1e-12, atol=0)
    assert max(widths) == (1 if rank < k - 1 else k)


def test_low_rank_at_full_rank_is_the_full_precision():
    rows = data_rows(20)
    exact = Full(factor_gram(rows.T @ rows + np.diag(PRIOR)))
    found = low_rank(lambda columns: rows.T @ (rows @ columns), PRIOR, rank=K)
    assert np.isclose(found.log_det, exact.log_det, rtol=1e-13, atol=0)
    assert_close(found.covariance(), exact.covariance())


@pytest.mark.parametrize("scale", [1.0, 1e6])
@pytest.mark.parametrize("rank", [8, 29])
def test_directions_beyond_those_the_data_inform_are_left_out(scale, rank):
    rows, prior = data_rows(3, 30) * scale, np.linspace(0.2, 3.0, 30)
    found, again = (low_rank(lambda columns: rows.T @ (rows @ columns), prior, rank) for _ in range(2))
    assert np.all(found.eigenvalues > 0)
    assert np.isclose(found.log_det, dual(rows, prior).log_det, rtol=1e-9, atol=0)
    assert np.array_equal(found.directions, again.directions)


@pytest.mark.parametrize("rank", [3, K])
def test_without_data_the_prior_stays(rank, rng):
    found = low_rank(np.zeros_like, PRIOR, rank)
    assert found.eigenvalues.size == 0
    assert_close(found.covariance(), np.diag(1.0 / PRIOR), 1e-15)
    assert_close(found.variance(), 1.0 / PRIOR, 1e-15)
    assert found.row_covariance(rng.standard_normal((4, 2, K))).shape == (4, 2, 2)
    assert_close(found.factor().upper, np.diag(np.sqrt(PRIOR)), 1e-15)


@pytest.mark.parametrize("rank", [0, -1, 2.5, True, "all"])
def test_low_rank_wants_a_positive_integer(rank):
    with pytest.raises(ArgumentError, match=r"^rank: got .*, wants an integer of at least 1$"):
        low_rank(np.zeros_like, PRIOR, rank)


def test_a_flat_prior_is_refused_where_its_units_are_needed():
    flat = np.where(np.arange(K) < 2, 0.0, 1.0)
    for build_flat in (lambda: dual(data_rows(3), flat), lambda: low_rank(np.zeros_like, flat, 2)):
        with pytest.raises(ArgumentError, match=r"^prior: got precision 0 for 2 of 9 weights, wants a NormalPrior"):
            build_flat()


def test_a_singular_precision_is_refused():
    singular, regular = factor_rows([data_rows(2, 3)], 3), factor_gram(np.eye(2))
    for build_singular in (
        lambda: Full(singular),
        lambda: BlockDiagonal((regular, singular), (slice(0, 2), slice(2, 5))),
        lambda: LastLayer(singular, slice(2, 5), 5),
    ):
        with pytest.raises(ArgumentError, match=r"^prior: got a precision of rank 2 for 3 weights, wants"):
            build_singular()


@pytest.mark.parametrize("bad", [0.0, -0.5, np.nan])
def test_a_diagonal_has_to_be_positive(bad):
    with pytest.raises(ArgumentError, match=rf"^prior: got a posterior precision of {bad:.3g} for weight 1, wants"):
        Diagonal(np.array([1.0, bad, 2.0]))


def test_layers_are_found_in_the_flat_vector():
    model = MLP(3, (4, 2), 2)
    assert layer_slices(model.weight_blocks) == (slice(0, 16), slice(16, 26), slice(26, 32))
    assert layer_slices(MLP(3, (), 1, bias=False).weight_blocks) == (slice(0, 3),)


def test_a_layer_in_two_places_is_refused():
    blocks = [WeightBlock(name, (2,), ("i",), layer) for name, layer in (("W1", 0), ("W2", 1), ("b1", 0))]
    with pytest.raises(ArgumentError, match=r"^model: got weight blocks of layers \[0, 1, 0\]"):
        layer_slices(blocks)
