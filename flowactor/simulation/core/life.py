"""One life of one node at core depth: its actors, and what they do turn by turn."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any, Final

import trio
from attrs import frozen

from flowactor.actors import Promise
from flowactor.cluster.group.actor import ExecutionGroup, GroupActor
from flowactor.cluster.group.compaction import Compaction
from flowactor.cluster.group.sending import Pace
from flowactor.cluster.protocol.envelopes import Alive, GroupEnvelope
from flowactor.cluster.runs.instance import InstanceActor, Wake
from flowactor.cluster.runs.instances import Instances
from flowactor.cluster.runs.liveness import Liveness
from flowactor.cluster.runs.steps import StepRunner
from flowactor.cluster.runs.variables import VariableActors
from flowactor.cluster.vigil import Vigil, quiet_ticks, relied_on
from flowactor.errors import StorageError, WorldError
from flowactor.identity import GroupId, NodeId, RunId
from flowactor.limits import BEAT_SECONDS, NANOSECONDS, OWNER_LEASE_SECONDS
from flowactor.machine import Machine as StateMachine
from flowactor.machine import Notice
from flowactor.machine.state import Variable
from flowactor.observability.events import ObservedEvent
from flowactor.ports import RowWrite
from flowactor.raft import (
    Configuration,
    Entry,
    LoadEntries,
    Raft,
    RaftConfig,
    Snapshot,
    Write,
)
from flowactor.simulation.checks.judge import Judge
from flowactor.simulation.core.bodies import Bodies, BodiesOf, Place, ProcessDied
from flowactor.simulation.core.heap import Heap
from flowactor.simulation.core.states import CoreCopy, CoreIncoming, CoreStates, Vault
from flowactor.simulation.core.storage import CoreLog
from flowactor.simulation.runtime import NodeClock, stream
from flowactor.simulation.runtime.scheduling import unshield
from flowactor.simulation.world import World
from flowactor.storage import LogSize
from flowactor.workflow import App

__all__ = ["GROUP", "Habitat", "Life", "Machine"]

GROUP: Final = GroupId(1)
_BEAT_NS: Final = round(BEAT_SECONDS * NANOSECONDS)


@frozen(kw_only=True)
class Habitat:
    """What all nodes of a cluster have in common.

    Attributes:
        app: the code.
        voters: all members.
        heap: true time.
        judge: sees it all.
        bodies: where step bodies run.
        world: outside.
        send: (sender, receiver, envelope).
        limits: of ``RaftConfig``, where they are not as usual.
        compaction: when logs are cut; ``pace``: says how fast states are sent.
    """

    app: App
    voters: tuple[NodeId, ...]
    heap: Heap
    judge: Judge
    bodies: Bodies
    world: World
    send: Callable[[int, int, GroupEnvelope | Alive], None]
    limits: Mapping[str, int]
    compaction: Compaction
    pace: Callable[[], Pace]


class Machine:
    """What a node runs on; it outlives its processes.

    Attributes:
        life: of the process that runs now, if one does.
        lives: how many there were.
        lost: no process starts here any more: its disk is damaged, or it came with another one and
            the cluster does not let it in.
        held: how many faults keep the process from being started.
    """

    def __init__(
        self, node: int, heap: Heap, seed: int, vault: Vault, sync_failed: Callable[[], None]
    ) -> None:
        self.node: Final = node
        self.clock: Final = NodeClock(heap.time)
        self.disk: Final = CoreLog(heap, stream(seed, f"disk {node}"), sync_failed)
        self.states: Final = CoreStates(heap, stream(seed, f"states {node}"), self.disk, vault)
        self.life: Life | None = None
        self.lives = 0
        self.lost = False
        self.held = 0


class Life:
    """A node from its start to its end. Also its log, its states and its nursery, as its actors see
    them: from the moment of its death on nothing they do reaches anything.

    Args:
        node: its number.
        life: which of its lives this is.
        machine: it runs on.
        habitat: what all nodes have in common.
        chance: of this life.
    """

    def __init__(
        self, node: int, life: int, machine: Machine, habitat: Habitat, chance: Random
    ) -> None:
        self.node: Final = NodeId(node)
        self.alive = True
        self.paused = False
        self.woken = trio.Event()
        self.touched = True
        self.look_at_runs = True
        self.handled = 0
        self.place: Final = Place(self, habitat.world, habitat.heap, chance)
        self._incarnation: Final = f"{node}.{life}"
        self._log: Final = machine.disk
        self._states: Final = machine.states
        self._states.brought = self._touch
        self._state = self._states.current
        self._founding: Final = Configuration(habitat.voters)
        self._clock: Final = machine.clock
        self._habitat: Final = habitat
        self._heap: Final = habitat.heap
        self._judge: Final = habitat.judge
        self.scopes: Final[dict[trio.CancelScope, None]] = {}
        """Of the bodies that run, to be cancelled when it dies."""
        self._actors: Final[list[InstanceActor]] = []
        self._watched: Final[list[tuple[Promise[Any], Callable[[Promise[Any]], None]]]] = []
        self._alarm_ns = -1
        self._met: Final[dict[int, int]] = {}
        self._unread: Final[dict[int, int]] = {}
        self.vigil: Final = Vigil(machine.clock, lambda: relied_on(self.group.status), self._stir)
        self.group: Final = self._recover(chance.getrandbits(64))
        self.liveness: Final = Liveness(
            self.group,
            node=self.node,
            disk=f"disk {node}",
            incarnation=self._incarnation,
            workflows=habitat.app.registered,
            lease_seconds=OWNER_LEASE_SECONDS,
            clock=self._clock,
        )
        self.steps: Final = StepRunner(self.group.clock.now_ns, self._observe)
        self.instances: Final = Instances(
            self,
            node=self.node,
            group=self.group,
            make=self._make_instance,
            variables=VariableActors(self, self._variable),
            observer=self._observe,
        )
        self.instances.open_all()
        self.group.begin()
        self.group.wake()
        self._beat()

    def _recover(self, seed: int) -> ExecutionGroup:
        """The group, from what the last life left on the machine."""
        habitat = self._habitat
        witness = self._judge.witness(self.node, self._clock, self.node)
        restored = self._log.restored(self._state.applied_index, self._founding)
        machine = StateMachine(habitat.voters, self)
        config = RaftConfig(
            self.node, quiet_ticks=quiet_ticks(OWNER_LEASE_SECONDS), **habitat.limits
        )
        core = Raft(config, restored, seed)
        witness.recovered(core, restored, machine)
        return GroupActor(
            GROUP,
            core=core,
            machine=machine,
            states=self,
            restore=partial(StateMachine, habitat.voters),
            log=self,
            send=self._carry,
            clock=self._clock,
            on_notices=self._notified,
            on_tick=self._ticked,
            on_leader=self._leader_changed,
            on_restored=self._restored,
            on_failure=self._storage_failed,
            observer=self._observe,
            is_alive=self.vigil.is_alive,
            is_busy=lambda: self.liveness.is_busy or self.instances.is_busy,
            compaction=habitat.compaction,
            pace=habitat.pace,
            witness=witness,
        )

    # -- turns ------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let all actors handle what waits for them, until nothing does."""
        self.touched = False
        if not self.alive or self.paused:
            return
        mailbox = self.group.mailbox
        try:
            while (messages := mailbox.take()) or self.look_at_runs:
                if messages:
                    self.handled += len(messages)
                    self.group.process(messages)
                if self.look_at_runs:
                    self.look_at_runs = False
                    self._take_turns()
        except ProcessDied:
            return
        if self._watched:
            self._answer()
        self._set_alarm()

    def _take_turns(self) -> None:
        for actor in list(self._actors):
            messages = actor.mailbox.take()
            if messages:
                self.handled += len(messages)
                if not actor.turn(messages, BodiesOf(self, self._habitat.bodies)):
                    self._actors.remove(actor)
                    actor.mailbox.close()
                    actor.close()

    def _set_alarm(self) -> None:
        wake_ns = self.group.ticking.wake_ns
        if wake_ns is None:
            return
        now_ns = self._heap.time.now_ns
        wanted_ns = now_ns + max(0, wake_ns - self._clock.monotonic_ns())
        if not now_ns < self._alarm_ns <= wanted_ns:
            self._alarm_ns = wanted_ns
            self._heap.post(wanted_ns, self._wake, wanted_ns)

    def _wake(self, alarm_ns: int) -> None:
        if self.alive and alarm_ns == self._alarm_ns:
            self._alarm_ns = -1
            self.group.wake()
            self.touched = True

    # -- the other nodes --------------------------------------------------------------------------

    def meet(self, sender: int, life: int) -> None:
        """A message of this life of a node has come; the first of each is over a new link. Who
        stands still takes note of it when he goes on.
        """
        if self.paused:
            self._unread[sender] = life
        elif self._met.get(sender) != life:
            self._met[sender] = life
            self.vigil.linked(NodeId(sender))
        else:
            self.vigil.heard(NodeId(sender))

    def _stir(self, node: NodeId, silent_ticks: int) -> None:
        self.group.stir(node, silent_ticks)
        self.touched = True

    def _beat(self) -> None:
        """Look who is silent, and give a sign of life, again and again."""
        if not self.alive:
            return
        if not self.paused:
            self.vigil.look()
            for voter in self._habitat.voters:
                sign = None if voter == self.node else self.vigil.sign_for(voter)
                if sign is not None:
                    self._habitat.send(self.node, voter, sign)
        self._heap.post(self._heap.now_ns + _BEAT_NS, self._beat)

    # -- more turns -------------------------------------------------------------------------------

    def poke(self) -> None:
        """Something has come for the actors of runs at a moment of its own."""
        self.look_at_runs = self.touched = True
        self._heap.post(self._heap.now_ns, _nothing)

    def query(self, run_id: RunId, name: str, arguments: bytes) -> Promise[bytes]:
        """Ask the interpreter of an open run; see ``Instances.ask``."""
        self.look_at_runs = self.touched = True
        return self.instances.ask(run_id, name, arguments)

    def watch(self, promise: Promise[Any], done: Callable[[Promise[Any]], None]) -> None:
        """Call ``done`` when the promise is settled, unless this life ends before."""
        self._watched.append((promise, done))

    def _answer(self) -> None:
        for promise, done in [item for item in self._watched if item[0].done]:
            self._watched.remove((promise, done))
            done(promise)

    # -- what happens in between ------------------------------------------------------------------

    def _notified(self, notices: Sequence[Notice]) -> None:
        self._go_on()
        self.look_at_runs = True
        self.instances.notify(notices)

    def _go_on(self) -> None:
        """The judge was told something, and may have had this very process killed.

        Raises:
            ProcessDied: it has: its code does not go on.
        """
        if not self.alive:
            raise ProcessDied

    def _ticked(self) -> None:
        self.look_at_runs = True
        self.liveness.tick()
        self.instances.tick()

    def _leader_changed(self) -> None:
        self.look_at_runs = True
        self.liveness.leader_changed()
        self.instances.repair()

    def _restored(self, before: StateMachine) -> None:
        self._go_on()
        self.look_at_runs = True
        self.instances.start_over(before)

    def _observe(self, event: ObservedEvent) -> None:
        if self.alive:
            self._judge.observed(self.node, event)
            self._go_on()

    def _storage_failed(self, error: StorageError) -> None:
        raise AssertionError(f"what is in memory cannot fail so: {error}")

    def _variable(self, name: str) -> Variable:
        return self.group.machine.variable(name)

    def _make_instance(self, run_id: RunId) -> InstanceActor:
        run = self.group.machine.runs[run_id]
        return InstanceActor(
            run_id,
            node=self.node,
            incarnation=self._incarnation,
            group=self.group,
            definition=self._habitat.app.find(run.workflow_type, run.version),
            steps=self.steps,
            clock=self._clock,
            observer=self._observe,
        )

    # -- the nursery of the actors ----------------------------------------------------------------

    def start_soon(
        self,
        async_fn: Callable[..., Awaitable[object]],  # noqa: ARG002  # a turn is a call here
        /,
        *args: Any,
        name: object = None,  # noqa: ARG002
    ) -> None:
        """See ``Tasks``: an actor that is to be attended gets turns from here on."""
        (actor,) = args
        assert isinstance(actor, InstanceActor), "nobody watches variables at core depth"
        actor.tell(Wake())
        self._actors.append(actor)
        self.look_at_runs = True

    # -- the log and the state of the group -------------------------------------------------------

    def submit(self, group: GroupId, write: Write, done: Callable[[], None]) -> None:
        """See ``Log``."""
        assert group == GROUP
        if self.alive:
            self._log.submit(write, lambda: self._brought(done))

    def load(
        self,
        group: GroupId,
        request: LoadEntries,
        done: Callable[[tuple[int, tuple[Entry, ...]] | StorageError], None],
    ) -> None:
        """See ``Log``."""
        assert group == GROUP
        if self.alive:
            self._log.load(request, lambda loaded: self._brought(lambda: done(loaded)))

    def snapshot_at(
        self, group: GroupId, index: int, done: Callable[[Snapshot | StorageError | None], None]
    ) -> None:
        """See ``Log``."""
        assert group == GROUP
        if self.alive:
            self._log.snapshot_at(
                index, self._founding, lambda found: self._brought(lambda: done(found))
            )

    def compact(self, group: GroupId, index: int) -> None:
        """See ``Log``."""
        assert group == GROUP
        if self.alive:
            self._log.compact(index)

    def size(self, group: GroupId) -> LogSize:
        """See ``Log``."""
        assert group == GROUP
        return self._log.size()

    def _brought(self, done: Callable[[], None]) -> None:
        done()
        self._touch()

    def _touch(self) -> None:
        self.touched = True

    @property
    def applied_index(self) -> int:
        """See ``State``."""
        return self._state.applied_index

    @property
    def durable_index(self) -> int:
        """See ``State``: what is stored survives all that happens here."""
        return self._state.applied_index

    def checkpoint(self) -> None:
        """See ``State``."""

    def get(self, table: str, key: Sequence[Any]) -> tuple[Any, ...] | None:
        """See ``RowReader``."""
        return self._state.get(table, key)

    def scan(self, table: str, prefix: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """See ``RowReader``."""
        return self._state.scan(table, prefix)

    def write(self, rows: Sequence[RowWrite], applied_index: int) -> None:
        """See ``State``."""
        if self.alive:
            self._state.write(rows, applied_index)

    def flush(self, done: Callable[[], None]) -> None:
        """See ``State``."""
        if self.alive:
            self._state.flush(lambda: self._brought(done))

    @property
    def current(self) -> "Life":
        """See ``States``."""
        return self

    def copy(self, done: Callable[[CoreCopy | WorldError], None]) -> None:
        """See ``States``."""
        if self.alive:
            self._states.copy(done)

    def drop_copy(self) -> None:
        """See ``States``."""
        if self.alive:
            self._states.drop_copy()

    def incoming(self) -> CoreIncoming:
        """See ``States``."""
        return self._states.incoming

    def replace(self) -> "Life":
        """See ``States``."""
        self._states.replace()
        self._state = self._states.current
        return self

    def _carry(self, receiver: NodeId, envelope: GroupEnvelope) -> None:
        if self.alive:
            self._habitat.send(self.node, receiver, envelope)

    def point(self, run_id: RunId) -> None:
        """The body of a step is about to wait."""
        if self.alive:
            self._judge.point(run_id, self.node)

    async def when_running(self) -> None:
        """Wait while the process stands still.

        Raises:
            ProcessDied: it has ended.
        """
        while self.paused and self.alive:
            await self.woken.wait()
        self._go_on()

    # -- ends -------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Stop, as by a signal: nothing is handled until ``resume``."""
        self.paused = True
        self.woken = trio.Event()

    def resume(self) -> None:
        """Go on where it stopped, late for everything."""
        self.paused = False
        self.woken.set()
        for sender, life in self._unread.items():
            self.meet(sender, life)
        self._unread.clear()
        self.group.wake()
        self.touched = True

    def die(self) -> None:
        """Nothing that is still under way here is seen by anybody."""
        self.alive = False
        self.woken.set()
        for scope in self.scopes:
            scope.cancel()
            unshield(scope)  # the dead have no time to clean up
        for actor in self._actors:
            actor.close()
        self._watched.clear()


def _nothing() -> None:
    pass
