import json
import zipfile
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from bayesnn.errors import ArgumentError
from bayesnn.laplace import fit_laplace, load_laplace, maximize_evidence, save_laplace
from bayesnn.models import MLP, FunctionModel
from bayesnn.optimum import certify, find_optimum
from bayesnn.posterior import (
    Bernoulli,
    Categorical,
    FlatPrior,
    Gaussian,
    HeteroscedasticGaussian,
    NormalPrior,
    Poisson,
    Posterior,
    StudentT,
)
from tests.optimum.test_certificate import saddle_posterior
from tests.refusals import refuses

NEW_X = np.array([[0.0, 0.0], [1.0, -1.0], [10.0, 0.5]])
KINDS = [
    (structure, curvature)
    for structure in ("full", "layer", "diag", "lowrank", "last_layer")
    for curvature in ("ggn", "hessian", "fisher")
    if (structure, curvature) != ("lowrank", "hessian")  # refused by fit_laplace
]
FORMS = {"full": "Full", "layer": "BlockDiagonal", "diag": "Diagonal", "lowrank": "LowRank", "last_layer": "LastLayer"}


def inputs(n=40):
    return np.random.default_rng(8).standard_normal((n, 2))


def targets(likelihood, n=40, outputs=1):
    rng = np.random.default_rng(9)
    signal = np.tanh(inputs(n)[:, 0])
    if isinstance(likelihood, Bernoulli):
        return (rng.random(n) < 0.5 + 0.4 * signal).astype(float)
    if isinstance(likelihood, Categorical):
        return rng.integers(3, size=n).astype(float)
    if isinstance(likelihood, Poisson):
        return rng.poisson(np.exp(signal)).astype(float)
    y = signal[:, None] + 0.2 * rng.standard_normal((n, outputs))
    return y[:, 0] if outputs == 1 else y


LIKELIHOODS = {
    "Gaussian": (Gaussian(0.2), 1),
    "Gaussian, two outputs": (Gaussian(0.2), 2),
    "Gaussian, sigma per row": (Gaussian(np.linspace(0.1, 0.5, 40)), 1),
    "Gaussian, infer": (Gaussian("infer"), 1),
    "Gaussian, infer under a prior": (Gaussian("infer", log_sigma_prior=(-1.0, 0.5)), 1),
    "Bernoulli": (Bernoulli(), 1),
    "Categorical": (Categorical(), 3),
    "Poisson": (Poisson(), 1),
    "StudentT": (StudentT(4.0, 0.2), 1),
    "HeteroscedasticGaussian": (HeteroscedasticGaussian(), 2),
}


def posterior(likelihood, outputs=1, prior=None, n=40, hidden=(2,)):
    rows = targets(likelihood, n, 1 if isinstance(likelihood, HeteroscedasticGaussian) else outputs)
    return Posterior(MLP(2, hidden, outputs), inputs(n), rows, likelihood, prior or NormalPrior(1.0))


def fresh(post):
    """The same posterior from new objects, as another process would have it."""
    likelihood = post.given_likelihood
    if isinstance(likelihood, Gaussian):
        likelihood = Gaussian(likelihood.sigma_noise, likelihood.log_sigma_prior)
    prior = post.prior
    if isinstance(prior, NormalPrior):
        prior = NormalPrior(prior.prior_precision, prior.prior_mean)
    return Posterior(post.network, post.x.copy(), post.y.copy(), likelihood, prior)


def assert_same_certificate(found, expected):
    for field in fields(expected):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        assert type(one) is type(other), field.name
        if isinstance(one, np.ndarray | float):
            assert np.array_equal(one, other, equal_nan=True), field.name
        else:
            assert one == other, field.name


def assert_same(found, expected, x=None):
    """To the last bit."""
    assert found.curvature == expected.curvature
    assert found.structure == expected.structure
    assert type(found.precision) is type(expected.precision)
    assert np.array_equal(found.mean, expected.mean)
    assert_same_certificate(found.certificate, expected.certificate)
    draws = expected.sample(6, seed=3)
    assert np.array_equal(found.sample(6, seed=3), draws)
    assert np.array_equal(found.log_prob(draws), expected.log_prob(draws))
    assert np.array_equal(found.log_prob(draws + 0.1), expected.log_prob(draws + 0.1))
    assert np.array_equal(found.posterior_variance, expected.posterior_variance)
    assert found.log_det_posterior_precision == expected.log_det_posterior_precision
    assert found.log_marginal_likelihood == expected.log_marginal_likelihood
    x = NEW_X if x is None else x
    for kind in ("glm", "weights"):
        for one, other in zip(found.predict(x, kind), expected.predict(x, kind), strict=True):
            assert np.array_equal(one, other)
    assert np.array_equal(found.functional_covariance(x), expected.functional_covariance(x))
    if expected.structure != "last_layer":  # whose fixed weights have no precision
        assert found.factor.method == expected.factor.method
        assert np.array_equal(found.factor.upper, expected.factor.upper)


def round_trip(laplace, folder):
    path = save_laplace(laplace, folder / "a.laplace")
    assert sorted(p.name for p in folder.iterdir()) == ["a.laplace"]
    return load_laplace(path, fresh(laplace.posterior))


@pytest.mark.parametrize(("structure", "curvature"), KINDS)
def test_every_structure_and_curvature_comes_back(structure, curvature, teacher_posterior, teacher_optimum, tmp_path):
    laplace = fit_laplace(teacher_posterior, teacher_optimum, curvature=curvature, structure=structure)
    assert type(laplace.precision).__name__ == FORMS[structure]
    assert_same(round_trip(laplace, tmp_path), laplace)


@pytest.mark.parametrize("rank", [1, 3, 100])
def test_any_number_of_directions_comes_back(rank, teacher_posterior, teacher_optimum, tmp_path):
    laplace = fit_laplace(teacher_posterior, teacher_optimum, structure="lowrank", rank=rank)
    assert laplace.precision.eigenvalues.size == min(rank, 9)
    assert_same(round_trip(laplace, tmp_path), laplace)


@pytest.mark.parametrize("structure", ["full", "layer", "diag", "lowrank", "last_layer"])
@pytest.mark.parametrize("n", [3, 12])
def test_fewer_rows_than_weights_come_back(n, structure, tmp_path):
    post = posterior(Gaussian(0.2), n=n, hidden=(4, 3))
    laplace = fit_laplace(post, find_optimum(post, seed=0), structure=structure)
    if structure == "full":
        assert type(laplace.precision).__name__ == "LowRank"
    assert_same(round_trip(laplace, tmp_path), laplace)


@pytest.mark.parametrize("structure", ["full", "layer", "last_layer"])
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_every_likelihood_comes_back(name, structure, tmp_path):
    post = posterior(*LIKELIHOODS[name])
    laplace = fit_laplace(post, find_optimum(post, n_starts=2, seed=0), structure=structure)
    found = round_trip(laplace, tmp_path)
    assert_same(found, laplace)
    if "per row" not in name:  # whose new targets have no noise
        for one, other in zip(found.predict(NEW_X, noise=True), laplace.predict(NEW_X, noise=True), strict=True):
            assert np.array_equal(one, other)
        y = np.ones((3, laplace.posterior.y.shape[1]))
        assert np.array_equal(found.log_predictive_density(NEW_X, y), laplace.log_predictive_density(NEW_X, y))
    assert np.array_equal(found.sandwich_covariance, laplace.sandwich_covariance)


@pytest.mark.parametrize(
    "prior",
    [
        NormalPrior([0.5, 2.0]),
        NormalPrior(np.linspace(0.5, 2.0, 9)),
        NormalPrior(2.0, prior_mean=0.3),
        NormalPrior([1.0, 2.0], prior_mean=np.linspace(-1.0, 1.0, 9)),
        FlatPrior(),
    ],
)
def test_every_prior_comes_back(prior, teacher_data, teacher_optimum, tmp_path):
    post = Posterior(MLP(2, (2,), 1), *teacher_data, Gaussian(0.1), prior)
    laplace = fit_laplace(post, find_optimum(post, start=teacher_optimum.weights))
    assert_same(round_trip(laplace, tmp_path), laplace)


def test_a_factor_by_qr_comes_back(tmp_path):
    x = np.linspace(0.0, 1.0, 30)[:, None] ** np.arange(1, 9)
    post = Posterior(MLP(8, (), 1), x, np.sin(5 * x[:, 0]), Gaussian(0.1), FlatPrior())
    laplace = fit_laplace(post, np.zeros(9))
    assert laplace.factor.method == "qr"
    assert_same(round_trip(laplace, tmp_path), laplace, x[:4])


def test_a_function_of_ones_own_comes_back(tmp_path):
    def decay(w, x):
        return w[0] * np.exp(-w[1] * x)

    x = np.linspace(0.0, 3.0, 20)
    post = Posterior(FunctionModel(decay, ["height", "rate"]), x, 2.0 * np.exp(-0.5 * x), Gaussian(0.1), FlatPrior())
    laplace = fit_laplace(post, find_optimum(post, start=[1.0, 1.0]))
    assert_same(round_trip(laplace, tmp_path), laplace, x[:4])


def test_a_tuned_posterior_and_a_plain_one_of_its_numbers_are_the_same(linear_data, tmp_path):
    tuned = maximize_evidence(Posterior(MLP(3, (), 1), *linear_data, Gaussian(1.0), NormalPrior(1.0)), seed=0)
    laplace = fit_laplace(tuned, tuned.tuning.optimum)
    assert_same(round_trip(laplace, tmp_path), laplace, linear_data[0][:4])


def test_a_direction_of_negative_curvature_comes_back(tmp_path):
    post, _ = saddle_posterior(1.0)
    laplace = fit_laplace(post, np.zeros(post.n_weights))
    assert laplace.certificate.negative_direction is not None
    assert np.isinf(laplace.certificate.newton_decrement)
    assert_same(round_trip(laplace, tmp_path), laplace, NEW_X[:, :1])


def test_a_point_that_is_no_optimum_comes_back_as_none(teacher_posterior, teacher_optimum, tmp_path):
    laplace = fit_laplace(teacher_posterior, teacher_optimum.weights + 0.01)
    found = round_trip(laplace, tmp_path)
    assert not found.certificate.is_optimum
    assert_same(found, laplace)


def test_a_certificate_with_every_number_in_it_comes_back(teacher_laplace, tmp_path):
    full = certify(teacher_laplace.posterior, teacher_laplace.mean, perturb=True)
    assert full.return_distance is not None
    laplace = replace(teacher_laplace, certificate=replace(full, ggn_hessian_gap=float("nan")))
    found = round_trip(laplace, tmp_path)
    assert np.isnan(found.certificate.ggn_hessian_gap)
    assert_same(found, laplace)


def test_what_comes_back_can_be_saved_again(teacher_laplace, tmp_path):
    again = round_trip(round_trip(teacher_laplace, tmp_path), tmp_path)
    assert_same(again, teacher_laplace)


def test_the_posterior_is_the_one_handed_in_and_the_mean_cannot_be_changed(teacher_laplace, tmp_path):
    post = fresh(teacher_laplace.posterior)
    found = load_laplace(save_laplace(teacher_laplace, tmp_path / "a"), post)
    assert found.posterior is post
    with pytest.raises(ValueError, match="read-only"):
        found.mean[0] = 1.0


def test_precisions_said_in_another_way_are_the_same(teacher_laplace, teacher_data, tmp_path):
    path = save_laplace(teacher_laplace, tmp_path / "a")
    for prior in (NormalPrior(1), NormalPrior([1.0, 1.0]), NormalPrior(np.ones(9), np.zeros(2))):
        load_laplace(path, Posterior(MLP(2, (2,), 1), *teacher_data, Gaussian(0.1), prior))


@pytest.mark.parametrize(("structure", "curvature"), [*KINDS, ("saddle", "ggn")])
def test_the_file_holds_numbers_and_json_and_nothing_that_runs(
    structure, curvature, teacher_posterior, teacher_optimum, tmp_path
):
    if structure == "saddle":
        laplace = fit_laplace(saddle_posterior(1.0)[0], np.zeros(7))
    else:
        laplace = fit_laplace(teacher_posterior, teacher_optimum, curvature=curvature, structure=structure)
    path = save_laplace(laplace, tmp_path / "a.npz")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert all(name.endswith(".npy") for name in archive.namelist())
    with np.load(path, allow_pickle=False) as file:
        assert {"header", "mean"} < set(file.files)
        assert all(file[name].dtype.kind in "fiub" for name in file.files)
        header = json.loads(file["header"].tobytes())
    assert header["format"] == 1
    assert (header["curvature"], header["structure"]) == (laplace.curvature, laplace.structure)


def test_data_are_not_written(teacher_laplace, tmp_path):
    path = save_laplace(teacher_laplace, tmp_path / "a")
    x = teacher_laplace.posterior.x
    assert x[7:9].tobytes() not in path.read_bytes()
    with np.load(path) as file:
        assert all(len(x) not in file[name].shape for name in file.files if name != "header")


def test_paths_may_be_strings_and_folders_new_and_the_name_stays_as_it_is(teacher_laplace, tmp_path):
    path = save_laplace(teacher_laplace, str(tmp_path / "new" / "folder" / "a.laplace"))
    assert path == tmp_path / "new" / "folder" / "a.laplace"
    assert isinstance(path, Path)
    assert_same(load_laplace(str(path), teacher_laplace.posterior), teacher_laplace)


def test_an_older_file_is_replaced(teacher_laplace, tmp_path):
    (tmp_path / "a.laplace").write_text("old")
    assert_same(round_trip(teacher_laplace, tmp_path), teacher_laplace)


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("older", [None, b"old"])
def test_where_writing_fails_nothing_is_left_and_the_older_file_stays(
    failure, older, teacher_laplace, tmp_path, monkeypatch
):
    target = tmp_path / "a.laplace"
    if older:
        target.write_bytes(older)

    def half(file, *args, **arrays):
        file.write(b"PK half of it")
        raise failure

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(type(failure)):
        save_laplace(teacher_laplace, target)
    assert [p.name for p in tmp_path.iterdir()] == (["a.laplace"] if older else [])
    assert not older or target.read_bytes() == older


@pytest.fixture
def saved(teacher_laplace, tmp_path):
    return save_laplace(teacher_laplace, tmp_path / "a.laplace")


def rewritten(path, *, without=(), header=None, **arrays):
    """The file with other entries; `header` changes the header in place, or is the bytes to put there."""
    with np.load(path) as file:
        entries = {name: file[name] for name in file.files if name not in without}
    if callable(header):
        record = json.loads(entries["header"].tobytes())
        header = json.dumps(header(record) or record).encode()
    if header is not None:
        entries["header"] = np.frombuffer(header, dtype=np.uint8)
    with path.open("wb") as file:
        np.savez(file, **{**entries, **arrays})
    return path


def refuses_file(got=""):
    return refuses("path", got, "")


def test_a_file_that_is_not_there_is_refused(teacher_posterior, tmp_path):
    with refuses("path", "nothing.laplace, where there is no file", "save_laplace"):
        load_laplace(tmp_path / "nothing.laplace", teacher_posterior)


def test_a_folder_is_refused(teacher_posterior, tmp_path):
    with refuses_file():
        load_laplace(tmp_path, teacher_posterior)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        np.random.default_rng(0).bytes(5000),
        b"PK\x03\x04" + np.random.default_rng(1).bytes(5000),
        b"PK\x05\x06" + bytes(18),
        b"\x93NUMPY" + np.random.default_rng(2).bytes(100),
        b"\x80\x04K\x01.",
        b"x,y\n1,2\n",
        b'{"format": 1}',
    ],
    ids=["empty", "one byte", "random", "zip start", "empty zip", "npy start", "pickle", "csv", "json"],
)
def test_bytes_that_are_no_such_file_are_refused(content, teacher_posterior, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(content)
    with refuses_file("which is no Laplace file"):
        load_laplace(path, teacher_posterior)


def test_files_of_numpy_of_other_kinds_are_refused(teacher_posterior, tmp_path):
    np.savez(tmp_path / "a.npz", mean=np.zeros(9))
    np.save(tmp_path / "b.npy", np.zeros(9))
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("header", b"{}")
    for name in ("a.npz", "b.npy", "c.zip"):
        with refuses_file("which is no Laplace file"):
            load_laplace(tmp_path / name, teacher_posterior)


class Runs:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("entry", ["header", "mean", "upper", "more"])
def test_a_pickle_in_the_file_is_refused_and_does_not_run(entry, saved, teacher_posterior, tmp_path):
    spell = np.array([Runs(tmp_path / "ran")], dtype=object)
    rewritten(saved, **{entry: spell})
    with refuses_file("which is no Laplace file"):
        load_laplace(saved, teacher_posterior)
    assert not (tmp_path / "ran").exists()


def test_a_file_cut_anywhere_is_refused(saved, teacher_posterior):
    whole = saved.read_bytes()
    for length in np.linspace(0, len(whole) - 1, 60).astype(int):
        saved.write_bytes(whole[:length])
        with refuses_file("which is no Laplace file"):
            load_laplace(saved, teacher_posterior)


def test_a_file_with_a_byte_spoiled_is_refused_or_read_as_it_was(saved, teacher_laplace):
    whole, rng = saved.read_bytes(), np.random.default_rng(3)
    errors = []
    for place in rng.integers(len(whole), size=300):
        spoiled = bytearray(whole)
        spoiled[place] ^= 1 << int(rng.integers(8))
        saved.write_bytes(spoiled)
        try:
            found = load_laplace(saved, teacher_laplace.posterior)
        except ArgumentError as error:
            errors.append(error)
        else:  # a date, or another field of the archive that nobody reads
            assert_same(found, teacher_laplace)
    assert len(errors) > 150
    assert {error.argument for error in errors} == {"path"}
    assert not any("\n" in str(error) for error in errors)


@pytest.mark.parametrize("number", [0, 2, None, "1", [1], 1.5])
def test_another_format_is_refused(number, saved, teacher_posterior):
    rewritten(saved, header=lambda record: {**record, "format": number})
    with refuses("path", f"a file of format {number}", "one of format 1"):
        load_laplace(saved, teacher_posterior)


@pytest.mark.parametrize("header", [b"[1, 2]", b"1", b"null", b'"format"', b"[]", b"{", b"", b"\xff\xfe", b"{}"])
def test_a_header_that_is_no_record_is_refused(header, saved, teacher_posterior):
    rewritten(saved, header=header)
    with refuses_file():
        load_laplace(saved, teacher_posterior)


KEYS = ["format", "belongs_to", "curvature", "structure", "form", "certificate"]


@pytest.mark.parametrize("key", KEYS)
def test_a_header_without_one_of_its_entries_is_refused(key, saved, teacher_posterior):
    rewritten(saved, header=lambda record: record.pop(key) and record)
    with refuses_file():
        load_laplace(saved, teacher_posterior)


@pytest.mark.parametrize("key", ["belongs_to", "certificate", "form"])
@pytest.mark.parametrize("value", [None, 1, [1], {}])
def test_a_header_with_an_entry_of_another_kind_is_refused(key, value, saved, teacher_posterior):
    rewritten(saved, header=lambda record: {**record, key: value})
    with refuses_file():
        load_laplace(saved, teacher_posterior)


def test_a_certificate_without_one_of_its_numbers_is_refused(saved, teacher_posterior):
    rewritten(saved, header=lambda record: record["certificate"].pop("rank") and record)
    with refuses_file():
        load_laplace(saved, teacher_posterior)


def test_an_unknown_form_is_refused(saved, teacher_posterior):
    rewritten(saved, header=lambda record: {**record, "form": "Kronecker"})
    with refuses("path", "'Kronecker'", "a file of save_laplace"):
        load_laplace(saved, teacher_posterior)


@pytest.mark.parametrize("structure", FORMS)
def test_a_file_without_one_of_its_arrays_is_refused(structure, teacher_posterior, teacher_optimum, tmp_path):
    laplace = fit_laplace(teacher_posterior, teacher_optimum, structure=structure)
    path = save_laplace(laplace, tmp_path / "a")
    whole = path.read_bytes()
    with np.load(path) as file:
        names = file.files
    assert len(names) > 2
    for name in names:
        path.write_bytes(whole)
        rewritten(path, without=[name])
        with refuses_file():
            load_laplace(path, teacher_posterior)


@pytest.mark.parametrize("value", [np.zeros(8), np.zeros((9, 9)), np.float64(0.0), np.full(9, "word")])
@pytest.mark.parametrize("name", ["mean", "upper"])
def test_an_array_of_another_shape_or_kind_is_refused(name, value, saved, teacher_posterior):
    if name == "upper" and value.ndim == 2:
        value = np.zeros((9, 8))
    rewritten(saved, **{name: value})
    with refuses_file():
        load_laplace(saved, teacher_posterior)


def other_posteriors():
    x, y = inputs(), targets(Gaussian(1.0))
    net, prior, rows = MLP(2, (2,), 1), NormalPrior(1.0), np.linspace(0.1, 0.5, 40)
    same = (net, x, y, Gaussian(0.2), prior)
    of_rows = (net, x, y, Gaussian(rows), prior)
    inferred = (net, x, y, Gaussian("infer"), prior)
    under_prior = (net, x, y, Gaussian("infer", log_sigma_prior=(0.0, 1.0)), prior)
    moved = rows.copy()
    moved[17] = np.nextafter(moved[17], 1.0)
    return {
        "units": (same, (MLP(2, (3,), 1), *same[1:]), "model"),
        "activation": (same, (MLP(2, (2,), 1, activation="sin"), *same[1:]), "model"),
        "bias": (same, (MLP(2, (2,), 1, bias=False), *same[1:]), "model"),
        "inputs": (same, (MLP(1, (2,), 1), x[:, :1], *same[2:]), "model"),
        "rows": (same, (net, x[:39], y[:39], *same[3:]), "rows"),
        "sigma": (same, (*same[:3], Gaussian(0.2 + 1e-15), prior), "likelihood"),
        "likelihood": (same, (*same[:3], StudentT(4.0, 0.2), prior), "likelihood"),
        "likelihood's number": ((*same[:3], StudentT(4.0, 0.2), prior), (*same[:3], StudentT(5.0, 0.2), prior), ""),
        "sigma of each row": (of_rows, (*same[:3], Gaussian(moved), prior), "noise"),
        "rows for a number": (same, of_rows, "likelihood"),
        "a number for rows": (of_rows, same, "likelihood"),
        "inferred": (same, inferred, "likelihood"),
        "not inferred": (inferred, same, "likelihood"),
        "rows for inferred": (inferred, of_rows, "likelihood"),
        "prior of the noise": (inferred, under_prior, "likelihood"),
        "another prior of the noise": (
            under_prior,
            (*same[:3], Gaussian("infer", log_sigma_prior=(0.0, 2.0)), prior),
            "likelihood",
        ),
        "precision": (same, (*same[:4], NormalPrior(1.0 + 1e-15)), "prior"),
        "precision of a layer": (same, (*same[:4], NormalPrior([1.0, 2.0])), "prior"),
        "precision of a weight": (same, (*same[:4], NormalPrior([*np.ones(8), 2.0])), "prior"),
        "mean": (same, (*same[:4], NormalPrior(1.0, 0.1)), "prior"),
        "no prior": (same, (*same[:4], FlatPrior()), "prior"),
        "a prior": ((*same[:4], FlatPrior()), same, "prior"),
    }


@pytest.mark.parametrize("name", other_posteriors())
def test_another_posterior_is_refused(name, tmp_path):
    one, other, part = other_posteriors()[name]
    post = Posterior(*one)
    path = save_laplace(fit_laplace(post, 0.5 + 0.1 * np.arange(post.n_weights), structure="diag"), tmp_path / "a")
    load_laplace(path, Posterior(*one))
    with refuses("posterior", part, "as in the file"):
        load_laplace(path, Posterior(*other))


class Plain(MLP):
    """A model of one's own that has no repr of its own."""

    __repr__ = object.__repr__


def test_a_model_without_a_repr_comes_back_in_another_process(teacher_data, tmp_path):
    one, other = (Posterior(Plain(2, (2,), 1), *teacher_data, Gaussian(0.1), NormalPrior(1.0)) for _ in range(2))
    assert repr(one.network) != repr(other.network)
    laplace = fit_laplace(one, find_optimum(one, n_starts=2, seed=0, progress=False))
    save_laplace(laplace, tmp_path / "a.npz")
    assert np.array_equal(load_laplace(tmp_path / "a.npz", other).mean, laplace.mean)
    # and one of other weights, nine as well, is another one
    wide = Posterior(Plain(2, (3,), 1, bias=False), *teacher_data, Gaussian(0.1), NormalPrior(1.0))
    assert wide.n_weights == 9
    with refuses("posterior", "Plain object", "Plain object"):
        load_laplace(tmp_path / "a.npz", wide)
