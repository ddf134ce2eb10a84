"""The clocks of one simulated machine: the wall clock may be wrong, both may run too fast."""

from typing import Final

import trio

from flowactor.limits import NANOSECONDS
from flowactor.ports import Clock
from flowactor.simulation.agenda import Agenda
from flowactor.simulation.faults import ClockDrift, ClockJump, ClockOffset

__all__ = ["EPOCH_NS", "NodeClock"]

EPOCH_NS: Final = 1_700_000_000 * NANOSECONDS
"""What a right wall clock shows when a run begins."""
BILLION: Final = 1_000_000_000
"""A rate is held as billionths, so that clocks are exact in any process."""


class NodeClock(Clock):
    """``ports.Clock`` of a machine; it goes on while the machine is down.

    Args:
        agenda: true time.
    """

    def __init__(self, agenda: Agenda) -> None:
        self._agenda: Final = agenda
        self._offset_ns = 0
        self._rates: Final[list[int]] = []
        self._true_ns = self._shown_ns = agenda.now_ns

    def now_ns(self) -> int:
        """See ``ports.Clock``."""
        return EPOCH_NS + self.monotonic_ns() + self._offset_ns

    def monotonic_ns(self) -> int:
        """See ``ports.Clock``."""
        passed = self._agenda.now_ns - self._true_ns
        for rate in self._rates:
            passed = passed * rate // BILLION
        return self._shown_ns + passed

    async def sleep(self, seconds: float) -> None:
        """See ``ports.Clock``: an event of the agenda in place of a cancel scope with a deadline.
        It goes by true time, as all deadlines do.
        """
        task, awaited = trio.lowlevel.current_task(), True

        def wake() -> None:
            if awaited:
                trio.lowlevel.reschedule(task)

        def abort(_: object) -> trio.lowlevel.Abort:
            nonlocal awaited
            awaited = False
            return trio.lowlevel.Abort.SUCCEEDED

        self._agenda.at(self._agenda.now_ns + round(seconds * NANOSECONDS), wake)
        await trio.lowlevel.wait_task_rescheduled(abort)

    def begin(self, fault: ClockOffset | ClockDrift | ClockJump) -> None:
        """The clock goes wrong."""
        match fault:
            case ClockDrift(rate=rate):
                self._rebase()
                self._rates.append(_billionths(rate))
            case ClockOffset(seconds=seconds) | ClockJump(seconds=seconds):
                self._offset_ns += round(seconds * NANOSECONDS)

    def end(self, fault: ClockOffset | ClockDrift | ClockJump) -> None:
        """It goes right again; what it gained by a wrong pace or a jump it keeps."""
        match fault:
            case ClockDrift(rate=rate):
                self._rebase()
                self._rates.remove(_billionths(rate))
            case ClockOffset(seconds=seconds):
                self._offset_ns -= round(seconds * NANOSECONDS)
            case ClockJump():
                pass

    def _rebase(self) -> None:
        self._shown_ns = self.monotonic_ns()
        self._true_ns = self._agenda.now_ns


def _billionths(rate: float) -> int:
    return max(1, round(rate * BILLION))
