"""One group at the service of clients: what concerns it is answered from the replica here.

What changes something becomes an operation in the group's log, whoever leads. What reads waits for
a barrier, so the answer is linearizable, and is then served from this node's own state. What needs
code that is not registered here is relayed, once, to a node that announced it.
"""

from collections.abc import Iterable
from typing import Final, Protocol, assert_never

import trio
from attrs import evolve

from flowactor.cluster.group.actor import ExecutionGroup, ManagementGroup
from flowactor.cluster.protocol import border, requests
from flowactor.cluster.protocol.requests import Answer, Request
from flowactor.cluster.runs.inspection import Inspection
from flowactor.cluster.runs.instances import Instances
from flowactor.cluster.runs.liveness import Liveness
from flowactor.cluster.runs.moves import progress_of
from flowactor.cluster.runs.past import query_past
from flowactor.cluster.runs.variables import VariableActors
from flowactor.errors import (
    AlreadyClosed,
    FlowactorError,
    NotFound,
    SessionExpired,
    Unavailable,
    UnknownWorkflowType,
)
from flowactor.identity import NodeId, SessionId
from flowactor.machine.operations import (
    CancelRun,
    ClientBody,
    ClientOperation,
    CompareAndSet,
    OpenSession,
    ResumeRun,
    SignalRun,
    StartRun,
    TerminateRun,
    WriteVariable,
)
from flowactor.machine.replies import Moved, Rejected, Reply
from flowactor.machine.state import RunSummary, Variable
from flowactor.management import MoveId
from flowactor.workflow import App

__all__ = ["HOPS_MAX", "Elsewhere", "GroupService", "Peers", "name_of", "refusal_of", "why_late"]

HOPS_MAX: Final = 2
"""To a node that has the group, and from there to one that has the code."""

_BARRIER_SHARE: Final = 0.9
"""Of a request's time. If no quorum confirms a read by then, that is the trouble, and nothing was
proposed.
"""


class Peers(Protocol):
    """The other nodes, as far as requests can be passed to them."""

    async def relay(self, peer: NodeId, request: Request) -> Answer:
        """That node's answer. Raises ``Unavailable`` if there is no link, or it breaks."""

    def connected(self, peer: NodeId) -> bool:
        """Whether there is a link to the peer now."""

    def hears(self, peer: NodeId) -> bool:
        """Whether anything came from the peer of late."""


class Elsewhere(Exception):  # no error: it says where to ask
    """Nothing happened: what the request is about is served by another group, or about to be."""

    def __init__(self, moved: Moved) -> None:
        super().__init__(moved)
        self.moved: Final = moved


_NAMED: Final = (WriteVariable, CompareAndSet, requests.ReadVariable, requests.WatchVariable)
"""Requests about a stand-alone variable, which is its ``name``."""


def name_of(body: requests.Body) -> str:
    """The workflow id or the variable that a request is about; empty if it names none."""
    name: str = body.name if isinstance(body, _NAMED) else getattr(body, "workflow_id", "")
    return name


def why_late(
    group: ExecutionGroup | ManagementGroup, node: NodeId, peers: Peers, timeout_seconds: float
) -> str:
    """Why a group gave no outcome in time, as far as this node can tell."""
    if group.leader:
        return f"no outcome within {timeout_seconds:g} s"
    members = group.status.configuration.members
    if not members:
        return (
            f"no leader is known to node {node}, whose replica of group {group.group} is new, and"
            " has been told nothing yet: does a majority of the group's voters run? `groups list`"
            " shows them"
        )
    others = [other for other in members if other != node]
    silent = ", ".join(str(other) for other in others if not peers.hears(other))
    if silent:
        return (
            f"no leader is known to node {node}, which hears nothing of {silent} among the"
            f" {len(others) + 1} members of group {group.group}: do they run, and can they reach"
            " each other?"
        )
    return (
        f"no leader is known to node {node}, though all members of group {group.group} are alive:"
        " have their disks room, and do the machines keep up?"
    )


class GroupService:
    """Answers requests about one group on a node that has a replica of it.

    Attributes:
        group: the replica.
    """

    def __init__(
        self,
        *,
        node: NodeId,
        app: App,
        group: ExecutionGroup,
        instances: Instances,
        variables: VariableActors,
        inspection: Inspection,
        liveness: Liveness,
        peers: Peers,
    ) -> None:
        self._node: Final = node
        self._app: Final = app
        self.group: Final = group
        self._instances: Final = instances
        self._variables: Final = variables
        self._inspection: Final = inspection
        self._liveness: Final = liveness
        self._peers: Final = peers

    async def answer(self, request: Request) -> Answer:
        """The answer, in the request's time.

        Raises:
            FlowactorError: what it is refused with.
            trio.TooSlowError: there was none in time; nothing happened.
        """
        body = request.body
        if isinstance(body, WriteVariable | CompareAndSet):  # these wait for the log only
            return await self._change(request, body)
        with trio.fail_after(request.timeout_ms / 1000):
            return await self._answer(request)

    def why_late(self, timeout_seconds: float) -> str:
        """Why there is no outcome in time, as far as this node can tell."""
        return why_late(self.group, self._node, self._peers, timeout_seconds)

    async def _answer(self, request: Request) -> Answer:
        body = request.body
        match body:
            case OpenSession():
                await self._liveness.announced()  # so the log has told this process the time
                opened_ns = self.group.clock.now_ns()
                reply = await self._open(body.session, opened_ns, request)
                return reply if isinstance(reply, Rejected) else requests.Opened(opened_ns)
            case StartRun() | requests.StartJson():
                return await self._start(request, body)
            case SignalRun() | requests.SignalJson():
                return await self._signal(request, body)
            case CancelRun() | TerminateRun() | ResumeRun() | WriteVariable() | CompareAndSet():
                return await self._change(request, body)
            case requests.Query() | requests.QueryJson():
                return await self._query(request, body)
            case requests.GetResult():
                return await self._result(request, body)
            case requests.ReadVariable():
                await self._barrier(request)
                return _variable_view(body.name, self.group.machine.variable(body.name))
            case requests.WatchVariable():
                await self._barrier(request)
                variable = await self._variables.watch(body.name, body.version, body.wait_ms / 1000)
                self._check_here(body.name)
                return _variable_view(body.name, variable)
            case requests.DescribeMove():
                return requests.MoveProgress(progress_of(self.group.machine, MoveId(body.move)))
            case requests.FollowEvents():
                if body.from_now:
                    await self._barrier(request)  # what was acknowledged is none of the news
                return await self._inspection.follow(body)
            case (
                requests.ReadRunVariable()
                | requests.DescribeRun()
                | requests.ListRuns()
                | requests.GetHistory()
                | requests.ExportHistory()
            ):
                await self._barrier(request)
                return await self._inspect(body)
            case _:
                raise AssertionError(f"{type(body).__name__} concerns no single group")

    async def _inspect(
        self,
        body: requests.ReadRunVariable
        | requests.DescribeRun
        | requests.ListRuns
        | requests.GetHistory
        | requests.ExportHistory,
    ) -> Answer:
        """Reads of this node's own state, which is as new as any now."""
        if isinstance(body, requests.ListRuns):
            return await self._inspection.list_runs(body)
        run = self._find(body.workflow_id, body.run_id)
        match body:
            case requests.ReadRunVariable():
                return self._inspection.run_variable(run, body.name)
            case requests.DescribeRun():
                return self._inspection.run(run)
            case requests.GetHistory():
                page = await self._inspection.history(run, body)
                self._check_here(run.workflow_id)
                return page
            case requests.ExportHistory():
                return await self._inspection.export(run, body)
            case _:
                assert_never(body)

    # -- changes ----------------------------------------------------------------------------------

    async def _change(self, request: Request, body: ClientBody) -> Answer:
        operation = ClientOperation(request.session, request.sequence, request.acknowledged, body)
        seconds = request.timeout_ms / 1000
        reply: Reply = await self.group.submit(operation, seconds)
        if request.opened_ns and _is_expired(reply):
            # This group sees the session for the first time, or has forgotten it.
            opened = await self._open(request.session, request.opened_ns, request)
            if not isinstance(opened, Rejected):
                reply = await self.group.submit(operation, seconds)
        if isinstance(reply, Moved):
            raise Elsewhere(reply)
        return reply

    async def _open(self, session: SessionId, asked_ns: int, request: Request) -> Reply:
        reply: Reply = await self.group.submit(
            OpenSession(session, asked_ns), request.timeout_ms / 1000
        )
        return reply

    def _check_here(self, name: str) -> None:
        """Raises:
        Elsewhere: what is called so is served by another group.
        """
        moved = self.group.machine.elsewhere(name) if name else None
        if moved is not None:
            raise Elsewhere(moved)

    async def _start(self, request: Request, body: StartRun | requests.StartJson) -> Answer:
        version = body.version or self._newest_version(body.workflow_type)
        definition = self._app.find(body.workflow_type, version)
        if definition is None:
            holders = self._holders(body.workflow_type, version)
            return await self._relay(request, body.workflow_type, version, holders)
        start = border.checked_start(body, definition, self._node)
        await self._liveness.announced()
        return await self._change(request, start)

    async def _signal(self, request: Request, body: SignalRun | requests.SignalJson) -> Answer:
        run = await self._locate(body.workflow_id, body.run_id, request)
        if not run.status.is_open:
            raise AlreadyClosed(f"run {run.workflow_id} is {run.status.value}: it takes no signals")
        definition = self._app.find(run.workflow_type, run.version)
        if definition is None:
            holders = self._holders(run.workflow_type, run.version)
            return await self._relay(request, run.workflow_type, run.version, holders)
        return await self._change(request, border.checked_signal(body, definition))

    # -- reads ------------------------------------------------------------------------------------

    async def _query(self, request: Request, body: requests.Query | requests.QueryJson) -> Answer:
        await self._barrier(request)
        run = self._find(body.workflow_id, body.run_id)
        definition = self._app.find(run.workflow_type, run.version)
        if definition is None or self._instances.diverged(run.run_id):
            owner = (run.owner,) if run.owner else ()
            holders = self._holders(run.workflow_type, run.version)
            nodes = (*owner, *holders)
            return await self._relay(request, run.workflow_type, run.version, nodes)
        arguments = border.checked_query(body, definition)
        followed = run.status.is_open
        if followed and definition.standby == "cold" and run.owner != self._node:
            if run.owner:
                nodes = (run.owner,)
                return await self._relay(request, run.workflow_type, run.version, nodes)
            followed = False
        try:
            if followed:
                answer = await self._instances.query(run.run_id, body.name, arguments)
            else:
                answer = query_past(self.group, run, definition, body.name, arguments)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # of user code: may be anything
            raise border.query_error(body.name, error) from None
        return requests.Value(answer)

    async def _result(self, request: Request, body: requests.GetResult) -> Answer:
        run = await self._locate(body.workflow_id, body.run_id, request)
        if run.status.is_open:
            # No barrier is needed: an end is final, and this node will apply it in any case.
            await self._instances.wait_closed(run.run_id, body.wait_ms / 1000)
            self._check_here(run.workflow_id)
            run = self._find(run.workflow_id, run.run_id)
        return requests.Ended(run.run_id, run.status, run.result or b"", run.failure, run.reason)

    # -- finding ----------------------------------------------------------------------------------

    def _find(self, workflow_id: str, run_id: str) -> RunSummary:
        """The run, as this node has it.

        Raises:
            NotFound: it is not there.
        """
        run = self.group.machine.find(workflow_id, run_id)
        if run is None:
            raise NotFound(
                f"there is no run {workflow_id}" + (f" with run id {run_id}" if run_id else "")
            )
        return run

    async def _locate(self, workflow_id: str, run_id: str, request: Request) -> RunSummary:
        """As ``_find``, but a run that is not here yet is looked for once more behind a barrier."""
        run = self.group.machine.find(workflow_id, run_id)
        if run is not None:
            self._check_here(run.workflow_id)
            return run
        await self._barrier(request)
        return self._find(workflow_id, run_id)

    async def _barrier(self, request: Request) -> None:
        seconds = request.timeout_ms / 1000 * _BARRIER_SHARE
        try:
            await self.group.barrier(seconds)
        except Unavailable:
            raise Unavailable(self.why_late(seconds)) from None
        self._check_here(name_of(request.body))

    def _registered(self) -> Iterable[tuple[str, int]]:
        yield from self._app.registered
        for node in self.group.machine.nodes.values():
            yield from node.workflows

    def _newest_version(self, workflow_type: str) -> int:
        """The highest version of a type that this node knows to be registered anywhere.

        Raises:
            UnknownWorkflowType: nobody has it; those that somebody has are named.
        """
        known = sorted(set(self._registered()))
        versions = [version for name, version in known if name == workflow_type]
        if not versions:
            listed = ", ".join(f"{name} v{version}" for name, version in known) or "none"
            raise UnknownWorkflowType(
                f"no node has registered {workflow_type!r}; registered are: {listed}"
            )
        return max(versions)

    def _holders(self, workflow_type: str, version: int) -> list[NodeId]:
        """The other nodes that announced this code, lowest id first."""
        nodes = sorted(self.group.machine.nodes.items())
        return [node for node, state in nodes if state.alive and state.has(workflow_type, version)]

    async def _relay(
        self, request: Request, workflow_type: str, version: int, nodes: Iterable[NodeId]
    ) -> Answer:
        """Let one of ``nodes`` answer, which have the code: the first that can.

        Raises:
            UnknownWorkflowType: no node is known to have it.
            Unavailable: those that have it cannot be reached, or cannot answer now.
        """
        candidates = [node for node in dict.fromkeys(nodes) if node != self._node]
        if not candidates:
            listed = ", ".join(
                f"{name} v{version}" for name, version in sorted(set(self._registered()))
            )
            here = self._app.find(workflow_type, version)
            raise UnknownWorkflowType(
                f"no {'other ' if here else ''}node has registered {workflow_type!r} v{version}; "
                f"registered are: {listed or 'none'}"
            )
        unavailable = Unavailable(
            f"the nodes that could answer cannot be reached from node {self._node}: {candidates}"
        )
        if request.hops < HOPS_MAX:
            for node in filter(self._peers.connected, candidates):
                answer = await self._ask(node, request)
                if not isinstance(answer, Rejected):
                    return answer
                # What one refuses, another that was asked before it may have done.
                unavailable.outcome_unknown |= answer.outcome_unknown
                if answer.code != Unavailable.__name__:
                    return evolve(answer, outcome_unknown=unavailable.outcome_unknown)
        raise unavailable

    async def _ask(self, node: NodeId, request: Request) -> Answer:
        try:
            return await self._peers.relay(node, request)
        except Unavailable as error:
            return refusal_of(error)


def _is_expired(reply: Reply) -> bool:
    return isinstance(reply, Rejected) and reply.code == SessionExpired.__name__


def refusal_of(error: FlowactorError) -> Rejected:
    return Rejected(type(error).__name__, str(error), error.outcome_unknown)


def _variable_view(name: str, variable: Variable) -> requests.VariableView:
    return requests.VariableView(name, variable.value, variable.version)
