"""Ctrl-C that waits for the end of a step, so that what was made until then can be kept whole."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Whether Ctrl-C was pressed while it had to wait."""

    def __init__(self) -> None:
        self.requested = False

    def request(self, signal_number: int, frame: FrameType | None) -> None:
        """Note the first Ctrl-C; raise KeyboardInterrupt at the second, for those who cannot wait."""
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def interruption_held() -> Generator[Interruption]:
    """Let Ctrl-C wait while the block runs; the block asks for it, and raises KeyboardInterrupt itself.

    Where Ctrl-C does something else than to raise KeyboardInterrupt in this thread, it is left as it is.

    Yields
    ------
    Interruption

    Examples
    --------
    >>> with interruption_held() as interruption:
    ...     signal.raise_signal(signal.SIGINT)
    ...     interruption.requested
    True
    """
    interruption = Interruption()
    is_ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not is_ours:
        yield interruption
        return
    signal.signal(signal.SIGINT, interruption.request)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
