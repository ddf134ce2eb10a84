"""``demo``: three processes, a dozen orders, one kill -9, nothing lost, nothing recorded twice.

The story: start three nodes; start orders on each; kill the node that owns most of them; the others
go on with its runs; every order ends; the dead node comes back and catches up; count everything.
"""

import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import click
import trio
from attrs import asdict, define, field, frozen
from rich.live import Live

from flowactor.cli.demo_app import STEPS, DemoOrder, Order
from flowactor.cli.demo_board import Board, OrderState
from flowactor.cli.demo_cluster import DemoNode, cluster_of
from flowactor.cli.exits import Exit
from flowactor.cli.options import json_option, run_to_exit
from flowactor.cli.output import Output
from flowactor.client import Client, WorkflowHandle, connect
from flowactor.errors import FlowactorError

__all__ = ["demo"]

NODES: Final = 3
ORDERS: Final = 12
ITEMS: Final = ("tea", "coffee", "cocoa")
STORY_SECONDS_MAX: Final = 50.0
REFRESH_SECONDS: Final = 0.1
PLAIN_LINE_SECONDS: Final = 1.0
CATCH_UP_POLL_SECONDS: Final = 0.1


class DemoFailed(FlowactorError):
    """The demo did not show what it promises."""


@frozen
class Summary:
    """What is counted at the end. ``steps_executed`` counts lines that step bodies wrote to a file,
    ``steps_recorded`` events in the histories; ``executed_again`` is what a kill costs.
    """

    orders: int
    orders_finished: int
    runs_moved: int
    steps_recorded: int
    steps_recorded_twice: int
    steps_executed: int
    executed_again: int
    reassigned_seconds: float | None
    handover_seconds: float | None
    catch_up_seconds: float
    applied_index: int
    seconds: float

    def check(self) -> None:
        """Raise ``DemoFailed`` if anything was lost or recorded twice."""
        lost = self.orders - self.orders_finished
        expected = self.orders * len(STEPS)
        wrong = []
        if lost:
            wrong.append(f"{lost} orders lost")
        if self.steps_recorded_twice:
            wrong.append(f"{self.steps_recorded_twice} steps recorded twice")
        if self.steps_recorded != expected:
            wrong.append(f"{self.steps_recorded} of {expected} steps recorded")
        if self.steps_executed < self.steps_recorded:
            wrong.append("steps recorded that never ran")
        if wrong:
            raise DemoFailed("; ".join(wrong))


@define(eq=False)
class Story:
    """The demo from first process to last count. ``folder`` takes data, logs and effects."""

    orders: int
    folder: Path
    output: Output
    began: float = field(factory=trio.current_time)
    board: Board = field(factory=Board)
    changed: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)
    is_live: bool = False
    """While the board is drawn on a terminal, notes are part of it."""

    async def tell(self) -> Summary:
        """All of it, with every process cleaned up however it ends."""
        effects = self.folder / "effects.log"
        effects.touch()
        self.say(f"starting {NODES} node processes")
        async with AsyncExitStack() as stack:
            nodes = await stack.enter_async_context(cluster_of(NODES, self.folder, effects))
            everywhere = ",".join(node.address for node in nodes)
            client = await stack.enter_async_context(connect(everywhere))
            async with self._following(client):
                await self._start_orders(nodes)
                await self._until(lambda: self.board.steps_recorded >= self._steps_before_kill)
                victim = await self._kill_busiest(client, nodes)
                await self._until(lambda: self.board.all_ended)
            catch_up_seconds, applied_index = await self._bring_back(victim, nodes)
            recorded = [
                Counter(await recorded_steps(client.get_handle(name))) for name in self.board.orders
            ]
        executed = Counter(effects.read_text(encoding="utf-8").split())
        return Summary(
            orders=self.orders,
            orders_finished=self.board.finished,
            runs_moved=self.board.moved,
            steps_recorded=sum(steps.total() for steps in recorded),
            steps_recorded_twice=sum(steps.total() - len(steps) for steps in recorded),
            steps_executed=executed.total(),
            executed_again=executed.total() - len(executed),
            reassigned_seconds=self.board.reassigned_seconds,
            handover_seconds=self.board.handover_seconds,
            catch_up_seconds=catch_up_seconds,
            applied_index=applied_index,
            seconds=self._elapsed(),
        )

    @property
    def _steps_before_kill(self) -> int:
        return self.orders * len(STEPS) // 3

    def _elapsed(self) -> float:
        return trio.current_time() - self.began

    def say(self, text: str) -> None:
        """A line of the story, at once."""
        line = f"{self._elapsed():5.1f} s  {text}"
        if self.is_live:
            self.board.notes.append(line)
        elif not self.output.as_json:
            self.output.text(line)

    async def _until(self, come: Callable[[], bool]) -> None:
        while not come():
            await self.changed.park()

    @asynccontextmanager
    async def _following(self, client: Client) -> AsyncIterator[None]:
        """Feed the board with the cluster's events, and show it, while the block goes on."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, client)
            if not self.output.as_json:
                nursery.start_soon(self._show)
            yield
            nursery.cancel_scope.cancel()

    async def _watch(self, client: Client) -> None:
        async for event in client.events():
            for note in self.board.see(event, trio.current_time()):
                self.say(note)
            self.changed.unpark_all()

    async def _show(self) -> None:
        if not self.output.console.is_terminal:
            while True:
                await trio.sleep(PLAIN_LINE_SECONDS)
                self.output.text(f"{self._elapsed():5.1f} s  {self.board.line()}")
        with Live(console=self.output.console, auto_refresh=False) as live:
            self.is_live = True
            try:
                while True:
                    live.update(self.board.render(), refresh=True)
                    await trio.sleep(REFRESH_SECONDS)
            finally:
                live.update(self.board.render(), refresh=True)
                self.is_live = False

    async def _start_orders(self, nodes: Sequence[DemoNode]) -> None:
        """Start the orders at the nodes in turn: a run is owned by the node that was asked."""
        self.say(f"starting {self.orders} orders of {len(STEPS)} steps, at each node in turn")
        names = [f"order-{number:02}" for number in range(1, self.orders + 1)]
        self.board.orders.update((name, OrderState()) for name in names)
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(connect(node.address)) for node in nodes]
            for number, name in enumerate(names, start=1):
                order = Order(number, ITEMS[number % len(ITEMS)], 100 * number)
                client = clients[number % len(clients)]
                await client.start(DemoOrder.run, order, id=name)

    async def _kill_busiest(self, client: Client, nodes: Sequence[DemoNode]) -> DemoNode:
        """Kill -9 the node that owns most open orders; of equals the group's leader."""
        leader = (await client.status()).groups[0].leader
        owned = self.board.owned()
        victim = max(nodes, key=lambda node: (owned[node.number], node.number == leader))
        role = "the leader, and " if victim.number == leader else ""
        self.board.kill(victim.number, trio.current_time())
        await victim.kill()
        self.say(f"kill -9 node {victim.number}: {role}owner of {owned[victim.number]} open orders")
        return victim

    async def _bring_back(self, victim: DemoNode, nodes: Sequence[DemoNode]) -> tuple[float, int]:
        """Start the dead node again; returns after how many seconds it had applied what all others
        had, and that index.
        """
        began = trio.current_time()
        self.say(f"every order has ended; starting node {victim.number} again on its old data")
        await victim.start()
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(connect(node.address)) for node in nodes]
            while True:
                views = [await client.status() for client in clients]
                applied = {view.groups[0].applied_index for view in views}
                if len(applied) == 1:
                    break
                await trio.sleep(CATCH_UP_POLL_SECONDS)
        seconds = trio.current_time() - began
        self.say(f"node {victim.number} has caught up: all are at log index {max(applied)}")
        return seconds, max(applied)


async def recorded_steps(handle: WorkflowHandle[Any]) -> list[str]:
    """The steps that the run's history says were completed; one that is there twice is a fault."""
    return [event.detail for event in await handle.history() if event.kind == "step_completed"]


@click.command()
@click.option("--orders", type=click.IntRange(3, 200), default=ORDERS, show_default=True)
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Keep data and logs in this directory."
)
@json_option
def demo(orders: int, keep: Path | None, as_json: bool) -> None:
    """Three nodes on this machine, one of them killed in the middle; takes about 15 seconds."""
    output = Output(as_json)

    async def body() -> Exit:
        with tempfile.TemporaryDirectory(prefix="flowactor-demo-") as temporary:
            folder = keep or Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(end_on_sigterm)
                with trio.move_on_after(STORY_SECONDS_MAX) as whole:
                    summary = await Story(orders, folder, output).tell()
                    show(summary, output)
                    summary.check()
                nursery.cancel_scope.cancel()
        if whole.cancelled_caught:
            raise DemoFailed(f"not finished within {STORY_SECONDS_MAX:g} seconds")
        return Exit.OK

    run_to_exit(body, output)


async def end_on_sigterm() -> None:
    """SIGTERM ends the demo as Ctrl-C does: no node process stays behind."""
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            raise KeyboardInterrupt


def show(summary: Summary, output: Output) -> None:
    """Print what was counted."""
    if output.as_json:
        output.document(asdict(summary))
        return
    again = f"{summary.executed_again} of them again, after the kill"
    rows = [
        ("orders finished", f"{summary.orders_finished} of {summary.orders}"),
        ("runs moved to another owner", summary.runs_moved),
        (
            "steps recorded",
            f"{summary.steps_recorded}, {summary.steps_recorded_twice} of them twice",
        ),
        ("steps executed", f"{summary.steps_executed}, {again}"),
        ("from kill to new owners", seconds(summary.reassigned_seconds)),
        ("from kill to first step recorded by one", seconds(summary.handover_seconds)),
        ("restart to caught up", seconds(summary.catch_up_seconds)),
        ("whole demo", seconds(summary.seconds)),
    ]
    output.table("summary", ("what", "count"), rows)


def seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
