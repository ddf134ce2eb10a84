"""The judge of idle leaders: one whose log is at rest leaves nothing undone for long."""

import pytest
from attrs import Factory, define

from flowactor.simulation.checks.idle import PATIENCE_TICKS, IdleChecker
from flowactor.simulation.failure import CheckFailed


@define
class Peer:
    ticks_silent: int = 0


@define
class Known:
    alive: bool = True


@define
class Group:
    """A leader as the judge sees it: its machine, its clock and its status are itself."""

    applied: int = 7
    last_index: int = 7
    term: int = 1
    time_ns: int = 0
    next_due_ns: int | None = None
    silent: int = 0
    nodes: dict[int, Known] = Factory(lambda: {2: Known()})

    @property
    def machine(self):
        return self

    @property
    def clock(self):
        return self

    @property
    def peers(self):
        return ((2, Peer(self.silent)),)

    def now_ns(self):
        return self.time_ns

    def progress(self):
        return self


def tick(group, times=PATIENCE_TICKS + 1, checker=None):
    checker = checker or IdleChecker()
    for _ in range(times):
        checker.ticked(1, group)
    return checker


def test_a_leader_with_nothing_to_do_may_rest():
    """Timers of the future and nodes that talk, or are known to be lost, ask for nothing."""
    tick(Group(next_due_ns=5, silent=3), 100)
    tick(Group(silent=100, nodes={2: Known(alive=False)}), 100)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (Group(next_due_ns=5, time_ns=5), "I26: leader 1 is idle for 21 ticks, and a timer is due"),
        (
            Group(silent=15),
            "I36: leader 1 is idle for 21 ticks, and node 2, which is silent, keeps",
        ),
    ],
    ids=["timer", "silence"],
)
def test_what_is_left_undone_is_found(group, message):
    """A timer that is due, or a silent node that keeps its runs."""
    checker = tick(group, PATIENCE_TICKS)
    with pytest.raises(CheckFailed, match=message):
        checker.ticked(1, group)


@pytest.mark.parametrize("change", ["applied", "term", "last_index"])
def test_a_log_that_moves_has_time(change):
    """What is under way, or a new leadership, may see to it."""
    group = Group(next_due_ns=5, time_ns=5)
    checker = tick(group, PATIENCE_TICKS)
    setattr(group, change, getattr(group, change) + 1)
    if change == "applied":
        group.last_index += 1
    tick(group, PATIENCE_TICKS, checker)
