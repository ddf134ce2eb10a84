"""Cores that are told, step by step, what to do before the judge of consensus."""

from attrs import Factory, define

from flowactor.raft import (
    Append,
    AppendReply,
    Configuration,
    Effects,
    Entry,
    EntryKind,
    HardState,
    PeerStatus,
    Receive,
    Restored,
    Role,
    Status,
    Write,
    WritePersisted,
)
from flowactor.simulation.checks.consensus import ConsensusChecker
from flowactor.simulation.marks import Marks


def entry(index, term, data=b"x"):
    return Entry(term, index, EntryKind.PAYLOAD, data)


@define
class Core:
    """What the judge sees of a core. No rule is behind it: it is what a test says it is."""

    term: int = 0
    role: Role = Role.FOLLOWER
    last_index: int = 0
    commit_index: int = 0
    counted: dict[int, int] = Factory(dict)
    leader: int = 0
    members: Configuration = Factory(lambda: Configuration((1, 2, 3)))

    def status(self):
        peers = tuple((peer, PeerStatus(index, 1, 0, True)) for peer, index in self.counted.items())
        return Status(
            role=self.role,
            term=self.term,
            leader=self.leader,
            previous_leader=0,
            leader_ticks_silent=0,
            last_index=self.last_index,
            commit_index=self.commit_index,
            configuration=self.members,
            configuration_index=0,
            configuration_term=0,
            transferring=0,
            leads_from=0,
            peers=peers,
        )


class Story:
    """Three nodes before the judge, and what a test lets them do."""

    def __init__(self):
        self.marks = Marks()
        self.checker = ConsensusChecker((1, 2, 3), self.marks, write_ticks_max=5)
        self.cores = {}
        self.numbers = dict.fromkeys((1, 2, 3), 0)
        for node in (1, 2, 3):
            self.start(node)

    def start(self, node, *entries, state=None, **found):
        """A life begins, with this on its disk."""
        state = state or HardState()
        restored = Restored(
            hard_state=state, entries=entries, configuration=Configuration((1, 2, 3)), **found
        )
        last = restored.previous_index + len(entries)
        commit = max(state.commit, restored.applied)
        core = self.cores[node] = Core(state.term, last_index=last, commit_index=commit)
        self.checker.recovered(node, core, restored)

    def step(self, node, *events, state=None, cut=0, entries=(), commit=None, **effects):
        """A core takes these events. What it writes and where it commits is told, what it says is
        in ``effects``; ``role`` and ``term`` are its new ones.
        """
        core = self.cores[node]
        before = core.role, core.term
        core.role, core.term = effects.pop("role", core.role), effects.pop("term", core.term)
        effects["status_changed"] = before != (core.role, core.term)
        core.commit_index = core.commit_index if commit is None else commit
        if state or cut or entries:
            self.numbers[node] += 1
            effects["write"] = Write(self.numbers[node], state, cut, tuple(entries))
            core.last_index = (cut - 1 if cut else core.last_index) + len(entries)
        self.checker.stepped(node, core, events, Effects(**effects))

    def sync(self, node, **effects):
        """All writes of a node are durable, and it takes note."""
        self.step(node, WritePersisted(self.numbers[node]), **effects)

    def vote(self, node, term, candidate):
        """A node is in this term, and its vote is durable."""
        role = Role.CANDIDATE if node == candidate else Role.FOLLOWER
        self.step(node, role=role, term=term, state=HardState(term, candidate, 0))
        self.sync(node)

    def elect(self, leader, term, *voters):
        """A node gets these votes besides its own, and leads with a blank entry."""
        for node in (leader, *voters):
            self.vote(node, term, leader)
        blank = Entry(term, self.cores[leader].last_index + 1, EntryKind.BLANK, b"")
        self.step(leader, role=Role.LEADER, entries=[blank])
        return blank

    def append(self, node, term, previous, *entries, cut=0, sync=True):
        """A follower takes these entries of the leader of a term, after this one."""
        at = (previous.index, previous.term) if previous else (0, 0)
        self.step(node, self.appended(term, *at, *entries), cut=cut, entries=entries)
        if sync:
            self.sync(node)

    @staticmethod
    def appended(term, index, index_term, *entries, round_number=1):
        return Receive(1, Append(term, index, index_term, 0, round_number, entries))


def begun(story):
    """Node 1 leads term 1, and has committed its blank entry with 2: all of it is sound."""
    blank = story.elect(1, 1, 2, 3)
    story.sync(1, messages=[(2, Append(1, 0, 0, 0, 1, (blank,)))])
    story.append(2, 1, None, blank, sync=False)
    story.sync(2, messages=[(1, AppendReply(1, True, 1, 1))])
    story.step(1, Receive(2, AppendReply(1, True, 1, 1)), commit=1, committed=[blank])
    return blank
