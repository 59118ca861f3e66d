import pickle

import pytest

from bayesnn.errors import BayesnnError
from bayesnn.optimum import OptimumError, Status


def test_the_documented_endings_are_all_there():
    documented = "converged max_steps cycle diverged saddle rank_deficient nonfinite stalled"
    assert [status.value for status in Status] == documented.split()


@pytest.mark.parametrize("status", Status)
def test_every_status_is_a_string_with_advice_of_its_own(status):
    assert status == status.name
    assert f"{status}" == status.value
    assert Status(status.value) is status
    assert status.advice.endswith(".")
    assert [other.advice for other in Status].count(status.advice) == 1


def test_the_error_says_status_reasons_and_advice():
    error = OptimumError(Status.saddle, ("first reason", "second reason"))
    assert isinstance(error, BayesnnError)
    assert str(error) == f"saddle: first reason; second reason. {Status.saddle.advice}"


def test_status_and_error_survive_the_way_back_from_a_worker():
    error = pickle.loads(pickle.dumps(OptimumError(Status.stalled, ("why",))))  # noqa: S301 -- as workers do
    assert error.status is Status.stalled
    assert error.reasons == ("why",)
