"""A cluster that writes down what happens, for people to read."""

from flowactor.raft import (
    Append,
    AppendReply,
    EntriesLoaded,
    Entry,
    EntryKind,
    Propose,
    ReadIndex,
    Receive,
    ShareCommit,
    Tick,
    Vote,
    VoteReply,
    Write,
    WritePersisted,
)
from tests.raft.cluster import Cluster


def entry_text(entry: Entry) -> str:
    what = "blank" if entry.kind is EntryKind.BLANK else entry.data.decode()
    return f"{entry.index}/t{entry.term} {what}"


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
            return f"{term}: heartbeat {message.round} at {place}, commit {message.commit}"
        case Append():
            place = f"{message.previous_index}/t{message.previous_term}"
            entries = entries_text(message.entries)
            return f"{term}: after {place} {entries}, commit {message.commit}"
        case AppendReply(success=True):
            return f"{term}: have {message.index}, heard {message.round}"
        case AppendReply():
            return (
                f"{term}: no match at {message.rejected_index}, "
                f"try {message.index}/t{message.hint_term}"
            )
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
    raise AssertionError(event)


def write_text(write: Write) -> str:
    parts = []
    if write.hard_state is not None:
        hard = write.hard_state
        parts.append(f"term {hard.term}, vote {hard.vote}, commit {hard.commit}")
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
        self.about: tuple[type, ...] = (Vote, VoteReply, Append, AppendReply)
        self.lose = lambda packet: False
        super().__init__(count, **settings)

    def say(self, text: str) -> None:
        """A heading, in the words of the test."""
        self.lines += [""] * bool(self.lines) + [f"== {text}"]

    def logs(self) -> None:
        """Every log in memory, by its terms, as the paper draws them."""
        for node, member in self.members.items():
            if member.raft is not None:
                terms = " ".join(map(str, self.terms(node)))
                self.lines.append(f"   {node}: {terms}   (commit {self.status(node).commit_index})")

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
        if effects.status_changed:
            state = self.state(node)
            role = type(state.role).__name__
            of = f" of {state.leader}" if role == "Follower" and state.leader else ""
            told.append(f"now {role}{of}, t{state.term}")
        return told
