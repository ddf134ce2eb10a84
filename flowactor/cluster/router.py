"""Any node takes any request: checks it at the border, and finds who answers it.

What is about a workflow or a variable belongs to a slot, and the slot to a group. If the group has
a replica here, that answers; else a node that has one is asked. What is about the cluster goes to
the management group, of which every node has a replica.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import trio

from flowactor.actors import Promise
from flowactor.cluster import border, requests
from flowactor.cluster.group import ManagementGroup
from flowactor.cluster.overview import Overview
from flowactor.cluster.requests import Answer, Request
from flowactor.cluster.service import HOPS_MAX, GroupService, Peers, refusal_of
from flowactor.errors import DeadlineExceeded, FlowactorError, SessionExpired, Unavailable
from flowactor.identity import GroupId, NodeId, slot_of
from flowactor.machine.operations import (
    CompareAndSet,
    OpenSession,
    WriteVariable,
)
from flowactor.machine.replies import Rejected
from flowactor.management import Topology
from flowactor.management.operations import ManagementBody, ManagementRequest

__all__ = ["FIRST_GROUP", "Router"]

FIRST_GROUP: Final = GroupId(1)
"""Where what names no workflow is asked."""


class Router:
    """The one way in, for clients in this process (it is their channel) and for those that
    connect.

    Args:
        topology: the cluster, as this node has applied it.
        founded: settled once that says who has which slot.
        management: the replica of the management group here.
        services: of the execution groups that have a replica here.
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
    ) -> None:
        self._node: Final = node
        self._topology: Final = topology
        self._founded: Final = founded
        self._management: Final = management
        self._services: Final = services
        self._overview: Final = overview
        self._peers: Final = peers

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
            return self._overview.cluster()
        if isinstance(body, ManagementBody):
            return await self._manage(request, body)
        if not self._founded.done:
            with trio.fail_after(request.timeout_ms / 1000):
                await self._founded.wait()
        group = self._group_of(body)
        service = self._services().get(group)
        if service is not None:
            return await service.answer(request)
        return await self._relay(request, group)

    def _group_of(self, body: requests.Body) -> GroupId:
        name = body.name if isinstance(body, _NAMED) else getattr(body, "workflow_id", "")
        if not name:
            return FIRST_GROUP
        return self._topology().slots[slot_of(name)]

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

    async def _manage(self, request: Request, body: ManagementBody) -> Answer:
        """A change of the cluster, at most once by the client's session, which is opened in the
        management group when it is first used there.
        """
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
        service = self._services().get(self._group_of(request.body))
        if service is None:
            return f"no outcome within {seconds:g} s"
        return service.why_late(seconds)


_NAMED: Final = (
    WriteVariable,
    CompareAndSet,
    requests.ReadVariable,
    requests.WatchVariable,
)
"""Requests about a stand-alone variable, which is its ``name``."""
