"""What the demo knows of its orders, from the cluster's own events, and how it shows it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from attrs import define, field
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flowactor.cli.demo_app import STEPS
from flowactor.client.streams import TERMINAL_KINDS
from flowactor.cluster.protocol.requests import EventView

__all__ = ["Board", "OrderState"]

DONE: Final = "completed"
NODE_STYLES: Final = ("cyan", "magenta", "yellow", "green", "blue")


@define
class OrderState:
    """One order; ``owner`` 0 while nobody has it, ``ended`` empty while it is open."""

    owner: int = 0
    recorded: Counter[str] = field(factory=Counter)
    step: str = ""
    ended: str = ""
    moved: bool = False


@define
class Board:
    """The orders, fed with every event once and in order."""

    orders: dict[str, OrderState] = field(factory=dict)
    notes: list[str] = field(factory=list)
    killed: int = 0
    killed_at: float = 0.0
    reassigned_seconds: float | None = None
    handover_seconds: float | None = None

    def see(self, event: EventView, at: float) -> Iterator[str]:
        """Take one event, seen at ``at`` on this process's own clock; gives notes for people."""
        order = self.orders.get(event.workflow_id)
        if order is None:
            return
        match event.kind:
            case "started":
                order.owner = event.node
            case "owner_changed":
                order.moved = order.moved or order.owner == self.killed != 0
                order.owner = event.node
            case "step_scheduled":
                order.step = event.detail
            case "step_completed":
                order.recorded[event.detail] += 1
            case kind if kind in TERMINAL_KINDS:
                order.ended, order.step = kind, ""
        if order.moved:
            yield from self._see_handover(event, at - self.killed_at)

    def _see_handover(self, event: EventView, seconds: float) -> Iterator[str]:
        """The first signs of life of a run whose owner was killed."""
        if self.reassigned_seconds is None:
            self.reassigned_seconds = seconds
            yield f"its orders have new owners, {seconds:.1f} s after the kill"
        elif self.handover_seconds is None and event.kind == "step_completed":
            self.handover_seconds = seconds
            yield f"{event.workflow_id} goes on at node {event.node}: {event.detail} is recorded"

    def kill(self, node: int, at: float) -> None:
        """Node ``node`` was killed at ``at``."""
        self.killed, self.killed_at = node, at

    @property
    def finished(self) -> int:
        return sum(order.ended == DONE for order in self.orders.values())

    @property
    def all_ended(self) -> bool:
        return all(order.ended for order in self.orders.values())

    @property
    def steps_recorded(self) -> int:
        return sum(order.recorded.total() for order in self.orders.values())

    @property
    def moved(self) -> int:
        return sum(order.moved for order in self.orders.values())

    def owned(self) -> Mapping[int, int]:
        """How many open orders each node owns."""
        return Counter(order.owner for order in self.orders.values() if not order.ended)

    def line(self) -> str:
        """The state in one line of plain text."""
        owned = "  ".join(f"node {node}: {count}" for node, count in sorted(self.owned().items()))
        total = len(self.orders)
        steps = f"steps {self.steps_recorded}/{total * len(STEPS)}"
        return f"orders done {self.finished}/{total}  {steps}  open runs by owner: {owned or '-'}"

    def render(self) -> RenderableType:
        """The state as a table for a terminal."""
        table = Table("order", "owner", "progress", "now", title="orders", title_justify="left")
        for name, order in self.orders.items():
            table.add_row(
                name, self._owner(order), self._progress(order), order.ended or order.step
            )
        return Group(table, *map(Text, self.notes), Text(self.line()))

    def _owner(self, order: OrderState) -> Text:
        if not order.owner:
            return Text("-")
        lost = order.owner == self.killed and not order.moved and not order.ended
        style = "red strike" if lost else NODE_STYLES[(order.owner - 1) % len(NODE_STYLES)]
        return Text(f"node {order.owner}" + (" (new)" if order.moved else ""), style=style)

    def _progress(self, order: OrderState) -> Text:
        done = len(order.recorded)
        return Text("■" * done + "·" * (len(STEPS) - done), style="green" if order.ended else "")
