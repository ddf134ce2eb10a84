"""How long a node takes to serve again: after a restart, by the length of its past and by its open
runs; and after an absence for which the log does not reach, by the size of the state.

A restart is timed from the opening of the data directory to the first linearizable read. A catch-up
is timed by the follower: from the first word of the leader's copy until it works with it. All nodes
are in this process, over in-memory links, with real files; so both ends share one interpreter.

    python benchmarks/bench_recovery.py [--quick] [--json]
    python benchmarks/bench_recovery.py --large      up to 10^6 entries, 10^5 runs, 1 GB

``--large`` takes an hour.
"""

import argparse
import json
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import trio
from common import machine, progress, versions
from rich.console import Console
from rich.table import Table

import flowactor as fa
from flowactor.cluster.compaction import Compaction
from flowactor.observability.events import ObservedEvent, SnapshotInstalled, SnapshotReceived
from flowactor.transport import MemoryNetwork, MemoryTransport

EAGER = Compaction(entries_max=50, trailing_entries=10, held_times_max=1, cache_bytes_max=0)
VALUE_BYTES = 100_000
MEGABYTE = 1_000_000
AT_ONCE = 200
DEADLINE_SECONDS = 120


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
class Line:
    """``size`` is of what is in the first column; ``rate`` in MB/s where bytes travel."""

    what: str
    size: int
    seconds: float
    rate: float | None = None


class Place:
    """Where nodes live: their links, their folders, and what they tell."""

    def __init__(self, folder: Path, size: int, compaction: Compaction) -> None:
        self.told: list[tuple[float, str, ObservedEvent]] = []
        self._folder = folder
        self._network = MemoryNetwork()
        self._compaction = compaction
        self.addresses = tuple(f"memory:{number}" for number in range(1, size + 1))

    def node(self, address: str) -> fa.Node:
        config = fa.NodeConfig(
            data=self._folder / address.replace(":", "-"),
            listen=address,
            peers=self.addresses,
            bootstrap=True,
            insecure=True,
            on_event=lambda event: self.told.append((time.perf_counter(), address, event)),
        )
        transport = MemoryTransport(self._network, address)
        return fa.Node(APP, config, fa.World(transport=transport, compaction=self._compaction))

    def moment(self, address: str, kind: type) -> float | None:
        """When this node first told of such an event."""
        moments = [at for at, of, event in self.told if of == address and isinstance(event, kind)]
        return moments[0] if moments else None


@asynccontextmanager
async def serving(node: fa.Node) -> AsyncIterator[fa.Node]:
    """The node, once it can answer a read."""
    async with node:
        await node.group.barrier(DEADLINE_SECONDS)
        yield node


async def each(count: int, act: object) -> None:
    """``act(number)`` for so many numbers, some at a time."""
    limit = trio.CapacityLimiter(AT_ONCE)

    async def one(number: int) -> None:
        async with limit:
            await act(number)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)


async def restart(entries: int, runs: int) -> Line:
    """One node with such a past, started again."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), 1, Compaction())
        async with serving(place.node(place.addresses[0])) as node:
            variable = node.client.variable("past", int)
            for number in range(entries):
                await variable.set(number)
            if runs:
                await each(runs, lambda number: node.client.start(Waits.run, id=f"run {number}"))
        begun = time.perf_counter()
        async with serving(place.node(place.addresses[0])):
            seconds = time.perf_counter() - begun
    what = "restart, entries" if entries else "restart, open runs"
    return Line(what, entries or runs, seconds)


async def catch_up(megabytes: int) -> Line:
    """A third node comes back to a state of such a size."""
    count = max(megabytes * MEGABYTE // VALUE_BYTES, 100)
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), 3, EAGER)
        first, second, third = (place.node(address) for address in place.addresses)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(first)
            await stack.enter_async_context(second)
            async with serving(third):
                pass
            data = bytes(VALUE_BYTES // 2).hex()
            for number in range(count):
                await first.client.variable(f"value {number}", str).set(data)
            await trio.sleep(1)
            place.told.clear()
            address = place.addresses[2]
            begun = time.perf_counter()
            async with place.node(address):
                with trio.fail_after(DEADLINE_SECONDS + megabytes):
                    while place.moment(address, SnapshotInstalled) is None:  # noqa: ASYNC110
                        await trio.sleep(0.005)
        came = place.moment(address, SnapshotReceived) or begun
        installed = place.moment(address, SnapshotInstalled) or begun
        (size_bytes, *_) = (
            event.size_bytes for _, _, event in place.told if isinstance(event, SnapshotReceived)
        )
    rate = size_bytes / MEGABYTE / (installed - came)
    return Line("catch-up, MB of state", size_bytes // MEGABYTE, installed - came, rate)


def report(lines: list[Line], *, as_json: bool) -> None:
    if as_json:
        rows = [attrs.asdict(line) for line in lines]
        facts = {"benchmark": "recovery", "machine": machine(), "versions": versions()}
        print(json.dumps(facts | {"rows": rows}))
        return
    table = Table(title="Recovery")
    for heading in ("", "size", "seconds", "MB/s"):
        table.add_column(heading, justify="right" if heading else "left")
    for line in lines:
        rate = "" if line.rate is None else f"{line.rate:.0f}"
        table.add_row(line.what, f"{line.size:,}", f"{line.seconds:.3f}", rate)
    Console().print(table)


async def main(entries: list[int], runs: list[int], megabytes: list[int], *, as_json: bool) -> None:
    lines: list[Line] = []
    for count in entries:
        progress(f"restart after {count:,} entries")
        lines.append(await restart(count, 0))
    for count in runs:
        progress(f"restart with {count:,} open runs")
        lines.append(await restart(0, count))
    for size in megabytes:
        progress(f"catch-up with {size:,} MB")
        lines.append(await catch_up(size))
    report(lines, as_json=as_json)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="How long a node takes to serve again.")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--quick", action="store_true", help="under 40 seconds")
    parser.add_argument("--large", action="store_true", help="an hour")
    chosen = parser.parse_args()
    powers = 3 if chosen.quick else 6 if chosen.large else 4
    trio.run(
        lambda: main(
            [10**power for power in range(3, powers + 1)],
            [10**power for power in range(2, powers)],
            [10] if chosen.quick else [10, 100, 1000] if chosen.large else [10, 100],
            as_json=chosen.json,
        )
    )
