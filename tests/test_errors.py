import pickle

from bayesnn.errors import ArgumentError, BayesnnError


def test_an_argument_error_is_a_value_error_that_says_all_in_one_line():
    error = ArgumentError("sigma_noise", "-1.0", "a number above 0")
    assert isinstance(error, ValueError)
    assert isinstance(error, BayesnnError)
    assert str(error) == "sigma_noise: got -1.0, wants a number above 0"


def test_an_argument_error_survives_the_way_back_from_a_worker():
    error = ArgumentError("sigma_noise", "-1.0", "a number above 0")
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 -- what multiprocessing does
    assert (back.argument, back.got, back.wants, str(back)) == (
        error.argument,
        error.got,
        error.wants,
        str(error),
    )
