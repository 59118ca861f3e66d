from typing import Any

import numpy as np
from numpy.typing import NDArray

class _ArrayStats:
    def rhat(
        self, ary: NDArray[np.float64], chain_axis: int = ..., draw_axis: int = ..., method: str = ...
    ) -> NDArray[np.float64]: ...
    def ess(
        self,
        ary: NDArray[np.float64],
        chain_axis: int = ...,
        draw_axis: int = ...,
        method: str = ...,
        relative: bool = ...,
        prob: Any = ...,
    ) -> NDArray[np.float64]: ...
    def psislw(
        self, ary: NDArray[np.float64], r_eff: float = ..., axis: int = ...
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...

array_stats: _ArrayStats
