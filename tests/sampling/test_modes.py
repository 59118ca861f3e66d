"""Chains in several optima at once."""

import numpy as np
import pytest
from scipy.stats import kstest, norm, t

from bayesnn.laplace import LaplaceMixture, fit_laplace
from bayesnn.models import MLP
from bayesnn.models.symmetry import random_images
from bayesnn.optimum import find_optimum
from bayesnn.posterior import Gaussian, LogDensity, NormalPrior, Posterior
from bayesnn.sampling import sample, start_points
from bayesnn.sampling.metric import first_metric
from bayesnn.sampling.schedule import Schedule
from bayesnn.sampling.target import Target
from bayesnn.seeds import generator
from bayesnn.tree import load_tree, save_tree, settings_of
from tests.refusals import refuses
from tests.statistical import assert_standard_normal_moments
from tests.two_modes import COVARIANCES, MEANS, two_modes

# what each chain keeps to the mode of
SHORT = {"num_chains": 5, "num_warmup": 40, "num_samples": 12, "seed": 1, "move": "marginal_hmc"}


def line(sigma=0.5, precision=1.0, hidden=(1,), shift=0.0, mean=0.0):
    """A posterior that every test can spoil in one way."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((20, 1))
    y = np.tanh(x[:, 0]) + 0.3 * rng.standard_normal(20) + shift
    return Posterior(MLP(1, hidden, 1), x, y, Gaussian(sigma), NormalPrior(precision, mean))


@pytest.fixture(scope="module")
def pair():
    """The Gaussians at the two modes of a density whose masses are known."""
    target = two_modes()
    return [fit_laplace(target, mean, curvature="hessian") for mean in MEANS]


@pytest.fixture(scope="module")
def network():
    """The two best optima of a small network, the best first."""
    x = np.linspace(-1, 1, 30)[:, None]
    post = Posterior(MLP(1, (2,), 1), x, np.sin(5 * x), Gaussian(0.3), NormalPrior(1.0))
    best = find_optimum(post, n_starts=8, seed=0)
    return [fit_laplace(post, optimum) for optimum in (best, best.others[0])]


@pytest.fixture(scope="module")
def tree(network):
    return sample(network, **SHORT)


def of_mode(tree, mode):
    """Draws (chains, draws, 2) of the chains of one mode of the pair."""
    posterior = tree["posterior"].to_dataset()
    draws = np.stack([posterior["a"].values, posterior["b"].values], axis=-1)
    return draws[posterior["mode"].values == mode]


@pytest.mark.parametrize("metric", ["auto", "laplace"])
def test_the_chains_of_each_mode_draw_from_that_mode(metric, pair):
    drawn = sample(pair, num_chains=32, num_warmup=100, num_samples=300, metric=metric, seed=0)
    for mode, (mean, covariance) in enumerate(zip(MEANS, COVARIANCES, strict=True)):
        draws = of_mode(drawn, mode)
        assert draws.shape == (16, 300, 2)
        assert_standard_normal_moments((draws - mean) @ np.linalg.cholesky(np.linalg.inv(covariance)))


@pytest.mark.parametrize(("start", "law"), [("laplace", norm), ("laplace_t", t(5))])
def test_chains_start_from_the_gaussian_of_their_own_mode(start, law, pair):
    points = start_points(Target.of(pair), start, 10000, seed=0)
    for laplace, of_this in zip(pair, np.split(points, 2), strict=True):
        z = (of_this - laplace.mean) @ np.linalg.cholesky(laplace.posterior_precision)
        # Kolmogorov-Smirnov is exact; 4 coordinates at 1e-5 each fail by chance once in 25 000 seeds
        assert all(kstest(z[:, i], law.cdf).pvalue > 1e-5 for i in range(2))
        assert abs(np.corrcoef(np.sign(z).T)[0, 1]) < 4.5 / np.sqrt(5000)


def test_of_one_optimum_nothing_changes(network, pair):
    standard = generator(4, "chain starts").standard_normal((6, 2))
    wanted = pair[1].mean + pair[1].factor.color(standard)
    assert np.array_equal(start_points(pair[1], "laplace", 6, 4), wanted)
    single = sample(network[0], **SHORT)
    assert sample([network[0]], **SHORT).identical(single)
    assert "modes" not in single.children
    assert "mode" not in single["posterior"].coords
    assert "n_modes" not in settings_of(single)


@pytest.mark.parametrize(("num_chains", "n_modes"), [(4, 2), (5, 2), (16, 3), (7, 3), (17, 8), (9, 1)])
def test_chains_are_shared_out_in_equal_blocks(num_chains, n_modes, network):
    modes = Target(network[0].posterior, (network[0],) * n_modes).mode_of_chains(num_chains)
    sizes = np.bincount(modes)
    assert np.array_equal(modes, np.sort(modes))
    assert (len(sizes), sizes.sum()) == (n_modes, num_chains)
    assert sizes.max() - sizes.min() <= 1
    assert sizes.min() >= 2


def test_the_tree_says_where_each_chain_began(network, tree, tmp_path):
    posterior, modes = tree["posterior"], tree["modes"]
    assert posterior["mode"].dims == ("chain",)
    assert posterior["mode"].values.tolist() == [0, 0, 0, 1, 1]
    assert modes["num_chains"].values.tolist() == [3, 2]
    assert settings_of(tree)["n_modes"] == 2
    for i, laplace in enumerate(network):
        assert np.array_equal(modes["mean"][i], laplace.mean)
        assert float(modes["log_marginal_likelihood"][i]) == laplace.log_marginal_likelihood
        assert float(modes["log_density"][i]) == laplace.posterior.log_density(laplace.mean)
    assert tuple(modes["weight"].values) == network[0].posterior.weight_names
    save_tree(tree, tmp_path / "tree.nc")
    assert load_tree(tmp_path / "tree.nc").identical(tree)


def test_the_gaussian_of_the_tree_is_that_of_the_highest_evidence(network, tree):
    evidences = [laplace.log_marginal_likelihood for laplace in network]
    best = network[int(np.argmax(evidences))]
    backwards = sample(network[::-1], **SHORT)
    for each in (tree, backwards):
        assert np.array_equal(each["laplace"]["mean"], best.mean)
    assert np.array_equal(tree["laplace_monitor"]["mean"], best.predict(best.posterior.x).mean)
    assert LaplaceMixture(network[::-1]).best is best


def test_a_mixture_is_as_good_as_its_parts(network, tree):
    assert sample(LaplaceMixture(network, "equal"), **SHORT).identical(tree)
    assert sample(iter(network), **SHORT).identical(tree)


def test_the_laplace_metric_inverts_the_mean_of_the_precisions(network):
    mean = np.mean([laplace.posterior_precision for laplace in network], axis=0)
    covariance = np.linalg.inv(mean)
    target = Target.of(network)
    assert np.allclose(first_metric("laplace", target).inverse_mass_matrix, covariance, atol=1e-10 * covariance.max())
    assert np.allclose(first_metric("diagonal", target).inverse_mass_matrix, 1.0 / np.diag(mean), rtol=1e-12)


def test_the_pilot_asks_for_no_jumps_between_the_modes(pair):
    # 30 sds apart: of the total variance what a chain can cross in its mode is a hundredth or less
    how = {"num_chains": 16, "num_warmup": 100, "num_samples": 4, "metric": "laplace", "seed": 0}
    together, alone = (sample(target, **how)["pilot"]["efficiency"].max() for target in (pair, pair[0]))
    assert float(together) > 0.1 * float(alone)


def test_values_are_centred_by_mode(network, rng):
    target, values = Target.of(network), rng.standard_normal((3, 5, 2))
    centred = target.centred(values)
    assert np.allclose(centred[:, :3].mean(axis=(0, 1)), 0.0, atol=1e-15)
    assert np.allclose(centred[:, 3:].mean(axis=(0, 1)), 0.0, atol=1e-15)
    assert np.allclose(np.diff(centred, axis=0), np.diff(values, axis=0))
    assert Target.of(network[0]).centred(values) is values


def test_a_run_of_several_optima_goes_on_to_the_same_bits(network, tree, tmp_path, monkeypatch):
    after = Schedule.after

    def ended(self, step, weights):
        if step == 30:
            raise RuntimeError
        after(self, step, weights)

    monkeypatch.setattr("bayesnn.sampling.run.COMMIT_EVERY", 0.0)
    monkeypatch.setattr("bayesnn.sampling.run.COMMIT_SHARE", 1e9)
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(Schedule, "after", ended)
        sample(network, **SHORT, store=tmp_path)
    assert sample(network, **SHORT, store=tmp_path).identical(tree)


@pytest.mark.parametrize("start", ["laplace", "given"])
def test_a_store_of_other_optima_is_refused(start, network, tmp_path):
    # from given starts nothing but the digest of the optima tells
    how = SHORT | {"start": network[0].sample(5) if start == "given" else start}
    sample(network, **how, store=tmp_path)
    for other in (network[::-1], network[0]):
        with refuses("store", "digest", "same arguments"):
            sample(other, **how, store=tmp_path)


@pytest.mark.parametrize(
    ("other", "got"),
    [
        (line(hidden=(2,)), "differ in their network, MLP(1, (1,)"),
        (line(shift=1.0), "differ in their data, 20 rows and 20 rows"),
        (line(precision=2.0), "differ in their prior, NormalPrior(prior_precision=1.0"),
        (line(mean=0.1), "differ in their prior"),
        (line(sigma=0.6), "differ in their likelihood, Gaussian(sigma_noise=0.5"),
        (line(sigma=np.full(20, 0.5 + 1e-12)), "differ in their likelihood"),
    ],
    ids=["network", "data", "precision", "mean", "noise", "noise of rows"],
)
def test_laplaces_of_different_densities_are_refused(other, got):
    laplaces = [fit_laplace(post, find_optimum(post, seed=0)) for post in (line(), other)]
    with refuses("target", got, "one density: the same network, data, likelihood and prior"):
        sample(laplaces, **SHORT)


def test_noise_that_differs_in_a_row_no_repr_shows_is_refused():
    noise = np.full(20, 0.5)
    other = noise.copy()
    other[10] += 1e-13
    laplaces = [fit_laplace(post, find_optimum(post, seed=0)) for post in (line(sigma=noise), line(sigma=other))]
    with refuses("target", "differ in their likelihood", "one density"):
        sample(laplaces, **SHORT)


def test_equal_densities_may_be_different_objects(network):
    best, other = network
    same = best.posterior.with_data(best.posterior.x, best.posterior.y)
    assert Target.of([best, fit_laplace(same, other.mean)]).n_modes == 2
    again = two_modes()
    kept = LogDensity(again.function, again.weight_names, gradient=again.gradient, vectorized=True)
    assert Target.of([fit_laplace(post, mean) for post, mean in zip((again, kept), MEANS, strict=True)]).n_modes == 2


def test_densities_that_are_other_functions_are_refused(pair):
    other = fit_laplace(two_modes(), MEANS[1], curvature="hessian")
    with refuses("target", "differ in their function, LogDensity(", "one density"):
        sample([pair[0], other], **SHORT)


def test_an_optimum_twice_is_refused_whatever_its_image(network):
    laplace = network[0]
    turned = random_images(laplace.posterior.model, laplace.mean[None], np.random.RandomState(0))[0]
    assert np.linalg.norm(turned - laplace.mean) > 1.0
    image = fit_laplace(laplace.posterior, turned)
    with refuses("target", "one optimum twice, as numbers 0 and 2", "distinct optima"):
        sample([*network, image], **SHORT)


@pytest.mark.parametrize(
    ("given", "got"),
    [([], "no Laplace"), (["best"], "a sequence with 'best'"), (3, "3"), (None, "None")],
    ids=["empty", "words", "number", "none"],
)
def test_what_is_no_target_is_refused(given, got):
    with refuses("target", got, "a Laplace, such as fit_laplace returns, or a LogDensity"):
        sample(given, **SHORT)


def test_fewer_than_two_chains_a_mode_are_refused(network):
    with refuses("num_chains", "3 for 2 optima", "at least 4"):
        sample(network, **(SHORT | {"num_chains": 3}))


@pytest.mark.parametrize("move", ["pcn", "independence"])
def test_moves_around_one_gaussian_are_refused(move, network):
    with refuses(
        "move", f"'{move}' for 2 optima", "'hmc', 'replica_exchange', 'microcanonical', 'mala', 'random_walk'"
    ):
        sample(network, **(SHORT | {"move": move}))


@pytest.mark.parametrize("move", ["mala", "random_walk"])
def test_the_other_moves_take_several(move, network):
    assert sample(network, **(SHORT | {"move": move}))["posterior"].sizes["chain"] == 5
