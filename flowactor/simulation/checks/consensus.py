"""The judge of consensus: looks at each step of each core from outside, and at all nodes at once.

The names I1 to I14 are those of the list of invariants in ``docs/design/simulation.md``. All that
is known here (who led, what is committed, what each log holds) is the checker's own record: no node
ever reads it. A check costs as much as the step it looks at changed.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import Factory, define

from flowactor.raft import (
    Append,
    AppendReply,
    Effects,
    Entry,
    Event,
    Raft,
    ReadIndex,
    Receive,
    RefusalReason,
    Restored,
    Role,
    Vote,
    VoteReply,
    Write,
    WritePersisted,
)
from flowactor.raft.quorum import majority
from flowactor.simulation.checks.durable import DurableLog
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.marks import Marks

__all__ = ["ConsensusChecker"]


@define(eq=False)
class _View:
    """One life of one node, as its steps let it be seen.

    Attributes:
        log: what the core holds in memory: whatever it was restored from, and all it wrote since.
        verified: up to here the log was compared with what is committed.
        writing: handed to the disk, and not reported durable yet, oldest first.
        asked: token of a read -> the highest index that was committed when it was asked.
    """

    log: list[Entry]
    term: int
    commit: int
    emitted: int
    role: Role = Role.FOLLOWER
    verified: int = 0
    writing: list[Write] = Factory(list)
    asked: dict[int, int] = Factory(dict)


class ConsensusChecker:
    """Invariants of one group.

    Args:
        voters: all members.
        disks: what is durable on each, kept by this checker from what cores report.
        marks: counts what was ever reached.

    Attributes:
        committed: every committed entry, from index 1 on.
        leaders: term -> who led in it.
    """

    def __init__(self, voters: Sequence[int], marks: Marks) -> None:
        self.committed: Final[list[Entry]] = []
        self.leaders: Final[dict[int, int]] = {}
        self.disks: Final[Mapping[int, DurableLog]] = {node: DurableLog() for node in voters}
        self._quorum: Final = majority(len(voters))
        self._views: Final[dict[int, _View]] = {}
        self._marks: Final = marks

    @property
    def last_term(self) -> int:
        """The highest term in which anybody led."""
        return max(self.leaders, default=0)

    def committed_term(self, index: int) -> int:
        """The term of a committed entry; 0 if nothing is committed there."""
        return self.committed[index - 1].term if 0 < index <= len(self.committed) else 0

    # -- lives ------------------------------------------------------------------------------------

    def recovered(self, node: int, core: Raft, restored: Restored) -> None:
        """A node begins a life with what its disk held: all that it had promised (I2, I10, I29)."""
        durable, state = self.disks[node], restored.hard_state
        if (state.term, state.vote) != (durable.hard_state.term, durable.hard_state.vote) and (
            state.term <= durable.hard_state.term
        ):
            raise CheckFailed(
                "I2",
                f"node {node} restarts in term {state.term} with its vote for {state.vote}, but"
                f" {durable.hard_state.term} and {durable.hard_state.vote} were durable",
            )
        last = restored.previous_index + len(restored.entries)
        if last < durable.last_index:
            raise CheckFailed(
                "I10", f"node {node} restarts with {last} entries, {durable.last_index} were synced"
            )
        for entry in restored.entries[: durable.last_index - restored.previous_index]:
            if not durable.holds(entry.index, entry.term):
                raise CheckFailed("I10", f"node {node} restarts with another entry {entry.index}")
        if last > durable.last_index:
            self._marks["unsynced write survived"] += 1
        # What survived without a promise is durable now.
        kept = durable.entries[: restored.previous_index]
        durable.entries[:] = [*kept, *restored.entries]
        durable.hard_state = state
        commit = core.commit_index
        self._views[node] = _View(list(durable.entries), state.term, commit, restored.applied)

    def lost(self, node: int) -> None:
        """The node's disk is gone: it promises nothing any more."""
        durable = self.disks[node]
        durable.entries.clear()
        durable.hard_state = Restored().hard_state

    # -- steps ------------------------------------------------------------------------------------

    def stepped(self, node: int, core: Raft, events: Sequence[Event], effects: Effects) -> None:
        """Check one step of a core, before anything comes of it."""
        view = self._views[node]
        for event in events:
            match event:
                case WritePersisted(number=number):
                    self._persisted(node, view, number)
                case ReadIndex(token=token):
                    view.asked[token] = len(self.committed)
                    commit = view.commit
                    if view.role is Role.LEADER and self._term_at(view, commit) != view.term:
                        self._marks["read before the first commit"] += 1
                case _:
                    pass
        if effects.write is not None:
            self._written(node, view, effects.write)
        led_in = view.term if view.role is Role.LEADER else 0
        if effects.status_changed:
            self._status(node, view, core)
        leads_on = view.role is Role.LEADER and view.term == led_in
        if leads_on and effects.write is not None and effects.write.truncate_from:
            raise CheckFailed("I4", f"node {node} cuts its log while it leads")
        if core.commit_index != view.commit:
            self._commit(node, view, core.commit_index)
        if effects.committed:
            self._emitted(node, view, effects.committed)
        for peer, message in effects.messages:
            self._message(node, view, peer, message)
        for token, index in effects.reads:
            if index < view.asked.pop(token, 0):
                raise CheckFailed("I14", f"node {node} serves a read at {index}, older than known")
        for _, reason in effects.refused:
            if reason is RefusalReason.OVERLOADED:
                self._marks["uncommitted limit"] += 1
        if view.role is Role.LEADER:
            self._look_for_figure_8(view, events)

    def _persisted(self, node: int, view: _View, number: int) -> None:
        durable = self.disks[node]
        while view.writing and view.writing[0].number <= number:
            write = view.writing.pop(0)
            durable.persist(write)
            if write.entries:
                last = write.entries[-1]
                if self._term_at(view, last.index) != last.term:
                    self._marks["late write"] += 1

    def _written(self, node: int, view: _View, write: Write) -> None:
        view.writing.append(write)
        if write.truncate_from:
            if write.truncate_from <= view.commit:
                cut = f"cuts from {write.truncate_from}, {view.commit} is committed"
                raise CheckFailed("I12", f"node {node} {cut}")
            del view.log[write.truncate_from - 1 :]
            view.verified = min(view.verified, write.truncate_from - 1)
            self._marks["follower truncated"] += 1
        view.log.extend(write.entries)
        if view.log and view.log[-1].index != len(view.log):
            raise CheckFailed("I11", f"node {node}: a hole before entry {view.log[-1].index}")

    def _status(self, node: int, view: _View, core: Raft) -> None:
        status = core.status()
        if status.term < view.term:
            raise CheckFailed("I3", f"the term of node {node} went back to {status.term}")
        if status.role is Role.LEADER:
            first = self.leaders.setdefault(status.term, node)
            if first != node:
                raise CheckFailed("I1", f"nodes {first} and {node} both lead in term {status.term}")
            if view.role is not Role.LEADER or status.term != view.term:
                self._marks["leader changed"] += len(self.leaders) > 1
                self._leads(node, view)
        elif view.role is Role.LEADER and status.term == view.term:
            why = "over its disk" if view.writing else "without a quorum"
            self._marks[f"leader {why}"] += 1
        view.term, view.role = status.term, status.role

    def _leads(self, node: int, view: _View) -> None:
        """I7: a new leader holds everything committed before."""
        if len(view.log) < len(self.committed):
            raise CheckFailed(
                "I7", f"leader {node} has {len(view.log)} entries, {len(self.committed)} committed"
            )
        self._verify(node, view, len(self.committed), "I7")

    def _verify(self, node: int, view: _View, last: int, name: str) -> None:
        for index in range(view.verified, last):
            if view.log[index] != self.committed[index]:
                raise CheckFailed(name, f"node {node} holds another entry {index + 1}")
        view.verified = max(view.verified, last)

    def _emitted(self, node: int, view: _View, entries: list[Entry]) -> None:
        """I6, I11: what is applied is committed, in order, and never another entry."""
        if entries[0].index != view.emitted + 1:
            raise CheckFailed("I11", f"node {node} applies {entries[0].index} after {view.emitted}")
        for entry in entries:
            if entry.index > len(self.committed) or self.committed[entry.index - 1] != entry:
                raise CheckFailed("I6", f"node {node} applies another entry {entry.index}")
        view.emitted = entries[-1].index
        if not self.disks[node].holds(view.emitted, entries[-1].term):
            raise CheckFailed("I11", f"node {node} applies {view.emitted} before it is durable")

    def _commit(self, node: int, view: _View, commit: int) -> None:
        if not view.commit < commit <= len(view.log):
            raise CheckFailed("I3", f"node {node}: the commit went from {view.commit} to {commit}")
        term = self._term_at(view, commit)
        if view.role is Role.LEADER:
            if term != view.term:
                raise CheckFailed("I8", f"leader {node} commits {commit} of older term {term}")
            holding = sum(disk.holds(commit, term) for disk in self.disks.values())
            if holding < self._quorum:
                raise CheckFailed(
                    "I8", f"leader {node} commits {commit}, durable on {holding} nodes only"
                )
            self.committed.extend(view.log[len(self.committed) : commit])
        elif commit > len(self.committed):
            raise CheckFailed("I8", f"follower {node} commits {commit} before any leader")
        self._verify(node, view, commit, "I5")
        view.commit = commit

    def _message(self, node: int, view: _View, peer: int, message: object) -> None:
        durable = self.disks[node]
        state = durable.hard_state
        match message:
            case Append():
                if state.term < message.term:
                    raise CheckFailed("I10", f"node {node} sends entries of an undurable term")
            case AppendReply(success=True):
                if state.term < message.term:
                    raise CheckFailed("I10", f"node {node} acknowledges in an undurable term")
                index = message.index
                if index and not durable.holds(index, self._term_at(view, index)):
                    raise CheckFailed("I10", f"node {node} acknowledges {index}, not durable")
            case VoteReply(granted=True, pre=False):
                if (state.term, state.vote) != (message.term, peer):
                    raise CheckFailed("I2", f"node {node} votes for {peer}, and may forget it")
            case Vote(pre=False):
                if (state.term, state.vote) != (message.term, node):
                    raise CheckFailed("I2", f"node {node} campaigns, and may forget its own vote")
            case VoteReply(granted=False, pre=True) if message.term > view.term - 1:
                self._marks["pre-vote refused with a higher term"] += 1
            case _:
                pass

    def _look_for_figure_8(self, view: _View, events: Sequence[Event]) -> None:
        """A quorum holds an entry of an older term, and it may not be committed by counting."""
        for event in events:
            if isinstance(event, Receive) and isinstance(event.message, AppendReply):
                index = event.message.index
                term = self._term_at(view, index)
                if event.message.success and view.commit < index and 0 < term < view.term:
                    holding = sum(disk.holds(index, term) for disk in self.disks.values())
                    self._marks["figure 8"] += holding >= self._quorum

    @staticmethod
    def _term_at(view: _View, index: int) -> int:
        return view.log[index - 1].term if 0 < index <= len(view.log) else 0
