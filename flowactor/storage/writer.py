"""The group commit: whatever groups want written while one sync is under way shares the next."""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from attrs import define, frozen

from flowactor.errors import StorageCorrupt, StorageError, StorageFull, StoragePoisoned
from flowactor.identity import GroupId
from flowactor.limits import NANOSECONDS
from flowactor.ports import Clock, Worker
from flowactor.raft import Configuration, Entry, LoadEntries, Snapshot, Write
from flowactor.storage.jobs import ask
from flowactor.storage.log_store import LogSize, LogStore

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


@frozen
class _Persisted:
    """The acknowledgements to give, the logs that a snapshot replaced and up to where, and whether
    a checkpoint is due.
    """

    acknowledgements: list[_Done]
    installed: list[tuple[GroupId, int]]
    checkpoint_due: bool


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
        self._compacting: Final[dict[GroupId, int]] = {}
        """Groups whose logs become shorter, and up to where."""
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
        self._ask(
            lambda: self._store.read(group, request.first, request.last, request.bytes_max), done
        )

    def snapshot_at(
        self, group: GroupId, index: int, done: Callable[[Snapshot | StorageError | None], None]
    ) -> None:
        """``LogStore.snapshot_at``, then ``done`` on the event loop. As ``load``."""
        self._ask(lambda: self._store.snapshot_at(group, index), done)

    def found(
        self, group: GroupId, configuration: Configuration, done: Callable[[Any], None]
    ) -> None:
        """``LogStore.found``, then ``done`` on the event loop with None, or with the
        ``StorageError`` that it raised.

        Raises:
            StoragePoisoned: the log of this process has failed before.
        """
        self._ask(lambda: self._store.found(group, configuration), done)

    def drop(self, group: GroupId, done: Callable[[Any], None]) -> None:
        """``LogStore.drop``, in the way of ``found``. Nothing of the group may be submitted any
        more.
        """
        self._compacting.pop(group, None)
        self._ask(lambda: self._store.drop(group), done)

    def compact(self, group: GroupId, index: int) -> None:
        """Delete a group's entries up to ``index``: at most ``StateStore.durable_index``.

        They count no more when the queue has come to it. They are deleted in slices, and what is
        submitted meanwhile waits for one slice at most. On a full disk, or if the process ends, the
        rest waits for the next call.

        Raises:
            StoragePoisoned: the log of this process has failed before.
        """
        self._refuse_if_failed()
        under_way = self._compacting.get(group)
        self._compacting[group] = max(index, under_way or 0)
        if under_way is None:
            self._compact_a_slice(group)

    def size(self, group: GroupId) -> LogSize:
        """How much the log holds of a group, including what was not acknowledged yet."""
        return self._store.size(group)

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

    def _persist(self) -> _Persisted:
        # The flag falls before the queue is emptied: whoever sees it up is still taken along.
        self._job_queued = False
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not batch:
            return _Persisted([], [], False)
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
        return _Persisted(
            [done for _, _, done in batch],
            [(group, write.snapshot.index) for group, write, _ in batch if write.snapshot],
            self._store.checkpoint_due(),
        )

    def _compact_step(self, group: GroupId, index: int) -> tuple[bool, bool]:
        """Whether there is more to delete, and whether a checkpoint is due."""
        return self._store.compact(group, index), self._store.checkpoint_due()

    # -- on the event loop ------------------------------------------------------------------------

    def _persisted(self, outcome: _Persisted | BaseException) -> None:
        if isinstance(outcome, BaseException):
            self._failed(outcome)
            return
        if self._failure is not None:
            return
        if outcome.acknowledgements:
            self._full = False
            self._unacknowledged -= len(outcome.acknowledgements)
            for done in outcome.acknowledgements:
                done()
        # Only now, so that no acknowledgement waits for a checkpoint, or for what was replaced.
        self._checkpoint_if(outcome.checkpoint_due)
        for group, index in outcome.installed:
            self.compact(group, index)

    def _compact_a_slice(self, group: GroupId) -> None:
        index = self._compacting[group]

        def done(outcome: tuple[bool, bool] | BaseException) -> None:
            self._compacted(group, index, outcome)

        self._worker.submit(lambda: self._compact_step(group, index), done)

    def _compacted(
        self, group: GroupId, index: int, outcome: tuple[bool, bool] | BaseException
    ) -> None:
        if isinstance(outcome, BaseException):
            self._compacting.pop(group, None)
            self._failed(outcome)
            return
        more, checkpoint_due = outcome
        self._checkpoint_if(checkpoint_due)
        if group not in self._compacting or self._failure is not None:
            return
        if more or self._compacting[group] > index:
            self._compact_a_slice(group)
        else:
            del self._compacting[group]

    def _checkpoint_if(self, due: bool) -> None:
        if due and not self._checkpoint_queued:
            self._checkpoint_queued = True
            self._worker.submit(self._store.checkpoint, self._checkpointed)

    def _checkpointed(self, outcome: BaseException | None) -> None:
        self._checkpoint_queued = False
        if outcome is not None:
            self._failed(outcome)

    def _ask(self, job: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self._refuse_if_failed()

        def finished(outcome: Any) -> None:
            if isinstance(outcome, StoragePoisoned):
                self._failed(outcome)
            done(outcome)

        ask(self._worker, job, finished)

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
