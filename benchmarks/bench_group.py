"""Durable commits per second and their latency: one group, three processes, this machine.

A commit is one write of a replicated variable by a client inside the leader's process: through a
session, the log of all three nodes (durable on a majority), the state machine of all three, and
back.

    python benchmarks/bench_group.py [--quick] [--json]
"""

import sys
from typing import Any

import attrs
from common import (
    Row,
    bare_limits,
    leader_of,
    measured_cpu,
    members,
    options,
    progress,
    report,
    row,
)
from member import member_main, timed_loop

import flowactor as fa

LOADS = (1, 16, 64, 256, 1024)


async def write(node: fa.Node, order: dict[str, Any]) -> dict[str, Any]:
    """Keep ``load`` writes outstanding for ``seconds``."""
    variables = [node.client.variable(f"v{number}", int) for number in range(order["load"])]
    return await timed_loop(
        order["load"], order["seconds"], lambda number: variables[number].set(number)
    )


def main() -> None:
    chosen = options(__doc__ or "")
    seconds = 2.0 if chosen.quick else 8.0
    bare = bare_limits(seconds / 2)
    rows: list[Row] = []
    with members(__file__, 3) as cluster:
        leader = leader_of(cluster)
        leader.ask(order="write", load=64, seconds=1.0)
        for load in LOADS:
            progress(f"{load} outstanding ...")
            answer, cpu = measured_cpu(
                cluster, lambda load=load: leader.ask(order="write", load=load, seconds=seconds)
            )
            line = row("commit, three processes", load, answer["latencies"], answer["elapsed"], cpu)
            rows.append(attrs.evolve(line, ratio=line.per_second / bare[0].per_second))
    report("bench_group", "outstanding", bare + rows, chosen)


if __name__ == "__main__":
    if "--member" in sys.argv:
        member_main(fa.App([]), {"write": write})
    else:
        main()
