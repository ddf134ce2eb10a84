"""Clients at core depth: sessions, requests, retries; what they asked and heard is kept."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from random import Random
from typing import Any, Final, assert_never

from attrs import define

from flowactor.actors import Promise
from flowactor.cluster.runs.past import query_past
from flowactor.codec.payloads import decode_payload, encode_payload
from flowactor.errors import FlowactorError, Unavailable
from flowactor.identity import RunId, SessionId
from flowactor.limits import NANOSECONDS
from flowactor.machine import Variable
from flowactor.machine.operations import (
    CancelRun,
    ClientBody,
    ClientOperation,
    CompareAndSet,
    OpenSession,
    SignalRun,
    StartRun,
    TerminateRun,
    WriteVariable,
)
from flowactor.machine.replies import Done, Rejected, Reply, Started, Written
from flowactor.simulation import scenario
from flowactor.simulation.checks.clients import Deleted, Held, Mismatched, Operation, Wrote
from flowactor.simulation.core.cluster import CoreCluster
from flowactor.simulation.core.heap import Heap
from flowactor.simulation.core.life import Life
from flowactor.simulation.scenario import Act
from flowactor.simulation.trace import Kind, Trace
from flowactor.simulation.words import word_of_act
from flowactor.workflow import App, WorkflowDefinition

__all__ = ["CoreClient", "CoreClients"]

LATENCY_NS_MAX: Final = 1_000_000
ATTEMPT_NS: Final = 2 * NANOSECONDS
PATIENCE_NS: Final = 30 * NANOSECONDS
FOR_EVER_SECONDS: Final = 365 * 86_400.0
PAUSE_NS: Final = 100_000_000
PROBE: Final = 99
"""The client that looks whether the cluster has healed."""
NO_SESSION: Final = SessionId("")
_RETRIED: Final = ("Unavailable", "Overloaded", "DeadlineExceeded")


@define(eq=False)
class _Request:
    """One act under way. ``sequence`` 0: it changes nothing, or opens the session.

    ``attempt`` numbers the tries; what belongs to an older one is no answer any more. ``reached``
    counts the nodes that may have proposed it, in ``session``. ``life`` is the process that has it.
    ``done`` is called when it was answered well, for which it is asked again and again.
    """

    number: int
    act: Act | None
    asked_ns: int
    sequence: int
    run_id: str
    expected: int = 0
    attempt: int = 0
    reached: int = 0
    session: SessionId = NO_SESSION
    life: Life | None = None
    done: Callable[[], None] | None = None


class CoreClient:
    """One client: asks any node, asks again when nothing comes, and gives up after a while. Every
    other one is patient: as long as the process that it asked is there it waits, for that one has
    to repair by itself what goes wrong on the way.

    Args:
        number: of this client, from 1.
        cluster: whom to ask.
        app: the code, to turn plain arguments into payloads.
        heap: virtual time.
        chance: of this client.
        trace: what is asked and answered.

    Attributes:
        operations: about variables, for the checker of linearizability.
        acknowledged: (session, sequence) of changes that were answered.
        started: workflow id -> run id, of starts that were acknowledged.
    """

    def __init__(
        self,
        number: int,
        cluster: CoreCluster,
        app: App,
        heap: Heap,
        chance: Random,
        trace: Trace,
    ) -> None:
        self.operations: Final[list[Operation]] = []
        self.acknowledged: Final[list[tuple[SessionId, int]]] = []
        self.started: Final[dict[str, RunId]] = {}
        self._number: Final = number
        self._cluster: Final = cluster
        self._app: Final = app
        self._heap: Final = heap
        self._chance: Final = chance
        self._trace: Final = trace
        self._session = SessionId(chance.randbytes(8).hex())
        self._is_open = False
        self._queued: Final[deque[_Request]] = deque()
        self._outstanding: Final[dict[int, _Request]] = {}
        self._unsettled: Final[dict[int, None]] = {}
        self._versions: Final[dict[str, int]] = {}
        self._requests = self._sequences = 0
        self._nodes = tuple(cluster.machines)
        self._node = chance.choice(self._nodes)
        self._is_patient: Final = chance.random() < 1 / 2

    @property
    def waiting(self) -> int:
        """How many requests have neither an answer nor were given up."""
        return len(self._outstanding) + len(self._queued)

    def heal(self, nodes: Collection[int]) -> None:
        """From now on ask these nodes only: the others may never answer."""
        self._nodes = tuple(nodes)
        self._node = self._chance.choice(self._nodes)

    # -- asking -----------------------------------------------------------------------------------

    def perform(self, act: Act, done: Callable[[], None] | None = None) -> None:
        """Ask now; if there is no session yet, as soon as there is.

        Args:
            act: what to ask for.
            done: insist, and call this when it is there.
        """
        changes = not isinstance(act, scenario.Read | scenario.AskQuery)
        self._sequences += changes
        self._requests += 1
        run_id = self._chance.randbytes(8).hex() if isinstance(act, scenario.Start) else ""
        request = _Request(
            self._requests,
            act,
            self._heap.now_ns,
            self._sequences if changes else 0,
            run_id,
            done=done,
        )
        if isinstance(act, scenario.CompareAndSet):
            request.expected = self._versions.get(act.name, 0)
        self._tell(Kind.ASKED, request, word_of_act(act))
        if request.sequence:
            self._unsettled[request.sequence] = None
        if request.sequence:
            self._change(request)
        else:
            self._send(request)

    def _change(self, request: _Request) -> None:
        """Ask for a change: in the session, as soon as it is open."""
        if self._is_open:
            request.session = self._session
            self._send(request)
            return
        self._queued.append(request)
        if len(self._queued) == 1:
            self._requests += 1
            self._send(_Request(self._requests, None, self._heap.now_ns, 0, ""))

    def _send(self, request: _Request) -> None:
        """One more try, at a node that may be up."""
        self._outstanding[request.number] = request
        request.attempt += 1
        request.life = None
        if request.attempt > 1:
            self._node = self._chance.choice(self._nodes)
        self._heap.post(self._later(), self._arrive, request, request.attempt, self._node)
        self._heap.post(self._heap.now_ns + ATTEMPT_NS, self._late, request, request.attempt)

    def _late(self, request: _Request, attempt: int) -> None:
        """No answer for long."""
        if request.attempt != attempt or request.number not in self._outstanding:
            return
        life = request.life
        if self._is_patient and life is not None and life.alive and life.node in self._nodes:
            self._heap.post(self._heap.now_ns + ATTEMPT_NS, self._late, request, attempt)
        else:
            self._failed(request, attempt)

    def _later(self) -> int:
        return self._heap.now_ns + 1 + int(self._chance.random() * LATENCY_NS_MAX)

    def _failed(self, request: _Request, attempt: int) -> None:
        """This try comes to nothing: another one, or none any more."""
        if request.attempt != attempt or request.number not in self._outstanding:
            return
        if self._heap.now_ns - request.asked_ns > PATIENCE_NS:
            self._settle(request, None)
        else:
            request.attempt += 1
            pause = int(PAUSE_NS * (1 + self._chance.random()))
            self._heap.post(self._heap.now_ns + pause, self._again, request, request.attempt)

    def _again(self, request: _Request, attempt: int) -> None:
        if request.attempt == attempt and request.number in self._outstanding:
            self._send(request)

    # -- at a node --------------------------------------------------------------------------------

    def _arrive(self, request: _Request, attempt: int, node: int) -> None:
        life = self._cluster.machines[node].life
        if request.attempt != attempt:
            return
        if life is None:
            self._heap.post(self._later(), self._failed, request, attempt)
            return
        request.life = life
        answer = partial(self._answer, request, attempt)
        try:
            self._ask(life, request, answer)
        except FlowactorError as error:
            answer(Rejected(type(error).__name__, str(error)))
        life.touched = True

    def _ask(self, life: Life, request: _Request, answer: Callable[[Any], None]) -> None:
        if request.act is None and not life.liveness.is_announced:
            raise Unavailable("the log has not told this process the time")
        match request.act:
            case None:
                session = OpenSession(self._session, life.group.clock.now_ns())
                self._propose(life, session, answer)
            case scenario.Read(name=name):
                barrier = life.group.ask_barrier()
                life.watch(barrier, lambda _: answer(life.group.machine.variable(name)))
            case scenario.AskQuery():
                barrier = life.group.ask_barrier()
                life.watch(barrier, lambda _: self._query(life, request, answer))
            case _:
                body = self._body(life, request)
                request.reached += 1
                floor = next(iter(self._unsettled), request.sequence)
                operation = ClientOperation(request.session, request.sequence, floor, body)
                self._propose(life, operation, answer)

    def _propose(
        self,
        life: Life,
        operation: ClientOperation | OpenSession,
        answer: Callable[[Reply], None],
    ) -> None:
        seconds = FOR_EVER_SECONDS if self._is_patient else ATTEMPT_NS / NANOSECONDS
        waiting = life.group.ask(operation, seconds)

        def settled(promise: Promise[Reply]) -> None:
            life.group.leave(operation, waiting)
            try:
                answer(promise.result())
            except FlowactorError as error:
                answer(Rejected(type(error).__name__, str(error), outcome_unknown=True))

        life.watch(waiting.promise, settled)

    def _query(self, life: Life, request: _Request, answer: Callable[[Any], None]) -> None:
        act = request.act
        assert isinstance(act, scenario.AskQuery)
        run = life.group.machine.find(act.id, "")
        if run is None:
            answer(Rejected("NotFound", f"there is no run {act.id}"))
            return
        definition = self._definition(life, act.id)
        signature = definition.query_named(act.name).signature
        arguments = signature.encode_json(list(act.arguments))
        promise: Promise[bytes] = Promise()
        try:
            if run.status.is_open:
                promise = life.query(run.run_id, act.name, arguments)
            else:
                promise.set(query_past(life.group, run, definition, act.name, arguments))
        except Exception as error:  # noqa: BLE001  # as below; or the run ended before it began
            promise.fail(error)

        def settled(promise: Promise[bytes]) -> None:
            try:
                answer(decode_payload(promise.result(), signature.returns, "answer"))
            except Exception as error:  # noqa: BLE001  # a query is user code: its error is its answer
                answer(Rejected(type(error).__name__, str(error)))

        life.watch(promise, settled)

    def _body(self, life: Life, request: _Request) -> ClientBody:
        act = request.act
        match act:
            case scenario.Start():
                definition = self._app.get(act.workflow, act.version)
                arguments = definition.run.encode_json(list(act.arguments))
                name, version = definition.name, definition.version
                return StartRun(act.id, RunId(request.run_id), name, version, arguments, life.node)
            case scenario.Signal():
                signature = self._definition(life, act.id).signal_named(act.name).signature
                return SignalRun(act.id, "", act.name, signature.encode_json(list(act.arguments)))
            case scenario.Cancel():
                return CancelRun(act.id, "", "asked by the simulation")
            case scenario.Terminate():
                return TerminateRun(act.id, "", "asked by the simulation")
            case scenario.Write(value=None):
                return WriteVariable(act.name, None)
            case scenario.Write():
                return WriteVariable(act.name, encode_payload(act.value, int, act.name))
            case scenario.CompareAndSet():
                value = encode_payload(act.value, int, act.name)
                return CompareAndSet(act.name, request.expected, value)
            case scenario.Read() | scenario.AskQuery() | None:
                raise AssertionError(f"{act} changes nothing")
            case _:
                assert_never(act)

    def _definition(self, life: Life, workflow_id: str) -> WorkflowDefinition:
        run = life.group.machine.find(workflow_id, "")
        if run is None:
            raise Unavailable(f"run {workflow_id} is not known here yet")
        return self._app.get(run.workflow_type, run.version)

    # -- answers ----------------------------------------------------------------------------------

    def _answer(self, request: _Request, attempt: int, answer: Any) -> None:
        """A node has something to say; it travels back."""
        self._heap.post(self._later(), self._received, request, attempt, answer)

    def _received(self, request: _Request, attempt: int, answer: Any) -> None:
        if request.attempt != attempt or request.number not in self._outstanding:
            return
        if isinstance(answer, Rejected) and (answer.code in _RETRIED or request.act is None):
            self._failed(request, attempt)
        elif isinstance(answer, Rejected) and answer.code == "NotFound" and self._insists(request):
            self._ask_anew(request)
        elif isinstance(answer, Rejected) and answer.code == "SessionExpired":
            self._begin_anew(request)
        else:
            self._settle(request, answer)

    def _begin_anew(self, request: _Request) -> None:
        """The cluster has forgotten the session. What was sent once was refused, so it may be asked
        for in a new one; of what was sent before, nobody knows.
        """
        if request.session == self._session:
            self._session = SessionId(self._chance.randbytes(8).hex())
            self._is_open = False
        if request.reached > 1:
            self._settle(request, None)
            return
        del self._outstanding[request.number]
        request.reached = 0
        request.attempt += 1
        self._change(request)

    def _insists(self, request: _Request) -> bool:
        """A run that nobody knows yet may still be started."""
        return self._heap.now_ns - request.asked_ns <= PATIENCE_NS

    def _ask_anew(self, request: _Request) -> None:
        """The reply to this sequence is what it is: ask under another one, a little later."""
        self._unsettled.pop(request.sequence, None)
        if request.sequence:
            self._sequences += 1
            request.sequence = self._sequences
            self._unsettled[request.sequence] = None
        request.attempt += 1
        self._heap.post(self._heap.now_ns + PAUSE_NS, self._again, request, request.attempt)

    def _settle(self, request: _Request, answer: Any) -> None:
        """The answer is there; None: it was given up, and nobody knows."""
        del self._outstanding[request.number]
        self._unsettled.pop(request.sequence, None)
        if request.act is None:
            self._opened(answer)
            return
        self._tell(Kind.ANSWERED, request, _described(answer))
        if isinstance(answer, Done | Started | Written):
            self.acknowledged.append((request.session, request.sequence))
        if isinstance(answer, Started) and isinstance(request.act, scenario.Start):
            self.started[request.act.id] = answer.run_id
        self._record(request, answer)
        if request.done is not None and request.act is not None:
            if answer is None or isinstance(answer, Rejected):
                self.perform(request.act, request.done)
            else:
                request.done()

    def _opened(self, answer: Any) -> None:
        waiting = list(self._queued)
        self._queued.clear()
        self._is_open = isinstance(answer, Done)
        for request in waiting:
            if self._is_open:
                self._change(request)
            else:
                self._outstanding[request.number] = request
                self._settle(request, Rejected("Unavailable", "no session could be opened"))

    def _record(self, request: _Request, answer: Any) -> None:
        """Keep what concerns a variable, unless it certainly never happened."""
        act = request.act
        arguments: tuple[Any, ...] = ()
        match act:
            case scenario.Read():
                what = "read"
            case scenario.Write(value=None):
                what = "delete"
            case scenario.Write(value=value):
                what, arguments = "write", (value,)
            case scenario.CompareAndSet(value=value):
                what, arguments = "compare_and_set", (request.expected, value)
            case _:
                return
        heard = self._heard(act.name, what, answer)
        if heard is None and (what == "read" or not request.reached):
            return
        returned_ns = None if heard is None else self._heap.now_ns
        self.operations.append(
            Operation(
                self._number,
                request.number,
                act.name,
                what,
                arguments,
                request.asked_ns,
                returned_ns,
                heard,
            )
        )

    def _heard(self, name: str, what: str, answer: Any) -> Any:
        match answer:
            case Written(version=version):
                self._versions[name] = version
                return Wrote(version)
            case Done(changed=changed):
                return Deleted(changed)
            case Rejected(code="VersionMismatch"):
                return Mismatched()
            case Rejected() | None:
                return None
            case _ if what == "read":
                self._versions[name] = answer.version
                value = answer.value
                held = None if value is None else decode_payload(value, int, name)
                return Held(held, answer.version)
        raise AssertionError(f"{what} was answered with {answer!r}")

    def _tell(self, kind: str, request: _Request, what: str) -> None:
        node = self._node if kind == Kind.ASKED else 0
        self._trace.add(self._heap.now_ns, 0, kind, self._number, request.number, what, node)


class CoreClients:
    """``play.Clients``: all of them together.

    Args:
        cluster: whom to ask.
        app: the code.
        heap: virtual time.
        random: a generator for each purpose.
        trace: what is asked and answered.
    """

    def __init__(
        self,
        cluster: CoreCluster,
        app: App,
        heap: Heap,
        random: Callable[[str], Random],
        trace: Trace,
    ) -> None:
        self._cluster: Final = cluster
        self._app: Final = app
        self._heap: Final = heap
        self._random: Final = random
        self._trace: Final = trace
        self._numbered: Final[dict[int, CoreClient]] = {}

    def begin(self, acts: Sequence[Act]) -> None:
        """See ``play.Clients``."""
        for number in sorted({act.client for act in acts} | {PROBE}):
            self._numbered[number] = self._client(number)
        for act in acts:
            client = self._numbered[act.client]
            self._heap.post(round(act.at * NANOSECONDS), client.perform, act)

    def heal(self, nodes: Collection[int]) -> None:
        """See ``play.Clients``."""
        for client in self._clients:
            client.heal(nodes)

    def probe(self, served: Callable[[], None], *, changes: bool) -> None:
        """See ``healing.Clients``."""
        client, at = self._numbered[PROBE], self._heap.now_ns / NANOSECONDS
        read = partial(client.perform, scenario.Read(at, "probe", PROBE), served)
        if changes:
            client.perform(scenario.Write(at, "probe", 1, PROBE), read)
        else:
            read()

    def _client(self, number: int) -> CoreClient:
        chance = self._random(f"client {number}")
        return CoreClient(number, self._cluster, self._app, self._heap, chance, self._trace)

    @property
    def _clients(self) -> Collection[CoreClient]:
        return self._numbered.values()

    @property
    def waiting(self) -> int:
        """See ``healing.Clients``."""
        return sum(client.waiting for client in self._clients)

    @property
    def operations(self) -> list[Operation]:
        """See ``healing.Clients``."""
        return [operation for client in self._clients for operation in client.operations]

    @property
    def acknowledged(self) -> list[tuple[SessionId, int]]:
        """See ``healing.Clients``."""
        return [command for client in self._clients for command in client.acknowledged]

    @property
    def started(self) -> dict[str, RunId]:
        """See ``healing.Clients``."""
        return {name: run for client in self._clients for name, run in client.started.items()}


def _described(answer: Any) -> str:
    """A short word for an answer, the same in every process."""
    match answer:
        case None:
            return "unknown"
        case Rejected(code=code):
            return code
        case Started(run_id=run_id):
            return f"started {run_id}"
        case Written(version=version) | Variable(version=version):
            return f"version {version}"
        case Done():
            return "done"
        case _:
            return f"{answer!r:.60}"
