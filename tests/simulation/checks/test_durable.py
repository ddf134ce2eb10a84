"""The judges' book of one disk: what fits into it, and what is left once it was purged."""

import pytest

from flowactor.raft import HardState, Write
from flowactor.simulation.checks.durable import DurableLog
from flowactor.simulation.failure import CheckFailed
from tests.simulation.checks.consensus_story import entry


def test_a_purged_log_knows_where_it_begins():
    """What was purged is gone but for the last term and what it led to; the rest goes on."""
    log = DurableLog(HardState(3, 0, 0), [entry(index, 1 + index // 3) for index in range(1, 6)])
    log.purge_to(3)
    assert (log.previous_index, log.previous_term, log.last_index) == (3, 2, 5)
    assert [log.term_at(index) for index in range(2, 7)] == [None, 2, 2, 2, None]
    assert [log.holds(index, 2) for index in range(2, 7)] == [True, True, True, True, False]
    assert log.between(1, 9) == log.between(4, 5) == [entry(4, 2), entry(5, 2)]
    log.persist(Write(1, None, 5, (entry(5, 3), entry(6, 3))))
    assert log.between(5, 6) == [entry(5, 3), entry(6, 3)]


@pytest.mark.parametrize(
    ("name", "write"),
    [("I11", Write(1, None, 0, (entry(5, 1),))), ("I12", Write(1, None, 2, ()))],
    ids=["a hole", "a cut into what was purged"],
)
def test_a_write_that_does_not_fit_is_refused(name, write):
    """Entries follow the last one, and a cut does not reach below the first."""
    log = DurableLog(HardState(1, 0, 0), [entry(1, 1), entry(2, 1), entry(3, 1)])
    log.purge_to(2)
    with pytest.raises(CheckFailed) as caught:
        log.persist(write)
    assert caught.value.checker == name
