"""Short ways to say what storage tests are about."""

import os
from collections import deque
from contextlib import contextmanager
from pathlib import Path

from flowactor.ports import RowWrite, Table
from flowactor.storage import DirectoryDisk, InlineWorker, LogStore, StateStore
from flowactor.testing.conformance.logs import (
    EVERYTHING,
    ONE,
    TWO,
    append,
    change,
    entries,
    entry,
    members,
    state,
    write,
)
from tests.storage.faulty_vfs import crash_image

__all__ = [
    "ENVIRONMENT",
    "EVERYTHING",
    "ONE",
    "RUNS",
    "TABLES",
    "TWO",
    "VARIABLES",
    "StallingWorker",
    "StoppedClock",
    "append",
    "change",
    "closing_state",
    "disk_after_crash",
    "entries",
    "entry",
    "members",
    "opened_log",
    "opened_state",
    "received",
    "restored",
    "run_row",
    "state",
    "told",
    "unexpected",
    "write",
]

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
"""For processes that import flowactor, installed or not."""

RUNS = Table(
    "runs",
    (("run", "TEXT"), ("number", "INTEGER")),
    (("status", "TEXT"), ("data", "BLOB")),
    (("status",),),
)
VARIABLES = Table("variables", (("name", "TEXT"),), (("value", "BLOB"),))
TABLES = (RUNS, VARIABLES)


class StoppedClock:
    """A clock for counting, not for telling time."""

    def now_ns(self):
        return 0

    def monotonic_ns(self):
        return 0


class StallingWorker:
    """A worker whose jobs run, and whose outcomes arrive, when the test says so."""

    def __init__(self):
        self._jobs, self._outcomes = deque(), deque()

    def __len__(self):
        return len(self._jobs)

    def submit(self, job, done):
        self._jobs.append((job, done))

    def run_job(self):
        job, done = self._jobs.popleft()
        try:
            self._outcomes.append((done, job()))
        except Exception as error:  # noqa: BLE001  # an outcome, as of any worker
            self._outcomes.append((done, error))

    def deliver(self):
        while self._outcomes:
            done, outcome = self._outcomes.popleft()
            done(outcome)

    def close(self):
        while self._jobs:
            self.run_job()
            self.deliver()


def run_row(run, number, status="open", data=b"x"):
    return RowWrite("runs", (run, number), (status, data))


def told(call, *arguments):
    """What ``done`` is told by the end of this call: it runs its jobs inline."""
    outcomes = []
    call(*arguments, outcomes.append)
    (outcome,) = outcomes
    return outcome


def unexpected(error):
    raise error


def opened_state(disk, group=ONE, generation=0, worker=None):
    """The state of a group, to which nothing bad may happen."""
    worker = InlineWorker() if worker is None else worker
    return StateStore(disk, group, TABLES, worker, on_failure=unexpected, generation=generation)


@contextmanager
def closing_state(disk, group=ONE, generation=0, worker=None):
    """The same, closed at the end with its worker."""
    worker = InlineWorker() if worker is None else worker
    store = opened_state(disk, group, generation, worker)
    try:
        yield store
    finally:
        worker.close()
        store.close()


def received(incoming, copy, chunk_bytes=100_000):
    """Transfer a copy as far as it is not there yet; what ``finish`` tells, or what went wrong."""
    offset = told(incoming.begin, copy.image)
    while isinstance(offset, int) and offset < copy.image.size_bytes:
        chunk = told(copy.read_chunk, offset, chunk_bytes)
        offset = told(incoming.write_chunk, chunk.offset, chunk.data, chunk.checksum)
    return told(incoming.finish) if isinstance(offset, int) else offset


@contextmanager
def opened_log(disk):
    """The log of ``disk``, closed at the end whatever state it is in."""
    store = LogStore.open(disk)
    try:
        yield store
    finally:
        store.close()


def restored(disk, group=ONE, applied=0):
    """Everything the log of ``disk`` holds of a group."""
    with opened_log(disk) as store:
        return store.recover(group, applied, EVERYTHING)


@contextmanager
def disk_after_crash(directory, happened, length=None, random=None):
    """A disk in the new ``directory`` that holds what a crash at this point leaves."""
    directory.mkdir(parents=True)
    image = crash_image(happened, len(happened) if length is None else length, random)
    for name, content in image.items():
        (directory / name).write_bytes(content)
    disk = DirectoryDisk(directory)
    try:
        yield disk
    finally:
        disk.close()
