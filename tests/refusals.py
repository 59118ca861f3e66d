"""How every refusal must read."""

from contextlib import contextmanager

import pytest

from bayesnn.errors import ArgumentError


@contextmanager
def refuses(argument, got, wants):
    """The block raises an ArgumentError that names the argument, what it got and what it wants, on one line."""
    with pytest.raises(ArgumentError) as caught:
        yield caught
    error = caught.value
    assert error.argument == argument
    assert got in error.got
    assert wants in error.wants
    assert str(error) == f"{argument}: got {error.got}, wants {error.wants}"
    assert "\n" not in str(error)
