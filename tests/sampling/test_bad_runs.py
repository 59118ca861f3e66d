"""Targets, moves and chains gone wrong: an error or a status says what, where, and what to do."""

import warnings

import numpy as np
import pytest
from emcee.moves import StretchMove

from bayesnn.laplace import fit_laplace
from bayesnn.models import FunctionModel
from bayesnn.optimum import find_optimum
from bayesnn.posterior import Gaussian, LogDensity, NormalPrior, Posterior
from bayesnn.sampling import moves, sample
from bayesnn.tree import settings_of
from tests.refusals import refuses

SHORT = {"num_chains": 4, "num_warmup": 10, "num_samples": 8}


def hmc(laplace, wrong=lambda value, gradient: (value, gradient), kind=moves.HMC):
    def value_and_gradient(w):
        return wrong(*laplace.posterior.value_and_gradient(w))

    return kind(value_and_gradient, laplace.posterior_covariance, 0.1)


def in_one_weight(value, gradient):
    return value, gradient * np.array([1.0] * 5 + [-1.0] + [1.0] * 3)


@pytest.mark.parametrize(
    ("wrong", "got"),
    [
        (lambda v, g: (v, -g), "HMC with a value_and_gradient giving a slope of"),
        (lambda v, g: (v, 2.0 * g), "where differences give"),
        (in_one_weight, "where differences give"),
        (lambda v, g: (v, np.nan * g), "giving a slope of nan"),
        (lambda v, g: (v + 1.0, g), "where the log density is"),
        (lambda v, g: (-v, -g), "where the log density is"),
    ],
)
def test_a_move_of_another_density_is_refused(wrong, got, teacher_laplace):
    move = hmc(teacher_laplace, wrong)
    for given in (move, moves.Mixture([moves.SymmetryJump(teacher_laplace.posterior.model), move])):
        with refuses("move", got, "of the density"):
            sample(teacher_laplace, **SHORT, move=given)


@pytest.mark.parametrize("kind", [moves.HMC, moves.MALA])
def test_sound_gradients_pass_in_single_precision_too(kind, teacher_laplace):
    def rounded(value, gradient):
        return value.astype(np.float32).astype(float), gradient.astype(np.float32).astype(float)

    for move in (hmc(teacher_laplace, kind=kind), hmc(teacher_laplace, rounded, kind)):
        sample(teacher_laplace, **SHORT, move=move)


@pytest.mark.parametrize("value", [-np.inf, np.nan])
def test_a_density_that_is_not_finite_at_a_start_says_where_and_what_to_do(value):
    target = LogDensity(lambda w: value if w[0] > 1.0 else -0.5 * w[0] ** 2, ("a",))
    with refuses("start", "not finite at 2 of 4 starts, first chain 1: -inf", "or give an array of good points"):
        sample(target, **SHORT, start=[[0.5], [1.5], [0.0], [2.0]])


def test_where_no_proposal_is_accepted_a_warning_and_the_settings_say_so(teacher_laplace, tmp_path):
    move = moves.RandomWalk(np.eye(9), 1e6)
    arguments = SHORT | {"num_warmup": 0, "move": move, "store": tmp_path}
    with pytest.warns(RuntimeWarning, match="no proposal was accepted: mean acceptance") as seen:
        tree = sample(teacher_laplace, **arguments)
    assert seen[0].filename == __file__
    assert "raise num_warmup" in settings_of(tree)["status"]
    assert tree["posterior"].sizes["draw"] == 8  # nothing drawn is lost
    with pytest.warns(RuntimeWarning, match="no proposal was accepted"):
        assert sample(teacher_laplace, **arguments).identical(tree)


def test_a_few_chains_that_stand_still_are_told_in_the_settings():
    def density(w):
        return -0.5 * (w[0] ** 2 + w[1] ** 2) + 1e6 * (w[0] == 7.0)

    start = [[7.0, 0.0], [0.1, 0.2], [0.3, 0.1], [-0.2, 0.1]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        arguments = SHORT | {"num_warmup": 0, "num_samples": 40}
        tree = sample(LogDensity(density, ("a", "b")), **arguments, start=start)
    assert settings_of(tree)["status"].startswith("1 of 4 chains accepted no proposal: mean acceptance probability 0 ")


def test_chains_that_move_have_no_such_status(teacher_laplace):
    assert "status" not in settings_of(sample(teacher_laplace, **SHORT))


def wrong_marginals(laplace):
    """Moves of the density at half the power of the likelihood."""
    half = laplace.posterior.marginal(0.5)
    metric = np.linalg.inv(half.precision_of(laplace.posterior_precision))
    wrong = [moves.MarginalHMC(half, metric), moves.UnitMetropolis(half, 5), moves.ModeJump(half, [laplace], 5)]
    return [*wrong, moves.Mixture([moves.RandomWalk(laplace.posterior_covariance), wrong[0]])]


@pytest.mark.parametrize("which", range(4))
def test_a_marginal_density_of_another_posterior_is_refused(teacher_laplace, which):
    with refuses("move", "a marginal density that gives", "of the posterior that is sampled"):
        sample(teacher_laplace, **SHORT, move=wrong_marginals(teacher_laplace)[which])


def test_an_unadjusted_move_of_another_density_is_refused(teacher_laplace):
    def density(w):
        return tuple(2.0 * part for part in teacher_laplace.posterior.value_and_gradient(w))

    move = moves.MicrocanonicalLangevin(density, teacher_laplace.posterior_covariance)
    with refuses("move", "MicrocanonicalLangevin with a value_and_gradient", "the density that is sampled"):
        sample(teacher_laplace, **SHORT, move=move)


def test_replica_exchange_may_be_part_of_a_mixture(teacher_laplace):
    posterior = teacher_laplace.posterior
    metric = np.linalg.inv(posterior.marginal().precision_of(teacher_laplace.posterior_precision))
    ladder = moves.ReplicaExchange(posterior, metric, [1.0, 0.5])
    tree = sample(teacher_laplace, **SHORT, move=moves.Mixture([ladder, moves.SymmetryJump(posterior.model)]))
    assert np.isfinite(tree["sample_stats"]["lp"].values).all()
    other = teacher_laplace.posterior.with_data(posterior.x[:50], posterior.y[:50])
    with refuses("move", "replica exchange of", "the posterior that is sampled"):
        sample(teacher_laplace, **SHORT, move=moves.Mixture([moves.ReplicaExchange(other, metric, [1.0, 0.5])]))


def test_counts_of_numpy_will_do(teacher_laplace, tmp_path):
    counts = {"num_chains": np.int64(2), "num_warmup": np.int32(4), "num_samples": np.int64(8), "seed": np.int64(1)}
    tree = sample(teacher_laplace, **counts, move="hmc", num_integration_steps=np.int64(3), store=tmp_path)
    plain = {name: int(value) for name, value in counts.items()}
    assert tree.identical(sample(teacher_laplace, **plain, move="hmc", num_integration_steps=3))
    walkers = {"num_chains": np.int64(80), "num_ensembles": np.int64(4)}
    assert settings_of(sample(teacher_laplace, **(SHORT | walkers), move=StretchMove()))["num_ensembles"] == 4


def test_more_chains_than_the_pilot_follows_will_do(teacher_laplace):
    tree = sample(teacher_laplace, num_chains=300, num_warmup=20, num_samples=4, move="hmc", seed=0)
    assert tree["posterior"].sizes["chain"] == 300


def stand_still(laplace):
    """Moves that are refused at every step, and yet give out new output weights, or call all they do accepted."""
    posterior = laplace.posterior
    marginal = posterior.marginal()
    return {
        "marginal": moves.MarginalHMC(marginal, np.eye(6), 1e9),
        "unadjusted": moves.MicrocanonicalLangevin(posterior.value_and_gradient, np.eye(9), 1e9),
    }


@pytest.mark.parametrize("which", ["marginal", "unadjusted"])
def test_chains_that_stand_still_are_told_whatever_the_move(teacher_laplace, which):
    move = stand_still(teacher_laplace)[which]
    with pytest.warns(RuntimeWarning, match="no proposal was accepted"):
        tree = sample(teacher_laplace, **(SHORT | {"num_warmup": 0}), move=move)
    assert "raise num_warmup" in settings_of(tree)["status"]


@pytest.mark.parametrize("move", ["random_walk", "pcn", "independence", "hmc"])
def test_a_proposal_without_a_density_is_refused_and_the_run_goes_on(move):
    def curve(w, x):
        with np.errstate(invalid="ignore"):
            return w[0] * np.sqrt(w[1] + x)

    model = FunctionModel(curve, ["a", "b"])
    x = np.linspace(0.0, 1.0, 12)
    y = np.sqrt(0.02 + x) + 0.3 * np.random.default_rng(0).standard_normal(12)
    posterior = Posterior(model, x, y, Gaussian(0.3), NormalPrior([1.0, 1.0], [1.0, 0.2]))
    laplace = fit_laplace(posterior, find_optimum(posterior, start=[1.0, 0.1], progress=False), curvature="ggn")
    tree = sample(laplace, move=move, num_chains=4, num_warmup=20, num_samples=60, seed=0)
    assert np.isfinite(tree["sample_stats"]["lp"].values).all()
    assert tree["posterior"]["b"].values.min() > 0.0


class Nowhere:
    """A marginal density that is not there at one of its points."""

    def __init__(self, inner):
        self.inner, self.kept = inner, inner.kept

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def __call__(self, kept):
        return self.inner(kept)

    def log_density(self, kept):
        values = self.inner.log_density(kept)
        values[1] = np.nan
        return values

    def complete(self, kept):
        return self.inner.complete(kept)

    def draw(self, kept, random):
        return self.inner.draw(kept, random)

    def precision_of(self, precision):
        return self.inner.precision_of(precision)


def test_a_start_without_a_marginal_density_is_refused(teacher_laplace):
    move = moves.MarginalHMC(Nowhere(teacher_laplace.posterior.marginal()), np.eye(6))
    with refuses("start", "of the hidden weights not finite at 1 of 4 starts, first chain 1", "where it is finite"):
        sample(teacher_laplace, **SHORT, move=move)


def test_a_gaussian_of_the_last_layer_alone_is_refused_before_anything_is_drawn(teacher_laplace, monkeypatch):
    laplace = fit_laplace(teacher_laplace.posterior, teacher_laplace.mean, structure="last_layer")
    monkeypatch.setattr("bayesnn.sampling.run.Run.go", lambda *_: pytest.fail("draws"))
    with refuses("structure", "'last_layer'", "'full'"):
        sample(laplace, **SHORT, start=np.tile(laplace.mean, (4, 1)), move="hmc", metric="unit")
