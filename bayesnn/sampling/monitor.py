"""Function values by which chains are judged."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import FloatArray, IntArray, spread_indices
from bayesnn.posterior import Posterior

# Training rows at which function values of every draw are kept, for R-hat and ESS in function space.
MONITORED_ROWS = 64


@dataclass(frozen=True)
class Monitor:
    """The network's outputs at some training rows, spread over all.

    Parameters
    ----------
    posterior : Posterior
        Whose network.
    rows : ndarray of int (m,)
        Which rows.
    x : ndarray (m, d)
        Their inputs.
    """

    posterior: Posterior
    rows: IntArray
    x: FloatArray

    @staticmethod
    def of(posterior: Posterior) -> "Monitor":
        """Choose the rows."""
        if posterior.n_rows == 0:  # the parameters of a LogDensity stand for function values
            return Monitor(posterior, np.zeros(1, dtype=np.int64), np.zeros((1, 0)))
        rows = spread_indices(posterior.n_rows, MONITORED_ROWS)
        # Rows from outside memory as the density has them: numbers of another kind would be reckoned with otherwise.
        return Monitor(posterior, rows, posterior.model.check_inputs(np.asarray(posterior.x[rows])))

    def outputs(self, weights: FloatArray) -> FloatArray:
        """Return outputs (..., m, out) at weights (..., k)."""
        return self.posterior.outputs(weights, self.x)

    def values(self, weights: FloatArray) -> FloatArray:
        """Return the same in one row for each weight vector, and noise and prior precisions that are inferred."""
        inferred = weights[:, self.posterior.network.n_weights :]
        return np.concatenate([self.outputs(weights).reshape(len(weights), -1), inferred], axis=1)
