"""The judge of windows: what a leader may send before it hears back, and what it may not."""

import pytest

from flowactor.raft import (
    Append,
    AppendReply,
    Configuration,
    Effects,
    Entry,
    EntryKind,
    Receive,
    Write,
)
from flowactor.raft.log import size_bytes
from flowactor.raft.membership import configuration_entry
from flowactor.simulation.checks.windows import WindowChecker, Windows
from flowactor.simulation.failure import CheckFailed

LEADER, PEER = 1, 2
SIZE = size_bytes(Entry(1, 1, EntryKind.PAYLOAD, b"x"))


def append(first, last=None, term=1):
    """Entries of one byte, from ``first`` on."""
    entries = tuple(
        Entry(term, index, EntryKind.PAYLOAD, b"x") for index in range(first, (last or first) + 1)
    )
    return Append(term, first - 1, term, 0, 0, entries)


class Leader:
    """Sends to one peer, before the judge."""

    def __init__(self, **limits):
        self.checker = WindowChecker(Windows(**limits))

    def send(self, *appends):
        effects = Effects()
        effects.messages.extend((PEER, message) for message in appends)
        self.checker.stepped(LEADER, (), effects)

    def hear(self, index, success=True, term=1):
        reply = AppendReply(term, success, index, 0)
        self.checker.stepped(LEADER, (Receive(PEER, reply),), Effects())

    def has_members(self, members):
        entry = configuration_entry(1, 9, Configuration(members))
        write = Write(1, None, 0, (entry,))
        self.checker.stepped(LEADER, (), Effects(write=write))

    def insist(self, appends):
        """Send one after the other, whatever is answered."""
        for each in appends:
            self.send(each)
            self.hear(9, success=False)


def test_a_window_may_be_filled_again_and_again():
    """As much as it takes, and beside it the one append that asks where logs meet."""
    leader = Leader(inflight_appends_max=2)
    leader.send(append(1), append(2), append(3))
    leader.hear(2)
    leader.send(append(4), append(5))
    leader.hear(5)
    leader.send(append(6), append(7), append(8))


def test_who_was_taken_out_begins_again():
    """What was under way to a node does not count any more when it is a member again."""
    leader = Leader(inflight_appends_max=1)
    leader.send(append(1), append(2))
    leader.has_members((1,))
    leader.has_members((1, PEER))
    leader.send(append(3), append(4))


def test_what_is_sent_again_is_not_under_way_twice():
    """A leader that goes back has given up what it sent before."""
    leader = Leader(inflight_appends_max=2)
    for _ in range(5):
        leader.send(append(1), append(2))


def test_a_new_term_or_life_begins_with_nothing():
    """What was sent in an earlier one, nobody waits for."""
    leader = Leader(inflight_appends_max=1)
    leader.send(append(1), append(2))
    leader.send(append(3, term=2), append(4, term=2))
    leader.checker.recovered(LEADER)
    leader.send(append(5, term=2), append(6, term=2))


@pytest.mark.parametrize(
    ("limits", "sent", "message"),
    [
        ({"inflight_appends_max": 2}, [append(n) for n in range(1, 5)], "3 appends that wait"),
        ({"inflight_bytes_max": 2 * SIZE}, [append(n) for n in range(1, 5)], "bytes are unheard"),
        ({"append_bytes_max": 2 * SIZE}, [append(1, 3)], f"an append of {3 * SIZE} bytes"),
    ],
    ids=["appends", "bytes", "one append"],
)
def test_more_than_a_window_takes_is_found(limits, sent, message):
    """Too many appends, too many bytes, or too many of them in one append; an answer of another
    term, or one that refuses, makes no room.
    """
    leader = Leader(**limits)
    leader.hear(9, term=2)
    with pytest.raises(CheckFailed, match=message):
        leader.insist(sent)


def test_a_single_entry_travels_however_large_it_is():
    """Or it never would."""
    Leader(append_bytes_max=1).send(append(1))
