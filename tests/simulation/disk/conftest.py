"""The simulated disk, for tests that judge any disk."""

import pytest

from tests.simulation.disk.building import make_device, make_disk


@pytest.fixture
def disk():
    """An empty simulated disk."""
    disk = make_disk(make_device())
    yield disk
    disk.close()
