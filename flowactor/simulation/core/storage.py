"""Storage at core depth: a log whose writes take their time and may be lost, rows in memory."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, Final

from flowactor.codec.records import decode
from flowactor.ports import RowWrite
from flowactor.raft import (
    Configuration,
    Entry,
    EntryKind,
    LoadEntries,
    Restored,
    Snapshot,
    Write,
)
from flowactor.raft.log import size_bytes
from flowactor.simulation.checks.durable import DurableLog
from flowactor.simulation.core.heap import Heap
from flowactor.simulation.disk import Pace
from flowactor.simulation.fleet import ALWAYS
from flowactor.storage import LogSize

__all__ = ["CoreLog", "CoreState"]

LOAD_NS: Final = 100_000
HICCUP_ODDS: Final = 1 / 200
HICCUP_NS: Final = 200_000_000
"""Now and then a device takes its time, as real ones do."""
FLUSH_NS: Final = 2_000_000
FULL_RETRY_NS: Final = 100_000_000

_Waiting = tuple[Write, Callable[[], None]]


class CoreLog:
    """The log of one machine, as ``cluster.durable.Log`` of one group; it outlives the processes
    that write to it.

    Args:
        heap: when writes are done.
        chance: how late.
        failed: told that a sync failed: the process is to end.

    Attributes:
        durable: what is synced.
        pace: how fast the device is.
        generation: how many snapshots have taken the place of this log.
        damaged: what is stored is not what was written: the next process will notice and refuse.
        full, failing_syncs: see ``fleet.Disk``.
    """

    def __init__(self, heap: Heap, chance: Random, failed: Callable[[], None]) -> None:
        self.durable: Final = DurableLog()
        self.pace: Final = Pace(chance)
        self.generation = 0
        self.damaged = False
        self.full = False
        self.failing_syncs = 0
        self._heap: Final = heap
        self._chance: Final = chance
        self._failed: Final = failed
        self._waiting: deque[_Waiting] = deque()
        self._syncing: list[_Waiting] = []
        self._life = 0
        self._measured = (0, 0, 0)  # first and last index, and the bytes between them

    def restored(self, applied: int, founding: Configuration) -> Restored:
        """What a new process finds in a group that these founded."""
        durable = self.durable
        return Restored(
            hard_state=durable.hard_state,
            first_index=durable.previous_index + 1,
            entries=tuple(durable.entries),
            previous_index=durable.previous_index,
            previous_term=durable.previous_term,
            applied=applied,
            configuration=durable.configuration or founding,
            configuration_index=durable.configuration_index,
        )

    def submit(self, write: Write, done: Callable[[], None]) -> None:
        """See ``Log``: whatever waits while one sync is under way shares the next."""
        self._waiting.append((write, done))
        if not self._syncing:
            self._begin()

    def load(
        self, request: LoadEntries, done: Callable[[tuple[int, tuple[Entry, ...]]], None]
    ) -> None:
        """See ``Log``."""
        size = 0
        chosen: list[Entry] = []
        previous = self.durable.term_at(request.first - 1)
        wanted = self.durable.between(request.first, request.last) if previous is not None else ()
        for entry in wanted:
            size += size_bytes(entry)
            if chosen and size > request.bytes_max:
                break
            chosen.append(entry)
        self._answer(done, (previous or 0, tuple(chosen)))

    def snapshot_at(
        self, index: int, founding: Configuration, done: Callable[[Snapshot | None], None]
    ) -> None:
        """See ``Log``, of a group that these founded."""
        durable = self.durable
        term = durable.term_at(index)
        if term is None:
            self._answer(done, None)
            return
        members, since = durable.configuration or founding, durable.configuration_index
        for entry in durable.between(durable.previous_index + 1, index):
            if entry.kind is EntryKind.CONFIGURATION:
                members, since = decode(entry.data), entry.index
        self._answer(done, Snapshot(index, term, members, since))

    def compact(self, index: int) -> None:
        """See ``Log``."""
        self._answer(self._purge, index)

    def _purge(self, index: int) -> None:
        if index > self.durable.previous_index:
            self.durable.purge_to(index)

    def size(self) -> LogSize:
        """See ``Log``."""
        first, last = self.durable.previous_index + 1, self.durable.last_index
        measured_first, measured_last, data_bytes = self._measured
        if measured_first != first:
            measured_last, data_bytes = first - 1, 0
        if measured_last != last:
            grown = self.durable.between(measured_last + 1, last)
            data_bytes += sum(len(entry.data) for entry in grown)
        self._measured = (first, last, data_bytes)
        return LogSize(*self._measured)

    def _answer(self, done: Callable[[Any], None], answer: object) -> None:
        due_ns = self._heap.now_ns + LOAD_NS
        self._heap.post(due_ns, self._unless_dead, self._life, done, answer)

    def _unless_dead(self, life: int, done: Callable[..., None], *arguments: Any) -> None:
        if life == self._life:
            done(*arguments)

    def _begin(self) -> None:
        self._syncing = list(self._waiting)
        self._waiting.clear()
        took = self.pace.job_ns()
        if self._chance.random() < HICCUP_ODDS:
            took += int(self._chance.random() * HICCUP_NS)
        self._heap.post(self._heap.now_ns + took, self._move, self._life)

    def _move(self, life: int) -> None:
        if life == self._life:
            self.pace.when_moving(lambda: self._finish(life))

    def _finish(self, life: int) -> None:
        if life != self._life:
            return
        if self.full and any(write.entries for write, _ in self._syncing):
            self._heap.post(self._heap.now_ns + FULL_RETRY_NS, self._move, life)
            return
        if self.failing_syncs:
            self.failing_syncs -= self.failing_syncs != ALWAYS
            self._failed()
            return
        synced, self._syncing = self._syncing, []
        for write, _ in synced:
            self._persist(write)
        for _, done in synced:
            done()
        if self._waiting:
            self._begin()

    def _persist(self, write: Write) -> None:
        self.durable.persist(write)
        if write.truncate_from or write.snapshot is not None:
            self._measured = (0, 0, 0)
        self.generation += write.snapshot is not None

    def flip_bit(self, place: float) -> None:  # noqa: ARG002  # one bit is as bad as another
        """See ``fleet.Disk``."""
        self.damaged = True

    def misdirect_next_write(self, place: float) -> None:  # noqa: ARG002
        """See ``fleet.Disk``."""
        self.damaged = True

    def crash(self) -> None:
        """The process is dead. What waited is lost; of the sync under way, which is one
        transaction, all has reached the device or nothing.
        """
        self._life += 1
        if self._syncing and not self.full and self._chance.random() < 1 / 2:
            for write, _ in self._syncing:
                self._persist(write)
        self._syncing = []
        self._waiting.clear()


_Key = tuple[Any, ...]
_Rows = dict[str, dict[Any, dict[_Key, tuple[Any, ...] | None]]]
"""table -> first column of the key -> key -> values, or None for a deleted row."""


class CoreState:
    """``cluster.durable.State`` of one machine: rows that are stored, and newer ones that are not.

    A crash loses the newer ones; the log has them.
    """

    def __init__(self, heap: Heap) -> None:
        self._heap: Final = heap
        self._stored: Final[_Rows] = {}
        self._newer: _Rows = {}
        self._applied_index = self._written_index = 0
        self._life = 0

    @property
    def applied_index(self) -> int:
        """See ``State``."""
        return self._applied_index

    @property
    def size(self) -> int:
        """How many rows are stored."""
        return sum(len(group) for table in self._stored.values() for group in table.values())

    def copy(self) -> "CoreState":
        """Another state, of the same stored rows."""
        twin = CoreState(self._heap)
        for table, groups in self._stored.items():
            twin._stored[table] = {first: dict(group) for first, group in groups.items()}
        twin._applied_index = twin._written_index = self._applied_index
        return twin

    def get(self, table: str, key: Sequence[Any]) -> tuple[Any, ...] | None:
        """See ``RowReader``."""
        full_key = tuple(key)
        for rows in (self._newer, self._stored):
            found = rows.get(table, {}).get(full_key[0], {})
            if full_key in found:
                return found[full_key]
        return None

    def scan(self, table: str, prefix: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """See ``RowReader``."""
        start = tuple(prefix)
        merged: dict[_Key, tuple[Any, ...] | None] = {}
        for rows in (self._stored, self._newer):
            merged.update(
                (key, values)
                for key, values in _candidates(rows.get(table, {}), start)
                if key[: len(start)] == start
            )
        return [(*key, *values) for key, values in sorted(merged.items()) if values is not None]

    def write(self, rows: Sequence[RowWrite], applied_index: int) -> None:
        """See ``State``."""
        self._written_index = applied_index
        _put(self._newer, rows)

    def flush(self, done: Callable[[], None]) -> None:
        """See ``State``."""
        self._heap.post(self._heap.now_ns + FLUSH_NS, self._store, self._life, done)

    def _store(self, life: int, done: Callable[[], None]) -> None:
        if life != self._life:
            return
        for table, groups in self._newer.items():
            stored = self._stored.setdefault(table, {})
            for first, group in groups.items():
                stored.setdefault(first, {}).update(group)
        self._newer = {}
        self._applied_index = self._written_index
        done()

    def crash(self) -> None:
        """The process is dead."""
        self._life += 1
        self._newer = {}
        self._written_index = self._applied_index


def _put(rows: _Rows, writes: Sequence[RowWrite]) -> None:
    for write in writes:
        rows.setdefault(write.table, {}).setdefault(write.key[0], {})[write.key] = write.values


def _candidates(
    table: dict[Any, dict[_Key, tuple[Any, ...] | None]], start: _Key
) -> Iterator[tuple[_Key, tuple[Any, ...] | None]]:
    groups = [table.get(start[0], {})] if start else list(table.values())
    for group in groups:
        yield from group.items()
