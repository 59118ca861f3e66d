"""Chains that begin at points of the user's own, with no Laplace posterior: where no optimum is near the bulk."""

import numpy as np
import pytest
from scipy import stats

from bayesnn import (
    MLP,
    FlatPrior,
    FunctionModel,
    Gaussian,
    HeteroscedasticGaussian,
    LogDensity,
    NormalPrior,
    Posterior,
    add_predictions,
    diagnose,
    fit_laplace,
    resume,
    sample,
)
from bayesnn.diagnostics import rhat
from bayesnn.report import write_report
from bayesnn.sampling import early_stopped, journey
from bayesnn.sampling.metric import first_metric
from bayesnn.sampling.moves import HMC, MicrocanonicalLangevin, ReplicaExchange
from bayesnn.sampling.path import PosteriorPath
from bayesnn.sampling.target import Target
from bayesnn.tree import settings_of, weight_matrix
from tests.refusals import refuses
from tests.sampling.test_call import interrupt
from tests.statistical import bound_of

SHORT = {"num_warmup": 40, "num_samples": 20, "seed": 3}


def linear(k=8):
    """A network of one layer: its posterior is a Gaussian, exactly."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, k - 1)) * np.geomspace(0.3, 3.0, k - 1)
    y = x @ rng.standard_normal(k - 1) + rng.standard_normal(40)
    return Posterior(MLP(k - 1, (), 1), x, y, Gaussian(1.0), NormalPrior(1.0))


@pytest.fixture(scope="module")
def network():
    """A posterior of two tanh units, and starts at draws of its prior."""
    x = np.linspace(-1.0, 1.0, 30)[:, None]
    posterior = Posterior(MLP(1, (2,), 1), x, np.sin(3 * x), Gaussian(0.1), NormalPrior(1.0))
    return posterior, np.random.default_rng(1).standard_normal((6, posterior.n_weights))


def draws_of(tree, posterior):
    return weight_matrix(tree["posterior"].to_dataset(), posterior.model.weight_blocks)


def test_chains_from_afar_draw_the_posterior():
    posterior = linear()
    exact = fit_laplace(posterior, np.linalg.solve(*_normal_equations(posterior)))
    starts = exact.mean + 20.0 * np.random.default_rng(2).standard_normal((64, 8))
    tree = sample(posterior, start=starts, num_warmup=200, num_samples=100, move="hmc", seed=0)
    z = exact.factor.whiten(draws_of(tree, posterior).reshape(-1, 8) - exact.mean).reshape(64, 100, 8)
    # Chains are independent: their means and mean squares, 16 numbers, have the errors that they scatter by.
    bound = stats.t.isf(stats.norm.sf(bound_of(16)), 63)
    for moment, expected in ((z, 0.0), (z**2, 1.0)):
        of_chains = moment.mean(axis=1)
        error = of_chains.std(axis=0, ddof=1) / np.sqrt(64)
        assert np.all(np.abs(of_chains.mean(axis=0) - expected) < bound * error)


def _normal_equations(posterior):
    linearized = posterior.linearize(np.zeros(posterior.n_weights))
    return linearized.ggn, linearized.gradient


def test_what_a_laplace_tells_is_left_out_and_the_rest_is_there(network, tmp_path):
    posterior, starts = network
    tree = sample(posterior, start=starts, **SHORT)
    assert not [name for name in tree.children if name.startswith("laplace")]
    assert {"posterior", "sample_stats", "log_likelihood", "posterior_predictive", "monitor", "pilot"} <= set(tree)
    assert tree["posterior"].sizes["chain"] == len(starts)
    settings = settings_of(tree)
    assert (settings["move"], settings["start"]) == ("MarginalHMC", "given")
    assert "laplace" not in tree["pilot"]["metric"].values
    np.testing.assert_allclose(
        tree["sample_stats"]["lp"], posterior.log_density(draws_of(tree, posterior).reshape(-1, 7)).reshape(6, -1)
    )
    write_report(tree, tmp_path / "before.html")
    assert "Run bayesnn.diagnose(tree, posterior)" in (tmp_path / "before.html").read_text()
    new_x = np.linspace(-0.9, 0.9, 12)[:, None]
    scores = add_predictions(tree, posterior, new_x, np.sin(3 * new_x))
    assert scores.predictives == ("sampled",)
    assert "laplace_predictions" not in tree.children
    convergence = diagnose(tree, posterior)
    assert convergence.function_group == "predictions"
    np.testing.assert_allclose(tree["convergence"]["function_rhat"], rhat(tree["predictions"]["f"].values[..., 0]))
    write_report(tree, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "No Gaussian to compare with" in page
    assert "bayesnn.diagnose" not in page
    for title in ("Held-out scores", "Held-out predictions", "Chains"):
        assert title in page


def test_predictions_are_the_draws_as_of_a_laplace(network):
    posterior, starts = network
    laplace = fit_laplace(posterior, starts[0])
    of_laplace, own = (
        sample(target, start=starts, num_chains=6, move="hmc", metric="unit", **SHORT)
        for target in (laplace, posterior)
    )
    np.testing.assert_array_equal(of_laplace["posterior"]["W1"], own["posterior"]["W1"])
    x, y = np.linspace(-0.9, 0.9, 12)[:, None], np.zeros(12)
    scores = add_predictions(of_laplace, laplace, x, y), add_predictions(own, posterior, x, y)
    assert (scores[0].rmse[2], scores[0].lpd[2]) == (scores[1].rmse[0], scores[1].lpd[0])
    with refuses("weights", "1 for a Posterior", "none"):
        add_predictions(own, posterior, x, y, weights=[None])


def test_diagnosis_refuses_draws_of_another_posterior(network):
    posterior, starts = network
    tree = sample(posterior, start=starts, move="hmc", metric="unit", **SHORT)
    with refuses("tree", "draws without W1", "this posterior"):
        diagnose(tree, linear())
    other = Posterior(posterior.network, posterior.x, posterior.y, Gaussian(0.2), NormalPrior(1.0))
    with refuses("tree", "a log density of", "this posterior"):
        diagnose(tree, other)
    diagnose(tree, posterior)


def test_draws_of_the_prior_are_starts_too(network):
    posterior, _ = network
    tree = sample(posterior, start="prior", num_chains=4, move="hmc", **SHORT)
    assert tree["posterior"].sizes["chain"] == 4


def test_the_first_metric_is_averaged_over_the_starts(network):
    posterior, starts = network
    average = np.mean([posterior.ggn(start) for start in starts], axis=0)
    target = Target(posterior, starts=starts)
    metric = first_metric("averaged", target).inverse_mass_matrix
    np.testing.assert_allclose(metric @ average, np.eye(len(average)), atol=1e-8)
    np.testing.assert_allclose(first_metric("diagonal", target).inverse_mass_matrix, 1.0 / np.diag(average))


def test_without_a_factor_of_the_curvature_the_metric_is_the_unit_one():
    posterior = linear()
    copies = Posterior(posterior.network, np.ones_like(posterior.x), posterior.y, Gaussian(1.0), FlatPrior())
    target = Target(copies, starts=np.zeros((2, 8)))
    assert first_metric("averaged", target).name == "unit"
    # Of seven slopes the data tell the sum alone, and the prior nothing: no metric can be learnt, and chains go on.
    tree = sample(copies, start=np.zeros((2, 8)), move="hmc", metric="averaged", **SHORT)
    assert settings_of(tree)["metric"] == "unit"


def test_replicas_and_moves_of_the_users_own_begin_there(network):
    posterior, starts = network
    tree = sample(posterior, start=starts, move="replica_exchange", **SHORT)
    assert tree["tempering"]["round_trips"].shape == (6,)
    ladder = ReplicaExchange(PosteriorPath(posterior), np.ones(4), np.array([1.0, 0.3]))
    assert sample(posterior, start=starts, move=ladder, **SHORT)["tempering"].sizes["level"] == 2
    with refuses("move", "replica exchange of", "the posterior that is sampled"):
        sample(linear(7), start=starts, move=ladder, **SHORT)
    hmc = HMC(lambda w: (posterior.log_density(w), np.zeros_like(w)), np.ones(7), 0.1, 4)
    with refuses("move", "slope", "gradient of the density"):
        sample(posterior, start=starts, move=hmc, **SHORT)


def test_from_early_stopping_over_a_journey_to_draws():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 2))
    posterior = Posterior(MLP(2, (6, 6), 2), x, x[:, 0] * x[:, 1], HeteroscedasticGaussian(), NormalPrior(1.0))
    way = journey(posterior, early_stopped(posterior, 4, seed=0), num_steps=2000, seed=0)
    move = MicrocanonicalLangevin(posterior.fused(), np.ones(posterior.n_weights), float(np.median(way.step_size)), 8)
    tree = sample(posterior, start=way.ends, move=move, **SHORT)
    assert "draws are not adjusted" in settings_of(tree)["bias"]
    assert tree["posterior"].sizes["chain"] == 4


@pytest.mark.parametrize("kind", ["given", "prior"])
def test_a_store_goes_on_without_its_script_and_without_a_laplace(kind, network, tmp_path):
    posterior, starts = network
    how = {**SHORT, "start": starts if kind == "given" else "prior", "num_chains": 6}
    interrupt(lambda: sample(posterior, **how, store=tmp_path))
    assert not list(tmp_path.glob("laplace*"))
    gone_on = resume(tmp_path)
    assert gone_on.identical(sample(posterior, **how))
    assert sample(posterior, **how, store=tmp_path).identical(gone_on)


def test_bad_input(network):
    posterior, starts = network
    for start in ("laplace", "laplace_t"):
        with refuses("start", "without a Laplace", "journey"):
            sample(posterior, start=start, **SHORT)
    with refuses("start", "without a Laplace", "journey"):
        sample(posterior, **SHORT)
    with refuses("metric", "'laplace'", "Laplace as target"):
        sample(posterior, start=starts, metric="laplace", **SHORT)
    for move in ("pcn", "independence"):
        with refuses("move", f"'{move}' for no optima", "one Gaussian"):
            sample(posterior, start=starts, move=move, **SHORT)
    with refuses("start", "shape (1, 7)", "shape (2, 7)"):
        sample(posterior, start=starts[:1], **SHORT)
    with refuses("start", "shape (6, 6)", "shape (6, 7)"):
        sample(posterior, start=starts[:, 1:], **SHORT)
    with refuses("start", "shape (6, 7)", "shape (5, 7)"):
        sample(posterior, start=starts, num_chains=5, **SHORT)
    flat = Posterior(posterior.network, posterior.x, posterior.y, Gaussian(0.1), FlatPrior())
    with refuses("start", "flat", "proper prior"):
        sample(flat, start="prior", **SHORT)


def test_monitored_outputs_of_integers_outside_memory_are_of_floats(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(400, dtype=np.int16))
    x, seen = np.load(tmp_path / "x.npy", mmap_mode="r"), []

    def curve(w, x):
        seen.append(type(x))
        return w[0] + w[1] * x**2 / 1e4

    model = FunctionModel(curve, ["a", "b"])
    posterior = Posterior(model, x, np.arange(400.0) ** 2 / 1e4, Gaussian(0.5), NormalPrior(1.0))
    tree = sample(posterior, start=np.array([[0.0, 1.0], [0.1, 1.0]]), num_warmup=10, num_samples=4, seed=0)
    weights = weight_matrix(tree["posterior"].to_dataset(), model.weight_blocks)
    rows = tree["monitor"]["obs"].values
    expected = weights[..., :1] + weights[..., 1:] * rows.astype(float) ** 2 / 1e4
    np.testing.assert_allclose(tree["monitor"]["f"].values[..., 0], expected, rtol=1e-12)
    assert set(seen) == {np.ndarray}


def test_a_mere_density_has_no_likelihood_to_name():
    target = LogDensity(lambda w: -0.5 * (w**2).sum(-1), ("a", "b"), gradient=lambda w: -w, vectorized=True)
    assert "likelihood" not in settings_of(sample(target, num_chains=4, num_warmup=10, num_samples=4, seed=0))
