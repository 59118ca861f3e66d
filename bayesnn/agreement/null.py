"""What chance alone does to distances: null bands at the chains' effective sample sizes."""

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri, ndtri

from bayesnn.arrays import FloatArray

# Family-wise error of every null band.
BAND_LEVEL = 0.05


@dataclass(frozen=True)
class Distance:
    """One distance between draws and the Gaussian, 0 if the draws are the Gaussian's and infinitely many.

    Parameters
    ----------
    value : float
        As it is seen.
    noise : float
        Root mean square of what is seen where there is no distance: what chance adds, in squares.
    band : float
        What is exceeded with 5 % probability where there is no distance.
    """

    value: float
    noise: float
    band: float

    @property
    def debiased(self) -> float:
        """The distance without what chance adds, 0 if that is all there is.

        Examples
        --------
        >>> Distance(value=5.0, noise=4.0, band=6.0).debiased, Distance(3.0, 4.0, 6.0).debiased
        (3.0, 0.0)
        """
        return float(np.sqrt(max(self.value**2 - self.noise**2, 0.0)))


def bonferroni(count: int) -> float:
    """Return the normal quantile of a band over `count` entries."""
    return float(ndtri(1.0 - 0.5 * BAND_LEVEL / count))


def norm_of_errors(errors: FloatArray, variances: FloatArray, degrees: FloatArray | float = 1.0) -> Distance:
    r"""Return the Euclidean norm of errors that chance makes normal, with means 0 and given variances.

    The square is distributed as :math:`\sum_e v_e \chi^2`, of which mean and variance are matched by a multiple of one
    chi-squared (Satterthwaite 1946, Biometrics Bulletin 2): exact where the variances are equal.

    Parameters
    ----------
    errors : ndarray (e,)
        What is seen.
    variances : ndarray (v,)
        Of the errors; fewer, where they stand for many.
    degrees : ndarray (v,) or float
        How many errors each variance stands for.

    Returns
    -------
    Distance

    Examples
    --------
    >>> found = norm_of_errors(np.array([3.0, 4.0]), np.ones(2))
    >>> found.value, round(found.noise**2), round(found.band**2, 2)
    (5.0, 2, 5.99)
    """
    total = float(np.sum(degrees * variances))
    squares = float(np.sum(degrees * variances**2))
    if not total > 0.0:
        return Distance(float(np.linalg.norm(errors)), 0.0, 0.0)
    band = squares / total * float(chdtri(total**2 / squares, BAND_LEVEL))
    return Distance(float(np.linalg.norm(errors)), float(np.sqrt(total)), float(np.sqrt(band)))
