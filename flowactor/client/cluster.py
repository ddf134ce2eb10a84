"""What an operator asks of the cluster itself: its nodes and its groups."""

from collections.abc import Iterable
from typing import Literal

from flowactor.client.caller import Caller, expect
from flowactor.cluster.protocol.requests import DescribeCluster, TransferLead
from flowactor.cluster.protocol.views import ClusterView
from flowactor.identity import GroupId, NodeId, Slot
from flowactor.machine.replies import Done
from flowactor.management import MoveId, Pin
from flowactor.management.operations import (
    AbortMove,
    AddMember,
    ChangeSettings,
    CreateGroup,
    DrainGroup,
    ManagementBody,
    MoveSlots,
    PinNode,
    RemoveMember,
    RemoveNode,
    SplitGroup,
)
from flowactor.management.replies import Created

__all__ = ["Cluster"]


class Cluster:
    """See ``Client.cluster``. Every change is decided by the management group and then made step by
    step, by whoever leads, crashes or not: a method returns when it is decided. ``view`` shows what
    has been done so far. True means that the call changed something.

    A node joins by itself (``NodeConfig.join``).

    Raises: as every change of ``Client``; NotFound: there is no such node, group or move;
    InvalidInput, AlreadyClosed, AlreadyExists: why it cannot be.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def view(self, *, everywhere: bool = False) -> ClusterView:
        """The cluster as the asked node sees it; with ``everywhere`` that asks the others what they
        know of their groups, for no more than a second.
        """
        return expect(await self._caller.read(DescribeCluster(everywhere)), ClusterView)

    # -- nodes ------------------------------------------------------------------------------------

    async def remove(self, node: int) -> bool:
        """Take a node out for good. One that is alive hands over all it has, then ends; another is
        gone at once, and will not be let in again.
        """
        return await self._change(RemoveNode(NodeId(node)))

    async def pin(self, node: int, role: Literal["voter", "learner", "none"]) -> bool:
        """Make a node a ``"voter"`` or a ``"learner"`` of the management group for good, or with
        ``"none"`` leave that to the engine again.
        """
        return await self._change(PinNode(NodeId(node), Pin(role)))

    async def transfer(self, group: int, to: int = 0) -> bool:
        """Hand the lead of a group (0: the management group) to one of its voters, 0 being the best
        prepared. Returns once another node leads; False if ``to`` did before.

        Raises:
            Refused: the node does not answer, lacks too much, or did not take it in time; the
                leader is as before.
            Unavailable: no leader is known, or there is another one.
        """
        body = TransferLead(GroupId(group), NodeId(to))
        return expect(await self._caller.read(body), Done).changed

    # -- groups -----------------------------------------------------------------------------------

    async def create(self, nodes: Iterable[int]) -> int:
        """Found a group of exactly these nodes. Slots follow. Returns the new group."""
        members = tuple(sorted({NodeId(node) for node in nodes}))
        reply = await self._caller.change(CreateGroup(members))
        return expect(reply, Created).group

    async def add_to_group(self, group: int, node: int) -> bool:
        """Give a node a place in an execution group. From then on its members are yours to choose:
        the engine only replaces those that leave or die.
        """
        return await self._change(AddMember(GroupId(group), NodeId(node)))

    async def remove_from_group(self, group: int, node: int) -> bool:
        """Take that place away; as ``add_to_group``."""
        return await self._change(RemoveMember(GroupId(group), NodeId(node)))

    async def split(self, group: int) -> int:
        """Found a group beside this one, on the nodes that have the least to do. Slots follow.
        Returns the new group.
        """
        reply = await self._caller.change(SplitGroup(GroupId(group)))
        return expect(reply, Created).group

    async def drain(self, group: int) -> bool:
        """Move all slots away from a group; it ends when it is empty."""
        return await self._change(DrainGroup(GroupId(group)))

    async def move(self, slots: Iterable[int], to: int) -> bool:
        """Move slots (see ``flowactor.identity.slot_of``) to a group, from wherever they are."""
        body = MoveSlots(tuple(sorted({Slot(slot) for slot in slots})), GroupId(to))
        return await self._change(body)

    async def abort(self, move: int) -> bool:
        """Give up a move of slots, as long as its target does not serve them."""
        return await self._change(AbortMove(MoveId(move)))

    # -- the shape --------------------------------------------------------------------------------

    async def configure(self, **settings: int) -> bool:
        """Change some of the settings of the cluster (``flowactor.management.settings.Settings``);
        ``view().settings`` has them all.
        """
        return await self._change(ChangeSettings(tuple(settings.items())))

    async def _change(self, body: ManagementBody) -> bool:
        return expect(await self._caller.change(body), Done).changed
