"""Counts what the nodes of a cluster say to each other, and what their disks make durable."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from attrs import Factory, define

from flowactor.cluster.group.driven import Outcome
from flowactor.cluster.group.witness import AnyMachine, Witness
from flowactor.cluster.protocol.envelopes import RaftEnvelope
from flowactor.codec.records import encode
from flowactor.identity import GroupId, NodeId
from flowactor.raft import Append, Effects, Entry, Event, Raft, Restored, Snapshot
from flowactor.simulation.disk import Device

__all__ = ["Census", "Count"]


@define
class Count:
    """So much happened.

    Attributes:
        appends: messages with entries, by group; ``append_bytes`` of those, but for the entries.
        beats: messages of a leader without entries.
        others: answers to either, votes and the like.
        sent: messages of all kinds, by sender and group.
        frames: that arrived, at all nodes; ``frame_bytes`` of those.
        syncs: of all disks.
    """

    appends: Counter[GroupId] = Factory(Counter)
    append_bytes: Counter[GroupId] = Factory(Counter)
    beats: Counter[GroupId] = Factory(Counter)
    others: Counter[GroupId] = Factory(Counter)
    sent: Counter[tuple[NodeId, GroupId]] = Factory(Counter)
    frames: int = 0
    frame_bytes: int = 0
    syncs: int = 0

    def replication(self, group: GroupId) -> int:
        """Messages that brought entries, and the answers to those."""
        return self.appends[group] + self.others[group] - self.beats[group]

    def most(self, group: GroupId) -> int:
        """Messages of all kinds, by the node that sent most of them."""
        return max((count for (_, of), count in self.sent.items() if of == group), default=0)

    def since(self, before: "Count") -> "Count":
        """What happened after ``before``."""
        return Count(
            self.appends - before.appends,
            self.append_bytes - before.append_bytes,
            self.beats - before.beats,
            self.others - before.others,
            self.sent - before.sent,
            self.frames - before.frames,
            self.frame_bytes - before.frame_bytes,
            self.syncs - before.syncs,
        )


class Census:
    """Counts from the beginning of a cluster on."""

    def __init__(self) -> None:
        self._count: Final = Count()
        self._devices: Final[list[Device]] = []

    def device(self, device: Device) -> Device:
        """The disk of one more node."""
        self._devices.append(device)
        return device

    def arrived(self, sender: int, receiver: int, size: int, connection: int) -> None:  # noqa: ARG002
        """See ``Network``."""
        self._count.frames += 1
        self._count.frame_bytes += size

    def watch(self, node: NodeId, group: GroupId) -> Witness:
        """See ``Watch``."""
        return _Teller(self._count, node, group)

    def take(self) -> Count:
        """All so far, for ``Count.since``."""
        count = self._count.since(Count())
        count.syncs = sum(device.statistics.syncs for device in self._devices)
        return count


class _Teller(Witness):
    """Of one replica."""

    def __init__(self, count: Count, node: NodeId, group: GroupId) -> None:
        self._count: Final = count
        self._node: Final = node
        self._group: Final = group

    def stepped(self, core: Raft, events: Sequence[Event], effects: Effects) -> None:  # noqa: ARG002
        """See ``Witness``."""
        count, group = self._count, self._group
        for _, message in effects.messages:
            count.sent[self._node, group] += 1
            if not isinstance(message, Append):
                count.others[group] += 1
            elif message.entries:
                count.appends[group] += 1
                data_bytes = sum(len(entry.data) for entry in message.entries)
                whole_bytes = len(encode(RaftEnvelope(group, message)))
                count.append_bytes[group] += whole_bytes - data_bytes
            else:
                count.beats[group] += 1

    def recovered(self, core: Raft, restored: Restored, machine: AnyMachine) -> None:
        """See ``Witness``."""

    def copying(self, index: int) -> None:
        """See ``Witness``."""

    def restored(self, snapshot: Snapshot, machine: AnyMachine) -> None:
        """See ``Witness``."""

    def applied(self, entry: Entry, outcome: Outcome) -> None:
        """See ``Witness``."""

    def closed(self) -> None:
        """See ``Witness``."""
