"""Shipped data, CSV files, splits and scaling."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from bayesnn import datasets
from tests.refusals import refuses

ROWS = {"airfoil": (1503, 5), "concrete": (1030, 8), "energy": (768, 8), "yacht": (308, 6)}


@pytest.mark.parametrize("name", ROWS)
def test_shipped_data_have_the_published_size_and_a_licence(name):
    data = datasets.load(name)
    assert data.x.shape == ROWS[name]
    assert len(data.feature_names) == ROWS[name][1]
    assert data.licence == "CC BY 4.0"
    assert data.source


def test_the_series_of_carbon_dioxide_has_its_weeks_in_order():
    data = datasets.load("co2")
    assert data.x.shape == (2284 - 59, 1)
    assert data.licence == "public domain"
    days = np.diff(data.x[:, 0]) * 365.25
    # a week apart, a leap year's fractions of a year a 366th: but for the 59 weeks without a value
    assert np.all(days > 6.9)
    assert round((days / 7.0 - 1.0).sum()) == 59
    # 29 March is day 88 of 1958, counted from 1 January
    assert data.x[0, 0] == pytest.approx(1958 + 87 / 365, abs=1e-9)
    assert (data.y[0], data.y[-1]) == (316.1, 371.5)


def test_concrete_has_992_distinct_inputs():
    assert len(np.unique(datasets.load("concrete").x, axis=0)) == 992


def test_a_split_is_the_documented_permutation_and_loses_no_row():
    data = datasets.load("yacht")
    train, test = data.split(0.25, seed=3)
    order = np.random.default_rng(3).permutation(308)
    np.testing.assert_array_equal(test.x, data.x[np.sort(order[:77])])
    np.testing.assert_array_equal(np.sort(np.concatenate([train.y, test.y])), np.sort(data.y))


def test_scaling_is_learnt_from_the_rows_it_is_asked_of():
    train, test = datasets.load("energy").split(0.2, seed=0)
    scaling = train.scaling()
    np.testing.assert_allclose(scaling.apply(train).x.std(axis=0), 1.0)
    np.testing.assert_allclose(scaling.apply(test).y * train.y.std() + train.y.mean(), test.y)
    assert abs(scaling.apply(test).x.mean()) > 1e-6


def test_constant_columns_are_left_at_scale_one(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n1,3\n1,5\n")
    data = datasets.load_csv(path)
    np.testing.assert_array_equal(data.scaling().apply(data).x, 0.0)


def test_csv_takes_any_column_as_target(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\ufeffa,b,c\n1,2,3\n4,5,6\n")
    data = datasets.load_csv(path, target="a")
    assert data.feature_names == ("b", "c")
    np.testing.assert_array_equal(data.y, [1, 4])


@pytest.mark.parametrize(
    ("text", "got", "wants"),
    [
        ("a,b\n1,2\n3,x\n", "'x'", "finite numbers"),
        ("a,b\n1,2\n3,nan\n", "row 2, column 'b'", "finite"),
        ("a,b\n1,2\n3\n", "row 2 with 1 cells", "2 cells"),
        ("a,b\n1,2\n", "2 lines", "2 rows"),
        ("a\n1\n2\n3\n", "4 lines", "2 columns"),
    ],
)
def test_bad_csv_is_named_by_its_place(tmp_path, text, got, wants):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with refuses("path", got, wants):
        datasets.load_csv(path)


def test_unknown_names_are_refused(tmp_path):
    with refuses("name", "'boston'", "'yacht'"):
        datasets.load("boston")
    with refuses("path", "missing.csv", "a CSV file"):
        datasets.load_csv(tmp_path / "missing.csv")
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    with refuses("target", "'z'", "'a', 'b'"):
        datasets.load_csv(path, target="z")


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1e-6, "half"])
def test_splits_that_leave_a_part_empty_are_refused(fraction):
    with refuses("test_fraction", "", "share"):
        datasets.load("yacht").split(fraction)


def test_shipped_files_are_the_ones_their_table_describes():
    """Values are unchanged from the source: the files' digests, taken when they were copied."""
    folder = datasets.shipped("data")
    for name in DIGESTS:
        text = (folder / f"{name}.csv").read_bytes()
        assert hashlib.sha256(text).hexdigest() == DIGESTS[name], name


DIGESTS = {
    "airfoil": "2e7c258dbad38328d7c9bd60758c809acfec5d993f88d8b28e70ef494a357326",
    "co2": "ce3a5fe2bbde5d77fc082d8b38d05462950bfd82de60b19f16bb27185fed0a45",
    "concrete": "1bdebf54f3ddd1663eb1177d0b69e90eecfa03df32cd36f4f4886dc18ba54691",
    "energy": "d20e5cc791720871296dbf6b62c092a1ed97be01975edc53e3b74f9d788eaa7e",
    "yacht": "87babd951b9d6a6262d222df796f1faa250645a12a047f52f5dac5d7e69c156b",
}


def test_columns_of_one_name_are_refused(tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text("y,a,y\n1,2,3\n4,5,6\n")
    with refuses("path", "more than one column 'y'", "a name for each column"):
        datasets.load_csv(path)


def test_a_file_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "ansi.csv"
    path.write_bytes("Größe,m²\n1,2\n3,4\n".encode("latin-1"))
    with refuses("path", "ansi.csv", "a CSV file in UTF-8"):
        datasets.load_csv(path)


def test_a_column_of_one_number_keeps_its_scale_whatever_the_number():
    x = np.column_stack([np.full(1030, 0.1), np.arange(1030.0)])
    data = replace(datasets.load("yacht"), x=x, y=np.full(1030, 0.3))
    scaling = data.scaling()
    assert (scaling.x_sd[0], scaling.y_sd) == (1.0, 1.0)
    assert scaling.x_sd[1] == pytest.approx(np.arange(1030.0).std())
