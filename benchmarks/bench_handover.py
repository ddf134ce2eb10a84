"""Hand-over: how long a run stands still when the process that owns it is killed with ``kill -9``.

Three processes; a run executes a step every 20 ms, each writes its time into a file. The owner is
killed, and what counts is the time from the kill to the next execution of a step, anywhere.

    python benchmarks/bench_handover.py [--quick] [--json]
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs
from common import Row, leader_of, members, options, progress, report, row
from member import member_main

import flowactor as fa
from flowactor.limits import OWNER_LEASE_SECONDS


@fa.step
async def beat(path: str) -> None:
    with Path(path).open("a") as file:  # noqa: ASYNC230  # one short line, appended whole
        file.write(f"{os.getpid()} {time.monotonic()}\n")


@fa.workflow
class Beats:
    """A heart that beats until it is told to stop."""

    async def run(self, path: str) -> None:
        while True:
            await beat(path)
            await fa.sleep(0.02)


async def start(node: fa.Node, order: dict[str, Any]) -> dict[str, Any]:
    await node.client.start(Beats.run, order["path"])
    return {}


def beats(path: Path) -> list[tuple[int, float]]:
    if not path.exists():
        return []
    lines = [line.split() for line in path.read_text().splitlines()]
    return [(int(process), float(at)) for process, at in lines]


def waited(path: Path, condition: Any) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := condition(beats(path)):
            return found
        time.sleep(0.02)
    raise SystemExit("the run does not go on")


def hand_over(script: str, *, leader_too: bool) -> float:
    """Seconds without a step after the kill of the owner: the leader, or a follower."""
    with tempfile.TemporaryDirectory() as folder, members(script, 3) as cluster:
        path = Path(folder) / "beats"
        leader = leader_of(cluster)
        owner = leader if leader_too else next(m for m in cluster if m is not leader)
        owner.ask(order="start", path=str(path))
        waited(path, lambda seen: len(seen) >= 10)
        owner.process.kill()
        killed = time.monotonic()
        process = owner.process.pid
        return (
            waited(path, lambda seen: [at for who, at in seen if who != process and at > killed])[0]
            - killed
        )


def main() -> None:
    chosen = options(__doc__ or "")
    rows: list[Row] = []
    for leader_too, name in ((False, "owner, a follower"), (True, "owner, the leader too")):
        seconds = []
        for number in range(2 if chosen.quick else 10):
            progress(f"{name} killed, {number + 1} ...")
            seconds.append(hand_over(__file__, leader_too=leader_too))
        line = row(f"{name}, lease {OWNER_LEASE_SECONDS:g} s", 1, seconds, sum(seconds), None)
        rows.append(attrs.evolve(line, ratio=line.p50_ms / 1000 / OWNER_LEASE_SECONDS))
    report("bench_handover", "runs", rows, chosen, ratio_name="x lease")


if __name__ == "__main__":
    if "--member" in sys.argv:
        member_main(fa.App([Beats]), {"start": start})
    else:
        main()
