"""The state of a group, file after file."""

import pytest

from flowactor.ports import RowWrite, Table
from flowactor.storage import DirectoryDisk, InlineWorker, SnapshotFile, StateFiles, StateStore

ROWS = Table("rows", (("name", "TEXT"),), (("value", "INTEGER"),))


def ignore(_):
    pass


@pytest.fixture
def disk(tmp_path):
    disk = DirectoryDisk(tmp_path)
    yield disk
    disk.close()


def files(disk, generation=0):
    return StateFiles(disk, 1, [ROWS], InlineWorker(), on_failure=ignore, generation=generation)


def receive(states, copy):
    """All of a copy, as the next state."""
    told = []
    incoming = states.incoming()
    incoming.begin(copy.image, ignore)
    copy.read_chunk(
        0,
        copy.image.size_bytes,
        lambda chunk: incoming.write_chunk(chunk.offset, chunk.data, chunk.checksum, ignore),
    )
    incoming.finish(told.append)
    assert told == [None]


def test_what_is_received_takes_the_place(disk, tmp_path):
    """After ``replace`` the received rows are read, at their index; the old file and the receipt
    are gone, and the next start opens the new one.
    """
    other_disk = DirectoryDisk(tmp_path / "other")
    other, copies = files(other_disk), []
    other.current.write([RowWrite("rows", ("a",), (1,))], 7)
    other.current.flush()
    other.copy(copies.append)
    (copy,) = copies
    assert isinstance(copy, SnapshotFile)
    states = files(disk)
    states.current.write([RowWrite("rows", ("b",), (2,))], 3)
    receive(states, copy)
    assert states.replace() is states.current
    assert states.current.scan("rows") == [("a", 1)]
    assert states.current.applied_index == states.current.durable_index == 7
    states.current.write([RowWrite("rows", ("c",), (3,))], 8)
    states.stop()
    states.close()
    states_and_copies = {name.partition(".")[0] for name in disk.names()}
    assert states_and_copies == {"lock", "state-1-1"}
    again = files(disk, generation=1)
    assert again.current.scan("rows") == [("a", 1), ("c", 3)]
    again.close()
    other.stop()
    other.close()
    assert not [name for name in other_disk.names() if name.startswith("copy")]
    other_disk.close()


def test_a_checkpoint_that_is_asked_for(disk):
    """What is in the file is durable after ``checkpoint``, however little it is."""
    state = StateStore(disk, 1, [ROWS], InlineWorker(), on_failure=ignore)
    state.write([RowWrite("rows", ("a",), (1,))], 7)
    state.flush()
    assert (state.applied_index, state.durable_index) == (7, 0)
    state.checkpoint()
    assert state.durable_index == 7
    state.close()
