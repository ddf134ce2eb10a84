"""What a program asks of a cluster: start runs, find them, follow them."""

import math
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar, TypeVarTuple, overload

from flowactor.client import references
from flowactor.client.caller import Caller, expect
from flowactor.client.channel import Channel
from flowactor.client.cluster import Cluster
from flowactor.client.handle import WorkflowHandle
from flowactor.client.streams import EventStream
from flowactor.client.system import SystemEntropy
from flowactor.client.variables import ClusterVariable
from flowactor.cluster.protocol.requests import Answer, EventPlace, ListRuns, RunPage, StartJson
from flowactor.cluster.protocol.views import ClusterView
from flowactor.errors import InvalidInput
from flowactor.identity import NodeId, RunId
from flowactor.limits import NANOSECONDS, REQUEST_TIMEOUT_SECONDS
from flowactor.machine.operations import StartRun
from flowactor.machine.replies import RunStatus, Started
from flowactor.management.operations import ManagementBody
from flowactor.ports import Entropy

__all__ = ["Client"]

R = TypeVar("R")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Client:
    """The same in process (``node.client``) and over the wire (``connect``).

    May be used from any number of tasks. ``request_timeout`` (seconds) bounds each call, except
    where a method says that it waits; a call that ends without an answer raises ``Unavailable`` or
    ``DeadlineExceeded``, whose ``outcome_unknown`` tells whether the change may have happened.

    Attributes:
        cluster: changes the cluster itself: its nodes and groups.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        entropy: Entropy | None = None,
        request_timeout: float = REQUEST_TIMEOUT_SECONDS,
    ) -> None:
        self._caller = Caller(channel, entropy or SystemEntropy(), request_timeout)
        self.cluster = Cluster(self._caller)

    @overload
    async def start(
        self,
        workflow: Callable[[Any, *Ts], Coroutine[Any, Any, R]],
        /,
        *args: *Ts,
        id: str | None = None,
        version: int = 0,
        timeout: float | None = None,
    ) -> WorkflowHandle[R]: ...
    @overload
    async def start(
        self,
        workflow: type[object] | str,
        /,
        *args: object,
        id: str | None = None,
        version: int = 0,
        timeout: float | None = None,
    ) -> WorkflowHandle[Any]: ...
    async def start(  # type: ignore[misc]  # mypy compares *Ts with *Any argument by argument
        self,
        workflow: Any,
        /,
        *args: Any,
        id: str | None = None,  # noqa: A002 - the word users say
        version: int = 0,
        timeout: float | None = None,
    ) -> WorkflowHandle[Any]:
        """Start a run of ``ProcessOrder.run`` (or of the class, or of a type's name).

        Starting again with the same ``id`` and arguments gives the same run; without ``id`` one is
        made up. ``version`` 0 is the referenced class's own, or for a name the newest registered.
        ``timeout`` (seconds) ends the run as timed out when it has not ended by then.

        Raises:
            InvalidInput: an argument does not fit; the message names its path.
            UnknownWorkflowType: no node has registered it.
            AlreadyExists: the id belongs to a run of another type or input.
        """
        call = references.workflow_call(workflow, args)
        entropy = self._caller.entropy
        body = StartRun(
            workflow_id=entropy.token_hex(16) if id is None else id,
            run_id=RunId(entropy.token_hex(16)),
            workflow_type=call.name,
            version=version or call.version,
            arguments=call.arguments,
            origin=NodeId(0),
            timeout_ns=_duration_ns(timeout),
        )
        started = expect(await self._caller.change(body), Started)
        return WorkflowHandle(self._caller, started.workflow_id, started.run_id, call.result_type)

    async def start_json(
        self,
        workflow_type: str,
        arguments_json: str,
        *,
        id: str | None = None,  # noqa: A002 - the word users say
        version: int = 0,
        timeout: float | None = None,
    ) -> Started:
        """As ``start``, with an array of arguments (or one value for one argument) as JSON. The
        node converts them to what the workflow takes.
        """
        entropy = self._caller.entropy
        body = StartJson(
            workflow_id=entropy.token_hex(16) if id is None else id,
            run_id=RunId(entropy.token_hex(16)),
            workflow_type=workflow_type,
            version=version,
            arguments_json=arguments_json,
            timeout_ns=_duration_ns(timeout),
        )
        return expect(await self._caller.change(body), Started)

    @overload
    async def execute(
        self,
        workflow: Callable[[Any, *Ts], Coroutine[Any, Any, R]],
        /,
        *args: *Ts,
        id: str | None = None,
        version: int = 0,
        timeout: float | None = None,
    ) -> R: ...
    @overload
    async def execute(
        self,
        workflow: type[object] | str,
        /,
        *args: object,
        id: str | None = None,
        version: int = 0,
        timeout: float | None = None,
    ) -> Any: ...
    async def execute(  # type: ignore[misc]  # as for start
        self,
        workflow: Any,
        /,
        *args: Any,
        id: str | None = None,  # noqa: A002 - the word users say
        version: int = 0,
        timeout: float | None = None,
    ) -> Any:
        """``start``, then wait for the result; raises what both raise."""
        handle = await self.start(workflow, *args, id=id, version=version, timeout=timeout)
        return await handle.result()

    @overload
    def get_handle(self, id: str, run_id: str | None = None) -> WorkflowHandle[Any]: ...
    @overload
    def get_handle(
        self, id: str, run_id: str | None = None, *, result_type: type[R]
    ) -> WorkflowHandle[R]: ...
    def get_handle(
        self,
        id: str,  # noqa: A002 - the word users say
        run_id: str | None = None,
        *,
        result_type: Any = None,
    ) -> WorkflowHandle[Any]:
        """The run of a workflow id (its current one, unless ``run_id`` names another). Asks nobody:
        whether it exists shows at the first use. Without ``result_type`` results are plain values.
        """
        return WorkflowHandle(self._caller, id, run_id or "", result_type or Any)

    async def list(
        self,
        *,
        status: RunStatus | None = None,
        type: str | type[object] | None = None,  # noqa: A002 - the word users say
        limit: int = 100,
        offset: int = 0,
    ) -> RunPage:
        """Runs, newest first, and how many there are in all."""
        name = "" if type is None else references.workflow_name(type)
        body = ListRuns("" if status is None else status.value, name, offset, limit)
        return expect(await self._caller.read(body), RunPage)

    def variable(self, name: str, type: type[T]) -> ClusterVariable[T]:  # noqa: A002
        """A replicated variable of the cluster. Asks nobody."""
        return ClusterVariable(self._caller, name, type)

    def events(self, *, after: Iterable[EventPlace] = (), from_now: bool = False) -> EventStream:
        """Events of all runs, for ever: those of one group in the order they were committed.

        However slow the reader, what it has not taken is still there. But an event is told by the
        group in which it happened: what a run did before it moved to another group is not in the
        stream any more, once it has moved; it is in the run's own history (``Handle.events``).

        Args:
            after: what has been read already: the ``places`` of an earlier stream.
            from_now: leave out all that has happened.
        """
        return EventStream(self._caller, after, from_now=from_now)

    async def status(self) -> ClusterView:
        """The cluster as the asked node sees it, at once."""
        return await self.cluster.view()

    async def manage(self, body: ManagementBody) -> Answer:
        """Ask for a change of the cluster itself, at most once: what ``cluster`` has a method for,
        and what else ``flowactor.management.operations`` has.

        Raises: as every change; with what the management group refuses it with.
        """
        return await self._caller.change(body)


def _duration_ns(seconds: float | None) -> int:
    """A time-out as the record carries it: 0 for none."""
    if seconds is None:
        return 0
    if not 0 < seconds < math.inf:
        raise InvalidInput(f"a time-out is more than 0 seconds, not {seconds}")
    return max(1, round(seconds * NANOSECONDS))
