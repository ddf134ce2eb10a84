"""The content of lanes as SVG: what ``drawing.js`` does for a page, for a picture that stays."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import hypot, log2
from typing import Final

from flowactor.simulation.timeline.facts import NODE, Arrow, Band, LaneKey, Point, Span, covers
from flowactor.simulation.timeline.ink import Ink, number
from flowactor.simulation.timeline.layout import LOST_LENGTH, Place
from flowactor.simulation.timeline.scale import BOLD, Scale, text_width
from flowactor.simulation.timeline.wording import labels_of

__all__ = ["Strokes"]

IN_ROWS: Final = frozenset({"step", "operation"})
COMBS: Final = {"committed": ("applied", 5, 10), "appended": ("durable", 3, 5)}
"""kind of point -> look, shortest and longest tick."""
BOLD_FORMS: Final = frozenset({"leader", "candidate", "down", "paused", ""})
LABEL_LEAST: Final = 24
TOOTH: Final = 6
TEETH: Final = 2.5
"""Of an edge of torn paper: how long and how deep each of its teeth is."""
TOGETHER: Final = 1.6
"""Ticks that are nearer to each other than this are one, and taller."""


class Strokes:
    """Draws onto ``ink`` what the window of ``scale`` shows.

    Args:
        ink: what is drawn on.
        scale: where moments lie.
        places: where lanes lie.
    """

    def __init__(self, ink: Ink, scale: Scale, places: Sequence[Place]) -> None:
        self._ink: Final = ink
        self._scale: Final = scale
        self._written: Final[dict[tuple[LaneKey, int, str], float]] = {}
        self._absences: Final[defaultdict[LaneKey, list[Span]]] = defaultdict(list)
        self._places: Final[dict[LaneKey, Place]] = {place.lane.key: place for place in places}

    # -- faults -------------------------------------------------------------------------------

    def band_between(self, bands: Iterable[Band]) -> None:
        """The shade of faults between the lanes that they concern together."""
        nodes = [place for place in self._places.values() if place.lane.key[0] == NODE]
        for band in bands:
            x0, x1 = self._extent(band.begin_ns, band.end_ns)
            for upper, lower in pairwise(nodes):
                if upper.lane.key[1] in band.nodes and lower.lane.key[1] in band.nodes:
                    self._ink.bar(
                        f"band {band.family}", x0, upper.bottom, x1 - x0, lower.y - upper.bottom
                    )

    def band_lanes(self, bands: Iterable[Band]) -> None:
        """The shade of faults on lanes, each with its name where there is room."""
        taken: dict[int, float] = {}
        for band in bands:
            x0, x1 = self._extent(band.begin_ns, band.end_ns)
            for node in band.nodes:
                place = self._places.get((NODE, node))
                if place is None:
                    continue
                self._ink.raw(f'<g class="{band.family}">')
                self._ink.bar("band", x0, place.y, x1 - x0, place.height)
                edge = f"{place.y}v{place.height}"
                self._ink.path("band-edge", f"M{number(x0)} {edge}M{number(x1)} {edge}")
                begin = max(x0, taken.get(node, self._scale.left)) + 5
                if text_width(band.kind, 10 * BOLD) <= self._room(begin, x1) - 3:
                    self._ink.write("band-name", begin, place.y + 4 + place.gutter / 2, band.kind)
                    taken[node] = begin + text_width(band.kind, 10 * BOLD) + 4
                self._ink.raw("</g>")

    def fault_bars(self, bands: Sequence[Band], place: Place) -> None:
        """The lane of faults; the name of what takes but a moment stands beside it."""
        for position, band in enumerate(bands):
            x0, x1 = self._extent(band.begin_ns, band.end_ns)
            later = (other.begin_ns for other in bands[position + 1 :] if other.row == band.row)
            after = next(map(self._scale.x, later), self._scale.right)
            y, height = place.row_y(band.row), place.size.row - 3
            self._ink.raw(f'<g class="{band.family}">')
            self._ink.bar("fault", x0, y, x1 - x0, height, 3)
            inside = max(x0, self._scale.left) + 6
            if within := _name_of(band, self._room(inside, x1) - 4):
                self._ink.write("on-fault", inside, y + height / 2, within)
            elif beside := _name_of(band, self._room(x1, after) - 8):
                self._ink.write("on-fault", x1 + 4, y + height / 2, beside)
            self._ink.raw("</g>")

    def _room(self, begin: float, end: float) -> float:
        """How much can be written from one place on before another."""
        return min(end - begin, self._scale.room_after(begin))

    def _extent(self, begin_ns: int, end_ns: int, least: float = 2) -> tuple[float, float]:
        x0 = self._scale.within(begin_ns)
        return x0, max(self._scale.within(end_ns), x0 + least)

    # -- messages -----------------------------------------------------------------------------

    def arrows(self, arrows: Sequence[Arrow]) -> None:
        """Messages as arrows from lane to lane; lost ones end in a cross."""
        paths, heads = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
        crosses = []
        many = " many" if len(arrows) > 220 else ""
        for arrow in arrows:
            x0, y0, x1, y1 = self._ends(arrow)
            lost = arrow.fate == "lost"
            vote = " vote" if "vote" in arrow.what.lower() else ""
            if lost:
                share = min(0.6, LOST_LENGTH / abs(y1 - y0))
                x1, y1 = x0 + (x1 - x0) * share, y0 + (y1 - y0) * share
                crosses.append(f"M{number(x1 - 3)} {number(y1 - 3)}l6 6m0 -6l-6 6")
            elif arrow.fate != "under way":
                heads[vote].append(_head(x0, y0, x1, y1))
            looks = {"lost": " lost", "again": " again", "under way": " way"}
            line = f"M{number(x0)} {number(y0)}L{number(x1)} {number(y1)}"
            paths[looks.get(arrow.fate, vote or many)].append(line)
        for look, lines in paths.items():
            self._ink.path(f"message{look}", "".join(lines))
        for look, lines in heads.items():
            self._ink.path(f"head{look}", "".join(lines))
        self._ink.path("cross", "".join(crosses))

    def _ends(self, arrow: Arrow) -> tuple[float, float, float, float]:
        sender, receiver = self._places[NODE, arrow.sender], self._places[NODE, arrow.receiver]
        x0, x1 = self._scale.x(arrow.sent_ns), self._scale.x(arrow.received_ns)
        if sender.y < receiver.y:
            return x0, sender.bottom, x1, receiver.y
        return x0, sender.y, x1, receiver.bottom

    def density(self, arrows: Iterable[Arrow]) -> None:
        """How much each lane sent, where arrows could not be told apart."""
        width = 3
        sent: Counter[tuple[int, int]] = Counter()
        lost: Counter[tuple[int, int]] = Counter()
        for arrow in arrows:
            column = int(self._scale.x(arrow.sent_ns) // width)
            sent[arrow.sender, column] += 1
            lost[arrow.sender, column] += arrow.fate == "lost"
        most = max(sent.values(), default=1)
        for look, counts in (("density", sent), ("density lost", lost)):
            bars = []
            for (node, column), count in sorted(counts.items()):
                if count:
                    height = number(3 + 19 * (count / most) ** 0.5)
                    y = self._places[NODE, node].bottom + 1
                    bars.append(f"M{column * width} {y}h2.4v{height}h-2.4z")
            self._ink.path(look, "".join(bars))

    # -- spans --------------------------------------------------------------------------------

    def spans(self, spans: Iterable[Span]) -> None:
        """Bars; of those that fall on one pixel the first is drawn. A row that had to be shared has
        no label on a label.
        """
        ends: dict[tuple[LaneKey, int, str], float] = {}
        drawn = sorted(spans, key=covers)
        for span in drawn:
            if span.kind == "absence":
                self._absences[span.lane].append(span)
        following: dict[tuple[LaneKey, int, str], int] = {}
        nexts: list[int | None] = []
        for span in reversed(drawn):
            row = (span.lane, span.row, span.kind)
            nexts.append(following.get(row))
            following[row] = span.begin_ns
        for span, next_ns in zip(drawn, reversed(nexts), strict=True):
            x0, x1 = self._extent(span.begin_ns, span.end_ns, 1.5)
            row = (span.lane, span.row, span.kind)
            if x1 - ends.get(row, -9.0) >= 1:
                ends[row] = x1
                self._span(span, self._places[span.lane], x0, x1)
                if span.kind in IN_ROWS:
                    self._beside(span, x0, x1, next_ns)

    def _span(self, span: Span, place: Place, x0: float, x1: float) -> None:
        in_row = span.kind in IN_ROWS
        y = place.row_y(span.row) if in_row else place.bar_y
        height = place.size.row - 3 if in_row else place.size.bar
        style = span.form.split(" ")[0]
        self._ink.raw(f'<g class="c{span.node}">')
        look = f"{span.kind} {style}".rstrip()
        self._ink.bar(look, x0, y, x1 - x0, height, min(3, (x1 - x0) / 3))
        if span.kind == "step":
            self._step_marks(style, x0, x1, y, height)
        begin, end = max(x0, self._scale.left) + (11 if span.kind == "owner" else 6), x1
        if span.kind == "role":
            begin, end = self._clear_of_absences(span.lane, begin, x1)
        end -= 11 if span.kind == "step" and style != "completed" else 3
        size = 11 * BOLD if style in BOLD_FORMS else 11
        labels = labels_of(span.kind, span.form, span.details)
        begin, label = self._place_of(labels, begin, end, size)
        row = (span.lane, span.row, span.kind)
        if label and begin > self._written.get(row, -9.0):
            self._written[row] = begin + text_width(label, size)
            self._ink.write(_ink_on(span.kind, style), begin, y + height / 2 + 0.5, label)
        self._ink.raw("</g>")

    def _place_of(
        self, labels: Iterable[str], begin: float, end: float, size: float
    ) -> tuple[float, str]:
        """The first of the labels that fits, and the first place where it does."""
        rooms = list(self._scale.rooms(begin, end))
        for label in labels:
            for left, right in rooms:
                if text_width(label, size) <= right - left:
                    return left, label
        return begin, ""

    def _beside(self, span: Span, x0: float, x1: float, next_ns: int | None) -> None:
        """What is too short for its name has it behind, if there is room before the next one."""
        row, place = (span.lane, span.row, span.kind), self._places[span.lane]
        shortest = [*labels_of(span.kind, span.form, span.details)][-1:]
        limit = self._scale.right if next_ns is None else self._scale.x(next_ns) - 4
        limit = min(limit, x1 + self._scale.room_after(x1))
        if not shortest or self._written.get(row, -9.0) > x0 or x1 < self._scale.left:
            return
        end = x1 + 4 + text_width(shortest[0])
        if end <= limit:
            self._written[row] = end
            y = place.row_y(span.row) + (place.size.row - 3) / 2 + 0.5
            self._ink.write("beside", x1 + 4, y, shortest[0])

    def _clear_of_absences(self, lane: LaneKey, begin: float, end: float) -> tuple[float, float]:
        """The first room on a bar of roles that no pause covers."""
        for absence in self._absences[lane]:
            x0, x1 = self._scale.x(absence.begin_ns), self._scale.x(absence.end_ns)
            if x1 < begin or x0 > end:
                continue
            if x0 - begin > LABEL_LEAST:
                return begin, x0
            begin = x1 + 6
        return begin, end

    def _step_marks(self, style: str, x0: float, x1: float, y: float, height: float) -> None:
        self._ink.bar("step-edge", x0, y, min(2.5, (x1 - x0) / 3), height)
        x, middle = x1 - 8, y + height / 2
        if x1 - x0 >= 12 and style == "failed":
            self._ink.path("bad", f"M{number(x - 2)} {number(middle - 3)}l6 6m0 -6l-6 6")
        if x1 - x0 >= 12 and style == "cut":
            third = number(height / 3)
            self._ink.path(
                "bad", f"M{number(x + 3)} {y - 1}l-4 {third}l6 {third}l-4 {number(height / 3 + 2)}"
            )

    # -- points -------------------------------------------------------------------------------

    def points(self, points: Iterable[Point]) -> None:
        """Ticks and marks, those of one lane and kind together."""
        groups: defaultdict[tuple[LaneKey, str], list[Point]] = defaultdict(list)
        for point in points:
            groups[point.lane, point.kind].append(point)
        for (lane, kind), group in groups.items():
            if kind in COMBS:
                self._comb(group, kind, self._places[lane])
            else:
                self._marks(group, self._places[lane], 4 if kind == "advanced" else 6)

    def _comb(self, points: Sequence[Point], kind: str, place: Place) -> None:
        look, shortest, longest = COMBS[kind]
        ticks: list[tuple[float, int]] = []
        for point in points:
            x = self._scale.x(point.at_ns)
            if ticks and x - ticks[-1][0] < TOGETHER:
                ticks[-1] = (ticks[-1][0], ticks[-1][1] + 1)
            else:
                ticks.append((x, 1))
        lines = (
            f"M{number(x)} {place.strip_y + 1}v{number(min(longest, shortest + log2(count) * 1.5))}"
            for x, count in ticks
        )
        self._ink.raw(f'<g class="c{place.lane.key[1]}">')
        self._ink.path(look, "".join(lines))
        self._ink.raw("</g>")

    def _marks(self, points: Sequence[Point], place: Place, apart: float) -> None:
        last = float("-inf")
        for point in points:
            x = self._scale.x(point.at_ns)
            if x - last >= apart:
                last = x
                self._mark(point, x, place)

    def _mark(self, point: Point, x: float, place: Place) -> None:
        ink, colour, at = self._ink, f"c{point.node}", number(x)
        bar = place.size.bar
        middle = place.bar_y + bar / 2
        match point.kind:
            case "effect":
                strip = number(place.strip_y + place.size.strip / 2)
                ink.path("effect", f"M{number(x)} {strip}m0 -6l6 6l-6 6l-6 -6z")
            case "started":
                ink.path(f"started {colour}", f"M{at} {place.strip_y + 2}l8 4.5l-8 4.5z")
            case "advanced":
                ink.dot(f"advanced {colour}", x, place.strip_y + 4, 2)
            case "moved":
                half = number(bar / 2 + 3)
                top = place.bar_y - 3
                ink.path(f"moved {colour}", f"M{at} {top}l6 {half}l-6 {half}l-6 -{half}z")
            case "opened":
                ink.dot(f"opened {colour}", x, middle, 4.5)
            case "closed":
                self._closed(point.form, x, middle)
            case _:
                return

    def _closed(self, status: str, x: float, y: float) -> None:
        self._ink.dot("closed", x, y, 6.5)
        if status == "completed":
            self._ink.path("closed-mark", f"M{number(x - 3)} {number(y)}l2.2 2.4l4 -4.6")
        else:
            self._ink.path("bad", f"M{number(x - 2.5)} {number(y - 2.5)}l5 5m0 -5l-5 5")
        name = status.replace("_", " ")
        if text_width(name) <= self._scale.room_after(x) - 14:
            self._ink.write("closed-name", x + 11, y + 0.5, name)

    # -- breaks -------------------------------------------------------------------------------

    def breaks(self, top: int, bottom: int) -> None:
        """Where the axis is broken nothing is seen, between two edges as of torn paper."""
        for mark in self._scale.marks():
            left, right = (_torn(x, top, bottom) for x in (mark.left, mark.right))
            self._ink.path("break", f"M{'L'.join((*left, *reversed(right)))}z")
            for edge in (left, right):
                self._ink.path("break-edge", f"M{'L'.join(edge)}")


def _name_of(band: Band, room: float) -> str:
    names = (band.source, band.kind)
    return next((name for name in names if text_width(name, 11 * BOLD) <= room), "")


def _ink_on(kind: str, style: str) -> str:
    if kind == "role":
        return f"on-{style}"
    return f"on-{kind}" if kind in {"absence", "owner"} else "on-bar"


def _torn(x: float, top: int, bottom: int) -> list[str]:
    """The corners of an edge, from top to bottom."""
    heights = [*range(top, bottom, TOOTH), bottom]
    return [
        f"{number(x + (TEETH if corner % 2 else -TEETH))} {y}" for corner, y in enumerate(heights)
    ]


def _head(x0: float, y0: float, x1: float, y1: float) -> str:
    length = hypot(x1 - x0, y1 - y0) or 1
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    bx, by = x1 - ux * 6, y1 - uy * 6
    corners = ((x1, y1), (bx - uy * 2.4, by + ux * 2.4), (bx + uy * 2.4, by - ux * 2.4))
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in corners) + "z"
