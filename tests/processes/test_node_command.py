"""How a node process starts, joins, ends, and refuses to start."""

import shutil
import socket
import sqlite3
import time
from contextlib import closing

import pytest
import trio

import flowactor as fa
from flowactor.cli.demo_cluster import free_addresses
from flowactor.cli.exits import Exit
from flowactor.limits import CONNECT_TIMEOUT_SECONDS
from tests.processes.cluster import APP
from tests.processes.flows import Concat
from tests.processes.nodes import NodeProcess, start_cold

pytestmark = pytest.mark.processes

ALONE = ("--listen", "127.0.0.1:0", "--bootstrap")


@pytest.fixture(scope="module")
def used_once(tmp_path_factory):
    """A data directory in which a node has lived, and ended."""
    folder = tmp_path_factory.mktemp("used")
    node = NodeProcess([*ALONE, "--data", str(folder / "data"), "--app", APP], folder / "node.log")
    try:
        node.start()
        assert node.stop() == 0
    finally:
        node.close()
    return folder / "data"


@pytest.fixture
def used(used_once, tmp_path):
    """A copy of it."""
    return shutil.copytree(used_once, tmp_path / "data")


# -- joining ---------------------------------------------------------------------------------------


async def test_node_joins_by_a_seed(new_node, free_address, tmp_path):
    """A new node needs one seed that answers, of those it is told; it gets an id, has a share of
    the work, and needs no seed the next time.
    """
    seed = new_node(*ALONE, "--data", str(tmp_path / "seed"))
    seed.start()
    where = ("--listen", free_address, "--data", str(tmp_path / "joiner"))
    joiner = new_node(*where, "--join", f"127.0.0.1:1,{seed.address}")
    joiner.start()
    assert joiner.ready["node"] == 2
    assert joiner.ready["cluster"] == seed.ready["cluster"]
    async with fa.connect(joiner.address) as client:
        run = await client.start(Concat.run, "joined", "!")
        with trio.fail_after(30):
            assert await run.result() == "joined!"
    joiner.kill()
    joiner.options = [*where, "--app", APP]
    joiner.start()
    assert joiner.ready["node"] == 2


def test_joining_at_an_address_that_is_taken_is_refused(new_node, refused, tmp_path):
    """Two nodes cannot be reached at one address: the second is told so, with what to do."""
    seed = new_node(*ALONE, "--data", str(tmp_path / "seed"))
    seed.start()
    second = refused(
        *("--listen", "127.0.0.1:0", "--data", str(tmp_path / "second")),
        *("--join", seed.address, "--advertise", seed.address),
    )
    assert second.code == Exit.REFUSED
    assert "is the address of node 1, which is alive: give this node another" in second.line()
    assert seed.is_alive


# -- ending ----------------------------------------------------------------------------------------


def test_node_that_still_waits_for_a_seed_ends_at_once(new_node, tmp_path):
    """SIGTERM ends a node that does not serve yet, because its seed says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        seed = f"127.0.0.1:{silent.getsockname()[1]}"
        node = new_node(
            *("--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"), "--join", seed)
        )
        node.spawn()
        silent.settimeout(20)
        waiting, _ = silent.accept()
        with waiting:
            begun = time.monotonic()
            node.stop()
            assert time.monotonic() - begun < CONNECT_TIMEOUT_SECONDS
    assert "Traceback" not in node.log_text()


# -- refusing --------------------------------------------------------------------------------------


def test_port_in_use(refused, tmp_path):
    """The line names the address, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        taken = refused("--listen", address, "--bootstrap", "--data", str(tmp_path / "data"))
    assert taken.code == Exit.REFUSED
    assert f"cannot listen on {address}: another process uses the port" in taken.line()


def test_data_directory_of_another_node(new_node, refused, tmp_path):
    """A node that is given the directory of another says whose it is, and does not start: a log
    that answers under a wrong name could elect two leaders. Nor does a copy beside the original.
    """
    addresses = sorted(free_addresses(2))
    peers = ",".join(addresses)
    member = new_node("--listen", addresses[0], "--peers", peers, "--data", str(tmp_path / "one"))
    member.start()
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    other = refused("--listen", addresses[1], "--peers", peers, "--data", str(tmp_path / "copy"))
    assert other.code == Exit.REFUSED
    assert f"is of node 1, which its peers reach at {addresses[0]}" in other.line()
    assert member.is_alive


def test_data_directory_of_a_newer_version(used, refused):
    """What a newer release wrote is not touched by an older one."""
    with closing(sqlite3.connect(used / "identity.db")) as identity, identity:
        identity.execute("UPDATE identity SET value = 99 WHERE key = 'storage_version'")
    older = refused(*ALONE, "--data", str(used))
    assert older.code == Exit.NODE_FAILED
    assert "written with storage version 99" in older.line()


@pytest.mark.parametrize("damaged", ["identity.db", "log.db"])
def test_damaged_data_directory(used, refused, damaged):
    """A directory with noise where a database was is refused with the name of the file."""
    (used / damaged).write_bytes(b"noise" * 2000)
    refusal = refused(*ALONE, "--data", str(used))
    assert refusal.code == Exit.NODE_FAILED
    assert damaged in refusal.line()


@pytest.mark.parametrize("where", ["file/below", "/proc/flowactor"])
def test_directory_that_cannot_be_made(refused, tmp_path, where):
    """A place where no directory can be made is named in the line."""
    (tmp_path / "file").touch()
    refusal = refused(*ALONE, "--data", str(tmp_path / where))
    assert refusal.code == Exit.NODE_FAILED
    assert f"cannot make the data directory {tmp_path / where}" in refusal.line()


def test_file_that_cannot_be_written(refused, tmp_path):
    """Something else stands where a database must be made: one line with its name."""
    (tmp_path / "log.db").mkdir()
    refusal = refused(*ALONE, "--data", str(tmp_path))
    assert refusal.code == Exit.NODE_FAILED
    assert str(tmp_path) in refusal.line()


def test_no_open_address_without_insecure(refused, tmp_path):
    """Until connections are encrypted, an address that others reach needs ``--insecure``; no data
    directory is made. This node has to start itself a second time, with a fixed hash seed, first.
    """
    data = tmp_path / "data"
    refusal = refused(
        *("--listen", "[::]:0", "--bootstrap", "--data", str(data)),
        starter=start_cold,
        PYTHONHASHSEED="random",
    )
    assert refusal.code == Exit.REFUSED
    assert "--insecure" in refusal.line()
    assert not data.exists()


@pytest.mark.parametrize(
    ("app", "text"),
    [
        ("no_such_module:app", "no module 'no_such_module'"),
        ("twice:app", "Same v1 is registered twice: First and Second; change a version"),
    ],
)
def test_app_that_is_none(refused, tmp_path, app, text):
    """An unknown app, and one with the same (type, version) twice, is one line with the reason; no
    data directory is made.
    """
    (tmp_path / "twice.py").write_text(
        "import flowactor as fa\n"
        + "".join(
            f'@fa.workflow(version=1, name="Same")\nclass {name}:\n'
            "    async def run(self) -> None: ...\n"
            for name in ("First", "Second")
        )
        + "app = fa.App([First, Second])\n"
    )
    none = refused(*ALONE, "--data", "data", app=app, cwd=tmp_path)
    assert none.code == Exit.REFUSED
    assert text in none.line()
    assert not (tmp_path / "data").exists()


async def test_node_of_another_cluster_is_refused(new_node, tmp_path):
    """A node that dials a member of another cluster is refused, and both sides log that the
    other is of another cluster; the refusing one serves on.
    """
    low, high = sorted(free_addresses(2))
    member = new_node("--listen", high, "--bootstrap", "--data", str(tmp_path / "member"))
    member.start()
    stranger = new_node("--listen", low, "--peers", f"{low},{high}", "--data", str(tmp_path / "s"))
    stranger.start()
    for node in (stranger, member):
        node.wait_log('"event": "ForeignCluster"')
    async with fa.connect(member.address, request_timeout=10) as client:
        assert await client.execute(Concat.run, "still", " here") == "still here"
