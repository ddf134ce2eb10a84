"""Majorities, as pure functions; a joint configuration needs one in both of its sets."""

import enum
from collections.abc import Mapping, Sequence

from flowactor.identity import NodeId
from flowactor.raft.configuration import Configuration

__all__ = ["Verdict", "majority", "reached", "verdict"]


class Verdict(enum.Enum):
    """What a vote has come to."""

    WON = "won"
    LOST = "lost"
    PENDING = "pending"


def majority(voters: int) -> int:
    """The smallest number of voters of which any two such groups share one."""
    return voters // 2 + 1


def reached(configuration: Configuration, values: Mapping[NodeId, int]) -> int:
    """The highest value that a quorum has reached; who has none counts as 0."""
    index = _reached(configuration.voters, values)
    if configuration.outgoing:
        return min(index, _reached(configuration.outgoing, values))
    return index


def _reached(voters: Sequence[NodeId], values: Mapping[NodeId, int]) -> int:
    assert voters, "a quorum of nobody agrees to everything"
    ordered = sorted([values.get(voter, 0) for voter in voters])
    return ordered[len(ordered) - majority(len(ordered))]


def verdict(configuration: Configuration, answers: Mapping[NodeId, bool]) -> Verdict:
    """Won by a quorum of yes, lost once the noes leave none; strangers do not count."""
    verdicts = [_verdict(voters, answers) for voters in configuration.quorums]
    if Verdict.LOST in verdicts:
        return Verdict.LOST
    return Verdict.PENDING if Verdict.PENDING in verdicts else Verdict.WON


def _verdict(voters: Sequence[NodeId], answers: Mapping[NodeId, bool]) -> Verdict:
    assert voters, "a vote of nobody"
    yes = sum(answers.get(voter, False) for voter in voters)
    no = sum(not answers.get(voter, True) for voter in voters)
    if yes >= majority(len(voters)):
        return Verdict.WON
    if len(voters) - no < majority(len(voters)):
        return Verdict.LOST
    return Verdict.PENDING
