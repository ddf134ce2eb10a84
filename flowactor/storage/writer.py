"""The group commit: whatever groups want written while one sync is under way shares the next."""

from collections import deque
from collections.abc import Callable
from typing import Final

from attrs import define, frozen

from flowactor.errors import StorageCorrupt, StorageError, StorageFull, StoragePoisoned
from flowactor.identity import GroupId
from flowactor.limits import NANOSECONDS
from flowactor.ports import Clock, Worker
from flowactor.raft import Entry, LoadEntries, Write
from flowactor.storage.log_store import LogStore

__all__ = ["LogStatistics", "LogWriter"]

_Done = Callable[[], None]
_Loaded = tuple[int, tuple[Entry, ...]]


@frozen
class LogStatistics:
    """Attributes:
    persists: transactions, each with one sync.
    entries, bytes: log entries written, and their data.
    persist_seconds_last, persist_seconds_mean: of a transaction, nearly all of it the sync.
    waiting: writes not yet durable.
    full: the disk has no space, and writes wait for some.
    """

    persists: int
    entries: int
    bytes: int
    persist_seconds_last: float
    persist_seconds_mean: float
    waiting: int
    full: bool


@define
class _Counters:
    persists: int = 0
    entries: int = 0
    bytes: int = 0
    nanoseconds: int = 0
    nanoseconds_last: int = 0


class LogWriter:
    """Writes the log of all groups in a worker, one transaction and one sync for all that waits.

    A write that finds no space stays first in the queue; nothing is acknowledged meanwhile, so a
    leader without space loses its place as one with a stalled disk does. It is tried again with
    every later ``submit``, and on ``retry``.

    Args:
        store: used by nothing else from now on.
        worker: runs its blocking calls.
        clock: measures them.
        on_failure: told on the event loop what is wrong: once if the store has failed for good
            (``StoragePoisoned``, ``StorageCorrupt``), and once each time the disk gets full
            (``StorageFull``). The error of the system is its ``__cause__``.
    """

    def __init__(
        self,
        store: LogStore,
        worker: Worker,
        clock: Clock,
        on_failure: Callable[[StorageError], None],
    ) -> None:
        self._store: Final = store
        self._worker: Final = worker
        self._clock: Final = clock
        self._on_failure: Final = on_failure
        # Filled on the event loop, emptied in the worker: only atomic operations of the deque.
        self._waiting: Final[deque[tuple[GroupId, Write, _Done]]] = deque()
        self._job_queued = False
        self._checkpoint_queued = False
        self._unacknowledged = 0
        self._full = False
        self._failure: StorageError | None = None
        self._count: Final = _Counters()

    def submit(self, group: GroupId, write: Write, done: Callable[[], None]) -> None:
        """Queue ``write``; ``done`` is called on the event loop once it is durable, in order.

        Raises:
            StoragePoisoned: the log of this process has failed before.
        """
        self._refuse_if_failed()
        self._unacknowledged += 1
        self._waiting.append((group, write, done))
        self.retry()

    def retry(self) -> None:
        """Try to write what waits; of use after ``StorageFull`` only."""
        # One job that has not begun is enough: it takes everything that waits when it does begin.
        if not self._job_queued and self._waiting and self._failure is None:
            self._job_queued = True
            self._worker.submit(self._persist, self._persisted)

    def load(
        self,
        group: GroupId,
        request: LoadEntries,
        done: Callable[[_Loaded | StorageError], None],
    ) -> None:
        """Read entries back (``LogStore.read``), then call ``done`` on the event loop.

        Damage found by reading is for the group to report; it does not stop the others.

        Raises:
            StoragePoisoned: the log of this process has failed before.
        """
        self._refuse_if_failed()

        def finished(outcome: _Loaded | BaseException) -> None:
            if isinstance(outcome, BaseException) and not isinstance(outcome, StorageError):
                raise outcome
            done(outcome)

        self._worker.submit(
            lambda: self._store.read(group, request.first, request.last, request.bytes_max),
            finished,
        )

    def compact(self, group: GroupId, index: int) -> None:
        """Delete a group's entries up to ``index`` when the queue has come to it."""
        self._refuse_if_failed()
        self._worker.submit(lambda: self._store.compact(group, index), self._housekept)

    def statistics(self) -> LogStatistics:
        """What was written so far, and how long that took."""
        count = self._count
        return LogStatistics(
            persists=count.persists,
            entries=count.entries,
            bytes=count.bytes,
            persist_seconds_last=count.nanoseconds_last / NANOSECONDS,
            persist_seconds_mean=count.nanoseconds / NANOSECONDS / max(1, count.persists),
            waiting=self._unacknowledged,
            full=self._full,
        )

    def close(self) -> None:
        """Write and acknowledge what waits, then end the worker and the store. Blocks.

        A full disk is told to ``on_failure`` as ever, and is no error: what finds no space was not
        acknowledged.

        Raises:
            StoragePoisoned: a last sync failed; what was acknowledged is durable none the less.
        """
        self._worker.close()
        try:
            self._store.close()
        except StorageFull as error:
            self._failed(error)

    # -- in the worker ----------------------------------------------------------------------------

    def _persist(self) -> tuple[list[_Done], bool]:
        """The acknowledgements to give, and whether a checkpoint is due."""
        # The flag falls before the queue is emptied: whoever sees it up is still taken along.
        self._job_queued = False
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not batch:
            return [], False
        begun = self._clock.monotonic_ns()
        try:
            self._store.persist([(group, write) for group, write, _ in batch])
        except StorageFull:
            self._waiting.extendleft(reversed(batch))
            raise
        count = self._count
        count.nanoseconds_last = self._clock.monotonic_ns() - begun
        count.nanoseconds += count.nanoseconds_last
        count.persists += 1
        for _, write, _ in batch:
            count.entries += len(write.entries)
            count.bytes += sum(len(entry.data) for entry in write.entries)
        return [done for _, _, done in batch], self._store.checkpoint_due()

    # -- on the event loop ------------------------------------------------------------------------

    def _persisted(self, outcome: tuple[list[_Done], bool] | BaseException) -> None:
        if isinstance(outcome, BaseException):
            self._failed(outcome)
            return
        if self._failure is not None:
            return
        acknowledgements, checkpoint_due = outcome
        if acknowledgements:
            self._full = False
            self._unacknowledged -= len(acknowledgements)
            for done in acknowledgements:
                done()
        # Only now, so that no acknowledgement waits for a checkpoint.
        if checkpoint_due and not self._checkpoint_queued:
            self._checkpoint_queued = True
            self._worker.submit(self._store.checkpoint, self._checkpointed)

    def _checkpointed(self, outcome: BaseException | None) -> None:
        self._checkpoint_queued = False
        self._housekept(outcome)

    def _housekept(self, outcome: BaseException | None) -> None:
        if outcome is not None:
            self._failed(outcome)

    def _failed(self, error: BaseException) -> None:
        if self._failure is not None:
            return
        if isinstance(error, StorageFull):
            if not self._full:
                self._full = True
                self._on_failure(error)
            return
        if isinstance(error, StoragePoisoned | StorageCorrupt):
            self._failure = error
        else:
            self._failure = StoragePoisoned(f"the log refused a write: {error}; this is a bug")
            self._failure.__cause__ = error
        self._on_failure(self._failure)

    def _refuse_if_failed(self) -> None:
        if self._failure is not None:
            raise StoragePoisoned(f"the log has failed before: {self._failure}") from self._failure
