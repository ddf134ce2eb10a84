"""The machines of a cluster, and what befalls them: the same at both depths."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Final, Generic, Protocol, TypeVar

from flowactor.cluster.group.actor import ExecutionGroup
from flowactor.cluster.group.sending import Pace as SendingPace
from flowactor.identity import GroupId, NodeId
from flowactor.simulation.changes import Change
from flowactor.simulation.checks.judge import FIRST_GROUP, Judge
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.faults import (
    BitFlip,
    Block,
    ClockDrift,
    ClockJump,
    ClockOffset,
    Crash,
    DiskFull,
    DiskSlow,
    DiskStall,
    Duplicate,
    Fault,
    Loss,
    MisdirectedWrite,
    Partition,
    Pause,
    PowerCut,
    Reorder,
    Reset,
    SlowLink,
    SyncError,
    Wipe,
)
from flowactor.simulation.runtime import NodeClock

__all__ = ["ALWAYS", "Disk", "DiskFault", "Fleet", "LinkFault", "Links", "Machine", "Pace"]

ALWAYS: Final = -1
"""In place of how many syncs fail: all of them."""

LinkFault = Partition | Block | SlowLink | Loss | Duplicate | Reorder | Reset
DiskFault = DiskSlow | DiskStall | DiskFull | SyncError | BitFlip | MisdirectedWrite


class Pace(Protocol):
    """How fast a disk is."""

    def slow(self, seconds: float) -> None:
        """From now on every job takes up to so much longer."""

    def stall(self) -> None:
        """Nothing completes until ``unstall`` was called as often."""

    def unstall(self) -> None:
        """The end of one ``stall``."""


class Disk(Protocol):
    """The device of one machine, as faults strike it.

    Attributes:
        full: nothing may grow.
        failing_syncs: how many of the next syncs fail; ``ALWAYS``: all.
    """

    full: bool
    failing_syncs: int

    @property
    def pace(self) -> Pace:
        """How fast it is."""

    def flip_bit(self, place: float) -> object:
        """One bit that was synced is another one now."""

    def misdirect_next_write(self, place: float) -> None:
        """One sector lands where another was."""


class Machine(Protocol):
    """What a node runs on; it outlives its processes.

    Attributes:
        lost: it can never serve again: its disk is damaged, or it came with another one and the
            cluster does not let it in.
        held: how many reasons there are for its process not to be started.
    """

    lost: bool
    held: int

    @property
    def clock(self) -> NodeClock:
        """Of this machine."""

    @property
    def disk(self) -> Disk:
        """Of this machine."""

    @property
    def life(self) -> object | None:
        """Of the process that is there, if one is."""


class Links(Protocol):
    """The network, as faults strike it."""

    def begin(self, fault: LinkFault) -> None:
        """Links get bad; a one-time fault has happened when this returns."""

    def end(self, fault: LinkFault) -> None:
        """Links are as they were before."""


M = TypeVar("M", bound=Machine)


class Fleet(ABC, Generic[M]):
    """All machines of a cluster: ``play.Cluster``.

    Args:
        machines: by number.
        links: between them.
        judge: sees it all.
        pace: how fast states are sent as long as there are faults.

    Attributes:
        machines: see above.
        pace: how fast states are sent now.
        healed: the nodes that have to work when the faults are over.
    """

    def __init__(
        self, machines: Mapping[int, M], links: Links, judge: Judge, pace: SendingPace
    ) -> None:
        self.machines: Final = machines
        self.pace = pace
        self.healed: tuple[int, ...] = tuple(machines)
        self._links: Final = links
        self._judge: Final = judge
        self._broken: Final[dict[int, list[DiskFault]]] = {number: [] for number in machines}

    # -- what a depth has to say ------------------------------------------------------------------

    @abstractmethod
    def groups(self) -> Mapping[int, ExecutionGroup]:
        """See ``healing.Cluster``."""

    @abstractmethod
    def start(self, node: int) -> None:
        """Start the process of a node, unless one runs or something keeps it from starting."""

    @abstractmethod
    def kill(self, node: int, why: str, *, power_cut: bool = False) -> None:
        """End the process of a node from one instant to the next."""

    @abstractmethod
    def pause(self, node: int) -> None:
        """Stop the process as by SIGSTOP, if it goes on."""

    @abstractmethod
    def resume(self, node: int) -> None:
        """Let the process go on, if it stands still."""

    @abstractmethod
    def replace_disk(self, node: int) -> None:
        """Put an empty disk into a machine that is down."""

    @abstractmethod
    def change(self, change: Change) -> None:
        """The cluster changes: this begins."""

    @abstractmethod
    def change_over(self, change: Change) -> None:
        """A change that takes its time is over."""

    # -- looking ----------------------------------------------------------------------------------

    @property
    def awake(self) -> Collection[int]:
        """See ``healing.Cluster``."""
        return self.groups().keys()

    def replicas(self) -> Mapping[GroupId, Mapping[int, ExecutionGroup]]:
        """See ``healing.Cluster``: there is one group of runs."""
        groups = self.groups()
        return {FIRST_GROUP: groups} if groups else {}

    def belongs(self, node: int, group: GroupId) -> bool:  # noqa: ARG002
        """See ``healing.Cluster``: nobody leaves."""
        return True

    def is_able(self, group: GroupId) -> bool:
        """See ``healing.Cluster``."""
        return self._judge.of(group).consensus.is_able(list(map(NodeId, self.sound)))

    def unsettled(self) -> CheckFailed | None:
        """See ``healing.Cluster``: nobody comes or goes, but who votes may have changed (I35)."""
        if self._judge.consensus.members.is_joint:
            return CheckFailed("I35", "the group is still between two configurations")
        return None

    @property
    def sound(self) -> list[int]:
        """See ``healing.Cluster``."""
        return [node for node in self.healed if not self.machines[node].lost]

    def is_up(self, node: int) -> bool:
        """See ``stage.Cast``."""
        return self.machines[node].life is not None

    # -- all of them ------------------------------------------------------------------------------

    def open(self) -> None:
        """See ``play.Cluster``."""
        for node in self.machines:
            self.start(node)

    def close(self) -> None:
        """See ``play.Cluster``."""
        for node in self.machines:
            self.kill(node, "the run is over")

    def heal(self, nodes: Collection[int]) -> None:
        """See ``stage.Cast``: the others stand still for ever."""
        self.healed = tuple(nodes)
        self.pace = SendingPace()  # slow only for faults to strike in the middle
        for node, machine in self.machines.items():
            if node not in nodes:
                machine.held += 1
                self.pause(node)

    # -- faults -----------------------------------------------------------------------------------

    def take_down(self, node: int, why: str, *, power_cut: bool = False) -> None:
        """Kill the node, and keep it down until ``restart``."""
        self.machines[node].held += 1
        self.kill(node, why, power_cut=power_cut)

    def restart(self, node: int) -> None:
        """One reason less for the node to be down."""
        self.machines[node].held -= 1
        self.start(node)

    def begin(self, one: Fault | Change) -> None:
        """Something goes wrong, or changes."""
        if isinstance(one, Change):
            self.change(one)
            return
        match one:
            case Crash(node=node):
                self.take_down(node, "killed")
            case PowerCut(nodes=nodes):
                for node in nodes:
                    self.take_down(node, "without power", power_cut=True)
            case Wipe(node=node):
                self._wipe(node)
            case Pause(node=node):
                self.pause(node)
            case ClockOffset() | ClockDrift() | ClockJump():
                self.machines[one.node].clock.begin(one)
            case BitFlip(node=node, place=place):
                self.machines[node].disk.flip_bit(place)
            case MisdirectedWrite(node=node, place=place):
                self.machines[node].disk.misdirect_next_write(place)
            case DiskSlow() | DiskStall() | DiskFull() | SyncError():
                self._break_disk(one)
            case _:
                self._links.begin(one)

    def end(self, one: Fault | Change) -> None:
        """It is over; what it left behind stays."""
        if isinstance(one, Change):
            self.change_over(one)
            return
        match one:
            case Crash(node=node) | Wipe(node=node):
                self.restart(node)
            case PowerCut(nodes=nodes):
                for node in nodes:
                    self.restart(node)
            case Pause(node=node):
                self.resume(node)
            case ClockOffset() | ClockDrift() | ClockJump():
                self.machines[one.node].clock.end(one)
            case BitFlip() | MisdirectedWrite():
                pass  # it has happened
            case DiskSlow() | DiskStall() | DiskFull() | SyncError():
                self._mend_disk(one)
            case _:
                self._links.end(one)

    def _wipe(self, node: int) -> None:
        self.lose_disk(node)
        if not self.may_join(node):
            self._judge.marks["wiped disk refused"] += 1
            self.machines[node].lost = True

    def may_join(self, node: int) -> bool:  # noqa: ARG002
        """Whether the machine joins with an empty disk, as another node."""
        return False

    def lose_disk(self, node: int) -> None:
        """Kill the node, and keep it down until ``restart``; its disk is an empty one."""
        self.take_down(node, "its disk is gone")
        self.replace_disk(node)
        self._judge.lost(node)
        machine = self.machines[node]
        for fault in self._broken[node]:
            self._strike(machine.disk, fault)
        self._set(node)

    def _break_disk(self, fault: DiskSlow | DiskStall | DiskFull | SyncError) -> None:
        self._broken[fault.node].append(fault)
        self._set(fault.node)
        self._strike(self.machines[fault.node].disk, fault)

    def _mend_disk(self, fault: DiskSlow | DiskStall | DiskFull | SyncError) -> None:
        self._broken[fault.node].remove(fault)
        self._set(fault.node)
        if isinstance(fault, DiskStall):
            self.machines[fault.node].disk.pace.unstall()

    @staticmethod
    def _strike(disk: Disk, fault: DiskFault) -> None:
        """What begins with a fault, however many there are."""
        if isinstance(fault, DiskStall):
            disk.pace.stall()
        elif isinstance(fault, SyncError) and not fault.lasting:
            disk.failing_syncs = disk.failing_syncs or 1

    def _set(self, node: int) -> None:
        """What all faults of a disk come to together."""
        disk, broken = self.machines[node].disk, self._broken[node]
        disk.pace.slow(sum(fault.seconds for fault in broken if isinstance(fault, DiskSlow)))
        disk.full = any(isinstance(fault, DiskFull) for fault in broken)
        lasting = any(isinstance(fault, SyncError) and fault.lasting for fault in broken)
        if lasting:
            disk.failing_syncs = ALWAYS
        elif disk.failing_syncs == ALWAYS or not any(isinstance(f, SyncError) for f in broken):
            disk.failing_syncs = 0
