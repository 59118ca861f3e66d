"""States of a run in files: NumPy arrays and JSON, nothing that runs when it is read."""

import json
import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from bayesnn.arrays import AnyArray
from bayesnn.files import written_whole

# What a snapshot holds: numbers, strings, None, arrays, lists, tuples and mappings of these, known dataclasses.
type Snapshot = dict[str, Any]

ARRAY, TUPLE, OBJECT = "__array__", "__tuple__", "__object__"
SCALARS = (bool, int, float, str, type(None))


def save_snapshot(snapshot: Snapshot, path: str | os.PathLike[str]) -> None:
    """Write a snapshot to a file, whole or not at all.

    Parameters
    ----------
    snapshot : dict
        Numbers, strings, None, arrays, lists, tuples and mappings of these, and dataclasses.
    path : path-like
        Where.

    Raises
    ------
    TypeError
        If it holds anything else.
    OSError
        If it cannot be written.
    """
    arrays: dict[str, AnyArray] = {}
    header = json.dumps(_packed(snapshot, arrays)).encode()
    arrays["header"] = np.frombuffer(header, dtype=np.uint8)
    with written_whole(path) as partial, partial.open("wb") as file:
        cast("Any", np.savez)(file, **arrays)


def load_snapshot(path: str | os.PathLike[str], known: Mapping[str, type]) -> Snapshot:
    """Read a snapshot.

    Parameters
    ----------
    path : path-like
        From :func:`save_snapshot`.
    known : mapping of str to type
        The dataclasses it may hold, by name; no other is made.

    Returns
    -------
    dict

    Raises
    ------
    Exception
        Of almost any type, if the file is damaged.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.npz"
    >>> save_snapshot({"step": 3, "weights": np.ones(2), "none": [None, 0.1]}, path)
    >>> load_snapshot(path, {})
    {'step': 3, 'weights': array([1., 1.]), 'none': [None, 0.1]}
    """
    with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        arrays: dict[str, AnyArray] = {entry: file[entry] for entry in file.files}
    return _unpacked(json.loads(arrays.pop("header").tobytes().decode()), arrays, known)


def _packed(value: Any, arrays: dict[str, AnyArray]) -> Any:
    """Return what JSON can say; arrays are set aside."""
    if isinstance(value, np.generic):
        return cast("Any", value).item()
    if isinstance(value, SCALARS):
        return value
    if isinstance(value, np.ndarray):
        name = f"a{len(arrays)}"
        arrays[name] = cast("AnyArray", value)
        return {ARRAY: name}
    if isinstance(value, list):
        return [_packed(entry, arrays) for entry in cast("list[Any]", value)]
    if isinstance(value, tuple):
        return {TUPLE: [_packed(entry, arrays) for entry in cast("tuple[Any, ...]", value)]}
    if isinstance(value, dict):
        return {str(name): _packed(entry, arrays) for name, entry in cast("dict[str, Any]", value).items()}
    if is_dataclass(value) and not isinstance(value, type):
        entries = {field.name: _packed(getattr(value, field.name), arrays) for field in fields(value)}
        return {OBJECT: type(value).__name__, **entries}
    raise TypeError(f"{type(value).__name__} in a snapshot")


def _unpacked(value: Any, arrays: dict[str, AnyArray], known: Mapping[str, type]) -> Any:
    def unpack(entry: Any) -> Any:
        return _unpacked(entry, arrays, known)

    if isinstance(value, list):
        return [unpack(entry) for entry in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    entries = cast("dict[str, Any]", value)
    if ARRAY in entries:
        return arrays[entries[ARRAY]]
    if TUPLE in entries:
        return tuple(unpack(entry) for entry in entries[TUPLE])
    if OBJECT not in entries:
        return {name: unpack(entry) for name, entry in entries.items()}
    kind = known[entries[OBJECT]]
    made: Any = object.__new__(cast("Any", kind))
    for field in fields(cast("Any", kind)):
        object.__setattr__(made, field.name, unpack(entries[field.name]))
    return made
