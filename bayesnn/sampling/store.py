"""Draws on disk, with what a run needs to go on from there: written whole or not at all, and checked when read.

A store is a folder::

    run.json          which run it belongs to
    call.json, *.npz  what rebuilds the call that made it, see bayesnn.sampling.call
    draws.zarr        a zarr group (format 3) with an array for each field of the draws, in blocks of whole draws
    states/N.npz      all that decides the steps after step N
    lock              held by the process that writes

A commit writes the blocks that changed, then a state. Each file appears under its name only when it is complete, and
blocks and states carry checksums, so that after a crash at any moment the newest state whose draws are all sound is a
point from which the run goes on to the same bits. Older states are kept ever more sparsely, for the case that a block
is damaged later.
"""

import errno
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile, ZipFile

import numpy as np

from bayesnn.arrays import AnyArray
from bayesnn.errors import ArgumentError
from bayesnn.files import synced, written_whole
from bayesnn.lock import Lock
from bayesnn.sampling.chains import Recorder
from bayesnn.sampling.snapshot import Snapshot, load_snapshot, save_snapshot

# Raised whenever stores of before can no longer be read.
FORMAT = 3
RUN, DRAWS, STATES, LOCK = "run.json", "draws.zarr", "states", "lock"
# A block of the largest array; the last one is written anew at every commit.
BLOCK_BYTES, LONGEST_BLOCK = 2**22, 500
WANTS = "the folder of a run with the same arguments, or one that is empty or missing"


class ChainStore:
    """The draws of one run on disk.

    Parameters
    ----------
    directory : path-like
        The store's folder; made if it is missing.
    identity : dict
        What decides every draw, as JSON can say it: a store is gone on with only by a run of equal identity.
    record : Recorder
        Whose draws it keeps.
    known : mapping of str to type
        The dataclasses a state may hold.

    Raises
    ------
    ArgumentError
        If the folder holds something else, or is in use by another process.
    """

    def __init__(
        self, directory: str | os.PathLike[str], identity: dict[str, Any], record: Recorder, known: Mapping[str, type]
    ) -> None:
        self.root, self._record, self._known = Path(directory), record, known
        self._states = self.root / STATES
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._lock = Lock(self.root / LOCK)
            with self._lock.released_on_error():
                self._check_owner(identity)
                self._arrays = self._opened()
        except BlockingIOError:
            raise ArgumentError("store", f"{self.root}, in use by another process", "one run at a time") from None
        except OSError as error:
            got = f"{self.root} ({error.strerror or error})"
            raise ArgumentError("store", got, "a folder to write in, and room on the disk") from None
        # The first draw that is in no complete block on disk.
        self._next = 0

    def close(self) -> None:
        """Let other processes use the store."""
        self._lock.release()

    @property
    def how_to_go_on(self) -> str:
        """Say how an interrupted run goes on."""
        return f"what was made is in {self.root}: bayesnn.resume({str(self.root)!r}), or the same call, goes on"

    def restore(self, num_warmup: int) -> tuple[int, Snapshot] | None:
        """Fill the recorder with the sound draws, up to its size, and return the newest state these reach.

        Parameters
        ----------
        num_warmup : int
            Steps before the first draw.

        Returns
        -------
        step : int
            Steps made when the state was written; None in place of both if there is no state to go on from.
        snapshot : dict

        Raises
        ------
        ArgumentError
            If something cannot be read for another reason than being damaged; it is not removed then.
        """
        try:
            return self._newest_sound(num_warmup)
        except OSError as error:
            got = f"{self.root} ({error.strerror or error})"
            raise ArgumentError("store", got, "a folder that can be read") from None

    def _newest_sound(self, num_warmup: int) -> tuple[int, Snapshot] | None:
        steps, sound = self._steps_kept(), self._sound_draws()
        for step in steps:
            drawn = max(0, step - num_warmup)
            snapshot = self._read_state(step) if drawn <= sound else None
            if snapshot is None:
                self._path_of(step).unlink(missing_ok=True)
                continue
            if step != steps[0]:
                self._warn(f"damaged after step {step} of {steps[0]}; those steps are made again")
            self._read_draws(min(drawn, self._capacity))
            return step, snapshot
        if steps:
            self._warn("damaged from the beginning; all steps are made again")
        return None

    def commit(self, step: int, snapshot: Snapshot) -> None:
        """Write the draws that are not yet on disk, then the state after so many steps.

        Raises
        ------
        OSError
            If they cannot be written; what was there before is as it was.
        """
        count, block = self._record.count, self._block
        for begin in range(self._next, count, block):
            end = min(begin + block, self._capacity)
            for name, array in self._arrays.items():
                array[:, begin:end] = self._record.arrays[name][:, begin:end]
                synced(self._block_path(name, begin // block))
        self._next = count - count % block
        save_snapshot(snapshot, self._path_of(step))
        self._prune(step)

    @property
    def _capacity(self) -> int:
        return self._record.arrays["log_density"].shape[1]

    def _check_owner(self, identity: dict[str, Any]) -> None:
        """Make the store this run's if it is nobody's; raise ArgumentError if it is another's."""
        run = self.root / RUN
        if not run.exists():
            strangers = sorted(path.name for path in self.root.iterdir() if path.name not in (LOCK, DRAWS, STATES))
            if any(not name.endswith(".partial") for name in strangers):
                raise ArgumentError("store", f"{self.root}, which holds {strangers[0]}", WANTS)
            with written_whole(run) as partial:
                partial.write_text(json.dumps({"format": FORMAT, **identity}, indent=1))
            return
        try:
            owner: dict[str, Any] = dict(json.loads(run.read_text()))
        except (ValueError, TypeError):
            raise ArgumentError("store", f"{self.root}, whose {RUN} is damaged", WANTS) from None
        present = json.loads(json.dumps({"format": FORMAT, **identity}))
        for name in present:
            if owner.get(name) != present[name]:
                got = f"{self.root}, which belongs to a run with {name} {owner.get(name)}, not {present[name]}"
                raise ArgumentError("store", got, WANTS)

    def _opened(self) -> dict[str, Any]:
        """Open the arrays, or make them; longer than they were if more draws are wanted."""
        import zarr  # a second to import, and only a run with a store needs it
        from zarr.codecs import Crc32cCodec

        for stray in [*self.root.rglob("*.partial"), *self.root.rglob(".*.partial")]:
            stray.unlink(missing_ok=True)
        arrays: dict[str, Any] = {}
        for name, values in self._record.arrays.items():
            place = self.root / DRAWS / name
            try:
                array = cast("Any", zarr.open_array(store=str(place), mode="r+"))
            except Exception as error:  # not there yet, or damaged in any way: without it no draw is sound
                _raise_unless_damage(error)
                array = cast("Any", zarr).create_array(
                    store=str(place),
                    shape=values.shape,
                    dtype=values.dtype,
                    chunks=(values.shape[0], self._block, *values.shape[2:]),
                    compressors=(Crc32cCodec(),),
                    filters=None,
                    fill_value=np.nan if values.dtype.kind == "f" else 0,
                    dimension_names=("chain", "draw", "weight")[: values.ndim],
                    config={"write_empty_chunks": True},
                    overwrite=True,
                )
            else:
                array = array.with_config({"write_empty_chunks": True})
            if array.shape[1] < values.shape[1]:
                array.resize(values.shape)
            arrays[name] = array
        group = self.root / DRAWS / "zarr.json"
        if not group.exists():
            zarr.open_group(str(self.root / DRAWS), mode="a")
        return arrays

    @property
    def _block(self) -> int:
        """Draws in a block."""
        draw = self._record.arrays["weights"][:, :1].nbytes
        return int(np.clip(BLOCK_BYTES // draw, 1, LONGEST_BLOCK))

    def _block_path(self, name: str, number: int) -> Path:
        axes = self._arrays[name].ndim
        key = self._arrays[name].metadata.encode_chunk_key((0, number, *([0] * (axes - 2))))
        return self.root / DRAWS / name / key

    def _sound_draws(self) -> int:
        """Return how many draws from the first on can be read, in every array; remove blocks that cannot."""
        length = min(array.shape[1] for array in self._arrays.values())
        for number, begin in enumerate(range(0, length, self._block)):
            end = min(begin + self._block, length)
            sound = min(self._sound_part(name, number, begin, end) for name in self._arrays)
            if sound < end - begin:
                return begin + sound
        return length

    def _sound_part(self, name: str, number: int, begin: int, end: int) -> int:
        path = self._block_path(name, number)
        if not path.exists():
            return 0
        try:
            values: AnyArray = np.asarray(self._arrays[name][:, begin:end])
        except Exception as error:  # cut short, or of another checksum: zarr's codecs raise what they like
            _raise_unless_damage(error)
            path.unlink()
            return 0
        if values.dtype.kind != "f":
            return end - begin
        missing = np.isnan(values).reshape(values.shape[0], values.shape[1], -1).any(axis=(0, 2))
        return int(np.argmax(missing)) if missing.any() else end - begin

    def _read_draws(self, count: int) -> None:
        for name, values in self._record.arrays.items():
            if count:
                values[:, :count] = self._arrays[name][:, :count]
        self._record.count = count
        self._next = count - count % self._block

    def _path_of(self, step: int) -> Path:
        return self._states / f"{step:010d}.npz"

    def _steps_kept(self) -> list[int]:
        """Return the steps of which there is a state, newest first."""
        return sorted((int(path.stem) for path in self._states.glob("[0-9]*.npz") if path.stem.isdigit()), reverse=True)

    def _read_state(self, step: int) -> Snapshot | None:
        path = self._path_of(step)
        try:
            snapshot = load_snapshot(path, self._known)
        except Exception as error:  # a damaged archive shows as almost anything
            # Of a damaged header the shape may be one for which there is no memory.
            if not (isinstance(error, MemoryError) and _is_damaged(path)):
                _raise_unless_damage(error)
            return None
        return snapshot if snapshot.get("step") == step else None

    def _prune(self, newest: int) -> None:
        """Thin the older states out: of each age, in powers of 2, the two oldest stay, and grow into the next."""
        kept: dict[int, int] = {}
        for step in reversed(self._steps_kept()):
            age = (newest - step).bit_length()
            kept[age] = kept.get(age, 0) + 1
            if kept[age] > 2 and step != newest:
                self._path_of(step).unlink(missing_ok=True)

    def _warn(self, what: str) -> None:
        warnings.warn(f"store {self.root}: {what}", RuntimeWarning, stacklevel=2)


def _raise_unless_damage(error: Exception) -> None:
    """Raise an error that says nothing of the file: too little memory, too many open files, a disk that is away."""
    unreadable = isinstance(error, OSError) and error.errno not in (None, errno.ENOENT, errno.EINVAL)
    if unreadable or isinstance(error, MemoryError):
        raise error


def _is_damaged(archive: Path) -> bool:
    """Whether an archive, which can be opened, has parts of other checksums."""
    try:
        with ZipFile(archive) as file:
            return file.testzip() is not None
    except BadZipFile:
        return True


def is_store(directory: str | os.PathLike[str]) -> bool:
    """Whether a folder is a store of :func:`bayesnn.sample`."""
    return all((Path(directory) / name).exists() for name in (RUN, DRAWS))
