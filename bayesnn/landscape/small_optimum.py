"""The global optimum of a linear residual network near zero, by splitting a polar decomposition."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import schur

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import finite_array, integer_at_least
from bayesnn.errors import ArgumentError
from bayesnn.models import DeepLinear

# A singular value below this share of the largest is zero up to rounding.
SINGULAR = 1e-13
# A product within this share of the matrix, for each dimension, is the matrix up to rounding.
ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class SmallOptimum:
    r"""A global optimum of a linear residual network near zero.

    Parameters
    ----------
    weights : ndarray (k,)
        Its matrices, for ``DeepLinear((d,) * (l + 1), residual=True)``.
    largest_norm : float
        :math:`\max_i |A_i|_2`.
    bound : float
        :math:`2 (\sqrt\pi + \sqrt{3\gamma})^2 / l`, which it is no larger than if :math:`l \ge 3\gamma`; NaN where the
        network has fewer layers.
    gamma : float
        :math:`\max(|\log \sigma_{\max}(R)|, |\log \sigma_{\min}(R)|)`.
    n_rotations : int
        Layers that rotate; the others stretch.
    """

    weights: FloatArray
    largest_norm: float
    bound: float
    gamma: float
    n_rotations: int


def small_optimum(target: ArrayLike, n_layers: int) -> SmallOptimum:
    r"""Factor a matrix into `l` matrices near the identity, by splitting its polar decomposition.

    :math:`R = UP`, and so :math:`R = (U^{1/k})^k (P^{1/(l-k)})^{l-k}`, with the `k` whose largest
    :math:`|A_i|_2` is smallest (Hardt & Ma 2016, theorem 2.1 and its proof).

    Parameters
    ----------
    target : array_like (d, d)
        R, of positive determinant.
    n_layers : int
        l, at least 1; at least 2 unless R is a rotation, or symmetric and positive.

    Returns
    -------
    SmallOptimum

    Raises
    ------
    ArgumentError
        If R is not square or singular, or its determinant negative: then no factors are within distance 1 of the
        identity, which is connected to matrices of positive determinant alone.

    Examples
    --------
    >>> found = small_optimum([[0.0, -2.0], [0.5, 0.0]], 16)
    >>> net = DeepLinear((2,) * 17, residual=True)
    >>> net.matrix(found.weights).T.round(12) + 0.0
    array([[ 0. , -2. ],
           [ 0.5,  0. ]])
    >>> found.largest_norm < found.bound
    True
    """
    matrix = finite_array("target", target, (2,), "a square matrix")
    layers = integer_at_least("n_layers", n_layers, 1)
    d = len(matrix)
    if matrix.shape != (d, d):
        raise ArgumentError("target", f"shape {matrix.shape}", "a square matrix")
    left, singular, right = np.linalg.svd(matrix)
    if singular[-1] <= SINGULAR * singular[0]:
        raise ArgumentError("target", "a singular matrix", "one of positive determinant")
    if np.linalg.det(left) * np.linalg.det(right) < 0.0:
        wants = "one above 0: with all |A_i| below 1 the product of the (I + A_i) has a positive determinant"
        raise ArgumentError("target", f"a determinant of {np.linalg.det(matrix):.3g}", wants)
    rotation = left @ right
    choices: list[tuple[float, int, FloatArray, FloatArray]] = []
    for k in range(layers + 1):
        turn = rotation if k == 0 else _root_of_rotation(rotation, k)
        stretch = (right.T * singular ** (1.0 / max(layers - k, 1))) @ right
        # no layer to turn with, or none to stretch with: only for what needs none
        alone = (right.T * singular) @ right if k == 0 else rotation
        if 0 < k < layers or np.linalg.norm(alone - matrix) <= ROUNDING * d * np.linalg.norm(matrix):
            norms = [float(np.linalg.norm(part - np.eye(d), 2)) for part in _parts(turn, stretch, k, layers)]
            choices.append((max(norms), k, turn, stretch))
    if not choices:
        raise ArgumentError("n_layers", str(layers), "at least 2 for a matrix that rotates and stretches")
    norm, k, turn, stretch = min(choices, key=lambda choice: choice[0])
    model = DeepLinear((d,) * (layers + 1), residual=True)
    # ours are transposed: x (I + A_1)' first
    weights = model.flat([(part - np.eye(d)).T for part in _parts(turn, stretch, k, layers)])
    gamma = float(np.abs(np.log(singular)).max())
    bound = 2.0 * (np.sqrt(np.pi) + np.sqrt(3.0 * gamma)) ** 2 / layers if layers >= 3.0 * gamma else np.nan
    return SmallOptimum(weights, norm, float(bound), gamma, k)


def _parts(turn: FloatArray, stretch: FloatArray, k: int, layers: int) -> list[FloatArray]:
    """Factors, the first to be applied first: R = turn^k stretch^(l-k)."""
    return [stretch] * (layers - k) + [turn] * k


def _root_of_rotation(rotation: FloatArray, k: int) -> FloatArray:
    """Return the k-th root of a rotation that turns by a k-th of each angle, up to pi."""
    form, basis = schur(rotation, output="real")
    d, root = len(form), np.eye(len(form))
    flips: list[int] = []
    i = 0
    while i < d:
        if i + 1 < d and abs(form[i + 1, i]) > np.finfo(float).eps * d:
            angle = float(np.arctan2(form[i + 1, i], form[i, i])) / k
            root[i : i + 2, i : i + 2] = _turn(angle)
            i += 2
            continue
        if form[i, i] < 0.0:
            flips.append(i)
        i += 1
    for one, other in zip(flips[::2], flips[1::2], strict=True):  # an even number: the determinant is positive
        root[np.ix_([one, other], [one, other])] = _turn(np.pi / k)
    return basis @ root @ basis.T


def _turn(angle: float) -> FloatArray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
