"""The output folder of a job: its results and, until it has ended, what a later process needs to go on.

::

    results.nc, report.html       the results
    unfinished/                   only until the job has ended
        job.json                  the run file's settings, and the folder its paths start from
        data.json                 which rows it is about, as a digest
        optimum.npz               the optima, noise and prior that were found
        chains/                   the draws, see bayesnn.sampling.store
        lock                      held by the process at work
"""

import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from bayesnn.config import RunConfig, parse_config
from bayesnn.datasets import Dataset
from bayesnn.errors import ArgumentError
from bayesnn.files import written_whole
from bayesnn.lock import Lock
from bayesnn.optimum import Certificate, Optimum, Status
from bayesnn.posterior import Gaussian, NormalPrior, Posterior
from bayesnn.sampling.snapshot import load_snapshot, save_snapshot

# Raised whenever unfinished jobs of before can no longer be gone on with.
FORMAT = 3
WANTS = "the output folder of an interrupted `bayesnn run`"
UNFINISHED, JOB, DATA, OPTIMUM, CHAINS, LOCK = (
    "unfinished",
    "job.json",
    "data.json",
    "optimum.npz",
    "chains",
    "lock",
)
DROPPED = ".chains.dropped"
KNOWN = {kind.__name__: kind for kind in (Certificate, Gaussian, NormalPrior)}


class NoRoomError(ArgumentError):
    """What a job has made cannot be written; it can go on once there is room."""


def resume_command(directory: str | os.PathLike[str]) -> str:
    """Return what goes on with the run in a folder, for a shell.

    Examples
    --------
    >>> resume_command("my runs")
    "bayesnn resume 'my runs'"
    """
    return f"bayesnn resume {shlex.quote(os.fspath(directory))}"


class JobFolder:
    """One output folder.

    Parameters
    ----------
    directory : path-like
        The folder; made when a job begins.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        self.results, self.report = self.directory / "results.nc", self.directory / "report.html"
        self._work = self.directory / UNFINISHED
        self.chains = self._work / CHAINS
        self._job, self._data, self._optimum = (self._work / name for name in (JOB, DATA, OPTIMUM))

    @property
    def is_unfinished(self) -> bool:
        """Whether it holds a job that has not ended."""
        return self._job.exists()

    @property
    def is_finished(self) -> bool:
        """Whether it holds the results of a job that has ended."""
        return not self.is_unfinished and self.results.exists()

    @property
    def resume_command(self) -> str:
        """What goes on with the job, for a shell."""
        return resume_command(self.directory)

    @property
    def has_something(self) -> bool:
        """Whether it holds what took work: optima, or draws."""
        return self._optimum.exists() or self.chains.exists()

    @contextmanager
    def held(self) -> Generator[None]:
        """Keep other processes from working in the folder while the block runs.

        Raises
        ------
        ArgumentError
            If another process does, or the folder cannot be made or holds something else under our name.
        """
        try:
            self._work.mkdir(parents=True, exist_ok=True)
            present = sorted(path.name for path in self._work.iterdir())
            if present and not {LOCK, JOB} & set(present):
                got = f"{self.directory}, whose folder {UNFINISHED!r} holds {present[0]}"
                raise ArgumentError("output.directory", got, "a folder of its own")
            lock = Lock(self._work / LOCK)
        except BlockingIOError:
            raise ArgumentError("output.directory", f"{self.directory}, in use by another process", "one job") from None
        except OSError as error:
            raise self._unusable(error, "a folder to write in") from None
        try:
            yield
        finally:
            if not self.is_unfinished:
                self._clear()
                with suppress(OSError):  # what is not ours stays
                    (self._work / LOCK).unlink()
                    self._work.rmdir()
            lock.release()

    def begin(self, config: RunConfig, fresh: bool) -> bool:
        """Make the folder this job's, unless it is already; what was found for the same settings stays.

        Parameters
        ----------
        config : RunConfig
            The job's settings.
        fresh : bool
            Whether to drop an unfinished job.

        Returns
        -------
        bool
            Whether the job is new.

        Raises
        ------
        ArgumentError
            If it holds an unfinished job with other settings, or cannot be written.
        """
        if self.is_unfinished and not fresh:
            self._check_same(config)
            return False
        self._clear()
        job = {"format": FORMAT, "folder": str(Path.cwd()), "config": config.model_dump(exclude={"output"})}
        try:
            with written_whole(self._job) as partial:
                partial.write_text(json.dumps(job, indent=1), encoding="utf-8")
        except OSError as error:
            raise self._unusable(error, "room on the disk") from None
        return True

    def settings(self) -> tuple[RunConfig, Path]:
        """Return the settings of the unfinished job.

        Returns
        -------
        config : RunConfig
        folder : pathlib.Path
            Where the path of its data starts from.

        Raises
        ------
        ArgumentError
            If there is no unfinished job, or its file is damaged or of another version.
        """
        if not self.is_unfinished:
            raise ArgumentError("directory", f"{self.directory}, which holds no unfinished run", WANTS)
        try:
            job: dict[str, Any] = dict(json.loads(self._job.read_text(encoding="utf-8")))
            same_format = job["format"] == FORMAT
            tables, folder = {**job["config"], "output": {"directory": str(self.directory)}}, Path(job["folder"])
            if same_format:
                return parse_config(tables), folder
            got = f"{self.directory}, begun by another version of bayesnn"
        except (OSError, ValueError, TypeError, KeyError):
            got = f"{self.directory}, whose {UNFINISHED}/{JOB} is damaged"
        raise ArgumentError("directory", got, f"{WANTS}; `bayesnn run --fresh` begins anew")

    def check_data(self, *data: Dataset) -> None:
        """Keep which rows the job is about, or refuse others.

        Raises
        ------
        ArgumentError
            If the data are others than when the job began, or what is kept of them is damaged or cannot be written.
        """
        digest = _digest(data)
        try:
            before = json.loads(self._data.read_text(encoding="utf-8"))
        except FileNotFoundError:
            with self.in_need_of_room(), written_whole(self._data) as partial:
                partial.write_text(json.dumps(digest), encoding="utf-8")
            return
        except OSError as error:
            raise self._unusable(error, "a folder that can be read") from None
        except ValueError:
            got = f"{self.directory}, whose {UNFINISHED}/{DATA} is damaged"
            raise ArgumentError("directory", got, f"{WANTS}; `bayesnn run --fresh` begins anew") from None
        if digest != before:
            got = f"{data[0].source}, which has changed since the run in {self.directory} began"
            raise ArgumentError("data", got, "the same rows, or `bayesnn run --fresh`, which begins anew")

    def save_search(self, posterior: Posterior, optimum: Optimum) -> None:
        """Keep what the search and the evidence found.

        Raises
        ------
        ArgumentError
            If it cannot be written.
        """
        found = [_plain(each) for each in (optimum, *optimum.others)]
        parts = {"likelihood": posterior.given_likelihood, "prior": posterior.prior}
        with self.in_need_of_room():
            save_snapshot({"optima": found, **parts}, self._optimum)

    def load_search(self, posterior: Posterior) -> tuple[Posterior, Optimum] | None:
        """Return what :meth:`save_search` kept, for the posterior the search began with.

        Returns
        -------
        posterior : Posterior
            With the noise and the prior that were found.
        optimum : Optimum
            Its optimum. None in place of both if nothing was kept, or it is damaged: it is then made again.
        """
        try:
            kept = load_snapshot(self._optimum, KNOWN)
            tuned = posterior.with_hyperparameters(kept["likelihood"], kept["prior"])
            best, *others = [_optimum(each, tuned) for each in kept["optima"]]
        except Exception:  # not there, or damaged: an archive shows that as almost anything
            return None
        return tuned, replace(best, others=tuple(others))

    def end(self) -> None:
        """Forget what was kept to go on with: there is nothing left to do."""
        self._clear()

    @contextmanager
    def in_need_of_room(self) -> Generator[None]:
        """Say, where the block cannot write its files, what to do: nothing that was made is lost.

        Raises
        ------
        ArgumentError
            If so.
        """
        try:
            yield
        except (OSError, RuntimeError) as error:  # HDF5 may say it either way
            wants = f"room on the disk, then `{self.resume_command}`: nothing that was made is lost"
            raise self._unusable(error, wants, NoRoomError) from None

    def _unusable(self, error: Exception, wants: str, kind: type[ArgumentError] = ArgumentError) -> ArgumentError:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        return kind("output.directory", f"{self.directory} ({reason})", wants)

    def _clear(self) -> None:
        """Remove all but the lock, the settings last: killed before that, the job is still one that can go on."""
        dropped = self._work / DROPPED
        shutil.rmtree(dropped, ignore_errors=True)
        if self.chains.exists():
            self.chains.rename(dropped)  # at once: half a store must never pass for one
            shutil.rmtree(dropped, ignore_errors=True)
        # Of results, too, whose process was killed while it wrote them.
        halves = [self.directory.glob(f".{path.name}.*.partial") for path in (self.results, self.report)]
        for path in (self._optimum, *self._work.glob(".*.partial"), *chain(*halves), self._data, self._job):
            path.unlink(missing_ok=True)

    def _check_same(self, config: RunConfig) -> None:
        before, folder = self.settings()
        difference = _first_difference(_compared(before, folder), _compared(config, Path.cwd()))
        if difference is not None:
            got = f"{self.directory}, which holds an unfinished run with {difference}"
            wants = f"another folder, `{self.resume_command}` to end that run first, or --fresh to drop it"
            raise ArgumentError("output.directory", got, wants)


def _compared(config: RunConfig, folder: Path) -> dict[str, Any]:
    """Return the settings that decide the results; paths start from the root."""
    tables = config.model_dump(exclude={"output"})
    if config.data.path is not None:
        tables["data"]["path"] = os.path.normpath(folder / config.data.path)
    return tables


def _first_difference(present: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> str | None:
    for name, value in wanted.items():
        before = present.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            tables: list[dict[str, Any]] = [before, value]
            difference = _first_difference(tables[0], tables[1], f"{prefix}{name}.")
            if difference is not None:
                return difference
        elif value != before:
            return f"{prefix}{name} {before!r}, not {value!r}"
    return None


def _digest(data: tuple[Dataset, ...]) -> str:
    content = b"".join(np.ascontiguousarray(array).tobytes() for part in data for array in (part.x, part.y))
    return hashlib.sha256(content).hexdigest()


def _plain(optimum: Optimum) -> dict[str, Any]:
    """Return an optimum's fields but for those that others give: its posterior, and the other optima."""
    kept = {field.name: getattr(optimum, field.name) for field in fields(optimum)}
    return {**kept, "status": optimum.status.value, "others": None, "posterior": None}


def _optimum(kept: dict[str, Any], posterior: Posterior) -> Optimum:
    entries: dict[str, Any] = {**kept, "status": Status(kept["status"]), "others": (), "posterior": posterior}
    return Optimum(**entries)
