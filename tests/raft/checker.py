"""The judge of every Raft test: it looks at each step from outside, and at all nodes at once.

The names I1 to I12 and I14 are those of the list of invariants that the simulator checks. What it
knows (``committed``) is its own record: no core ever reads it.
"""

from collections import Counter

from attrs import Factory, define, frozen

from flowactor.raft import (
    Append,
    AppendReply,
    Effects,
    Entry,
    HardState,
    RefusalReason,
    Role,
    Vote,
    VoteReply,
    Write,
)
from flowactor.raft.quorum import majority


@define
class Disk:
    """A disk that keeps what was synced and forgets the rest at a crash.

    Attributes:
        base: (index, term) just below the entries it still has.
        entries: durable entries from ``base[0] + 1`` on.
        queue: writes that are not durable yet, oldest first.
    """

    hard_state: HardState = Factory(HardState)
    base: tuple[int, int] = (0, 0)
    entries: list[Entry] = Factory(list)
    queue: list[Write] = Factory(list)

    @property
    def last_index(self) -> int:
        return self.base[0] + len(self.entries)

    def term_at(self, index: int) -> int | None:
        """The durable term at ``index``; None where nothing is, or no longer is."""
        if index == self.base[0]:
            return self.base[1]
        if self.base[0] < index <= self.last_index:
            return self.entries[index - self.base[0] - 1].term
        return None

    def holds(self, index: int, term: int) -> bool:
        """True if a power cut now would leave this entry (what was purged was committed)."""
        return index < self.base[0] or self.term_at(index) == term

    def sync(self) -> Write:
        """Make the oldest write durable."""
        write = self.queue.pop(0)
        if write.truncate_from:
            assert write.truncate_from > self.base[0], "a cut into what was purged"
            del self.entries[write.truncate_from - self.base[0] - 1 :]
        for entry in write.entries:
            assert entry.index == self.last_index + 1, "a hole in the durable log"
            self.entries.append(entry)
        if write.hard_state is not None:
            assert write.hard_state.term >= self.hard_state.term, "I3: durable term went back"
            if write.hard_state.term == self.hard_state.term and self.hard_state.vote:
                assert write.hard_state.vote == self.hard_state.vote, "a durable vote changed"
            self.hard_state = write.hard_state
        if self.entries:
            assert self.entries[-1].term <= self.hard_state.term, "term durable before its entries"
        return write

    def purge_to(self, index: int) -> None:
        """Forget entries up to ``index``, as log compaction does."""
        term = self.term_at(index)
        assert term is not None
        del self.entries[: index - self.base[0]]
        self.base = (index, term)


@frozen
class Before:
    """A core, as it was before a step."""

    role: Role
    term: int
    commit: int
    last: int


@define
class Checker:
    """Checks every step of every core against the others, and counts what was ever reached."""

    voters: tuple[int, ...]
    disks: dict[int, Disk]
    leaders: dict[int, int] = Factory(dict)
    committed: dict[int, Entry] = Factory(dict)
    highest: int = 0
    asked: dict[tuple[int, int], int] = Factory(dict)
    marks: Counter = Factory(Counter)

    def before(self, raft) -> Before:
        state = raft._state
        return Before(raft.status().role, state.term, state.commit, state.log.last_index)

    def after(self, node: int, raft, before: Before, effects: Effects, applied: int) -> None:
        """Check one step; ``applied`` is the index the node had applied before it."""
        status = raft.status()
        log = raft._state.log
        assert status.term >= before.term, "I3: term went back"
        assert status.commit_index >= before.commit, "I3: commit went back"
        self._leadership(node, status, before, log, effects)
        self._mark(raft._state, status, before)
        if status.commit_index > before.commit:
            self._commit(status, before, log, effects)
        if effects.write is not None and effects.write.truncate_from:
            self.marks["truncated"] += 1
            assert effects.write.truncate_from > before.commit, "I12: cut below commit"
        for peer, message in effects.messages:
            self._message(node, peer, message, raft)
        for position, entry in enumerate(effects.committed, applied + 1):
            assert entry.index == position, "emitted twice, or left out"
            assert entry == self.committed[position], "I6: another entry was committed here"
            assert self.disks[node].holds(position, entry.term), "emitted before durable here"
        last = applied + len(effects.committed)
        assert last <= status.commit_index <= status.last_index, "I11"
        for token, index in effects.reads:
            assert index >= self.asked.pop((node, token)), "I14: a read missed a commit"
        for token, reason in effects.refused:
            self.asked.pop((node, token), None)
            self.marks[reason.name] += 1
            assert reason is not RefusalReason.LOST_LEADERSHIP or before.role is Role.LEADER
        self.marks["load"] += len(effects.loads)

    def ask(self, node: int, token: int) -> None:
        """A read begins: it must see everything that anybody has seen committed."""
        self.asked[node, token] = self.highest

    def _mark(self, state, status, before) -> None:
        """Count the situations that a campaign must have reached."""
        if status.role is Role.LEADER:
            match = [peer.match_index for _, peer in status.peers] + [state.durable.index]
            agreed = sorted(match)[len(match) - majority(len(match))]
            self.marks["held back by an older term"] += agreed > status.commit_index
            self.marks["early read"] += bool(state.role.reads.asked)
        elif before.role is Role.LEADER and before.term == status.term:
            why = "over its disk" if state.disk_stalled else "without a quorum"
            self.marks[f"gave up {why}"] += 1

    def _leadership(self, node, status, before, log, effects) -> None:
        if status.role is not Role.LEADER:
            return
        assert self.leaders.setdefault(status.term, node) == node, "I1: two leaders in a term"
        if before.role is Role.LEADER and before.term == status.term:
            assert not (effects.write and effects.write.truncate_from), "I4: a leader cut its log"
            return
        assert status.last_index >= self.highest, "I7: a leader lacks committed entries"
        for entry in log.between(log.first_index, min(self.highest, log.last_index)):
            assert entry == self.committed[entry.index], "I7: a leader has other entries"

    def _commit(self, status, before, log, effects) -> None:
        """What is committed is still in memory, or was handed out in this very step."""
        first = max(log.first_index, before.commit + 1)
        newly = {entry.index: entry for entry in log.between(first, status.commit_index)}
        newly.update({entry.index: entry for entry in effects.committed})
        for index in range(before.commit + 1, status.commit_index + 1):
            entry = newly[index]
            known = self.committed.setdefault(entry.index, entry)
            assert entry == known, "I5, I6: logs differ on a committed entry"
        if status.role is Role.LEADER:
            term = log.term_at(status.commit_index)
            assert term == status.term, "I8: committed by counting an older term's entry"
            holding = [n for n in self.voters if self.disks[n].holds(status.commit_index, term)]
            assert len(holding) >= majority(len(self.voters)), "I8: committed without a quorum"
        else:
            assert status.commit_index <= self.highest, "a follower committed first"
        self.highest = max(self.highest, status.commit_index)

    def _message(self, node, peer, message, raft) -> None:
        disk = self.disks[node]
        durable = disk.hard_state
        match message:
            case VoteReply(granted=True, pre=False):
                assert (durable.term, durable.vote) == (message.term, peer), "I2: vote not durable"
            case Vote(pre=False):
                assert (durable.term, durable.vote) == (message.term, node), "I2: own vote"
            case AppendReply(success=True):
                assert durable.term >= message.term, "I10: term of an acknowledgement"
                index = message.index
                log = raft._state.log
                assert index <= disk.last_index, "I10: acknowledged before durable"
                if index >= log.previous_index:
                    assert disk.holds(index, log.term_at(index)), "I10: another entry is durable"
            case Append():
                assert durable.term >= message.term, "entries of a term that is not durable"
            case VoteReply(granted=False, pre=True):
                self.marks["pre-vote refused"] += 1
