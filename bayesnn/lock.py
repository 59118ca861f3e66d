"""Locks between processes."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where no lock is let go by itself when its holder is killed
    fcntl = None


class Lock:
    """A file held by one process at a time, and let go when that process ends, however it ends.

    Parameters
    ----------
    path : pathlib.Path
        The file; made if it is missing.

    Raises
    ------
    BlockingIOError
        If another holder has it.
    OSError
        If the file cannot be made.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "lock"
    >>> lock = Lock(path)
    >>> Lock(path)  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
        ...
    BlockingIOError: the operating system's words
    >>> lock.release()
    >>> Lock(path).release()
    """

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if fcntl is not None:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self.release()
                raise

    @contextmanager
    def released_on_error(self) -> Generator[None]:
        """Let it go if the block fails."""
        try:
            yield
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let it go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
