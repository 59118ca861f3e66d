"""Files that are written whole or not at all, and the files the package ships."""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Generator[Path]:
    """Hand out a temporary path beside `path`; fsync and rename it on success, remove it on failure.

    Parameters
    ----------
    path : path-like
        Where the finished file shall lie. Its folder is made if it is missing.

    Yields
    ------
    pathlib.Path
        The temporary file to write.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "sub" / "a.txt"
    >>> with written_whole(target) as partial:
    ...     _ = partial.write_text("done")
    >>> target.read_text(), sorted(p.name for p in target.parent.iterdir())
    ('done', ['a.txt'])
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".partial")
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        synced(partial)
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o666 & ~umask)  # mkstemp makes files private; the result is an ordinary file
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def synced(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    with path.open("r+b") as written:  # Windows flushes only what may be written
        os.fsync(written.fileno())


def shipped(*parts: str) -> Path:
    """Locate a file the project ships, in an installed wheel or in a checkout.

    Parameters
    ----------
    *parts : str
        Path below the project's root, such as ``"data", "yacht.csv"``.

    Returns
    -------
    pathlib.Path
        The file's place; it need not exist.
    """
    package = Path(__file__).parent
    installed = package.joinpath("_shipped", *parts)
    return installed if installed.exists() else package.parent.joinpath(*parts)
