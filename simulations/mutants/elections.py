"""Mutants of elections and of the leader's right to lead."""

from typing import Final

from simulations.mutants.mutant import Edit, Mutant

__all__ = ["ELECTIONS"]

ELECTION: Final = "raft/election.py"
CORE: Final = "raft/core.py"
DURABILITY: Final = "raft/durability.py"
REPLICATION: Final = "raft/replication.py"
QUORUM: Final = "raft/quorum.py"

SILENT: Final = (
    "if state.disk_stalled or verdict(state.membership.current, heard) is not Verdict.WON:"
)

ELECTIONS: Final = (
    Mutant(
        "vote-before-sync",
        "vote_is_durable_before_reply",
        "A vote is sent while it is still being written; after a crash it is given again.",
        (
            Edit(
                ELECTION,
                "state.hold(sender, VoteReply(state.term, granted, pre=False))",
                "state.send(sender, VoteReply(state.term, granted, pre=False))",
            ),
        ),
    ),
    Mutant(
        "candidacy-before-sync",
        "vote_is_durable_before_reply",
        "A candidate asks for votes before its own is durable.",
        (
            Edit(
                ELECTION,
                "state.hold(peer, Vote(state.term, log.last_index, log.last_term,"
                " False, transfer))",
                "state.send(peer, Vote(state.term, log.last_index, log.last_term,"
                " False, transfer))",
            ),
        ),
    ),
    Mutant(
        "vote-forgotten",
        "vote_is_durable_before_reply",
        "A restarted node knows its term, but not whom it voted for in it.",
        (Edit(CORE, "            vote=hard.vote,\n", "            vote=NodeId(0),\n"),),
    ),
    Mutant(
        "vote-not-written",
        "vote_is_durable_before_reply",
        "The term is made durable, the vote is not.",
        (
            Edit(
                DURABILITY,
                "self.handed = HardState(term, vote, commit)",
                "self.handed = HardState(term, handed.vote, commit)",
            ),
        ),
    ),
    Mutant(
        "entries-before-their-term",
        "term_durable_before_its_entries",
        "A write with entries leaves a new term for the next write.",
        (
            Edit(
                DURABILITY,
                "if handed.commit != commit or handed.term != term or handed.vote != vote:",
                "if not entries and (handed.term != term or handed.vote != vote):",
            ),
        ),
    ),
    Mutant(
        "two-votes",
        "vote_is_durable_before_reply",
        "A node votes for everybody who asks in a term.",
        (
            Edit(
                ELECTION,
                "granted = vote.term == state.term and free and _is_up_to_date(state, vote)",
                "granted = vote.term == state.term and _is_up_to_date(state, vote)",
            ),
        ),
    ),
    Mutant(
        "longer-log-wins",
        "followers_converge_figure7",
        "Votes go to the longer log, not to the one with the later last term.",
        (
            Edit(
                ELECTION,
                "return (vote.last_term, vote.last_index) >= max(state.log.end, state.deleted)",
                "return vote.last_index >= state.log.last_index",
            ),
        ),
    ),
    Mutant(
        "late-vote-sent",
        "vote_is_durable_before_reply",
        "A vote that waited for the disk is sent though its term has passed meanwhile.",
        (
            Edit(
                CORE,
                "for peer, message in state.held if message.term == state.term]",
                "for peer, message in state.held]",
            ),
        ),
    ),
    Mutant(
        "old-votes-count",
        "quorum_arithmetic",
        "A vote of an earlier term counts for a candidate of this one.",
        (
            Edit(
                ELECTION,
                "        case Candidate() as role if not reply.pre:\n"
                "            fits = reply.term == asked_term\n",
                "        case Candidate() as role if not reply.pre:\n            fits = True\n",
            ),
        ),
    ),
    Mutant(
        "half-is-a-majority",
        "quorum_arithmetic",
        "Half of an even number of voters is taken for a majority.",
        (Edit(QUORUM, "return voters // 2 + 1", "return (voters + 1) // 2"),),
    ),
    Mutant(
        "one-too-few-reached",
        "quorum_arithmetic",
        "What counts as reached is what one voter less than a majority has.",
        (
            Edit(
                QUORUM,
                "return ordered[len(ordered) - majority(len(ordered))]",
                "return ordered[min(len(ordered) - majority(len(ordered)) + 1, len(ordered) - 1)]",
            ),
        ),
    ),
    Mutant(
        "no-pre-vote",
        "prevote_carries_term",
        "A node that heard nothing enters the next term at once, again and again.",
        (
            Edit(
                ELECTION,
                "and _may_campaign(state):\n        _campaign_softly(state)",
                "and _may_campaign(state):\n        _campaign(state)",
            ),
        ),
    ),
    Mutant(
        "pre-vote-bumps-terms",
        "prevote_carries_term",
        "Who would grant a vote enters the term it was asked about.",
        (
            Edit(
                ELECTION,
                "        state.send(sender, VoteReply(vote.term, granted=True, pre=True))",
                "        state.adopt(vote.term)\n"
                "        state.send(sender, VoteReply(vote.term, granted=True, pre=True))",
            ),
        ),
    ),
    Mutant(
        "pre-vote-is-a-vote",
        "prevote_carries_term",
        "Granting a pre-vote overwrites the vote of the present term.",
        (
            Edit(
                ELECTION,
                "        state.send(sender, VoteReply(vote.term, granted=True, pre=True))",
                "        state.vote = sender\n"
                "        state.send(sender, VoteReply(vote.term, granted=True, pre=True))",
            ),
        ),
    ),
    Mutant(
        "refusal-hides-term",
        "prevote_carries_term",
        "A refused pre-vote does not say that the refuser's term is higher.",
        (
            Edit(
                ELECTION,
                "state.send(sender, VoteReply(state.term, granted=False, pre=True))",
                "state.send(\n            sender,\n            "
                "VoteReply(min(state.term, vote.term - 1), granted=False, pre=True),\n        )",
            ),
        ),
    ),
    Mutant(
        "refusal-not-adopted",
        "prevote_carries_term",
        "The asker ignores the higher term in a refused pre-vote, and never wins.",
        (
            Edit(
                ELECTION,
                "if reply.term > state.term and not (reply.pre and reply.granted):",
                "if reply.term > state.term and not reply.pre:",
            ),
        ),
    ),
    Mutant(
        "disruption-heard",
        "disruptive_server_ignored",
        "A vote request with a higher term deposes a leader who is alive.",
        (
            Edit(
                ELECTION,
                "if state.in_lease and not vote.transfer:",
                "if state.in_lease and vote.transfer:",
            ),
        ),
    ),
    Mutant(
        "promised-over-a-leader",
        "disruptive_server_ignored",
        "A node that hears its leader would vote for whoever asks, even a removed node.",
        (
            Edit(
                ELECTION,
                "if vote.term > state.term and not state.in_lease and _is_up_to_date(state, vote):",
                "if vote.term > state.term and _is_up_to_date(state, vote):",
            ),
        ),
    ),
    Mutant(
        "no-check-quorum",
        "check_quorum_steps_down",
        "A leader whom nobody answers leads on, and its followers with it.",
        (
            Edit(
                REPLICATION,
                SILENT,
                "if state.disk_stalled:",
            ),
        ),
    ),
    Mutant(
        "stalled-disk-leads",
        "stalled_disk_loses_leadership",
        "A leader whose disk hangs goes on sending heartbeats.",
        (
            Edit(
                REPLICATION,
                SILENT,
                "if verdict(state.membership.current, heard) is not Verdict.WON:",
            ),
        ),
    ),
    Mutant(
        "stale-leader-not-told",
        "check_quorum_steps_down",
        "Who has seen a higher term does not say so to a leader of a lower one.",
        (
            Edit(
                "raft/follower.py",
                "        state.hold(sender, _refusal(state, append))\n        return",
                "        return",
            ),
        ),
    ),
)
