"""The whole network: machines, the paths between them, and what goes wrong on those."""

import errno
from functools import partial
from itertools import permutations
from random import Random
from typing import Final, assert_never

from flowactor.limits import CONNECT_TIMEOUT_SECONDS
from flowactor.simulation.agenda import Agenda
from flowactor.simulation.faults import (
    Block,
    Duplicate,
    Loss,
    Partition,
    Reorder,
    Reset,
    SlowLink,
)
from flowactor.simulation.network.ends import End, Machine, Told
from flowactor.simulation.network.flows import Sign
from flowactor.simulation.network.paths import Path
from flowactor.simulation.network.streams import Host

__all__ = ["Network", "NetworkFault"]

NetworkFault = Partition | Block | SlowLink | Loss | Duplicate | Reorder | Reset

NODES: Final = 9
EPHEMERAL_PORT: Final = 49_152
EPHEMERAL_PORTS: Final = 16_384


def nobody(sender: int, receiver: int, size: int, connection: int) -> None:
    """Is told, and does nothing with it."""


class Network:
    """A network of machines, which go by numbers. Everything in it follows from its arguments.

    Args:
        agenda: its time.
        chance: a seed is drawn from it, once; each path has a generator of its own from there.
        nodes: machines 1 to this are nodes, the others clients. A partition cuts off a node that it
            does not name, but no client.
        latency_seconds: least and most of what a pair of machines usually needs for one way.
        window_bytes: sent and not yet read, in one direction of a connection.
        silence_seconds: how long a connection holds when nothing gets through. The real one's,
            unless told otherwise.
        told: of each arrival of data (sender, receiver, bytes, number of the connection).
    """

    def __init__(
        self,
        agenda: Agenda,
        chance: Random,
        *,
        nodes: int = NODES,
        latency_seconds: tuple[float, float] = (0.0001, 0.001),
        window_bytes: int = 256 * 1024,
        silence_seconds: float = CONNECT_TIMEOUT_SECONDS,
        told: Told = nobody,
    ) -> None:
        self._agenda: Final = agenda
        self._seed: Final = chance.getrandbits(64)
        self._nodes: Final = range(1, nodes + 1)
        self._latency_seconds: Final = latency_seconds
        self._window_bytes: Final = window_bytes
        self._silence_ns: Final = int(silence_seconds * 1e9)
        self._told: Final = told
        self._machines: Final[dict[int, Machine]] = {}
        self._paths: Final[dict[tuple[int, int], Path]] = {}
        self._connections = 0

    def host(self, machine: int) -> Host:
        """A process starts on this machine, which has power now: what it has of the network.
        The process that was there before must have been killed.
        """
        place = self._machine(machine)
        assert place.host is None, f"a process runs on machine {machine}"
        place.off = False
        place.host = host = Host(partial(self._pair, place), place)
        return host

    # -- processes --------------------------------------------------------------------------------

    def kill(self, machine: int, *, silent: bool = False) -> None:
        """The process there is gone: its listeners vanish and its connections break. The other
        sides see a reset, if it gets through; or nothing at all if ``silent``: the power is off
        until ``host`` is asked for the next process.
        """
        place = self._machine(machine)
        place.off = silent
        place.host = None
        self.thaw(machine)
        place.listeners.clear()
        for end in list(place.ends.values()):
            if silent:
                end.peer.doubt()
            elif end.connected:
                end.send_error(errno.ECONNRESET)
            end.die(errno.ENETDOWN)

    def freeze(self, machine: int) -> None:
        """The process is stopped: it sends nothing and reads nothing, but its kernel goes on."""
        self._machine(machine).frozen = True

    def thaw(self, machine: int) -> None:
        """The process goes on where it was."""
        place = self._machine(machine)
        if place.frozen:
            place.frozen = False
            place.thawed.unpark_all()
            missed, place.missed[:] = place.missed[:], []
            for end in missed:
                end.wake()

    # -- faults -----------------------------------------------------------------------------------

    def begin(self, fault: NetworkFault) -> None:
        """It strikes. Faults add up: each has its own end."""
        match fault:
            case Partition():
                for path in self._cut_by(fault):
                    self._block(path)
            case Block():
                self._block(self._path_of(fault))
            case SlowLink(seconds=seconds):
                self._path_of(fault).slow_seconds.append(seconds)
            case Loss(odds=odds):
                self._path_of(fault).losses.append(odds)
            case Reorder():
                self._path_of(fault).reorders += 1
            case Reset(source=source, target=target):
                for end in self._ends_between(self._machine(source), self._machine(target)):
                    end.break_off(errno.ECONNRESET)
            case Duplicate():
                pass  # a connection knows what it has seen already
            case _:
                assert_never(fault)

    def end(self, fault: NetworkFault) -> None:
        """It is over: one that has begun, and has not ended yet."""
        match fault:
            case Partition():
                for path in self._cut_by(fault):
                    path.blocks -= 1
            case Block():
                self._path_of(fault).blocks -= 1
            case SlowLink(seconds=seconds):
                self._path_of(fault).slow_seconds.remove(seconds)
            case Loss(odds=odds):
                self._path_of(fault).losses.remove(odds)
            case Reorder():
                self._path_of(fault).reorders -= 1
            case Reset() | Duplicate():
                pass
            case _:
                assert_never(fault)

    def _cut_by(self, fault: Partition) -> list[Path]:
        named = sorted({*self._nodes, *(node for side in fault.sides for node in side)})
        return [
            self._path(source, target)
            for source, target in permutations(named, 2)
            if not any(source in side and target in side for side in fault.sides)
        ]

    def _path_of(self, fault: Block | SlowLink | Loss | Reorder) -> Path:
        return self._path(fault.source, fault.target)

    def _block(self, path: Path) -> None:
        path.blocks += 1
        one, other = path.source.number, path.target.number
        for end in self._ends_between(self._machine(one), self._machine(other)):
            end.doubt()

    # -- the parts --------------------------------------------------------------------------------

    def _pair(self, machine: Machine, target: int, port: int, whole: bool) -> End:
        """A new connection, about to be opened from ``machine``: its first end."""
        self._connections += 1
        number, path = self._connections, self._path(machine.number, target)
        make = partial(End, number, window_bytes=self._window_bytes, whole=whole, told=self._told)
        near = make(machine, EPHEMERAL_PORT + number % EPHEMERAL_PORTS, path)
        far = make(self._machine(target), port, path.back)
        near.join(far, 2 * number, self._silence_ns)
        far.join(near, 2 * number + 1, self._silence_ns)
        near.begin()
        near.flow.put(Sign.OPEN)
        return near

    def _ends_between(self, one: Machine, other: Machine) -> list[End]:
        """All ends of connections between the two that one of the kernels still knows."""
        here = [end for end in one.ends.values() if end.peer.machine is other]
        return here + [end for end in other.ends.values() if end.peer.machine is one]

    def _machine(self, number: int) -> Machine:
        machine = self._machines.get(number)
        if machine is None:
            machine = self._machines[number] = Machine(number)
        return machine

    def _path(self, source: int, target: int) -> Path:
        path = self._paths.get((source, target))
        if path is None:
            path = self._paths[source, target] = self._make_path(source, target)
            path.back = self._path(target, source)
        return path

    def _make_path(self, source: int, target: int) -> Path:
        low, high = sorted((source, target))
        usual_seconds = Random(f"{self._seed} pair {low} {high}").uniform(*self._latency_seconds)
        return Path(
            self._agenda,
            Random(f"{self._seed} path {source} {target}"),
            int(usual_seconds * 1e9),
            self._machine(source),
            self._machine(target),
        )
