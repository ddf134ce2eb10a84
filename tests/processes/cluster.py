"""Three nodes as processes on loopback, and what a test asks of them."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import trio

import flowactor as fa
from flowactor.cli.demo_cluster import free_addresses
from flowactor.cluster.protocol.requests import RunView
from flowactor.cluster.protocol.views import ClusterView
from tests.processes.nodes import NodeProcess, Starter
from tests.processes.outside import FOLDER, Outside, moment

PATIENCE_SECONDS = 20.0
ASK_SECONDS = 0.02
"""Between two questions to a node: it has better things to do."""
APP = "tests.processes.flows:app"


class Cluster:
    """``size`` nodes, started by ``starter``; numbered from 1, as their node ids are."""

    def __init__(self, folder: Path, starter: Starter, size: int = 3) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.outside = Outside(folder)
        addresses = sorted(free_addresses(size))  # as the cluster itself numbers its founders
        self.addresses = dict(enumerate(addresses, start=1))
        self.nodes = {
            number: NodeProcess(
                self._options(folder / f"data-{number}", address, APP),
                folder / f"node-{number}.log",
                environment={FOLDER: str(folder)},
                starter=starter,
            )
            for number, address in self.addresses.items()
        }

    def _options(self, data: Path, address: str, app: str) -> list[str]:
        peers = ",".join(self.addresses.values())
        return ["--listen", address, "--peers", peers, "--data", str(data), "--app", app]

    # -- life -------------------------------------------------------------------------------------

    def start(self, *numbers: int, app: str | None = None) -> None:
        """Start these nodes (or all that are down), and wait until they serve."""
        chosen = [self.nodes[n] for n in numbers or self.nodes if not self.nodes[n].is_alive]
        for node in chosen:
            if app is not None:
                node.options = [*node.options[:-1], app]
            node.spawn()
        for node in chosen:
            node.wait_ready()

    def end(self, signal_number: int, *numbers: int) -> list[int]:
        """Send these nodes (or all) a signal that ends them, all at once; returns exit codes."""
        chosen = [self.nodes[n] for n in numbers or self.nodes]
        for node in chosen:
            node.send(signal_number)
        return [node.wait_end() for node in chosen]

    def close(self) -> None:
        """Leave no process behind."""
        for node in self.nodes.values():
            node.close()

    # -- asking -----------------------------------------------------------------------------------

    @asynccontextmanager
    async def client(self, *numbers: int, **options: float) -> AsyncIterator[fa.Client]:
        """A client of these nodes, or of all."""
        chosen = ",".join(self.addresses[number] for number in numbers or self.addresses)
        async with fa.connect(chosen, **options) as client:
            yield client

    @asynccontextmanager
    async def clients(self, *numbers: int) -> AsyncIterator[list[fa.Client]]:
        """One client for each of these nodes, or for each of all."""
        async with AsyncExitStack() as stack:
            chosen = numbers or self.addresses
            yield [await stack.enter_async_context(self.client(number)) for number in chosen]

    async def leader(self) -> int:
        """Which node leads, once all that live agree on one."""
        alive = [number for number, node in self.nodes.items() if node.is_alive]
        async with self.clients(*alive) as clients:
            with self.awaiting("one leader for all"):
                while True:
                    views = [await client.status() for client in clients]
                    leaders = {view.groups[0].leader for view in views}
                    if len(leaders) == 1 and leaders <= set(alive):
                        return leaders.pop()
                    await moment(ASK_SECONDS)
        raise AssertionError("a leader was found, or waiting failed")

    async def settle(self) -> int:
        """Bring all nodes up, wait until they follow one leader, have applied the same and can own
        runs. Returns the leader.
        """
        self.start()
        async with self.clients() as clients:

            def settled(views: list[ClusterView]) -> bool:
                groups = [view.groups[0] for view in views]
                return (
                    groups[0].leader in self.nodes
                    and len({(group.leader, group.term) for group in groups}) == 1
                    and len({group.applied_index for group in groups}) == 1
                    and all(node.reachable and node.workflows for v in views for node in v.nodes)
                )

            with self.awaiting("all nodes up, with one leader, in the same state"):
                while not settled(views := [await client.status() for client in clients]):
                    await moment(ASK_SECONDS)
        return views[0].groups[0].leader

    # -- waiting ----------------------------------------------------------------------------------

    @contextmanager
    def awaiting(self, what: str, seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
        """The block must end in this time, or the test fails with what the nodes said last."""
        with trio.move_on_after(seconds) as scope:
            yield
        if scope.cancelled_caught:
            logs = "\n".join(node.last_lines() for node in self.nodes.values())
            raise AssertionError(f"awaited for {seconds:g} s: {what}\n{logs}")

    async def until(self, what: str, condition: Callable[[], object]) -> None:
        """Look again and again until it is so."""
        with self.awaiting(what):
            while not condition():
                await moment()

    async def executed(self, workflow_id: str, step: str, times: int = 1) -> None:
        """Wait until a step's body has begun this often."""
        await self.until(
            f"execution {times} of {step} of {workflow_id}",
            lambda: len(self.outside.executions(workflow_id, step)) >= times,
        )

    async def until_seen(
        self,
        run: fa.WorkflowHandle[Any],
        what: str,
        condition: Callable[[RunView], object],
        seconds: float = PATIENCE_SECONDS,
    ) -> RunView:
        """Wait until a run is seen like that; returns how it is seen."""
        with self.awaiting(f"{run.id}: {what}", seconds):
            while not condition(view := await run.describe()):
                await moment(ASK_SECONDS)
        return view

    async def moved(self, run: fa.WorkflowHandle[Any], owner: int) -> int:
        """Wait until a run has moved from this owner to another; returns to which."""
        view = await self.until_seen(run, "another owner", lambda v: v.owner not in {0, owner})
        return view.owner


async def recorded_steps(run: fa.WorkflowHandle[Any]) -> list[str]:
    """The steps whose result is in a run's history, in that order; none is there twice."""
    steps = [event.detail for event in await run.history() if event.kind == "step_completed"]
    assert len(steps) == len(set(steps)), f"recorded twice: {steps}"
    return steps


async def assert_recorded_once(cluster: Cluster, run: fa.WorkflowHandle[Any]) -> list[str]:
    """Every step of a run was recorded once; its body ran no more often than the history says that
    it was attempted, and never twice as the same attempt. Returns the recorded steps.
    """
    retries = Counter(
        event.detail.rpartition(" attempt ")[0]
        for event in await run.history()
        if event.kind == "attempt_started"
    )
    recorded = await recorded_steps(run)
    executions = cluster.outside.executions(run.id)
    for step in recorded:
        ran = [each for each in executions if each.step == step]
        assert 1 <= len(ran) <= 1 + retries[step], f"{retries[step]} retries of {step}: {ran}"
        assert len({each.attempt for each in ran}) == len(ran), f"one attempt ran twice: {ran}"
        assert len({each.key for each in ran}) == 1, f"idempotency keys of one step differ: {ran}"
    return recorded
