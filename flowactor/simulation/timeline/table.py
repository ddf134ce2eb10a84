"""The text form: a table for terminals and for the messages of exceptions.

Nodes are columns of one character, which show at each row who leads, who is down and who waits;
messages and entries between two rows are told in one line.
"""

import textwrap
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from attrs import define, frozen

from flowactor.simulation.timeline.model import Timeline, facts_of
from flowactor.simulation.timeline.moments import DOWN, PAUSED, UP, Moment, moments_of
from flowactor.simulation.timeline.wording import printable, seconds_text

__all__ = ["render_text"]

WIDTH_MIN: Final = 48
TIME_WIDTH: Final = 12
"""At least, for 9,999 seconds."""
TOGETHER_MIN: Final = 3
"""From so many moments of one shape in a row on they are told as one."""
KINDS_MAX: Final = 4
MESSAGES_MAX: Final = 60
"""So many messages are told of in one row, unless something happens to a node before."""
SIGNS: Final = {
    "leader": "\N{FULL BLOCK}",
    "candidate": "\N{MEDIUM SHADE}",
    "follower": "\N{BOX DRAWINGS LIGHT VERTICAL}",
    "learner": "\N{BOX DRAWINGS LIGHT VERTICAL}",
    UP: "\N{BOX DRAWINGS LIGHT VERTICAL}",
    DOWN: "\N{MULTIPLICATION SIGN}",
    PAUSED: "=",
}
LEGEND: Final = " ".join(
    (
        f"nodes: {SIGNS['leader']} leader,",
        f"{SIGNS['candidate']} candidate,",
        f"{SIGNS['follower']} follower,",
        f"{SIGNS[DOWN]} down,",
        f"{SIGNS[PAUSED]} paused",
    )
)
MARKS: Final = {"": " ", "break": "~", "fault": "!", "failure": ">"}


@frozen
class Row:
    """One row of the table: what is in its columns, before it is laid out."""

    time: str
    signs: str
    text: str
    mark: str


def render_text(timeline: Timeline, width: int = 100, *, rows: int | None = None) -> str:
    """The run as text, without colours and without control characters.

    Args:
        timeline: the run.
        width: of the terminal, in characters.
        rows: at most so many rows of the table: the last, for a failure ends its run.
    """
    width = max(width, WIDTH_MIN)
    table = list(_Telling(timeline).rows())
    left_out = 0 if rows is None else max(len(table) - rows, 0)
    lines = [*_heading(timeline, width), ""]
    column = max(TIME_WIDTH, max((len(row.time) for row in table), default=0))
    lines.append(f"  {'time':>{column}}  {_numbers(timeline.nodes)}  {LEGEND}"[:width].rstrip())
    if left_out:
        lines.append(f"  {'...':>{column}}  {left_out} earlier rows are left out")
    for row in table[left_out:]:
        lines += _laid_out(row, width, column)
    return "\n".join(lines) + "\n"


def _heading(timeline: Timeline, width: int) -> Iterator[str]:
    yield from textwrap.wrap(printable(timeline.title), width)
    yield from textwrap.wrap(", ".join(facts_of(timeline)), width)


def _numbers(nodes: int) -> str:
    return " ".join(str(node) for node in range(1, nodes + 1))


def _laid_out(row: Row, width: int, column: int) -> Iterator[str]:
    start = f"{MARKS[row.mark]} {row.time:>{column}}  {row.signs}  "
    text = textwrap.wrap(printable(row.text), max(width - len(start), 20)) or [""]
    rule = "\N{BOX DRAWINGS HEAVY HORIZONTAL}" * width
    if row.mark == "failure":
        yield rule
    yield start + text[0]
    for line in text[1:]:
        yield f"{MARKS[row.mark]}{' ' * (len(start) - 1)}{line}"
    if row.mark == "failure":
        yield rule


@define
class _Usual:
    """What goes on as usual between two moments: messages, and entries applied."""

    timeline: Timeline
    sent: list[int]
    applied: list[tuple[int, int, int]]

    @classmethod
    def of(cls, timeline: Timeline) -> "_Usual":
        applied = [
            (point.at_ns, point.node, point.details[0])
            for point in timeline.points
            if point.kind == "committed" and point.details and isinstance(point.details[0], int)
        ]
        return cls(timeline, [arrow.sent_ns for arrow in timeline.arrows], applied)

    def messages(self, from_ns: int, until_ns: int) -> tuple[int, int]:
        """The first that was sent in that time, and the first after it."""
        return bisect_left(self.sent, from_ns), bisect_left(self.sent, until_ns)

    def between(self, from_ns: int, until_ns: int) -> str:
        """One sentence about it, or nothing."""
        first, end = self.messages(from_ns, until_ns)
        said = [_messages(self.timeline, first, end)] if first < end else []
        begin = bisect_left(self.applied, (from_ns,))
        entries = self.applied[begin : bisect_left(self.applied, (until_ns,))]
        latest = {node: index for _, node, index in entries}
        if latest:
            reached = ", ".join(f"node {node} to {latest[node]}" for node in sorted(latest))
            said.append(f"applied: {reached}")
        return "; ".join(said)


def _messages(timeline: Timeline, first: int, end: int) -> str:
    arrows = timeline.arrows[first:end]
    kinds = sorted(Counter(arrow.what for arrow in arrows).items(), key=lambda k: (-k[1], k[0]))
    named = [f"{times} {what}" for what, times in kinds[:KINDS_MAX]]
    if len(kinds) > KINDS_MAX:
        named.append(f"{sum(times for _, times in kinds[KINDS_MAX:])} others")
    lost = sum(arrow.fate == "lost" for arrow in arrows)
    said = f"{len(arrows)} message{'s' * (len(arrows) != 1)}: {', '.join(named)}"
    return said + (f"; {lost} lost" if lost else "")


class _Telling:
    """Goes through the moments and remembers how the nodes are."""

    def __init__(self, timeline: Timeline) -> None:
        self._usual: Final = _Usual.of(timeline)
        self._moments: Final = moments_of(timeline)
        self._taken = 0
        self._end_ns: Final = timeline.end_ns
        self._roles: Final = dict.fromkeys(range(1, timeline.nodes + 1), UP)
        self._states: Final = dict.fromkeys(range(1, timeline.nodes + 1), UP)

    def rows(self) -> Iterator[Row]:
        since_ns = 0
        for group in _together(self._moments):
            at_ns = group[0].at_ns
            if any(moment.mark or moment.state for moment in group) or self._busy(since_ns, at_ns):
                yield from self._as_usual(since_ns, at_ns)
                since_ns = at_ns
            self._take_until(group[-1].at_ns)
            if text := _said(group):
                yield Row(seconds_text(at_ns, 6), self._signs(), text, group[0].mark)
        yield from self._as_usual(since_ns, self._end_ns + 1)

    def _busy(self, since_ns: int, until_ns: int) -> bool:
        first, end = self._usual.messages(since_ns, until_ns)
        return end - first >= MESSAGES_MAX

    def _as_usual(self, since_ns: int, until_ns: int) -> Iterator[Row]:
        if usual := self._usual.between(since_ns, until_ns):
            said = f"\N{HORIZONTAL ELLIPSIS} since {seconds_text(since_ns)}: {usual}"
            yield Row("", self._signs(), said, "")

    def _take_until(self, at_ns: int) -> None:
        """Signs show how things are after all that happens at a moment."""
        while self._taken < len(self._moments) and self._moments[self._taken].at_ns <= at_ns:
            self._take(self._moments[self._taken])
            self._taken += 1

    def _take(self, moment: Moment) -> None:
        if moment.state in {DOWN, PAUSED, UP}:
            self._states[moment.node] = moment.state
            if moment.state == DOWN:
                self._roles[moment.node] = UP
        elif moment.state:
            self._roles[moment.node] = moment.state

    def _signs(self) -> str:
        return " ".join(
            SIGNS.get(self._roles[node] if state == UP else state, SIGNS[UP])
            for node, state in self._states.items()
        )


def _together(moments: Iterable[Moment]) -> Iterator[list[Moment]]:
    """Moments of one shape that follow each other, as one group if they are many."""
    group: list[Moment] = []
    for moment in moments:
        if group and (not moment.shape or moment.shape != group[-1].shape):
            yield from _grouped(group)
            group = []
        group.append(moment)
    yield from _grouped(group)


def _grouped(group: list[Moment]) -> Iterator[list[Moment]]:
    if len(group) >= TOGETHER_MIN:
        yield group
    else:
        yield from ([moment] for moment in group)


def _said(group: Sequence[Moment]) -> str:
    if len(group) == 1:
        return group[0].text
    until = seconds_text(group[-1].at_ns, 6)
    return f"{group[0].text} (and {len(group) - 1} more like it until {until})"
