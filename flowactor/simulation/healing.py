"""What must come about once the faults are over, in bounded virtual time: I32 to I36; and what must
fit together in the end. The same at both depths.

Runs that only wait for a timer are not waited for: time is skipped until the timer is near, as if
all machines had been suspended. So a run that sleeps for a month comes to its end as well.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import trio

from flowactor.cluster.group import ExecutionGroup
from flowactor.codec.payloads import decode_payload
from flowactor.identity import RunId, SessionId
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
from flowactor.simulation.checks.judge import Judge
from flowactor.simulation.checks.linearizability import Undecided, check_linearizable
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
    def size(self) -> int:
        """How many voters there are, sound or not."""

    def groups(self) -> Mapping[int, ExecutionGroup]:
        """Of all nodes that serve now, by their number."""


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
        self._terms: Final = judge.consensus.last_term
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
            raise missing
        return False

    def missing(self) -> CheckFailed | None:
        """What has not come about yet, if anything."""
        sound = self._cluster.sound
        if 2 * len(sound) <= self._cluster.size:
            return None  # nothing is promised to a cluster without a majority
        groups = self._cluster.groups()
        down = [str(node) for node in sound if node not in groups]
        if down:
            return CheckFailed("I32", f"node {', '.join(down)} does not serve, and nothing hinders")
        leader = self._leader(groups)
        if leader is None:
            return CheckFailed("I32", "no node leads, although a majority is well")
        for node in sound:
            if groups[node].leader != groups[leader].leader:
                return CheckFailed("I32", f"node {node} does not follow the leader, node {leader}")
        if self._clients.waiting:
            return CheckFailed("I33", f"{self._clients.waiting} requests still have no answer")
        last = groups[leader].progress().last_index
        behind = [str(node) for node in sound if groups[node].applied != last]
        if behind:
            return CheckFailed("I34", f"node {', '.join(behind)} has not applied all up to {last}")
        for run_id, run in sorted(groups[leader].machine.runs.items()):
            if reason := _unfinished(run, groups[leader].clock.now_ns()):
                return CheckFailed("I36", f"run {run.workflow_id!r} ({run_id}) {reason}")
        return None

    def _leader(self, groups: Mapping[int, ExecutionGroup]) -> int | None:
        """Who leads in the highest term; it need not be one of those that were healed."""
        leading = [(group.status.term, node) for node, group in groups.items() if group.is_leader]
        return max(leading)[1] if leading else None

    def _skip(self) -> bool:
        """Pass over the time until the next timer of a run, if there is one to wait for."""
        groups = self._cluster.groups()
        leader = self._leader(groups)
        if leader is None:
            return False
        due_ns = groups[leader].machine.next_due_ns
        left_ns = 0 if due_ns is None else due_ns - groups[leader].clock.now_ns()
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
        groups = {
            node: group
            for node, group in self._cluster.groups().items()
            if node in self._cluster.sound
        }
        for node, group in groups.items():
            self._judge.runs.compare_state(node, group.applied, group.machine)
        terms = self._judge.consensus.last_term - self._terms
        if terms > TERMS_WHEN_HEALED_MAX:
            raise CheckFailed("I40", f"{terms} terms since all is well")
        applied = self._judge.runs.replied
        check_acknowledged_everywhere(self._clients.acknowledged, dict.fromkeys(groups, applied))
        for workflow_id, run_id in self._clients.started.items():
            if run_id not in self._judge.runs.runs:
                raise CheckFailed("I17", f"run {workflow_id} was acknowledged, and is not there")
        self._check_operations(groups)

    def _check_operations(self, groups: Mapping[int, ExecutionGroup]) -> None:
        operations = self._clients.operations
        check_fresh_reads(operations)
        check_session_order(operations)
        check_no_phantoms(operations)
        keys = sorted({operation.key for operation in operations})
        held = {node: {key: _held(group, key) for key in keys} for node, group in groups.items()}
        try:
            check_linearizable([*operations, *final_reads(held, keys, self._time.now_ns)])
        except Undecided:
            self._judge.marks["linearizability undecided"] += 1

    def tell(self, world: World, app: App) -> None:
        """What came of the runs that ended, for the user's own checks."""
        groups = self._cluster.groups()
        for node in self._cluster.sound[:1]:
            for run_id in self._judge.runs.runs:
                run = groups[node].machine.find("", run_id) if node in groups else None
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
        clients.probe(served.set, changes=changes)
        while not (healing.is_over() and served.is_set()):
            if time.now_ns >= healing.end_ns:
                raise healing.missing() or CheckFailed("I33", "a new client is not served")
            await trio.sleep(LOOK_NS / NANOSECONDS)
    healing.check()
    return healing


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
