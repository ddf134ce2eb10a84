"""flowactor's own disks and workers keep what every disk, every worker and every log promises."""

import pytest

from flowactor.storage import DirectoryDisk, InlineWorker, LogStore, ThreadWorker
from flowactor.testing.conformance import (
    DiskConformance,
    LogStoreConformance,
    WorkerConformance,
    WorkerWorld,
)
from tests.storage.faulty_vfs import faulty_vfs


@pytest.fixture(params=["directory", "exclusive"])
def open_disk(request, tmp_path):
    """Each kind of disk that storage runs on: with shared memory, and without."""
    with faulty_vfs() as (_, name):
        vfs = name if request.param == "exclusive" else None
        yield lambda: DirectoryDisk(tmp_path / "node", vfs)


class TestDirectoryDisk(DiskConformance):
    """The file system, and a VFS in Python on top of it."""

    @pytest.fixture
    def open_disk(self, open_disk):
        return open_disk


class TestLogStore(LogStoreConformance):
    """The log in SQLite, on each of these disks."""

    @pytest.fixture
    def open_log(self, disk):
        return lambda: LogStore.open(disk)


class Threads(WorkerWorld):
    def worker(self, name):
        return ThreadWorker(name)


class NoThreads(WorkerWorld):
    def worker(self, name):
        return InlineWorker()


class TestWorkers(WorkerConformance):
    """A thread, and none."""

    @pytest.fixture(params=[Threads, NoThreads])
    def world(self, request):
        return request.param()
