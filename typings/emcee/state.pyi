from typing import Any

import numpy as np
from numpy.typing import NDArray

class State:
    coords: NDArray[np.float64]
    log_prob: NDArray[np.float64]
    blobs: Any
    random_state: Any
    def __init__(
        self,
        coords: NDArray[np.float64] | State,
        log_prob: NDArray[np.float64] | None = ...,
        blobs: Any = ...,
        random_state: Any = ...,
        copy: bool = ...,
    ) -> None: ...
