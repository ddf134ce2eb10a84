"""Many execution groups on three nodes: what they do together, and what they cost idle.

Commits and runs of five steps, as in ``bench_group.py`` and ``bench_workflow.py``, by clients
inside all three processes; variables and runs are spread over the groups by their names. Every
group is on all three nodes, and each has the leader that it happened to elect. On a machine with
fewer cores than nodes, groups share what one group had.

    python benchmarks/bench_groups.py [--quick] [--json]
"""

import sys
import time
from typing import Any

import attrs
import trio
from bench_workflow import Chain, run_chains
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
from flowactor.limits import SLOTS
from flowactor.management.operations import ChangeSettings

NODES = 3
COMMITS_OUTSTANDING = (16, 256)
RUNS_AT_ONCE = 32
STEPS = 5
PATIENCE_SECONDS = 300


async def write(node: fa.Node, order: dict[str, Any]) -> dict[str, Any]:
    """Keep ``load`` writes outstanding for ``seconds``, of as many variables."""
    variables = [
        node.client.variable(f"v{node.node_id}-{number}", int) for number in range(order["load"])
    ]
    return await timed_loop(
        order["load"], order["seconds"], lambda number: variables[number].set(number)
    )


async def grow(node: fa.Node, order: dict[str, Any]) -> dict[str, Any]:
    """Split until there are so many groups, and wait until all serve; with ``even``, until each has
    its share of the slots.
    """
    client, groups = node.client, order["groups"]
    with trio.fail_after(PATIENCE_SECONDS):
        await client.manage(
            ChangeSettings((("balanced", int(order["even"])), ("slots_per_move", SLOTS)))
        )
        present = len((await client.status()).placements)
        for _ in range(groups - present):
            await client.cluster.split(1)
        while not await _have_grown(client, groups, even=order["even"]):  # noqa: ASYNC110
            await trio.sleep(0.2)
    leads = [group.is_leader for group in node.groups.values()]
    return {"groups": len(leads), "leads": sum(leads)}


async def _have_grown(client: fa.Client, groups: int, *, even: bool) -> bool:
    view = await client.status()
    ready = [shown for shown in view.placements if len(shown.voters) == NODES]
    slots = [shown.slots for shown in view.placements]
    is_even = not view.moves and max(slots) - min(slots) <= 1
    return len(ready) == groups and (is_even or not even)


def busy(cluster: list[Member], groups: int, seconds: float) -> list[Row]:
    rows = []
    for load in COMMITS_OUTSTANDING:
        progress(f"{groups} groups, {load} commits outstanding ...")
        answer, cpu = measured_cpu(
            cluster, lambda load=load: spread(cluster, load, order="write", seconds=seconds)
        )
        name = f"commit, {groups} groups"
        rows.append(row(name, load, answer["latencies"], answer["elapsed"], cpu))
    progress(f"{groups} groups, {RUNS_AT_ONCE} runs at once ...")
    answer, cpu = measured_cpu(
        cluster, lambda: spread(cluster, RUNS_AT_ONCE, order="run", steps=STEPS, seconds=seconds)
    )
    per_step = [latency / STEPS for latency in answer["latencies"]]
    line = row(f"step, {groups} groups", RUNS_AT_ONCE, per_step, answer["elapsed"], cpu / STEPS)
    return [*rows, attrs.evolve(line, per_second=line.per_second * STEPS)]


def idle(cluster: list[Member], groups: int, seconds: float) -> Row:
    """CPU per second of one node, in microseconds."""
    progress(f"{groups} idle groups ...")
    _, cpu = measured_cpu(cluster, lambda: time.sleep(seconds))
    name = f"{groups} idle groups, CPU us per node and second"
    return Row(name, 0, 0.0, 0.0, 0.0, cpu * 1e6 / seconds / NODES)


def main() -> None:
    chosen = options(__doc__ or "")
    seconds = 2.0 if chosen.quick else 8.0
    bare = bare_limits(seconds / 4)
    rows: list[Row] = []
    with members(__file__, NODES) as cluster:
        leader_of(cluster)
        for groups in (1, 4) if chosen.quick else (1, 4, 16):
            cluster[0].ask(order="grow", groups=groups, even=True)
            rows += busy(cluster, groups, seconds)
    rows = [attrs.evolve(line, ratio=line.per_second / bare[0].per_second) for line in rows]
    with members(__file__, NODES) as cluster:
        leader_of(cluster)
        for groups in (1, 10) if chosen.quick else (1, 10, 100):
            cluster[0].ask(order="grow", groups=groups, even=False)
            time.sleep(seconds)
            rows.append(idle(cluster, groups, 5.0 if chosen.quick else 30.0))
    report("bench_groups", "at once", bare + rows, chosen)


if __name__ == "__main__":
    if "--member" in sys.argv:
        member_main(fa.App([Chain]), {"grow": grow, "write": write, "run": run_chains})
    else:
        main()
