"""The axis of time: virtual time as it is, but for long stretches in which nothing happens.

A run that waits for two weeks would be two strokes at the edges of its picture. So a stretch that
is longer than much of all else is drawn as a *break*: as wide as a small part of the picture, and
with its length written on it. ``axis.js`` agrees.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, Self

from attrs import frozen

__all__ = ["Axis", "Quiet", "quiet_stretches"]

QUIET_NS_MIN: Final = 5_000_000_000
"""What is shorter is a pause for breath."""
BUSY_SHARE: Final = 2
"""A stretch is broken that is longer than this part of what is not quiet."""
BREAK_SHARE: Final = 20
"""So small a part of what is drawn to scale is each break."""


@frozen
class Quiet:
    """A stretch of virtual time in which nothing begins, happens or ends."""

    begin_ns: int
    end_ns: int

    @property
    def length_ns(self) -> int:
        """How long it is."""
        return self.end_ns - self.begin_ns


def quiet_stretches(times: Iterable[int]) -> tuple[Quiet, ...]:
    """The long stretches between these moments of a run, in nanoseconds, by time."""
    return tuple(
        Quiet(before, after)
        for before, after in pairwise(sorted(set(times)))
        if after - before >= QUIET_NS_MIN
    )


@frozen
class Axis:
    """From moments of virtual time to places on the axis, both in nanoseconds.

    Attributes:
        breaks: what is not drawn to scale, by time.
        break_ns: how long each of these is on the axis.
    """

    breaks: tuple[Quiet, ...] = ()
    break_ns: int = 1

    @classmethod
    def of(cls, quiet: Sequence[Quiet], from_ns: int, to_ns: int) -> Self:
        """The axis of a window, with breaks where they are needed."""
        within = [gap for gap in quiet if from_ns <= gap.begin_ns and gap.end_ns <= to_ns]
        busy_ns = to_ns - from_ns - sum(gap.length_ns for gap in within)
        broken = tuple(gap for gap in within if gap.length_ns > busy_ns // BUSY_SHARE)
        drawn_ns = to_ns - from_ns - sum(gap.length_ns for gap in broken)
        return cls(broken, max(drawn_ns // BREAK_SHARE, 1))

    def place(self, at_ns: int) -> int:
        """Where a moment lies, also one before or after the run, or within a break."""
        place = at_ns
        for gap in self.breaks:
            if at_ns >= gap.end_ns:
                place += self.break_ns - gap.length_ns
            elif at_ns > gap.begin_ns:
                share = (at_ns - gap.begin_ns) * self.break_ns // gap.length_ns
                return place + gap.begin_ns - at_ns + share
        return place

    def pieces(self, from_ns: int, to_ns: int) -> Iterator[tuple[int, int]]:
        """What is drawn to scale between two moments outside of breaks."""
        begin_ns = from_ns
        for gap in self.breaks:
            if from_ns <= gap.begin_ns and gap.end_ns <= to_ns:
                yield begin_ns, gap.begin_ns
                begin_ns = gap.end_ns
        yield begin_ns, to_ns
