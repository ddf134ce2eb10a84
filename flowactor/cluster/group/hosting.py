"""The replicas of one node: of every group that lives here, its files and its actors.

A replica is opened at the start of the node, if its group is in the log; by the steward, when the
management group gives this node a place in it; and is closed when it takes the place away. Each
lives in a scope of its own within the node's nursery.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeVarTuple

import trio
from attrs import define, frozen

from flowactor.actors import Promise
from flowactor.cluster.group.actor import ExecutionGroup, GroupActor, ManagementGroup
from flowactor.cluster.group.compaction import Compaction
from flowactor.cluster.group.sending import Pace
from flowactor.cluster.group.tasks import Tasks
from flowactor.cluster.group.witness import Watch, Witness
from flowactor.cluster.protocol.envelopes import GroupEnvelope
from flowactor.cluster.vigil import relied_on
from flowactor.codec.records import decode, encode, record
from flowactor.errors import StorageError, StorageFull
from flowactor.identity import GroupId, NodeId
from flowactor.limits import RESEND_SECONDS
from flowactor.machine import ALL_SLOTS, Machine, MoveWentOn
from flowactor.machine import TABLES as EXECUTION_TABLES
from flowactor.management import MANAGEMENT_GROUP, Management, OpenReplica
from flowactor.management import TABLES as MANAGEMENT_TABLES
from flowactor.observability.events import Observer, Recovered
from flowactor.ports import Clock, Disk, Entropy, RowReader, Worker
from flowactor.raft import Configuration, Raft, RaftConfig, Restored
from flowactor.storage import LogStore, LogWriter, StateFiles, remove_leftovers

__all__ = ["Ground", "Hosting", "Replica", "Settle", "Wires"]

Ts = TypeVarTuple("Ts")


@record(320)
@frozen
class _Card:
    """What an execution group began with: every replica makes the same first machine of it. It is
    the context of the founding configuration, and so on the disk before the replica is.
    """

    founders: tuple[NodeId, ...]
    all_slots: bool


Settle = Callable[["Replica"], object]
"""Makes what lives on a new replica of an execution group, and connects it to ``Replica.wires``."""


@frozen
class Ground:
    """What all replicas of a node stand on.

    Attributes:
        send: queues an envelope for a peer; never blocks.
        failed: told what is wrong with the disk.
        watch: who sees what happens in a group, in a simulation.
        raft: makes the settings of a core.
        is_alive: whether a node was heard of late.
        ticked: told of every tick of a group, after who lives on it; must not wait.
        moved: told soon after a group has come to the next stage of a move of slots.
        is_busy: whether the node has more to do for a group, on its next ticks.
        quiet_ticks: see ``RaftConfig``.
    """

    node: NodeId
    disk: Disk
    clock: Clock
    entropy: Entropy
    send: Callable[[NodeId, GroupEnvelope], None]
    failed: Callable[[StorageError], None]
    observer: Observer
    watch: Watch
    compaction: Compaction
    pace: Callable[[], Pace]
    raft: Callable[..., RaftConfig]
    is_alive: Callable[[NodeId], bool]
    ticked: Callable[[GroupActor[Any]], None]
    moved: Callable[[GroupActor[Any]], None]
    is_busy: Callable[[GroupId], bool]
    quiet_ticks: int


@define(eq=False)
class Wires:
    """Who is told what a group's actor tells, as it comes and goes (see ``GroupActor``)."""

    notices: Callable[..., None] = lambda _: None
    tick: Callable[[], None] = lambda: None
    leader: Callable[[], None] = lambda: None
    restored: Callable[..., None] = lambda _: None
    is_busy: Callable[[], bool] = lambda: False


class Replica(Tasks):
    """One group on this node, and the tasks of all that lives on it.

    Attributes:
        wires: who lives on it connects here, before it is started.
        witness: sees what happens in it, in a simulation.
    """

    def __init__(
        self,
        group: GroupActor[Any],
        states: StateFiles,
        wires: Wires,
        nursery: trio.Nursery,
        witness: Witness | None,
    ) -> None:
        self.group: Final = group
        self.states: Final = states
        self.wires: Final = wires
        self.witness: Final = witness
        self._nursery: Final = nursery
        self._scopes: Final[dict[trio.CancelScope, None]] = {}  # of all tasks
        self._ending = False
        self._ended: Final[Promise[None]] = Promise()

    def start_soon(
        self, async_fn: Callable[[*Ts], Awaitable[object]], /, *args: *Ts, name: object = None
    ) -> None:
        """See ``Tasks``."""
        scope = trio.CancelScope()
        self._scopes[scope] = None
        self._nursery.start_soon(self._live, scope, async_fn, args, name=name)
        if self._ending:
            scope.cancel()

    async def _live(
        self,
        scope: trio.CancelScope,
        async_fn: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
    ) -> None:
        try:
            with scope:
                await async_fn(*args)
        finally:
            del self._scopes[scope]
            if self._ending and not self._scopes:
                self._ended.set(None)

    def start(self) -> None:
        """Let the group begin."""
        self.start_soon(self.group.run, name=self.group.name)
        self.start_soon(self.group.pulse, name=f"{self.group.name} pulse")

    async def end(self) -> None:
        """Cancel everything, and return once it is over."""
        self._ending = True
        for scope in self._scopes:
            scope.cancel()
        if self._scopes:
            await self._ended.wait()


class Hosting:
    """All replicas of one node.

    Args:
        ground: what they stand on.
        settle: makes what lives on an execution group.
        nursery: where their tasks live.
    """

    def __init__(self, ground: Ground, settle: Settle, nursery: trio.Nursery) -> None:
        self._ground: Final = ground
        self._settle: Final = settle
        self._nursery: Final = nursery
        disk = ground.disk
        log_worker: Worker = disk.worker(f"node {ground.node} log")
        self._store: Final = LogStore.open(disk)
        self.writer: Final = LogWriter(self._store, log_worker, ground.clock, ground.failed)
        self._state_worker: Final[Worker] = disk.worker(f"node {ground.node} state")
        self._replicas: Final[dict[GroupId, Replica]] = {}
        self._opening: Final[set[GroupId]] = set()
        self._left: Final[set[GroupId]] = set()  # they know this node's votes; it is no founder
        self._started = False
        self._shut = False

    # -- looking ----------------------------------------------------------------------------------

    @property
    def management(self) -> ManagementGroup:
        return self._replicas[MANAGEMENT_GROUP].group

    @property
    def replicas(self) -> Mapping[GroupId, Replica]:
        return MappingProxyType(self._replicas)

    @property
    def groups(self) -> Mapping[GroupId, ExecutionGroup]:
        """See ``Replicas``."""
        return {
            group: replica.group
            for group, replica in self._replicas.items()
            if group != MANAGEMENT_GROUP
        }

    @property
    def held(self) -> frozenset[GroupId]:
        """See ``Replicas``."""
        return frozenset(self._replicas).union(self._opening) - {MANAGEMENT_GROUP}

    def receive(self, sender: NodeId, envelope: GroupEnvelope) -> None:
        """An envelope of a peer. Of a group that is not here it is dropped, which Raft repairs."""
        replica = self._replicas.get(envelope.group)
        if replica is not None:
            replica.group.receive(sender, envelope)

    def stir(self, node: NodeId, silent_ticks: int) -> None:
        """A node is gone, or is back: see ``GroupActor.stir``."""
        for replica in self._replicas.values():
            replica.group.stir(node, silent_ticks)

    def relied_on(self) -> Collection[NodeId]:
        """The nodes whose silence would concern a group here."""
        replicas = self._replicas.values()
        return {node for replica in replicas for node in relied_on(replica.group.status)}

    # -- opening ----------------------------------------------------------------------------------

    def recover(self, founders: tuple[NodeId, ...]) -> None:
        """Open what the disk holds; on a new one, the management group, and on that of a founder
        the first execution group.

        Raises:
            StorageError: the disk cannot be used.
        """
        store, new = self._store, not self._store.groups()
        if new:
            store.found(MANAGEMENT_GROUP, Configuration(founders))
        if new and founders:
            card = _Card(founders, all_slots=True)
            store.found(GroupId(1), Configuration(founders, context=encode(card)))
        generations = store.generations()
        self._left.update(generations.keys() - set(store.groups()))
        remove_leftovers(self._ground.disk, generations)
        for group in store.groups():
            self._open(group, store.generation(group))

    def open(self, step: OpenReplica) -> None:
        """See ``Replicas``."""
        group = step.group
        if group in self.held:
            return
        self._opening.add(group)
        card = _Card(step.founders, step.all_slots)
        voters = step.founders if step.as_founder and group not in self._left else ()

        def founded(outcome: object) -> None:
            self._opening.discard(group)
            if isinstance(outcome, StorageError):
                self._ground.failed(outcome)
                return
            if self._shut:
                return  # the next life of this node finds it
            self._open(group, self._store.generation(group))
            if self._started:
                self._replicas[group].start()

        self.writer.found(group, Configuration(voters, context=encode(card)), founded)

    def _open(self, group: GroupId, generation: int) -> None:
        ground = self._ground
        management = group == MANAGEMENT_GROUP
        states = StateFiles(
            ground.disk,
            group,
            MANAGEMENT_TABLES if management else EXECUTION_TABLES,
            self._state_worker,
            on_failure=ground.failed,
            generation=generation,
        )
        cache_bytes_max = ground.compaction.cache_bytes_max
        restored = self._store.recover(group, states.current.applied_index, cache_bytes_max)
        restore = Management if management else _maker(restored)
        machine = restore(states.current)
        config = ground.raft(
            ground.node, cache_bytes_max=cache_bytes_max, quiet_ticks=ground.quiet_ticks
        )
        core = Raft(config, restored, ground.entropy.seed())
        witness = ground.watch(ground.node, group)
        if witness is not None:
            witness.recovered(core, restored, machine)
        wires = Wires()

        def tick() -> None:
            wires.tick()
            ground.ticked(actor)

        def notify(notices: Sequence[Any]) -> None:
            wires.notices(notices)
            if any(isinstance(notice, MoveWentOn) for notice in notices):
                actor.afterwards(partial(ground.moved, actor))

        actor = GroupActor(
            group,
            core=core,
            machine=machine,
            states=states,
            restore=restore,
            log=self.writer,
            send=ground.send,
            clock=ground.clock,
            on_notices=notify,
            on_tick=tick,
            on_leader=lambda: wires.leader(),  # noqa: PLW0108
            on_restored=lambda before: wires.restored(before),  # noqa: PLW0108
            is_alive=ground.is_alive,
            is_busy=lambda: wires.is_busy() or ground.is_busy(group),
            on_failure=ground.failed,
            observer=ground.observer,
            compaction=ground.compaction,
            pace=ground.pace,
            witness=witness,
        )
        last_index = restored.previous_index + len(restored.entries)
        if last_index:
            runs = len(machine.runs) if isinstance(machine, Machine) else 0
            ground.observer(Recovered(group, actor.applied, last_index, runs))
        replica = self._replicas[group] = Replica(actor, states, wires, self._nursery, witness)
        if not management:
            self._settle(replica)

    # -- living -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Let all replicas begin; those that are opened later begin at once."""
        self._started = True
        for replica in self._replicas.values():
            replica.start()

    def close(self, group: GroupId) -> None:
        """See ``Replicas``."""
        replica = self._replicas.pop(group, None)
        if replica is not None:
            self._opening.add(group)  # until all of it is gone
            self._nursery.start_soon(self._drop, replica, name=f"end of {replica.group.name}")

    async def _drop(self, replica: Replica) -> None:
        await replica.end()
        if replica.witness is not None:
            replica.witness.closed()
        replica.states.stop()
        while isinstance(error := await self._forget(replica.group.group), StorageError):
            self._ground.failed(error)
            if not isinstance(error, StorageFull):
                return  # this node ends; the next life of it finds log and state as they are
            await trio.sleep(RESEND_SECONDS)
        replica.states.current.discard(lambda _: None)
        self._left.add(replica.group.group)
        self._opening.discard(replica.group.group)

    async def _forget(self, group: GroupId) -> object:
        """Drop the log of a group; what came of it."""
        dropped: Promise[object] = Promise()
        self.writer.drop(group, lambda outcome: _tell(dropped, outcome))
        return await dropped.wait()

    def hand_over_rows(self) -> None:
        """After a clean end of all tasks: what is applied may reach the disk."""
        for replica in self._replicas.values():
            replica.group.hand_over_rows()

    def shut(self) -> None:
        """Write what waits and close all files. Blocks."""
        self._shut = True
        with ExitStack() as closing:
            closing.callback(self.writer.close)
            for replica in self._replicas.values():
                closing.callback(replica.states.close)
            closing.callback(self._state_worker.close)
            for replica in self._replicas.values():
                closing.callback(replica.states.stop)


def _tell(promise: Promise[object], outcome: object) -> None:
    promise.set(outcome)


def _maker(restored: Restored) -> Callable[[RowReader], Machine]:
    """Makes the machine of an execution group. Its rows know better than how it began, once there
    are any; and before there are, nothing was compacted.
    """
    card = decode(restored.configuration.context) if restored.configuration.context else None
    assert card is None or isinstance(card, _Card)
    founders, slots = ((), ()) if card is None else (card.founders, ALL_SLOTS * card.all_slots)
    return lambda rows: Machine(founders, rows, slots)
