"""Workflows of trivial steps: runs and steps per second, latency per step, on one node and on
three.

Every step is durable: scheduled, executed and recorded through the log of a majority before the
next begins. Clients are inside the nodes' processes; at concurrency 32 they are spread over all
nodes.

    python benchmarks/bench_workflow.py [--quick] [--json]
"""

import sys
import time
from typing import Any

import attrs
from common import (
    Member,
    Row,
    bare_limits,
    leader_of,
    measured_cpu,
    members,
    options,
    progress,
    report,
    row,
    spread,
)
from member import member_main, timed_loop

import flowactor as fa

STEPS = (1, 5, 10)
CONCURRENCY = (1, 32)
CLUSTERS = ((1, "one node"), (3, "three nodes"))


@fa.step
async def add_one(number: int) -> int:
    return number + 1


@fa.workflow
class Chain:
    """So many steps, one after another."""

    async def run(self, steps: int) -> int:
        number = 0
        for _ in range(steps):
            number = await add_one(number)
        return number


async def run_chains(node: fa.Node, order: dict[str, Any]) -> dict[str, Any]:
    """Keep ``load`` runs going for ``seconds``."""

    async def one_run(_: int) -> None:
        assert await node.client.execute(Chain.run, order["steps"]) == order["steps"]

    return await timed_loop(order["load"], order["seconds"], one_run)


def drive(
    cluster: list[Member], leader: Member, steps: int, load: int, seconds: float
) -> dict[str, Any]:
    """One client at the leader, or many spread evenly over all nodes."""
    drivers = [leader] if load < len(cluster) else cluster
    return spread(drivers, load, order="run", steps=steps, seconds=seconds)


def measure(size: int, where: str, seconds: float) -> list[Row]:
    """Steps are what is counted; the latency is a run's, divided by its steps."""
    rows = []
    with members(__file__, size) as cluster:
        leader = leader_of(cluster)
        drive(cluster, leader, 5, 8, 1.0)
        for load in CONCURRENCY:
            for steps in STEPS:
                progress(f"{where}, concurrency {load}, {steps} steps ...")
                answer, cpu = measured_cpu(
                    cluster,
                    lambda load=load, steps=steps: drive(cluster, leader, steps, load, seconds),
                )
                line = row(
                    f"{where}, runs of {steps}", load, answer["latencies"], answer["elapsed"], cpu
                )
                rows.append(line)
                per_step = [latency / steps for latency in answer["latencies"]]
                line = row(
                    f"{where}, steps in runs of {steps}", load, per_step, answer["elapsed"], cpu
                )
                cpu_us = None if line.cpu_us_per_op is None else line.cpu_us_per_op / steps
                rows.append(
                    attrs.evolve(line, per_second=line.per_second * steps, cpu_us_per_op=cpu_us)
                )
    return rows


def idle(seconds: float) -> Row:
    """What three nodes cost that have nothing to do: CPU per second of one node, in
    microseconds.
    """
    with members(__file__, 3) as cluster:
        leader_of(cluster)
        progress("three idle nodes ...")
        _, cpu = measured_cpu(cluster, lambda: time.sleep(seconds))
    return Row(
        "three idle nodes, CPU us per node and second", 0, 0.0, 0.0, 0.0, cpu * 1e6 / seconds / 3
    )


def main() -> None:
    chosen = options(__doc__ or "")
    seconds = 1.0 if chosen.quick else 6.0
    bare = bare_limits(seconds / 2)
    rows = [line for size, where in CLUSTERS for line in measure(size, where, seconds)]
    rows = [attrs.evolve(line, ratio=line.per_second / bare[0].per_second) for line in rows]
    rows.append(idle(5.0 if chosen.quick else 20.0))
    report("bench_workflow", "concurrency", bare + rows, chosen)


if __name__ == "__main__":
    if "--member" in sys.argv:
        member_main(fa.App([Chain]), {"run": run_chains})
    else:
        main()
