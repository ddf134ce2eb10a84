"""What must come about once the faults are over, in bounded virtual time: I32 to I36; and what must
fit together in the end. The same at both depths.

Runs that only wait for a timer are not waited for: time is skipped until the timer is near, as if
all machines had been suspended. So a run that sleeps for a month comes to its end as well.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Protocol

import trio

from flowactor.cluster.group.actor import ExecutionGroup
from flowactor.codec.payloads import decode_payload
from flowactor.identity import GroupId, RunId, SessionId
from flowactor.limits import NANOSECONDS
from flowactor.machine.replies import RunStatus
from flowactor.machine.state import RunState, RunSummary, StepState
from flowactor.simulation.checks.clients import (
    Held,
    Operation,
    check_acknowledged_everywhere,
    check_fresh_reads,
    check_no_phantoms,
    check_session_order,
    final_reads,
)
from flowactor.simulation.checks.judge import FIRST_GROUP, Judge
from flowactor.simulation.checks.linearizability import Undecided, check_linearizable
from flowactor.simulation.checks.runs import RunsChecker
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.world import World
from flowactor.workflow import App, decode_failure

__all__ = ["Clients", "Cluster", "Healing", "Time", "come_to_rest"]

LOOK_NS: Final = 100_000_000
"""Between two looks at the cluster."""
NEAR_NS: Final = 5 * NANOSECONDS
"""A timer that is due by then is waited for."""
TERMS_WHEN_HEALED_MAX: Final = 20


class Cluster(Protocol):
    """The nodes, as healing sees them."""

    @property
    def sound(self) -> Sequence[int]:
        """Those that have to work now: healed, and not lost for good."""

    @property
    def awake(self) -> Collection[int]:
        """Those that could answer now."""

    def belongs(self, node: int, group: GroupId) -> bool:
        """Whether this node's replica of the group has to follow its leader, or be gone."""

    def is_able(self, group: GroupId) -> bool:
        """Whether the sound ones can decide in this group: else nothing is promised of it."""

    def replicas(self) -> Mapping[GroupId, Mapping[int, ExecutionGroup]]:
        """Of the groups of runs, on all nodes that serve now, by the number of the node."""

    def unsettled(self) -> CheckFailed | None:
        """Why the cluster is not yet what it ought to be."""


class Clients(Protocol):
    """All clients together."""

    @property
    def waiting(self) -> int:
        """How many requests have neither an answer nor were given up."""

    @property
    def operations(self) -> Sequence[Operation]:
        """What was asked of variables."""

    @property
    def acknowledged(self) -> Sequence[tuple[SessionId, int]]:
        """The changes that were answered."""

    @property
    def started(self) -> Mapping[str, RunId]:
        """The runs whose start was acknowledged, by their workflow id."""

    def probe(self, served: Callable[[], None], *, changes: bool) -> None:
        """Call ``served`` once a new client was: it reads a variable, which it writes before if it
        may change anything.
        """


class Time(Protocol):
    """Virtual time."""

    @property
    def now_ns(self) -> int:
        """True time since the run of the simulation began."""

    def skip(self, nanoseconds: int) -> None:
        """Let so much time pass in which nothing happens."""


class Healing:
    """Watches a cluster come to rest. Made when the faults are over.

    Args:
        cluster: the nodes.
        clients: who asked for something.
        judge: knows the runs.
        time: is skipped when nothing else is left to do.
        patience_seconds: how long all may take, from now on or from when time was last skipped.
        horizon_seconds: a timer that is further away is not waited for.

    Attributes:
        end_ns: when everything has to be at rest; later, whenever time was skipped.
    """

    def __init__(
        self,
        cluster: Cluster,
        clients: Clients,
        judge: Judge,
        time: Time,
        *,
        patience_seconds: float,
        horizon_seconds: float,
    ) -> None:
        self._cluster: Final = cluster
        self._clients: Final = clients
        self._judge: Final = judge
        self._time: Final = time
        self._horizon_ns: Final = round(horizon_seconds * NANOSECONDS)
        self._terms: Final = _terms(judge)
        self._patience_ns: Final = round(patience_seconds * NANOSECONDS)
        self.end_ns = time.now_ns + self._patience_ns

    def is_over(self) -> bool:
        """Whether everything is at rest; look again a little later if it is not.

        Raises:
            CheckFailed: it is not, and should be by now; names the first thing that is missing.
        """
        missing = self.missing()
        if missing is None:
            return not self._skip()
        if self._time.now_ns >= self.end_ns:
            raise self.located(missing)
        return False

    def located(self, failed: CheckFailed) -> CheckFailed:
        """It tells now at which lines the code waits of the runs that it is about."""
        runs = self._judge.runs
        places = (runs.place(run_id) for run_id in failed.runs if run_id in runs.open)
        failed.places = tuple(dict.fromkeys(filter(None, places)))
        if failed.places:
            failed.add_note(f"the code waits at {', '.join(failed.places)}")
        return failed

    def missing(self) -> CheckFailed | None:
        """What has not come about yet, if anything."""
        if not self.is_promised:
            return None
        cluster = self._cluster
        down = [str(node) for node in cluster.sound if node not in cluster.awake]
        if down:
            return CheckFailed("I32", f"node {', '.join(down)} does not serve, and nothing hinders")
        replicas = cluster.replicas()
        if not replicas:
            return CheckFailed("I32", "no node has a group of runs")
        for group, ours in replicas.items():
            if cluster.is_able(group) and (missing := self._missing_in(group, ours)):
                return missing
        if self._clients.waiting:
            return CheckFailed("I33", f"{self._clients.waiting} requests still have no answer")
        return cluster.unsettled() or self._unfinished(replicas)

    @property
    def is_promised(self) -> bool:
        """Whether all has to come to its end: nothing is promised to a group whose majority is
        lost, and whatever waits may wait for that; also if none of its members serves now.
        """
        topology = self._judge.topology.topology
        planned = () if topology is None else topology.groups
        groups = {*self._cluster.replicas(), *planned} or {FIRST_GROUP}
        return all(map(self._cluster.is_able, groups))

    def _missing_in(
        self, group: GroupId, replicas: Mapping[int, ExecutionGroup]
    ) -> CheckFailed | None:
        sound = self._awaited(group, replicas)
        leader = self._leader(replicas)
        if leader is None:
            return CheckFailed("I32", "no node leads, although a majority is well")
        for node in sound:
            if replicas[node].leader != replicas[leader].leader:
                return CheckFailed("I32", f"node {node} does not follow the leader, node {leader}")
        last = replicas[leader].progress().last_index
        behind = [str(node) for node in sound if replicas[node].applied != last]
        if behind:
            late = f"node {', '.join(behind)} has not applied all up to {last}"
            runs = sorted(replicas[leader].machine.runs.items(), key=lambda run: run[1].workflow_id)
            busy = {run_id: repr(run.workflow_id) for run_id, run in runs if run.status.is_open}
            restless = f"; runs that do not come to rest: {', '.join(busy.values())}" * bool(busy)
            return CheckFailed("I34", late + restless, busy)
        return None

    def _awaited(self, group: GroupId, nodes: Collection[int]) -> list[int]:
        """Who of these has to have all that the group has."""
        cluster = self._cluster
        return [node for node in cluster.sound if node in nodes and cluster.belongs(node, group)]

    def _unfinished(
        self, replicas: Mapping[GroupId, Mapping[int, ExecutionGroup]]
    ) -> CheckFailed | None:
        for leading in filter(None, map(self._leading, replicas.values())):
            for run_id, run in sorted(leading.machine.runs.items()):
                if reason := _unfinished(run, leading.clock.now_ns()):
                    said = f"run {run.workflow_id!r} ({run_id}) {reason}"
                    return CheckFailed("I36", said, [run_id])
        return None

    def _leader(self, groups: Mapping[int, ExecutionGroup]) -> int | None:
        """Who leads in the highest term; it need not be one of those that were healed."""
        leading = [(group.status.term, node) for node, group in groups.items() if group.is_leader]
        return max(leading)[1] if leading else None

    def _leading(self, replicas: Mapping[int, ExecutionGroup]) -> ExecutionGroup | None:
        leader = self._leader(replicas)
        return None if leader is None else replicas[leader]

    def _skip(self) -> bool:
        """Pass over the time until the next timer of a run, if there is one to wait for."""
        leading = filter(None, map(self._leading, self._cluster.replicas().values()))
        left = [
            group.machine.next_due_ns - group.clock.now_ns()
            for group in leading
            if group.machine.next_due_ns is not None
        ]
        left_ns = min(left, default=0)
        if not 0 < left_ns < self._horizon_ns:
            return False
        self._time.skip(left_ns - NEAR_NS)
        self.end_ns = self._time.now_ns + self._patience_ns
        return True

    # -- the end ----------------------------------------------------------------------------------

    def check(self) -> None:
        """At rest: equal states, few elections, and all that clients heard fits what is there.

        Raises:
            CheckFailed: something does not.
        """
        sound = self._cluster.sound
        replicas = {
            group: {node: ours[node] for node in self._awaited(group, ours)}
            for group, ours in self._cluster.replicas().items()
        }
        for group, ours in replicas.items():
            checker = self._judge.of(group).machine
            assert isinstance(checker, RunsChecker), "these are groups of runs"
            for node, replica in ours.items():
                checker.compare_state(node, replica.applied, replica.machine)
        for group, before in self._terms.items():
            terms = _terms(self._judge)[group] - before
            if terms > TERMS_WHEN_HEALED_MAX:
                raise CheckFailed("I40", f"{terms} terms in group {group} since all is well")
        applied = self._judge.runs.replied
        check_acknowledged_everywhere(self._clients.acknowledged, dict.fromkeys(sound, applied))
        self._check_runs(replicas)
        for workflow_id, run_id in self._clients.started.items():
            if run_id not in self._judge.runs.runs:
                raise CheckFailed("I17", f"run {workflow_id} was acknowledged, and is not there")
        self._check_operations(replicas)

    def _check_runs(self, replicas: Mapping[GroupId, Mapping[int, ExecutionGroup]]) -> None:
        """Every run is known where its workflow id is served, as it is known to the judge."""
        for run_id, book in self._judge.runs.runs.items():
            name = book.info.workflow_id
            for ours in replicas.values():
                for node, replica in ours.items():
                    if replica.machine.elsewhere(name) is not None:
                        continue
                    run = replica.machine.find("", run_id)
                    if run is None or run.status is not book.status:
                        found = "not there" if run is None else run.status.value
                        raise CheckFailed(
                            "I17",
                            f"run {name!r} ({run_id}) is {found} on node {node},"
                            f" and ought to be {book.status.value}",
                        )

    def _check_operations(self, replicas: Mapping[GroupId, Mapping[int, ExecutionGroup]]) -> None:
        operations = self._clients.operations
        check_fresh_reads(operations)
        check_session_order(operations)
        check_no_phantoms(operations)
        keys = sorted({operation.key for operation in operations})
        final = []
        for ours in replicas.values():
            held: dict[int, dict[str, Held]] = {}
            here = [key for key in keys if _serves(ours, key)]
            for node, replica in ours.items():
                held[node] = {key: _held(replica, key) for key in here}
            final += final_reads(held, here, self._time.now_ns)
        try:
            check_linearizable([*operations, *final])
        except Undecided:
            self._judge.marks["linearizability undecided"] += 1

    def tell(self, world: World, app: App) -> None:
        """What came of the runs that ended, for the user's own checks."""
        sound = self._cluster.sound
        for replicas in self._cluster.replicas().values():
            for node in [node for node in replicas if node in sound][:1]:
                for run_id in self._judge.runs.runs:
                    run = replicas[node].machine.find("", run_id)
                    if run is not None and not run.status.is_open:
                        world.ended(run.workflow_id, _outcome(run, app))


async def come_to_rest(
    cluster: Cluster,
    clients: Clients,
    judge: Judge,
    time: Time,
    *,
    patience_seconds: float,
    horizon_seconds: float,
) -> Healing:
    """Wait until all is well and a new client is served; then look at what there is.

    A second client only reads, for by then nothing else goes on that could bring its answer along.

    Args:
        cluster: its faults are over.
        clients: who asked for something.
        judge: of the run.
        time: of the run.
        patience_seconds: see ``Healing``.
        horizon_seconds: see ``Healing``.

    Raises:
        CheckFailed: something is missing when the time is up, or does not fit.
    """
    healing = Healing(
        cluster,
        clients,
        judge,
        time,
        patience_seconds=patience_seconds,
        horizon_seconds=horizon_seconds,
    )
    for changes in (True, False):
        served = trio.Event()
        if healing.is_promised:
            clients.probe(served.set, changes=changes)
        while healing.is_promised and not (healing.is_over() and served.is_set()):
            if time.now_ns >= healing.end_ns:
                missing = healing.missing() or CheckFailed("I33", "a new client is not served")
                raise healing.located(missing)
            await trio.sleep(LOOK_NS / NANOSECONDS)
        if not healing.is_promised:  # a group that has lost its majority may show up late
            judge.marks["a majority was lost"] += 1
            return healing
    healing.check()
    return healing


def _terms(judge: Judge) -> Mapping[GroupId, int]:
    """The highest in which anybody led, for each group."""
    return defaultdict(int, {group: c.consensus.last_term for group, c in judge.groups.items()})


def _unfinished(run: RunState, log_ns: int) -> str:
    """Why this run has more to do. One that waits for a signal or a distant timer has not."""
    if run.status is RunStatus.PARKED:
        return f"is parked: {run.reason}"
    if run.inbox:
        return "has not seen all that happened to it"
    for step in run.steps.values():
        if step.state is StepState.RUNNING or step.due_ns - log_ns <= NEAR_NS:
            return f"has not ended its step {step.command.name!r}"
    if any(due_ns - log_ns <= NEAR_NS for due_ns in run.timers.values()):
        return "waits for a timer that is due"
    return ""


def _serves(replicas: Mapping[int, ExecutionGroup], name: str) -> bool:
    """Whether the variable of this name is in the group; it is in one only."""
    return all(replica.machine.elsewhere(name) is None for replica in replicas.values())


def _held(group: ExecutionGroup, name: str) -> Held:
    variable = group.machine.variable(name)
    value = variable.value
    return Held(None if value is None else decode_payload(value, int, name), variable.version)


def _outcome(run: RunSummary, app: App) -> Any:
    """What it returned, the error it raised, or the status it was ended with."""
    if run.failure is not None:
        return decode_failure(run.failure)
    if run.status is RunStatus.COMPLETED:
        returns = app.get(run.workflow_type, run.version).run.returns
        return decode_payload(run.result or b"", returns, "result")
    return run.status
