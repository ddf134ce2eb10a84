"""The time that a test of a simulated cluster goes by: it leaps where nothing is going on."""

from collections.abc import Callable, Iterator
from typing import Final

import trio

from flowactor.cluster.group.actor import ExecutionGroup
from flowactor.limits import NANOSECONDS
from flowactor.machine.replies import RunStatus
from flowactor.machine.state import StepState
from flowactor.node import Node
from flowactor.simulation.agenda import Agenda
from flowactor.simulation.faults import ClockJump
from flowactor.simulation.nodes import Cluster

__all__ = ["Calendar", "sleep_until"]

LOOK_SECONDS: Final = 0.1
"""Between two looks at a cluster that has something to do: a tick of consensus."""
QUIET_LOOKS: Final = 3
"""After so many looks in a row at which nothing had moved, nothing is under way."""
UNREST_NS: Final = 5 * NANOSECONDS
"""After something befell the cluster: elections, leases and connections run out before that."""
LEAP_NS_MIN: Final = NANOSECONDS
"""Less than that is not worth a leap."""


class Calendar(Agenda):
    """The agenda of a run, and the time that was left out of it.

    In a leap every wall clock and every log clock goes on by the same amount, and nothing else
    does: to workflows that time has passed; heartbeats, leases and connections do not notice.

    Args:
        agenda: of the run.

    Attributes:
        left_out_ns: by all leaps so far.
        pending: how many things are on it.
    """

    def __init__(self, agenda: Agenda) -> None:
        self.left_out_ns = 0
        self.pending = 0
        self._agenda: Final = agenda
        self._calm_ns = UNREST_NS

    @property
    def now_ns(self) -> int:
        """Nanoseconds since the run began, as the test counts them."""
        return self._agenda.now_ns + self.left_out_ns

    def at(self, due_ns: int, action: Callable[[], None]) -> None:
        """See ``Agenda``. Until then no time is left out."""
        self.pending += 1

        def act() -> None:
            self.pending -= 1
            action()

        self._agenda.at(due_ns - self.left_out_ns, act)

    @property
    def may_leap(self) -> bool:
        """Nothing is going to befall the cluster, nor has it of late."""
        return not self.pending and self._agenda.now_ns >= self._calm_ns

    def disturbed(self) -> None:
        """Something befell the cluster: for a while time passes as it does."""
        self._calm_ns = self._agenda.now_ns + UNREST_NS

    def leap(self, cluster: Cluster, nanoseconds: int) -> None:
        """So much time passes in no time."""
        assert self.may_leap, "what is on the agenda would come too late"
        self.left_out_ns += nanoseconds
        for number, machine in cluster.machines.items():
            machine.clock.begin(ClockJump(number, nanoseconds / NANOSECONDS, at=0.0))
        for node in _living(cluster):
            for group in node.groups.values():
                group.clock.follow(group.clock.now_ns() + nanoseconds)
                group.wake()  # one that rests would look at the clock only in a while


async def sleep_until(due_ns: int, calendar: Calendar, cluster: Cluster) -> None:
    """Sleep, and leap wherever the cluster has nothing to do but wait for timers.

    Args:
        due_ns: of the calendar.
        calendar: leaps.
        cluster: is looked at ten times a second while it has something to do.
    """
    await trio.lowlevel.checkpoint()
    quiet, seen = 0, _applied(cluster)
    while (left_ns := due_ns - calendar.now_ns) > 0:
        leader = _leader(cluster)
        before, seen = seen, _applied(cluster)
        is_quiet = seen == before and not (leader and _is_busy(leader))
        quiet = quiet + 1 if is_quiet else 0
        if quiet >= QUIET_LOOKS and calendar.may_leap:
            idle_ns = left_ns if leader is None else min(left_ns, _idle_ns(leader, left_ns))
            if idle_ns >= LEAP_NS_MIN:
                calendar.leap(cluster, idle_ns)
                quiet = 0
                continue
        await trio.sleep(min(LOOK_SECONDS, left_ns / NANOSECONDS))


def _living(cluster: Cluster) -> Iterator[Node]:
    """All whose process is there, also those that stand still."""
    for machine in cluster.machines.values():
        if machine.life is not None and machine.life.node is not None:
            yield machine.life.node


def _leader(cluster: Cluster) -> ExecutionGroup | None:
    """Who leads, and knows it; of two, who is in the later term."""
    leaders = [node.group for node in cluster.serving().values() if node.group.is_leader]
    return max(leaders, key=lambda group: group.status.term, default=None)


def _applied(cluster: Cluster) -> tuple[int, ...]:
    return tuple(node.group.applied for node in cluster.serving().values())


def _is_busy(leader: ExecutionGroup) -> bool:
    """Something happens that is no timer."""
    return any(
        run.inbox or any(step.state is StepState.RUNNING for step in run.steps.values())
        for run in leader.machine.runs.values()
        if run.status is RunStatus.RUNNING
    )


def _idle_ns(leader: ExecutionGroup, most_ns: int) -> int:
    """Until the next timer, retry or time-out is due."""
    due_ns = leader.machine.next_due_ns
    return most_ns if due_ns is None else due_ns - leader.clock.now_ns()
