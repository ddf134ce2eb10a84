"""Background work: a real thread, and the stand-in for where there must be none."""

import sys
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, TypeVar

import trio

__all__ = ["InlineWorker", "ThreadWorker"]

SWITCH_SECONDS_MAX: Final = 0.0005
"""How long a busy event loop may keep the interpreter's lock from a worker that comes back from a
sync. Python's own 5 ms would be added to every commit under load (docs/design/storage.md)."""

T = TypeVar("T")
_Job = tuple[Callable[[], Any], Callable[[Any], None]]


def _outcome(job: Callable[[], T]) -> T | BaseException:
    try:
        return job()
    except BaseException as error:  # noqa: BLE001  # handed to ``done``, on the other thread
        return error


class ThreadWorker:
    """``ports.Worker`` as one thread of the operating system; make it inside a Trio run.

    Completions that pile up while the event loop is busy are delivered by one wake-up. The thread
    begins with the first job. It is no daemon: a process does not end in the middle of a commit, so
    ``close`` must be called. Lowers the interpreter's switch interval to ``SWITCH_SECONDS_MAX``.
    """

    def __init__(self, name: str) -> None:
        self._token: Final = trio.lowlevel.current_trio_token()
        self._jobs: Final[SimpleQueue[_Job | None]] = SimpleQueue()
        self._outcomes: Final[deque[tuple[Callable[[Any], None], Any]]] = deque()
        self._started = self._closed = False
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_SECONDS_MAX))
        self._thread: Final = threading.Thread(target=self._run, name=name, daemon=False)

    def submit(self, job: Callable[[], T], done: Callable[[T | BaseException], None]) -> None:
        """See ``ports.Worker``."""
        assert not self._closed, f"the worker {self._thread.name} is closed"
        self._jobs.put((job, done))
        if not self._started:
            self._started = True
            self._thread.start()

    def close(self) -> None:
        """Finish what was submitted, deliver its outcomes, stop. Blocks; call it on the loop."""
        if self._started and not self._closed:
            self._jobs.put(None)
            self._thread.join()
            self._deliver()
            # What a ``done`` submitted meanwhile has no thread any more, and nobody to disturb.
            while not self._jobs.empty():
                if item := self._jobs.get():
                    job, done = item
                    done(_outcome(job))
        self._closed = True

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, done = item
            self._outcomes.append((done, _outcome(job)))
            try:
                self._token.run_sync_soon(self._deliver, idempotent=True)
            except trio.RunFinishedError:
                # Nobody is left to be told, but what was submitted still reaches the disk.
                self._outcomes.clear()

    def _deliver(self) -> None:
        while self._outcomes:
            done, outcome = self._outcomes.popleft()
            done(outcome)


class InlineWorker:
    """``ports.Worker`` without a thread: ``submit`` runs the job and ``done`` before it returns.

    A job submitted from within a ``done`` runs after that ``done``, so that a chain of jobs does
    not grow the stack.
    """

    def __init__(self) -> None:
        self._jobs: Final[deque[_Job]] = deque()
        self._running = False

    def submit(self, job: Callable[[], T], done: Callable[[T | BaseException], None]) -> None:
        """See ``ports.Worker``."""
        self._jobs.append((job, done))
        if self._running:
            return
        self._running = True
        try:
            while self._jobs:
                job, done = self._jobs.popleft()
                done(_outcome(job))
        finally:
            self._running = False

    def close(self) -> None:
        """Nothing is ever left to do."""
