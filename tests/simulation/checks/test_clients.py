"""The checks over what clients heard: each passes what is right and names what is wrong."""

import pytest
from hypothesis import given

from flowactor.machine.replies import Done, Rejected, Written
from flowactor.simulation.checks.clients import (
    Held,
    Operation,
    RepliedOnce,
    check_acknowledged_everywhere,
    check_fresh_reads,
    check_no_phantoms,
    check_session_order,
    describe,
    final_reads,
)
from flowactor.simulation.checks.linearizability import check_linearizable
from flowactor.simulation.failure import CheckFailed
from tests.simulation.checks.test_linearizability import (
    PLANS,
    delete,
    executed,
    history,
    read,
    swap,
    write,
)

CHECKS = (check_fresh_reads, check_session_order, check_no_phantoms)


@given(plans=PLANS)
def test_what_was_executed_passes_every_check(plans):
    """A history that is linearizable by construction, with deletes and unknown outcomes, breaks no
    check: none of them cries wolf.
    """
    for check in CHECKS:
        check(executed(plans))


WRONG = [
    (check_fresh_reads, "I14", [write(1, 0, 1, "a", 1), read(2, 2, 3)]),
    (
        check_fresh_reads,
        "I14",
        [swap(1, 0, 1, 3, "a"), write(1, 2, 3, "b", 4), read(2, 4, 9, 0, 3)],
    ),
    (
        check_fresh_reads,
        "I14",
        [delete(1, 0, 1, changed=False), write(1, 2, 3, "a", 1), read(2, 4, 5)],
    ),
    (check_session_order, "I20", [read(1, 0, 1, "b", 2), read(1, 2, 3, "a", 1)]),
    (check_session_order, "I20", [write(1, 0, 1, "b", 2), read(1, 2, 3, "a", 1)]),
    (check_no_phantoms, "I20", [read(1, 0, 1, "a", 1), write(2, 2, 3, "a", 1)]),
    (check_no_phantoms, "I20", [write(2, 0, 1, "a", 1), read(1, 2, 3, "b", 1)]),
    (check_no_phantoms, "I20", [write(2, 0, 1, "a", 1), read(1, 2, 3, "a", 2)]),
]


@pytest.mark.parametrize(("check", "name", "rows"), WRONG)
def test_what_is_wrong_is_named(check, name, rows):
    """Each violation is found under its invariant, and the read is shown."""
    with pytest.raises(CheckFailed, match=r"read\(\) -> Held") as caught:
        check(history(*rows))
    assert caught.value.checker == name


RIGHT = [
    (check_fresh_reads, [write(1, 0, 2, "a", 1), read(2, 2, 3)]),
    (check_fresh_reads, [write(1, 0, None, "a"), read(2, 2, 3)]),
    (check_fresh_reads, [write(1, 0, 1, "a", 5), delete(2, 1, 2, changed=True), read(2, 4, 5)]),
    (check_fresh_reads, [delete(2, 0, None), write(1, 1, 2, "a", 5), read(2, 4, 5)]),
    (check_fresh_reads, [write(1, 0, 1, "a", 5), read(2, 4, 9), delete(3, 8, 20, changed=True)]),
    (check_session_order, [read(1, 0, 1, "b", 2), read(2, 2, 3, "a", 1)]),
    (check_session_order, [read(1, 0, 5, "b", 2), read(1, 2, 3, "a", 1)]),
    (check_no_phantoms, [write(2, 1, None, "a"), read(1, 0, 2, "a", 1)]),
]


@pytest.mark.parametrize(("check", "rows"), RIGHT)
def test_what_may_be_is_left_alone(check, rows):
    """What is at the same time, unknown, of another client or around a delete proves nothing."""
    check(history(*rows))


def test_other_keys_are_other_histories():
    """A version of one key says nothing about another."""
    (one,) = history(write(1, 0, 1, "a", 5))
    check_fresh_reads([one, Operation(1, 2, "y", "read", (), 4, 5, Held(None, 0))])


def test_acknowledged_commands_are_everywhere():
    """I17: a command that one replica lacks is named with the replica."""
    applied = {1: {("s", 1), ("s", 2)}, 2: {("s", 1)}, 3: {("s", 1), ("s", 2)}}
    check_acknowledged_everywhere([("s", 1)], applied)
    with pytest.raises(CheckFailed, match=r"I17: sequence 2 of session 's' .* missing on node 2"):
        check_acknowledged_everywhere([("s", 1), ("s", 2)], applied)


def test_final_values_fit_the_history():
    """I17: what a replica holds in the end is one more read, which must fit like any other."""
    rows = history(write(1, 0, 1, "a", 1), write(1, 2, 3, "b", 2))
    held = {1: {"x": Held("b", 2)}, 2: {"x": Held("b", 2)}}
    check_linearizable([*rows, *final_reads(held, ["x"], 10)])
    for wrong in ({"x": Held("a", 1)}, {}):
        with pytest.raises(CheckFailed, match=r"node 2 .*<-- fits nowhere"):
            check_linearizable([*rows, *final_reads({**held, 2: wrong}, ["x"], 10)], checker="I17")


def test_equal_commands_have_equal_replies():
    """I19: the same command may be answered again, by any node and for a later entry, but only the
    same; a session that was opened again, or forgot the reply, says nothing.
    """
    judge = RepliedOnce()
    judge.applied(1, 5, [("s", 0, Done()), ("s", 1, Written(1)), ("t", 1, Written(2))])
    judge.applied(2, 5, [("s", 0, Done(False)), ("s", 1, Written(1)), ("t", 1, Written(2))])
    judge.applied(1, 6, [("s", 1, Written(1)), ("t", 1, Rejected("SessionExpired", "long ago"))])
    with pytest.raises(CheckFailed, match=r"I19: sequence 1 of session 's' .* entry 9 on node 3"):
        judge.applied(3, 9, [("s", 1, Written(3))])


def test_an_operation_is_described_in_one_line():
    """Who, when, what and the answer, or that there was none."""
    done, lost = history(write(1, 1_500_000_000, 2_000_000_000, "a", 3), delete(2, 7, None))
    line = " ".join(describe(done).split())
    assert line == "client 1 #1 1.500000000 - 2.000000000 s write('a') -> Wrote(version=3)"
    assert describe(lost).endswith("s  delete() -> unknown")


def test_an_answer_before_its_question_is_refused():
    """A record that cannot be is a bug of whoever recorded it."""
    with pytest.raises(AssertionError):
        Operation(1, 1, "x", "read", (), 5, 4, Held(None, 0))
