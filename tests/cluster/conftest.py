"""What tests of whole nodes share."""

import pytest

from tests.cluster.harness import OUTSIDE


@pytest.fixture(autouse=True)
def _fresh_world():
    OUTSIDE.reset()
