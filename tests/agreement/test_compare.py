"""Gaussian against draws: exact where the posterior is Gaussian, and right about what is wrong where it is not."""

import dataclasses
import sys

import numpy as np
import pytest
import xarray as xr
from scipy.stats import kstest

from bayesnn import MLP, Gaussian, LogDensity, NormalPrior, Posterior, find_optimum, sample
from bayesnn.agreement import Finding, Verdict, compare, judge
from bayesnn.diagnostics import add_predictions, ess
from bayesnn.laplace import fit_laplace
from bayesnn.report.figures import importance_figure
from bayesnn.tree import weight_matrix, weight_variables
from tests.refusals import refuses
from tests.relu_unit import relu_unit
from tests.two_modes import MEANS, two_modes


@pytest.fixture(scope="module")
def linear_tree(linear_laplace):
    return sample(linear_laplace, num_chains=8, num_warmup=200, num_samples=1000, num_integration_steps=8, seed=1)


def fresh(tree):
    """A copy that can be extended without changing the other."""
    return xr.DataTree.from_dict(tree.to_dict(), name=tree.name)


def with_draws(tree, laplace, weights):
    """The tree with other draws in the place of its own, and everything computed from them renewed."""
    posterior = laplace.posterior
    changed = fresh(tree)
    axes = ("chain", "draw")
    changed["posterior"] = xr.DataTree(xr.Dataset(weight_variables(posterior.model.weight_blocks, weights, axes)))
    rows = tree["monitor"]["obs"].values
    outputs = posterior.model.predict(weights, posterior.x[rows])
    changed["monitor"] = xr.DataTree(xr.Dataset({"f": ((*axes, "obs", "output"), outputs)}, coords={"obs": rows}))
    changed["sample_stats"] = xr.DataTree(xr.Dataset({"lp": (axes, posterior.log_density(weights))}))
    return changed


def exact_draws(laplace, seed=5, shape=(8, 1000)):
    return laplace.sample(shape[0] * shape[1], seed).reshape(*shape, -1)


def test_a_linear_model_is_gaussian_to_rounding(linear_laplace, linear_tree):
    agreement = compare(linear_laplace, linear_tree, extend_tree=False)
    assert agreement.verdict is Verdict.gaussian
    assert agreement.kl < 1e-12
    # a shift within its band of chance may be larger than the one that is told
    assert "sd beyond chance" in agreement.reasons[0]
    assert abs(agreement.log_evidence_gap) < 1e-9
    assert agreement.acceptance_of_independence == pytest.approx(1.0)
    assert np.all(np.abs(agreement.mean_shift) < 1.3 * agreement.mean_shift_band)


def test_bands_hold_for_independent_draws_of_the_gaussian(linear_laplace, linear_tree):
    """40 replicates of exact draws: a 95 % band is left 0.05 x 40 = 2 times, and above 7 with probability 1e-3."""
    left = dict.fromkeys(("mean_shift", "sd_ratio", "mahalanobis_ks"), 0)
    for seed in range(40):
        found = compare(
            linear_laplace,
            with_draws(linear_tree, linear_laplace, exact_draws(linear_laplace, seed)),
            extend_tree=False,
        )
        left["mean_shift"] += bool(np.any(np.abs(found.mean_shift) > found.mean_shift_band))
        left["sd_ratio"] += bool(np.any(np.abs(found.sd_ratio - 1) > found.sd_ratio_band))
        left["mahalanobis_ks"] += found.mahalanobis_ks.value > found.mahalanobis_ks.band
    assert max(left.values()) <= 7, left


def test_a_shift_along_one_direction_is_found_there(linear_laplace, linear_tree):
    sds, directions = linear_laplace.eigendirections
    shifted = exact_draws(linear_laplace) + 1.0 * sds[2] * directions[:, 2]
    found = compare(linear_laplace, with_draws(linear_tree, linear_laplace, shifted), extend_tree=False)
    assert found.verdict is Verdict.not_gaussian
    # The mean of 8000 independent draws has sd 0.011; other directions must stay within 5 of that.
    np.testing.assert_allclose(found.mean_shift, np.eye(4)[2], atol=5 / np.sqrt(8000))
    assert any("mean lies" in reason for reason in found.reasons)


def test_a_gaussian_too_wide_is_found_by_every_sd(linear_laplace, linear_tree):
    mean = linear_laplace.mean
    narrow = mean + 0.5 * (exact_draws(linear_laplace) - mean)  # covariance a quarter
    found = compare(linear_laplace, with_draws(linear_tree, linear_laplace, narrow), extend_tree=False)
    # sd of a sample sd is 1/sqrt(2 S): 0.0079 of the value.
    np.testing.assert_allclose(found.sd_ratio, 0.5, rtol=5 / np.sqrt(2 * 8000))
    assert found.verdict is Verdict.not_gaussian
    assert any("sd differs" in reason for reason in found.reasons)


def test_a_bent_posterior_with_the_right_moments_is_found_by_its_distances(linear_laplace, linear_tree):
    """A banana: one coordinate gets the square of another; mean and variances are then restored."""
    sds, directions = linear_laplace.eigendirections
    z = (exact_draws(linear_laplace) - linear_laplace.mean) @ directions / sds
    z[..., 1] = (0.3 * z[..., 1] + (z[..., 0] ** 2 - 1.0)) / np.sqrt(0.09 + 2.0)
    bent = linear_laplace.mean + (z * sds) @ directions.T
    found = compare(linear_laplace, with_draws(linear_tree, linear_laplace, bent), extend_tree=False)
    assert np.all(np.abs(found.mean_shift) < 0.06)
    assert found.mahalanobis_ks.value > found.mahalanobis_ks.band
    # E z1^2 z2 of the bent pair is 2 / sqrt(2.09), three times in the tensor, and E z2^3 8 / 2.09^1.5
    expected = np.sqrt(3 * 4 / 2.09 + (8 / 2.09**1.5) ** 2)
    assert found.mardia.skewness.debiased == pytest.approx(expected, rel=0.1)
    assert found.verdict is Verdict.not_gaussian
    assert any("skewed" in reason for reason in found.reasons)


def with_a_weight_the_data_say_nothing_of():
    rng = np.random.default_rng(5)
    x = np.column_stack([rng.standard_normal((60, 2)), np.zeros(60)])
    y = x[:, 0] - x[:, 1] + 0.4 * rng.standard_normal(60)
    posterior = Posterior(MLP(3, (), 1), x, y, Gaussian(0.4), NormalPrior(1.0))
    return fit_laplace(posterior, find_optimum(posterior, progress=False))


def test_where_the_prior_alone_speaks_the_rest_may_be_gaussian():
    laplace = with_a_weight_the_data_say_nothing_of()
    tree = sample(laplace, num_chains=8, num_warmup=100, num_samples=1000, seed=1)
    weights = exact_draws(laplace)
    weights[..., 2] = np.sign(weights[..., 2]) * weights[..., 2] ** 2  # what no function value feels
    found = compare(laplace, with_draws(tree, laplace, weights), extend_tree=False)
    assert found.n_informed == 3
    assert found.prior_share[-1] == pytest.approx(1.0)
    assert found.verdict is Verdict.gaussian_where_informed
    assert "3 of 4 directions" in found.reasons[0]
    # what the data do inform must still be Gaussian
    weights[..., 0] += 0.2
    worse = compare(laplace, with_draws(tree, laplace, weights), extend_tree=False)
    assert worse.verdict is Verdict.not_gaussian


def test_scalings_of_relu_units_are_not_held_against_the_gaussian():
    # The data say much about the function and nothing about the scaling: along it the posterior is bent as a hyperbola.
    laplace = relu_unit()
    tree = sample(laplace, num_chains=8, num_warmup=200, num_samples=1000, seed=1)
    found = compare(laplace, tree, extend_tree=False)
    assert found.n_informed == 2
    assert found.verdict is Verdict.gaussian_where_informed
    # without the scalings taken out the bent valley leaks into the informed directions
    raw = compare_unbalanced(laplace, tree)
    assert raw.verdict is Verdict.not_gaussian


def compare_unbalanced(laplace, tree):
    with pytest.MonkeyPatch.context() as patch:
        module = sys.modules["bayesnn.agreement.compare"]  # the package hands on the function under this name
        patch.setattr(module, "balanced", lambda model, draws, reference: draws)
        return compare(laplace, tree, extend_tree=False)


def test_a_density_without_a_gradient_is_compared_by_all_but_its_third_derivatives():
    target = LogDensity(lambda w: -0.5 * (w**2).sum(axis=-1), ["a", "b"], vectorized=True)
    laplace = fit_laplace(target, np.zeros(2))
    tree = sample(laplace, num_chains=8, num_warmup=200, num_samples=5000, seed=0)
    found = compare(laplace, tree)
    assert found.leading_order is None
    assert found.verdict is Verdict.gaussian
    assert "kl_leading_order" not in tree["agreement"]


def test_of_several_modes_each_is_compared_with_its_own_chains():
    target = two_modes()
    laplaces = [fit_laplace(target, mean, curvature="hessian") for mean in MEANS]
    tree = sample(laplaces, num_chains=8, num_warmup=200, num_samples=1000, seed=0)
    for laplace in laplaces:
        found = compare(laplace, fresh(tree))
        assert found.verdict is Verdict.gaussian
        assert found.along.shape[0] == 4
        assert "of 2 modes" in found.reasons[-1]
    both = fresh(tree)
    compare(laplaces[0], both)
    assert both["convergence"]["function_rhat"].max() > 1.1
    other = fit_laplace(target, MEANS[0] + 1e-3, curvature="hessian")
    with refuses("tree", "2 other optima", "sample(laplaces)"):
        compare(other, tree)


def test_another_curvature_at_the_same_optimum_is_compared_with_its_own_draws(teacher_posterior, teacher_optimum):
    ggn, hessian = (fit_laplace(teacher_posterior, teacher_optimum, curvature=c) for c in ("ggn", "hessian"))
    tree = sample(ggn, num_chains=4, num_warmup=100, num_samples=200, seed=3)
    found = compare(hessian, tree, extend_tree=False)
    draws = hessian.sample(4000, seed=9)
    ratios = teacher_posterior.log_density(draws) - hessian.log_prob(draws)
    exact = np.log(np.mean(np.exp(ratios - ratios.max()))) + ratios.max()
    # both logs of evidence err by a percent or so
    assert found.importance.log_evidence == pytest.approx(exact, abs=0.05)
    assert found.kl < compare(ggn, tree, extend_tree=False).kl


def test_fewer_draws_than_weights_are_refused(linear_laplace):
    tree = sample(linear_laplace, num_chains=2, num_warmup=20, num_samples=4, seed=1)
    few = tree.map_over_datasets(lambda part: part.isel(draw=slice(2), missing_dims="ignore"))
    with refuses("tree", "4 draws of 4 weights", "at least 5"):
        compare(linear_laplace, few)


def test_chains_that_never_moved_give_no_verdict(linear_laplace, linear_tree):
    still = np.broadcast_to(exact_draws(linear_laplace)[:, :1], (8, 1000, 4)).copy()
    found = compare(linear_laplace, with_draws(linear_tree, linear_laplace, still), extend_tree=False)
    assert found.verdict is Verdict.no_verdict


def test_chains_in_two_places_give_no_verdict(linear_laplace, linear_tree):
    sds, directions = linear_laplace.eigendirections
    apart = exact_draws(linear_laplace)
    apart[4:] += 8.0 * sds[0] * directions[:, 0]
    found = compare(linear_laplace, with_draws(linear_tree, linear_laplace, apart), extend_tree=False)
    assert found.verdict is Verdict.no_verdict
    assert "R-hat" in found.reasons[0]
    assert "chains disagree" in found.sentence
    assert "cannot be trusted" in found.sentence


def test_chains_that_agree_but_are_short_are_told_so(linear_laplace, linear_tree):
    # 8 chains of 100 draws, each of them twice: R-hat agrees, and 400 effective draws are not there
    draws = np.repeat(exact_draws(linear_laplace)[:, :40], 2, axis=1)
    found = compare(linear_laplace, with_draws(linear_tree, linear_laplace, draws), extend_tree=False)
    assert found.convergence.across.agrees
    assert found.convergence.wants_draws
    assert found.verdict is Verdict.no_verdict
    assert found.reasons[0].startswith("least effective sample size")
    assert "R-hat" not in found.reasons[0]
    assert found.sentence.startswith("The chains agree, but are too short for a verdict")


def test_draws_in_symmetric_images_are_folded_back(teacher_laplace):
    tree = sample(teacher_laplace, num_chains=4, num_warmup=100, num_samples=200, num_integration_steps=8, seed=2)
    before = compare(teacher_laplace, tree, extend_tree=False)
    blocks = teacher_laplace.posterior.model.weight_blocks
    weights = weight_matrix(tree["posterior"].to_dataset(), blocks)
    # One chain with its two hidden units exchanged and the first one's sign flipped: the same functions.
    flipped = weights.copy()
    order = np.array([1, 0, 3, 2, 5, 4, 7, 6, 8])  # W1 (2, 2) raveled, b1, W2, b2
    flipped[0] = weights[0][:, order] * np.array([-1, 1, -1, 1, -1, 1, -1, 1, 1])
    after = compare(teacher_laplace, with_draws(tree, teacher_laplace, flipped), extend_tree=False)
    assert before.fraction_folded == 0.0
    assert after.fraction_folded == 0.25
    np.testing.assert_allclose(after.mean_shift, before.mean_shift, atol=1e-12)


def test_the_tree_is_extended_unless_told_not_to(linear_laplace, linear_tree):
    tree = fresh(linear_tree)
    compare(linear_laplace, tree, extend_tree=False)
    assert "agreement" not in tree.children
    found = compare(linear_laplace, tree)
    stored = tree["agreement"]
    assert float(stored["kl"]) == found.kl
    assert stored.attrs["verdict"] == found.verdict
    assert list(stored["finding"].values) == [finding.name for finding in found.findings]
    assert {"function_rhat", "weight_rhat", "lp_rhat"} <= set(tree["convergence"].data_vars)


def test_the_table_has_a_row_for_each_finding(linear_laplace, linear_tree):
    found = compare(linear_laplace, linear_tree, extend_tree=False)
    assert found.table().row_count == len(found.findings)


def test_a_tree_of_another_laplace_is_refused(linear_laplace, linear_tree):
    other = fit_laplace(linear_laplace.posterior, linear_laplace.mean + 1e-9)
    with refuses("tree", "another Laplace", "sample(laplace)"):
        compare(other, linear_tree)


def test_ks_statistic_is_scipys(linear_laplace, linear_tree):
    found = compare(linear_laplace, linear_tree, extend_tree=False)
    squared = (found.along**2).sum(axis=-1)
    assert found.mahalanobis_ks.value == kstest(squared.ravel(), "chi2", args=(4,)).statistic
    assert found.mahalanobis_ks.band == pytest.approx(1.3581 / np.sqrt(ess(squared)), rel=1e-4)


@pytest.mark.parametrize(
    ("value", "band", "matters"),
    [(0.05, 0.0, False), (0.2, 0.3, False), (0.2, 0.1, True), (np.nan, 0.1, True), (np.inf, 0.1, True)],
)
def test_a_distance_matters_beyond_chance_and_beyond_the_limit(value, band, matters):
    assert Finding("kl", value, band, 0.1).matters is matters


def test_without_converged_chains_only_chain_free_findings_are_reasons(linear_laplace, linear_tree):
    found = compare(linear_laplace, linear_tree, extend_tree=False)
    broken = dataclasses.replace(found.convergence, lp_rhat=1.5)
    findings = (Finding("kl", 9.0, 0.0, 0.1, needs_chains=False), Finding("mean_shift", 9.0, 0.0, 0.2))
    verdict, reasons = judge(findings, broken)
    assert verdict is Verdict.no_verdict
    assert len(reasons) == 2
    assert "1.500" in reasons[0]
    assert "KL" in reasons[1]


class TestPredictions:
    @pytest.fixture
    def new_rows(self, linear_data):
        x, y = linear_data
        return x[:10] + 0.1, y[:10]

    def test_groups_hold_outputs_noise_and_scores(self, linear_laplace, linear_tree, new_rows):
        tree = fresh(linear_tree)
        scores = add_predictions(tree, linear_laplace, *new_rows)
        weights = weight_matrix(tree["posterior"].to_dataset(), linear_laplace.posterior.model.weight_blocks)
        outputs = linear_laplace.posterior.model.predict(weights, new_rows[0])
        np.testing.assert_array_equal(tree["predictions"]["f"].values, outputs)
        noise = (tree["predictions"]["y"] - tree["predictions"]["f"]).values
        # 80,000 noise values of sd 0.4: the sample sd is within 4 x 0.4 / sqrt(160,000).
        assert noise.std() == pytest.approx(0.4, abs=4 * 0.4 / np.sqrt(2 * noise.size))
        np.testing.assert_array_equal(tree["scores"]["lpd"].values, scores.lpd)

    def test_scores_are_those_of_the_exact_predictive(self, linear_laplace, linear_tree, new_rows):
        from scipy.stats import norm

        scores = add_predictions(fresh(linear_tree), linear_laplace, *new_rows)
        mean, sd = linear_laplace.predict(new_rows[0], noise=True)
        exact = norm.logpdf(new_rows[1], mean[:, 0], sd[:, 0]).mean()
        assert scores.lpd[1] == pytest.approx(exact, abs=1e-12)
        assert scores.lpd[0] == pytest.approx(norm.logpdf(new_rows[1], mean[:, 0], 0.4).mean(), abs=1e-12)
        # The sampled mixture over some thousand effective draws: the density's relative error is below 1 %.
        assert scores.lpd[2] == pytest.approx(exact, abs=0.01)
        assert scores.rmse[0] == pytest.approx(np.sqrt(((new_rows[1] - mean[:, 0]) ** 2).mean()))

    def test_the_comparison_then_rests_on_the_new_rows(self, linear_laplace, linear_tree, new_rows):
        tree = fresh(linear_tree)
        assert add_predictions(tree, linear_laplace, new_rows[0]) is None
        found = compare(linear_laplace, tree)
        assert found.convergence.function_group == "predictions"
        assert found.predictive_mean_gap.shape == (10,)
        assert "scores" not in tree.children

    def test_wrong_shapes_are_refused(self, linear_laplace, linear_tree):
        with refuses("x", "(5, 2)", "(n, 3)"):
            add_predictions(fresh(linear_tree), linear_laplace, np.zeros((5, 2)))
        with refuses("y", "(4,)", "(5,)"):
            add_predictions(fresh(linear_tree), linear_laplace, np.zeros((5, 3)), np.zeros(4))


def test_where_the_prior_says_all_no_direction_is_informed():
    x = np.array([[-1.0], [0.0], [1.0]])
    posterior = Posterior(MLP(1, (), 1), x, x, Gaussian(1.0), NormalPrior(10.0))
    laplace = fit_laplace(posterior, find_optimum(posterior))
    assert compare(laplace, sample(laplace, num_warmup=50, num_samples=50, seed=0)).n_informed == 0


def test_however_many_reasons_there_are_the_sentence_says_of_which_mode(linear_laplace, linear_tree):
    shifted = with_draws(linear_tree, linear_laplace, 2.0 * exact_draws(linear_laplace) - linear_laplace.mean + 0.5)
    found = dataclasses.replace(compare(linear_laplace, shifted, extend_tree=False), n_modes=2)
    assert len(found.reasons) > 4
    assert found.sentence.endswith("; of 2 modes this is about one, and about its chains alone.")


def test_the_ratios_that_are_drawn_are_those_of_the_gaussian_that_was_compared(teacher_posterior, teacher_optimum):
    first, other = (fit_laplace(teacher_posterior, teacher_optimum, curvature=kind) for kind in ("ggn", "hessian"))
    tree = sample(first, num_chains=8, num_warmup=50, num_samples=20, seed=0)
    found = compare(other, tree)
    ratios = tree["agreement"]["log_ratio"].values
    assert np.array_equal(ratios, found.log_ratios)
    assert not np.allclose(ratios, (tree["laplace_stats"]["log_p"] - tree["laplace_stats"]["log_q"]).values.ravel())
    heights = importance_figure(tree).axes[0].patches
    shown = ratios - np.median(ratios)
    expected, _ = np.histogram(shown, bins=80, range=(np.quantile(shown, 0.005), shown.max()))
    assert [patch.get_height() for patch in heights] == expected.tolist()
