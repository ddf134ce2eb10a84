"""A cluster whose nodes come and go, and orders that keep it busy meanwhile."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import trio
from attrs import Factory, define

import flowactor as fa
from flowactor.cluster.protocol.views import ClusterView
from tests.processes.cluster import ASK_SECONDS, Cluster, assert_recorded_once
from tests.processes.flows import STEPS, Journey, expected_total
from tests.processes.outside import moment

CHANGE_SECONDS = 60.0
"""For a change of the cluster to be done, with processes that are killed meanwhile."""
LANES = 3
"""Clients that order one thing after another."""


class GrowingCluster(Cluster):
    """Up to ``size`` nodes: number 1 founds the cluster alone, others join it, through any nodes.
    Numbers are those of the processes; ``node_id`` tells which node a process is.
    """

    def _options(self, data: Path, address: str, app: str) -> list[str]:
        how = ["--bootstrap"] if address == self.addresses[1] else ["--join", self.addresses[1]]
        return ["--listen", address, "--data", str(data), *how, "--app", app]

    def node_id(self, number: int) -> int:
        return int(str(self.nodes[number].ready["node"]))

    def number(self, node_id: int) -> int:
        """Which process a node is."""
        alive = (number for number, node in self.nodes.items() if node.is_alive)
        return next(number for number in alive if self.node_id(number) == node_id)

    def alive(self) -> list[int]:
        return [number for number, node in self.nodes.items() if node.is_alive]

    def restart(self, number: int) -> None:
        """Kill -9, and start again on the same data."""
        self.nodes[number].kill()
        self.start(number)

    async def until_like(
        self, client: fa.Client, what: str, condition: Callable[[ClusterView], object]
    ) -> ClusterView:
        """Wait until the cluster is like that; returns how."""
        with self.awaiting(what, CHANGE_SECONDS):
            while not condition(view := await client.status()):
                await moment(ASK_SECONDS)
        return view

    async def until_size(self, client: fa.Client, size: int) -> ClusterView:
        """Wait until there are so many nodes, and their groups have the voters to show for it."""

        def has_size(view: ClusterView) -> bool:
            nodes = {node.node for node in view.nodes}
            management = view.groups[0]
            return (
                len(nodes) == size
                and all(node.state == "member" for node in view.nodes)
                and set(management.voters) == nodes  # of an odd number up to five, all vote
                and all(
                    len(group.voters) >= min(3, size)
                    and set(group.voters) == {*group.members, *group.learners}
                    for group in view.placements
                )
            )

        return await self.until_like(client, f"{size} nodes, settled", has_size)


@define(eq=False)
class Orders:
    """What was ordered while the block of ``orders`` went on.

    Attributes:
        ended: workflow ids whose result came.
        troubles: errors that a caller saw, and outlived by asking again.
    """

    cluster: Cluster
    ended: list[str] = Factory(list)
    troubles: list[fa.FlowactorError] = Factory(list)
    stopping: bool = False

    async def one_after_another(self, client: fa.Client, lane: int) -> None:
        for number in count(1):
            if self.stopping:
                return
            name = f"order-{lane}-{number}"
            while True:
                try:
                    assert await client.execute(Journey.run, STEPS, [], id=name) == TOTAL
                    break
                except fa.WorldError as error:
                    self.troubles.append(error)
            self.ended.append(name)

    async def more(self, runs: int) -> None:
        """Wait until so many more have ended: work goes on."""
        wanted = len(self.ended) + runs
        await self.cluster.until(f"{runs} more orders", lambda: len(self.ended) >= wanted)

    async def check(self, client: fa.Client) -> None:
        """Nothing was lost, and nothing was recorded or executed more often than it may be."""
        names = [f"advance#{number}" if number else "advance" for number in range(STEPS)]
        page = await client.list(type=Journey, limit=1000)
        assert {view.workflow_id for view in page.runs} == set(self.ended)
        assert {view.status for view in page.runs} == {fa.RunStatus.COMPLETED}
        for name in self.ended:
            run = client.get_handle(name, result_type=int)
            assert await assert_recorded_once(self.cluster, run) == names
            assert await run.result() == TOTAL


TOTAL = expected_total(STEPS)


@asynccontextmanager
async def orders(cluster: Cluster, lanes: int = LANES) -> AsyncIterator[Orders]:
    """Orders from so many clients while the block goes on; its end waits for those under way."""
    load = Orders(cluster)
    async with cluster.client() as client, trio.open_nursery() as nursery:
        for lane in range(1, lanes + 1):
            nursery.start_soon(load.one_after_another, client, lane)
        yield load
        load.stopping = True
