"""Runs one async function in a made-up world, from the first task to the last."""

import gc
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Final, TypeVar

import trio

from flowactor.simulation.failure import Deadlocked
from flowactor.simulation.runtime.agenda import Timeline
from flowactor.simulation.runtime.bodies import bodies_watched
from flowactor.simulation.runtime.chance import stream
from flowactor.simulation.runtime.escapes import no_way_out
from flowactor.simulation.runtime.memory import collected_at_its_end
from flowactor.simulation.runtime.processes import Processes
from flowactor.simulation.runtime.scheduling import Schedule, in_order, unshield
from flowactor.simulation.runtime.turns import Turns
from flowactor.simulation.runtime.watchdog import Limits, Watchdog

__all__ = ["Limits", "Runtime", "simulate"]

T = TypeVar("T")


class Runtime:
    """What the code of a simulation has of its run. Made by ``simulate``.

    Attributes:
        time: virtual time, and what is to happen in it.
        processes: which task belongs to which machine.
        failure: what the run has failed with, if it has.
        failed_ns: when that was, in virtual time.
        turns: ends what awaits nothing.
    """

    def __init__(self, seed: int, deviations: frozenset[int] | None, limits: Limits) -> None:
        self.failure: Exception | None = None
        self.failed_ns = 0
        self.processes: Final = Processes()
        self._seed: Final = seed
        self._scope: Final = trio.CancelScope()
        self._closing: Final = ExitStack()
        self._watchdog: Final = Watchdog(limits, self._give_up, self._insist)
        self.turns: Final = Turns(limits.turn_seconds, lambda: self.steps, self.fail)
        self.time: Final = Timeline(
            self._watchdog.stuck, self.fail, self._watchdog.time_passed, self._watchdog.stepped
        )
        self.schedule: Final = Schedule(seed, deviations, self._watchdog.stepped)

    @property
    def steps(self) -> int:
        """Steps of tasks and events of the agenda so far."""
        return self._watchdog.steps

    def random(self, name: str) -> Random:
        """A generator for this purpose, from the seed of the run."""
        return stream(self._seed, name)

    def fail(self, error: Exception) -> None:
        """End the run with ``error``, unless it has failed before. Works anywhere, also in workflow
        code: tasks are cancelled when all of them wait.
        """
        if self.failure is None:
            self._note(error)
            self.time.at(self.time.now_ns, self._cancel)

    def _give_up(self, error: Deadlocked) -> None:
        if self.failure is None:
            self._note(error)
        self._cancel()

    def _note(self, error: Exception) -> None:
        self.failure, self.failed_ns = error, self.time.now_ns

    def _cancel(self) -> None:
        self._scope.cancel()
        self.processes.thaw_all()  # so that they can end, too

    def _insist(self) -> None:
        unshield(self._scope)

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Around Trio's run: a loop that is ended by force never comes back to its tasks, and what
        they opened with ``with``.
        """
        with self._closing:
            yield

    async def run(self, main: Callable[["Runtime"], Awaitable[T]]) -> T:
        """``main`` until it returns.

        Raises:
            Exception: the run has failed, and this is why.
        """
        self.turns.unheard()
        self._closing.enter_context(no_way_out(self.random("libraries"), self.fail))
        self._closing.enter_context(bodies_watched(self.fail))
        try:
            with self._scope:
                result = await main(self)
        finally:
            self.time.end()
        if self.failure is not None:
            raise self.failure
        return result


def simulate(
    main: Callable[[Runtime], Awaitable[T]],
    *,
    seed: int,
    deviations: frozenset[int] | None = None,
    limits: Limits | None = None,
) -> T:
    """``await main(runtime)`` in one Trio run under virtual time; returns what it returns.

    The same arguments give the same run in every process. Everything that is changed in this
    process for it is put back: Trio's scheduler, the functions that lead out, garbage collection.

    Args:
        main: takes the ``Runtime``.
        seed: decides the order of tasks and all streams of chance.
        deviations: see ``Schedule``.
        limits: when a run is taken for one that never ends.

    Raises:
        CheckFailed, SimulationEscape, Deadlocked: and whatever else ended the run.
        KeyboardInterrupt: somebody pressed Ctrl-C; it comes through at once, from anywhere.
        RuntimeError: called inside another simulation.
    """
    with collected_at_its_end():
        try:
            return _play(Runtime(seed, deviations, limits or Limits()), main)
        except _EndedByForce as end:
            failure = end.failure
            _bury(end)
        raise failure


class _EndedByForce(Exception):
    """Tasks did not let themselves be cancelled, so the loop has left them behind."""

    def __init__(self, failure: BaseException) -> None:
        super().__init__()
        self.failure: Final = failure.with_traceback(None)


def _play(runtime: Runtime, main: Callable[[Runtime], Awaitable[T]]) -> T:
    with in_order(runtime.schedule), runtime.restoring(), runtime.turns.bounded():
        try:
            return trio.run(runtime.run, main, clock=runtime.time)
        except BaseException as error:
            # What failed first is the reason of all that followed it.
            reason = KeyboardInterrupt() if runtime.turns.interrupted else runtime.failure
            if reason is None or reason is error:
                raise
            if isinstance(error, trio.TrioInternalError):
                raise _EndedByForce(reason) from None
            raise reason from error


def _bury(end: _EndedByForce) -> None:
    """Collect abandoned tasks now; what their clean-up has to complain of is of no interest."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        end.with_traceback(None).__context__ = None
        gc.collect()
    finally:
        sys.unraisablehook = hook
