"""A cluster that writes down what happens, for people to read."""

from contextlib import contextmanager
from typing import get_args

from flowactor.codec.records import decode
from flowactor.raft import (
    Append,
    AppendReply,
    ChangeConfiguration,
    Configuration,
    EntriesLoaded,
    Entry,
    EntryKind,
    InstallSnapshot,
    Message,
    Propose,
    ReadIndex,
    Receive,
    ShareCommit,
    Snapshot,
    SnapshotStaged,
    Tick,
    TimeoutNow,
    TransferLeadership,
    Vote,
    VoteReply,
    Wake,
    Write,
    WritePersisted,
)
from tests.raft.cluster import Cluster


def members_text(members: Configuration) -> str:
    """``{1,2}`` are two voters, ``{1,2}+{3}`` has a learner more, ``{1,2}&{1,3}`` is joint: the new
    voters, and the old.
    """
    sets = [members.voters, *[members.outgoing] * bool(members.outgoing)]
    text = "&".join("{" + ",".join(map(str, voters)) + "}" for voters in sets)
    return text + ("+{" + ",".join(map(str, members.learners)) + "}") * bool(members.learners)


def entry_text(entry: Entry) -> str:
    match entry.kind:
        case EntryKind.BLANK:
            what = "blank"
        case EntryKind.CONFIGURATION:
            what = members_text(decode(entry.data))
        case EntryKind.PAYLOAD:
            what = entry.data.decode()
    return f"{entry.index}/t{entry.term} {what}"


def snapshot_text(snapshot: Snapshot) -> str:
    return f"{snapshot.index}/t{snapshot.term} of {members_text(snapshot.configuration)}"


def entries_text(entries) -> str:
    return "[" + ", ".join(map(entry_text, entries)) + "]"


def message_text(message) -> str:
    """One line for a message; ``5/t2`` is index 5 of term 2."""
    term = f"t{message.term}"
    match message:
        case Vote():
            kind = "would you vote" if message.pre else "vote"
            return (
                f"{kind} for me in {term}? my log ends at {message.last_index}/t{message.last_term}"
            )
        case VoteReply():
            kind = "would" if message.pre else "vote"
            return f"{term}: {kind} {'yes' if message.granted else 'no'}"
        case Append(entries=()):
            place = f"{message.previous_index}/t{message.previous_term}"
            call = ", be quiet" * message.quiet
            return f"{term}: heartbeat {message.round} at {place}, commit {message.commit}{call}"
        case Append():
            place = f"{message.previous_index}/t{message.previous_term}"
            entries = entries_text(message.entries)
            return f"{term}: after {place} {entries}, commit {message.commit}"
        case AppendReply(success=True):
            quiet = ", am quiet" * message.quiet
            return f"{term}: have {message.index}, heard {message.round}{quiet}"
        case AppendReply():
            return (
                f"{term}: no match at {message.rejected_index}, "
                f"try {message.index}/t{message.hint_term}"
            )
        case InstallSnapshot():
            return f"{term}: install the snapshot {snapshot_text(message.snapshot)}"
        case TimeoutNow():
            return f"{term}: campaign now"
    raise AssertionError(message)


def event_text(event) -> str:
    match event:
        case Tick():
            return "tick"
        case Receive():
            return f"from {event.sender}: {message_text(event.message)}"
        case Propose():
            return "propose " + ", ".join(payload.decode() for payload in event.payloads)
        case ReadIndex():
            return f"read #{event.token}"
        case WritePersisted():
            return f"write {event.number} is durable"
        case EntriesLoaded():
            return f"loaded for {event.peer}: {entries_text(event.entries)}"
        case ShareCommit():
            return "share commit with " + ", ".join(map(str, event.peers))
        case ChangeConfiguration():
            return f"have {members_text(event.wanted)} #{event.token}"
        case TransferLeadership():
            return f"hand over to {event.target} #{event.token}"
        case SnapshotStaged(snapshot=Snapshot() as snapshot):
            return f"{event.peer} holds the snapshot {snapshot_text(snapshot)}"
        case SnapshotStaged():
            return f"no snapshot for {event.peer}"
        case Wake():
            return "wake"
    raise AssertionError(event)


def write_text(write: Write) -> str:
    parts = []
    if write.hard_state is not None:
        hard = write.hard_state
        parts.append(f"term {hard.term}, vote {hard.vote}, commit {hard.commit}")
    if write.snapshot is not None:
        parts.insert(0, f"snapshot {snapshot_text(write.snapshot)} for the whole log")
    if write.truncate_from:
        parts.append(f"cut from {write.truncate_from}")
    if write.entries:
        parts.append(f"add {entries_text(write.entries)}")
    return f"write {write.number}: " + "; ".join(parts)


class Told(Cluster):
    """A cluster with a transcript, and a network that loses what ``lose`` picks.

    ``between`` and ``about`` limit what is written down: to what these nodes say to each other, to
    messages of these kinds.
    """

    def __init__(self, count=3, **settings) -> None:
        self.lines: list[str] = []
        self.telling = True
        self.between: set[int] = set(range(1, count + 1))
        self.about: tuple[type, ...] = get_args(Message)
        self.lose = lambda packet: False
        self.told_members: dict[int, Configuration] = {}
        super().__init__(count, **settings)

    def say(self, text: str) -> None:
        """A heading, in the words of the test."""
        self.lines += [""] * bool(self.lines) + [f"== {text}"]

    @contextmanager
    def untold(self):
        """What happens here is not written down."""
        self.telling = False
        yield
        self.telling = True

    def logs(self) -> None:
        """Every log in memory, by its terms, as the paper draws them."""
        for node, member in self.members.items():
            if member.raft is not None:
                terms = " ".join(map(str, self.terms(node)))
                self.lines.append(f"   {node}: {terms}   (commit {self.status(node).commit_index})")

    def start(self, node) -> None:
        super().start(node)
        self.between.add(node)
        self.told_members[node] = self.status(node).configuration

    def deliver(self, packet) -> None:
        lost = (packet.sender, packet.receiver) in self.cut or self.lose(packet)
        if lost or self.members[packet.receiver].raft is None:
            told = {packet.sender, packet.receiver} <= self.between
            if self.telling and told and isinstance(packet.message, self.about):
                text = message_text(packet.message)
                self.lines.append(f"   lost, {packet.sender} to {packet.receiver}: {text}")
            return
        super().deliver(packet)

    def tell(self, node, events, effects) -> None:
        heard = [event for event in events if isinstance(event, Receive)]
        if not self.telling or not {node, *(event.sender for event in heard)} <= self.between:
            return
        told = [write_text(effects.write)] if effects.write else []
        told += [
            f"-> {peer} {message_text(message)}"
            for peer, message in effects.messages
            if peer in self.between and isinstance(message, self.about)
        ]
        told += self.outcome(node, effects)
        off_topic = any(not isinstance(event.message, self.about) for event in heard)
        ticks_only = all(isinstance(event, Tick) for event in events)
        if told or not (off_topic or ticks_only):
            self.lines.append(f"{node}: " + "; ".join(map(event_text, events)))
            self.lines += [f"      {line}" for line in told]

    def outcome(self, node, effects) -> list[str]:
        """What a step tells its own node."""
        told = [
            f"accepted #{token}: {first} to {last}, t{term}"
            for token, term, first, last in effects.accepted
        ]
        told += [f"refused #{token}: {reason.value}" for token, reason in effects.refused]
        if effects.committed:
            told.append(f"committed {entries_text(effects.committed)}")
        told += [f"serve read #{token} at {index}" for token, index in effects.reads]
        told += [f"load for {load.peer}: {load.first} to {load.last}" for load in effects.loads]
        told += [f"bring {peer} a snapshot" for peer in effects.snapshots]
        if effects.restored is not None:
            told.append(f"goes on from the snapshot {snapshot_text(effects.restored)}")
        if effects.status_changed:
            state = self.state(node)
            role = type(state.role).__name__
            of = f" of {state.leader}" if role == "Follower" and state.leader else ""
            told.append(f"now {role}{of}, t{state.term}" + self.news(node))
        return told

    def news(self, node) -> str:
        """What else is different in a node's status."""
        status = self.status(node)
        before, self.told_members[node] = self.told_members[node], status.configuration
        members = f", members {members_text(status.configuration)}"
        news = members if before != status.configuration else ""
        news += f", hands over to {status.transferring}" * bool(status.transferring)
        return news + ", quiet" * status.quiet
