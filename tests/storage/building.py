"""Short ways to say what storage tests are about."""

import os
from collections import deque
from contextlib import contextmanager
from pathlib import Path

from flowactor.ports import RowWrite, Table
from flowactor.storage import DirectoryDisk, LogStore
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
    "disk_after_crash",
    "entries",
    "entry",
    "members",
    "opened_log",
    "restored",
    "run_row",
    "state",
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
