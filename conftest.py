"""What every docstring example may take for granted."""

import signal

import numpy as np
import pytest


def pytest_configure():
    """Let Ctrl-C do what it does in a terminal: shells hand processes in the background a SIGINT that is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _numpy_in_examples(doctest_namespace):
    doctest_namespace["np"] = np
