"""Exact learning coefficients of linear networks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from bayesnn.checks import describe, integer_at_least
from bayesnn.errors import ArgumentError


@dataclass(frozen=True)
class ExactLearningCoefficient:
    r"""Learning coefficient and multiplicity, :math:`F_n = n L_n + \lambda \log n - (m - 1) \log\log n + O_p(1)`.

    Parameters
    ----------
    value : float
        :math:`\lambda`.
    multiplicity : int
        m.
    n_weights : int
        k: `k / 2` would be that of a posterior that becomes Gaussian.
    """

    value: float
    multiplicity: int
    n_weights: int

    @property
    def is_singular(self) -> bool:
        """Whether it is below `k / 2`."""
        return self.value < self.n_weights / 2.0


def learning_coefficient_exact(widths: Sequence[int], rank: int) -> ExactLearningCoefficient:
    r"""Learning coefficient of a plain linear network without biases whose truth is a matrix of a given rank.

    With :math:`M_i = H_i - r`, and of the widths the :math:`\ell + 1` smallest that balance each other,

    .. math:: \lambda = \frac{r (H_0 + H_L) - r^2}{2} + \frac{a(\ell - a)}{4\ell}
              - \frac{\ell - 1}{4\ell} \Big(\sum_i M_i\Big)^2 + \frac12 \sum_{i<j} M_i M_j, \qquad m = a(\ell - a) + 1,

    sums over these widths and :math:`a = \sum_i M_i - (\lceil \sum_i M_i / \ell \rceil - 1) \ell`.

    Parameters
    ----------
    widths : sequence of int
        From input to output, at least two.
    rank : int
        r, from 0 to the smallest width.

    Returns
    -------
    ExactLearningCoefficient

    Raises
    ------
    ArgumentError
        If `widths` are not at least two positive integers, or `rank` is above the smallest.

    References
    ----------
    Aoyagi & Watanabe (2005), Neural Networks 18, for two matrices; Aoyagi (2023), arXiv:2303.15739, for any number.

    Examples
    --------
    >>> learning_coefficient_exact((2, 1, 2), 0)
    ExactLearningCoefficient(value=1.0, multiplicity=2, n_weights=4)
    >>> learning_coefficient_exact((5, 4, 4, 5), 2).value
    10.0
    """
    wants = "a sequence of at least two widths such as (3, 2, 3), from input to output"
    if isinstance(widths, str) or not isinstance(widths, Sequence) or len(widths) < 2:  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
        raise ArgumentError("widths", describe(widths), wants)
    sizes = [integer_at_least("widths", width, 1) for width in widths]
    r = integer_at_least("rank", rank, 0)
    if r > min(sizes):
        raise ArgumentError(
            "rank", str(r), f"at most {min(sizes)}, the smallest width: no such network has a higher one"
        )
    balanced = _balanced(sorted(size - r for size in sizes))
    count, total = len(balanced) - 1, sum(balanced)
    a = total - (math.ceil(total / count) - 1) * count
    twice_pairs = total**2 - sum(m * m for m in balanced)
    value = (
        Fraction(r * (sizes[0] + sizes[-1]) - r * r, 2)
        + Fraction(a * (count - a) - (count - 1) * total**2, 4 * count)
        + Fraction(twice_pairs, 4)
    )
    n_weights = sum(i * j for i, j in pairwise(sizes))
    return ExactLearningCoefficient(float(value), a * (count - a) + 1, n_weights)


def _balanced(excess: list[int]) -> list[int]:
    """Return the smallest of the sorted excess widths whose sum is between `l` times their largest and the next."""
    for count in range(1, len(excess)):
        chosen, rest = excess[: count + 1], excess[count + 1 :]
        if sum(chosen) >= count * chosen[-1] and (not rest or sum(chosen) < count * rest[0]):
            return chosen
    raise AssertionError(f"Aoyagi's set exists for all widths: {excess}")
