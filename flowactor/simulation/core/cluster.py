"""A cluster at core depth: machines with clocks and disks, and the lives of nodes on them."""

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Final

from attrs import asdict

from flowactor.cluster.group.actor import ExecutionGroup
from flowactor.cluster.protocol.envelopes import Alive, GroupEnvelope
from flowactor.identity import NodeId
from flowactor.limits import NANOSECONDS
from flowactor.raft import Configuration
from flowactor.simulation.changes import Change, Reshape
from flowactor.simulation.checks.judge import Judge
from flowactor.simulation.checks.windows import Windows
from flowactor.simulation.core.bodies import Bodies
from flowactor.simulation.core.heap import Heap
from flowactor.simulation.core.life import Habitat, Life, Machine
from flowactor.simulation.core.network import CoreNetwork
from flowactor.simulation.core.states import Vault
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.fleet import Fleet
from flowactor.simulation.housekeeping import draw_compaction, draw_pace
from flowactor.simulation.runtime import stream
from flowactor.simulation.trace import Kind
from flowactor.simulation.world import World
from flowactor.workflow import App

__all__ = ["CoreCluster", "next_shape"]

START_NS: Final = 100_000_000
RESHAPE_NS: Final = 20_000_000
"""So often somebody looks whether the next change of voters may begin."""
RESTART_NS: Final = NANOSECONDS
"""A supervisor of processes starts one again that ended by itself."""


class CoreCluster(Fleet[Machine]):
    """All machines, and what can befall them.

    Args:
        app: the code that every node has.
        nodes: how many.
        seed: decides delays and time-outs.
        heap: virtual time.
        judge: sees it all.
        bodies: where step bodies run.
        world: outside.
        windows: the limits of all cores.
    """

    def __init__(
        self,
        app: App,
        nodes: int,
        seed: int,
        heap: Heap,
        judge: Judge,
        bodies: Bodies,
        world: World,
        windows: Windows,
    ) -> None:
        numbers, vault = range(1, nodes + 1), Vault()
        compaction = draw_compaction(stream(seed, "compaction"))
        cache_bytes_max = min(windows.cache_bytes_max, compaction.cache_bytes_max)
        machines = {
            node: Machine(node, heap, seed, vault, partial(self._stop_for_disk, node))
            for node in numbers
        }
        network = CoreNetwork(numbers, heap, stream(seed, "network"), judge.trace, self._deliver)
        super().__init__(machines, network, judge, draw_pace(stream(seed, "pace")))
        self._network: Final = network
        self._seed: Final = seed
        self._heap: Final = heap
        self._handled = 0
        self._shapes: Final[list[Reshape]] = []
        self._left_alone = False
        self._habitat: Final = Habitat(
            app=app,
            voters=tuple(map(NodeId, numbers)),
            heap=heap,
            judge=judge,
            bodies=bodies,
            world=world,
            send=network.send,
            limits=asdict(windows) | {"cache_bytes_max": cache_bytes_max},
            compaction=compaction,
            pace=lambda: self.pace,
        )

    # -- looking ----------------------------------------------------------------------------------

    @property
    def handled(self) -> int:
        """How many messages all actors have handled so far."""
        return self._handled + sum(life.handled for life in self._lives)

    @property
    def _lives(self) -> list[Life]:
        """Of all processes that are there, running or paused; by number."""
        return [machine.life for machine in self.machines.values() if machine.life is not None]

    def groups(self) -> Mapping[int, ExecutionGroup]:
        """See ``healing.Cluster``."""
        return {int(life.node): life.group for life in self._lives if not life.paused}

    # -- changes ----------------------------------------------------------------------------------

    def change(self, change: Change) -> None:
        """See ``Fleet``."""
        assert isinstance(change, Reshape), "any other is refused before the run begins"
        self._shapes.append(change)
        self._left_alone |= change.alone
        self._reshape(change)

    def change_over(self, change: Change) -> None:
        """See ``Fleet``: what was begun is committed or not."""
        assert isinstance(change, Reshape), "any other is refused before the run begins"
        self._shapes.remove(change)

    def _reshape(self, change: Reshape) -> None:
        """Every node that takes itself for the leader does what it may."""
        if change in self._shapes:
            self._ask_leaders(change)
            self._heap.post(self._heap.now_ns + RESHAPE_NS, self._reshape, change)

    def _ask_leaders(self, change: Reshape | None) -> None:
        """Take the next step of the change, or without one let those in who are no members."""
        everyone = tuple(map(NodeId, self.machines))
        for life in self._lives:
            if not life.group.is_leader or life.paused:
                continue
            present = life.group.progress().configuration
            step = change or Reshape(present.voters, 0.0)
            wanted = next_shape(step, present, everyone)
            if wanted is not None:
                life.group.change(wanted)
                life.touched = True

    def heal(self, nodes: Collection[int]) -> None:
        """See ``stage.Cast``: whoever was taken out is a member again."""
        super().heal(nodes)
        self._let_in()

    def _let_in(self) -> None:
        if self._left_alone:
            self._ask_leaders(None)
            self._heap.post(self._heap.now_ns + RESHAPE_NS, self._let_in)

    @property
    def _strangers(self) -> list[int]:
        members = self._judge.consensus.members.members
        return [node for node in self.machines if node not in members]

    def unsettled(self) -> CheckFailed | None:
        """See ``healing.Cluster``."""
        if strangers := self._strangers:
            return CheckFailed("I35", f"node {strangers[0]} is not let in again")
        return super().unsettled()

    # -- events -----------------------------------------------------------------------------------

    def _deliver(self, sender: int, receiver: int, envelope: GroupEnvelope | Alive) -> bool:
        life = self.machines[receiver].life
        if life is not None:
            # What is under way when a process ends is lost: this is of the one that runs now.
            life.meet(sender, self.machines[sender].lives)
            if not isinstance(envelope, Alive):
                life.group.receive(NodeId(sender), envelope)
            elif envelope.asks:
                life.vigil.asked(NodeId(sender))
            life.touched = True
        return life is not None

    def settle(self) -> None:
        """Let every node handle what has come to it."""
        for machine in self.machines.values():
            life = machine.life
            if life is not None and life.touched:
                life.settle()

    # -- lives ------------------------------------------------------------------------------------

    def open(self) -> None:
        """See ``play.Cluster``: at moments of their own, or all would tick in step for ever."""
        chance = stream(self._seed, "starts")
        for node in self.machines:
            self._heap.post(int(chance.random() * START_NS), self.start, node)

    def start(self, node: int) -> None:
        """See ``Fleet``."""
        machine = self.machines[node]
        if machine.life is not None or machine.lost or machine.held:
            return
        if machine.disk.damaged:
            machine.lost = True
            self._judge.marks["damage found"] += 1
            self._judge.write(node, Kind.STOPPED, "its log is damaged")
            return
        machine.lives += 1
        chance = stream(self._seed, f"life {node}.{machine.lives}")
        machine.life = Life(node, machine.lives, machine, self._habitat, chance)

    def kill(self, node: int, why: str, *, power_cut: bool = False) -> None:  # noqa: ARG002
        """See ``Fleet``. What is in memory here does not miss the power."""
        machine = self.machines[node]
        life, machine.life = machine.life, None
        if life is None:
            return
        self._handled += life.handled
        self._judge.died(node)
        self._judge.write(node, Kind.STOPPED, why)
        life.die()
        self._network.drop(node)
        machine.disk.crash()
        machine.states.crash()

    def _stop_for_disk(self, node: int) -> None:
        """A sync failed: the process ends, and is started again a little later."""
        self._judge.marks["sync failed"] += 1
        self.kill(node, "a sync failed")
        self._heap.post(self._heap.now_ns + RESTART_NS, self.start, node)

    def pause(self, node: int) -> None:
        """See ``Fleet``."""
        life = self.machines[node].life
        if life is not None and not life.paused:
            life.pause()
            self._judge.quiet.paused(node)

    def resume(self, node: int) -> None:
        """See ``Fleet``."""
        life = self.machines[node].life
        if life is not None and life.paused:
            life.resume()
            self._judge.quiet.resumed(node)

    def replace_disk(self, node: int) -> None:
        """See ``Fleet``: nobody will ever look at it."""


def next_shape(
    change: Reshape, present: Configuration, everyone: tuple[NodeId, ...]
) -> Configuration | None:
    """The next configuration on the way, or the last one if all may change at once; None if the
    group is there.
    """
    wanted, voters = set(map(NodeId, change.voters)), set(present.voters)
    members = wanted if change.alone else set(everyone)
    if strangers := members.difference(present.members):  # they have to catch up
        return _with_learners(present.voters, {*present.learners, *strangers})
    if voters == wanted:
        last = _with_learners(voters, members - voters)
        return None if last.members == present.members else last
    if change.at_once:
        voters = wanted
    else:  # first one that is wanted, then one that is not
        voters ^= {min(wanted - voters or voters - wanted)}
    return _with_learners(voters, members - voters)


def _with_learners(voters: Iterable[NodeId], learners: Iterable[NodeId]) -> Configuration:
    return Configuration(tuple(sorted(voters)), tuple(sorted(learners)))
