"""Quorum arithmetic against a second, naive implementation."""

from itertools import combinations
from random import Random

import pytest

from flowactor.raft.quorum import Verdict, majority, reached, verdict

COMPARISONS = 60_000


def naive_reached(voters, values):
    """The largest value that some majority, found by counting, has reached."""
    candidates = {0, *values.values()}
    return max(
        value
        for value in candidates
        if 2 * sum(values.get(voter, 0) >= value for voter in voters) > len(voters)
    )


def naive_verdict(voters, answers):
    """Won if more than half said yes, lost if more than half can no longer say it."""
    yes = [voter for voter in voters if answers.get(voter) is True]
    silent = [voter for voter in voters if voter not in answers]
    if 2 * len(yes) > len(voters):
        return Verdict.WON
    return Verdict.PENDING if 2 * (len(yes) + len(silent)) > len(voters) else Verdict.LOST


def test_quorum_arithmetic():
    """Commit index and election results agree with the naive implementation over 60,000 random
    inputs with 1 to 9 voters, absent answers and answers of strangers (paper 5.2, 5.3).
    """
    random = Random(1802)
    for number in range(COMPARISONS // 2):
        ids = random.sample(range(1, 15), random.randint(1, 9))
        told = random.sample(range(1, 15), random.randint(0, 14))
        values = {node: random.randint(0, 6) for node in told}
        answers = {node: random.random() < 0.5 for node in told}
        assert reached(ids, values) == naive_reached(ids, values), (number, ids, values)
        assert verdict(ids, answers) is naive_verdict(ids, answers), (number, ids, answers)


def test_majorities_intersect():
    """Any two majorities of up to 7 voters share one, and no smaller number guarantees that."""
    for count in range(1, 8):
        size = majority(count)
        groups = [set(group) for group in combinations(range(count), size)]
        assert all(a & b for a in groups for b in groups)
        smaller = [set(group) for group in combinations(range(count), size - 1)]
        assert not all(a & b for a in smaller for b in smaller)


def test_nobody_is_no_quorum():
    """An empty set of voters agrees to nothing: asking it is a bug."""
    with pytest.raises(AssertionError):
        reached((), {})
    with pytest.raises(AssertionError):
        verdict((), {})
