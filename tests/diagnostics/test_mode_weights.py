"""Weights of modes, and predictions by them, against quadrature where the masses of the modes are known."""

import warnings

import arviz_stats
import numpy as np
import pytest
import xarray as xr
from scipy.special import logsumexp
from scipy.stats import norm

from bayesnn.chain_statistics import ess
from bayesnn.diagnostics import PREDICTIVES, add_predictions, mode_weights, predict_over_modes
from bayesnn.diagnostics.leave_one_out import leave_one_out
from bayesnn.diagnostics.stacking import stack
from bayesnn.laplace import LaplaceMixture, fit_laplace
from bayesnn.models import MLP, FunctionModel
from bayesnn.optimum import find_optimum
from bayesnn.posterior import Gaussian, NormalPrior, Posterior
from bayesnn.sampling import sample
from bayesnn.tree import load_tree, save_tree, weight_matrix
from tests import oracles
from tests.refusals import refuses
from tests.two_modes import MASSES, MEANS, two_modes

SIGMA = 0.5
QUICK = {"metric": "laplace", "num_integration_steps": 2, "seed": 0}
NEW_X = np.array([[-1.0], [0.3], [2.0]])
NEW_Y = np.array([1.5, 0.2, 0.9])


def bent(weights, x):
    """One weight, two modes near +-1 that fit nearly alike and predict otherwise for large inputs."""
    return weights[0] ** 2 * np.cos(x[:, 0]) + 0.03 * weights[0] * x[:, 0] ** 3


def slope(weights, x):
    return (2.0 * weights[0] * np.cos(x[:, 0]) + 0.03 * x[:, 0] ** 3)[:, None]


class Quadrature:
    """The posterior of the weight on a grid, cut at its saddle."""

    def __init__(self, post):
        self.w = np.linspace(-4.0, 4.0, 8001)
        log_p = np.array([float(post.log_density(np.array([w]))) for w in self.w])
        self.p = np.exp(log_p - log_p.max())
        self.p /= self.p.sum()
        self.outputs = np.array([bent([w], NEW_X) for w in self.w])

    def masses(self):
        return np.array([self.p[self.w > 0].sum(), self.p[self.w < 0].sum()])

    def mean(self):
        return self.p @ self.outputs

    def sd(self):
        return np.sqrt(self.p @ (self.outputs - self.mean()) ** 2 + SIGMA**2)

    def log_density(self):
        return np.log(self.p @ norm.pdf(NEW_Y, self.outputs, SIGMA))


@pytest.fixture(scope="module")
def laplaces():
    rng = np.random.default_rng(5)
    x = rng.uniform(-1.0, 1.0, (40, 1))
    y = np.cos(x[:, 0]) + 0.5 * rng.standard_normal(40)
    post = Posterior(FunctionModel(bent, ["w"], slope), x, y, Gaussian(SIGMA), NormalPrior(1.0, 0.2))
    optima = [find_optimum(post, start=[side], seed=0) for side in (1.0, -1.0)]
    return [fit_laplace(post, optimum, curvature="hessian") for optimum in optima]


@pytest.fixture(scope="module")
def exact(laplaces):
    return Quadrature(laplaces[0].posterior)


@pytest.fixture(scope="module")
def sampled(laplaces):
    """Seven chains: four in the first mode, three in the second."""
    return sample(laplaces, num_chains=7, num_warmup=100, num_samples=500, **QUICK)


@pytest.fixture
def tree(sampled):
    return sampled.copy()


def draws_of(tree):
    return tree["posterior"]["w"].values


class TestWeights:
    def test_the_target_is_what_the_tests_need(self, exact, sampled):
        # both modes count, no chain crosses, and the ends of the grid hold nothing
        assert exact.masses().min() > 0.1
        assert np.array_equal(np.sign(draws_of(sampled)).min(axis=1), [1, 1, 1, 1, -1, -1, -1])
        assert max(exact.p[0], exact.p[-1]) < 1e-20

    def test_evidence_weights_are_the_masses_of_the_modes(self, exact, tree):
        # Laplace's relative error in each is of the order 1 / n = 0.025, and nearly the same in both
        assert mode_weights(tree, "evidence").weights == pytest.approx(exact.masses(), abs=0.01)

    def test_where_the_modes_are_gaussian_they_are_exact(self):
        target = two_modes()
        pair = [fit_laplace(target, mean, curvature="hessian") for mean in MEANS]
        drawn = sample(pair, num_chains=4, num_warmup=20, num_samples=4, seed=0)
        # the Hessian is by differences of the gradient: seven digits
        assert mode_weights(drawn, "evidence").weights == pytest.approx(MASSES, abs=1e-6)

    def test_evidence_weights_are_those_of_the_mixture(self, laplaces, tree):
        assert np.array_equal(mode_weights(tree, "evidence").weights, LaplaceMixture(laplaces).probabilities)

    def test_equal_weights_are_equal(self, tree):
        assert mode_weights(tree, "equal").weights.tolist() == [0.5, 0.5]

    def test_stacking_maximises_the_score_of_the_leave_one_out_densities(self, tree):
        found = mode_weights(tree)
        log_density = found.leave_one_out.log_density
        assert log_density.shape == found.leave_one_out.pareto_k.shape == (2, 40)
        assert np.array_equal(found.weights, stack(log_density).weights)
        grid = np.linspace(0.0, 1.0, 10001)
        mixed = grid[:, None] * np.exp(log_density[0]) + (1.0 - grid[:, None]) * np.exp(log_density[1])
        score = np.log(mixed).sum(axis=1)
        assert abs(found.weights[0] - grid[np.argmax(score)]) <= 1e-4
        assert found.score == pytest.approx(score.max(), abs=1e-6)
        assert found.method == "stacking"

    def test_the_order_of_the_chains_does_not_matter(self, tree):
        order = [6, 0, 4, 1, 3, 5, 2]
        mixed = xr.DataTree.from_dict(
            {
                name: node.to_dataset().isel(chain=order) if "chain" in node.dims and node.sizes["chain"] == 7 else node
                for name, node in tree.children.items()
            }
        )
        for method in ("stacking", "evidence"):
            assert mode_weights(mixed, method).weights == pytest.approx(mode_weights(tree, method).weights, abs=1e-6)

    def test_the_tree_keeps_them(self, tree, tmp_path):
        found = {method: mode_weights(tree, method).weights for method in ("stacking", "evidence", "equal")}
        by_row = mode_weights(tree).leave_one_out
        save_tree(tree, tmp_path / "tree.nc")
        modes = load_tree(tmp_path / "tree.nc")["modes"]
        for method, weights in found.items():
            assert np.array_equal(modes[f"{method}_weights"], weights)
        assert np.array_equal(modes["elpd"], by_row.elpd)
        assert np.array_equal(modes["pareto_k"], by_row.pareto_k)
        assert modes["num_chains"].values.tolist() == [4, 3]

    def test_or_it_stays_as_it_was(self, tree, sampled):
        mode_weights(tree, "evidence", extend_tree=False)
        assert tree.identical(sampled)

    def test_one_optimum_has_all_the_weight(self, laplaces):
        single = sample(laplaces[0], num_chains=4, num_warmup=40, num_samples=20, **QUICK)
        before = single.copy()
        for method in ("stacking", "evidence", "equal"):
            assert mode_weights(single, method).weights.tolist() == [1.0]
        assert single.identical(before)

    def test_an_unknown_method_is_refused(self, tree):
        with refuses("method", "'bma'", "one of 'stacking', 'evidence', 'equal'"):
            mode_weights(tree, "bma")

    def test_a_mode_without_chains_is_refused(self, tree):
        tree["posterior"] = xr.DataTree(tree["posterior"].to_dataset().isel(chain=slice(0, 4)))
        with refuses("tree", "no chain that began in mode 1", "chains of every mode"):
            mode_weights(tree, "evidence")

    def test_without_log_likelihoods_there_is_no_stacking(self, tree):
        del tree["log_likelihood"]
        with refuses("tree", "groups", "a group 'log_likelihood'"):
            mode_weights(tree, "stacking")

    def test_log_likelihoods_that_are_not_finite_are_refused(self, tree):
        spoiled = tree["log_likelihood"].to_dataset().copy(deep=True)
        spoiled["y"][0, 0, 0] = -np.inf
        tree["log_likelihood"] = xr.DataTree(spoiled)
        with refuses("tree", "not finite", "finite ones"):
            mode_weights(tree, "stacking")


class TestLeaveOneOut:
    def test_of_each_mode_they_are_arvizs(self, tree):
        modes = tree["posterior"]["mode"].values
        found = leave_one_out(tree, modes)
        for mode in (0, 1):
            chains = {"chain": np.flatnonzero(modes == mode)}
            names = ("posterior", "log_likelihood")
            part = xr.DataTree.from_dict({name: tree[name].to_dataset().isel(chains) for name in names})
            values = part["log_likelihood"]["y"].values
            efficiency = float(np.mean(ess(np.exp(values), "mean"))) / values[..., 0].size
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of large Pareto k
                theirs = arviz_stats.loo(part, pointwise=True, reff=efficiency)
            assert np.allclose(found.log_density[mode], theirs.elpd_i, rtol=0, atol=1e-12)
            assert np.allclose(found.pareto_k[mode], theirs.pareto_k, rtol=0, atol=1e-12)
            assert found.elpd[mode] == pytest.approx(theirs.elpd)
            assert found.pareto_k_limit[mode] == theirs.good_k

    @pytest.mark.parametrize(("move", "num_samples"), [("hmc", 500), ("random_walk", 2000)])
    def test_of_a_linear_model_they_are_exact_within_their_error(
        self, move, num_samples, linear_data, linear_precision, linear_laplace
    ):
        x, y = linear_data
        how = {"num_chains": 16, "num_warmup": 100, "metric": "laplace", "seed": 0}
        drawn = sample(linear_laplace, **how, move=move, num_samples=num_samples)
        found = leave_one_out(drawn, np.zeros(16, dtype=int))
        design = oracles.design(x)
        wanted = np.empty(30)
        for i in range(30):
            rest = np.arange(30) != i
            without = oracles.LinearGaussian(design[rest], y[rest], 0.4, linear_precision)
            variance = design[i] @ without.covariance @ design[i] + 0.4**2
            wanted[i] = norm.logpdf(y[i], design[i] @ without.mean, np.sqrt(variance))
        z = (found.log_density[0] - wanted) / found.error[0]
        assert np.all(found.pareto_k < found.pareto_k_limit[0])
        assert np.all(found.n_unreliable == 0)
        assert np.abs(z).max() < 4.5
        # the errors are not far too large either: 30 rows, of which some ten are independent
        assert 0.4 < np.sqrt((z**2).mean()) < 2.0
        assert found.elpd_error[0] == pytest.approx(np.sqrt((found.error**2).sum()))

    def test_a_row_whose_tail_is_one_number_is_not_trusted(self, tree):
        stuck = tree["log_likelihood"].to_dataset().copy(deep=True)
        stuck["y"][0, :, 3] = -9.0
        tree["log_likelihood"] = xr.DataTree(stuck)
        found = leave_one_out(tree, tree["posterior"]["mode"].values)
        values = stuck["y"].values[:4, :, 3]
        assert found.pareto_k[0, 3] == np.inf
        assert found.n_unreliable[0] >= 1
        assert found.log_density[0, 3] == pytest.approx(-np.log(np.mean(np.exp(-values))))

    def test_a_row_of_constant_likelihood_needs_no_smoothing(self, tree):
        constant = tree["log_likelihood"].to_dataset().copy(deep=True)
        constant["y"][..., 3] = -1.25
        tree["log_likelihood"] = xr.DataTree(constant)
        found = leave_one_out(tree, tree["posterior"]["mode"].values)
        assert found.log_density[:, 3] == pytest.approx([-1.25, -1.25], abs=1e-12)
        assert np.all(found.pareto_k[:, 3] == -np.inf)
        assert np.all(found.error[:, 3] < 1e-12)


class TestPredictions:
    def test_by_the_true_masses_they_are_those_of_the_posterior(self, laplaces, exact, tree):
        masses = exact.masses()
        found = predict_over_modes(tree, laplaces, NEW_X, masses, NEW_Y)
        outputs = laplaces[0].posterior.model.predict(draws_of(tree)[..., None], NEW_X)[..., 0]
        parts = [(outputs[:4], masses[0]), (outputs[4:], masses[1])]
        squares = found.mean[:, 0] ** 2 + found.sd[:, 0] ** 2 - SIGMA**2, exact.mean() ** 2 + exact.sd() ** 2 - SIGMA**2
        kinds = {  # means over draws all three of them, whose errors are known
            "mean": (lambda f: f, found.mean[:, 0], exact.mean()),
            "square": (lambda f: f**2, *squares),
            "density": (lambda f: norm.pdf(NEW_Y, f, SIGMA), np.exp(found.log_density), np.exp(exact.log_density())),
        }
        for name, (of, got, wanted) in kinds.items():
            variances = [share**2 * of(f).var(axis=(0, 1)) / ess(of(f), "mean") for f, share in parts]
            error = np.sqrt(np.sum(variances, axis=0))
            assert np.all(np.abs(got - wanted) < 4.5 * error), name
            assert np.all(error < 0.05 * np.abs(wanted)), name

    def test_they_are_the_moments_of_the_mixture(self, laplaces, tree):
        shares = np.array([0.2, 0.8])
        found = predict_over_modes(tree, LaplaceMixture(laplaces), NEW_X, 10 * shares, NEW_Y)
        outputs = laplaces[0].posterior.model.predict(draws_of(tree)[..., None], NEW_X)[..., 0]
        each = np.concatenate([np.full(2000, 0.2 / 2000), np.full(1500, 0.8 / 1500)])  # a weight for each draw
        flat = outputs.reshape(3500, 3)
        mean = each @ flat
        assert found.mean[:, 0] == pytest.approx(mean, rel=1e-12)
        assert found.sd[:, 0] == pytest.approx(np.sqrt(each @ (flat - mean) ** 2 + SIGMA**2), rel=1e-12)
        density = logsumexp(norm.logpdf(NEW_Y, flat, SIGMA), axis=0, b=each[:, None])
        assert found.log_density == pytest.approx(density, rel=1e-12)
        assert predict_over_modes(tree, laplaces, NEW_X, shares).log_density is None

    def test_a_mode_of_weight_0_is_not_heard(self, laplaces, tree):
        heard = predict_over_modes(tree, laplaces, NEW_X, [0.0, 1.0], NEW_Y)
        outputs = laplaces[0].posterior.model.predict(draws_of(tree)[4:, :, None], NEW_X)[..., 0]
        assert heard.mean[:, 0] == pytest.approx(outputs.mean(axis=(0, 1)), rel=1e-12)
        assert np.isfinite(heard.log_density).all()

    def test_scores_of_each_weighting_are_added(self, laplaces, tree):
        weightings = [mode_weights(tree, method) for method in ("stacking", "evidence", "equal")]
        scores = add_predictions(tree, laplaces, NEW_X, NEW_Y, weights=weightings)
        names = (*PREDICTIVES, "sampled, stacking", "sampled, evidence", "sampled, equal")
        assert scores.predictives == names
        assert tuple(tree["scores"]["predictive"].values) == names
        for i, weighting in enumerate(weightings):
            by_hand = predict_over_modes(tree, laplaces, NEW_X, weighting, NEW_Y)
            assert scores.lpd[3 + i] == pytest.approx(by_hand.log_density.mean())
            assert scores.rmse[3 + i] == pytest.approx(np.sqrt(((by_hand.mean[:, 0] - NEW_Y) ** 2).mean()))
            kept = tree["mode_predictions"].sel(weighting=weighting.method)
            assert np.array_equal(kept["mean"], by_hand.mean)
            assert np.array_equal(kept["sd"], by_hand.sd)
            assert np.array_equal(kept["log_density"], by_hand.log_density)
        # all chains alike is a weighting, too: by the number of chains
        alike = predict_over_modes(tree, laplaces, NEW_X, [4, 3], NEW_Y)
        assert scores.lpd[2] == pytest.approx(alike.log_density.mean())

    def test_without_targets_there_are_predictions_but_no_scores(self, laplaces, tree):
        assert add_predictions(tree, laplaces, NEW_X, weights=[mode_weights(tree, "equal")]) is None
        assert set(tree["mode_predictions"].data_vars) == {"mean", "sd"}
        assert "scores" not in tree.children

    def test_of_one_optimum_nothing_is_added(self, laplaces):
        single = sample(laplaces[0], num_chains=4, num_warmup=40, num_samples=20, **QUICK)
        scores = add_predictions(single, laplaces[0], NEW_X, NEW_Y)
        assert scores.predictives == PREDICTIVES
        assert "mode_predictions" not in single.children
        pooled = predict_over_modes(single, laplaces[0], NEW_X, [2.0], NEW_Y)
        assert pooled.log_density.mean() == pytest.approx(scores.lpd[2])

    @pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], "evidence", [[0.5, 0.5]]], ids=str)
    def test_bad_weights_are_refused(self, weights, laplaces, tree):
        with refuses("weights", "", "2 numbers, none negative, not all 0"):
            predict_over_modes(tree, laplaces, NEW_X, weights)

    def test_wrong_shapes_are_refused(self, laplaces, tree):
        with refuses("y", "(2,)", "(3,)"):
            predict_over_modes(tree, laplaces, NEW_X, [1, 1], NEW_Y[:2])


def test_weight_matrices_of_the_tree_have_the_mode_beside_them(tree, laplaces):
    draws = tree["posterior"].to_dataset()
    assert weight_matrix(draws, laplaces[0].posterior.model.weight_blocks).shape == (7, 500, 1)
    assert draws["w"].coords["mode"].dims == ("chain",)


def test_rows_whose_noise_is_not_known_have_no_predictions(linear_data):
    x, y = linear_data
    posterior = Posterior(MLP(3, (), 1), x, y, Gaussian(np.linspace(0.2, 0.6, len(x))), NormalPrior(1.0))
    laplace = fit_laplace(posterior, find_optimum(posterior, progress=False))
    tree = sample(laplace, num_chains=2, num_warmup=20, num_samples=8, seed=0)
    for inputs in (x, x[:5]):
        with refuses("noise", "one sigma_noise per training row", "one sigma_noise for all rows"):
            add_predictions(tree, laplace, inputs)


def test_walkers_that_move_together_are_not_counted_as_independent():
    # four ensembles of eight walkers that are one: errors of 32 independent chains are sqrt(8) too small
    rng = np.random.default_rng(0)
    each = 0.3 * rng.standard_normal((4, 2000, 3))
    ensemble = np.repeat(np.arange(4), 8)
    values = each[ensemble] + 1e-3 * rng.standard_normal((32, 2000, 3))
    groups = {
        "log_likelihood": xr.Dataset({"y": (("chain", "draw", "obs"), values)}),
        "sample_stats": xr.Dataset({"lp": (("chain", "draw"), values[..., 0])}),
    }
    alone = xr.DataTree.from_dict(groups | {"posterior": xr.Dataset()})
    together = xr.DataTree.from_dict(groups | {"posterior": xr.Dataset(coords={"ensemble": ("chain", ensemble)})})
    modes = np.zeros(32, dtype=int)
    ratio = leave_one_out(together, modes).error / leave_one_out(alone, modes).error
    # effective sizes of 8000 draws are known to a few per cent
    assert np.all(np.abs(ratio / np.sqrt(8.0) - 1.0) < 0.15)
