"""From virtual time to places on paper, and from texts to their width; ``drawing.js`` agrees."""

from collections.abc import Iterator
from typing import Final

from attrs import frozen

from flowactor.simulation.timeline.axis import Axis
from flowactor.simulation.timeline.wording import length_text

__all__ = ["BOLD", "Mark", "Scale", "cut", "text_width"]

BOLD: Final = 1.1
"""How much wider bold text is."""
TICK_DISTANCE: Final = 92
MARK_INSET: Final = 0.22
"""Of a break: so much of it is left free on both sides."""
AFTER_MARK: Final = 6
TO_SCALE: Final = Axis()
"""Nothing is broken."""
SECOND: Final = 1_000_000_000
SECOND_STEPS: Final = (
    *(1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400),
    *(172800, 432000, 864000, 2592000, 8640000, 31536000),
)
UNITS: Final[tuple[int, ...]] = tuple(10**power for power in range(9, -1, -1))
STEPS: Final[tuple[int, ...]] = (
    *(digit * unit for unit in reversed(UNITS[1:]) for digit in (1, 2, 5)),
    *(seconds * SECOND for seconds in SECOND_STEPS),
)
"""Distances of ticks that people can count by, in nanoseconds."""

NARROW: Final = frozenset("iljtf.,:;'|!()[] ")
WIDE: Final = frozenset("mwMW\N{EM DASH}")
LATIN_LAST: Final = 0x7F
IDEOGRAPHS_FIRST: Final = 0x2E80


def text_width(text: str, size: float = 11) -> float:
    """About how many pixels a text takes, rather too many than too few."""
    return size * sum(map(_share, text))


def _share(character: str) -> float:
    code = ord(character)
    if code >= IDEOGRAPHS_FIRST:
        return 1.05
    if code > LATIN_LAST:
        return 0.66
    if character in NARROW:
        return 0.36
    if character in WIDE:
        return 0.92
    return 0.7 if "A" <= character <= "Z" else 0.6


def cut(text: str, width: float, size: float = 11) -> str:
    """The text, or as much of it as there is room for; nothing if that is next to nothing."""
    if text_width(text, size) <= width:
        return text
    shown = text
    while shown and text_width(shown + "\N{HORIZONTAL ELLIPSIS}", size) > width:
        shown = shown[:-1]
    return shown + "\N{HORIZONTAL ELLIPSIS}" if len(shown) > 2 else ""


@frozen
class Mark:
    """A break of the axis as it is drawn: between these places nothing else is seen.

    Attributes:
        left, right: in pixels.
        text: how long it is.
    """

    left: float
    right: float
    text: str


@frozen
class Scale:
    """A window of virtual time, laid out between two places.

    Attributes:
        from_ns, to_ns: the window.
        left, right: where it lies, in pixels.
        axis: what of it is not drawn to scale.
    """

    from_ns: int
    to_ns: int
    left: float
    right: float
    axis: Axis = TO_SCALE

    def x(self, at_ns: int) -> float:
        """Where a moment lies, also outside of the window."""
        begin = self.axis.place(self.from_ns)
        share = (self.axis.place(at_ns) - begin) / (self.axis.place(self.to_ns) - begin)
        return self.left + share * (self.right - self.left)

    def within(self, at_ns: int) -> float:
        """The same, kept to the window but for a few pixels."""
        return min(max(self.x(at_ns), self.left - 4), self.right + 4)

    def sees(self, begin_ns: int, end_ns: int) -> bool:
        """Whether any of this is in the window."""
        return begin_ns <= self.to_ns and end_ns >= self.from_ns

    def marks(self) -> Iterator[Mark]:
        """The breaks. Both sides keep some room for what stands beside the last moment."""
        for gap in self.axis.breaks:
            x0, x1 = self.x(gap.begin_ns), self.x(gap.end_ns)
            room = (x1 - x0) * MARK_INSET
            yield Mark(x0 + room, x1 - room, length_text(gap.length_ns))

    def rooms(self, begin: float, end: float) -> Iterator[tuple[float, float]]:
        """Where something can be written between two places: not on a break."""
        for mark in self.marks():
            if mark.right > begin and mark.left < end:
                yield begin, mark.left
                begin = mark.right + AFTER_MARK
        yield begin, min(end, self.right)

    def room_after(self, x: float) -> float:
        """How much can be written from a place on."""
        return next(self.rooms(x, self.right))[1] - x

    def ticks(self) -> Iterator[tuple[float, str]]:
        """(place, time) of each tick of the ruler."""
        step = self._step()
        for begin_ns, end_ns in self.axis.pieces(self.from_ns, self.to_ns):
            at_ns = max(0, -(-begin_ns // step) * step)
            while at_ns <= end_ns:
                yield self.x(at_ns), _clock(at_ns, step)
                at_ns += step

    def _step(self) -> int:
        drawn_ns = self.axis.place(self.to_ns) - self.axis.place(self.from_ns)
        least = drawn_ns * TICK_DISTANCE / max(self.right - self.left, 1)
        return next((step for step in STEPS if step >= least), STEPS[-1])


def _clock(at_ns: int, step_ns: int) -> str:
    digits = _digits(step_ns)
    part = f"{at_ns % SECOND // UNITS[digits]:0{digits}}" if digits else ""
    whole = at_ns // SECOND
    if step_ns < 60 * SECOND and at_ns < 3600 * SECOND:
        return f"{whole}.{part} s" if part else f"{whole} s"
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    text = f"{hours}:{minutes:02}:{whole % 60:02}" + (f".{part}" if part else "")
    return f"{days} d {text}" if days else text


def _digits(step_ns: int) -> int:
    return next(digits for digits, unit in enumerate(UNITS) if step_ns >= unit)
