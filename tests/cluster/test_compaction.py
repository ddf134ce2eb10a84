"""When a log is cut, and where."""

import pytest

from flowactor.cluster.group.compaction import Compaction
from flowactor.limits import ELECTION_TICKS_MAX
from flowactor.raft import PeerStatus
from flowactor.storage import LogSize

RULE = Compaction(entries_max=100, bytes_max=10_000, trailing_entries=10, held_times_max=4)


def peer(match, silent=0):
    return PeerStatus(match, match + 1, silent, caught_up=True)


@pytest.mark.parametrize(
    ("size", "applied", "peers", "held", "target"),
    [
        (LogSize(1, 100, 9000), 100, [], None, None),  # no larger than it may be
        (LogSize(1, 101, 9000), 101, [], None, 91),  # the last ten are kept
        (LogSize(1, 12, 12_000), 12, [], None, 6),  # few and large: half of them are
        (LogSize(1, 200, 0), 150, [], None, 140),  # what is applied counts
        (LogSize(101, 150, 20_000), 150, [], None, 140),
        (LogSize(1, 200, 0), 200, [peer(200), peer(150)], None, 150),  # one is a little behind
        (LogSize(1, 200, 0), 200, [peer(150, ELECTION_TICKS_MAX)], None, 190),  # that one is dead
        (LogSize(51, 200, 0), 200, [peer(20)], None, 190),  # that one needs the state anyway
        (LogSize(1, 200, 0), 200, [], 120, 120),  # whoever is sent the state goes on from there
        (LogSize(1, 401, 0), 401, [peer(150)], 120, 391),  # nobody is waited for any longer
        (LogSize(1, 200, 0), 200, [peer(0)], None, None),  # nothing is known of that one
    ],
)
def test_target(size, applied, peers, held, target):
    """The log is cut beyond its limits, but for the last entries, and those that others need, up
    to a bound.
    """
    assert RULE.target(size, applied, peers, held) == target
