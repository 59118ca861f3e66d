from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

class Model(NamedTuple):
    log_prob_fn: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    compute_log_prob_fn: Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], Any]]
    map_fn: Callable[..., Any]
    random: np.random.RandomState
