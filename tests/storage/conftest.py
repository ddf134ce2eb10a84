"""Disks for storage tests: functions over a factory, so that any implementation can be judged."""

import pytest

from flowactor.storage import DirectoryDisk
from tests.storage.faulty_vfs import faulty_vfs


@pytest.fixture(params=["directory", "exclusive"])
def disk(request, tmp_path):
    """Each kind of disk that storage runs on: with shared memory, and without."""
    with faulty_vfs() as (_, name):
        disk = DirectoryDisk(tmp_path / "node", name if request.param == "exclusive" else None)
        yield disk
        disk.close()


@pytest.fixture
def directory_disk(tmp_path):
    """A disk on the real file system."""
    disk = DirectoryDisk(tmp_path / "node")
    yield disk
    disk.close()


@pytest.fixture
def faulty(tmp_path):
    """(device, disk): a disk whose device can be told to fail."""
    with faulty_vfs() as (device, name):
        disk = DirectoryDisk(tmp_path / "faulty", name)
        yield device, disk
        disk.close()
