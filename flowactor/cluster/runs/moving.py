"""Slots on their way between two execution groups: what the leader of each does for a move.

All but the sending is an entry of the group's own log, and harmless if it is there twice. To send,
the source's leader asks any replica of the target how far it is, reads the page after that, and has
it proposed by whoever leads the target. A page that does not continue what the target has counts
for nothing, so lost, late and doubled ones do no harm, and whoever leads next goes on.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

import trio

from flowactor.cluster.group.actor import ExecutionGroup
from flowactor.cluster.group.tasks import Tasks
from flowactor.cluster.protocol.envelopes import Forward, GroupEnvelope
from flowactor.cluster.protocol.requests import Answer, DescribeMove, MoveProgress, Request
from flowactor.cluster.runs.moves import progress_of, stage_of
from flowactor.codec.records import encode
from flowactor.errors import FlowactorError
from flowactor.identity import GroupId, NodeId, SessionId
from flowactor.limits import LOOK_SECONDS, RESEND_SECONDS
from flowactor.machine.handoff import (
    ActivateSlots,
    ExpectSlots,
    ForgetSlots,
    FreezeSlots,
    MoveOperation,
    Progress,
    ReleaseMove,
)
from flowactor.management import Deed, HandOff, Move, MoveId, Stage

__all__ = ["Movers"]

SAID_MAX: Final = 1000
"""Of proposals that are remembered, for not being made again too soon."""


class Links(Protocol):
    """The other nodes, as far as pages go to them."""

    def send(self, peer: NodeId, envelope: GroupEnvelope) -> None: ...

    def connected(self, peer: NodeId) -> bool: ...

    async def relay(self, peer: NodeId, request: Request) -> Answer: ...


def _operation(hand_off: HandOff) -> MoveOperation | None:
    """What a deed is in the group's own log."""
    move = hand_off.move
    match hand_off.deed:
        case Deed.FREEZE:
            return FreezeSlots(move.id, move.slots, move.source, move.target)
        case Deed.EXPECT:
            return ExpectSlots(move.id, move.slots, move.source, move.target)
        case Deed.ACTIVATE:
            return ActivateSlots(move.id)
        case Deed.FORGET:
            return ForgetSlots(move.id)
        case Deed.RELEASE:
            return ReleaseMove(move.id, move.slots)
        case Deed.SEND:
            return None


class Movers:
    """What this node does for moves.

    Args:
        node: this one.
        tasks: where pages are sent from.
        groups: the execution groups that have a replica here.
        members: the nodes that ought to have a replica of a group.
        links: to the other nodes.
    """

    def __init__(
        self,
        *,
        node: NodeId,
        tasks: Tasks,
        groups: Callable[[], Mapping[GroupId, ExecutionGroup]],
        members: Callable[[GroupId], Iterable[NodeId]],
        links: Links,
    ) -> None:
        self._node: Final = node
        self._tasks: Final = tasks
        self._groups: Final = groups
        self._members: Final = members
        self._links: Final = links
        self._sending: Final[set[MoveId]] = set()
        self._said: Final[dict[tuple[GroupId, MoveId, Deed], tuple[int, float]]] = {}

    def do(self, group: ExecutionGroup, hand_off: HandOff) -> None:
        """Do what a group that this node leads is to do next for a move."""
        operation = _operation(hand_off)
        if operation is not None:
            self._propose(group, hand_off, operation)
        elif hand_off.move.id not in self._sending:
            self._sending.add(hand_off.move.id)
            self._tasks.start_soon(self._send, group, hand_off.move, name=f"{hand_off.move.id}")

    def _propose(self, group: ExecutionGroup, hand_off: HandOff, operation: MoveOperation) -> None:
        """Once for each index that the group has applied, and again after a while."""
        key = (group.group, hand_off.move.id, hand_off.deed)
        now = trio.current_time()
        index, said = self._said.get(key, (-1, -RESEND_SECONDS))
        progressed = hand_off.deed is Deed.FORGET and group.applied > index
        if progressed or now - said >= RESEND_SECONDS:
            if len(self._said) > SAID_MAX:
                self._said.clear()
            self._said[key] = (group.applied, now)
            group.propose(encode(operation))

    # -- pages ------------------------------------------------------------------------------------

    async def _send(self, group: ExecutionGroup, move: Move) -> None:
        """Send page after page, as long as this node leads the source and the move is leaving."""
        try:
            sent: tuple[Progress | None, float] = (None, 0.0)
            while group.is_leader and stage_of(group.machine, move) is Stage.FROZEN:
                after = await self._progress(move)
                if after is not None and after.complete:
                    return
                now = trio.current_time()
                lost = after == sent[0] and now - sent[1] < RESEND_SECONDS
                if after is not None and not lost:
                    page = group.machine.page(move.id, after)
                    if page is None:
                        return
                    sent = (after, now)
                    self._pass_on(move.target, encode(page))
                await trio.sleep(LOOK_SECONDS)
        finally:
            self._sending.discard(move.id)

    async def _progress(self, move: Move) -> Progress | None:
        """How far the target is, by a replica of it; perhaps a little less."""
        here = self._groups().get(move.target)
        if here is not None:
            return progress_of(here.machine, move.id)
        request = Request(0, 1000, SessionId(""), 0, 0, DescribeMove(move.target, move.id))
        for node in filter(self._links.connected, self._members(move.target)):
            try:
                with trio.fail_after(1):
                    answer = await self._links.relay(node, request)
            except (FlowactorError, trio.TooSlowError):
                continue
            if isinstance(answer, MoveProgress):
                return answer.progress
        return None

    def _pass_on(self, target: GroupId, operation: bytes) -> None:
        """To all who may lead the target; the others drop it."""
        here = self._groups().get(target)
        if here is not None:
            here.propose(operation)
            return
        for node in self._members(target):
            self._links.send(node, Forward(target, (operation,)))
