"""The judge of sleep: a group that is quiet wakes in bounded time (I16).

Who sleeps takes no step, and the other checkers look at steps. So as long as any replica is quiet,
this looks at the clock: at the processes of those whom it relies on, and at its timers (I26).
"""

from collections.abc import Callable, Collection, Mapping
from typing import Final

from attrs import define

from flowactor.cluster.group.actor import ExecutionGroup
from flowactor.identity import GroupId
from flowactor.limits import (
    BEAT_SECONDS,
    ELECTION_TICKS_MAX,
    NANOSECONDS,
    REST_SECONDS_MAX,
    SILENCE_SECONDS,
)
from flowactor.raft import Role, Status
from flowactor.simulation.agenda import Agenda
from flowactor.simulation.checks.consensus import ConsensusChecker
from flowactor.simulation.failure import CheckFailed

__all__ = ["QuietChecker", "check_falls_asleep"]

LOOK_NS: Final = NANOSECONDS // 2
SLOWEST: Final = 4
"""So many seconds the slowest clock of a simulated machine takes for one."""
WAKE_NS: Final = round((SILENCE_SECONDS + 2 * BEAT_SECONDS) * SLOWEST * NANOSECONDS)
"""By then a node knows that a process has ended, and has woken the groups that this concerns."""
TIMER_LOOKS: Final = round((REST_SECONDS_MAX + 1) * NANOSECONDS / LOOK_NS)

Replica = tuple[int, GroupId]
"""A machine, and a group that it has part in."""


def check_falls_asleep(node: int, status: Status, checker: ConsensusChecker) -> None:
    """Who goes quiet has nothing under way, and a leader that does leaves nobody behind but those
    that it has not heard for so long that they are given up.

    Args:
        node: goes quiet.
        status: of it, from now on.
        checker: of the group; knows how far all are.

    Raises:
        CheckFailed: I16.
    """
    term, last, commit, durable = checker.place_of(node)
    if not commit == last == durable:
        raise CheckFailed("I16", f"node {node} goes quiet, and has more to commit or to write")
    for peer, known in status.peers:
        its_term, its_last, _, _ = checker.place_of(peer)
        is_lost = known.ticks_silent >= ELECTION_TICKS_MAX
        is_member = peer in status.configuration.members
        if is_member and 0 < its_term <= term and its_last != last and not is_lost:
            raise CheckFailed(
                "I16", f"leader {node} goes quiet with {last} entries, node {peer} has {its_last}"
            )


@define(eq=False)
class _Sleep:
    """Of one replica.

    Attributes:
        relies_on: the machine of the leader, or to a leader those of the members that it had not
            given up: by what becomes of these it is to be woken.
        since_ns: until then it was awake, or its process could do nothing.
        overdue: how often in a row a timer was found due.
    """

    relies_on: Collection[int]
    since_ns: int
    overdue: int = 0


class QuietChecker:
    """Of all groups.

    Args:
        agenda: true time, and when to look.
        serving: the first group's replica on each machine whose process is there and not paused.
        machine_of: a node's.
    """

    def __init__(
        self,
        agenda: Agenda,
        serving: Callable[[], Mapping[int, ExecutionGroup]],
        machine_of: Callable[[int], int],
    ) -> None:
        self._agenda: Final = agenda
        self._serving: Final = serving
        self._machine_of: Final = machine_of
        self._asleep: Final[dict[Replica, _Sleep]] = {}
        self._ended_ns: Final[dict[int, int]] = {}
        self._down: Final[set[int]] = set()
        self._still_ns: Final[dict[int, int]] = {}
        self._will_look = False

    def changed(self, machine: int, group: GroupId, status: Status) -> None:
        """The status of a replica is this now."""
        if not status.quiet:
            self._asleep.pop((machine, group), None)
            return
        if status.role is Role.LEADER:
            peers = [
                peer for peer, known in status.peers if known.ticks_silent < ELECTION_TICKS_MAX
            ]
        else:
            peers = [status.leader]
        relies_on = tuple(map(self._machine_of, peers))
        self._asleep[machine, group] = _Sleep(relies_on, self._agenda.now_ns)
        self._look_later()

    def closed(self, machine: int, group: GroupId) -> None:
        """The replica is no more."""
        self._asleep.pop((machine, group), None)

    def began(self, machine: int) -> None:
        """A process begins."""
        self._down.discard(machine)

    def ended(self, machine: int) -> None:
        """The process is gone."""
        self._still_ns.pop(machine, None)
        self._down.add(machine)
        self._ended_ns[machine] = self._agenda.now_ns
        for replica in [replica for replica in self._asleep if replica[0] == machine]:
            del self._asleep[replica]

    def paused(self, machine: int) -> None:
        """The process stands still."""
        self._still_ns[machine] = self._agenda.now_ns

    def resumed(self, machine: int) -> None:
        """It goes on: if it was not for long, nobody need have noticed."""
        self._still_ns.pop(machine, None)

    def _look_later(self) -> None:
        if not self._will_look:
            self._will_look = True
            self._agenda.at(self._agenda.now_ns + LOOK_NS, self._look)

    def _look(self) -> None:
        self._will_look = False
        serving = self._serving()
        for (machine, group), sleep in self._asleep.items():
            if machine not in serving:
                sleep.since_ns, sleep.overdue = self._agenda.now_ns, 0
                continue
            self._look_at_others(machine, group, sleep)
            if group == serving[machine].group and serving[machine].is_leader:
                self._look_at_timers(machine, serving[machine], sleep)
        if self._asleep:
            self._look_later()

    def _look_at_others(self, machine: int, group: GroupId, sleep: _Sleep) -> None:
        for other in sleep.relies_on:
            gone_ns = self._gone_ns(other, sleep.since_ns)
            if gone_ns is None:
                continue
            passed_ns = self._agenda.now_ns - max(gone_ns, sleep.since_ns)
            if passed_ns > WAKE_NS:
                raise CheckFailed(
                    "I16",
                    f"group {group} sleeps on node {machine}, and has for {passed_ns / NANOSECONDS}"
                    f" s since the process of node {other} ended, or stood still",
                )

    def _gone_ns(self, other: int, since_ns: int) -> int | None:
        """When the process was lost that a replica, asleep since then, relies on; None: it is
        there, or another one was before the replica fell asleep.
        """
        if other in self._still_ns:
            return self._still_ns[other]
        ended_ns = self._ended_ns.get(other)
        if ended_ns is None or (ended_ns < since_ns and other not in self._down):
            return None
        return ended_ns

    @staticmethod
    def _look_at_timers(machine: int, group: ExecutionGroup, sleep: _Sleep) -> None:
        due_ns = group.machine.next_due_ns
        is_due = due_ns is not None and due_ns <= group.clock.now_ns()
        sleep.overdue = sleep.overdue + 1 if is_due else 0
        if sleep.overdue > TIMER_LOOKS:
            raise CheckFailed("I26", f"leader {machine} sleeps, and a timer is due")
