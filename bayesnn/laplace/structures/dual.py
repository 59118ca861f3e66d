"""Fewer rows of data than weights: the posterior in the space of the data."""

import numpy as np
from scipy.linalg import svd

from bayesnn.arrays import FloatArray
from bayesnn.laplace.structures.low_rank import LowRank, prior_root


def dual(rows: FloatArray, prior_precision: FloatArray) -> LowRank:
    r"""Build the exact precision :math:`P_0 + A'A` from `m` rows without a (k, k) matrix.

    The posterior is that of a Gaussian process with the tangent kernel :math:`A P_0^{-1} A'` (Khan et al. 2019,
    NeurIPS; Rasmussen & Williams 2006, eqs. 2.11 and 2.12), so `m` directions hold all the data say. They are the
    right singular vectors of :math:`A P_0^{-1/2}`, and its squared singular values are :class:`LowRank`'s eigenvalues:
    of rank `m` it is exact, and no structure of its own is needed. A Cholesky factor of the kernel, the usual way, is
    of the same order, :math:`O(m^2 k)`, but squares the condition number, takes the difference of two covariances for
    each prediction, and solves for each draw.

    Parameters
    ----------
    rows : ndarray (m, k)
        :math:`A = \Lambda^{1/2} B`, all rows of all outputs; meant for ``m < k``, right for any `m`.
    prior_precision : ndarray (k,)
        Diagonal of `P_0`, above 0.

    Returns
    -------
    LowRank
        With ``min(m, k)`` directions.

    Raises
    ------
    ArgumentError
        If the prior is flat along a weight.

    Examples
    --------
    >>> posterior = dual(np.array([[2.0, 0.0, 0.0]]), prior_precision=np.ones(3))
    >>> posterior.variance().tolist()
    [0.2, 1.0, 1.0]
    """
    _, singular, directions = svd(rows / prior_root(prior_precision), full_matrices=False)
    return LowRank(prior_precision, singular**2, np.ascontiguousarray(directions.T))
