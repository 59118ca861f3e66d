"""Where the temperatures of a ladder stand."""

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, finite_array, integer_at_least, positive_number
from bayesnn.errors import ArgumentError

# A pair that has hardly ever refused still has a distance.
LEAST_REJECTION = 1e-3
WANTS = "at least two numbers that fall from 1, all above 0"


def geometric_ladder(num_levels: int, hottest: float) -> FloatArray:
    """Return inverse temperatures (levels,) from 1 down to the hottest, in equal ratios.

    Raises
    ------
    ArgumentError
        If there are fewer than two, or the hottest is not between 0 and 1.

    Examples
    --------
    >>> geometric_ladder(3, 0.01)
    array([1.  , 0.1 , 0.01])
    """
    num_levels = integer_at_least("num_levels", num_levels, 2)
    if not positive_number("hottest", hottest) < 1.0:
        raise ArgumentError("hottest", describe(hottest), "an inverse temperature between 0 and 1")
    return np.geomspace(1.0, hottest, num_levels)


def checked_ladder(inverse_temperatures: ArrayLike) -> FloatArray:
    """Return inverse temperatures (levels,), or raise ArgumentError unless they fall from 1 and stay above 0."""
    ladder = finite_array("inverse_temperatures", inverse_temperatures, (1,), WANTS)
    if len(ladder) < 2 or ladder[0] != 1.0 or ladder[-1] <= 0.0 or np.any(np.diff(ladder) >= 0.0):
        raise ArgumentError("inverse_temperatures", describe(inverse_temperatures), WANTS)
    return ladder


def equal_rejection(inverse_temperatures: FloatArray, rejection: FloatArray) -> FloatArray:
    r"""Move the levels between the ends so that every pair refuses about as often.

    Rejection rates add up along a ladder to its communication barrier, whatever its levels (Syed, Bouchard-Côté,
    Deligiannidis & Doucet 2022, Non-reversible parallel tempering, JRSS B 84, theorem 2 and algorithm 2): equal parts
    of it are best.

    Parameters
    ----------
    inverse_temperatures : ndarray (levels,)
        From 1 down.
    rejection : ndarray (levels - 1,)
        Mean probability with which each pair of neighbours refused to change places.

    Returns
    -------
    ndarray (levels,)

    Examples
    --------
    >>> equal_rejection(np.array([1.0, 0.1, 0.01]), np.array([0.9, 0.3])).round(3)
    array([1.   , 0.215, 0.01 ])
    """
    barrier: FloatArray = np.concatenate([[0.0], np.cumsum(np.clip(rejection, LEAST_REJECTION, 1.0))])
    shares: FloatArray = np.arange(len(inverse_temperatures)) / len(rejection)
    wanted = float(barrier[-1]) * shares
    ladder = np.exp(np.interp(wanted, barrier, np.log(inverse_temperatures)))
    ladder[0], ladder[-1] = inverse_temperatures[0], inverse_temperatures[-1]
    return ladder
