"""The call that a store belongs to, kept beside the draws, so that a run can go on without the script that began it.

::

    call.json      the arguments of bayesnn.sample, or why only the script itself can go on
    target.npz     the posterior: network, likelihood, prior and data; starts, if they were given
    laplace.npz    the Gaussian at its optimum; of several optima the others are in laplace1.npz and so on
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.errors import ArgumentError
from bayesnn.files import written_whole
from bayesnn.laplace import Laplace, load_laplace, save_laplace
from bayesnn.posterior import Posterior
from bayesnn.posterior.storage import PARTS, posterior_of, posterior_parts
from bayesnn.sampling.snapshot import load_snapshot, save_snapshot
from bayesnn.sampling.target import Target

# Raised whenever calls of before can no longer be read.
FORMAT = 1
ARGUMENTS = (
    "num_chains",
    "num_warmup",
    "num_samples",
    "seed",
    "move",
    "metric",
    "start",
    "num_integration_steps",
)
CALL, TARGET, LAPLACE, STATES = "call.json", "target.npz", "laplace.npz", "states"


def keep_call(store: Path, target: Target, arguments: dict[str, Any]) -> None:
    """Write the call beside the draws.

    Parameters
    ----------
    store : pathlib.Path
        The store's folder.
    target : Target
        What is sampled.
    arguments : dict
        Of :func:`bayesnn.sample`, as :data:`ARGUMENTS` names them.

    Raises
    ------
    ArgumentError
        If it cannot be written.
    """
    arguments = {name: arguments[name] for name in ARGUMENTS}
    start, move = arguments["start"], arguments["move"]
    points = None if isinstance(start, str) else np.asarray(start, dtype=np.float64)
    arguments["start"] = start if points is None else None
    try:
        script = f"a move of its own, {type(move).__name__}"
        arguments["move"] = None
        if isinstance(move, str):
            arguments["move"] = move
            script = _keep_target(store, target, points)
        with written_whole(store / CALL) as partial:
            partial.write_text(json.dumps({"format": FORMAT, "script": script, "arguments": arguments}, indent=1))
    except OSError as error:
        got = f"{store} ({error.strerror or error})"
        raise ArgumentError("store", got, "a folder to write in, and room on the disk") from None


def _keep_target(store: Path, target: Target, points: FloatArray | None) -> str | None:
    """Write target and starts, or return what of them no file can hold."""
    try:
        parts = posterior_parts(target.posterior)
    except ArgumentError as error:
        return error.got
    # They are the same for every call that the store belongs to.
    if not (store / TARGET).exists():
        save_snapshot({"posterior": parts, "start": points, "n_modes": target.n_modes}, store / TARGET)
    for mode, laplace in enumerate(target.laplaces):
        if not _laplace_path(store, mode).exists():
            save_laplace(laplace, _laplace_path(store, mode))
    return None


def _laplace_path(store: Path, mode: int) -> Path:
    return store / (LAPLACE if mode == 0 else f"laplace{mode}.npz")


@dataclass(frozen=True)
class StoredCall:
    """A call read from a store.

    Parameters
    ----------
    store : pathlib.Path
        The store's folder.
    arguments : dict
        Of :func:`bayesnn.sample`, without target and store.
    script : str or None
        What of the script's own no file can hold.
    """

    store: Path
    arguments: dict[str, Any]
    script: str | None

    @staticmethod
    def of(store: str | os.PathLike[str]) -> "StoredCall":
        """Read the call that a store belongs to.

        Raises
        ------
        ArgumentError
            If there is none that can be read.
        """
        root = Path(store)
        try:
            call: dict[str, Any] = dict(json.loads((root / CALL).read_text(encoding="utf-8")))
            if call["format"] == FORMAT:
                return StoredCall(root, dict(call["arguments"]), call["script"])
        except (OSError, ValueError, TypeError, KeyError):
            pass
        got = f"{root}, whose {CALL} is missing, damaged or of another version"
        raise ArgumentError("directory", got, "the script run again that made it: it goes on from there")

    @property
    def is_finished(self) -> bool:
        """Whether all steps were made."""
        steps = max((int(path.stem) for path in (self.store / STATES).glob("[0-9]*.npz")), default=0)
        return steps >= self.arguments["num_warmup"] + self.arguments["num_samples"]

    def rebuilt(self) -> tuple[list[Laplace] | Posterior, dict[str, Any]]:
        """Rebuild target and arguments.

        Returns
        -------
        target : list of Laplace or Posterior
            Of one optimum or several, or the posterior where none was given.
        arguments : dict
            Of :func:`bayesnn.sample`.

        Raises
        ------
        ArgumentError
            If a part of them is the script's own, or damaged.
        """
        words = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items() if value is not None)
        wants = f"the script run again that made it: bayesnn.sample(..., {words}, store={str(self.store)!r})"
        if self.script is not None:
            raise ArgumentError("directory", f"{self.store}, whose run has {self.script}", wants)
        try:
            kept = load_snapshot(self.store / TARGET, PARTS)
            posterior = posterior_of(kept["posterior"])
            laplaces = [load_laplace(_laplace_path(self.store, mode), posterior) for mode in range(kept["n_modes"])]
            points = kept["start"]
        except Exception:  # a damaged archive shows as almost anything
            raise ArgumentError("directory", f"{self.store}, whose {TARGET} or {LAPLACE} is damaged", wants) from None
        return laplaces or posterior, self.arguments if points is None else self.arguments | {"start": points}
