"""The judge of consensus: looks at each step of each core from outside, and at all nodes at once.

The names I1 to I14 are those of the list of invariants in ``docs/design/simulation.md``. All that
is known here (who led, what is committed, what each log holds) is the checker's own record: no node
ever reads it. A check costs as much as the step it looks at changed.
"""

from collections import deque
from collections.abc import Collection, Sequence
from typing import Final

from attrs import Factory, define, evolve

from flowactor.identity import NodeId
from flowactor.limits import ELECTION_TICKS_MIN
from flowactor.raft import (
    Append,
    AppendReply,
    Configuration,
    Effects,
    Entry,
    EntryKind,
    Event,
    InstallSnapshot,
    Raft,
    ReadIndex,
    Receive,
    RefusalReason,
    Restored,
    Role,
    Snapshot,
    Status,
    Tick,
    Vote,
    VoteReply,
    Write,
    WritePersisted,
)
from flowactor.simulation.checks.durable import DurableLog
from flowactor.simulation.checks.members import Members, disjoint_quorums, is_quorum
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.marks import Marks

__all__ = ["ConsensusChecker"]

INDEX_MAX: Final = 2**63 - 1

_FromLeader = Append | InstallSnapshot


def _reach(message: _FromLeader) -> int:
    """The last index that a leader's message speaks of."""
    if isinstance(message, InstallSnapshot):
        return message.snapshot.index
    return message.previous_index + len(message.entries)


@define(eq=False)
class _View:
    """One life of one node, as its steps let it be seen.

    Attributes:
        log: the whole log, from index 1: what the core was restored from, all it wrote since, and
            below a snapshot what is committed.
        members: the configurations in it.
        verified: up to here the log was compared with what is committed.
        writing: (write, tick) handed to the disk, and not reported durable yet, oldest first.
        asked: token of a read -> the highest index that was committed when it was asked, and the
            latest round of heartbeats by then.
        round: the latest of heartbeats that this leader began.
        rounds: peer -> the latest that it answered.
        behind: candidate -> the term in which it asked for a vote with a log that lacks something.
        ticks: of this life.
        lengths: of the log of a leader, at each of its last ticks.
    """

    log: list[Entry]
    members: Members
    term: int
    commit: int
    emitted: int
    role: Role = Role.FOLLOWER
    verified: int = 0
    writing: deque[tuple[Write, int]] = Factory(deque)
    asked: dict[int, tuple[int, int]] = Factory(dict)
    round: int = 0
    rounds: dict[int, int] = Factory(dict)
    behind: dict[int, int] = Factory(dict)
    ticks: int = 0
    lengths: deque[int] = Factory(lambda: deque(maxlen=2 * ELECTION_TICKS_MIN + 1))

    def may_lead(self, node: int) -> bool:
        """Whether it has a vote in a configuration that may be the one in force."""
        return any(members.votes(NodeId(node)) for members in self.members.since(self.commit))


class ConsensusChecker:
    """Invariants of one group.

    Args:
        voters: those that found the group, if that is known; else the first of them tells.
        marks: counts what was ever reached.
        write_ticks_max: for how long a leader may wait for its disk, for the marks.

    Attributes:
        committed: every committed entry, from index 1 on.
        leaders: term -> who led in it.
        disks: what is durable on each node, kept by this checker from what cores report.
    """

    def __init__(
        self, voters: Sequence[int], marks: Marks, write_ticks_max: int = ELECTION_TICKS_MIN
    ) -> None:
        self.committed: Final[list[Entry]] = []
        self.leaders: Final[dict[int, int]] = {}
        self.disks: Final = {node: DurableLog() for node in voters}
        self._decided: Final[dict[int, int]] = {}  # term -> the last index committed by its leader
        self._voters = tuple(map(NodeId, voters))
        self._members: Final = Members(Configuration(self._voters))  # of what is committed
        self._bases: Final[dict[int, Configuration]] = {}  # node -> the members at its index 0
        self._lost: Final[dict[int, DurableLog]] = {}  # what was durable when the disk was lost
        self._write_ticks_max: Final = write_ticks_max
        self._views: Final[dict[int, _View]] = {}
        self._closing: Final[set[int]] = set()
        self._marks: Final = marks

    @property
    def last_term(self) -> int:
        """The highest term in which anybody led."""
        return max(self.leaders, default=0)

    def committed_term(self, index: int) -> int:
        """The term of a committed entry; 0 if nothing is committed there."""
        return self.committed[index - 1].term if 0 < index <= len(self.committed) else 0

    def place_of(self, node: int) -> tuple[int, int, int, int]:
        """The term of a node in its present life, and of its log what is there, committed, durable
        (0: something is being written); zeros if it has none.
        """
        view = self._views.get(node)
        if view is None:
            return 0, 0, 0, 0
        durable = 0 if view.writing else self.disks[node].last_index
        return view.term, len(view.log), view.commit, durable

    # -- lives ------------------------------------------------------------------------------------

    def recovered(self, node: int, core: Raft, restored: Restored) -> None:
        """A node begins a life with what its disk held: all that it had promised (I2, I3, I10), and
        of what was under way the beginning or nothing. What it finds in its first life is taken as
        it is.
        """
        if self._is_anew(node, restored):
            assert restored.previous_index == 0, "the first life of a node has a whole log"
            self.disks[node] = self.disks.get(node, DurableLog()).anew(restored)
        else:
            self._find(node, restored)
        if restored.configuration_index == 0:
            self._found(node, restored.configuration)
        disk = self.disks[node]
        commit = core.commit_index
        if commit > len(self.committed):
            known = len(self.committed)
            raise CheckFailed("I3", f"node {node} restarts with commit {commit}, it was {known}")
        log = [*self.committed[: disk.previous_index], *disk.entries]
        members = Members(self._bases[node], log)
        term = restored.hard_state.term
        self._views[node] = _View(log, members, term, commit, restored.applied)
        self._verify(node, self._views[node], commit, "I5")

    def _is_anew(self, node: int, restored: Restored) -> bool:
        """Whether a replica begins with nothing: the first, or one after the last was deleted. A
        crash may have come before that.
        """
        if node not in self._views:
            return True
        deleted = node in self._closing and not restored.previous_index and not restored.entries
        self._closing.discard(node)
        if deleted:
            self.disks[node].check_kept(evolve(restored.hard_state, commit=INDEX_MAX))
        return deleted

    def _found(self, node: int, configuration: Configuration) -> None:
        """I13: the members at index 0. Who was never one of them begins without any."""
        self._bases[node] = configuration
        if not configuration.voters:
            return
        self._voters = self._voters or configuration.voters
        if configuration.voters != self._voters:
            raise CheckFailed("I13", f"node {node} founds the group with other members")
        self._members.found(configuration)

    def _find(self, node: int, restored: Restored) -> None:
        durable, writing = self.disks[node], self._views[node].writing
        durable.check_kept(restored.hard_state)
        synced = durable.last_index
        while not durable.is_found_in(restored):
            if not writing:
                last = restored.previous_index + len(restored.entries)
                raise CheckFailed(
                    "I10",
                    f"node {node} restarts with entries up to {last} in term"
                    f" {restored.hard_state.term}: that is neither what was synced, up to {synced},"
                    " nor that and what was to follow",
                )
            durable.persist(writing.popleft()[0])
            self._marks["unsynced write survived"] += 1
        self._marks["torn tail"] += bool(writing)

    def closed(self, node: int) -> None:
        """The node is no member any more, and is about to delete its replica: what it voted stays,
        and its log may be gone when it begins the next life.
        """
        self._closing.add(node)

    def is_able(self, nodes: Collection[int]) -> bool:
        """Whether these nodes can decide by themselves: they are a quorum of the members that are
        committed, and of newer ones that any of them goes by.
        """
        committed = self._members.latest
        logs = [self._views[node].members.latest for node in nodes if node in self._views]
        newer = [known for known in logs if known[0] > committed[0]]
        return all(is_quorum(nodes, members) for _, members in (committed, *newer))

    @property
    def members(self) -> Configuration:
        """The newest configuration that is committed."""
        return self._members.current

    def lost(self, node: int) -> None:
        """The node's disk is gone: it promises nothing any more."""
        if node in self.disks:
            self._lost.setdefault(node, self.disks[node])
            self.disks[node] = DurableLog()
        self._views.pop(node, None)

    # -- steps ------------------------------------------------------------------------------------

    def stepped(self, node: int, core: Raft, events: Sequence[Event], effects: Effects) -> None:
        """Check one step of a core, before anything comes of it."""
        view = self._views[node]
        appends: list[_FromLeader] = []
        for event in events:
            match event:
                case Receive(sender=sender, message=message):
                    if isinstance(message, AppendReply):
                        if message.term == view.term:
                            view.rounds[sender] = max(view.rounds.get(sender, 0), message.round)
                    elif isinstance(message, (Append, InstallSnapshot)):
                        appends.append(message)
                    elif isinstance(message, Vote) and not message.pre and not appends:
                        self._asked(node, view, sender, message)
                case Tick():
                    view.ticks += 1
                    view.lengths.append(len(view.log))
                    if view.role is Role.LEADER:
                        self._leads_on(node, view, core)
                case WritePersisted(number=number):
                    self._persisted(node, view, number)
                case ReadIndex(token=token):
                    view.asked[token] = (len(self.committed), view.round)
                    if view.role is Role.LEADER and self._term_at(view, view.commit) != view.term:
                        self._marks["read before the first commit"] += 1
                case _:
                    pass
        if effects.write is not None:
            self._written(node, view, effects.write, appends)
        led_in = view.term if view.role is Role.LEADER else 0
        if effects.status_changed:
            self._status(node, view, core.status())
        leads_on = view.role is Role.LEADER and view.term == led_in
        if leads_on and effects.write is not None and effects.write.truncate_from:
            raise CheckFailed("I4", f"node {node} cuts its log while it leads")
        commit = core.commit_index
        if commit != view.commit:
            # A leader whose removal this commits leads no more after the step.
            leads = view.role is Role.LEADER or view.term == led_in
            self._commit(node, view, commit, appends, leads=leads)
        if effects.write is not None and view.term == led_in:
            self._changes_members(node, view, effects.write.entries)
        if effects.restored is not None:
            self._restored(node, view, effects.restored)
        if effects.committed:
            self._emitted(node, view, effects.committed)
        for peer, message in effects.messages:
            self._message(node, view, peer, message)
        if view.asked or effects.reads or effects.refused:
            self._reads(node, view, effects)
        if effects.loads:
            self._marks["entries read back"] += len(effects.loads)
        if view.role is Role.LEADER:
            self._look_for_figure_8(view, events)

    def _persisted(self, node: int, view: _View, number: int) -> None:
        durable = self.disks[node]
        while view.writing and view.writing[0][0].number <= number:
            write, _ = view.writing.popleft()
            durable.persist(write)
            last = durable.last_index
            if last and self._term_at(view, last) != durable.term_at(last):
                self._marks["late write"] += 1

    def _asked(self, node: int, view: _View, sender: int, vote: Vote) -> None:
        """A candidate asks, perhaps for what it has been promised before its log was too short."""
        states = [self.disks[node].hard_state, *(write.hard_state for write, _ in view.writing)]
        promised = any(s is not None and (s.term, s.vote) == (vote.term, sender) for s in states)
        mine = (self._term_at(view, len(view.log)), len(view.log))
        if (vote.last_term, vote.last_index) < mine and not promised:
            view.behind[sender] = vote.term

    def _written(
        self, node: int, view: _View, write: Write, appends: Sequence[_FromLeader]
    ) -> None:
        view.writing.append((write, view.ticks))
        if write.snapshot is not None:
            self._installs(node, view, write.snapshot)
        view.members.written(write)
        if write.truncate_from:
            if write.truncate_from <= view.commit:
                cut = f"cuts from {write.truncate_from}, {view.commit} is committed"
                raise CheckFailed("I12", f"node {node} {cut}")
            contested = len({append.term for append in appends}) > 1
            same = view.log[write.truncate_from - 1 : write.truncate_from] == [*write.entries[:1]]
            if same and not contested:
                raise CheckFailed("I12", f"node {node} cuts {write.truncate_from}, to put it back")
            del view.log[write.truncate_from - 1 :]
            view.behind.clear()
            view.verified = min(view.verified, write.truncate_from - 1)
            self._marks["follower truncated"] += 1
        view.log.extend(write.entries)
        if view.log and view.log[-1].index != len(view.log):
            raise CheckFailed("I11", f"node {node}: a hole before entry {view.log[-1].index}")
        for append in appends:
            if isinstance(append, InstallSnapshot):
                continue
            index = append.previous_index
            took = append.entries and append.entries[0] in view.log[index : index + 1]
            if took and self._term_at(view, index) != append.previous_term:
                raise CheckFailed("I5", f"node {node} appends after another entry {index}")

    def _changes_members(self, node: int, view: _View, entries: Sequence[Entry]) -> None:
        """I13: no change of members begins before an entry of the leader's own term is committed,
        nor before the last change is; and nobody gets a vote who has not what the leader had two
        election time-outs ago.
        """
        for entry in entries:
            if entry.kind is EntryKind.CONFIGURATION and entry.term == view.term:
                known = view.commit  # a deposed leader cannot know better
                if self._term_at(view, known) != view.term:
                    raise CheckFailed("I13", f"leader {node} changes members too early in its term")
                if view.members.at(entry.index - 1)[0] > known:
                    raise CheckFailed("I13", f"leader {node} begins a change inside another")
                self._promotes(node, view, entry)

    def _promotes(self, node: int, view: _View, entry: Entry) -> None:
        before, after = view.members.at(entry.index - 1)[1], view.members.at(entry.index)[1]
        for voter in set(after.voters).difference(before.voters, before.outgoing, self._lost):
            disk = self.disks.get(voter)
            if voter != node and (disk is None or disk.last_index < view.lengths[0]):
                raise CheckFailed(
                    "I13", f"leader {node} gives node {voter} a vote, which is behind"
                )

    def _installs(self, node: int, view: _View, snapshot: Snapshot) -> None:
        """I3, I6, I31: a snapshot is of what is committed, says who belongs to the group then, and
        takes nothing back.
        """
        index = snapshot.index
        if index <= view.commit:
            raise CheckFailed("I3", f"node {node} installs {index}, {view.commit} is committed")
        if self.committed_term(index) != snapshot.term:
            raise CheckFailed("I6", f"node {node} installs {index}, which is not committed so")
        known = self._members.at(index)
        if known != (snapshot.configuration_index, snapshot.configuration):
            raise CheckFailed("I31", f"node {node} installs {index} with the members of another")
        view.log[:] = self.committed[:index]
        view.behind.clear()
        view.verified = view.commit = index
        self._marks["snapshot installed"] += 1

    def _restored(self, node: int, view: _View, snapshot: Snapshot) -> None:
        """I10, I11: a snapshot takes the place of what was applied once it is durable."""
        if self.disks[node].previous_index < snapshot.index:
            raise CheckFailed("I11", f"node {node} restores {snapshot.index} before it is durable")
        if snapshot.index <= view.emitted:
            raise CheckFailed("I11", f"node {node} restores {snapshot.index} a second time")
        view.emitted = snapshot.index

    def _status(self, node: int, view: _View, status: Status) -> None:
        if status.last_index != len(view.log):
            raise CheckFailed(
                "I11", f"node {node} has {status.last_index} entries, and wrote {len(view.log)}"
            )
        if status.configuration != view.members.current:
            raise CheckFailed("I13", f"node {node} goes by members that are not in its log")
        if status.term < view.term:
            raise CheckFailed("I3", f"the term of node {node} went back to {status.term}")
        if status.role is Role.LEADER:
            first = self.leaders.setdefault(status.term, node)
            if first != node:
                raise CheckFailed("I1", f"nodes {first} and {node} both lead in term {status.term}")
            if view.role is not Role.LEADER or status.term != view.term:
                view.lengths.clear()
                view.lengths.append(len(view.log))
                self._marks["leader changed"] += len(self.leaders) > 1
                self._leads(node, view, status.term)
        elif view.role is Role.LEADER and status.term == view.term:
            waited = view.ticks - view.writing[0][1] if view.writing else 0
            why = "over its disk" if waited > self._write_ticks_max else "without a quorum"
            self._marks[f"leader {why}"] += 1
        if status.term != view.term:
            view.round = 0
            view.rounds.clear()
        view.term, view.role = status.term, status.role

    def _leads(self, node: int, view: _View, term: int) -> None:
        """I1, I7: a new leader has a majority's votes, and holds everything that was committed in
        earlier terms. Who is in a later term by now may have voted for it; and what was committed
        there it may lack, for its votes may have been on their way for that long.
        """
        last = max((index for before, index in self._decided.items() if before < term), default=0)
        if len(view.log) < last:
            raise CheckFailed("I7", f"leader {node} has {len(view.log)} entries, {last} committed")
        self._verify(node, view, last, "I7")
        votes = {
            voter
            for voter, disk in self.disks.items()
            if (disk.hard_state.term, disk.hard_state.vote) == (term, node)
            or disk.hard_state.term > term
            or voter in self._lost
        }
        if not is_quorum(votes, view.members.current):
            given = ", ".join(map(str, sorted(votes)))
            raise CheckFailed("I1", f"node {node} leads in term {term} with the votes of {given}")
        if view.members.current.is_joint:
            self._marks["leader changed inside a joint configuration"] += 1

    def _verify(self, node: int, view: _View, last: int, name: str) -> None:
        for index in range(view.verified, last):
            if view.log[index] != self.committed[index]:
                raise CheckFailed(name, f"node {node} holds another entry {index + 1}")
        view.verified = max(view.verified, last)

    def _emitted(self, node: int, view: _View, entries: list[Entry]) -> None:
        """I6, I11: what is applied is committed and durable here, in order, and no other entry."""
        first, last = view.emitted + 1, view.emitted + len(entries)
        if [entry.index for entry in entries] != list(range(first, last + 1)):
            raise CheckFailed(
                "I11", f"node {node} applies {entries[0].index}, not {first} to {last}"
            )
        if last > view.commit:
            raise CheckFailed("I11", f"node {node} applies {last}, its commit is {view.commit}")
        if self.committed[first - 1 : last] != entries:
            raise CheckFailed("I6", f"node {node} applies another entry in {first} to {last}")
        if self.disks[node].between(first, last) != entries:
            raise CheckFailed("I11", f"node {node} applies {last} before it is durable")
        view.emitted = last

    def _commit(
        self,
        node: int,
        view: _View,
        commit: int,
        appends: Sequence[_FromLeader],
        *,
        leads: bool,
    ) -> None:
        if not view.commit < commit <= len(view.log):
            raise CheckFailed("I3", f"node {node}: the commit went from {view.commit} to {commit}")
        term = self._term_at(view, commit)
        if leads:
            if term != view.term:
                raise CheckFailed("I8", f"leader {node} commits {commit} of older term {term}")
            holding = self._holding(commit, term)
            if not is_quorum(holding, view.members.current):
                found = ", ".join(map(str, sorted(holding)))
                raise CheckFailed("I8", f"leader {node} commits {commit}, durable only on {found}")
            self._commit_more(view.log[len(self.committed) : commit])
            self._decided[term] = commit
        elif commit > len(self.committed):
            raise CheckFailed("I8", f"follower {node} commits {commit} before any leader")
        elif commit > max(map(_reach, appends), default=0):
            raise CheckFailed("I5", f"follower {node} commits {commit}: no message speaks of it")
        self._verify(node, view, commit, "I5")
        view.commit = commit

    def _commit_more(self, entries: list[Entry]) -> None:
        """I13: of consecutive configurations each quorum of one meets each of the other."""
        self.committed.extend(entries)
        for entry in entries:
            if entry.kind is EntryKind.CONFIGURATION:
                before = self._members.current
                self._members.written(Write(0, None, 0, (entry,)))
                apart = disjoint_quorums(before, self._members.current)
                if apart is not None:
                    raise CheckFailed(
                        "I13", f"{apart[0]} and {apart[1]} may decide without another"
                    )
                self._marks["members changed"] += 1

    def _reads(self, node: int, view: _View, effects: Effects) -> None:
        """I14: each read has one answer; if it is served, one that misses nothing."""
        for token, index in effects.reads:
            if token not in view.asked:
                raise CheckFailed("I14", f"node {node} serves read {token}, which nobody asks")
            self._served(node, view, index, *view.asked.pop(token))
        for token, reason in effects.refused:
            waited = view.asked.pop(token, None) is not None
            if reason is RefusalReason.OVERLOADED:
                self._marks["uncommitted limit"] += 1
            elif reason is RefusalReason.LOST_LEADERSHIP:
                self._marks["read abandoned"] += 1
                if not waited:
                    raise CheckFailed("I14", f"node {node} abandons {token}, which nobody asks")
        if view.asked and view.role is not Role.LEADER:
            raise CheckFailed("I14", f"node {node} leads no more, and leaves reads unanswered")

    def _message(self, node: int, view: _View, peer: int, message: object) -> None:
        durable = self.disks[node]
        state = durable.hard_state
        match message:
            case Append(previous_index=previous, entries=entries):
                view.round = max(view.round, message.round)
                if state.term < message.term:
                    raise CheckFailed("I10", f"node {node} sends entries of an undurable term")
                if view.term == message.term and entries != tuple(
                    view.log[previous : previous + len(entries)]
                ):
                    raise CheckFailed("I4", f"node {node} sends entries that are not in its log")
            case AppendReply(success=True):
                if state.term < message.term:
                    raise CheckFailed("I10", f"node {node} acknowledges in an undurable term")
                index = message.index
                if index and not durable.holds(index, self._term_at(view, index)):
                    raise CheckFailed("I10", f"node {node} acknowledges {index}, not durable")
            case VoteReply(granted=True, pre=False):
                if (state.term, state.vote) != (message.term, peer):
                    raise CheckFailed("I2", f"node {node} votes for {peer}, and may forget it")
                if view.behind.get(peer) == message.term:
                    raise CheckFailed("I7", f"node {node} votes for {peer}, which lacks entries")
            case Vote(pre=False):
                if (state.term, state.vote) != (message.term, node):
                    raise CheckFailed("I2", f"node {node} campaigns, and may forget its own vote")
                if view.role is not Role.CANDIDATE or not view.may_lead(node):
                    raise CheckFailed("I13", f"node {node} asks for votes, and is no candidate")
            case VoteReply(granted=False, pre=True):
                asker = self._views.get(peer)
                if asker is not None and asker.term < message.term:
                    self._marks["pre-vote refused with a higher term"] += 1
            case _:
                pass

    def _served(self, node: int, view: _View, index: int, committed: int, begun: int) -> None:
        """I14: a read is served at what was committed when it was asked, or later, and after a
        quorum has answered heartbeats that began after that.
        """
        if index < committed:
            raise CheckFailed("I14", f"node {node} serves a read at {index}, not at {committed}")
        answered = {node, *(peer for peer, latest in view.rounds.items() if latest > begun)}
        if not is_quorum(answered, view.members.current):
            found = ", ".join(map(str, sorted(answered)))
            raise CheckFailed("I14", f"node {node} serves a read confirmed only by {found}")

    def _leads_on(self, node: int, view: _View, core: Raft) -> None:
        """I13: a leader has a vote. I8: what the newest takes to be durable elsewhere is."""
        if not view.may_lead(node):
            raise CheckFailed("I13", f"node {node} leads, and its removal is committed")
        if view.term != max(self.leaders):
            return
        for peer, status in core.status().peers:
            index = status.match_index
            disk = self.disks.get(peer)
            held = not index or (disk and disk.held(index, self._term_at(view, index), view.term))
            if not held and peer not in self._lost:
                raise CheckFailed("I8", f"leader {node} counts entry {index} on {peer}: not there")

    def _look_for_figure_8(self, view: _View, events: Sequence[Event]) -> None:
        """A quorum holds an entry of an older term, and it may not be committed by counting."""
        for event in events:
            if isinstance(event, Receive) and isinstance(event.message, AppendReply):
                index = event.message.index
                term = self._term_at(view, index)
                if event.message.success and view.commit < index and 0 < term < view.term:
                    holding = self._holding(index, term)
                    self._marks["figure 8"] += is_quorum(holding, view.members.current)

    def _holding(self, index: int, term: int) -> set[int]:
        """Which nodes have an entry durable, or had when they acknowledged it: that a disk was
        lost since, nobody can have told the leader.
        """
        return {
            node
            for node, disk in self.disks.items()
            if disk.holds(index, term)
            or (node in self._lost and self._lost[node].holds(index, term))
        }

    @staticmethod
    def _term_at(view: _View, index: int) -> int:
        return view.log[index - 1].term if 0 < index <= len(view.log) else 0
