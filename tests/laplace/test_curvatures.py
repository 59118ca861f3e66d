"""Every curvature in every structure against dense algebra, for every likelihood; what is no precision is refused."""

import os
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from scipy.linalg import block_diag

import bayesnn.laplace.precision as precision_module
import bayesnn.memory as memory_module
import bayesnn.posterior.row_sums as row_sums_module
from bayesnn import (
    MLP,
    Bernoulli,
    Categorical,
    FlatPrior,
    Gaussian,
    HeteroscedasticGaussian,
    NormalPrior,
    Poisson,
    Posterior,
    StudentT,
    find_optimum,
    fit_laplace,
)
from bayesnn.threads import on_one_blas_thread
from tests import oracles
from tests.optimum.test_certificate import saddle_posterior
from tests.refusals import refuses

N = 70  # two blocks of rows where blocks are forced to be small
SIGMAS = np.linspace(0.2, 1.5, N)
RANK = 4


@dataclass(frozen=True)
class Said:
    """A likelihood, how many outputs it wants, and its score (n, out) and Fisher information (n, out, out) by hand."""

    likelihood: object
    out: int
    draw: object
    score: object
    fisher: object


def diagonal(values):
    return np.asarray(values)[:, :, None] * np.eye(np.shape(values)[1])


def logistic(f):
    return 1.0 / (1.0 + np.exp(-f))


def softmax(f):
    return np.exp(f) / np.exp(f).sum(axis=1, keepdims=True)


def heteroscedastic_score(f, y):
    residual, precision = y - f[:, :-1], np.exp(-2 * f[:, -1:])
    return np.hstack([precision * residual, (precision * residual**2).sum(axis=1, keepdims=True) - y.shape[1]])


def heteroscedastic_fisher(f):
    out = f.shape[1] - 1
    return diagonal(np.hstack([np.tile(np.exp(-2 * f[:, -1:]), (1, out)), np.full((len(f), 1), 2.0 * out)]))


SAID = {
    "Gaussian": Said(
        Gaussian(0.4),
        2,
        lambda f, rng: f + 0.4 * rng.standard_normal(f.shape),
        lambda f, y: (y - f) / 0.4**2,
        lambda f: diagonal(np.full(f.shape, 0.4**-2)),
    ),
    "Gaussian, sigma per row": Said(
        Gaussian(SIGMAS),
        1,
        lambda f, rng: f + SIGMAS[:, None] * rng.standard_normal(f.shape),
        lambda f, y: (y - f) / SIGMAS[:, None] ** 2,
        lambda f: diagonal(SIGMAS[:, None] ** -2),
    ),
    "Bernoulli": Said(
        Bernoulli(),
        1,
        lambda f, rng: (rng.random(f.shape) < logistic(f)).astype(float),
        lambda f, y: y - logistic(f),
        lambda f: diagonal(logistic(f) * logistic(-f)),
    ),
    "Categorical": Said(
        Categorical(),
        3,
        lambda f, rng: (rng.random((len(f), 1)) > np.cumsum(softmax(f), axis=1)[:, :2]).sum(axis=1),
        lambda f, y: np.eye(3)[y[:, 0].astype(int)] - softmax(f),
        lambda f: diagonal(softmax(f)) - softmax(f)[:, :, None] * softmax(f)[:, None, :],
    ),
    "Poisson": Said(
        Poisson(), 1, lambda f, rng: rng.poisson(np.exp(f)), lambda f, y: y - np.exp(f), lambda f: diagonal(np.exp(f))
    ),
    "StudentT": Said(
        StudentT(5.0, 0.3),
        1,
        lambda f, rng: f + 0.3 * rng.standard_t(5, f.shape),
        lambda f, y: 6.0 * (y - f) / (5 * 0.3**2 + (y - f) ** 2),
        lambda f: diagonal(np.full(f.shape, 6.0 / 8.0 / 0.3**2)),
    ),
    "HeteroscedasticGaussian": Said(
        HeteroscedasticGaussian(),
        2,
        lambda f, rng: f[:, :1] + np.exp(0.3 * f[:, 1:]) * rng.standard_normal((len(f), 1)),
        heteroscedastic_score,
        heteroscedastic_fisher,
    ),
    "Gaussian, inferred": Said(
        Gaussian("infer", log_sigma_prior=(-1.0, 0.5)),
        2,
        lambda f, rng: f + 0.4 * rng.standard_normal(f.shape),
        heteroscedastic_score,
        heteroscedastic_fisher,
    ),
}
LIKELIHOODS = pytest.mark.parametrize("name", SAID)
CURVATURES = pytest.mark.parametrize("curvature", ["ggn", "hessian", "fisher"])


class Case:
    """A posterior of a network of two layers, its optimum, and the curvatures there."""

    def __init__(self, name):
        said, rng = SAID[name], np.random.default_rng(len(name))
        mlp = MLP(2, (2,), said.out)
        x = rng.standard_normal((N, 2))
        y = said.draw(mlp.predict(rng.standard_normal(mlp.n_weights), x), rng)
        k = mlp.n_weights
        self.posterior = Posterior(mlp, x, y, said.likelihood, NormalPrior(np.geomspace(0.5, 3.0, k), 0.1))
        self.optimum = find_optimum(self.posterior, n_starts=4, seed=0)
        self.w, self.k = self.optimum.weights, self.posterior.n_weights
        self.inferred = self.k > k
        self.places = [slice(0, 6), slice(6, k), *([slice(k, k + 1)] if self.inferred else [])]
        self.last = slice(6, self.k)
        B = oracles.jacobian(oracles.Net.of(mlp), self.w[:k], x)
        f = oracles.predict(oracles.Net.of(mlp), self.w[:k], x)
        if self.inferred:
            f = np.hstack([f, np.full((N, 1), self.w[-1])])
            whole = np.zeros((N, said.out + 1, k + 1))
            whole[:, :-1, :-1], whole[:, -1, -1] = B, 1.0
            B = whole
        self.prior = np.diag(self.posterior.prior_precision)
        self.scores = np.einsum("no,nok->nk", said.score(f, self.posterior.y), B)
        self.whole = {
            "ggn": np.einsum("nok,nop,npl->kl", B, said.fisher(f), B) + self.prior,
            "hessian": self.posterior.hessian(self.w),
            "fisher": sum(np.outer(row, row) for row in self.scores) + self.prior,
        }

    def dense(self, curvature, structure):
        whole = self.whole[curvature]
        if structure == "diag":
            return np.diag(np.diag(whole))
        if structure == "layer":
            return block_diag(*(whole[place, place] for place in self.places))
        if structure == "last_layer":
            kept = np.zeros_like(whole)
            kept[self.last, self.last] = whole[self.last, self.last]
            return kept
        if structure == "lowrank":
            root = np.sqrt(np.diag(self.prior))
            values, vectors = np.linalg.eigh((whole - self.prior) / np.outer(root, root))
            kept = vectors[:, -RANK:] * values[-RANK:] @ vectors[:, -RANK:].T
            return np.outer(root, root) * kept + self.prior
        return whole


case_of = cache(Case)


@pytest.fixture
def several_blocks(monkeypatch):
    monkeypatch.setattr(row_sums_module, "JACOBIAN_AT_A_TIME", 1)
    monkeypatch.setattr(row_sums_module, "UNITS_AT_A_TIME", 1)
    monkeypatch.setattr(row_sums_module, "OUTPUTS_AT_A_TIME", 1)


def assert_close(found, expected, digits=1e-10):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= digits * np.abs(expected).max()


@LIKELIHOODS
def test_the_oracles_agree_with_the_posterior(name):
    case = case_of(name)
    assert case.optimum.certificate.is_optimum
    assert_close(case.posterior.ggn(case.w), case.whole["ggn"])
    by_prior = case.prior.diagonal() * (case.w - case.posterior.prior_mean)
    gradient = case.posterior.value_and_gradient(case.w)[1]
    terms = np.abs(case.scores).sum(axis=0).max()  # they cancel at an optimum
    assert np.abs(case.scores.sum(axis=0) - by_prior - gradient).max() < 1e-12 * terms
    assert np.abs(gradient).max() < 1e-5 * terms


@LIKELIHOODS
@CURVATURES
@pytest.mark.parametrize("structure", ["full", "diag", "layer", "last_layer", "lowrank"])
def test_a_precision_is_its_part_of_the_dense_matrix(name, curvature, structure):
    case = case_of(name)
    if (curvature, structure) == ("hessian", "lowrank"):
        with refuses("curvature", "'hessian' with structure 'lowrank'", "'ggn' or 'fisher'"):
            fit_laplace(case.posterior, case.optimum, curvature=curvature, structure=structure, rank=RANK)
        return
    laplace = fit_laplace(case.posterior, case.optimum, curvature=curvature, structure=structure, rank=RANK)
    assert (laplace.curvature, laplace.structure) == (curvature, structure)
    dense = case.dense(curvature, structure)
    free = case.last if structure == "last_layer" else slice(None)
    covariance = np.zeros_like(dense)
    covariance[free, free] = np.linalg.inv(dense[free, free])
    assert_close(laplace.posterior_precision, dense)
    assert_close(laplace.posterior_covariance, covariance, 1e-8)
    assert_close(laplace.posterior_variance, covariance.diagonal(), 1e-8)
    assert laplace.log_det_posterior_precision == pytest.approx(np.linalg.slogdet(dense[free, free])[1], rel=1e-10)


@LIKELIHOODS
@CURVATURES
@pytest.mark.parametrize("structure", ["full", "diag", "layer", "last_layer", "lowrank"])
@pytest.mark.usefixtures("several_blocks")
def test_a_precision_from_several_blocks_of_rows(name, curvature, structure):
    case = case_of(name)
    if (curvature, structure) == ("hessian", "lowrank"):
        return
    laplace = fit_laplace(case.posterior, case.optimum, curvature=curvature, structure=structure, rank=RANK)
    assert len(list(case.posterior.likelihood_rows(case.w))) == 2
    assert_close(laplace.posterior_precision, case.dense(curvature, structure))


@pytest.mark.parametrize("name", ["Gaussian, sigma per row", "Categorical", "Gaussian, inferred"])
@pytest.mark.parametrize("curvature", ["ggn", "fisher"])
@pytest.mark.parametrize("structure", ["full", "layer", "last_layer"])
def test_by_qr_of_the_rows_the_same(name, curvature, structure, monkeypatch, several_blocks):
    case = case_of(name)
    monkeypatch.setattr(precision_module, "factor_gram", lambda gram: None)
    laplace = fit_laplace(case.posterior, case.optimum, curvature=curvature, structure=structure)
    parts = getattr(laplace.precision, "factors", None) or [laplace.precision.__dict__.get("inner") or laplace.factor]
    assert all(part.method == "qr" for part in parts)
    assert_close(laplace.posterior_precision, case.dense(curvature, structure))


@pytest.mark.parametrize("structure", ["diag", "layer", "last_layer", "lowrank"])
def test_parts_of_a_ggn_are_taken_without_the_whole(structure, monkeypatch):
    case = case_of("Categorical")
    expected = case.dense("ggn", structure)
    monkeypatch.setattr(precision_module, "_whole", lambda *_: pytest.fail("formed the whole matrix"))
    laplace = fit_laplace(case.posterior, case.optimum, structure=structure, rank=RANK)
    assert_close(laplace.posterior_precision, expected)


@LIKELIHOODS
@CURVATURES
@pytest.mark.parametrize("structure", ["full", "diag", "last_layer"])
def test_the_sandwich_is_the_product_it_says(name, curvature, structure):
    case = case_of(name)
    laplace = fit_laplace(case.posterior, case.optimum, curvature=curvature, structure=structure)
    dense = case.dense(curvature, structure)
    free = case.last if structure == "last_layer" else slice(None)
    inverse = np.zeros_like(dense)
    inverse[free, free] = np.linalg.inv(dense[free, free])
    gram = sum(np.outer(row, row) for row in case.scores)
    assert_close(laplace.sandwich_covariance, inverse @ gram @ inverse, 1e-8)


class Large:
    """Many rows of a linear model whose noise is or is not what the likelihood says."""

    def __init__(self, sd):
        rng, self.n = np.random.default_rng(3), 40_000
        x = rng.standard_normal((self.n, 2))
        self.A = np.column_stack([x, np.ones(self.n)])
        self.sd = sd(x)
        y = self.A @ [1.0, -0.5, 2.0] + self.sd * rng.standard_normal(self.n)
        post = Posterior(MLP(2, (), 1), x, y, Gaussian(0.5), FlatPrior())
        self.laplace = fit_laplace(post, find_optimum(post, seed=0))
        self.inverse = np.linalg.inv(self.A.T @ self.A) * 0.5**2

    @on_one_blas_thread
    def errors(self):
        """The sandwich less the covariance of least squares, entry by entry, in standard errors."""
        scores = self.A / 0.5**2 @ self.inverse  # the sandwich is the sum of e**2 outer(scores): var(e**2) = 2 sd**4
        exact = (scores * self.sd[:, None] ** 2).T @ scores
        error = np.sqrt(2.0 * (scores**2 * self.sd[:, None] ** 4).T @ scores**2)
        return (self.laplace.sandwich_covariance - exact) / error


def test_of_a_model_that_holds_the_sandwich_is_the_inverse_information():
    large = Large(lambda x: np.full(len(x), 0.5))
    assert np.abs(large.errors()).max() < 5
    assert_close(large.laplace.posterior_covariance, large.inverse)
    # entry by entry a standard error of sqrt(8 / n) of the variances at most
    sd = np.sqrt(np.diag(large.inverse))
    apart = (large.laplace.sandwich_covariance - large.inverse) / sd / sd[:, None]
    assert np.abs(apart).max() < 5 * np.sqrt(8 / large.n)


def test_of_a_model_that_does_not_hold_the_sandwich_is_right_and_the_information_is_not():
    large = Large(lambda x: 0.5 * (1.0 + np.abs(x[:, 0])))
    assert np.abs(large.errors()).max() < 5
    ratio = np.diag(large.laplace.sandwich_covariance) / np.diag(large.inverse)
    # x standard normal: E x**2 (1 + |x|)**2 for the slope the noise grows with, E (1 + |x|)**2 for the others
    other = 2.0 + 2.0 * np.sqrt(2.0 / np.pi)
    assert ratio == pytest.approx([2.0 * other, other, other], rel=0.1)


@CURVATURES
def test_a_flat_prior_does_where_the_data_say_enough(curvature):
    case = case_of("Gaussian")
    flat = case.posterior.with_hyperparameters(Gaussian(0.4), FlatPrior())
    optimum = find_optimum(flat, start=case.w)
    laplace = fit_laplace(flat, optimum, curvature=curvature)
    parts = {
        "ggn": flat.ggn(optimum.weights),
        "hessian": flat.hessian(optimum.weights),
        "fisher": flat.scores_gram(optimum.weights),
    }
    assert_close(laplace.posterior_precision, parts[curvature])


@pytest.mark.parametrize("curvature", ["ggn", "fisher"])
def test_low_rank_wants_a_prior(curvature):
    case = case_of("Gaussian")
    flat = case.posterior.with_hyperparameters(Gaussian(0.4), FlatPrior())
    with refuses("prior", f"precision 0 for {case.k} of {case.k} weights", "structure 'full'"):
        fit_laplace(flat, case.w, curvature=curvature, structure="lowrank")


@pytest.mark.parametrize("structure", ["full", "layer", "last_layer"])
@pytest.mark.parametrize("curvature", ["ggn", "fisher"])
def test_what_neither_data_nor_prior_determine_is_refused(curvature, structure):
    # one direction of the logits, the same for all classes, changes nothing
    case = case_of("Categorical")
    flat = case.posterior.with_hyperparameters(Categorical(), FlatPrior())
    with refuses("prior", "(rank_deficient)", "NormalPrior"):
        fit_laplace(flat, case.w, curvature=curvature, structure=structure)


def test_a_weight_without_any_information_is_named():
    x = np.column_stack([np.linspace(-1, 1, 9), np.zeros(9)])
    post = Posterior(MLP(2, (), 1), x, x[:, 0], Gaussian(1.0), FlatPrior())
    for curvature in ("ggn", "fisher"):
        with refuses("prior", "no information on W1[1,0] (rank_deficient)", "NormalPrior"):
            fit_laplace(post, np.ones(3), curvature=curvature, structure="diag")


def test_an_indefinite_hessian_names_the_weights_it_bends_along():
    # at zero weights of one tanh unit the target bends W1 against W2
    post, smallest = saddle_posterior(1.0, hidden=1)
    with refuses("curvature", f"smallest eigenvalue {smallest:.3g} along ", "'ggn'") as caught:
        fit_laplace(post, np.zeros(4), curvature="hessian")
    named = caught.value.got.split(" along ")[1]
    assert named.endswith(" (saddle)")
    direction = np.linalg.eigh(post.hessian(np.zeros(4)))[1][:, 0]
    most = [post.weight_names[i] for i in np.argsort(-np.abs(direction))[:2]]
    assert {most[0], most[1]} <= set(named.removesuffix(" (saddle)").split(", "))


def test_a_hessian_with_a_negative_diagonal_names_the_weight():
    # far off a saturating fit the log density bends upwards along single weights
    x = np.linspace(0.5, 2.0, 20)[:, None]
    post = Posterior(MLP(1, (1,), 1, bias=False), x, np.full(20, 5.0), Gaussian(0.1), NormalPrior(0.01))
    w = np.array([-1.0, 1.0])
    hessian = post.hessian(w)
    worst = int(np.argmin(np.diag(hessian)))
    assert hessian[worst, worst] < 0
    with refuses("curvature", f"diagonal {hessian[worst, worst]:.3g} for {post.weight_names[worst]}", "'ggn'"):
        fit_laplace(post, w, curvature="hessian", structure="diag")


@pytest.mark.parametrize("curvature", ["GGN", "gauss-newton", "", None, 1])
def test_unknown_curvatures_are_refused(curvature):
    case = case_of("Gaussian")
    with refuses("curvature", repr(curvature), "'ggn', 'hessian', 'fisher'"):
        fit_laplace(case.posterior, case.w, curvature=curvature)


@pytest.mark.parametrize("structure", ["kron", "Full", "", None, 1])
def test_unknown_structures_are_refused(structure):
    case = case_of("Gaussian")
    with refuses("structure", repr(structure), "'full', 'layer', 'diag', 'lowrank', 'last_layer'"):
        fit_laplace(case.posterior, case.w, structure=structure)


@pytest.mark.parametrize("rank", [0, -3, 2.0, True, None, "all"])
@pytest.mark.parametrize("structure", ["lowrank", "full"])
def test_a_rank_is_a_positive_integer(rank, structure):
    case = case_of("Gaussian")
    with refuses("rank", repr(rank), "an integer of at least 1"):
        fit_laplace(case.posterior, case.w, structure=structure, rank=rank)


@pytest.fixture
def memory(monkeypatch):
    """Set the memory of the machine, in multiples of what matrices of some size take."""

    def set_to(times, size):
        pages = int(memory_module.memory_for_square(size) / memory_module.MEMORY_SHARE * times)
        monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": pages}.__getitem__)

    return set_to


@pytest.mark.parametrize(
    ("curvature", "structure"), [("ggn", "full"), ("hessian", "diag"), ("fisher", "layer"), ("fisher", "lowrank")]
)
def test_a_matrix_that_would_not_fit_in_memory_is_refused(curvature, structure, memory):
    case = case_of("Gaussian")
    memory(1.01, case.k)
    assert fit_laplace(case.posterior, case.w, curvature=curvature, structure=structure).certificate.is_optimum
    memory(0.99, case.k)
    with refuses("structure", f"'{structure}' for {case.k} weights", "'lowrank'") as caught:
        fit_laplace(case.posterior, case.w, curvature=curvature, structure=structure)
    assert "GiB" in caught.value.got


@pytest.mark.parametrize("structure", ["diag", "layer", "last_layer", "lowrank"])
def test_parts_of_a_ggn_form_no_matrix_that_does_not_fit(structure, memory, monkeypatch):
    case = case_of("Gaussian")
    expected = case.dense("ggn", structure)
    memory(0.99, case.k)
    for whole in ("linearize", "hessian", "scores_gram"):
        monkeypatch.setattr(Posterior, whole, lambda *_: pytest.fail("formed the whole matrix"))
    laplace = fit_laplace(case.posterior, case.w, structure=structure, rank=RANK)
    assert_close(laplace.posterior_precision, expected)
    assert not laplace.certificate.is_optimum  # what was not measured is not certified
    assert f"{case.k} weights" in laplace.certificate.reasons[0]
