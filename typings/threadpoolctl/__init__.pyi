from contextlib import AbstractContextManager
from typing import Literal

class ThreadpoolController:
    def limit(self, *, limits: int, user_api: Literal["blas", "openmp"]) -> AbstractContextManager[None]: ...
