"""What clients do to runs: start, signal, cancel, terminate, resume. Each answers with a reply."""

from hashlib import blake2b

from flowactor.identity import NodeId
from flowactor.limits import INBOX_ITEMS_MAX
from flowactor.machine.events import CancelRequested, RunStarted, SignalReceived
from flowactor.machine.ledger import INTEGER_MAX, Ledger
from flowactor.machine.notices import RunParked
from flowactor.machine.operations import CancelRun, ResumeRun, SignalRun, StartRun, TerminateRun
from flowactor.machine.ownership import Ownership
from flowactor.machine.replies import Done, Rejected, Reply, RunStatus, Started
from flowactor.machine.state import Parking, RunState, RunSummary

__all__ = ["Lifecycle"]


class Lifecycle:
    def __init__(self, ledger: Ledger, ownership: Ownership) -> None:
        self._ledger = ledger
        self._ownership = ownership

    def start(self, operation: StartRun) -> Reply:
        """Idempotent by workflow id: a second start of the same type and input finds the first."""
        if not operation.workflow_id or not operation.run_id or operation.timeout_ns < 0:
            return Rejected(
                "InvalidInput", "a start needs a workflow id, a run id, no negative time-out"
            )
        digest = blake2b(operation.arguments, digest_size=16).digest()
        existing = self._ledger.find(operation.workflow_id, "")
        if existing is not None:
            return _same_or_conflict(existing, operation, digest)
        if self._ledger.find("", operation.run_id) is not None:
            return Rejected("AlreadyExists", f"run id {operation.run_id!r} is taken")
        version = self._version(operation)
        if isinstance(version, Rejected):
            return version
        self._open(operation, version, digest)
        return Started(operation.workflow_id, operation.run_id, version, created=True)

    def _version(self, operation: StartRun) -> int | Rejected:
        """The exact version to run, or why it cannot be run here."""
        name = operation.workflow_type
        registered = self._ownership.registered()
        versions = [version for known, version in registered if known == name]
        if not versions:
            names = ", ".join(f"{known} v{version}" for known, version in registered) or "none"
            return Rejected(
                "UnknownWorkflowType", f"no node has registered {name!r}; registered are: {names}"
            )
        version = operation.version or max(versions)
        if not self._ownership.is_known(name, version):
            listed = ", ".join(map(str, versions))
            return Rejected(
                "UnknownWorkflowType",
                f"no voter has registered {name!r} version {version}; versions there are: {listed}",
            )
        return version

    def _open(self, operation: StartRun, version: int, digest: bytes) -> None:
        ledger = self._ledger
        name = operation.workflow_type
        owner = self._ownership.choose(name, version, operation.origin)
        run = RunState(
            workflow_id=operation.workflow_id,
            run_id=operation.run_id,
            workflow_type=name,
            version=version,
            input_digest=digest,
            started_ns=ledger.clock_ns,
            now_ns=ledger.clock_ns,
            owner=owner,
        )
        if operation.timeout_ns:
            run.deadline_ns = min(ledger.clock_ns + operation.timeout_ns, INTEGER_MAX)
        if owner == NodeId(0):
            run.status = RunStatus.PARKED
            run.parking = Parking.NO_NODE
            run.reason = self._ownership.nobody_has(name, version)
        ledger.open_run(run)
        ledger.arrive(run, RunStarted(operation.arguments))
        if run.status is RunStatus.PARKED:
            ledger.notices.append(RunParked(run.run_id, run.reason))

    def signal(self, operation: SignalRun) -> Reply:
        run = self._open_run(operation.workflow_id, operation.run_id)
        if isinstance(run, Rejected):
            return run
        if len(run.inbox) >= INBOX_ITEMS_MAX:
            return Rejected(
                "Overloaded", f"{INBOX_ITEMS_MAX} items wait in the inbox of {run.workflow_id!r}"
            )
        self._ledger.arrive(run, SignalReceived(operation.name, operation.arguments))
        return Done()

    def cancel(self, operation: CancelRun) -> Reply:
        """Ask the run to end; its own code decides how. Asking twice is asking once."""
        run = self._open_run(operation.workflow_id, operation.run_id)
        if isinstance(run, Rejected):
            return run
        if run.cancel_requested:
            return Done(changed=False)
        run.cancel_requested = True
        self._ledger.arrive(run, CancelRequested(operation.reason))
        return Done()

    def terminate(self, operation: TerminateRun) -> Reply:
        """End the run at once; none of its code runs any more."""
        run = self._open_run(operation.workflow_id, operation.run_id)
        if isinstance(run, Rejected):
            return run
        self._ledger.close_run(run, RunStatus.TERMINATED, reason=operation.reason)
        return Done()

    def resume(self, operation: ResumeRun) -> Reply:
        run = self._open_run(operation.workflow_id, operation.run_id)
        if isinstance(run, Rejected):
            return run
        return Done(changed=self._ownership.resume(run))

    def time_out(self, run: RunState) -> None:
        """The run's own deadline has passed; it ended at that moment, whenever that is noticed."""
        seconds = (run.deadline_ns - run.started_ns) / 1_000_000_000
        reason = f"not done within its time-out of {seconds:g} s"
        self._ledger.close_run(run, RunStatus.TIMED_OUT, reason=reason, closed_ns=run.deadline_ns)

    def _open_run(self, workflow_id: str, run_id: str) -> RunState | Rejected:
        run = self._ledger.find(workflow_id, run_id)
        if isinstance(run, RunState):
            return run
        name = (
            f"run {run_id!r} of workflow {workflow_id!r}" if run_id else f"workflow {workflow_id!r}"
        )
        if run is None:
            return Rejected("NotFound", f"there is no {name}")
        return Rejected("AlreadyClosed", f"{name} has ended: {run.status.value}")


def _same_or_conflict(existing: RunState | RunSummary, operation: StartRun, digest: bytes) -> Reply:
    if (existing.workflow_type, existing.input_digest) == (operation.workflow_type, digest):
        return Started(existing.workflow_id, existing.run_id, existing.version, created=False)
    what = "input" if existing.workflow_type == operation.workflow_type else "type"
    return Rejected(
        "AlreadyExists",
        f"workflow id {operation.workflow_id!r} belongs to a run of another {what}"
        f" ({existing.workflow_type} v{existing.version}, {existing.status.value})",
    )
