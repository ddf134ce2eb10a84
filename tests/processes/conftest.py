"""Clusters of real processes for these tests; none of them outlives its module."""

import pytest

from tests.processes.cluster import Cluster


@pytest.fixture(scope="module")
def module_cluster(tmp_path_factory):
    """Three running node processes, shared by the tests of one module."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
async def cluster(module_cluster):
    """The module's cluster, with all nodes up and agreed, whatever the test before did to it."""
    await module_cluster.settle()
    return module_cluster
