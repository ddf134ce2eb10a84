"""Any node takes any request: checks it at the border, and finds who answers it.

What is about a workflow or a variable belongs to a slot, and the slot to a group. If the group has
a replica here, that answers; else a node that has one is asked. What is about the cluster goes to
the management group, of which every node has a replica.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final

import trio
from attrs import evolve

from flowactor.actors import Promise
from flowactor.cluster.following import Following
from flowactor.cluster.group.actor import ExecutionGroup, ManagementGroup
from flowactor.cluster.leaving import transfer
from flowactor.cluster.overview import Overview
from flowactor.cluster.protocol import border, requests
from flowactor.cluster.protocol.requests import Answer, Request
from flowactor.cluster.protocol.views import ReplicasView
from flowactor.cluster.runs.service import (
    HOPS_MAX,
    Elsewhere,
    GroupService,
    Peers,
    name_of,
    refusal_of,
    why_late,
)
from flowactor.errors import (
    DeadlineExceeded,
    FlowactorError,
    NotFound,
    SessionExpired,
    Unavailable,
)
from flowactor.identity import GroupId, NodeId, RunId, SessionId, slot_of
from flowactor.limits import LOOK_SECONDS, PAGE_ITEMS_MAX
from flowactor.machine.operations import OpenSession
from flowactor.machine.replies import Rejected
from flowactor.management import MANAGEMENT_GROUP, Topology
from flowactor.management.operations import AdmitNode, ManagementBody, ManagementRequest

__all__ = ["FIRST_GROUP", "Router"]

FIRST_GROUP: Final = GroupId(1)
"""The one that a cluster begins with."""

_ELSEWHERE_SECONDS: Final = 1.0
"""For other nodes to say what they see: one that is frozen must not hold up who looks for it."""
_ELSEWHERE_MS: Final = int(_ELSEWHERE_SECONDS * 1000)
_TRANSFER_SHARE: Final = 0.9
"""Of a request's time: whoever asked is told which group it is about."""


class Router:
    """The one way in, for clients in this process (it is their channel) and for those that
    connect.

    Args:
        topology: the cluster, as this node has applied it.
        founded: settled once that says who has which slot.
        management: the replica of the management group here.
        services: of the execution groups that have a replica here.
        reach: raises ``Refused`` if an address cannot be connected to from here.
    """

    def __init__(
        self,
        *,
        node: NodeId,
        topology: Callable[[], Topology],
        founded: Promise[None],
        management: ManagementGroup,
        services: Callable[[], Mapping[GroupId, GroupService]],
        overview: Overview,
        peers: Peers,
        reach: Callable[[str], Awaitable[None]],
    ) -> None:
        self._reach: Final = reach
        self._node: Final = node
        self._topology: Final = topology
        self._founded: Final = founded
        self._management: Final = management
        self._services: Final = services
        self._overview: Final = overview
        self._peers: Final = peers
        self._following: Final = Following(self._groups, self._ask)

    async def request(self, request: Request) -> Answer:
        """The answer; what cannot be done is a ``Rejected``, and an exception is a bug."""
        try:
            border.check_limits(request)
            return await self._answer(request)
        except DeadlineExceeded as error:
            late = self._why_late(request)
            return Rejected(DeadlineExceeded.__name__, late, error.outcome_unknown)
        except FlowactorError as error:
            return refusal_of(error)
        except trio.TooSlowError:
            return refusal_of(DeadlineExceeded(self._why_late(request)))

    async def _answer(self, request: Request) -> Answer:
        body = request.body
        if isinstance(body, requests.DescribeCluster):
            return await self._describe(body)
        if isinstance(body, requests.DescribeReplicas):
            return self._overview.replicas()
        if isinstance(body, requests.TransferLead):
            return await self._transfer(request, body)
        if isinstance(body, ManagementBody):
            return await self._manage(request, body)
        with trio.fail_after(request.timeout_ms / 1000):
            await self._founded.wait()
            if isinstance(body, requests.ListRuns) and not request.group:
                return await self._list(request, body)
            if isinstance(body, requests.FollowEvents) and not request.group:
                return await self._following.follow(request, body)
            if _names_only_a_run(body) and not request.group:
                return await self._find(request)
        return await self._ask(request, self._group_of(request))

    def _group_of(self, request: Request) -> GroupId:
        if request.group:
            return GroupId(request.group)
        if isinstance(request.body, requests.DescribeMove):
            return request.body.group
        topology, name = self._topology(), name_of(request.body)
        if name:
            return topology.slots[slot_of(name)]
        # Any will do, but not one that has lost its majority if there is another.
        led = [key for key, service in self._services().items() if service.group.leader]
        return min(led or topology.groups, default=FIRST_GROUP)

    async def _ask(self, request: Request, group: GroupId) -> Answer:
        """Have the group answer, and the one it points to if it has given away what this is about:
        nothing has happened then, and in a moment another group will serve it.
        """
        deadline = trio.current_time() + request.timeout_ms / 1000
        while True:
            service = self._services().get(group)
            if service is None:
                return await self._relay(request, group)
            try:
                return await service.answer(request)
            except Elsewhere as elsewhere:
                moved = elsewhere.moved
            if trio.current_time() >= deadline:
                raise Unavailable(f"what this is about is on its way to group {moved.group}")
            await trio.sleep(LOOK_SECONDS)
            known = self._group_of(request)
            group = known if known != group or not moved.group or moved.under_way else moved.group

    async def _list(self, request: Request, body: requests.ListRuns) -> Answer:
        """Runs of all groups, newest first."""
        groups = self._groups()
        if len(groups) == 1:
            return await self._ask(request, groups[0])
        wanted, total = body.offset + body.limit, 0
        found: dict[RunId, requests.RunView] = {}
        for group in groups:
            offset, is_last = 0, False
            while not is_last:
                limit = min(PAGE_ITEMS_MAX, wanted - offset)
                page = evolve(body, offset=offset, limit=limit)
                answer = await self._ask(evolve(request, group=group, body=page), group)
                if not isinstance(answer, requests.RunPage):
                    return answer
                found.update((run.run_id, run) for run in answer.runs)
                offset += len(answer.runs)
                is_last = len(answer.runs) < limit or offset >= wanted
                total += answer.total * is_last
        runs = sorted(found.values(), key=lambda run: (-run.started_ns, run.run_id))
        return requests.RunPage(tuple(runs[body.offset : wanted]), total)

    def _groups(self) -> list[GroupId]:
        return sorted(self._topology().groups) or [FIRST_GROUP]

    async def _find(self, request: Request) -> Answer:
        """A run that is named by its run id alone may be in any group."""
        answer: Answer = Rejected(NotFound.__name__, "there is no such run")
        for group in self._groups():
            try:
                answer = await self._ask(evolve(request, group=group), group)
            except NotFound as error:
                answer = refusal_of(error)
            if not isinstance(answer, Rejected) or answer.code != NotFound.__name__:
                return answer
        return answer

    async def _relay(self, request: Request, group: GroupId) -> Answer:
        """Let a node answer that has a replica of the group.

        Raises:
            Unavailable: none can be reached, or it was passed on too often.
        """
        members = self._members(group)
        if request.hops < HOPS_MAX:
            for node in filter(self._peers.connected, members):
                with trio.fail_after(request.timeout_ms / 1000):
                    return await self._peers.relay(node, request)
        raise Unavailable(
            f"group {group}, which has this, has no replica on node {self._node}, and none of its"
            f" nodes {', '.join(map(str, members)) or '(it has none)'} can be reached from here"
        )

    def _members(self, group: GroupId) -> Iterable[NodeId]:
        topology = self._topology()
        known = topology.groups.get(group)
        members = () if known is None else known.members
        report = topology.reports.get(group)
        led = () if report is None else report.configuration.voters
        return [node for node in dict.fromkeys((*led, *members)) if node != self._node]

    # -- the cluster ------------------------------------------------------------------------------

    async def _describe(self, body: requests.DescribeCluster) -> Answer:
        """How the cluster looks from here, and from there, if others are to be asked."""
        if not body.everywhere:
            return self._overview.cluster()
        told: list[ReplicasView] = []
        with trio.move_on_after(_ELSEWHERE_SECONDS):
            async with trio.open_nursery() as nursery:
                for node in self._who_knows():
                    nursery.start_soon(self._ask_replicas, node, told)
        return self._overview.cluster(told)

    def _who_knows(self) -> list[NodeId]:
        """Whom to ask to hear of every group: who leads it, or everybody in it."""
        led = {group.group: group.leader for group in self._overview.replicas().groups}
        asked: set[NodeId] = set()
        for group in (MANAGEMENT_GROUP, *self._groups()):
            leader = led.get(group, 0)
            if leader != self._node:
                is_reached = leader and self._peers.connected(NodeId(leader))
                asked.update([NodeId(leader)] if is_reached else self._members(group))
        return sorted(filter(self._peers.connected, asked))

    async def _ask_replicas(self, node: NodeId, told: list[ReplicasView]) -> None:
        asked = Request(0, _ELSEWHERE_MS, SessionId(""), 0, 0, requests.DescribeReplicas())
        with suppress(FlowactorError):
            answer = await self._peers.relay(node, asked)
            if isinstance(answer, ReplicasView):
                told.append(answer)

    async def _transfer(self, request: Request, body: requests.TransferLead) -> Answer:
        """Hand over here if this node leads the group, else pass it on to where it is led."""
        here: dict[GroupId, ManagementGroup | ExecutionGroup] = {
            key: service.group for key, service in self._services().items()
        }
        here[MANAGEMENT_GROUP] = self._management
        group = here.get(body.group)
        if group is None:
            if body.group not in self._topology().groups:
                raise NotFound(f"there is no group {body.group}; `groups list` names them")
            return await self._relay(request, body.group)
        with trio.move_on_after(request.timeout_ms / 1000 * _TRANSFER_SHARE):
            if group.is_leader:
                return await transfer(group, self._node, body.to, self._peers.hears)
            if group.leader and request.hops < HOPS_MAX:
                return await self._peers.relay(group.leader, request)
        raise Unavailable(why_late(group, self._node, self._peers, request.timeout_ms / 1000))

    async def _manage(self, request: Request, body: ManagementBody) -> Answer:
        """A change of the cluster, at most once by the client's session, which is opened in the
        management group when it is first used there. A node that others could not reach is not let
        in: it would look like one, and have a part in nothing.
        """
        if isinstance(body, AdmitNode):
            await self._reach(body.address)
        operation = ManagementRequest(request.session, request.sequence, request.acknowledged, body)
        seconds = request.timeout_ms / 1000
        reply: Answer = await self._management.submit(operation, seconds)
        if isinstance(reply, Rejected) and reply.code == SessionExpired.__name__:
            asked_ns = self._management.clock.now_ns()
            await self._management.submit(OpenSession(request.session, asked_ns), seconds)
            reply = await self._management.submit(operation, seconds)
        return reply

    def _why_late(self, request: Request) -> str:
        seconds = request.timeout_ms / 1000
        if not self._founded.done:
            return (
                f"node {self._node} does not know the cluster yet: do all of its founders run, or"
                " the nodes that it joins?"
            )
        if isinstance(request.body, ManagementBody):
            return why_late(self._management, self._node, self._peers, seconds)
        service = self._services().get(self._group_of(request))
        if service is None:
            return f"no outcome within {seconds:g} s"
        return service.why_late(seconds)


def _names_only_a_run(body: requests.Body) -> bool:
    return bool(getattr(body, "run_id", "")) and not getattr(body, "workflow_id", "")
