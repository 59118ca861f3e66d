"""What chains have in common, for the statistics of their convergence."""

import numpy as np

from bayesnn.arrays import FloatArray, IntArray


def chain_labels(points: FloatArray, ensemble: IntArray | None) -> dict[str, tuple[str, IntArray]]:
    """Return coordinates over the dimension `chain`.

    Parameters
    ----------
    points : ndarray (chains, k)
        Where chains began.
    ensemble : ndarray of int (chains,) or None
        The interacting ensemble of each walker.

    Returns
    -------
    dict of str to variable
        `ensemble`, if there is any, and `superchain`, where equally many independent chains began at each of several
        places.

    Examples
    --------
    >>> starts = np.repeat(np.eye(2), 2, axis=0)
    >>> chain_labels(starts, None)["superchain"][1].tolist()
    [1, 1, 0, 0]
    >>> chain_labels(np.eye(4), None)
    {}
    """
    if ensemble is not None:
        return {"ensemble": ("chain", ensemble)}
    _, places, counts = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    if 1 < len(counts) < len(points) and np.ptp(counts) == 0:
        return {"superchain": ("chain", places.ravel().astype(np.int64))}
    return {}
