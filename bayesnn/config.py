"""Run files: typed settings of a job, read from TOML."""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bayesnn.checks import describe
from bayesnn.errors import ArgumentError
from bayesnn.sampling.proposal import AROUND_ONE, MoveName

type Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    """A table of the run file: unknown keys and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class DataConfig(_Section):
    """``[data]``: a shipped data set by `name`, or a CSV file by `path`."""

    name: str | None = None
    path: str | None = None
    target: str | None = None
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2


class ModelConfig(_Section):
    """``[model]``: the network; inputs and outputs follow from the data."""

    hidden: list[Count] = [3]
    activation: Literal["tanh", "relu", "softplus", "sin", "identity"] = "tanh"
    bias: bool = True


class PosteriorConfig(_Section):
    """``[posterior]``: noise and prior in standardised units, and whether the evidence tunes them."""

    sigma_noise: Annotated[float, Field(gt=0)] = 0.3
    prior_precision: Annotated[float, Field(gt=0)] = 1.0
    maximize_evidence: bool = True


class OptimumConfig(_Section):
    """``[optimum]``: the search."""

    n_starts: Count = 8
    n_hops: Annotated[int, Field(ge=0)] = 0
    max_steps: Count = 1000


class LaplaceConfig(_Section):
    """``[laplace]``: the Gaussian."""

    curvature: Literal["ggn", "hessian"] = "ggn"


class SamplingConfig(_Section):
    """``[sampling]``: arguments of :func:`bayesnn.sample`, and in how many of the optima found chains start."""

    num_chains: Annotated[int, Field(ge=2)] | None = None
    num_warmup: Annotated[int, Field(ge=0)] = 200
    num_samples: Annotated[int, Field(ge=4)] = 500
    move: MoveName = "auto"
    metric: Literal["auto", "averaged", "laplace", "diagonal", "unit"] = "auto"
    start: Literal["laplace", "laplace_t", "prior"] = "laplace"
    num_integration_steps: Count | None = None
    n_modes: Count = 1


class GrowthConfig(_Section):
    """``[growth]``: arguments of :func:`bayesnn.data_growth`, for ``bayesnn growth``; sizes double up to all rows.

    With ``twin`` the targets are made by the network fitted to all rows: what is then left of a distance is the data's.
    """

    sizes: list[Count] = []
    replicates: Count = 5
    executor: str = "process"
    learning: bool = False
    twin: bool = False
    kl: Annotated[float, Field(gt=0)] = 0.05


class OutputConfig(_Section):
    """``[output]``: where results go, relative to the working folder."""

    directory: str = "runs"


class RunConfig(_Section):
    """A whole run file."""

    seed: Annotated[int, Field(ge=0)] = 0
    data: DataConfig
    model: ModelConfig = ModelConfig()
    posterior: PosteriorConfig = PosteriorConfig()
    optimum: OptimumConfig = OptimumConfig()
    laplace: LaplaceConfig = LaplaceConfig()
    sampling: SamplingConfig = SamplingConfig()
    growth: GrowthConfig = GrowthConfig()
    output: OutputConfig = OutputConfig()

    def in_short(self) -> "RunConfig":
        """Return the same job cut to a few seconds, for trying it out."""
        at_most = {"optimum": {"n_starts": 2, "n_hops": 4}, "sampling": {"num_warmup": 60, "num_samples": 50}}
        update: dict[str, _Section] = {}
        for table, most in at_most.items():
            section: _Section = getattr(self, table)
            fewer = {name: min(getattr(section, name), count) for name, count in most.items()}
            update[table] = section.model_copy(update=fewer)
        return self.model_copy(update=update)


def read_config(path: str | os.PathLike[str]) -> RunConfig:
    """Read a run file.

    Parameters
    ----------
    path : path-like
        A TOML file.

    Returns
    -------
    RunConfig

    Raises
    ------
    ArgumentError
        If the file is missing or not TOML, a key is unknown, or a value has the wrong type or range: one line that
        names the key, what it got and what it wants.
    """
    place = Path(path)
    if not place.is_file():
        raise ArgumentError("config", str(place), "a TOML file")
    try:
        tables = tomllib.loads(place.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArgumentError("config", f"{place.name} ({error})", "valid TOML") from None
    return parse_config(tables)


def parse_config(tables: dict[str, Any]) -> RunConfig:
    """Check the tables of a run file.

    Raises
    ------
    ArgumentError
        As :func:`read_config`.

    Examples
    --------
    >>> parse_config({"data": {"name": "yacht"}}).model.hidden
    [3]
    >>> parse_config({"data": {"name": "yacht", "colour": 1}})
    Traceback (most recent call last):
        ...
    bayesnn.errors.ArgumentError: data.colour: got 1, wants one of the keys name, path, target, test_fraction
    """
    try:
        config = RunConfig.model_validate(tables)
    except ValidationError as error:
        raise _argument_error(error) from None
    if (config.data.name is None) == (config.data.path is None):
        raise ArgumentError("data", "both name and path" if config.data.name else "neither name nor path", "one")
    if config.data.name is not None and config.data.target is not None:
        got = f"{config.data.target!r} beside name = {config.data.name!r}"
        raise ArgumentError("data.target", got, "a path: shipped data have their target")
    sampling = config.sampling
    if sampling.move in AROUND_ONE and sampling.n_modes > 1:
        got = f"{sampling.move!r} for n_modes = {sampling.n_modes}"
        raise ArgumentError("sampling.move", got, "another: this one proposes around one Gaussian")
    keeps_modes = sampling.move not in ("auto", "replica_exchange") and sampling.start != "prior"
    if keeps_modes and sampling.num_chains is not None and sampling.num_chains < 2 * sampling.n_modes:
        got = f"{sampling.num_chains} for n_modes = {sampling.n_modes}"
        raise ArgumentError("sampling.num_chains", got, "at least 2 for each mode")
    return config


def _argument_error(error: ValidationError) -> ArgumentError:
    """Say the first of pydantic's complaints in our form."""
    complaint = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in complaint["loc"])
    if complaint["type"] == "extra_forbidden":
        section = RunConfig.model_fields
        for part in complaint["loc"][:-1]:
            annotation = section[str(part)].annotation
            assert isinstance(annotation, type)  # only tables hold keys
            assert issubclass(annotation, BaseModel)
            section = annotation.model_fields
        return ArgumentError(key, describe(complaint["input"]), "one of the keys " + ", ".join(section))
    if complaint["type"] == "missing":
        return ArgumentError(key, "nothing", "a value")
    wants = complaint["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    return ArgumentError(key, describe(complaint["input"]), wants)
