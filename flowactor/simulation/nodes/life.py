"""One life of one simulated node: a real ``Node``, from its start to its end."""

from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

import trio
from attrs import Factory, define

from flowactor.cluster.group.driven import Outcome
from flowactor.cluster.group.witness import AnyMachine, Witness
from flowactor.identity import GroupId, NodeId, RunId
from flowactor.node import Node
from flowactor.observability.events import ObservedEvent, StepFinished, StepStarted
from flowactor.ports import Clock
from flowactor.raft import (
    Effects,
    Entry,
    Event,
    Message,
    Raft,
    Receive,
    Restored,
    Snapshot,
)
from flowactor.simulation.agenda import Agenda
from flowactor.simulation.checks.judge import Judge, in_group
from flowactor.simulation.disk import SimulatedDisk
from flowactor.simulation.trace import Kind
from flowactor.simulation.words import word_of_message
from flowactor.simulation.world import World
from flowactor.workflow import step_info

__all__ = ["Life", "LifeObserver", "LifePlace", "Messages", "ProcessDied"]


MOMENT_SECONDS_MAX: Final = 0.003
"""What a step needs at most beyond what it waits for."""

_Way = tuple[GroupId, int, int]
"""Of messages: their group, the sender and the receiver."""


class ProcessDied(BaseException):
    """Raised in the code of a step whose process is dead: whatever it does, nobody sees it."""


@define(eq=False)
class Life:
    """Attributes:
    number: of the node.
    disk: what its process has open.
    alive: its process has not been killed; from then on nothing of it counts.
    node: there once it serves.
    stopping: set when it is asked to stop in good order.
    ended: set when its last task is gone.
    """

    number: int
    disk: SimulatedDisk
    alive: bool = True
    node: Node | None = None
    scope: trio.CancelScope = Factory(trio.CancelScope)
    stopping: trio.Event = Factory(trio.Event)
    ended: trio.Event = Factory(trio.Event)


class LifePlace:
    """The process of one life, as step bodies know it: a ``Place``.

    Args:
        life: whose.
        world: around it.
        agenda: true time.
        chance: how much longer than asked for each pause takes.
        point: told of each moment at which an exhaustive search could strike.
    """

    def __init__(
        self,
        life: Life,
        world: World,
        agenda: Agenda,
        chance: Random,
        point: Callable[[RunId, int], None],
    ) -> None:
        self.world: Final = world
        self.node: Final = life.number
        self._life: Final = life
        self._agenda: Final = agenda
        self._chance: Final = chance
        self._point: Final = point

    def now_ns(self) -> int:
        """See ``Place``."""
        return self._agenda.now_ns

    async def pause(self, seconds: float) -> None:
        """See ``Place``."""
        self._point(step_info().run_id, self.node)
        # A moment more, so that the process may die in it.
        await trio.sleep(max(0.0, seconds) + self._chance.uniform(0, MOMENT_SECONDS_MAX))
        if not self._life.alive:
            raise ProcessDied


class Messages:
    """The messages of consensus between machines, numbered for the trace.

    A message is known again by its content: on the way from one node to another none overtakes
    another, but those that a broken connection took with it never come.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge: Final = judge
        self._under_way: Final[dict[_Way, deque[tuple[int, Message]]]] = {}
        self._number = 0

    def sent(self, group: GroupId, sender: int, receiver: NodeId, message: Message) -> None:
        """It was handed to the link."""
        self._number += 1
        target = self._judge.machine_of(receiver)
        way = self._under_way.setdefault((group, sender, target), deque())
        way.append((self._number, message))
        kind, word = in_group(Kind.SENT, group), word_of_message(message)
        self._judge.write(sender, kind, self._number, target, word, message.term)

    def received(self, group: GroupId, receiver: int, sender: NodeId, message: Message) -> None:
        """It has come."""
        source = self._judge.machine_of(sender)
        way = self._under_way.get((group, source, receiver), deque())
        while way:
            number, other = way.popleft()
            if other == message:
                self._judge.write(receiver, in_group(Kind.RECEIVED, group), number, source)
                break


class LifeObserver:
    """Passes on what one life does while it counts; what a checker finds ends the run.

    Args:
        life: whose.
        clock: of its machine.
        judge: gets witnesses for it.
        messages: of all nodes.
        on_failure: told what a checker raised.
    """

    def __init__(
        self,
        life: Life,
        clock: Clock,
        judge: Judge,
        messages: Messages,
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._life: Final = life
        self._clock: Final = clock
        self._judge: Final = judge
        self._messages: Final = messages
        self._on_failure: Final = on_failure

    def watch(self, node: NodeId, group: GroupId) -> Witness:
        """The node's ``Watch``."""
        inner = self._judge.witness(self._life.number, self._clock, node, group)
        return _LifeWitness(self._life, group, inner, self._messages, self._guarded)

    def observed(self, event: ObservedEvent) -> None:
        """The node's ``on_event``; what it raises here, a node would only log."""
        self._guarded(lambda: self._observe(event))

    def _observe(self, event: ObservedEvent) -> None:
        number = self._life.number
        self._judge.observed(number, event)
        match event:
            case StepStarted(run_id=run_id):
                self._judge.point(run_id, number)
            case StepFinished(run_id=run_id, outcome=outcome) if outcome != "cancelled":
                self._judge.point(run_id, number)
            case _:
                pass

    def _guarded(self, look: Callable[[], None]) -> None:
        if not self._life.alive:
            return
        try:
            look()
        except Exception as error:
            self._on_failure(error)
            raise


class _LifeWitness(Witness):
    """Of one group."""

    def __init__(
        self,
        life: Life,
        group: GroupId,
        inner: Witness,
        messages: Messages,
        guarded: Callable[[Callable[[], None]], None],
    ) -> None:
        self._life: Final = life
        self._group: Final = group
        self._inner: Final = inner
        self._messages: Final = messages
        self._guarded: Final = guarded

    def recovered(self, core: Raft, restored: Restored, machine: AnyMachine) -> None:
        """See ``Witness``."""
        self._guarded(lambda: self._inner.recovered(core, restored, machine))

    def stepped(self, core: Raft, events: Sequence[Event], effects: Effects) -> None:
        """See ``Witness``."""
        if not self._life.alive:
            return
        group, number, messages = self._group, self._life.number, self._messages
        for event in events:
            if isinstance(event, Receive):
                messages.received(group, number, event.sender, event.message)
        self._guarded(lambda: self._inner.stepped(core, events, effects))
        for receiver, message in effects.messages:
            messages.sent(group, number, receiver, message)

    def copying(self, index: int) -> None:
        """See ``Witness``."""
        self._guarded(lambda: self._inner.copying(index))

    def restored(self, snapshot: Snapshot, machine: AnyMachine) -> None:
        """See ``Witness``."""
        self._guarded(lambda: self._inner.restored(snapshot, machine))

    def applied(self, entry: Entry, outcome: Outcome) -> None:
        """See ``Witness``."""
        self._guarded(lambda: self._inner.applied(entry, outcome))

    def closed(self) -> None:
        """See ``Witness``."""
        self._guarded(self._inner.closed)
