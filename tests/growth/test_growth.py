"""Growth studies: nothing twice, what fails is recorded, and rates that theory knows."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from bayesnn import MLP, Gaussian, NormalPrior, Posterior
from bayesnn.errors import BayesnnError
from bayesnn.growth import Growth, Record, Subsamples, Twin, cell, data_growth, study
from bayesnn.growth.cell import Cell, CellSettings
from bayesnn.growth.rates import fit_rate, medians
from bayesnn.growth.record import OK
from tests.growth.studies import SIZES, SMALL, TEACHER, TWO_FOR_ONE
from tests.interruption import interrupt_draws
from tests.refusals import refuses


def test_each_cell_has_a_record(here):
    assert [(record.n, record.replicate) for record in here.records] == [(60, 0), (60, 1), (120, 0), (120, 1)]
    assert {record.status for record in here.records} == {OK}
    assert here.to_dataset()["hessian_kl"].dims == ("n", "replicate")
    assert here.table().row_count == len(SIZES) + 2


def test_what_is_there_is_not_done_again(here, tmp_path, monkeypatch):
    first = data_growth(TEACHER, SIZES, directory=tmp_path, **SMALL)
    assert first.records == here.records
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4
    before = [path.stat().st_mtime_ns for path in files]
    files[-1].unlink()
    done = []
    import bayesnn.growth.study as study

    run_cell = study.run_cell
    monkeypatch.setattr(study, "run_cell", lambda *arguments: done.append(arguments[1].n) or run_cell(*arguments))
    assert data_growth(TEACHER, SIZES, directory=tmp_path, **SMALL).records == here.records
    assert len(done) == 1
    assert [path.stat().st_mtime_ns for path in files[:-1]] == before[:-1]


@dataclass(frozen=True)
class Failing:
    """Has no posterior of one size."""

    def __call__(self, n, seed):
        posterior = TEACHER(n, seed)
        if n == SIZES[0]:
            return Failed(posterior.network, posterior.x, posterior.y, Gaussian(0.3), posterior.prior)
        return posterior


class Failed(Posterior):
    def value_and_gradient(self, weights):
        raise BayesnnError("no gradient today")

    linearize = value_and_gradient


def test_a_cell_that_fails_is_recorded_and_the_rest_goes_on():
    found = data_growth(Failing(), SIZES, **SMALL)
    assert [record.status for record in found.records] == ["failed", "failed", OK, OK]
    assert "no gradient today" in found.records[0].message
    assert np.isnan(found.values("hessian_kl")[0]).all()


def beside_another(n, seed):
    """Two units where one made the data: two optima within the width of one Gaussian."""
    return TWO_FOR_ONE(n, 0)


def test_a_local_maximum_within_the_width_of_another_is_a_cell_that_says_so():
    found = data_growth(beside_another, [125], learning=True, **(SMALL | {"replicates": 1}))
    (record,) = found.records
    assert record.status == OK
    assert "perturbed by 0.5 posterior sd, searches end" in record.message
    assert record.weight_names == TWO_FOR_ONE.student.weight_names
    assert record.numbers["learning_coefficient"] > 0


def synthetic(slope, n_sizes=5, replicates=4, noise=0.05):
    """Records whose KL falls as a power of n, with noise."""
    rng = np.random.default_rng(0)
    sizes = 100 * 2 ** np.arange(n_sizes)
    records = [
        Record(
            int(n),
            r,
            "key",
            OK,
            numbers={
                "converged": 1.0,
                "hessian_kl": float(60.0 * (n / 60.0) ** slope * np.exp(noise * rng.standard_normal())),
            },
        )
        for n in sizes
        for r in range(replicates)
    ]
    return Growth(tuple(records))


def test_rates_are_those_of_a_power_law():
    rate = synthetic(-1.0).rates()["hessian_kl"]
    # sd of a slope over 5 log-spaced sizes: noise / sqrt(replicates * sum (x - mean)^2) = 0.05 / sqrt(4 * 10 * 0.48)
    assert abs(rate.slope + 1.0) < 4.5 * 0.05 * 1.25 / np.sqrt(4 * 10 * np.log(2) ** 2)
    assert rate.follows
    assert rate.n_sizes == 5


def test_the_size_from_which_a_rate_holds_is_found():
    # flat below 400, a power law from there on
    rng = np.random.default_rng(1)
    sizes = 100.0 * 2 ** np.arange(7)
    line = 60.0 / np.maximum(sizes, 400.0)
    values = line[:, None] * np.exp(0.02 * rng.standard_normal((7, 5)))
    rate, _ = fit_rate("hessian_kl", sizes, values, -1.0)
    assert not rate.follows
    assert rate.holds_from == 400.0
    flat, _ = fit_rate("hessian_kl", sizes, np.exp(0.02 * rng.standard_normal((7, 5))), -1.0)
    assert np.isnan(flat.holds_from)


def test_medians_and_lines_are_those_of_numpy():
    rng = np.random.default_rng(2)
    sizes, values = np.array([10.0, 30.0, 100.0, 300.0]), np.exp(rng.standard_normal((4, 5)))
    values[1, :2] = np.nan
    np.testing.assert_allclose(medians(values), np.nanmedian(values, axis=1))
    rate, lines = fit_rate("hessian_kl", sizes, values, -1.0)
    slope, intercept = np.polyfit(np.log(sizes), np.log(np.nanmedian(values, axis=1)), 1)
    assert (rate.slope, rate.intercept) == (pytest.approx(slope), pytest.approx(intercept))
    assert rate.slope_interval == pytest.approx(tuple(np.quantile(lines[:, 1], [0.025, 0.975])))


def test_the_size_that_is_good_enough_is_extrapolated():
    found = synthetic(-1.0).good_enough(kl=0.05)
    # 60 (60 / n) = 0.05 at n = 72000
    assert found.interval[0] < 72_000 < found.interval[1]
    assert found.n == pytest.approx(72_000, rel=0.2)


def test_nothing_is_extrapolated_where_the_rate_does_not_hold():
    found = synthetic(-0.3).good_enough(kl=0.05)
    assert np.isnan(found.n)
    assert "not as n^-1" in found.reason


def test_subsamples_are_nested():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 2)), rng.standard_normal(50)
    make = Subsamples(Posterior(MLP(2, (), 1), x, y, Gaussian(0.5), NormalPrior(1.0)))
    assert np.array_equal(make(10, 3).x, make(30, 3).x[:10])
    assert not np.array_equal(make(10, 3).x, make(10, 4).x)
    assert np.array_equal(TEACHER(10, 3).x, TEACHER(30, 3).x[:10])
    # products of matrices of other shapes are rounded otherwise
    np.testing.assert_allclose(TEACHER(10, 3).y, TEACHER(30, 3).y[:10], rtol=1e-12)


def test_bad_input(tmp_path):
    with refuses("sizes", "[60, 60]", "increasing"):
        data_growth(TEACHER, [60, 60])
    with refuses("sizes", "1", "at least 2"):
        data_growth(TEACHER, [1, 60])
    rng = np.random.default_rng(0)
    few = Subsamples(
        Posterior(MLP(2, (), 1), rng.standard_normal((50, 2)), np.zeros(50), Gaussian(1.0), NormalPrior(1.0))
    )
    with refuses("sizes", "60", "at most the 50 rows"):
        data_growth(few, [10, 60])
    with refuses("executor", "'thread'", "'serial'"):
        data_growth(TEACHER, [60], executor="thread")
    with refuses("make_posterior", "3", "callable"):
        data_growth(3, [60])
    with refuses("learning", "without it", "learning=True"):
        synthetic(-1.0).learning_coefficient()
    data_growth(TEACHER, [60], directory=tmp_path, **(SMALL | {"replicates": 1}))
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text()[:100])
    with refuses("directory", "no whole record", "removed"):
        data_growth(TEACHER, [60], directory=tmp_path, **(SMALL | {"replicates": 1}))
    file.write_text('{"format": 0}')
    with refuses("directory", "another version", "removed"):
        data_growth(TEACHER, [60], directory=tmp_path, **(SMALL | {"replicates": 1}))


def test_noise_that_is_inferred_follows_from_size_to_size():
    posterior = TEACHER(120, 0)
    make = Subsamples(Posterior(posterior.network, posterior.x, posterior.y, Gaussian("infer"), posterior.prior))
    found = data_growth(make, SIZES, **SMALL)
    assert [record.message for record in found.records if record.status != OK] == []


def test_a_twin_has_the_noise_that_was_inferred():
    x = np.linspace(-1.0, 1.0, 4000)[:, None]
    real = Posterior(MLP(1, (), 1), x, x, Gaussian("infer"), NormalPrior(1.0))
    twin = Twin(real, np.array([2.0, 0.0, np.log(0.3)]))(4000, 0)
    off = twin.y - 2.0 * twin.x
    assert twin.y.shape == (4000, 1)
    assert abs(off.std() / 0.3 - 1.0) < 4.5 / np.sqrt(2 * 4000)
    with refuses("weights", "shape (2,)", "shape (3,)"):
        Twin(real, np.array([2.0, 0.0]))(100, 0)


def test_each_rows_noise_goes_with_it():
    x, sigma = np.arange(6.0)[:, None], np.linspace(0.1, 0.6, 6)
    whole = Posterior(MLP(1, (), 1), x, 2 * x, Gaussian(sigma), NormalPrior(1.0))
    for n in (4, 6):
        part = Subsamples(whole)(n, 3)
        np.testing.assert_array_equal(part.likelihood.noise_sds(n)[:, 0], sigma[part.x[:, 0].astype(int)])
    twin = Twin(whole, np.array([2.0, 0.0]))(6, 3)
    assert twin.y.shape == (6, 1)


def test_ctrl_c_ends_a_study_and_keeps_no_part_of_a_cell(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_draws(patch, 20)
        with pytest.raises(KeyboardInterrupt):
            data_growth(TEACHER, SIZES, directory=tmp_path, executor="serial", **SMALL)
    with monkeypatch.context() as patch:
        search = cell.find_optimum
        patch.setattr(cell, "find_optimum", lambda *a, **how: replace(search(*a, **how), interrupted=True))
        with pytest.raises(KeyboardInterrupt):
            data_growth(TEACHER, SIZES, directory=tmp_path, executor="serial", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_one_replicate_has_no_interval():
    sizes = np.array([100.0, 200.0, 400.0, 800.0])
    rate, _ = fit_rate("hessian_kl", sizes, 5.0 / sizes[:, None], -1.0)
    assert rate.slope == pytest.approx(-1.0)
    assert np.isnan(rate.slope_interval).all()
    assert not rate.follows
    assert np.isnan(rate.holds_from)
    records = tuple(Record(int(n), 0, "key", OK, numbers={"hessian_kl": 5.0 / n, "converged": 1.0}) for n in sizes)
    enough = Growth(records).good_enough(0.01)
    assert np.isnan(enough.n)
    assert "one replicate" in enough.reason


def test_a_cell_is_kept_before_the_next_one_begins(tmp_path, monkeypatch):
    seen, run_cell = [], study.run_cell
    monkeypatch.setattr(
        study, "run_cell", lambda *arguments: seen.append(len(list(tmp_path.iterdir()))) or run_cell(*arguments)
    )
    data_growth(TEACHER, SIZES, directory=tmp_path, executor="serial", **SMALL)
    assert seen == [0, 1, 2, 3]


def test_a_cell_without_room_is_tried_again(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:

        def no_room(*_, **__):
            raise MemoryError("1 TiB")

        patch.setattr(cell, "sample", no_room)
        found = data_growth(TEACHER, SIZES[:1], directory=tmp_path, executor="serial", **SMALL)
    assert {record.message for record in found.records} == {"out of memory: 1 TiB"}
    assert list(tmp_path.iterdir()) == []
    again = data_growth(TEACHER, SIZES[:1], directory=tmp_path, executor="serial", **SMALL)
    assert {record.status for record in again.records} == {OK}


def test_a_maker_that_fails_for_one_replicate_leaves_the_others():
    bad = Cell(SIZES[0], 1).data_seed(CellSettings())

    def make(n, seed):
        if seed == bad and n == SIZES[0]:
            raise ValueError("a constant column")
        return TEACHER(n, seed)

    found = data_growth(make, SIZES, executor="serial", **SMALL)
    assert [record.status for record in found.records] == [OK, "failed", OK, OK]
    assert found.records[1].message == "ValueError: a constant column"


def test_distances_too_small_to_be_seen_count_as_small():
    # medians of five replicates fall as n^-0.5; at the largest size two are smaller than chance
    sizes = 60.0 * 2.0 ** np.arange(5)
    values = sizes[:, None] ** -0.5 * np.array([0.5, 0.8, 1.0, 1.5, 2.0])
    values[-1, :2] = 0.0
    rate, _ = fit_rate("hessian_mean_error", sizes, values, -0.5)
    assert rate.n_sizes == 5
    assert rate.slope == pytest.approx(-0.5, abs=1e-12)
    values[-1, 3] = np.inf
    assert fit_rate("hessian_mean_error", sizes, values, -0.5)[0].slope == pytest.approx(-0.5, abs=1e-12)
    # three of five leave no median to be known
    values[-1, 2] = 0.0
    assert fit_rate("hessian_mean_error", sizes, values, -0.5)[0].n_sizes == 4


def test_one_size_is_one_size():
    (record,) = data_growth(TEACHER, [60], **(SMALL | {"replicates": 1})).records
    assert (
        "KL is known at 1 size,"
        in Growth((replace(record, numbers=record.numbers | {"converged": 1.0}),)).good_enough().reason
    )


def test_subsamples_of_hdf5_are_those_in_memory(tmp_path):
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 2)), rng.standard_normal((50, 1))
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x"], file["y"] = x, y
        parts = [
            Subsamples(Posterior(MLP(2, (), 1), *data, Gaussian(0.5), NormalPrior(1.0)))(20, 7)
            for data in ((x, y), (file["x"], file["y"]))
        ]
    assert np.array_equal(parts[0].x, parts[1].x)
    assert np.array_equal(parts[0].y, parts[1].y)


def test_two_rows_teach_nothing():
    with refuses("sizes", "2", "at least 3 rows"):
        data_growth(TEACHER, [2, 60], learning=True)
