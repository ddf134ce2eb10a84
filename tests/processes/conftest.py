"""Clusters and single nodes of real processes for these tests; none outlives its module."""

import os

import pytest
from attrs import frozen

from flowactor.cli.demo_cluster import free_addresses
from tests.processes.cluster import APP, Cluster
from tests.processes.nodes import ROOT, NodeProcess, Start

REFUSAL_SECONDS_MAX = 20


@pytest.fixture(scope="module")
def module_cluster(tmp_path_factory, starter):
    """Three running node processes, shared by the tests of one module."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), starter)
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


@pytest.fixture
def new_cluster(tmp_path, starter):
    """A cluster of a test's own, none of whose nodes has been started."""
    cluster = Cluster(tmp_path, starter)
    try:
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def new_node(tmp_path, starter):
    """Makes nodes with these options and the app of these tests, to be started by the test."""
    nodes = []

    def make(*options: str) -> NodeProcess:
        log = tmp_path / f"node-{len(nodes)}.log"
        nodes.append(NodeProcess([*options, "--app", APP], log, starter=starter))
        return nodes[-1]

    yield make
    for node in nodes:
        node.close()


@pytest.fixture
def free_address():
    """An address that was free a moment ago, for a node that starts there again and again."""
    return free_addresses(1)[0]


@frozen
class Refusal:
    """How a node that does not start ended."""

    code: int
    stdout: str
    stderr: str

    def line(self) -> str:
        """What it said: exactly one line, on stderr."""
        assert self.stdout == ""
        assert self.stderr.count("\n") == 1, self.stderr
        return self.stderr


@pytest.fixture
def refused(starter, tmp_path_factory):
    """Starts a node that must end by itself; returns how it did."""

    def start(*options: str, app: str = APP, cwd=ROOT, starter=starter, **environment) -> Refusal:
        said = tmp_path_factory.mktemp("refused")
        with (said / "stdout").open("wb") as stdout, (said / "stderr").open("wb") as stderr:
            around = os.environ | {"PYTHONHASHSEED": "0"} | environment
            process = starter(Start(["node", *options, "--app", app], cwd, around, stdout, stderr))
        try:
            code = process.wait(REFUSAL_SECONDS_MAX)
        finally:
            process.kill()
        assert code not in {0, -9}
        return Refusal(code, (said / "stdout").read_text(), (said / "stderr").read_text())

    return start
