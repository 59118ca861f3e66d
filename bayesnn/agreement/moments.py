"""Moments of whitened draws against those of a standard normal, with what chance makes of them."""

from itertools import combinations_with_replacement

import numpy as np
from scipy.linalg import solve_triangular

from bayesnn.agreement.null import BAND_LEVEL, Distance, bonferroni, norm_of_errors
from bayesnn.arrays import FloatArray, IntArray
from bayesnn.chain_statistics import Layout

# Of many products of coordinates so many, drawn at random, tell what chance does to all.
MOST_PRODUCTS = 200
# Rows of which products of all pairs of coordinates are held at once, in numbers.
BLOCK = 2_000_000
# The tensor of so many third cumulants takes 512 MiB.
LARGEST_TENSOR = 2**26
# Root mean square of Kolmogorov's distribution.
KOLMOGOROV_RMS = float(np.pi / np.sqrt(12.0))
UNKNOWN = Distance(np.nan, np.nan, np.nan)


def mean_distance(z: FloatArray, layout: Layout) -> Distance:
    """Length of the mean of whitened draws (chains, draws, k)."""
    return norm_of_errors(z.mean(axis=(0, 1)), 1.0 / layout.ess(z, "mean"))


def covariance_distance(z: FloatArray, layout: Layout, random: np.random.Generator) -> Distance:
    r"""Frobenius distance of the covariance of whitened draws (chains, draws, k) from the identity.

    Of `S` independent draws its square has mean :math:`k (k + 1) / S`: every variance adds ``2 / S``, every covariance
    twice ``1 / S``.
    """
    k = z.shape[-1]
    flat = z.reshape(-1, k)
    error = np.cov(flat, rowvar=False).reshape(k, k) - np.eye(k)
    centred = z - flat.mean(axis=0)
    # The square of a covariance counts twice: both kinds have the variance 2 / S, and one degree an entry.
    variances = 2.0 / layout.ess(centred**2, "mean")
    degrees = np.ones(k)
    pairs = np.array([pair for pair in combinations_with_replacement(range(k), 2) if pair[0] < pair[1]], dtype=int)
    if len(pairs):
        some = _some(pairs, random)
        sizes = layout.ess(centred[..., some[:, 0]] * centred[..., some[:, 1]], "mean")
        variances = np.append(variances, 2.0 / sizes)
        degrees = np.append(degrees, np.full(len(some), len(pairs) / len(some)))
    return norm_of_errors(error.ravel(), variances, degrees)


def skewness_distance(z: FloatArray, layout: Layout, random: np.random.Generator) -> Distance:
    r"""Root of Mardia's skewness of draws (chains, draws, k): the length of the tensor of third cumulants.

    :math:`b_1 = \overline{(z_s' z_t)^3} = |\kappa_3|^2` over pairs of draws standardised by their own mean and
    covariance; ``S b1 / 6`` of `S` independent normal ones is chi-squared with ``k (k + 1)(k + 2) / 6`` degrees of
    freedom (Mardia 1970, Biometrika 57, 519).
    """
    standard = _standardised(z)
    if standard is None:
        return UNKNOWN
    flat = standard.reshape(-1, standard.shape[-1])
    k = flat.shape[1]
    length = _length_of_third(flat) if k * k * (k + 1) // 2 <= LARGEST_TENSOR else _length_by_pairs(flat)
    triples = random.integers(0, k, size=(MOST_PRODUCTS, 3)) if k**3 > MOST_PRODUCTS else _all_triples(k)
    a, b, c = (standard[..., triples[:, i]] for i in range(3))
    # Of the standardised draws nothing linear is left: the third Hermite polynomials are what varies.
    same = [np.equal(triples[:, i], triples[:, j]).astype(float) for i, j in ((0, 1), (0, 2), (1, 2))]
    hermite = a * b * c - same[0] * c - same[1] * b - same[2] * a
    # 6, 2 or 1 for three, two or no equal indices
    spread = 1.0 + same[0] + same[1] + same[2] + 2.0 * same[0] * same[1]
    mean_variance = float(np.mean(spread / layout.ess(hermite, "mean")))
    total, degrees = k**3 * mean_variance, k * (k + 1) * (k + 2) / 6.0
    return norm_of_errors(np.array([length]), np.array([total / degrees]), degrees)


def _length_of_third(flat: FloatArray) -> float:
    """Length of the mean of third products of draws (s, k), by the tensor."""
    size, k = flat.shape
    first, second = np.triu_indices(k)
    third = np.zeros((k, len(first)))
    step = max(1, BLOCK // len(first))
    for begin in range(0, size, step):
        rows = flat[begin : begin + step]
        third += rows.T @ (rows[:, first] * rows[:, second])
    return float(np.linalg.norm(third * np.sqrt(np.where(first == second, 1.0, 2.0)))) / size


def _length_by_pairs(flat: FloatArray) -> float:
    """Return the same by all pairs of draws: where the tensor would be larger than their table."""
    size, cubes = len(flat), 0.0
    step = max(1, BLOCK // size)
    for begin in range(0, size, step):
        products = flat[begin : begin + step] @ flat.T
        cubes += float(np.einsum("ij,ij,ij->", products, products, products))
    return float(np.sqrt(max(cubes, 0.0))) / size


def kurtosis_distance(z: FloatArray, layout: Layout) -> Distance:
    r"""Mardia's kurtosis of draws (chains, draws, k), less a normal's, as a share of that.

    :math:`b_2 = \overline{|z|^4}` of draws standardised by their own mean and covariance has mean
    ``k (k + 2)(S - 1)/(S + 1)`` and standard deviation ``sqrt(8 k (k + 2) / S)`` if they are normal (Mardia 1970).
    """
    standard = _standardised(z)
    if standard is None:
        return UNKNOWN
    k = standard.shape[-1]
    squares = (standard**2).sum(axis=-1)
    # Standardising takes out what the squares themselves do.
    effective = float(layout.ess(squares**2 - 2.0 * (k + 2) * squares, "mean"))
    normal = k * (k + 2.0)
    excess = float(np.mean(squares**2)) - normal * (effective - 1.0) / (effective + 1.0)
    noise = np.sqrt(8.0 * normal / effective) / normal
    return Distance(abs(excess) / normal, float(noise), float(noise * bonferroni(1)))


def chi_squared_distance(z: FloatArray, layout: Layout) -> Distance:
    """Kolmogorov-Smirnov distance of the squared lengths of draws (chains, draws, k) from chi-squared with `k`."""
    from scipy.stats import chi2, kstest, kstwobign

    squares = (z**2).sum(axis=-1)
    scale = 1.0 / np.sqrt(float(layout.ess(squares)))
    value = float(kstest(squares.ravel(), chi2(z.shape[-1]).cdf).statistic)
    return Distance(value, KOLMOGOROV_RMS * scale, float(kstwobign.isf(BAND_LEVEL)) * scale)


def _standardised(z: FloatArray) -> FloatArray | None:
    """Give draws (chains, draws, k) mean 0 and covariance I; None where they lie in a plane, as if none ever moved."""
    flat = z.reshape(-1, z.shape[-1])
    centred = flat - flat.mean(axis=0)
    try:
        lower = np.linalg.cholesky(centred.T @ centred / len(flat))
    except np.linalg.LinAlgError:
        return None
    return solve_triangular(lower, centred.T, lower=True).T.reshape(z.shape)


def _some(rows: IntArray, random: np.random.Generator) -> IntArray:
    return rows if len(rows) <= MOST_PRODUCTS else random.permutation(rows)[:MOST_PRODUCTS]


def _all_triples(k: int) -> IntArray:
    return np.stack(np.meshgrid(*[np.arange(k)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
