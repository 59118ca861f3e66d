"""The small study, computed once in this process."""

import pytest

from tests.growth.studies import small_study


@pytest.fixture(scope="package")
def here():
    return small_study()
