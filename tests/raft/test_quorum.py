"""Quorum arithmetic against a second, naive implementation."""

from itertools import combinations
from random import Random

import pytest

from flowactor.raft import Configuration
from flowactor.raft.quorum import Verdict, majority, reached, verdict

COMPARISONS = 60_000


def naive_quorum(nodes, configuration):
    """Whether these nodes are more than half of the voters, and of the outgoing ones."""
    sets = [configuration.voters, configuration.outgoing]
    return all(
        2 * sum(voter in nodes for voter in voters) > len(voters) for voters in sets if voters
    )


def naive_reached(configuration, values):
    """The largest value that some quorum, found by counting, has reached."""
    candidates = {0, *values.values()}
    everybody = range(1, 15)
    return max(
        value
        for value in candidates
        if naive_quorum({node for node in everybody if values.get(node, 0) >= value}, configuration)
    )


def naive_verdict(configuration, answers):
    """Won if a quorum said yes, lost if no quorum can say it any more."""
    yes = {node for node, answer in answers.items() if answer}
    silent = set(range(1, 15)) - set(answers)
    if naive_quorum(yes, configuration):
        return Verdict.WON
    return Verdict.PENDING if naive_quorum(yes | silent, configuration) else Verdict.LOST


def test_quorum_arithmetic():
    """Commit index and election results agree with the naive implementation over 60,000 random
    inputs with 1 to 9 voters, half of them joint with as many others, with learners, absent
    answers and answers of strangers (paper 5.2, 5.3; thesis 4.3).
    """
    random = Random(1802)
    for number in range(COMPARISONS // 2):
        members = Configuration(
            voters=tuple(random.sample(range(1, 15), random.randint(1, 9))),
            learners=tuple(random.sample(range(1, 15), random.randint(0, 3))),
            outgoing=tuple(random.sample(range(1, 15), random.randint(1, 9) * (number % 2))),
        )
        told = random.sample(range(1, 15), random.randint(0, 14))
        values = {node: random.randint(0, 6) for node in told}
        answers = {node: random.random() < 0.5 for node in told}
        assert reached(members, values) == naive_reached(members, values), (number, members, values)
        assert verdict(members, answers) is naive_verdict(members, answers), (number, members)


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
        reached(Configuration(), {})
    with pytest.raises(AssertionError):
        verdict(Configuration(), {})
