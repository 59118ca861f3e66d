import itertools

import numpy as np
import pytest

import bayesnn.optimum.find as find_module
from bayesnn.laplace import fit_laplace, maximize_evidence
from bayesnn.models import MLP, FunctionModel, nearest_image
from bayesnn.optimum import OptimumError, Status, find_optimum
from bayesnn.optimum.descent import Descent
from bayesnn.posterior import FlatPrior, Gaussian, NormalPrior, Posterior
from tests import oracles
from tests.optimum.test_certificate import saddle_posterior
from tests.refusals import refuses


def all_of(optimum):
    return [optimum, *optimum.others]


def images_of(posterior, weights):
    return oracles.images(oracles.Net.of(posterior.model), weights)


def test_a_linear_model_ends_at_the_closed_form(linear_data, linear_precision, linear_laplace):
    x, y = linear_data
    exact = oracles.LinearGaussian(oracles.design(x), y, 0.4, linear_precision)
    off = linear_laplace.mean - exact.mean
    assert np.sqrt(off @ exact.precision @ off) < 1e-6


def test_an_optimum_is_certified_and_at_least_as_high_as_the_truth(teacher_posterior, teacher_optimum):
    truth = np.array([1.2, -0.6, 0.5, 1.4, 0.3, -0.4, 1.0, -1.2, 0.2])
    assert teacher_optimum.status is Status.converged
    assert teacher_optimum.certificate.is_optimum
    assert teacher_optimum.log_density >= teacher_posterior.log_density(truth)
    assert teacher_optimum.log_density == pytest.approx(
        float(teacher_posterior.log_density(teacher_optimum.weights)), rel=1e-13
    )


def test_exact_newton_steps_polish_what_the_linearized_ones_leave(teacher_posterior, teacher_optimum):
    rough = find_optimum(teacher_posterior, start=teacher_optimum.weights + 1e-3, tolerance=1e-2)
    # quadratic convergence: 8 Newton steps reach rounding from 1e-2 posterior sd
    assert rough.certificate.newton_decrement < 1e-8


def test_every_start_is_counted_and_the_best_comes_first(teacher_posterior):
    found = all_of(find_optimum(teacher_posterior, n_starts=8, seed=2))
    assert sum(optimum.n_found for optimum in found) == 8
    heights = [optimum.log_density for optimum in found]
    assert heights == sorted(heights, reverse=True)
    assert all(optimum.others == () for optimum in found[1:])


def test_status_and_certificate_never_contradict_each_other(teacher_posterior):
    for optimum in all_of(find_optimum(teacher_posterior, n_starts=12, seed=3)):
        assert (optimum.status is Status.converged) == optimum.certificate.is_optimum


def test_further_optima_are_no_symmetric_images_of_each_other(teacher_posterior):
    found = all_of(find_optimum(teacher_posterior, n_starts=12, seed=3))
    assert len(found) > 1
    for i, first in enumerate(found):
        for second in found[:i]:
            image = oracles.nearest_image(oracles.Net.of(teacher_posterior.model), first.weights, second.weights)
            off = image - second.weights
            assert np.sqrt(off @ teacher_posterior.ggn(second.weights) @ off) > 1e-2


def test_runs_that_end_at_symmetric_images_are_one_optimum(teacher_posterior, teacher_optimum, monkeypatch):
    images = list(images_of(teacher_posterior, teacher_optimum.weights))
    starts = iter(images)
    monkeypatch.setattr(MLP, "initial_weights", lambda net, rng: next(starts))
    found = find_optimum(teacher_posterior, n_starts=len(images))
    assert len(images) == 8
    assert found.n_found == 8
    assert found.others == ()


@pytest.mark.parametrize("index", range(1, 8))
def test_a_search_begun_at_an_image_ends_at_the_image(teacher_posterior, teacher_optimum, index):
    start = list(images_of(teacher_posterior, teacher_optimum.weights))[index]
    found = find_optimum(teacher_posterior, start=start)
    back = nearest_image(teacher_posterior.model, found.weights, teacher_optimum.weights)
    assert found.log_density == pytest.approx(teacher_optimum.log_density, rel=1e-12)
    assert np.allclose(found.weights, start, rtol=0, atol=1e-7)
    assert np.allclose(back, teacher_optimum.weights, rtol=0, atol=1e-7)


def test_the_same_seed_finds_the_same(teacher_posterior):
    first = find_optimum(teacher_posterior, n_starts=3, seed=4)
    again = find_optimum(teacher_posterior, n_starts=3, seed=4)
    assert np.array_equal(first.weights, again.weights)
    assert len(first.others) == len(again.others)
    assert all(np.array_equal(a.weights, b.weights) for a, b in zip(first.others, again.others, strict=True))


def test_another_seed_starts_elsewhere(teacher_posterior):
    ends = {tuple(find_optimum(teacher_posterior, seed=seed, max_steps=1).weights) for seed in range(5)}
    assert len(ends) == 5


def test_more_starts_keep_those_before(teacher_posterior, monkeypatch):
    # starts are keyed by their number: the first three of six are the three
    begun, climb = [], find_module.climb_together
    monkeypatch.setattr(
        find_module, "climb_together", lambda post, starts, *how: (begun.append(starts), climb(post, starts, *how))[1]
    )
    few = find_optimum(teacher_posterior, n_starts=3, seed=5)
    more = find_optimum(teacher_posterior, n_starts=6, seed=5)
    assert [len(starts) for starts in begun] == [3, 6]
    np.testing.assert_array_equal(begun[1][:3], begun[0])
    assert more.log_density >= few.log_density - 1e-9
    assert sum(o.n_found for o in all_of(more)) == 6


def test_a_given_start_is_the_first_of_the_starts(teacher_posterior, teacher_optimum, monkeypatch):
    begun = []
    run = find_module.climb_together

    def recording(posterior, starts, *rest):
        begun.extend(starts)
        return run(posterior, starts, *rest)

    monkeypatch.setattr(find_module, "climb_together", recording)
    find_optimum(teacher_posterior, start=list(teacher_optimum.weights), n_starts=3, seed=0)
    assert len(begun) == 3
    assert np.array_equal(begun[0], teacher_optimum.weights)


def test_a_search_stopped_early_is_refused_with_its_reason(teacher_posterior):
    found = find_optimum(teacher_posterior, seed=1, max_steps=3)
    assert found.status is Status.max_steps
    assert not found.certificate.is_optimum
    assert "Newton decrement" in "; ".join(found.certificate.reasons)
    with pytest.raises(OptimumError, match=r"max_steps.*Newton decrement.*raise max_steps") as caught:
        find_optimum(teacher_posterior, seed=1, max_steps=3, throw=True)
    assert caught.value.status is Status.max_steps
    assert caught.value.reasons == found.certificate.reasons


def test_a_saddle_is_refused_with_its_reason():
    post, smallest = saddle_posterior(1.0)
    assert smallest < 0
    found = find_optimum(post, start=np.zeros(post.n_weights))
    assert found.status is Status.saddle
    assert found.certificate.reasons[0].startswith("smallest Hessian eigenvalue -")
    with pytest.raises(OptimumError, match=r"saddle.*start elsewhere"):
        find_optimum(post, start=np.zeros(post.n_weights), throw=True)


def test_a_start_that_is_not_usable_does_not_hide_the_others(teacher_posterior, teacher_optimum):
    # W1 so large that the log density is -inf there; warnings are errors here, the status alone tells
    bad = np.full(9, 1e200)
    alone = find_optimum(teacher_posterior, start=bad)
    assert alone.status is Status.nonfinite
    assert not alone.certificate.is_optimum
    among = find_optimum(teacher_posterior, start=bad, n_starts=4, seed=0)
    assert among.status is Status.converged
    assert among.others[-1].status is Status.nonfinite


def test_curvature_that_overflows_is_refused_not_crashed_on(teacher_data):
    # hidden units are 0 and the output weights huge: outputs are finite, their derivatives squared are not
    w = np.zeros(9)
    w[6:8] = 1e160
    post = Posterior(MLP(2, (2,), 1), *teacher_data, Gaussian(0.1), FlatPrior())
    assert find_optimum(post, start=w).status is Status.nonfinite


def test_free_directions_are_reported_and_never_invented(teacher_data):
    post = Posterior(MLP(2, (2,), 1, activation="relu"), *teacher_data, Gaussian(0.1), FlatPrior())
    found = find_optimum(post, n_starts=3, seed=0)
    assert found.status in (Status.rank_deficient, Status.stalled, Status.saddle)
    assert found.certificate.rank <= 7
    assert not found.certificate.is_optimum
    assert any(reason.startswith("rank of B") for reason in found.certificate.reasons)


@pytest.mark.parametrize("name", ["Norris", "Longley", "Wampler1"])
def test_certified_regressions_are_certified_optima(name):
    x, y, params, _, sigma = oracles.nist(name)
    post = Posterior(MLP(x.shape[1], (), 1), x, y, Gaussian(sigma or 1.0), FlatPrior())
    found = find_optimum(post, seed=0)
    assert found.status is Status.converged
    assert found.certificate.rank == x.shape[1] + 1
    # Wampler asks for 6 digits of anyone, Longley for 7 where columns are scaled (Wampler 1970, JASA 65)
    assert np.allclose(found.weights, params, rtol=1e-7, atol=0)


def interrupt_after(monkeypatch, posterior, n_linearizations):
    """Press Ctrl-C at one of the linearizations of this posterior."""
    linearize, calls = posterior.linearize, []

    def interrupted(weights):
        calls.append(1)
        if len(calls) == n_linearizations + 1:
            raise KeyboardInterrupt
        return linearize(weights)

    monkeypatch.setattr(posterior, "linearize", interrupted)


def test_ctrl_c_keeps_what_is_done(teacher_posterior, monkeypatch):
    ends, run = [], find_module.climb_together

    def recording(*arguments):
        for i, descent in run(*arguments):
            ends.append(descent)
            yield i, descent

    monkeypatch.setattr(find_module, "climb_together", recording)
    find_optimum(teacher_posterior, n_starts=5, seed=0)
    steps = sorted(descent.n_steps for descent in ends)
    assert steps[0] + 2 < steps[-1]
    interrupt_after(monkeypatch, teacher_posterior, steps[0] + 2)
    found = find_optimum(teacher_posterior, n_starts=5, seed=0)
    assert found.interrupted
    assert sum(optimum.n_found for optimum in all_of(found)) == 5
    statuses = {optimum.status for optimum in all_of(found)}
    assert Status.max_steps in statuses  # runs under way count as far as they came
    assert len(statuses) > 1  # and one had ended


def test_ctrl_c_before_anything_is_done_is_passed_on(teacher_posterior, monkeypatch):
    interrupt_after(monkeypatch, teacher_posterior, 0)
    with pytest.raises(KeyboardInterrupt):
        find_optimum(teacher_posterior, n_starts=5, seed=0)


def test_prior_precision_outweighing_the_data_pulls_the_weights_to_zero(teacher_data):
    small = Posterior(MLP(2, (2,), 1), *teacher_data, Gaussian(0.1), NormalPrior(1e8))
    assert np.abs(find_optimum(small, seed=0).weights).max() < 1e-3


def test_images_that_the_prior_tells_apart_are_optima_of_their_own():
    rng = np.random.default_rng(0)
    x = rng.uniform(-2.0, 2.0, (400, 1))
    y = np.tanh(2 * x) - 0.7 * np.tanh(x - 1) + 0.05 * rng.standard_normal((400, 1))
    posterior = Posterior(MLP(1, (2,), 1), x, y, Gaussian(0.05), NormalPrior(1.0, prior_mean=0.5))
    one = find_optimum(posterior, n_starts=12, seed=0, progress=False).weights
    images = []
    for signs in itertools.product((1.0, -1.0), repeat=2):
        turned = one.copy()
        for block in (slice(0, 2), slice(2, 4), slice(4, 6)):  # W1, b1, W2
            turned[block] *= signs
        images.append(find_optimum(posterior, start=turned, progress=False))
    images.sort(key=lambda optimum: optimum.log_density)
    assert images[-1].log_density > images[0].log_density + 0.5
    # the worst image first, and starts enough to meet the others
    found = find_optimum(posterior, start=images[0].weights, n_starts=40, seed=0, progress=False)
    assert found.log_density == pytest.approx(images[-1].log_density, abs=1e-6)
    assert fit_laplace(posterior, found).log_symmetry_order == pytest.approx(np.log(2.0))  # units may change places


def test_lbfgs_ends_where_no_matrix_fits(teacher_posterior, monkeypatch):
    for module in ("find", "descent", "certificate"):
        monkeypatch.setattr(f"bayesnn.optimum.{module}.square_fits", lambda size: False)

    def never(*_):
        raise AssertionError("a matrix")

    for name in ("hessian", "ggn", "factor_ggn"):
        monkeypatch.setattr(teacher_posterior, name, never)
    found = find_optimum(teacher_posterior, method="l-bfgs", n_starts=2, seed=0, progress=False)
    assert not found.certificate.is_optimum  # nothing was proved
    _, gradient = teacher_posterior.value_and_gradient(found.weights)
    assert np.abs(gradient).max() < 1e-2


def test_where_no_matrix_fits_a_flat_prior_is_not_called_singular(linear_data, monkeypatch):
    x, y = linear_data
    posterior = Posterior(MLP(3, (), 1), x, y, Gaussian(0.4), FlatPrior())
    for module in ("find", "descent", "certificate"):
        monkeypatch.setattr(f"bayesnn.optimum.{module}.square_fits", lambda size: False)
    found = find_optimum(posterior, method="l-bfgs", seed=0, progress=False)
    assert found.status is Status.stalled


def test_a_model_that_has_no_output_at_zero_is_certified():
    def rate(w, x):
        if w[0] <= 0.0:
            raise ValueError("a rate above 0")
        return np.exp(-x / w[0])

    x = np.linspace(0.0, 3.0, 30)
    y = np.exp(-x / 1.5) + 0.02 * np.random.default_rng(0).standard_normal(30)
    posterior = Posterior(FunctionModel(rate, ["scale"]), x, y, Gaussian(0.02), FlatPrior())
    found = find_optimum(posterior, start=[1.4], progress=False)
    assert found.status is Status.converged
    tuned = maximize_evidence(Posterior(posterior.network, x, y, Gaussian(0.02), NormalPrior(1.0)), found)
    assert tuned.tuning.status is Status.converged


def test_a_search_cut_short_beside_an_optimum_does_not_stand_for_it(teacher_posterior, teacher_optimum, monkeypatch):
    sds = np.sqrt(np.diag(np.linalg.inv(teacher_posterior.ggn(teacher_optimum.weights))))
    beside = teacher_optimum.weights + 1e-3 * sds

    def climbs(posterior, starts, max_steps, tolerance):
        yield 0, Descent(beside, float(posterior.log_density(beside)), 1e-3, Status.max_steps, max_steps)
        yield 1, Descent(teacher_optimum.weights, teacher_optimum.log_density, 0.0, Status.converged, 9)

    monkeypatch.setattr(find_module, "climb_together", climbs)
    found = find_optimum(teacher_posterior, n_starts=2, progress=False)
    assert (found.status, found.n_found) == (Status.converged, 2)
    assert found.certificate.is_optimum


def test_ctrl_c_in_the_searches_beside_the_optimum_keeps_it(teacher_posterior, teacher_optimum, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("bayesnn.optimum.certificate.levenberg_marquardt", interrupted)
    found = find_optimum(teacher_posterior, n_starts=6, seed=0, progress=False)
    assert found.interrupted
    assert np.array_equal(found.weights, teacher_optimum.weights)
    assert found.certificate.is_optimum
    assert found.certificate.return_distance is None


def test_hops_want_room_for_a_matrix(teacher_posterior, monkeypatch):
    monkeypatch.setattr(find_module, "square_fits", lambda k: False)
    with refuses("n_hops", "does not fit in memory", "0"):
        find_optimum(teacher_posterior, method="l-bfgs", n_hops=4)
