"""Which run a store belongs to: a digest of everything that decides a draw."""

import hashlib
from dataclasses import fields, is_dataclass
from typing import Any, cast

import numpy as np

from bayesnn.arrays import AnyArray, FloatArray
from bayesnn.checks import stable_repr
from bayesnn.sampling.moves import Mixture, TrackedMove
from bayesnn.sampling.target import Target


def identity_of(
    target: Target, log_density: FloatArray, points: FloatArray, move: TrackedMove, arguments: dict[str, Any]
) -> dict[str, Any]:
    """Say what a run is, in words and, for arrays, by digests.

    Data, likelihood and prior enter by the log density at the starts: whatever changes a draw changes these numbers,
    for a density that is a mere function too.

    Parameters
    ----------
    target : Target
        What is sampled.
    log_density : ndarray (chains,)
        At the starts.
    points : ndarray (chains, k)
        The starts.
    move : TrackedMove
        Before warm-up.
    arguments : dict
        Of :func:`bayesnn.sample`, all but the number of draws: a finished run may be made longer.

    Returns
    -------
    dict
    """
    posterior = target.posterior
    return {
        **arguments,
        "model": stable_repr(posterior.model),
        "likelihood": _words(posterior.likelihood),
        "prior": _words(posterior.prior),
        "rows": posterior.n_rows,
        "starts (digest)": digest(points),
        "log density at the starts (digest)": digest(log_density),
        "laplace (digest)": digest(
            *(part for laplace in target.laplaces for part in (laplace.mean, laplace.posterior_variance))
        ),
        "move": _described(move),
    }


def digest(*arrays: AnyArray) -> str:
    """Return a short digest of the arrays' bits."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[:16]


def _words(part: object) -> str:
    """Return the part's repr, short enough for a message."""
    words = stable_repr(part)
    return words if len(words) <= 200 else f"{type(part).__name__} {hashlib.sha256(words.encode()).hexdigest()[:16]}"


def _described(move: TrackedMove) -> list[str]:
    """Return the move's kind and the digest of its settings, for each part of a mixture."""
    weights = [f"weights {_plain(move.weights)}"] if isinstance(move, Mixture) else []
    return weights + [
        f"{type(part).__qualname__} {hashlib.sha256(repr(_plain(vars(part))).encode()).hexdigest()[:16]}"
        for part in move.parts
    ]


def _plain(value: Any) -> Any:
    """Return what can be compared in other processes; functions and models are judged by what they do."""
    if isinstance(value, np.ndarray):
        return digest(cast("AnyArray", value))
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in sorted(cast("dict[str, Any]", value).items())}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in cast("list[Any]", value)]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value if isinstance(value, bool | int | float | str) else None
