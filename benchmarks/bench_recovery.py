"""How long a node takes to serve again after a restart, and a new one to have all that it has, by
the length of the past, by the open runs, and by the size of the state.

A restart is timed from the opening of the data directory to the first linearizable read, and to the
moment from which the node performs its runs again. A catch-up is timed at the newcomer: from its
replica being there until it has applied what the other had; the rate, from the first word of the
other's copy until it works with it. Both nodes are in this process, over in-memory links, with real
files; so the two ends of a catch-up share one interpreter. The past is written through log, machine
and state store without a node.

    python benchmarks/bench_recovery.py [--quick] [--json]
    python benchmarks/bench_recovery.py --large      up to 10^6 entries, 10^5 runs, 1 GB

``--large`` takes a quarter of an hour.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import trio
from common import Row, bare_limits, machine, progress, row, versions
from past import GROUP, NODE, past
from rich.console import Console
from rich.table import Table

import flowactor as fa
from flowactor.cluster.group.compaction import Compaction
from flowactor.limits import LOG_ENTRIES_MAX, SNAPSHOT_CHUNK_BYTES
from flowactor.observability.events import ObservedEvent, SnapshotInstalled, SnapshotReceived
from flowactor.transport import MemoryNetwork, MemoryTransport

VALUE_BYTES = 100_000
NAMES = 1000
MEGABYTE = 1_000_000
DEADLINE_SECONDS = 120
WRITTEN_BYTES = 128 * 1024 * 1024
GLANCE_SECONDS = 0.005


@fa.workflow(version=1)
class Waits:
    def __init__(self) -> None:
        self.gone = False

    @fa.signal
    def go(self) -> None:
        self.gone = True

    async def run(self) -> None:
        await fa.wait_condition(lambda: self.gone)


APP = fa.App([Waits])


@attrs.frozen
class Case:
    """A past: so many writes of small variables, open runs of two entries each, and so much data in
    large variables.
    """

    writes: int = 0
    runs: int = 0
    megabytes: int = 0


@attrs.frozen
class Line:
    """``transfer`` is the state that was sent, and the seconds it took; None if the log brought the
    newcomer on.
    """

    entries: int
    runs: int
    restart_seconds: float
    performs_seconds: float
    performs_cpu_seconds: float
    catch_up_seconds: float
    transfer: "Transfer | None"


@attrs.frozen
class Transfer:
    megabytes: float
    seconds: float


class Place:
    """Where nodes live: their links, their folders, and what they tell."""

    def __init__(self, folder: Path) -> None:
        self.transfer: Transfer | None = None
        self._arriving: tuple[int, float] | None = None
        self._folder = folder
        self._network = MemoryNetwork()

    def data(self, number: int) -> Path:
        return self._folder / str(number)

    def node(self, number: int) -> fa.Node:
        """The founder is number 1; others join it."""
        config = fa.NodeConfig(
            data=self.data(number),
            listen=f"memory:{number}",
            bootstrap=number == 1,
            join=() if number == 1 else ("memory:1",),
            insecure=True,
            on_event=self._observe,
        )
        transport = MemoryTransport(self._network, f"memory:{number}")
        return fa.Node(APP, config, fa.World(transport=transport))

    def _observe(self, event: ObservedEvent) -> None:
        if isinstance(event, SnapshotReceived) and event.group == GROUP and not event.offset:
            self._arriving = event.size_bytes, time.perf_counter()
        elif isinstance(event, SnapshotInstalled) and event.group == GROUP and self._arriving:
            size_bytes, begun = self._arriving
            self.transfer = Transfer(size_bytes / MEGABYTE, time.perf_counter() - begun)


@asynccontextmanager
async def serving(node: fa.Node) -> AsyncIterator[fa.Node]:
    """The node, once it can answer a read."""
    async with node:
        await node.group.barrier(DEADLINE_SECONDS)
        yield node


def fill(directory: Path, case: Case) -> None:
    with past(directory, Compaction()) as written:
        definition = APP.find("Waits", 1)
        assert definition is not None
        written.start_runs(case.runs, definition)
        written.write_variables("large", case.megabytes * MEGABYTE // VALUE_BYTES, VALUE_BYTES)
        written.write_variables("small", case.writes, 8, names=NAMES)


async def joined(place: Place, stack: AsyncExitStack) -> fa.Node:
    """A new node, let in by a founder that may be too busy at first."""
    deadline = trio.current_time() + DEADLINE_SECONDS
    while True:
        try:
            return await stack.enter_async_context(place.node(2))
        except fa.Unavailable as error:
            if trio.current_time() > deadline:
                raise
            progress(f"{error} ...")


async def catch_up(place: Place, founder: fa.Node) -> float:
    """Seconds that a new node takes to have what the founder has now."""
    target = founder.group.applied
    async with AsyncExitStack() as stack:
        newcomer = await joined(place, stack)
        with trio.fail_after(DEADLINE_SECONDS):
            while GROUP not in newcomer.groups:  # noqa: ASYNC110
                await trio.sleep(GLANCE_SECONDS)
            begun = time.perf_counter()
            while newcomer.group.applied < target:  # noqa: ASYNC110
                await trio.sleep(GLANCE_SECONDS)
        return time.perf_counter() - begun


async def announced(node: fa.Node, before: str = "") -> str:
    """Under what name the founder's process is known to the group, once it is another one."""
    while True:
        known = node.group.machine.nodes.get(NODE)
        if known is not None and known.incarnation != before:
            return known.incarnation
        await trio.sleep(GLANCE_SECONDS)


async def recover(case: Case) -> Line:
    with tempfile.TemporaryDirectory(prefix="flowactor-bench-") as folder:
        place = Place(Path(folder))
        async with serving(place.node(1)) as founder:
            incarnation = await announced(founder)
        fill(place.data(1), case)
        begun, cpu = time.perf_counter(), time.process_time()
        async with serving(place.node(1)) as founder:
            restarted = time.perf_counter() - begun
            assert len(founder.group.machine.runs) == case.runs
            await announced(founder, before=incarnation)
            performs, used = time.perf_counter() - begun, time.process_time() - cpu
            caught_up = await catch_up(place, founder)
            index = founder.group.applied
    return Line(index, case.runs, restarted, performs, used, caught_up, place.transfer)


def bare_disk() -> Row:
    """Chunks as a state is sent in, written and made durable at the end."""
    with tempfile.NamedTemporaryFile(prefix="flowactor-bench-", buffering=0) as file:
        latencies = []
        begun, cpu = time.perf_counter(), time.process_time()
        for _ in range(WRITTEN_BYTES // SNAPSHOT_CHUNK_BYTES):
            start = time.perf_counter()
            file.write(bytes(SNAPSHOT_CHUNK_BYTES))
            latencies.append(time.perf_counter() - start)
        os.fdatasync(file.fileno())
        elapsed, used = time.perf_counter() - begun, time.process_time() - cpu
    name = f"bare disk, {WRITTEN_BYTES / MEGABYTE / elapsed:,.0f} MB/s, each chunk"
    return row(name, 1, latencies, elapsed, used)


def report(bare: list[Row], lines: list[Line], *, as_json: bool) -> None:
    if as_json:
        rows = [attrs.asdict(line) for line in (*bare, *lines)]
        facts = {"benchmark": "bench_recovery", "machine": machine(), "versions": versions()}
        print(json.dumps(facts | {"rows": rows}))
        return
    limits = ", ".join(f"{line.name} {line.p50_ms:.3f} ms" for line in bare)
    table = Table(title="bench_recovery", caption=limits)
    headings = ["entries", "open runs", "serves s", "performs s", "CPU s", "catch-up s"]
    headings += ["state MB", "in s", "MB/s"]
    for heading in headings:
        table.add_column(heading, justify="right")
    for line in lines:
        sent = line.transfer
        table.add_row(
            f"{line.entries:,}",
            f"{line.runs:,}",
            f"{line.restart_seconds:.2f}",
            f"{line.performs_seconds:.2f}",
            f"{line.performs_cpu_seconds:.2f}",
            f"{line.catch_up_seconds:.2f}",
            f"{sent.megabytes:.1f}" if sent else "",
            f"{sent.seconds:.2f}" if sent else "",
            f"{sent.megabytes / sent.seconds:.0f}" if sent else "",
        )
    Console(width=110).print(table)


def cases(*, quick: bool, large: bool) -> list[Case]:
    powers = 4 if quick else 6 if large else 5
    sizes = [10] if quick else [10, 100, 1000] if large else [10, 100]
    return [
        *(Case(writes=10**power) for power in range(3, powers + 1)),
        *(Case(runs=10**power) for power in range(2, powers)),
        Case(writes=10**powers, runs=10 ** min(powers - 1, 4)),
        *(Case(writes=2 * LOG_ENTRIES_MAX, megabytes=size) for size in sizes),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="How long a node takes to serve again.")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--quick", action="store_true", help="under 40 seconds")
    parser.add_argument("--large", action="store_true", help="a quarter of an hour")
    chosen = parser.parse_args()
    bare = [*bare_limits(0.5 if chosen.quick else 2.0), bare_disk()]
    lines: list[Line] = []
    for case in cases(quick=chosen.quick, large=chosen.large):
        progress(f"{case} ...")
        lines.append(trio.run(recover, case))
        progress(f"{lines[-1]}")
    report(bare, lines, as_json=chosen.json)


if __name__ == "__main__":
    main()
