"""What housekeeping costs those who commit: a log that is compacted, a state that is copied; how
fast a copy is made and received, and how long a start takes after a long past.

A commit is one entry of 120 B by one group through the group commit, one at a time, on an event
loop that also writes 20 rows of state every 10 ms and flushes them as a node does.

    python benchmarks/bench_storage.py [--quick] [--json]
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import apsw
import attrs
import trio
from common import Options, Row, bare_fdatasync, options, progress, report, row

from flowactor.actors import Promise
from flowactor.identity import GroupId, NodeId
from flowactor.limits import STATE_FLUSH_SECONDS
from flowactor.ports import RowWrite, Table
from flowactor.raft import Entry, EntryKind, HardState, Write
from flowactor.storage import (
    DirectoryDisk,
    IncomingSnapshot,
    InlineWorker,
    LogStore,
    LogWriter,
    SnapshotFile,
    StateStore,
    ThreadWorker,
    state_file,
)

ONE, TWO = GroupId(1), GroupId(2)
DATA = bytes(range(120))
HARD_STATE = HardState(1, NodeId(1), 0)
RUNS = Table("runs", (("run", "INTEGER"),), (("data", "BLOB"),))
ROW_BYTES = 800
"""Four rows to a page of SQLite's; one of 1000 would have a page of its own beside."""
CHUNK_BYTES = 256 * 1024
MEGABYTE = 1_000_000


class SystemClock:
    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.perf_counter_ns()


def fail(error: Any) -> None:
    raise error


def filled_log(store: LogStore, group: GroupId, count: int) -> None:
    for first in range(1, count + 1, 5000):
        last = min(count, first + 4999)
        entries = tuple(
            Entry(1, index, EntryKind.PAYLOAD, DATA) for index in range(first, last + 1)
        )
        store.persist([(group, Write(1, HARD_STATE if first == 1 else None, 0, entries))])
        if store.checkpoint_due():
            store.checkpoint()


def filled_state(directory: Path, size_bytes: int) -> None:
    with opened(directory) as disk:
        state = StateStore(disk, ONE, (RUNS,), InlineWorker(), on_failure=fail)
        for first in range(0, size_bytes // ROW_BYTES, 5000):
            rows = [
                RowWrite("runs", (n,), (n.to_bytes(8, "big") * (ROW_BYTES // 8),))
                for n in range(first, first + 5000)
            ]
            state.write(rows, first + 1)
            state.flush()
        state.close()


@contextmanager
def opened(directory: Path) -> Iterator[DirectoryDisk]:
    disk = DirectoryDisk(directory)
    try:
        yield disk
    finally:
        disk.close()


class Node:
    """Log, state and what a node does with them all the time."""

    def __init__(self, disk: DirectoryDisk) -> None:
        self.disk = disk
        self.store = LogStore.open(disk)
        self.writer = LogWriter(self.store, ThreadWorker("log"), SystemClock(), fail)
        self.state_worker = ThreadWorker("state")
        self.state = StateStore(disk, ONE, (RUNS,), self.state_worker, on_failure=fail)
        self.store.recover(TWO, 0, 0)
        self.index = self.writer.size(TWO).last_index
        self.applied = self.state.applied_index

    def close(self) -> None:
        self.writer.close()
        self.state_worker.close()
        self.state.close()

    async def keep_writing_state(self) -> None:
        number = 0
        flushed = trio.current_time()
        while True:
            await trio.sleep(0.01)
            self.applied += 1
            rows = [
                RowWrite("runs", ((number + n) * 7919 % 100_000,), (bytes(ROW_BYTES),))
                for n in range(20)
            ]
            number += 20
            self.state.write(rows, self.applied)
            if trio.current_time() - flushed > STATE_FLUSH_SECONDS:
                flushed = trio.current_time()
                self.state.flush()

    async def commits(self, over: Callable[[], bool]) -> tuple[list[float], float]:
        """The latency of each commit until it is over, and the time all of them took."""
        latencies = []
        begun = time.perf_counter()
        while not over():
            self.index += 1
            hard_state = HARD_STATE if self.index == 1 else None
            entry = Entry(1, self.index, EntryKind.PAYLOAD, DATA)
            start = time.perf_counter()
            durable: Promise[None] = Promise()
            self.writer.submit(
                TWO, Write(1, hard_state, 0, (entry,)), lambda durable=durable: durable.set(None)
            )
            await durable.wait()
            latencies.append(time.perf_counter() - start)
        return latencies, time.perf_counter() - begun


def for_seconds(seconds: float) -> Callable[[], bool]:
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() > end


async def measured(node: Node, over: Callable[[], bool]) -> tuple[list[float], float]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.keep_writing_state)
        found = await node.commits(over)
        nursery.cancel_scope.cancel()
    return found


# -- ways to copy a state -------------------------------------------------------------------------


def copy_by_backup(node: Node, done: Callable[[], None]) -> None:
    """As it is done: steps of SQLite's backup on the connection that writes, then the digest."""

    def finished(copy: Any) -> None:
        assert isinstance(copy, SnapshotFile), copy
        copy.discard()
        done()

    node.state.snapshot(finished)


def copy_in_thread(node: Node, copy: Callable[[apsw.Connection, str], None]) -> Callable[..., None]:
    """On a second connection, in a thread of its own."""

    def run(done: Callable[[], None]) -> None:
        token = trio.lowlevel.current_trio_token()
        path = Path(node.disk.describe())

        def work() -> None:
            target = path / "other-copy.db"
            reader = apsw.Connection(str(path / state_file(ONE)), apsw.SQLITE_OPEN_READONLY)
            copy(reader, str(target))
            reader.close()
            target.unlink()
            token.run_sync_soon(done)

        Thread(target=work).start()

    return run


def vacuum_into(reader: apsw.Connection, target: str) -> None:
    reader.execute("VACUUM INTO ?", (target,))


def backup_of_a_reader(reader: apsw.Connection, target: str) -> None:
    reader.execute("BEGIN; SELECT * FROM applied_index")
    connection = apsw.Connection(target)
    connection.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
    with connection.backup("main", reader, "main") as backup:
        while not backup.step(256):
            pass
    connection.close()


# -- what is measured -----------------------------------------------------------------------------


async def copies(directory: Path, chosen: Options) -> list[Row]:
    size_bytes = (50 if chosen.quick else 200) * MEGABYTE
    filled_state(directory, size_bytes)
    rows = []
    with opened(directory) as disk:
        node = Node(disk)
        size_bytes = (directory / state_file(ONE)).stat().st_size
        await measured(node, for_seconds(0.5))
        latencies, elapsed = await measured(node, for_seconds(2 if chosen.quick else 8))
        rows.append(row("commit, nothing else", 1, latencies, elapsed, None))
        ways: dict[str, Callable[..., None]] = {
            "backup by the writer": lambda done: copy_by_backup(node, done),
            "VACUUM INTO by a reader": copy_in_thread(node, vacuum_into),
            "backup by a reader": copy_in_thread(node, backup_of_a_reader),
        }
        for name, way in ways.items():
            over = trio.Event()
            begun = time.perf_counter()
            way(over.set)
            latencies, elapsed = await measured(node, over.is_set)
            took = time.perf_counter() - begun
            progress(f"{name}: {size_bytes / MEGABYTE / took:.0f} MB/s")
            rows.append(row(f"commit, {name}", 1, latencies, elapsed, None))
        rows.append(await received(node))
        node.close()
    return rows


async def received(node: Node) -> Row:
    """One copy, through chunks in memory, to a staged state that is synced and checked."""
    made: Promise[Any] = Promise()
    node.state.snapshot(made.set)
    copy = await made.wait()
    incoming = IncomingSnapshot(node.disk, TWO, 1, node.state_worker)
    latencies = []
    begun = time.perf_counter()
    offset = await answer(incoming.begin, copy.image)
    while offset < copy.image.size_bytes:
        start = time.perf_counter()
        chunk = await answer(copy.read_chunk, offset, CHUNK_BYTES)
        offset = await answer(incoming.write_chunk, chunk.offset, chunk.data, chunk.checksum)
        latencies.append(time.perf_counter() - start)
    assert await answer(incoming.finish) is None
    elapsed = time.perf_counter() - begun
    await answer(incoming.discard)
    copy.discard()
    progress(f"received: {copy.image.size_bytes / MEGABYTE / elapsed:.0f} MB/s")
    return row("chunk of 256 KiB received", 1, latencies, elapsed, None)


async def answer(call: Callable[..., None], *arguments: Any) -> Any:
    told: Promise[Any] = Promise()
    call(*arguments, told.set)
    return await told.wait()


async def compaction(directory: Path, chosen: Options) -> list[Row]:
    count = 100_000 if chosen.quick else 1_000_000
    with opened(directory) as disk:
        store = LogStore.open(disk)
        filled_log(store, ONE, count)
        store.close()
        rows = [started("start, nothing compacted", disk, count)]
        node = Node(disk)
        node.store.recover(ONE, count, 0)
        latencies, elapsed = await measured(node, for_seconds(2))
        rows.append(row("commit, nothing else", 1, latencies, elapsed, None))
        kept = count - 1000
        node.writer.compact(ONE, kept)
        latencies, elapsed = await measured(
            node, lambda: node.writer.size(ONE).data_bytes <= 1000 * len(DATA)
        )
        progress(f"{kept} entries compacted in {elapsed:.1f} s")
        rows.append(row("commit, log is compacted", 1, latencies, elapsed, None))
        node.close()
        rows.append(started("start, all but 1000 compacted", disk, count))
    return rows


def started(name: str, disk: DirectoryDisk, applied: int) -> Row:
    """Open the log and recover a group whose state is at the end of it."""
    begun = time.perf_counter()
    store = LogStore.open(disk)
    store.recover(ONE, applied, 0)
    elapsed = time.perf_counter() - begun
    store.close()
    return row(name, 1, [elapsed], elapsed, None)


def main() -> None:
    chosen = options(__doc__ or "")
    with tempfile.TemporaryDirectory(prefix="flowactor-bench-") as name:
        directory = Path(name)
        bare = [bare_fdatasync(directory, 2)]
        rows = trio.run(copies, directory / "copies", chosen)
        rows += trio.run(compaction, directory / "compaction", chosen)
    rows = [attrs.evolve(line, ratio=line.per_second / bare[0].per_second) for line in rows]
    report("bench_storage", "outstanding", bare + rows, chosen)


if __name__ == "__main__":
    main()
