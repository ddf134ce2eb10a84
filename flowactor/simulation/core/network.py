"""Links at core depth: messages as objects, which arrive late, twice, out of order or never."""

from collections.abc import Callable
from itertools import product
from random import Random
from typing import Final

from attrs import define

from flowactor.cluster.protocol.envelopes import (
    Alive,
    Forward,
    GroupEnvelope,
    RaftEnvelope,
    ReadAnswer,
    ReadAsk,
    SnapshotChunk,
    SnapshotHeld,
    SnapshotOffer,
    SnapshotWanted,
)
from flowactor.limits import NANOSECONDS
from flowactor.simulation.core.heap import Heap
from flowactor.simulation.faults import (
    Block,
    Duplicate,
    Loss,
    Partition,
    Reorder,
    Reset,
    SlowLink,
)
from flowactor.simulation.fleet import LinkFault
from flowactor.simulation.trace import Kind, Trace
from flowactor.simulation.words import word_of_message

__all__ = ["CoreNetwork"]

LATENCY_NS_MIN: Final = 100_000
LATENCY_NS_JITTER: Final = 900_000
REORDER_NS: Final = 300_000_000
"""How far messages overtake each other where links reorder."""


@define(eq=False)
class _Path:
    """One way between two nodes. ``epoch`` grows when what is under way is lost."""

    blocked: int = 0
    slow_seconds: float = 0.0
    loss: float = 0.0
    duplicates: float = 0.0
    reorders: int = 0
    arrival_ns: int = 0
    epoch: int = 0


class CoreNetwork:
    """All links of a cluster.

    Args:
        heap: when messages arrive.
        chance: how late.
        trace: what is sent and what arrives.
        deliver: (sender, receiver, envelope) has arrived; returns whether anybody is there.
    """

    def __init__(
        self,
        nodes: range,
        heap: Heap,
        chance: Random,
        trace: Trace,
        deliver: Callable[[int, int, GroupEnvelope | Alive], bool],
    ) -> None:
        self._heap: Final = heap
        self._time: Final = heap.time
        self._random: Final = chance.random
        self._trace: Final = trace
        self._deliver: Final = deliver
        self._paths: Final = {(a, b): _Path() for a, b in product(nodes, nodes) if a != b}
        self._number = 0

    def send(self, sender: int, receiver: int, envelope: GroupEnvelope | Alive) -> None:
        """Put a message on its way; whether it arrives is another matter."""
        self._number = number = self._number + 1
        if not isinstance(envelope, Alive):
            what, term = _described(envelope)
            self._trace.add(self._time.now_ns, sender, Kind.SENT, number, receiver, what, term)
        path = self._paths[sender, receiver]
        if path.blocked or (path.loss and self._random() < path.loss):
            return
        self._carry(path, sender, receiver, envelope, number)
        if path.duplicates and self._random() < path.duplicates:
            self._carry(path, sender, receiver, envelope, number)

    def _carry(
        self, path: _Path, sender: int, receiver: int, envelope: GroupEnvelope | Alive, number: int
    ) -> None:
        due_ns = self._time.now_ns + LATENCY_NS_MIN + int(self._random() * LATENCY_NS_JITTER)
        if path.slow_seconds:
            due_ns += int(self._random() * path.slow_seconds * NANOSECONDS)
        if path.reorders:
            due_ns += int(self._random() ** 4 * REORDER_NS)
        else:
            path.arrival_ns = due_ns = max(due_ns, path.arrival_ns)
        self._heap.post(due_ns, self._arrive, path, path.epoch, sender, receiver, envelope, number)

    def _arrive(
        self,
        path: _Path,
        epoch: int,
        sender: int,
        receiver: int,
        envelope: GroupEnvelope | Alive,
        number: int,
    ) -> None:
        if path.blocked or path.epoch != epoch:
            return
        if self._deliver(sender, receiver, envelope) and not isinstance(envelope, Alive):
            self._trace.add(self._time.now_ns, receiver, Kind.RECEIVED, number, sender)

    # -- faults -----------------------------------------------------------------------------------

    def drop(self, node: int) -> None:
        """The node's connections are gone, with everything on its way."""
        for pair, path in self._paths.items():
            if node in pair:
                path.epoch += 1

    def cut(self, node: int, change: int) -> None:
        """Part a node from all others (1), or end that (-1)."""
        for pair, path in self._paths.items():
            if node in pair:
                path.blocked += change

    def begin(self, fault: LinkFault) -> None:
        """Links get bad; a one-time fault has happened when this returns."""
        self._change(fault, 1)

    def end(self, fault: LinkFault) -> None:
        """Links are as they were before this fault began, if no other struck them."""
        self._change(fault, -1)

    def _change(self, fault: LinkFault, sign: int) -> None:
        match fault:
            case Partition(sides=sides):
                for (a, b), path in self._paths.items():
                    if not any(a in side and b in side for side in sides):
                        path.blocked += sign
            case Block():
                self._paths[fault.source, fault.target].blocked += sign
            case SlowLink(seconds=seconds):
                self._paths[fault.source, fault.target].slow_seconds += sign * seconds
            case Loss(odds=odds):
                self._paths[fault.source, fault.target].loss += sign * odds
            case Duplicate(odds=odds):
                self._paths[fault.source, fault.target].duplicates += sign * odds
            case Reorder():
                self._paths[fault.source, fault.target].reorders += sign
            case Reset(source=a, target=b):
                self._paths[a, b].epoch += 1
                self._paths[b, a].epoch += 1


def _described(envelope: GroupEnvelope) -> tuple[str, int]:
    """What a message is, in a word, and its term."""
    if isinstance(envelope, RaftEnvelope):
        return word_of_message(envelope.message), envelope.message.term
    return _WORDS[type(envelope)], 0


_WORDS: Final = {
    Forward: "forward",
    ReadAsk: "read?",
    ReadAnswer: "read",
    SnapshotOffer: "state?",
    SnapshotChunk: "state",
    SnapshotWanted: "state so far",
    SnapshotHeld: "state held",
}
