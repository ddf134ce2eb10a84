"""What must come about once the faults are over, in bounded virtual time: I32 to I36.

Whatever was lost for good (a wiped or damaged disk) and whatever stays frozen is not waited for;
and nothing is promised to a cluster without a majority of sound nodes.
"""

from collections.abc import Sequence
from typing import Any, Final

import trio

from flowactor.cluster.group import GroupActor
from flowactor.codec.payloads import decode_payload
from flowactor.machine.replies import RunStatus
from flowactor.machine.state import RunState, RunSummary, StepState
from flowactor.simulation.checks.clients import (
    Held,
    check_fresh_reads,
    check_no_phantoms,
    check_session_order,
    final_reads,
)
from flowactor.simulation.checks.judge import Judge
from flowactor.simulation.checks.linearizability import check_linearizable
from flowactor.simulation.failure import CheckFailed
from flowactor.simulation.nodes.clients import Clients
from flowactor.simulation.nodes.cluster import Cluster
from flowactor.simulation.world import World
from flowactor.workflow import App, decode_failure

__all__ = ["Healing"]

LOOK_SECONDS: Final = 0.05


class Healing:
    """Watches a cluster come to rest.

    Args:
        cluster: the nodes.
        clients: who asked for something.
        judge: knows the runs.
        nodes: which of them must take part.
        healed: set when a new client was served.
        end_ns: when the run of the simulation ends at the latest.
    """

    def __init__(
        self,
        cluster: Cluster,
        clients: Clients,
        judge: Judge,
        nodes: Sequence[int],
        healed: trio.Event,
        end_ns: int,
    ) -> None:
        self._cluster: Final = cluster
        self._clients: Final = clients
        self._judge: Final = judge
        self._nodes: Final = nodes
        self._healed: Final = healed
        self._end_ns: Final = end_ns

    async def come_to_rest(self) -> None:
        """Return once everything has.

        Raises:
            CheckFailed: it has not in time; names the first that is missing.
        """
        while (missing := self.missing()) is not None:
            if self._clients.now_ns >= self._end_ns:
                raise missing
            await trio.sleep(LOOK_SECONDS)

    def missing(self) -> CheckFailed | None:
        """What has not come about yet, if anything."""
        if not self._has_majority:
            return None
        groups = self._groups()
        if len(groups) < len(self._sound):
            down = ", ".join(str(number) for number in self._sound if number not in groups)
            return CheckFailed("I32", f"node {down} does not serve although nothing keeps it down")
        leaders = [number for number, group in groups.items() if group.is_leader]
        if not leaders:
            return CheckFailed("I32", "there is no leader although a majority is well")
        if not self._healed.is_set():
            return CheckFailed("I33", "a new client can neither write nor read")
        if self._clients.waiting:
            return CheckFailed("I33", f"{self._clients.waiting} requests still have no answer")
        applied = {number: group.applied for number, group in groups.items()}
        if len(set(applied.values())) > 1:
            listed = ", ".join(f"node {number}: {index}" for number, index in applied.items())
            return CheckFailed("I34", f"replicas have not applied the same ({listed})")
        for run_id, run in sorted(groups[leaders[0]].machine.runs.items()):
            if reason := self._unfinished(run, groups[leaders[0]].clock.now_ns()):
                return CheckFailed("I36", f"run {run.workflow_id!r} ({run_id}) {reason}")
        return None

    def _unfinished(self, run: RunState, log_ns: int) -> str:
        """Why this run has more to do of itself before the end of the simulation. One that waits
        for a signal, or for a timer of next year, has not.
        """
        if run.status is RunStatus.PARKED:
            return f"is parked: {run.reason}"
        if run.inbox:
            return "has not seen all that happened to it"
        end_ns = log_ns + self._end_ns - self._clients.now_ns
        for step in run.steps.values():
            if step.state is StepState.RUNNING or step.due_ns < end_ns:
                return f"has not ended its step {step.command.name!r}"
        if any(due_ns < end_ns for due_ns in run.timers.values()):
            return "waits for a timer that should have fired"
        return ""

    def check_state(self, now_ns: int) -> None:
        """At rest: equal states, and everything clients heard fits what is there.

        Raises:
            CheckFailed: something does not.
        """
        operations = self._clients.operations
        groups = self._groups() if self._has_majority else {}
        for number, group in groups.items():
            self._judge.runs.compare_state(number, group.applied, group.machine)
        check_fresh_reads(operations)
        check_session_order(operations)
        check_no_phantoms(operations)
        keys = sorted({operation.key for operation in operations})
        replicas = {
            number: {key: _held(group, key) for key in keys} for number, group in groups.items()
        }
        check_linearizable([*operations, *final_reads(replicas, keys, now_ns)])

    def tell(self, world: World, app: App) -> None:
        """What came of the runs that ended, for the user's own checks."""
        for group in list(self._groups().values())[:1]:
            for run_id in self._judge.runs.runs:
                run = group.machine.find("", run_id)
                if run is not None and not run.status.is_open:
                    world.ended(run.workflow_id, _outcome(run, app))

    @property
    def _sound(self) -> list[int]:
        return [number for number in self._nodes if not self._cluster.machines[number].lost]

    @property
    def _has_majority(self) -> bool:
        return 2 * len(self._sound) > len(self._cluster.machines)

    def _groups(self) -> dict[int, GroupActor]:
        serving = self._cluster.serving()
        return {number: serving[number].group for number in self._sound if number in serving}


def _held(group: GroupActor, name: str) -> Held:
    variable = group.machine.variable(name)
    value = variable.value
    return Held(
        None if value is None else decode_payload(value, int, f"variable {name}"), variable.version
    )


def _outcome(run: RunSummary, app: App) -> Any:
    """What it returned, the error it raised, or the status it was ended with."""
    if run.failure is not None:
        return decode_failure(run.failure)
    if run.status is RunStatus.COMPLETED:
        returns = app.get(run.workflow_type, run.version).run.returns
        return decode_payload(run.result or b"", returns, "result")
    return run.status
