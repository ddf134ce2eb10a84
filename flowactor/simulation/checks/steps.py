"""The judge of steps: attempts as bodies lived them, beside what the log says came of them."""

from collections.abc import Iterable
from typing import Final

from attrs import Factory, define

from flowactor.identity import NodeId, RunId, StepKey, describe_key
from flowactor.machine.commands import RetryRule, ScheduleStep
from flowactor.machine.events import Failure, StepCompleted, StepEnded
from flowactor.machine.state import RunState, StepState
from flowactor.simulation.failure import CheckFailed

__all__ = ["StepsChecker", "check_is_due"]

FAILED: Final = ("failed", "timed out")
OUT_OF_TIME: Final = "flowactor.errors.StepTimedOut"


@define(eq=False)
class _StepBook:
    """All that is known of one step.

    Attributes:
        rule: when it is tried again; None: nobody asked for it yet.
        attempts: how the body of each attempt ended; empty while it runs.
        retries: how many attempts followed a back-off.
    """

    rule: RetryRule | None = None
    attempts: dict[int, str] = Factory(dict)
    retries: int = 0
    ended: bool = False

    @property
    def failures(self) -> int:
        """How many bodies failed."""
        return sum(outcome in FAILED for outcome in self.attempts.values())


class StepsChecker:
    """Invariants of steps, over all runs and nodes (I22, I23)."""

    def __init__(self) -> None:
        self._books: Final[dict[tuple[RunId, str], _StepBook]] = {}

    def _book(self, run_id: RunId, step: str) -> _StepBook:
        return self._books.setdefault((run_id, step), _StepBook())

    # -- bodies -----------------------------------------------------------------------------------

    def started(self, run_id: RunId, step: str, attempt: int) -> None:
        """I23: no body begins before what asked for it is committed; and none begins twice."""
        book = self._book(run_id, step)
        if book.rule is None:
            raise CheckFailed("I23", f"the body of step {step} began before it was recorded")
        if attempt in book.attempts:
            raise CheckFailed("I22", f"attempt {attempt} of step {step} of run {run_id} ran twice")
        book.attempts[attempt] = ""

    def finished(self, run_id: RunId, step: str, attempt: int, outcome: str) -> None:
        """The body of an attempt came to its end."""
        self._book(run_id, step).attempts[attempt] = outcome

    # -- the log ----------------------------------------------------------------------------------

    def scheduled(self, run_id: RunId, command: ScheduleStep) -> None:
        """A run asks for a step, for the first time."""
        name = describe_key(command.step)
        book = self._book(run_id, name)
        if book.rule is not None:
            raise CheckFailed("I22", f"step {name} is asked for twice")
        book.rule = command.retry

    def due(self, run_id: RunId, key: StepKey, last_failure: Failure | None) -> None:
        """A back-off is over: an attempt follows one that failed, as often as the policy says."""
        name = describe_key(key)
        book = self._book(run_id, name)
        book.retries += 1
        if book.retries > book.failures:
            raise CheckFailed("I22", f"step {name} of run {run_id} is retried, and did not fail")
        most = book.rule.attempts_max if book.rule is not None else 0
        if most and book.retries >= most:
            raise CheckFailed(
                "I22", f"step {name} of run {run_id} is retried more than {most - 1}x"
            )
        if last_failure is not None and not _may_retry(book, last_failure):
            raise CheckFailed("I22", f"step {name} is retried after {last_failure.error_type}")

    def recorded(self, run_id: RunId, event: StepCompleted | StepEnded) -> None:
        """A step has an outcome: the first one, and one that a body came to."""
        name = describe_key(event.step)
        book = self._book(run_id, name)
        where = f"step {name} of run {run_id}"
        if book.ended or book.rule is None:
            raise CheckFailed("I22", f"{where} has two outcomes")
        book.ended = True
        match event:
            case StepCompleted(attempt=attempt):
                if book.attempts.get(attempt) != "completed":
                    raise CheckFailed("I22", f"{where}: attempt {attempt} did not complete")
            case StepEnded(attempts=attempts, failure=failure):
                if book.attempts.get(attempts) not in FAILED:
                    raise CheckFailed("I22", f"{where}: attempt {attempts} did not fail")
                too_few = attempts < book.rule.attempts_max or not book.rule.attempts_max
                if too_few and failure.error_type != OUT_OF_TIME and _may_retry(book, failure):
                    raise CheckFailed("I22", f"{where} is given up after {attempts} attempts")


def check_is_due(
    node: NodeId, known: Iterable[RunState | None], run_id: RunId, step: str, attempt: int
) -> None:
    """I23: a node begins the body of an attempt only if a log of a group, as far as the node has
    applied it, says that it is to: ``known`` is what those make of the run. That log may be behind;
    then the run may be another's, or in another group, and this one has yet to learn it.
    """
    due = [
        pending.attempt
        for run in known
        if run is not None and run.owner == node
        for key, pending in run.steps.items()
        if describe_key(key) == step and pending.state is StepState.RUNNING
    ]
    if attempt not in due:
        knows = f"knows of attempt {due[0]}" if due else "knows that it must not"
        raise CheckFailed(
            "I23",
            f"node {node} begins attempt {attempt} of step {step} of run {run_id}, and {knows}",
        )


def _may_retry(book: _StepBook, failure: Failure) -> bool:
    """Whether an error lets the step be tried again, by what its policy says of errors."""
    final = book.rule.non_retryable if book.rule is not None else ()
    short = failure.error_type.split(".")[-1]
    return failure.retryable and failure.error_type not in final and short not in final
