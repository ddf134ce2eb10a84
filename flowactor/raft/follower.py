"""The receiving side of AppendEntries (paper 5.3, figure 2)."""

from flowactor.identity import NodeId
from flowactor.raft import quiescence
from flowactor.raft.messages import Append, AppendReply, Entry, InstallSnapshot
from flowactor.raft.roles import Follower, Leader
from flowactor.raft.state import State

__all__ = ["answer", "on_append", "on_install"]


def on_append(state: State, sender: NodeId, append: Append) -> None:
    """Take what the leader of the present term sends; tell an older one that its time is over."""
    if append.term < state.term:
        state.hold(sender, _refusal(state, append))
        return
    role = _listen(state, sender, append)
    if not _fits(state, append):
        state.quiet = False
        role.refusal = _refusal(state, append)
        return
    role.answer_due |= not _take(state, append.entries)
    matched = append.previous_index + len(append.entries)
    role.matched = max(role.matched, matched)
    known = min(append.commit, matched)  # rule commit_at_most_matched: by this message
    if known > state.commit:
        state.commit_to(known)
    quiescence.follow_into_quiet(state, append)


def on_install(state: State, sender: NodeId, install: InstallSnapshot) -> None:
    """Take a snapshot in place of the log, if it says more than what is here (paper, figure 13).

    What is committed here is the same in the snapshot, and so is a log that has its last entry:
    then there is nothing to install, and no entry above is lost.
    """
    if install.term < state.term:
        state.hold(sender, AppendReply(state.term, False, state.log.last_index, install.round))
        return
    role = _listen(state, sender, install)
    snapshot, log = install.snapshot, state.log
    role.matched = max(role.matched, snapshot.index)
    in_log = log.previous_index <= snapshot.index <= log.last_index
    if snapshot.index <= state.commit:
        role.answer_due = True
    elif in_log and log.term_at(snapshot.index) == snapshot.term:
        state.commit_to(snapshot.index)
        role.answer_due = True
    else:
        state.replace(snapshot)


def _listen(state: State, sender: NodeId, message: Append | InstallSnapshot) -> Follower:
    """Follow who leads in the present term, or in a later one."""
    if message.term > state.term:
        state.adopt(message.term)
    role = state.role
    assert not isinstance(role, Leader), f"{sender} and this node both lead term {state.term}"
    if not isinstance(role, Follower) or state.leader != sender:
        state.follow(sender)
        assert isinstance(state.role, Follower)
        role = state.role
    state.election_elapsed = 0
    role.round = max(role.round, message.round)
    return role


def _fits(state: State, append: Append) -> bool:
    """True if the log holds the entry before the new ones. Below the window everything is
    committed, and so the same in the log of every later leader (rule *truncate_only_on_conflict*).
    """
    index, log = append.previous_index, state.log
    if index > log.last_index:
        return False
    fits = index < log.previous_index or log.term_at(index) == append.previous_term
    assert fits or index > state.commit, f"the leader of term {append.term} lacks entry {index}"
    return fits


def _take(state: State, entries: tuple[Entry, ...]) -> bool:
    """Append what is new, after cutting what conflicts; returns whether a write will follow."""
    log = state.log
    if not entries:
        return False
    if entries[0].index == log.last_index + 1:
        state.append(entries)
        return True
    for position, entry in enumerate(entries):
        if entry.index > log.last_index:
            state.append(entries[position:])
            return True
        if entry.index > log.previous_index and log.term_at(entry.index) != entry.term:
            assert entry.index > state.commit, f"committed entry {entry.index} contradicted"
            state.cut_from(entry.index)
            state.append(entries[position:])
            return True
    return False


def _refusal(state: State, append: Append) -> AppendReply:
    """A refusal whose hint skips every term that the leader's log cannot share (paper 5.3)."""
    log = state.log
    hint, term = log.last_not_above(append.previous_index, append.previous_term)
    return AppendReply(state.term, False, hint, append.round, append.previous_index, term)


def answer(state: State, role: Follower) -> None:
    """Tell the leader, in at most one message, how far its log is durable here.

    Computed from what is durable when it is sent (rule *ack_only_durable*), so an old write that
    completes late acknowledges nothing new, and many appends or writes cost one answer. While the
    entries of an append are being written there is none: it would say less than the next one.
    """
    if not state.term_is_durable:
        return
    if role.refusal is not None:
        state.send(state.leader, role.refusal)
        role.refusal = None
    index = min(role.matched, state.durable.index)
    if role.answer_due or (role.synced and index > role.acked):
        state.send(
            state.leader, AppendReply(state.term, True, index, role.round, quiet=state.quiet)
        )
        role.acked = index
    role.answer_due = role.synced = False
