"""A member that was away while the others went on: how long until it has what they have, under
load, and until it leads.

Three processes. One ends; the log grows by so many entries; it starts again while another keeps
writing. If what it missed is in no log any more, it gets a copy of the state. Times are counted
from when its process is ready, which is before it is connected.

    python benchmarks/bench_absence.py [--quick] [--json]

An entry needs a turn of the leader and a sync, so a log grows by some hundreds of them a second:
the row of 100,000 takes minutes.
"""

import json
import sys
import time
from itertools import count
from typing import Any

import attrs
import trio
from common import Member, leader_of, machine, members, options, progress, versions
from member import member_main
from rich.console import Console
from rich.table import Table

import flowactor as fa
from flowactor.observability.events import ObservedEvent, SnapshotReceived

VALUE_BYTES = 200
NAMES = 20_000
"""So many variables there are: 4 MB of values."""
OUTSTANDING = 8
"""An entry holds what was waiting together: more would make larger entries, and fewer."""
LOAD_SECONDS = 10.0
ENTRIES_BETWEEN_WORDS = 10_000


@attrs.frozen
class Line:
    """``copied_mb`` is 0 if entries did. ``writes_per_second`` went on meanwhile."""

    missed: int
    copied_mb: float
    back_seconds: float
    lead_seconds: float
    writes_per_second: float


async def write(node: fa.Node, order: dict[str, Any]) -> dict[str, Any]:
    """Write until there are so many more entries, or for so many seconds."""
    numbers, begun = count(), time.perf_counter()
    stop_index = node.group.applied + order["entries"]
    stop_at = begun + order["seconds"]

    async def work() -> None:
        while node.group.applied < stop_index and time.perf_counter() < stop_at:
            number = next(numbers)
            name = f"variable {number % NAMES}"
            await node.client.variable(name, str).set(f"{number:0{VALUE_BYTES}}")

    async with trio.open_nursery() as nursery:
        for _ in range(OUTSTANDING):
            nursery.start_soon(work)
    return {"writes": next(numbers), "seconds": time.perf_counter() - begun}


class Copies:
    """What of states has come to this process, in bytes; of a copy it counts once."""

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}

    def observe(self, event: ObservedEvent) -> None:
        if isinstance(event, SnapshotReceived):
            self.sizes[event.index] = event.size_bytes

    async def where(self, node: fa.Node, _: dict[str, Any]) -> dict[str, Any]:
        return {"applied": node.group.applied, "copied": sum(self.sizes.values())}


async def lead(node: fa.Node, _: dict[str, Any]) -> dict[str, Any]:
    await node.client.cluster.transfer(1, node.node_id)
    return {"leads": node.group.is_leader}


def absence(all_members: list[Member], missed: int) -> Line:
    leader = leader_of(all_members)
    away, other = [member for member in all_members if member is not leader]
    away.end()
    for written in range(0, missed, ENTRIES_BETWEEN_WORDS):
        progress(f"{written:,} of {missed:,} entries ...")
        more = min(ENTRIES_BETWEEN_WORDS, missed - written)
        leader.ask(order="write", entries=more, seconds=3600)
    other.send(order="write", entries=10**9, seconds=LOAD_SECONDS)
    away.start_again()
    away.answer()
    target = leader.ask(order="where")["applied"]
    begun = time.perf_counter()
    while (reached := away.ask(order="where"))["applied"] < target:
        time.sleep(0.02)
    back = time.perf_counter() - begun
    asked = time.perf_counter()
    assert away.ask(order="lead")["leads"]
    led = time.perf_counter() - asked
    load = other.answer()
    return Line(missed, reached["copied"] / 1e6, back, led, load["writes"] / load["seconds"])


def main() -> None:
    chosen = options(__doc__ or "")
    lines = []
    for missed in (100, 10_000) if chosen.quick else (1_000, 10_000, 100_000):
        with members(__file__, 3) as all_members:
            lines.append(absence(all_members, missed))
            progress(f"{lines[-1]}")
    if chosen.json:
        rows = [attrs.asdict(line) for line in lines]
        about = {"benchmark": "bench_absence", "machine": machine(), "versions": versions()}
        print(json.dumps({**about, "rows": rows}))
        return
    table = Table(title="bench_absence")
    for heading in (
        "entries missed",
        "copied MB",
        "back after s",
        "leads after s",
        "writes/s meanwhile",
    ):
        table.add_column(heading, justify="right")
    for line in lines:
        table.add_row(
            f"{line.missed:,}",
            f"{line.copied_mb:.1f}",
            f"{line.back_seconds:.2f}",
            f"{line.lead_seconds:.2f}",
            f"{line.writes_per_second:,.0f}",
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)


if __name__ == "__main__":
    if "--member" in sys.argv:
        copies = Copies()
        orders = {"write": write, "where": copies.where, "lead": lead}
        member_main(fa.App([]), orders, copies.observe)
    else:
        main()
