"""Background work of a simulated process: no thread, only moments at which it has happened."""

from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, Final, TypeVar

from flowactor.simulation.agenda import Agenda
from flowactor.simulation.disk.pace import Pace

__all__ = ["SimulatedWorker"]

T = TypeVar("T")


class SimulatedWorker:
    """``ports.Worker`` in virtual time: a job runs, whole, at the end of the time it takes, and its
    ``done`` is called a little later, so that a process may die knowing less than its disk does.

    Args:
        name: of the worker, for people.
        agenda: the time, and whose events jobs become.
        pace: how long they take.
    """

    def __init__(self, name: str, agenda: Agenda, pace: Pace) -> None:
        self._name: Final = name
        self._agenda: Final = agenda
        self._pace: Final = pace
        self._jobs: Final[deque[tuple[Callable[[], Any], Callable[[Any], None]]]] = deque()
        self._outcomes: Final[deque[tuple[Callable[[Any], None], Any]]] = deque()
        self._under_way = self._dead = self._closed = False

    def submit(self, job: Callable[[], T], done: Callable[[T | BaseException], None]) -> None:
        """See ``ports.Worker``."""
        assert not self._closed, f"the worker {self._name} is closed"
        # What comes of it happens in the process that asked, whoever's event it is by then.
        asking = copy_context()
        self._jobs.append((job, lambda outcome: asking.run(done, outcome)))
        if not self._under_way:
            self._under_way = True
            self._pace.when_moving(self._begin)

    def close(self) -> None:
        """Finish what was submitted, and what comes of it, now."""
        while self._jobs or self._outcomes:
            while self._outcomes:
                self._tell()
            if self._jobs:
                self._run()
        self._closed = True

    def run_under_way(self) -> None:
        """Run the job whose time has begun, if there is one: it is what a crash strikes."""
        if self._under_way and self._jobs:
            self._run()

    def die(self) -> None:
        """From now on nothing happens by itself; only ``close`` still does what it must."""
        self._dead = True

    # -- as time goes by --------------------------------------------------------------------------

    def _begin(self) -> None:
        if not self._dead:
            self._later(self._pace.job_ns(), self._end)

    def _end(self) -> None:
        if self._dead:
            return
        if self._jobs:
            self._run()
            self._later(self._pace.acknowledgement_ns(), self._acknowledge)
        self._under_way = bool(self._jobs)
        if self._under_way:
            self._begin()

    def _acknowledge(self) -> None:
        if self._outcomes and not self._dead:
            self._tell()

    def _later(self, delay_ns: int, action: Callable[[], None]) -> None:
        """After that time, or when the disk moves again."""
        due_ns = self._agenda.now_ns + delay_ns
        self._agenda.at(due_ns, lambda: self._pace.when_moving(action))

    # -- one of them ------------------------------------------------------------------------------

    def _run(self) -> None:
        job, done = self._jobs.popleft()
        outcome: Any
        try:
            outcome = job()
        except BaseException as error:  # noqa: BLE001  # an outcome, handed to ``done``
            outcome = error
        self._outcomes.append((done, outcome))

    def _tell(self) -> None:
        done, outcome = self._outcomes.popleft()
        done(outcome)
