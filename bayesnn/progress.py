"""Progress bars with the time left, on stderr, silent where nobody looks."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol


class Tick(Protocol):
    """Advance a progress bar."""

    def __call__(self, steps: int = 1, /, **figures: float) -> None:
        """Count `steps` as done and show `figures` beside the bar."""
        ...


def _no_tick(steps: int = 1, /, **figures: float) -> None:
    """Do nothing: nobody is looking."""


def _words(figures: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3g}" for name, value in figures.items())


def is_shown(show: bool | None = None) -> bool:
    """Whether a bar is shown: as `show` says, or where stderr is a terminal."""
    return sys.stderr.isatty() if show is None else show


@contextmanager
def progress_bar(description: str, total: int, show: bool | None = None) -> Generator[Tick]:
    """Show a bar while the block runs.

    Parameters
    ----------
    description : str
        What is being done.
    total : int
        Number of steps.
    show : bool, optional
        True and False force it; None shows the bar where stderr is a terminal.

    Yields
    ------
    Tick
        Call it after each step, with figures to show as keyword arguments.

    Examples
    --------
    >>> with progress_bar("counting", 3, show=False) as tick:
    ...     for _ in range(3):
    ...         tick()
    """
    if not is_shown(show):
        yield _no_tick
        return
    # rich costs a tenth of a second to import; a silent run does not pay for it.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<11}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(description, total=total, figures="")

        def tick(steps: int = 1, /, **figures: float) -> None:
            bars.advance(task, steps)
            if figures:
                bars.update(task, figures=_words(figures))

        yield tick
