import numpy as np
from emcee.model import Model
from emcee.state import State
from numpy.typing import NDArray

class Move:
    def propose(self, model: Model, state: State) -> tuple[State, NDArray[np.bool_]]: ...
    def update(self, old_state: State, new_state: State, accepted: NDArray[np.bool_]) -> State: ...
