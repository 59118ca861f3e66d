"""Data that stay on disk or with dask: the same numbers, in blocks of rows, whatever reads them."""

from functools import cache, partial

import cloudpickle
import dask
import dask.array as da
import numpy as np
import pytest
import zarr

import bayesnn.posterior.row_sums as row_sums_module
from bayesnn import (
    MLP,
    Bernoulli,
    Categorical,
    FunctionModel,
    Gaussian,
    HeteroscedasticGaussian,
    NormalPrior,
    Poisson,
    Posterior,
    find_optimum,
    fit_laplace,
    maximize_evidence,
    sample,
)
from bayesnn.errors import ArgumentError
from bayesnn.executors import sum_in_threads
from tests.refusals import refuses

N = 200  # four blocks of 64 rows, the least the package makes, where blocks are forced to be small
CHUNKS = (70, 1, 29, 60, 40)
LIKELIHOODS = {
    "Gaussian": (Gaussian(0.3), 2),
    "Gaussian, sigma per row": (Gaussian(np.linspace(0.2, 2.0, N)), 1),
    "Gaussian, inferred": (Gaussian("infer"), 1),
    "HeteroscedasticGaussian": (HeteroscedasticGaussian(), 2),
    "Categorical": (Categorical(), 3),
    "Poisson": (Poisson(), 1),
}


def data_for(name, n=N):
    likelihood, out = LIKELIHOODS[name]
    rng = np.random.default_rng(31)
    x = rng.standard_normal((n, 3))
    if name == "Categorical":
        y = rng.integers(0, 3, (n, 1)).astype(float)
    elif name == "Poisson":
        y = rng.poisson(2.0, (n, 1)).astype(float)
    else:
        y = rng.standard_normal((n, 1 if name == "HeteroscedasticGaussian" else out)) + x[:, :1]
    return MLP(3, (4,), out), likelihood, x, y


def memory_map(array, path):
    np.save(path, array)
    return np.load(path, mmap_mode="r")


def in_zarr(array, path):
    """On disk, in chunks that divide nothing evenly."""
    return zarr.create_array(store=str(path), data=array, chunks=(77, 1))


def in_zarr_memory(array, path):
    return zarr.create_array(store=zarr.storage.MemoryStore(), data=array, chunks=(64, array.shape[1]))


def in_dask(array, path):
    return da.from_array(array, chunks=(CHUNKS, -1))


def in_dask_by_columns(array, path):
    return da.from_array(array, chunks=(CHUNKS, 1))


def in_dask_whole(array, path):
    return da.from_array(array, chunks=-1)


KEEPERS = {
    "memory map": memory_map,
    "zarr on disk": in_zarr,
    "zarr in memory": in_zarr_memory,
    "dask": in_dask,
    "dask, columns in chunks": in_dask_by_columns,
    "dask, one chunk": in_dask_whole,
}
EVERYWHERE = pytest.mark.parametrize("keeper", KEEPERS)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(row_sums_module, "OUTPUTS_AT_A_TIME", 1)
    monkeypatch.setattr(row_sums_module, "JACOBIAN_AT_A_TIME", 1)
    monkeypatch.setattr(row_sums_module, "UNITS_AT_A_TIME", 1)


@pytest.fixture(autouse=True)
def threads_of_dask():
    with dask.config.set(scheduler="threads", num_workers=2):
        yield


def kept(keeper, path, x, y, *kept_y):
    """Inputs and targets where the keeper keeps them."""
    return KEEPERS[keeper](x, path / "x.npy"), KEEPERS[kept_y[0] if kept_y else keeper](y, path / "y.npy")


def everything(post):
    """Whatever is summed over rows, at one point and at a batch of three."""
    rng = np.random.default_rng(2)
    batch = 0.5 * rng.standard_normal((3, post.n_weights))
    w, columns = batch[0], rng.standard_normal((post.n_weights, 2))
    places = (slice(0, 5), slice(5, post.n_weights))
    value, gradient = post.value_and_gradient(batch)
    linear = post.linearize(batch)
    laplace = fit_laplace(post, w)
    least_squares = {"square_lengths": post.square_lengths(w)} if post.likelihood.is_least_squares else {}
    return {
        **least_squares,
        "log_density": post.log_density(w),
        "log_density of a batch": post.log_density(batch),
        "value": value,
        "gradient": gradient,
        "value of one": post.value_and_gradient(w)[0],
        "gradient of one": post.value_and_gradient(w)[1],
        "log_density, linearized": linear.log_density,
        "gradient, linearized": linear.gradient,
        "ggn": linear.ggn,
        "ggn of one": post.ggn(w),
        "hessian": post.hessian(w),
        "scores_gram": post.scores_gram(w),
        "fisher_diagonal": post.fisher_diagonal(w),
        "fisher_grams, first": post.fisher_grams(w, places)[0],
        "fisher_grams, second": post.fisher_grams(w, places)[1],
        "fisher_product": post.fisher_product(w, columns),
        "log_likelihood": post.log_likelihood(batch),
        "likelihood_rows": np.concatenate(list(post.likelihood_rows(w))),
        "score_rows": np.concatenate(list(post.score_rows(w))),
        "laplace precision": laplace.posterior_precision,
        "laplace evidence": np.array(laplace.log_marginal_likelihood),
    }


@cache
def expected(name):
    """The same of arrays in memory."""
    model, likelihood, x, y = data_for(name)
    return everything(Posterior(model, x, y, likelihood, NormalPrior(1.0)))


def assert_same(found, wanted, relative=1e-12):
    for key, value in wanted.items():
        assert np.shape(found[key]) == np.shape(value), key
        apart = np.abs(np.asarray(found[key]) - value).max()
        assert apart <= relative * np.abs(value).max(), f"{key}: {apart / np.abs(value).max():.1e}"


@EVERYWHERE
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_wherever_the_data_are_the_numbers_are_the_same(name, keeper, tmp_path):
    model, likelihood, x, y = data_for(name)
    post = Posterior(model, *kept(keeper, tmp_path, x, y), likelihood, NormalPrior(1.0))
    assert_same(everything(post), expected(name))


def something(post):
    """A little of everything."""
    w = 0.5 * np.random.default_rng(2).standard_normal((3, post.n_weights))[0]
    return {
        "log_density": post.log_density(w),
        "gradient of one": post.value_and_gradient(w)[1],
        "ggn of one": post.ggn(w),
        "hessian": post.hessian(w),
    }


def assert_some_of(post, name):
    found = something(post)
    assert_same(found, {key: expected(name)[key] for key in found})


@pytest.mark.parametrize("of_y", KEEPERS)
@EVERYWHERE
def test_inputs_and_targets_may_be_in_different_places(keeper, of_y, tmp_path):
    model, likelihood, x, y = data_for("Gaussian, sigma per row")
    post = Posterior(model, *kept(keeper, tmp_path, x, y, of_y), likelihood, NormalPrior(1.0))
    assert_some_of(post, "Gaussian, sigma per row")


@EVERYWHERE
@pytest.mark.parametrize("outside", ["x", "y"])
def test_one_of_them_may_be_in_memory(keeper, outside, tmp_path):
    model, likelihood, x, y = data_for("Gaussian, sigma per row")
    there = KEEPERS[keeper](x if outside == "x" else y, tmp_path / "it.npy")
    pair = (there, y) if outside == "x" else (x, there)
    post = Posterior(model, *pair, likelihood, NormalPrior(1.0))
    assert_some_of(post, "Gaussian, sigma per row")


@EVERYWHERE
def test_targets_may_be_a_vector(keeper, tmp_path):
    model, likelihood, x, y = data_for("Gaussian, sigma per row")
    flat = {
        "memory map": lambda: memory_map(y[:, 0], tmp_path / "y.npy"),
        "zarr on disk": lambda: zarr.create_array(store=str(tmp_path / "y"), data=y[:, 0], chunks=(50,)),
        "zarr in memory": lambda: zarr.create_array(store=zarr.storage.MemoryStore(), data=y[:, 0], chunks=(64,)),
    }.get(keeper, lambda: da.from_array(y[:, 0], chunks=(CHUNKS,)))()
    post = Posterior(model, KEEPERS[keeper](x, tmp_path / "x.npy"), flat, likelihood, NormalPrior(1.0))
    assert_some_of(post, "Gaussian, sigma per row")


@pytest.mark.parametrize("keeper", ["memory map", "zarr in memory", "dask, one chunk"])
def test_the_whole_way_from_search_to_tuned_prior(keeper, tmp_path):
    _, _, x, y = data_for("Poisson")
    ends = []
    for data in ((x, y), kept(keeper, tmp_path, x, y)):
        post = Posterior(MLP(3, (), 1), *data, Gaussian(1.0), NormalPrior(1.0))
        optimum = find_optimum(post, seed=0)
        laplace = fit_laplace(post, optimum, curvature="hessian")
        tuned = maximize_evidence(post, optimum, max_rounds=2)
        ends.append((optimum, laplace, tuned))
    (optimum, laplace, tuned), (found, found_laplace, found_tuned) = ends
    assert found.status == optimum.status
    assert found.log_density == pytest.approx(optimum.log_density, rel=1e-12)
    # sums over rows in another order move the optimum by rounding, in posterior sd
    assert np.all(np.abs(found.weights - optimum.weights) < 1e-6 * np.sqrt(laplace.posterior_variance))
    assert found_laplace.log_marginal_likelihood == pytest.approx(laplace.log_marginal_likelihood, rel=1e-10)
    largest = np.abs(laplace.sandwich_covariance).max()
    assert np.abs(found_laplace.sandwich_covariance - laplace.sandwich_covariance).max() < 1e-6 * largest
    assert found_tuned.prior.prior_precision == pytest.approx(tuned.prior.prior_precision, rel=1e-6)
    assert found_tuned.likelihood.sigma_noise == pytest.approx(tuned.likelihood.sigma_noise, rel=1e-6)


@EVERYWHERE
def test_as_many_threads_as_one_likes(keeper, tmp_path, monkeypatch):
    model, likelihood, x, y = data_for("Gaussian, sigma per row")
    pair = kept(keeper, tmp_path, x, y)
    each = []
    for workers in (1, 2):
        monkeypatch.setattr(row_sums_module, "n_cores", lambda workers=workers: workers)
        with dask.config.set(num_workers=workers):
            each.append(everything(Posterior(model, *pair, likelihood, NormalPrior(1.0))))
    for other in each[1:]:
        assert all(np.array_equal(other[key], value) for key, value in each[0].items())


@pytest.mark.parametrize("workers", [1, 2])
def test_in_memory_too(workers, monkeypatch):
    model, likelihood, x, y = data_for("Categorical")
    monkeypatch.setattr(row_sums_module, "n_cores", lambda: workers)
    found = everything(Posterior(model, x, y, likelihood, NormalPrior(1.0)))
    assert all(np.array_equal(found[key], value) for key, value in expected("Categorical").items())


def test_threads_are_used_where_a_model_allows_them(monkeypatch):
    asked = []
    run = row_sums_module.sum_in_threads

    def sum_in_threads(tasks, workers):
        asked.append(workers)
        return run(tasks, workers)

    monkeypatch.setattr(row_sums_module, "sum_in_threads", sum_in_threads)
    monkeypatch.setattr(row_sums_module, "n_cores", lambda: 2)
    _, likelihood, x, y = data_for("Gaussian, sigma per row")
    Posterior(MLP(3, (2,), 1), x, y, likelihood, NormalPrior(1.0)).log_density(np.zeros(11))
    own = FunctionModel(lambda w, x: x @ w, ["a", "b", "c"])
    Posterior(own, x, y, likelihood, NormalPrior(1.0)).log_density(np.zeros(3))
    assert asked == [2, 1]


@pytest.mark.parametrize("mode", ["c", "r+"])
def test_what_was_written_to_a_memory_map_is_data_too(mode, tmp_path):
    model, likelihood, x, y = data_for("Gaussian")
    np.save(tmp_path / "x.npy", x)
    there = np.load(tmp_path / "x.npy", mmap_mode=mode)
    there[100:103] = x[100:103] = 0.5
    post = Posterior(model, there, y, likelihood, NormalPrior(1.0))
    wanted = something(Posterior(model, x, y, likelihood, NormalPrior(1.0)))
    for _ in range(2):  # and still is when the map was read once
        assert_same(something(post), wanted)
    assert np.array_equal(there, x)


@EVERYWHERE
def test_what_is_outside_stays_there(keeper, tmp_path):
    model, likelihood, x, y = data_for("Gaussian")
    there = kept(keeper, tmp_path, x, y)
    post = Posterior(model, *there, likelihood, NormalPrior(1.0))
    something(post)
    assert post.x is there[0]
    assert post.y is there[1]
    again = post.with_hyperparameters(Gaussian(0.5), NormalPrior(2.0))
    assert again.x is there[0]
    assert again.y is there[1]


@pytest.mark.parametrize("keeper", ["memory map", "zarr on disk", "zarr in memory"])
def test_no_more_rows_are_read_at_a_time_than_a_block(keeper, tmp_path, monkeypatch):
    model, likelihood, x, y = data_for("Gaussian")
    sizes = []
    check = MLP.check_inputs
    monkeypatch.setattr(MLP, "check_inputs", lambda net, x: (sizes.append(len(x)), check(net, x))[1])
    post = Posterior(model, *kept(keeper, tmp_path, x, y), likelihood, NormalPrior(1.0))
    assert sizes == [1]  # a look at the first row
    something(post)
    assert max(sizes) == 50  # 150 rows in blocks of at most 64, all equally long


@EVERYWHERE
def test_no_jacobian_is_of_more_rows_than_a_block(keeper, tmp_path, monkeypatch):
    # a chunk of dask's may have any number of rows
    model, likelihood, x, y = data_for("Gaussian")
    post = Posterior(model, *kept(keeper, tmp_path, x, y), likelihood, NormalPrior(1.0))
    sizes = []
    linearize = MLP.linearize
    monkeypatch.setattr(MLP, "linearize", lambda net, w, x: (sizes.append(len(x)), linearize(net, w, x))[1])
    post.linearize(np.zeros(post.n_weights))
    assert sum(sizes) == N
    assert max(sizes) <= 64


def test_chunks_of_dask_are_read_once_and_one_by_one(monkeypatch):
    model, likelihood, x, y = data_for("Gaussian")
    sizes = []

    def chunk(block):
        sizes.append(len(block))
        return block

    there = da.from_array(x, chunks=(CHUNKS, -1)).map_blocks(chunk, dtype=float, meta=np.empty((0, 0)))
    post = Posterior(model, there, da.from_array(y, chunks=(CHUNKS, -1)), likelihood, NormalPrior(1.0))
    sizes.clear()
    post.linearize(np.zeros(post.n_weights))
    assert sorted(sizes) == sorted(CHUNKS)


def test_what_goes_to_a_worker_of_dask_can_be_sent_there(monkeypatch):
    model, likelihood, x, y = data_for("Gaussian, sigma per row")
    send = row_sums_module.sum_by_dask
    monkeypatch.setattr(
        row_sums_module,
        "sum_by_dask",
        lambda function, *data: send(cloudpickle.loads(cloudpickle.dumps(function)), *data),  # as dask does
    )
    chunks = da.from_array(x, chunks=(CHUNKS, -1)), da.from_array(y, chunks=(CHUNKS, -1))
    assert_some_of(Posterior(model, *chunks, likelihood, NormalPrior(1.0)), "Gaussian, sigma per row")


def test_a_chunk_may_be_empty():
    # as selections of rows leave them
    model, likelihood, x, y = data_for("Gaussian")
    chunks = (90, 0, 110)
    pair = da.from_array(x, chunks=(CHUNKS, -1)).rechunk((chunks, -1)), da.from_array(y, chunks=(CHUNKS, -1))
    post = Posterior(model, *pair, likelihood, NormalPrior(1.0))
    assert_some_of(post, "Gaussian")


@EVERYWHERE
def test_inputs_of_one_dimension(keeper, tmp_path):
    _, likelihood, x, y = data_for("Gaussian, sigma per row")
    x = x[:, 0]
    there = {
        "memory map": lambda: memory_map(x, tmp_path / "x.npy"),
        "zarr on disk": lambda: zarr.create_array(store=str(tmp_path / "x"), data=x, chunks=(50,)),
        "zarr in memory": lambda: zarr.create_array(store=zarr.storage.MemoryStore(), data=x, chunks=(64,)),
    }.get(keeper, lambda: da.from_array(x, chunks=(CHUNKS,)))()
    model = FunctionModel(
        lambda w, x: w[0] * np.exp(-w[1] * x),
        ["height", "rate"],
        jacobian=lambda w, x: np.column_stack([np.exp(-w[1] * x), -w[0] * x * np.exp(-w[1] * x)]),
    )
    post, wanted = (Posterior(model, inputs, y, likelihood, NormalPrior(1.0)) for inputs in (there, x))
    # second differences take their steps from the rows at hand
    assert_same(something(post), something(wanted), 1e-9)


@EVERYWHERE
def test_labels_may_be_truth_values(keeper, tmp_path):
    _, _, x, y = data_for("Gaussian")
    labels = y[:, :1] > 0
    there = kept(keeper, tmp_path, x, labels)
    posts = [Posterior(MLP(3, (2,), 1), *data, Bernoulli(), NormalPrior(1.0)) for data in (there, (x, labels))]
    assert_same(*map(something, posts))


@EVERYWHERE
@pytest.mark.parametrize("of_y", [None, "memory map"])
def test_inferred_noise_starts_where_it_would_in_memory(keeper, of_y, tmp_path):
    model, likelihood, x, y = data_for("Gaussian, inferred")
    there = kept(keeper, tmp_path, x, y, *([of_y] if of_y else []))
    starts = [
        Posterior(model, *data, likelihood, NormalPrior(1.0)).model.initial_weights(np.random.default_rng(0))
        for data in (there, (x, y))
    ]
    assert np.array_equal(*starts)


@EVERYWHERE
def test_sigma_goes_with_its_row(keeper, tmp_path):
    # one row has all the weight: whichever block it is in, the answer is that row's
    model, _, x, y = data_for("Gaussian, sigma per row")
    w = 0.3 * np.random.default_rng(1).standard_normal(model.n_weights)
    there = kept(keeper, tmp_path, x, y)
    for row in (63, 70, N - 1):
        sigma = np.full(N, 1e6)
        sigma[row] = 1e-3
        post = Posterior(model, *there, Gaussian(sigma), NormalPrior(1.0))
        alone = Posterior(model, x[[row]], y[[row]], Gaussian(1e-3), NormalPrior(1.0))
        assert post.fisher_diagonal(w) == pytest.approx(alone.fisher_diagonal(w), rel=1e-9)
        assert post.log_likelihood(w)[row] == pytest.approx(alone.log_likelihood(w)[0], rel=1e-12)


@pytest.mark.parametrize("length", [N - 1, N + 1, 64])
@EVERYWHERE
def test_a_sigma_for_another_number_of_rows_is_refused(keeper, length, tmp_path):
    model, _, x, y = data_for("Gaussian, sigma per row")
    with refuses("sigma_noise", f"({length},)", f"({N},)"):
        Posterior(model, *kept(keeper, tmp_path, x, y), Gaussian(np.ones(length)), NormalPrior(1.0)).log_density(
            np.zeros(model.n_weights)
        )


USES = {
    "log_density": lambda post, w: post.log_density(w),
    "log_density of a batch": lambda post, w: post.log_density(np.stack([w, w])),
    "value_and_gradient": lambda post, w: post.value_and_gradient(w),
    "linearize": lambda post, w: post.linearize(w),
    "hessian": lambda post, w: post.hessian(w),
    "scores_gram": lambda post, w: post.scores_gram(w),
    "fisher_diagonal": lambda post, w: post.fisher_diagonal(w),
    "fisher_grams": lambda post, w: post.fisher_grams(w, (slice(0, 3),)),
    "fisher_product": lambda post, w: post.fisher_product(w, np.ones((w.size, 1))),
    "log_likelihood": lambda post, w: post.log_likelihood(w),
    "likelihood_rows": lambda post, w: list(post.likelihood_rows(w)),
    "score_rows": lambda post, w: list(post.score_rows(w)),
    "fit_laplace": fit_laplace,
    "find_optimum": lambda post, w: find_optimum(post, start=w),
}


@EVERYWHERE
@pytest.mark.parametrize(("which", "bad"), [("x", np.nan), ("y", np.inf)])
def test_a_number_that_is_none_in_a_later_block_is_refused_when_it_is_met(which, bad, keeper, tmp_path, monkeypatch):
    model, likelihood, x, y = data_for("Gaussian")
    (x if which == "x" else y)[150, 1] = bad
    post = Posterior(model, *kept(keeper, tmp_path, x, y), likelihood, NormalPrior(1.0))  # not read yet
    for workers in (2,) if keeper.startswith("dask") else (1, 2):
        monkeypatch.setattr(row_sums_module, "n_cores", lambda workers=workers: workers)
        for name, use in USES.items():
            with pytest.raises(ArgumentError) as caught:
                use(post, np.zeros(model.n_weights))
            error = caught.value
            assert error.argument == which, name
            assert "1 NaN or infinite value(s)" in error.got, name
            assert "all finite" in error.wants, name
            # the rows of the block or chunk that row 150 is in
            first, last = (int(word) for word in error.got.split("in rows ")[1].split(" to "))
            assert first <= 150 < last, name
            assert last - first <= (N if keeper == "dask, one chunk" else max(CHUNKS)), name
            assert "\n" not in str(error), name


@EVERYWHERE
def test_the_row_of_a_number_that_is_none_is_that_of_the_data(keeper, tmp_path):
    model, likelihood, x, y = data_for("Gaussian")
    x[150, 1] = np.nan
    post = Posterior(model, *kept(keeper, tmp_path, x, y), likelihood, NormalPrior(1.0))
    with pytest.raises(ArgumentError) as caught:
        post.log_density(np.zeros(model.n_weights))
    index = int(caught.value.got.split("first at index (")[1].split(",")[0])
    first = int(caught.value.got.split("in rows ")[1].split(" to ")[0])
    assert 150 in (index, first + index)


@EVERYWHERE
def test_a_label_that_is_none_in_a_later_block_is_refused_when_it_is_met(keeper, tmp_path):
    model, likelihood, x, y = data_for("Categorical")
    y[150] = 3.0
    post = Posterior(model, *kept(keeper, tmp_path, x, y), likelihood, NormalPrior(1.0))
    with refuses("y", "in rows ", "labels 0 to 2") as caught:
        post.log_density(np.zeros(model.n_weights))
    first, last = (int(word) for word in caught.value.got.split("in rows ")[1].split(" to "))
    assert first <= 150 < last


@EVERYWHERE
@pytest.mark.parametrize("rows", [N - 1, N + 1, 1])
@pytest.mark.parametrize("in_memory", ["neither", "x", "y"])
def test_different_numbers_of_rows_are_refused_at_once(keeper, rows, in_memory, tmp_path):
    model, likelihood, x, _ = data_for("Gaussian")
    y = np.zeros((rows, 2))
    put = partial(da.from_array, chunks=(50, -1)) if keeper.startswith("dask") else KEEPERS[keeper]
    at = (lambda name: ()) if keeper.startswith("dask") else (lambda name: (tmp_path / name,))
    pair = x if in_memory == "x" else put(x, *at("x.npy")), y if in_memory == "y" else put(y, *at("y.npy"))
    with refuses("y", str(rows), str(N)):
        Posterior(model, *pair, likelihood, NormalPrior(1.0))


@EVERYWHERE
@pytest.mark.parametrize("columns", [2, 4])
@pytest.mark.parametrize("y_in", ["memory", "the same place"])
def test_other_columns_are_refused_at_once(keeper, columns, y_in, tmp_path):
    model, likelihood, _, y = data_for("Gaussian")
    x, there = kept(keeper, tmp_path, np.zeros((N, columns)), y)
    with refuses("x", f"{columns})", "shape (n, 3)"):
        Posterior(model, x, y if y_in == "memory" else there, likelihood, NormalPrior(1.0))


@pytest.mark.parametrize("keeper", ["zarr", "dask"])
def test_no_rows_are_refused(keeper):
    model, likelihood, _, _ = data_for("Gaussian")
    if keeper == "dask":
        x, y = da.zeros((0, 3)), da.zeros((0, 2))
    else:
        x, y = (zarr.create_array(store=zarr.storage.MemoryStore(), data=np.zeros((0, d))) for d in (3, 2))
    with refuses("x", "no rows", "at least one row"):
        Posterior(model, x, y, likelihood, NormalPrior(1.0))


@EVERYWHERE
@pytest.mark.parametrize(
    ("of_x", "of_y"), [("float32", "int64"), ("int16", "float32"), ("uint8", "float16"), (">f8", ">i4")]
)
def test_other_numbers_on_disk_become_doubles(keeper, of_x, of_y, tmp_path):
    model, likelihood, x, y = data_for("Gaussian")
    x, y = np.abs(20 * x).astype(of_x), (10 * y).astype(of_y)
    post = Posterior(model, *kept(keeper, tmp_path, x, y), likelihood, NormalPrior(1.0))
    in_memory = Posterior(model, x.astype(float), y.astype(float), likelihood, NormalPrior(1.0))
    w = 0.1 * np.random.default_rng(1).standard_normal(model.n_weights)
    assert post.log_density(w).dtype == np.float64
    assert post.log_density(w) == pytest.approx(in_memory.log_density(w), rel=1e-13)
    largest = np.abs(in_memory.ggn(w)).max()
    assert np.abs(post.ggn(w) - in_memory.ggn(w)).max() <= 1e-13 * largest


@pytest.mark.parametrize("keeper", ["memory map", "dask"])
@pytest.mark.parametrize("which", ["x", "y"])
def test_words_are_refused_at_once(keeper, which, tmp_path):
    model, likelihood, x, y = data_for("Gaussian")
    pair = [x, y]
    pair["xy".index(which)] = pair["xy".index(which)].astype("U8")
    with refuses(which, "", "numbers only"):
        Posterior(model, *kept(keeper, tmp_path, *pair), likelihood, NormalPrior(1.0))


def test_a_dask_array_whose_rows_nobody_has_counted_is_refused():
    model, likelihood, x, y = data_for("Gaussian")
    there = da.from_array(x, chunks=(70, -1))
    unknown = there[there[:, 0] > 0]
    with refuses("x", "", "compute_chunk_sizes"):
        Posterior(model, unknown, y[x[:, 0] > 0], likelihood, NormalPrior(1.0))
    post = Posterior(model, unknown.compute_chunk_sizes(), y[x[:, 0] > 0], likelihood, NormalPrior(1.0))
    wanted = Posterior(model, x[x[:, 0] > 0], y[x[:, 0] > 0], likelihood, NormalPrior(1.0))
    assert_same(something(post), something(wanted))


def test_threads_handle_overflow_as_their_caller_does():
    def squares():
        return (np.array([1e200]) ** 2,)

    with np.errstate(over="ignore"):
        (total,) = sum_in_threads([squares, squares], 2)
    assert np.isinf(total).all()
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        sum_in_threads([squares, squares], 2)


@pytest.mark.parametrize("columns", [(), (1,)])
def test_chains_of_a_column_in_a_file_are_kept_with_it(columns, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 2))
    y = (x[:, 0] + 0.5 * rng.standard_normal(30)).reshape(30, *columns)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    there = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "xy"]
    posterior = Posterior(MLP(2, (2,), 1), *there, Gaussian(0.5), NormalPrior(1.0))
    laplace = fit_laplace(posterior, find_optimum(posterior, n_starts=8, seed=0, progress=False))
    tree = sample(laplace, num_chains=2, num_warmup=20, num_samples=8, seed=0)
    assert tree["observed_data"]["y"].dims == ("obs", "output")
    np.testing.assert_array_equal(tree["observed_data"]["y"].values[:, 0], y.reshape(-1))


@pytest.mark.parametrize("keeper", list(KEEPERS), ids=str)
def test_chains_of_data_kept_outside_have_all_groups(keeper, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, 2))
    y = x[:, :1] + 0.5 * rng.standard_normal((N, 1))
    there = kept(keeper, tmp_path, x, y)
    here, outside = (Posterior(MLP(2, (2,), 1), *pair, Gaussian(0.5), NormalPrior(1.0)) for pair in ((x, y), there))
    optimum = find_optimum(here, n_starts=8, seed=0, progress=False).weights
    how = {"num_chains": 2, "num_warmup": 20, "num_samples": 8, "seed": 0, "move": "hmc", "metric": "laplace"}
    one, other = (sample(fit_laplace(post, optimum), **how) for post in (here, outside))
    assert set(one.children) == set(other.children)
    for group in ("observed_data", "constant_data", "posterior_predictive"):
        assert other[group].sizes == one[group].sizes
    # what would not fit is left out, or there is less of it
    monkeypatch.setattr("bayesnn.sampling.assemble.LARGEST_LOG_LIKELIHOOD", 2 * N * 3)
    assert sample(fit_laplace(here, optimum), **how)["posterior_predictive"].sizes["draw"] == 3
    monkeypatch.setattr("bayesnn.sampling.assemble.LARGEST_LOG_LIKELIHOOD", 50)
    assert "posterior_predictive" not in sample(fit_laplace(here, optimum), **how).children


def test_a_copy_of_a_memory_map_is_in_memory(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.standard_normal((30, 2)))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    x = mapped[:20].copy()
    assert isinstance(x, np.memmap)
    posterior = Posterior(MLP(2, (2,), 1), x, np.zeros(20), Gaussian(0.5), NormalPrior(1.0))
    assert posterior.is_in_memory
    before = posterior.fused().log_density(np.ones(9))
    x[:] = 7.0
    assert posterior.fused().log_density(np.ones(9)) == before == posterior.log_density(np.ones(9))
    assert not Posterior(MLP(2, (2,), 1), mapped, np.zeros(30), Gaussian(0.5), NormalPrior(1.0)).is_in_memory
