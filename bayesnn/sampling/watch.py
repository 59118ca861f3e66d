"""How far the draws have come, for the progress bar."""

from collections.abc import Callable

import numpy as np

from bayesnn.arrays import FloatArray, IntArray, spread_indices
from bayesnn.chain_statistics import Layout
from bayesnn.sampling.chains import Recorder

# Function values looked at, and by how much the draws must grow before they are looked at again: all looks together
# then cost a few times what the last one costs.
FUNCTIONS, GROWTH, FIRST_LOOK = 16, 1.25, 8


class Watch:
    """The worst bulk ESS over function values and log density, from time to time.

    Parameters
    ----------
    functions : callable
        Function values (chains, m) at weights (chains, k).
    is_shown : bool
        Whether anybody looks; if not, nothing is computed.
    ensemble : ndarray of int (chains,), optional
        Interacting ensemble of each walker.
    """

    def __init__(
        self, functions: Callable[[FloatArray], FloatArray], is_shown: bool, ensemble: IntArray | None = None
    ) -> None:
        self._ensemble = ensemble
        self._functions = functions
        self._is_shown = is_shown
        self._values: list[FloatArray] = []
        self._next = FIRST_LOOK
        self._worst: float | None = None

    def figures(self, record: Recorder) -> dict[str, float]:
        """Return ``{"worst_ess": ...}``, or nothing before the first look."""
        if not self._is_shown:
            return {}
        if record.count >= self._next:
            self._next = int(np.ceil(GROWTH * record.count))
            self._worst = self._look(record)
        return {} if self._worst is None else {"worst_ess": self._worst}

    def _look(self, record: Recorder) -> float:
        weights = record.arrays["weights"]
        for draw in range(len(self._values), record.count):
            values = self._functions(weights[:, draw])
            self._values.append(values[:, spread_indices(values.shape[1], FUNCTIONS)])
        log_density = record.arrays["log_density"][:, : record.count, None]
        values = np.concatenate([np.stack(self._values, axis=1), log_density], axis=2)
        return float(Layout(len(values), record.count, self._ensemble).ess(values).min())
