"""Whose directory it is, who may open it, and what is said when it cannot be used."""

import subprocess
import sys

import pytest

from flowactor.errors import StorageCorrupt, StorageError, StorageRefused
from flowactor.identity import ClusterId, NodeId
from flowactor.limits import STORAGE_VERSION
from flowactor.storage import DirectoryDisk, LogStore, open_identity, read_identity, remember
from tests.storage.building import ENVIRONMENT

HERE = ClusterId("orders")
OPEN_AND_WAIT = """
import sys
from flowactor.storage import DirectoryDisk
disk = DirectoryDisk(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


def test_directory_is_made(tmp_path):
    """A directory that does not exist is made, with its parents."""
    disk = DirectoryDisk(tmp_path / "some" / "where")
    assert (tmp_path / "some" / "where").is_dir()
    assert disk.describe() == str(tmp_path / "some" / "where")
    disk.close()


def test_second_opener_is_refused(tmp_path):
    """Of two openers in one process the second is refused, with the directory named."""
    first = DirectoryDisk(tmp_path)
    with pytest.raises(StorageRefused, match=f"{tmp_path} is in use by another node process"):
        DirectoryDisk(tmp_path)
    first.close()
    DirectoryDisk(tmp_path).close()


def test_another_process_is_refused_until_the_first_is_dead(tmp_path):
    """The lock holds between processes, and ends with a kill of the one that has it."""
    command = [sys.executable, "-c", OPEN_AND_WAIT, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": ENVIRONMENT}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == b"open\n"
        with pytest.raises(StorageRefused, match="in use"):
            DirectoryDisk(tmp_path)
        process.kill()
        process.wait()
    DirectoryDisk(tmp_path).close()


def test_unwritable_directory_is_one_clear_line(tmp_path):
    """A path that cannot be a directory is refused with what to do, in one line."""
    (tmp_path / "file").write_text("not a directory")
    for path in (tmp_path / "file", tmp_path / "file" / "below", "/proc/flowactor"):
        with pytest.raises(StorageError) as caught:
            DirectoryDisk(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_identity_is_kept(disk):
    """First use writes the identity, later use finds it, with the facts of the first."""
    assert read_identity(disk) is None
    made = open_identity(disk, HERE, NodeId(2), 123, {"peers": "a:1,b:2", "about": "x"})
    again = open_identity(disk, HERE, NodeId(2), 456, {"peers": "other"})
    assert again == made == read_identity(disk)
    assert (again.created_ns, dict(again.facts)) == (123, {"about": "x", "peers": "a:1,b:2"})


def test_facts_can_be_replaced(disk):
    """A fact learned later is there at the next start; the others stay."""
    open_identity(disk, HERE, NodeId(2), 123, {"peers": "a:1", "about": "x"})
    remember(disk, {"peers": "a:1,c:3", "more": "y"})
    assert read_identity(disk).facts == {"about": "x", "more": "y", "peers": "a:1,c:3"}


@pytest.mark.parametrize(("cluster", "node"), [("orders", 3), ("payments", 2)])
def test_directory_of_another_node_is_refused(disk, cluster, node):
    """The error says what was found, what was expected and what to do."""
    open_identity(disk, HERE, NodeId(2), 123, {})
    with pytest.raises(StorageRefused) as caught:
        open_identity(disk, ClusterId(cluster), NodeId(node), 456, {})
    message = str(caught.value)
    assert "belongs to node 2 of cluster 'orders'" in message
    assert f"this is node {node} of cluster '{cluster}'" in message
    assert "a directory of its own" in message


def change_identity(disk, sql):
    connection = disk.connect("identity.db")
    connection.execute(sql)
    connection.close()


def test_newer_storage_version_is_refused(disk):
    """A directory that a newer flowactor wrote is left alone."""
    open_identity(disk, HERE, NodeId(2), 123, {})
    change_identity(
        disk, f"UPDATE identity SET value = {STORAGE_VERSION + 1} WHERE key = 'storage_version'"
    )
    with pytest.raises(StorageRefused, match=f"storage version {STORAGE_VERSION + 1}, .*newer"):
        open_identity(disk, HERE, NodeId(2), 123, {})


def test_damaged_identity_is_reported(disk):
    """An identity that does not say all it must is damage, not a new directory."""
    open_identity(disk, HERE, NodeId(2), 123, {})
    change_identity(disk, "DELETE FROM identity WHERE key = 'node'")
    with pytest.raises(StorageCorrupt, match=r"identity\.db is damaged"):
        read_identity(disk)


def test_log_without_identity_is_refused(disk, tmp_path):
    """A log whose owner is not known is not given to the first node that comes."""
    LogStore.open(disk).close()
    for _ in range(2):
        with pytest.raises(StorageRefused, match="holds a log"):
            open_identity(disk, HERE, NodeId(2), 123, {})
        (tmp_path / "node" / "identity.db").touch()  # a first use that was interrupted
