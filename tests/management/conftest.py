"""The fixture of a management group that is checked against its own log at the end of a test."""

import pytest

from tests.management.cluster import Cluster


@pytest.fixture
def cluster():
    """Nothing is known yet."""
    cluster = Cluster()
    yield cluster
    cluster.check()
