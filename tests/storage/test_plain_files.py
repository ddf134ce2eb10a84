"""Plain files of the operating system: what becomes of its errors, and when a name is durable."""

import errno
import os
from contextlib import closing

import pytest

from flowactor.errors import StorageCorrupt, StorageError, StorageFull, StoragePoisoned
from flowactor.storage.plain_files import SystemFile


def failing(monkeypatch, call, number):
    """From now on this call of the system fails so."""

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)


@pytest.mark.parametrize(
    ("call", "number", "expected"),
    [
        ("pwrite", errno.ENOSPC, StorageFull),
        ("pwrite", errno.EDQUOT, StorageFull),
        ("pwrite", errno.EIO, StoragePoisoned),
        ("pread", errno.EIO, StorageCorrupt),
        ("fdatasync", errno.EIO, StoragePoisoned),
        ("fdatasync", errno.ENOSPC, StoragePoisoned),
        ("fsync", errno.EIO, StoragePoisoned),
    ],
)
def test_errors_of_the_system_are_sorted(tmp_path, monkeypatch, call, number, expected):
    """disk_full_is_an_error, first_failed_sync_poisons: want of space is one when something is
    written; when a sync fails of it, what was written is gone, as with any other sync.
    """
    with closing(SystemFile(tmp_path / "plain")) as file:
        file.write(0, b"x")
        with monkeypatch.context() as patch:
            failing(patch, call, number)
            with pytest.raises(expected, match="plain") as caught:
                use(file)
        assert type(caught.value) is expected


def use(file):
    file.read(0, 1)
    file.write(0, b"y")
    file.sync()


def test_short_writes_and_reads_go_on(tmp_path, monkeypatch):
    """What the system does only a part of is done whole."""
    write, read = os.pwrite, os.pread
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: write(fd, data[:3], at))
    monkeypatch.setattr(os, "pread", lambda fd, size, at: read(fd, min(size, 2), at))
    with closing(SystemFile(tmp_path / "plain")) as file:
        file.write(5, b"0123456789")
        assert file.read(4, 100) == b"\0" + b"0123456789"


def test_first_sync_makes_the_name_durable(tmp_path, monkeypatch):
    """The directory is synced once, also for a file that another process has made: it may have died
    before it came to that.
    """
    synced, sync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(fd), sync(fd)))
    for lives in (1, 2):
        with closing(SystemFile(tmp_path / "plain")) as file:
            for _ in range(3):
                file.write(0, b"x")
                file.sync()
        assert len(synced) == lives


def test_file_that_cannot_be_opened_is_refused(tmp_path):
    """A directory in its place, or one that is missing, is told with its path."""
    (tmp_path / "taken").mkdir()
    for path in (tmp_path / "taken", tmp_path / "missing" / "plain"):
        with pytest.raises(StorageError, match="cannot be opened for writing"):
            SystemFile(path)
