"""Client sessions: at most once, definite answers, bounded memory."""

import pytest
from attrs import evolve

from flowactor.limits import SESSION_EXPIRY_SECONDS, SESSION_REPLIES_MAX
from flowactor.machine import VariableChanged
from flowactor.machine.operations import ClientOperation, OpenSession, WriteVariable
from flowactor.machine.replies import Done, Rejected, Written


def write(sequence, acknowledged=1, value=b"x", session="s"):
    return ClientOperation(session, sequence, acknowledged, WriteVariable("v", value))


def replies(applied):
    return [reply for _, _, reply in applied.replies]


def test_proposal_once(group):
    """An operation that is in the log three times, also in one batch, is applied once and answered
    with the same reply each time.
    """
    first = group.apply(write(1), write(1))
    again = group.apply(write(1, value=b"other"))
    assert replies(first) == [Written(1), Written(1)]
    assert replies(again) == [Written(1)]
    assert again.notices == ()
    assert group.machine.variable("v").value == b"x"


def test_a_rejection_is_remembered_too(group):
    """A refused operation stays refused on retry, though by now it would succeed."""
    operation = ClientOperation("s", 1, 1, WriteVariable("", b"x"))
    (rejected,) = replies(group.apply(operation))
    assert rejected.code == "InvalidInput"
    assert replies(group.apply(write(1))) == [rejected]


def test_an_unknown_session_is_refused(group):
    """Without its session an operation could be a second arrival, so nothing happens."""
    applied = group.apply(write(1, session="stranger"))
    assert [reply.code for reply in replies(applied)] == ["SessionExpired"]
    assert group.machine.variable("v").version == 0


def test_opening_a_session_is_idempotent(group):
    """A second opening keeps what the session remembers."""
    group.apply(write(1))
    applied = group.apply(OpenSession("s"), OpenSession("t"))
    assert applied.replies == (("s", 0, Done(changed=False)), ("t", 0, Done(changed=True)))
    assert replies(group.apply(write(1))) == [Written(1)]


def test_an_acknowledged_reply_is_forgotten_and_never_applied_again(group):
    """Below what the client acknowledged a late duplicate is refused, not applied."""
    group.apply(write(1), write(2), write(3, acknowledged=3))
    late = replies(group.apply(write(1), write(2)))
    assert [reply.code for reply in late] == ["SessionExpired", "SessionExpired"]
    assert replies(group.apply(write(3, acknowledged=3))) == [Written(3)]
    assert group.machine.variable("v").version == 3


def test_sequences_may_arrive_in_any_order(group):
    """Two requests of one session that overtake each other are both applied."""
    assert replies(group.apply(write(5), write(2), write(9), write(5))) == [
        Written(1),
        Written(2),
        Written(3),
        Written(1),
    ]


def test_a_reply_acknowledged_before_rows_are_taken_is_never_a_row(group):
    """Only what is still owed at the time of the flush is written."""
    group.flush()
    for sequence in range(1, 50):
        group.apply(write(sequence, acknowledged=sequence))
    rows = [write for write in group.flush() if write.table == "session_replies"]
    assert [row.key for row in rows] == [("s", 49)]


def test_rows_of_acknowledged_replies_are_deleted(group):
    """A reply that became a row leaves the rows once it is acknowledged."""
    group.apply(write(1), write(2))
    group.flush()
    group.apply(write(3, acknowledged=2))
    group.flush()
    assert [row[:2] for row in group.rows.scan("session_replies")] == [("s", 2), ("s", 3)]


def test_replies_of_a_client_that_never_acknowledges_are_bounded(make_group):
    """Beyond the limit the oldest replies go, and their sequences are refused from then on."""
    group = make_group()
    count = SESSION_REPLIES_MAX + 1
    group.apply(*[write(sequence) for sequence in range(1, count + 1)])
    group.flush()
    assert len(group.rows.scan("session_replies")) <= SESSION_REPLIES_MAX
    (first, last) = replies(group.apply(write(1), write(count)))
    assert first.code == "SessionExpired"
    assert last == Written(count)
    assert group.machine.variable("v").version == count


def test_a_session_expires_by_log_time(group):
    """Unused for exactly the expiry it is gone; used a nanosecond before, it lives on."""
    group.apply(OpenSession("t"), at=0)
    almost = SESSION_EXPIRY_SECONDS - 1
    assert replies(group.apply(write(1, session="t"), at=almost)) == [Written(1)]
    assert replies(group.apply(write(1, session="t"), at=2 * almost)) == [Written(1)]
    (expired,) = replies(group.apply(write(2, session="t"), at=2 * almost + SESSION_EXPIRY_SECONDS))
    assert isinstance(expired, Rejected)
    assert expired.code == "SessionExpired"
    group.flush()
    assert group.rows.get("sessions", ("t",)) is None
    assert group.rows.scan("session_replies", ("t",)) == []


@pytest.mark.parametrize("flushed", [True, False])
def test_an_expired_session_opened_again_starts_afresh(group, flushed):
    """Old replies are gone from state and rows, whether or not rows were taken in between."""
    group.apply(write(1), write(2), at=0)
    group.flush()
    group.apply(at=SESSION_EXPIRY_SECONDS)
    if flushed:
        group.flush()
    group.apply(OpenSession("s"))
    assert replies(group.apply(write(2))) == [Written(3)]
    group.flush()
    assert [row[:2] for row in group.rows.scan("session_replies")] == [("s", 2)]


@pytest.mark.parametrize("sequence", [0, -1, 2**63, 2**80])
def test_a_sequence_out_of_range_is_refused(group, sequence):
    """A hostile number is answered, kept out of the rows, and does no harm to the session."""
    (reply,) = replies(group.apply(write(sequence, acknowledged=2**80)))
    assert isinstance(reply, Rejected)
    assert replies(group.apply(write(1))) == [Written(1)]


def test_acknowledging_the_future_forgets_no_more_than_the_past(group):
    """A client that acknowledges what it has not sent yet costs no time and blocks only itself."""
    assert replies(group.apply(write(10**15, acknowledged=2**62))) == [Written(1)]
    applied = group.apply(write(10**15, acknowledged=2**62))
    assert replies(applied) == [Written(1)]
    assert VariableChanged("v", 2) not in applied.notices


def test_late_copy_of_an_opening_opens_nothing_that_expired(group):
    """A clock that leaps expires a session whose changes are under way again: they stay refused."""
    opening = OpenSession("late", asked_ns=0)
    group.apply(opening)
    assert replies(group.apply(write(1, session="late"))) == [Written(1)]
    assert replies(group.apply(opening, at=SESSION_EXPIRY_SECONDS))[0].code == "SessionExpired"
    assert replies(group.apply(write(1, session="late")))[0].code == "SessionExpired"
    assert group.machine.variable("v").version == 1
    anew = evolve(opening, asked_ns=group.machine.clock_ns)
    assert replies(group.apply(anew)) == [Done(changed=True)]
