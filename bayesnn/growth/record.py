"""What one cell of a growth study found, and the file that holds it."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from bayesnn.errors import ArgumentError
from bayesnn.files import written_whole

# Raised whenever records of before mean something else; it is part of their names.
FORMAT = 3
# Of which quantiles are kept: a normal's at -2, -1, 0, 1 and 2 standard deviations.
LEVELS = (0.02275, 0.15866, 0.5, 0.84134, 0.97725)
OK, FAILED, NO_OPTIMUM = "ok", "failed", "no optimum"
# How the message begins of a cell that failed for want of memory.
OUT_OF_MEMORY = "out of memory"


@dataclass(frozen=True)
class Record:
    """One size, one replicate.

    Parameters
    ----------
    n, replicate : int
        Rows, and which replicate.
    key : str
        Digest of all that decides the record.
    status : str
        ``"ok"``, ``"no optimum"`` or ``"failed"``.
    message : str
        Why, if not ``"ok"``; what the certificate finds wanting, if an optimum lies in the width of another.
    verdict : str
        Of the agreement with ``curvature="hessian"``.
    weights : tuple of float
        The optimum, where the next size starts.
    weight_names : tuple of str
        Their names.
    numbers : dict of str to float
        All figures.
    quantiles : tuple of tuple of float
        Of each weight's draws, at ``LEVELS``.
    sds : tuple of float
        Of each weight under the Gaussian of the Hessian, around `weights`.
    """

    n: int
    replicate: int
    key: str
    status: str
    message: str = ""
    verdict: str = ""
    weights: tuple[float, ...] = ()
    weight_names: tuple[str, ...] = ()
    numbers: dict[str, float] = field(default_factory=dict[str, float])
    quantiles: tuple[tuple[float, ...], ...] = ()
    sds: tuple[float, ...] = ()

    def write(self, directory: Path) -> None:
        """Write the record's file, whole or not at all."""
        with written_whole(file_of(directory, self.n, self.replicate, self.key)) as partial:
            partial.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=1), encoding="utf-8")

    @staticmethod
    def read(directory: Path, n: int, replicate: int, key: str) -> "Record | None":
        """Return a cell's record, or None where there is no whole file of it."""
        path = file_of(directory, n, replicate, key)
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ArgumentError("directory", f"{path.name}, which is no whole record ({error})", "it removed") from None
        wants = {"format", *(each.name for each in fields(Record))}
        if set(found) != wants or found.pop("format") != FORMAT or found["key"] != key:
            raise ArgumentError("directory", f"{path.name}, written by another version", "it removed, or another one")
        found |= {name: tuple(found[name]) for name in ("weights", "weight_names", "sds")}
        found["quantiles"] = tuple(tuple(each) for each in found["quantiles"])
        return Record(**found)


def file_of(directory: Path, n: int, replicate: int, key: str) -> Path:
    """Place of a cell's file."""
    return directory / f"n{n}-replicate{replicate}-{key}.json"


def key_of(parts: dict[str, Any]) -> str:
    """Digest of what decides a record."""
    words = json.dumps({"format": FORMAT, **parts}, sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()[:16]
