import numpy as np
import pytest

from bayesnn.seeds import generator, legacy_state, seed_sequence
from tests.refusals import refuses


def numbers(seed, *purpose):
    return generator(seed, *purpose).standard_normal(5)


def test_the_same_seed_and_purpose_give_the_same_numbers():
    assert np.array_equal(numbers(3, "starts", 1), numbers(3, "starts", 1))
    assert np.array_equal(legacy_state(3, "chains").rand(5), legacy_state(3, "chains").rand(5))
    assert np.array_equal(numbers(3, "a"), numbers(np.int64(3), "a"))


def test_other_seeds_purposes_and_indices_give_other_numbers():
    streams = [
        numbers(3, "starts", 1),
        numbers(4, "starts", 1),
        numbers(3, "starts", 2),
        numbers(3, "starts"),
        numbers(3, "draws", 1),
        numbers(3),
        numbers(2**70, "starts", 1),
    ]
    assert len({tuple(stream) for stream in streams}) == len(streams)


def test_streams_do_not_depend_on_what_else_was_drawn():
    before = numbers(0, "two")
    generator(0, "one").standard_normal(1000)
    legacy_state(0, "one").rand(1000)
    assert np.array_equal(numbers(0, "two"), before)


def test_streams_of_one_seed_are_uncorrelated():
    # correlation of two streams of m normals: sd 1 / sqrt(m); 45 pairs, 4.5 sd
    streams = np.array([generator(0, "chain", i).standard_normal(4000) for i in range(10)])
    correlations = np.corrcoef(streams)[np.triu_indices(10, 1)]
    assert np.abs(correlations).max() < 4.5 / np.sqrt(4000)


@pytest.mark.parametrize("seed", [-1, 1.0, True, "0", None])
@pytest.mark.parametrize("make", [seed_sequence, generator, legacy_state])
def test_what_is_no_seed_is_refused(make, seed):
    with refuses("seed", repr(seed), "an integer of at least 0"):
        make(seed, "purpose")
