"""Small real data sets that come with the package, and a user's own CSV files."""

import csv
import os
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from numbers import Real
from pathlib import Path

import numpy as np

from bayesnn.arrays import FloatArray, IntArray
from bayesnn.checks import describe, one_of
from bayesnn.errors import ArgumentError
from bayesnn.files import shipped
from bayesnn.seeds import seed_sequence

_UCI_LICENCE = "CC BY 4.0"
SOURCES: dict[str, str] = {
    "airfoil": "Brooks, Pope & Marcolini (1989), Airfoil Self-Noise, UCI Machine Learning Repository",
    "concrete": "Yeh (1998), Concrete Compressive Strength, UCI Machine Learning Repository",
    "energy": "Tsanas & Xifara (2012), Energy Efficiency, UCI Machine Learning Repository",
    "yacht": "Gerritsma, Onnink & Versluis (1981), Yacht Hydrodynamics, UCI Machine Learning Repository",
    "co2": "Keeling & Whorf (2004), Atmospheric carbon dioxide record from Mauna Loa, Carbon Dioxide Information "
    "Analysis Center",
}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows of inputs and one target.

    Parameters
    ----------
    name : str
        Short name.
    x : ndarray (n, d)
        Inputs, in the units their names carry.
    y : ndarray (n,)
        Target, likewise.
    feature_names : tuple of str
        One per column of `x`.
    target_name : str
        Name of `y`.
    source, licence : str
        Where the data come from and on what terms.
    """

    name: str
    x: FloatArray
    y: FloatArray
    feature_names: tuple[str, ...]
    target_name: str
    source: str
    licence: str

    def rows(self, index: IntArray) -> "Dataset":
        """Return some rows only."""
        return replace(self, x=self.x[index], y=self.y[index])

    def split(self, test_fraction: float = 0.2, seed: int = 0) -> tuple["Dataset", "Dataset"]:
        """Split rows at random into training and test.

        The test rows are the first of ``numpy.random.default_rng(seed).permutation(n)``, in file order, so that
        the split can be made anew without this package.

        Parameters
        ----------
        test_fraction : float
            Share of the rows to hold out, above 0 and below 1.
        seed : int
            Seed of the permutation.

        Returns
        -------
        train, test : Dataset

        Raises
        ------
        ArgumentError
            If either part would be empty.

        Examples
        --------
        >>> train, test = load("yacht").split(0.2, seed=0)
        >>> len(train.y), len(test.y)
        (246, 62)
        """
        n_rows = len(self.y)
        is_share = isinstance(test_fraction, Real) and 0 < test_fraction < 1
        n_test = round(test_fraction * n_rows) if is_share else 0
        if not 0 < n_test < n_rows:
            raise ArgumentError("test_fraction", describe(test_fraction), f"a share of {n_rows} rows leaving some")
        order = np.random.default_rng(seed_sequence(seed)).permutation(n_rows)
        return self.rows(np.sort(order[n_test:])), self.rows(np.sort(order[:n_test]))

    def scaling(self) -> "Scaling":
        """Return means and standard deviations of these rows; constant columns keep scale 1."""
        # By the range, not by the deviation: the mean of one number, again and again, may be another by rounding.
        sd, y_sd = self.x.std(axis=0), float(self.y.std())
        x_sd = np.where((np.ptp(self.x, axis=0) > 0) & (sd > 0), sd, 1.0)
        return Scaling(
            self.x.mean(axis=0), x_sd, float(self.y.mean()), y_sd if np.ptp(self.y) > 0 and y_sd > 0 else 1.0
        )


@dataclass(frozen=True, eq=False)
class Scaling:
    """A standardisation learnt from training rows.

    Parameters
    ----------
    x_mean, x_sd : ndarray (d,)
        Of the inputs.
    y_mean, y_sd : float
        Of the target.
    """

    x_mean: FloatArray
    x_sd: FloatArray
    y_mean: float
    y_sd: float

    def apply(self, data: Dataset) -> Dataset:
        """Standardise rows, these or others.

        Examples
        --------
        >>> train, test = load("yacht").split(0.2, seed=0)
        >>> scaled = train.scaling().apply(train)
        >>> bool(np.allclose(scaled.x.mean(axis=0), 0)), bool(np.isclose(scaled.y.std(), 1))
        (True, True)
        """
        return replace(data, x=(data.x - self.x_mean) / self.x_sd, y=(data.y - self.y_mean) / self.y_sd)


def load(name: str) -> Dataset:
    """Load a data set that comes with the package, in its own units.

    Parameters
    ----------
    name : {"airfoil", "concrete", "energy", "yacht", "co2"}
        Which. ``"co2"`` is a series: weekly means at Mauna Loa, ppm, against the date as a fraction of years; weeks
        without a measurement are left out.

    Returns
    -------
    Dataset

    Raises
    ------
    ArgumentError
        If there is no such data set.

    Examples
    --------
    >>> data = load("yacht")
    >>> data.x.shape, data.target_name, data.licence
    ((308, 6), 'residuary_resistance', 'CC BY 4.0')
    """
    one_of("name", name, SOURCES)
    if name == "co2":
        return _co2()
    data = load_csv(shipped("data", f"{name}.csv"))
    return replace(data, name=name, source=SOURCES[name], licence=_UCI_LICENCE)


def load_csv(path: str | os.PathLike[str], target: str | None = None) -> Dataset:
    """Load a CSV file with a header line and numbers below it.

    Parameters
    ----------
    path : path-like
        The file.
    target : str, optional
        Name of the target's column; by default the last.

    Returns
    -------
    Dataset

    Raises
    ------
    ArgumentError
        If the file is missing or not UTF-8, a cell is not a finite number, columns share a name, or there is no such
        column.
    """
    place = Path(path)
    if not place.is_file():
        raise ArgumentError("path", str(place), "a CSV file")
    try:
        with place.open(newline="", encoding="utf-8-sig") as handle:
            lines = [line for line in csv.reader(handle) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ArgumentError("path", f"{place.name} ({error})", "a CSV file in UTF-8") from None
    if len(lines) < 3 or len(lines[0]) < 2:
        raise ArgumentError("path", f"{place.name} with {len(lines)} lines", "a header, 2 columns and 2 rows at least")
    header, body = [name.strip() for name in lines[0]], lines[1:]
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise ArgumentError("path", f"{place.name} with more than one column {twice[0]!r}", "a name for each column")
    table = np.empty((len(body), len(header)))
    for row, cells in enumerate(body):
        if len(cells) != len(header):
            raise ArgumentError("path", f"{place.name} row {row + 1} with {len(cells)} cells", f"{len(header)} cells")
        for column, cell in enumerate(cells):
            table[row, column] = _number(cell, f"{place.name} row {row + 1}, column {header[column]!r}")
    target = header[-1] if target is None else target
    one_of("target", target, header)
    column = header.index(target)
    others = [i for i in range(len(header)) if i != column]
    return Dataset(
        name=place.stem,
        x=table[:, others],
        y=table[:, column],
        feature_names=tuple(header[i] for i in others),
        target_name=target,
        source=place.name,
        licence="the user's own",
    )


def _co2() -> Dataset:
    """Weeks with a measurement; dates written yyyymmdd become fractions of years."""
    with shipped("data", "co2.csv").open(newline="", encoding="utf-8") as handle:
        rows = [(date, value) for date, value in list(csv.reader(handle))[1:] if value]
    days = [datetime.strptime(date, "%Y%m%d") for date, _ in rows]
    years = [day.year + (day - datetime(day.year, 1, 1)) / _length_of_year(day.year) for day in days]
    values = [_number(value, f"co2.csv, {date}") for date, value in rows]
    return Dataset(
        "co2", np.array(years)[:, None], np.array(values), ("date",), "co2_ppmv", SOURCES["co2"], "public domain"
    )


def _length_of_year(year: int) -> timedelta:
    return datetime(year + 1, 1, 1) - datetime(year, 1, 1)


def _number(cell: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise ArgumentError("path", f"{cell!r} at {where}", "finite numbers")
    return value
