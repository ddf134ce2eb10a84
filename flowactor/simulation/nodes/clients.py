"""Clients of a simulated cluster: the real ones, over the simulated network, from machines of their
own. What they ask of variables, and hear, is kept for the checkers.
"""

import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from itertools import count
from typing import Any, Final

import trio

from flowactor.client import Client, connect
from flowactor.errors import AlreadyExists, FlowactorError, NotFound, Unavailable
from flowactor.identity import NodeId, RunId, SessionId
from flowactor.management.operations import ManagementBody, RemoveNode
from flowactor.simulation.checks.clients import Deleted, Held, Mismatched, Operation, Wrote
from flowactor.simulation.checks.judge import Judge
from flowactor.simulation.network import Network
from flowactor.simulation.nodes.cluster import transport_of
from flowactor.simulation.orders import Order, request_of
from flowactor.simulation.runtime import Runtime, SeededEntropy
from flowactor.simulation.scenario import (
    Act,
    AskQuery,
    Cancel,
    CompareAndSet,
    Read,
    Signal,
    Start,
    Terminate,
    Write,
)
from flowactor.simulation.trace import Kind
from flowactor.simulation.words import word_of_act

__all__ = ["Clients"]

FIRST_MACHINE: Final = 100
"""Client 1 is on machine 101."""
PROBE: Final = 1000
"""The clients that look whether the cluster has healed are numbered from here on."""
OPERATOR: Final = 2000
"""Those that change the cluster, from here on."""
PROBE_NAME: Final = "flowactor healed"
VARIABLE_SECONDS: Final = 5.0
"""A client that has heard nothing of a variable for this long leaves the outcome open."""
RETRY_SECONDS: Final = 0.1

_Known = Held | Wrote | Deleted | Mismatched


class Clients:
    """All clients of one run: ``play.Clients``.

    Args:
        runtime: the run.
        nursery: where they live.
        network: their machines are on it.
        addresses: of all nodes; each client begins with another one.
        judge: for the trace.
        sockets: as for the nodes.
        patience_seconds: how long they ask for what is not about variables.

    Attributes:
        operations: about variables, for the checkers.
        waiting: acts that have no answer yet.
        started: workflow id -> run id, of starts that were acknowledged.
        acknowledged: none: sessions are the clients' own business.
        patience_seconds: see above.
    """

    def __init__(
        self,
        runtime: Runtime,
        nursery: trio.Nursery,
        network: Network,
        addresses: Sequence[str],
        judge: Judge,
        *,
        sockets: bool,
        patience_seconds: float,
    ) -> None:
        self.operations: Final[list[Operation]] = []
        self.started: Final[dict[str, RunId]] = {}
        self.acknowledged: Final[tuple[tuple[SessionId, int], ...]] = ()
        self.waiting = 0
        self._probes: Final = count(PROBE)
        self._operators: Final = count(OPERATOR)
        self._runtime: Final = runtime
        self._nursery: Final = nursery
        self._network: Final = network
        self._addresses: Final = tuple(addresses)
        self._judge: Final = judge
        self._sockets: Final = sockets
        self.patience_seconds: Final = patience_seconds

    def begin(self, acts: Sequence[Act]) -> None:
        """See ``play.Clients``."""
        self.waiting += len(acts)
        for number in sorted({act.client for act in acts}):
            own = [act for act in acts if act.client == number]
            self._spawn(number, partial(_Client.live, acts=own))

    def heal(self, nodes: Collection[int]) -> None:
        """See ``play.Clients``: they find out by themselves who answers."""

    def probe(self, served: Callable[[], None], *, changes: bool) -> None:
        """See ``healing.Clients``."""
        number = next(self._probes)
        self._spawn(number, partial(_Client.probe, served=served, changes=changes))

    def remove(self, node: NodeId, removed: list[NodeId]) -> None:
        """Have a new client ask for the removal of a node, until it has an answer; a removal that
        is acknowledged is added to ``removed``.
        """
        self.waiting += 1
        live = partial(_Client.remove, node=node, removed=removed)
        self._spawn(next(self._operators), live)

    def order(self, order: Order, until: float) -> None:
        """Have a new client give an order; if it cannot be followed yet, again until that time."""
        self.waiting += 1

        def request() -> ManagementBody | None:
            topology = self._judge.topology.topology
            return None if topology is None else request_of(order, topology, self._judge.node_of)

        live = partial(_Client.order, request=request, what=str(order), until=until)
        self._spawn(next(self._operators), live)

    def _spawn(self, number: int, live: Callable[["_Client"], Awaitable[None]]) -> None:
        machine = FIRST_MACHINE + number
        with self._runtime.processes.of(machine):
            self._nursery.start_soon(
                self._connected, number, machine, live, name=f"client {number}"
            )

    async def _connected(
        self, number: int, machine: int, live: Callable[["_Client"], Awaitable[None]]
    ) -> None:
        entropy = SeededEntropy(self._runtime.random(f"client {number}"))
        transport = transport_of(self._network.host(machine), sockets=self._sockets)
        for attempt in count(number):
            # Who is told that nobody answers begins with another node: the first may be frozen, and
            # then takes all the time there is to connect.
            first = attempt % len(self._addresses)
            try:
                async with connect(
                    ",".join(self._addresses[first:] + self._addresses[:first]),
                    request_timeout=self.patience_seconds,
                    transport=transport,
                    entropy=entropy,
                ) as client:
                    await live(_Client(number, client, self))
                    return
            except Unavailable:
                await trio.sleep(RETRY_SECONDS)

    # -- what clients tell ------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        """Virtual time."""
        return self._runtime.time.now_ns

    def told(self, kind: str, client: int, number: int, what: str) -> None:
        """A line for the trace."""
        self._judge.write(0, kind, client, number, what, *([0] if kind == Kind.ASKED else []))


class _Client:
    def __init__(self, number: int, client: Client, all_clients: Clients) -> None:
        self._number: Final = number
        self._client: Final = client
        self._all: Final = all_clients
        self._versions: Final[dict[str, int]] = {}
        self._asked = 0

    async def live(self, acts: Sequence[Act]) -> None:
        """Do each at its time, whatever became of those before."""
        async with trio.open_nursery() as nursery:
            for act in sorted(acts, key=lambda act: act.at):
                await trio.sleep_until(act.at)
                nursery.start_soon(self._perform, act)

    async def probe(self, served: Callable[[], None], *, changes: bool) -> None:
        """Write if that is wished, and read, until it has succeeded."""
        variable = self._client.variable(PROBE_NAME, int)
        if changes:
            await self._insist(lambda: variable.set(1))
        await self._insist(variable.get)
        served()

    async def remove(self, node: NodeId, removed: list[NodeId]) -> None:
        """Take a node out of the cluster, if it can be."""
        self._all.told(Kind.ASKED, self._number, 1, f"remove node {node}")
        heard = "done"
        try:
            await self._client.manage(RemoveNode(node))
            removed.append(node)
        except FlowactorError as error:
            heard = type(error).__name__
        self._all.told(Kind.ANSWERED, self._number, 1, heard)
        self._all.waiting -= 1

    async def order(
        self, request: Callable[[], ManagementBody | None], what: str, until: float
    ) -> None:
        """Have the groups changed, if that can be."""
        self._all.told(Kind.ASKED, self._number, 1, what)
        heard = "nothing to do"
        while True:
            body = request()
            try:
                if body is not None:
                    await self._client.manage(body)
                    heard = "done"
                    break
            except FlowactorError as error:
                heard = type(error).__name__
                if not isinstance(error, AlreadyExists | Unavailable):
                    break
            if trio.current_time() >= until:
                break
            await trio.sleep(RETRY_SECONDS)
        self._all.told(Kind.ANSWERED, self._number, 1, heard)
        self._all.waiting -= 1

    async def _insist(self, ask: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await ask()
            except FlowactorError:
                await trio.sleep(RETRY_SECONDS)
            else:
                return

    async def _perform(self, act: Act) -> None:
        number = self._asked = self._asked + 1
        self._all.told(Kind.ASKED, self._number, number, word_of_act(act))
        try:
            if isinstance(act, Read | Write | CompareAndSet):
                heard = await self._use_variable(number, act)
            else:
                heard = await self._ask_about_run(act)
        except FlowactorError as error:
            heard = type(error).__name__
        self._all.told(Kind.ANSWERED, self._number, number, heard)
        self._all.waiting -= 1

    # -- runs -------------------------------------------------------------------------------------

    async def _ask_about_run(self, act: Start | Signal | AskQuery | Cancel | Terminate) -> str:
        """Returns what was heard, in a word. A run that nobody knows yet may still be started."""
        deadline = trio.current_time() + self._all.patience_seconds
        while True:
            try:
                return await self._ask_once(act)
            except NotFound:
                if trio.current_time() >= deadline:
                    raise
            await trio.sleep(RETRY_SECONDS)

    async def _ask_once(self, act: Start | Signal | AskQuery | Cancel | Terminate) -> str:
        handle = self._client.get_handle(act.id)
        match act:
            case Start():
                arguments = json.dumps(list(act.arguments))
                started = await self._client.start_json(
                    act.workflow, arguments, id=act.id, version=act.version
                )
                self._all.started[act.id] = started.run_id
                return f"started {started.run_id}"
            case Signal():
                await handle.signal_json(act.name, json.dumps(list(act.arguments)))
                return "done"
            case AskQuery():
                answer = await handle.query_json(act.name, json.dumps(list(act.arguments)))
                return json.dumps(answer, sort_keys=True)
            case Cancel():
                await handle.cancel("asked by the simulation")
                return "done"
            case Terminate():
                await handle.terminate("asked by the simulation")
                return "done"

    # -- variables --------------------------------------------------------------------------------

    async def _use_variable(self, number: int, act: Read | Write | CompareAndSet) -> str:
        """One operation; that it was asked and what was heard is kept, unless it is certain that it
        never took effect.
        """
        what, arguments = self._operation(act)
        asked_ns = self._all.now_ns
        heard: _Known | None = None
        certain = False
        try:
            with trio.move_on_after(VARIABLE_SECONDS):
                heard = await self._ask_variable(act, arguments)
        except FlowactorError as error:
            certain = not error.outcome_unknown
        if heard is None and (certain or isinstance(act, Read)):
            return "nothing happened"
        returned_ns = self._all.now_ns if heard is not None else None
        self._all.operations.append(
            Operation(self._number, number, act.name, what, arguments, asked_ns, returned_ns, heard)
        )
        return "unknown" if heard is None else str(heard)

    def _operation(self, act: Read | Write | CompareAndSet) -> tuple[str, tuple[Any, ...]]:
        match act:
            case Read():
                return "read", ()
            case Write(value=None):
                return "delete", ()
            case Write(value=value):
                return "write", (value,)
            case CompareAndSet(name=name, value=value):
                return "compare_and_set", (self._versions.get(name, 0), value)

    async def _ask_variable(
        self, act: Read | Write | CompareAndSet, arguments: tuple[Any, ...]
    ) -> _Known:
        variable = self._client.variable(act.name, int)
        match act:
            case Read():
                held = await variable.read()
                self._versions[act.name] = held.version
                return Held(held.value, held.version)
            case Write(value=None):
                return Deleted(await variable.delete())
            case Write(value=value):
                assert value is not None, "None deletes"
                version = self._versions[act.name] = await variable.set(value)
                return Wrote(version)
            case CompareAndSet(value=value):
                expected = arguments[0]
                if not await variable.compare_and_set(expected, value):
                    return Mismatched()
                self._versions[act.name] = expected + 1
                return Wrote(expected + 1)
