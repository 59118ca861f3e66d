"""One seed in, independent named streams out."""

import zlib
from numbers import Integral

import numpy as np

from bayesnn.checks import describe
from bayesnn.errors import ArgumentError


def seed_sequence(seed: int, *purpose: str | int) -> np.random.SeedSequence:
    """Return the stream that belongs to `purpose` under `seed`.

    Streams are keyed, not drawn one after the other, so a new consumer never shifts the numbers of
    an old one, and any number of workers sees the same draws.

    Parameters
    ----------
    seed : int
        The user's seed, at least 0.
    *purpose : str or int
        Names and indices that tell streams apart.

    Returns
    -------
    numpy.random.SeedSequence

    Raises
    ------
    ArgumentError
        If `seed` is not an integer of at least 0.

    Examples
    --------
    >>> a = np.random.default_rng(seed_sequence(0, "starts", 3)).standard_normal()
    >>> b = np.random.default_rng(seed_sequence(0, "starts", 3)).standard_normal()
    >>> bool(a == b)
    True
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise ArgumentError("seed", describe(seed), "an integer of at least 0")
    keys = [zlib.crc32(p.encode()) if isinstance(p, str) else p for p in purpose]
    return np.random.SeedSequence(entropy=int(seed), spawn_key=keys)


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return a Generator on :func:`seed_sequence`."""
    return np.random.default_rng(seed_sequence(seed, *purpose))


def legacy_state(seed: int, *purpose: str | int) -> np.random.RandomState:
    """Return a RandomState on :func:`seed_sequence`, for emcee, which knows no Generator."""
    return np.random.RandomState(np.random.MT19937(seed_sequence(seed, *purpose)))
