"""Elections: pre-vote, vote, and who may disturb whom (paper 5.2, 5.4.1; thesis 4.2.3, 9.6)."""

from flowactor.identity import NodeId
from flowactor.raft import replication
from flowactor.raft.messages import TimeoutNow, Vote, VoteReply
from flowactor.raft.quorum import Verdict, verdict
from flowactor.raft.roles import Candidate, Leader, PreCandidate
from flowactor.raft.state import NOBODY, State

__all__ = ["count_own_vote", "on_timeout_now", "on_vote", "on_vote_reply", "tick"]


def tick(state: State) -> None:
    """Time passes for a node that does not lead.

    Who could not make its own vote durable does not campaign: it would win nothing. Nor does who
    has not done so yet: each campaign in vain would ask for another write, for ever. Who deleted a
    log, and has not got back what was in it, would vote for itself against what it acknowledged.
    """
    state.leader_ticks_silent += 1
    state.election_elapsed += 1
    if state.election_elapsed >= state.election_ticks and _may_campaign(state):
        _campaign_softly(state)


def _may_campaign(state: State) -> bool:
    writes = state.term_is_durable and not state.disk_stalled
    return writes and state.membership.may_campaign and state.has_what_it_had


def _campaign_softly(state: State) -> None:
    """Ask for pre-votes: no term changes, no vote is given, no clock but this node's restarts.

    Learners are not asked. If one has become a voter, a majority has a longer log than this one.
    """
    state.set_leader(NOBODY)
    state.restart_election_clock()
    state.role = PreCandidate({state.config.node: True})
    log = state.log
    for peer in state.membership.electors:
        state.send(peer, Vote(state.term + 1, log.last_index, log.last_term, pre=True))
    _count(state)


def _campaign(state: State, *, transfer: bool = False) -> None:
    """Enter the next term and ask for votes, once the vote for oneself is durable."""
    state.term += 1
    state.vote = state.config.node
    state.set_leader(NOBODY)
    state.restart_election_clock()
    state.role = Candidate()
    log = state.log
    for peer in state.membership.electors:
        state.hold(peer, Vote(state.term, log.last_index, log.last_term, False, transfer))


def on_timeout_now(state: State, sender: NodeId, message: TimeoutNow) -> None:
    """The leader hands over: campaign without asking whether it is time. One that comes late, or
    from a leader of the past, finds another leader or term here and does nothing.
    """
    if message.term == state.term and state.leader == sender and _may_campaign(state):
        _campaign(state, transfer=True)


def count_own_vote(state: State, role: Candidate) -> None:
    """A candidate's vote for itself counts from the moment it is durable."""
    if state.term_is_durable and state.config.node not in role.votes:
        role.votes[state.config.node] = True
        _count(state)


def _count(state: State) -> None:
    role = state.role
    assert isinstance(role, PreCandidate | Candidate)
    match verdict(state.membership.current, role.votes):
        case Verdict.WON if isinstance(role, PreCandidate):
            _campaign(state)
        case Verdict.WON:
            replication.lead(state)
        case Verdict.LOST:
            state.follow(NOBODY)
        case Verdict.PENDING:
            pass


def on_vote(state: State, sender: NodeId, vote: Vote) -> None:
    """Answer a candidate, with at most one vote in each term (paper 5.2)."""
    if vote.pre:
        _on_pre_vote(state, sender, vote)
        return
    if vote.term > state.term:
        if state.in_lease and not vote.transfer:
            return  # rule disruptive_server_ignored: no answer, no new term
        state.adopt(vote.term)
    free = state.vote == sender or (state.vote == NOBODY and state.leader == NOBODY)
    granted = vote.term == state.term and free and _is_up_to_date(state, vote)
    if granted:
        state.vote = sender
        state.restart_election_clock()
    state.hold(sender, VoteReply(state.term, granted, pre=False))


def _on_pre_vote(state: State, sender: NodeId, vote: Vote) -> None:
    """Say what a vote would be answered, and change nothing (rule *prevote_carries_term*)."""
    if vote.term > state.term and not state.in_lease and _is_up_to_date(state, vote):
        state.send(sender, VoteReply(vote.term, granted=True, pre=True))
        return
    state.send(sender, VoteReply(state.term, granted=False, pre=True))
    if isinstance(state.role, Leader) and vote.term <= state.term + 1:
        replication.tell_stranger(state, state.role, sender)


def _is_up_to_date(state: State, vote: Vote) -> bool:
    """True if the candidate's log holds all that this node may have helped to commit (5.4.1), also
    with a log that it deleted: members that lag may still take it for a voter of that time.
    """
    return (vote.last_term, vote.last_index) >= max(state.log.end, state.deleted)


def on_vote_reply(state: State, sender: NodeId, reply: VoteReply) -> None:
    """Count an answer, if it is to the question this node is asking now."""
    asked_term = state.term + 1 if reply.pre else state.term
    if reply.term > state.term and not (reply.pre and reply.granted):
        state.adopt(reply.term)
        return
    match state.role:
        case PreCandidate() as role if reply.pre:
            fits = not reply.granted or reply.term == asked_term
        case Candidate() as role if not reply.pre:
            fits = reply.term == asked_term
        case _:
            return
    if fits:
        role.votes[sender] = reply.granted
        _count(state)
