"""Laplace posteriors in files: NumPy arrays and JSON, nothing that runs when it is read."""

import hashlib
import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast

import numpy as np

from bayesnn.arrays import AnyArray, FloatArray
from bayesnn.checks import stable_repr
from bayesnn.errors import ArgumentError
from bayesnn.factor import PrecisionFactor
from bayesnn.files import written_whole
from bayesnn.laplace.laplace import Laplace
from bayesnn.laplace.structures import BlockDiagonal, Diagonal, Full, LastLayer, LowRank, Structure
from bayesnn.optimum import Certificate
from bayesnn.posterior import Gaussian, Posterior
from bayesnn.posterior.coordinates import centre_of

# Raised whenever files of before can no longer be read.
FORMAT = 1


def save_laplace(laplace: Laplace, path: str | os.PathLike[str]) -> Path:
    """Write a Laplace posterior to a file.

    Parameters
    ----------
    laplace : Laplace
        What to keep. Its data are not written.
    path : path-like
        Where; written whole or not at all.

    Returns
    -------
    pathlib.Path
        The file.
    """
    certificate = {
        name: value for name, value in asdict(laplace.certificate).items() if not isinstance(value, np.ndarray)
    }
    header = {
        "format": FORMAT,
        "belongs_to": _identity(laplace.posterior),
        "curvature": laplace.curvature,
        "structure": laplace.structure,
        "form": type(laplace.precision).__name__,
        "certificate": certificate,
    }
    arrays: dict[str, AnyArray] = {"mean": laplace.mean, **_arrays_of(laplace.precision)}
    if laplace.certificate.negative_direction is not None:
        arrays["negative_direction"] = laplace.certificate.negative_direction
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    with written_whole(path) as partial, partial.open("wb") as file:
        cast("Any", np.savez)(file, **arrays)
    return Path(path)


def load_laplace(path: str | os.PathLike[str], posterior: Posterior) -> Laplace:
    """Read a Laplace posterior from a file.

    Parameters
    ----------
    path : path-like
        From :func:`save_laplace`.
    posterior : Posterior
        What it is the Laplace posterior of: the same network, likelihood, prior and number of rows as when it was
        saved. Networks are told apart by their repr; a class of your own without one, by its name and its weights'.

    Returns
    -------
    Laplace

    Raises
    ------
    ArgumentError
        If the file is none of these, of another version of the format, or belongs to another posterior.
    """
    name = " ".join(os.fspath(path).split())
    wants = "a file of save_laplace"
    try:
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays: dict[str, AnyArray] = {entry: file[entry] for entry in file.files}
        header: dict[str, Any] = json.loads(arrays.pop("header").tobytes().decode())
        if header["format"] != FORMAT:
            raise ArgumentError("path", f"a file of format {header['format']}", f"one of format {FORMAT}")
        belongs_to: dict[str, Any] = header["belongs_to"]
        for part, present in _identity(posterior).items():
            if belongs_to[part] != present:
                raise ArgumentError("posterior", f"{part} {present}", f"{belongs_to[part]}, as in the file")
        return _assembled(posterior, header, arrays)
    except ArgumentError:
        raise
    except FileNotFoundError:
        raise ArgumentError("path", f"{name}, where there is no file", wants) from None
    # A damaged archive shows as almost anything: bad zip, compression, JSON, types or missing entries.
    except Exception as error:
        raise ArgumentError("path", f"{name}, which is no Laplace file", wants) from error


def _assembled(posterior: Posterior, header: dict[str, Any], arrays: dict[str, AnyArray]) -> Laplace:
    direction = arrays.pop("negative_direction", None)
    for entry in arrays.values():
        if entry.dtype.kind not in "fib":
            raise TypeError(entry.dtype)
    stored: dict[str, Any] = {**header["certificate"], "negative_direction": direction}
    stored["reasons"] = tuple(stored["reasons"])
    certificate = Certificate(**{field.name: stored[field.name] for field in fields(Certificate)})
    mean: FloatArray = arrays.pop("mean")
    precision = _form(header["form"], arrays)
    shapes = {mean.shape, (precision.size,), precision.variance().shape}
    if shapes != {(posterior.n_weights,)}:
        raise ValueError(shapes)
    mean.flags.writeable = False
    return Laplace(posterior, mean, precision, str(header["curvature"]), str(header["structure"]), certificate)


def _identity(posterior: Posterior) -> dict[str, Any]:
    """Say what a posterior is, in words and, for arrays, by their digests."""
    likelihood = posterior.given_likelihood
    noise = likelihood.sigma_noise if isinstance(likelihood, Gaussian) else None
    centre = centre_of(posterior.network, posterior.prior)
    return {
        "model": _words(posterior),
        "likelihood": type(likelihood).__name__ if isinstance(noise, np.ndarray) else stable_repr(likelihood),
        "noise digest": _digest(cast("AnyArray", noise)) if isinstance(noise, np.ndarray) else None,
        "prior digest": _digest(posterior.prior_precision, posterior.prior_mean, centre),
        "rows": posterior.n_rows,
    }


def _words(posterior: Posterior) -> str:
    """Return what the network says of itself; where that is an address, what it calls its weights, too."""
    words = stable_repr(posterior.network)
    if words == repr(posterior.network):
        return words
    names = hashlib.sha256("\0".join(posterior.network.weight_names).encode()).hexdigest()[:16]
    return f"{words} of {posterior.network.n_weights} weights ({names})"


def _digest(*arrays: AnyArray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[:16]


def _factor_arrays(factor: PrecisionFactor, prefix: str = "") -> dict[str, AnyArray]:
    return {f"{prefix}upper": factor.upper, f"{prefix}is_qr": np.array(factor.method == "qr")}


def _factor_of(arrays: dict[str, AnyArray], prefix: str = "") -> PrecisionFactor:
    upper: FloatArray = arrays[f"{prefix}upper"]
    if upper.ndim != 2 or upper.shape[0] != upper.shape[1]:
        raise ValueError(upper.shape)
    return PrecisionFactor(upper, len(upper), "qr" if arrays[f"{prefix}is_qr"] else "cholesky")


def _arrays_of(precision: Structure) -> dict[str, AnyArray]:
    if isinstance(precision, Full):
        return _factor_arrays(precision.upper_factor)
    if isinstance(precision, Diagonal):
        return {"diagonal": precision.diagonal}
    if isinstance(precision, LowRank):
        return {name: getattr(precision, name) for name in ("prior_precision", "eigenvalues", "directions")}
    if isinstance(precision, LastLayer):
        place = np.array([precision.place.start, precision.place.stop, precision.size])
        return {"place": place, **_factor_arrays(precision.inner)}
    assert isinstance(precision, BlockDiagonal)  # there is no other
    arrays: dict[str, AnyArray] = {"places": np.array([(s.start, s.stop) for s in precision.slices])}
    for i, factor in enumerate(precision.factors):
        arrays |= _factor_arrays(factor, f"block{i}_")
    return arrays


def _form(name: str, arrays: dict[str, AnyArray]) -> Structure:
    if name == "Full":
        return Full(_factor_of(arrays))
    if name == "Diagonal":
        return Diagonal(arrays["diagonal"])
    if name == "LowRank":
        return LowRank(arrays["prior_precision"], arrays["eigenvalues"], arrays["directions"])
    if name == "LastLayer":
        start, stop, size = (int(i) for i in arrays["place"])
        return LastLayer(_factor_of(arrays), slice(start, stop), size)
    if name == "BlockDiagonal":
        places = tuple(slice(int(start), int(stop)) for start, stop in arrays["places"])
        return BlockDiagonal(tuple(_factor_of(arrays, f"block{i}_") for i in range(len(places))), places)
    raise ArgumentError("path", f"a file with a precision of form {name!r}", "a file of save_laplace")
