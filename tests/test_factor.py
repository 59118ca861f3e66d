import numpy as np
import pytest

from bayesnn.factor import CHOLESKY_RCOND_FLOOR, factor_gram, factor_rows

EPS = np.finfo(float).eps


@pytest.fixture
def rows(rng):
    return rng.standard_normal((40, 5))


@pytest.fixture(params=["gram", "rows"])
def factor(request, rows):
    return factor_gram(rows.T @ rows) if request.param == "gram" else factor_rows([rows], 5)


def with_condition(condition, k=5):
    """A symmetric matrix with unit diagonal whose triangular factor has about that condition number."""
    # 1 on the diagonal and c off it: eigenvalues 1 - c and 1 + (k - 1) c
    off = 1.0 - k / condition**2
    return np.full((k, k), off) + (1.0 - off) * np.eye(k)


def test_the_factor_squares_to_the_precision(factor, rows):
    assert np.allclose(factor.precision, rows.T @ rows, rtol=0, atol=1e-12 * np.abs(rows.T @ rows).max())
    assert np.array_equal(factor.upper, np.triu(factor.upper))
    assert np.all(np.diag(factor.upper) > 0)


def test_all_that_follows_from_the_factor_agrees_with_dense_algebra(factor, rows, rng):
    gram = rows.T @ rows
    covariance = np.linalg.inv(gram)
    g = rng.standard_normal((3, 5))
    assert factor.is_full_rank
    assert factor.size == factor.rank == 5
    assert np.allclose(factor.covariance, covariance, rtol=1e-11, atol=1e-15)
    assert np.allclose(factor.scale @ factor.scale.T, covariance, rtol=1e-11, atol=1e-15)
    assert np.isclose(factor.log_det, np.linalg.slogdet(gram)[1], rtol=1e-13, atol=0)
    assert np.allclose(factor.solve(g[0]), covariance @ g[0], rtol=1e-11, atol=1e-15)
    half = factor.half_solve(g)
    assert np.allclose((half**2).sum(axis=1), np.einsum("ni,ij,nj->n", g, covariance, g), rtol=1e-11)
    assert np.allclose(factor.half_solve(g[0]), half[0], rtol=1e-12)
    z = factor.whiten(g)
    assert np.allclose((z**2).sum(axis=1), np.einsum("ni,ij,nj->n", g, gram, g), rtol=1e-11)
    assert np.allclose(factor.color(z), g, rtol=0, atol=1e-12)


def test_half_solve_keeps_leading_axes(factor, rng):
    g = rng.standard_normal((2, 3, 5))
    assert factor.half_solve(g).shape == g.shape
    assert np.allclose(factor.half_solve(g)[1, 2], factor.half_solve(g[1, 2]), rtol=1e-12)


def test_blocks_of_rows_give_what_all_rows_give(rows):
    whole = factor_rows([rows], 5)
    for cuts in ([3], [1, 2, 39], [20, 20]):
        parts = factor_rows(iter(np.split(rows, cuts)), 5)
        assert np.allclose(parts.upper, whole.upper, rtol=0, atol=1e-13 * np.abs(whole.upper).max())
        assert parts.rank == 5


def test_both_ways_say_how_they_went(rows):
    assert factor_gram(rows.T @ rows).method == "cholesky"
    assert factor_rows([rows], 5).method == "qr"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda gram: gram - 1e3 * np.eye(5),
        lambda gram: np.outer(np.arange(1.0, 6.0), np.arange(1.0, 6.0)),
        lambda gram: np.zeros((5, 5)),
        lambda gram: np.where(np.eye(5) > 0, np.inf, gram),
        lambda gram: np.where(np.arange(5) == 2, np.nan, gram),
        lambda gram: gram * (np.arange(5) != 2) * (np.arange(5) != 2)[:, None],
    ],
    ids=["indefinite", "rank one", "zero", "infinite", "nan", "zero column"],
)
def test_a_gram_matrix_that_is_not_positive_definite_is_left_to_the_rows(spoil, rows):
    assert factor_gram(spoil(rows.T @ rows)) is None


def test_cholesky_gives_up_where_half_the_digits_would_go():
    # condition of R by the 1-norm estimate differs from the 2-norm's by at most k = 5
    limit = 1.0 / CHOLESKY_RCOND_FLOOR
    assert factor_gram(with_condition(limit / 25)) is not None
    assert factor_gram(with_condition(limit * 25)) is None


def test_nothing_is_ever_added_to_the_diagonal():
    gram = with_condition(3e3)
    factor = factor_gram(gram)
    # Cholesky is backward stable: error k * eps of the diagonal, far below any jitter
    assert np.abs(factor.precision - gram).max() <= 5 * EPS


@pytest.mark.parametrize("way", ["gram", "rows"])
def test_columns_in_odd_units_lose_no_digits(way, rows):
    units = np.array([1e8, 1.0, 1e-8, 1e4, 1e-4])
    plain = np.linalg.inv(rows.T @ rows)
    odd = rows * units
    factor = factor_gram(odd.T @ odd) if way == "gram" else factor_rows([odd], 5)
    assert factor is not None
    assert factor.rank == 5
    # entry by entry: the covariance in odd units is the plain one divided by them
    assert np.allclose(factor.covariance * units * units[:, None], plain, rtol=1e-10, atol=1e-14)


def test_qr_keeps_the_digits_that_the_gram_matrix_loses():
    # Läuchli's matrix: its Gram matrix is exactly singular in float64, yet its inverse is known in closed form
    e = 1e-9
    rows = np.array([[1.0, 1.0], [e, 0.0], [0.0, e]])
    assert factor_gram(rows.T @ rows) is None
    factor = factor_rows([rows], 2)
    assert factor.rank == 2
    exact = np.array([[1.0 + e**2, -1.0], [-1.0, 1.0 + e**2]]) / (e**2 * (2.0 + e**2))
    # condition sqrt(2) / e = 1.4e9, once (not squared) times eps is 3e-7; three rotations
    assert np.allclose(factor.covariance, exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("n_rows", [1, 3, 40])
@pytest.mark.parametrize("units", [np.ones(5), np.array([1e8, 1.0, 1e-8, 1e4, 1e-4])])
def test_rank_counts_independent_columns_whatever_their_units(n_rows, units, rng):
    rows = rng.standard_normal((n_rows, 5)) * units
    factor = factor_rows([rows], 5)
    assert factor.rank == min(n_rows, 5)
    assert factor.is_full_rank == (n_rows >= 5)
    assert factor.upper.shape == (5, 5)


@pytest.mark.parametrize("units", [1.0, 1e8])
def test_rank_sees_repeated_combined_and_empty_columns(rows, units):
    repeated = rows[:, [0, 1, 2, 3, 3]] * np.array([1.0, 1.0, 1.0, 1.0, units])
    combined = np.column_stack([rows[:, :3], rows[:, 0] + rows[:, 1], units * (rows[:, 1] - rows[:, 2])])
    empty = rows * np.array([1.0, 1.0, 0.0, 1.0, units])
    assert factor_rows([repeated], 5).rank == 4
    assert factor_rows([combined], 5).rank == 3
    assert factor_rows([empty], 5).rank == 4
    assert factor_rows([np.zeros((7, 5))], 5).rank == 0


def test_a_prior_makes_any_rows_full_rank(rows):
    deficient = rows[:, [0, 0, 1, 1, 2]]
    factor = factor_rows([deficient, np.sqrt(0.3) * np.eye(5)], 5)
    expected = np.linalg.inv(deficient.T @ deficient + 0.3 * np.eye(5))
    assert factor.is_full_rank
    assert np.allclose(factor.covariance, expected, rtol=1e-11, atol=1e-13)
