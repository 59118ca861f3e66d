"""What was compiled of an older kernel is forgotten.

Numba keeps compiled functions beside their file and compiles again when that file changes, but not when a function that
they call, in another file, does.
"""

import hashlib
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

STAMP = "kernel.sha256"


def forget_older(folder: Path) -> None:
    """Delete the index of compiled functions beside the sources in `folder` unless they are of these sources.

    Parameters
    ----------
    folder : Path
        With the sources; what was compiled lies in its ``__pycache__``, or in a folder of its name where
        ``NUMBA_CACHE_DIR`` says. Where neither can be written to, Numba keeps its files elsewhere and goes by the times
        of a whole installation.
    """
    digest = hashlib.sha256()
    for source in sorted(folder.glob("*.py")):
        digest.update(source.read_bytes())
    for cache in (folder / "__pycache__", *_elsewhere(folder)):
        stamp = cache / STAMP
        with suppress(OSError):
            if stamp.exists() and stamp.read_text() == digest.hexdigest():
                continue
            for index in cache.glob("*.nbi"):
                index.unlink(missing_ok=True)
            cache.mkdir(parents=True, exist_ok=True)
            stamp.write_text(digest.hexdigest())


def _elsewhere(folder: Path) -> list[Path]:
    """Return the folder under ``NUMBA_CACHE_DIR`` that Numba keeps for sources in this one; none where that is unset.

    Its name has a digest of the path of the sources: every installation has its own.
    """
    config: Any = import_module("numba.core.config")
    if not config.CACHE_DIR:
        return []
    name = hashlib.sha1(str(folder).encode(), usedforsecurity=False).hexdigest()
    return [Path(config.CACHE_DIR) / f"{folder.name}_{name}"]
