"""Damage in a WAL or a torn tail: what SQLite wrote, with a bit changed or a sector missing."""

from contextlib import closing
from pathlib import Path
from random import Random

import apsw
import pytest

from flowactor.storage.wal_check import lost_commit

PAGE_BYTES, HEADER_BYTES, FRAME_BYTES, SECTOR_BYTES = 4096, 32, 24 + 4096, 512


@pytest.fixture
def connection(tmp_path):
    """A database of ``PAGES`` pages, one row on each of all but the first two, in WAL mode."""
    with closing(apsw.Connection(str(tmp_path / "any.db"))) as connection:
        for pragma in ("journal_mode = WAL", "wal_autocheckpoint = 0", "synchronous = OFF"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        connection.execute("CREATE TABLE row (number INTEGER PRIMARY KEY, data BLOB)")
        yield connection


def grow(connection, pages):
    """Make the database so large: the root of the table is one page, and so is each row."""
    for number in range(pages - 2):
        connection.execute("INSERT INTO row VALUES (?, zeroblob(4000))", (number,))
    ((found,),) = connection.execute("PRAGMA page_count").fetchall()
    assert found == pages


def restart(connection):
    """Copy the WAL, so that the next transaction begins a new one over the old."""
    frames, copied = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
    assert frames == copied


def change(connection, *numbers):
    """One transaction, with a frame for each of these rows."""
    with connection:
        for number in numbers:
            connection.execute("UPDATE row SET data = randomblob(4000) WHERE number = ?", (number,))


def wal_of(connection):
    return bytearray(Path(connection.filename_wal).read_bytes())


def lost(wal, frames_replayed):
    return lost_commit(lambda at, size: bytes(wal[at : at + size]), len(wal), frames_replayed)


def frame_at(number):
    return HEADER_BYTES + (number - 1) * FRAME_BYTES


@pytest.mark.parametrize("pages", [4, 7, 8, 12, 16, 64])
@pytest.mark.parametrize("frames", [1, 2])
def test_any_bit_of_a_size_is_missed(connection, pages, frames):
    """Whichever bit of a database's size is wrong in the last transaction but one, it is noticed,
    also where the size becomes 0, and with it the mark of a commit.
    """
    grow(connection, pages)
    restart(connection)
    change(connection, 0)
    change(connection, *range(frames))
    change(connection, 0)
    wal = wal_of(connection)
    assert lost(wal, frames + 2) is None
    for bit in range(32):
        at = frame_at(frames + 1) + 4 + bit // 8
        wal[at] ^= 1 << bit % 8
        assert lost(wal, 1) == frames + 1, f"bit {bit}"
        wal[at] ^= 1 << bit % 8


def test_any_bit_of_a_frame_is_missed(connection):
    """A wrong bit anywhere in the last transaction but one is noticed."""
    grow(connection, 8)
    restart(connection)
    change(connection, 1)
    change(connection, 0, 1)
    change(connection, 2)
    wal, random = wal_of(connection), Random(5)
    header_bits = range(24 * 8)
    for frame in (2, 3):
        for bit in [*header_bits, *random.sample(range(24 * 8, FRAME_BYTES * 8), 300)]:
            at = frame_at(frame) + bit // 8
            wal[at] ^= 1 << bit % 8
            assert lost(wal, 1) is not None, f"bit {bit} of frame {frame}"
            wal[at] ^= 1 << bit % 8


@pytest.mark.parametrize(("first", "old_bytes"), [(42, 8), (63, 16), (106, 8)])
def test_header_in_two_sectors_may_be_torn(connection, first, old_bytes):
    """Where a frame's header lies in two sectors, a torn transaction may have the size, and so the
    mark of a commit, of the frame that was there before. That is no damage.
    """
    assert (frame_at(first) + old_bytes) % SECTOR_BYTES == 0
    grow(connection, 8)
    restart(connection)
    for number in range(first + 2):
        change(connection, number % 4)
    before = wal_of(connection)
    restart(connection)
    for number in range(first - 1):
        change(connection, number % 4)
    change(connection, 5, 2, 3)
    wal = wal_of(connection)
    start = frame_at(first)
    wal[start : start + old_bytes] = before[start : start + old_bytes]
    assert wal[start + 4 : start + 8] == (8).to_bytes(4, "big")
    assert lost(wal, first - 1) is None


def test_torn_transaction_is_no_damage(connection):
    """Whatever sectors of the last transaction are those of the WAL before it, nothing durable is
    missed.
    """
    grow(connection, 16)
    random = Random(3)
    restart(connection)
    for _ in range(60):
        change(connection, *random.sample(range(10), random.choice((1, 2, 5))))
    before = wal_of(connection)
    restart(connection)
    for number in range(40):
        change(connection, number % 3)
    durable = 40
    change(connection, *range(12))
    after = wal_of(connection)
    end = frame_at(durable + 1)
    for seed in range(200):
        random = Random(seed)
        odds, wal = random.choice((0.5, 0.05, 0.01)), after[:]
        for at in range(end - end % SECTOR_BYTES, frame_at(durable + 13), SECTOR_BYTES):
            start, stop = max(at, end), at + SECTOR_BYTES
            if random.random() < odds:
                wal[start:stop] = before[start:stop]
        assert lost(wal, durable) is None, f"seed {seed}"
