"""emcee's own moves in `sample`: independent ensembles, honest about their walkers."""

import emcee
import numpy as np
import pytest

from bayesnn import MLP, Gaussian, NormalPrior, Posterior, find_optimum, fit_laplace, moves, sample
from bayesnn.agreement import compare
from bayesnn.sampling.ensembles import Ensembles, fewest_walkers, is_independent
from tests.refusals import refuses
from tests.statistical import GaussianTarget

INTERACTING = [
    emcee.moves.StretchMove(),
    emcee.moves.DEMove(),
    emcee.moves.DESnookerMove(),
    emcee.moves.KDEMove(),
    emcee.moves.WalkMove(),
]


@pytest.mark.parametrize("move", INTERACTING, ids=lambda move: type(move).__name__)
def test_every_interacting_move_runs_as_several_ensembles(linear_laplace, move):
    tree = sample(linear_laplace, move=move, num_warmup=10, num_samples=20, seed=0)
    np.testing.assert_array_equal(tree["posterior"]["ensemble"].values, np.repeat(np.arange(4), 10))
    stats = tree["sample_stats"]
    assert "step_size" not in stats
    assert set(np.unique(stats["acceptance_rate"].values)) == {0.0, 1.0}
    moved = np.diff(stats["lp"].values, axis=1) != 0
    np.testing.assert_array_equal(moved, stats["acceptance_rate"].values[:, 1:] == 1.0)
    assert type(move).__name__ in tree.attrs["bayesnn"]


def test_the_stretch_move_finds_the_exact_posterior(linear_laplace):
    """Bands are at the effective sample size of ensembles: some 70 steps to one independent draw of each walker."""
    tree = sample(linear_laplace, move=emcee.moves.StretchMove(), num_warmup=200, num_samples=2500, seed=1)
    found = compare(linear_laplace, tree)
    assert found.verdict == "gaussian"
    assert found.convergence.layout.num_ensembles == 4
    assert np.all(np.abs(found.mean_shift) < 1.3 * found.mean_shift_band)
    assert 400 < found.convergence.least_ess < 40 * 2500 / 50
    assert 30 < np.median(found.convergence.autocorrelation_time) < 150


def test_ensembles_are_independent_and_walkers_within_are_not():
    """Copies of ensemble 0 elsewhere must not change ensemble 1, but for the random numbers they use up."""
    target = GaussianTarget(k=2, condition=4)
    start = target.draw(12, seed=0)

    def first_steps(points):
        sampler = emcee.EnsembleSampler(
            12, 2, target.log_prob, moves=Ensembles(emcee.moves.StretchMove(randomize_split=False), 2), vectorize=True
        )
        sampler._random = np.random.RandomState(0)
        sampler.run_mcmc(points, 3, skip_initial_state_check=True)
        return sampler.get_chain()[0]

    other = start.copy()
    other[6:] += 0.5
    np.testing.assert_array_equal(first_steps(start)[:6], first_steps(other)[:6])
    other = start.copy()
    other[3] += 0.5
    assert np.any(first_steps(start)[[0, 1, 2, 4, 5]] != first_steps(other)[[0, 1, 2, 4, 5]])


def test_independent_walkers_are_chains(linear_laplace):
    move = emcee.moves.GaussianMove(1e-4)
    tree = sample(linear_laplace, move=move, num_warmup=0, num_samples=10, seed=0)
    assert tree["posterior"].sizes["chain"] == 16
    assert "ensemble" not in tree["posterior"].coords


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        (emcee.moves.GaussianMove(0.1), True),
        (emcee.moves.GaussianMove(np.ones(2)), True),
        (emcee.moves.GaussianMove(0.1, mode="random", factor=2.0), False),
        (emcee.moves.GaussianMove(np.eye(2)), False),
        (emcee.moves.MHMove(lambda x, _random: (x, np.zeros(len(x)))), False),
        (emcee.moves.StretchMove(), False),
        (moves.RandomWalk(np.eye(2)), True),
    ],
)
def test_which_walkers_are_independent(move, expected):
    assert is_independent(move) is expected


def test_a_full_covariance_is_warned_of_and_taken_for_ensembles(linear_laplace):
    move = emcee.moves.GaussianMove(linear_laplace.posterior_covariance)
    with pytest.warns(RuntimeWarning, match="every walker the same increment"):
        tree = sample(linear_laplace, move=move, num_warmup=0, num_samples=10, seed=0)
    assert len(np.unique(tree["posterior"]["ensemble"])) == 4


def test_the_smallest_number_that_works_is_named_and_works(linear_laplace):
    move = emcee.moves.StretchMove()
    with refuses("num_chains", "16 for StretchMove", "at least 40"):
        sample(linear_laplace, move=move, num_chains=16, num_samples=4)
    with refuses("num_chains", "42", "a multiple of 4"):
        sample(linear_laplace, move=move, num_chains=42, num_samples=4)
    tree = sample(linear_laplace, move=move, num_chains=20, num_ensembles=2, num_warmup=0, num_samples=4)
    assert np.bincount(tree["posterior"]["ensemble"]).tolist() == [10, 10]
    with refuses("num_ensembles", "1", "at least 2"):
        sample(linear_laplace, move=move, num_ensembles=1)


def test_fewest_walkers_respect_splits_and_danger():
    assert fewest_walkers(emcee.moves.DESnookerMove(), 1) == 8
    assert fewest_walkers(emcee.moves.StretchMove(live_dangerously=True), 50) == 4
    assert fewest_walkers(emcee.moves.StretchMove(), 50) == 102


def test_a_run_that_was_stored_goes_on_to_the_same_bits(linear_laplace, tmp_path):
    move = emcee.moves.GaussianMove(1e-3, mode="sequential")  # after 7 steps: coordinate 3 of 4 is next
    arguments = {"move": move, "num_chains": 4, "num_warmup": 3, "seed": 2}
    whole = sample(linear_laplace, num_samples=12, **arguments)
    sample(linear_laplace, num_samples=4, store=tmp_path / "run", **arguments)
    longer = sample(linear_laplace, num_samples=12, store=tmp_path / "run", **arguments)
    np.testing.assert_array_equal(longer["sample_stats"]["lp"].values, whole["sample_stats"]["lp"].values)
    other = arguments | {"move": emcee.moves.GaussianMove(2e-3, mode="sequential")}
    with refuses("store", "move", "same arguments"):
        sample(linear_laplace, num_samples=12, store=tmp_path / "run", **other)


def test_chains_that_start_at_the_same_places_are_superchains(linear_laplace):
    start = np.repeat(linear_laplace.sample(4, seed=0), 3, axis=0)
    tree = sample(
        linear_laplace, num_chains=12, num_warmup=0, num_samples=8, start=start, num_integration_steps=4, seed=0
    )
    groups = tree["posterior"]["superchain"].values.reshape(4, 3)
    assert np.all(groups == groups[:, :1])
    assert len(np.unique(groups[:, 0])) == 4


@pytest.mark.parametrize(("n_modes", "num_ensembles"), [(2, 2), (2, 3), (2, 5)])
def test_of_several_optima_each_has_whole_ensembles(n_modes, num_ensembles):
    x = np.linspace(-1, 1, 30)[:, None]
    posterior = Posterior(MLP(1, (3,), 1), x, np.sin(5 * x), Gaussian(0.3), NormalPrior(1.0))
    best = find_optimum(posterior, n_starts=12, seed=0, progress=False)
    certified = [optimum for optimum in (best, *best.others) if optimum.certificate.is_optimum]
    laplaces = [fit_laplace(posterior, optimum) for optimum in certified[:n_modes]]
    with refuses("num_ensembles", f"{num_ensembles} for {n_modes} optima", f"a multiple of {n_modes}, at least"):
        sample(laplaces, move=emcee.moves.StretchMove(), num_ensembles=num_ensembles)
