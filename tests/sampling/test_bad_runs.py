"""Targets, moves and chains gone wrong: an error or a status says what, where, and what to do."""

import warnings

import numpy as np
import pytest

from bayesnn.posterior import LogDensity
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
