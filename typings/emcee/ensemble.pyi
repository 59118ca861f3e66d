from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from emcee.moves import Move
from emcee.state import State
from numpy.typing import NDArray

class EnsembleSampler:
    def __init__(
        self,
        nwalkers: int,
        ndim: int,
        log_prob_fn: Callable[[NDArray[np.float64]], NDArray[np.float64]],
        moves: Move | list[Move] | None = ...,
        vectorize: bool = ...,
    ) -> None: ...
    def sample(
        self,
        initial_state: State | NDArray[np.float64],
        iterations: int = ...,
        store: bool = ...,
        skip_initial_state_check: bool = ...,
        **kwargs: Any,
    ) -> Iterator[State]: ...
