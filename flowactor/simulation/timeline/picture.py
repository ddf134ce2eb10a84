"""The picture: a timeline as one SVG file, to be kept beside a seed or put into a report.

It shows the whole run if that can be seen in one picture, else the time before the failure; what
it leaves out it says.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final

from flowactor.simulation.timeline.axis import Axis
from flowactor.simulation.timeline.facts import FAULTS, NODE, RUN, Arrow, Lane, LaneKey
from flowactor.simulation.timeline.ink import Ink, number
from flowactor.simulation.timeline.layout import (
    ARROWS_MAX,
    MARGIN,
    NAMES_WIDTH,
    RARE_ARROWS_MAX,
    Place,
    arrange,
)
from flowactor.simulation.timeline.legend import legend_svg
from flowactor.simulation.timeline.model import Timeline, facts_of
from flowactor.simulation.timeline.parts import part
from flowactor.simulation.timeline.scale import BOLD, Scale, cut, text_width
from flowactor.simulation.timeline.strokes import Strokes
from flowactor.simulation.timeline.wording import seconds_text

__all__ = ["render_svg"]

NAMESPACE: Final = 'xmlns="http://www.w3.org/2000/svg"'
WIDTH: Final = 1600
EDGE: Final = 18
RULER_HEIGHT: Final = 50
RUNS_MAX: Final = 30
MESSAGES_MAX: Final = 450
ITEMS_MAX: Final = 4_000
"""So much of what came before a failure is in its picture."""
LEFT_SHARE: Final = 80
RIGHT_SHARE: Final = 16
"""The window is wider than what happened by these parts of it: at the end there is room for what
stands beside the last moment.
"""
HEADINGS: Final = {NODE: "NODES", RUN: "RUNS", "client": "CLIENTS"}
LINE_HEIGHT: Final = 18
FAILURE_LINES_MAX: Final = 6


def render_svg(timeline: Timeline) -> str:
    """The run as a picture, light or dark as the viewer likes it. Equal timelines, equal text."""
    begin_ns, end_ns = _window(timeline)
    axis = Axis.of(timeline.quiet, begin_ns, end_ns)
    drawn_ns = axis.place(end_ns) - axis.place(begin_ns)
    scale = Scale(
        begin_ns - drawn_ns // LEFT_SHARE,
        end_ns + drawn_ns // RIGHT_SHARE,
        NAMES_WIDTH,
        WIDTH - MARGIN,
        axis,
    )
    lanes, runs_left_out = _lanes(timeline, scale)
    struck = {node for band in timeline.bands for node in band.nodes}
    ink = Ink()
    top = _caption(ink, timeline)
    places = arrange(lanes, struck, top + RULER_HEIGHT)
    bottom = max((place.bottom for place in places), default=top + RULER_HEIGHT) + 20
    notes = _notes(begin_ns, end_ns, runs_left_out)
    _ruler(ink, timeline, scale, top, bottom)
    notes += _content(ink, timeline, scale, places, bottom)
    _names(ink, places, top + RULER_HEIGHT, bottom)
    ink.raw(legend_svg(EDGE, bottom + 22))
    for line, note in enumerate(notes):
        ink.write("note", EDGE, bottom + 52 + line * LINE_HEIGHT, note)
    return _file(ink, bottom + 52 + len(notes) * LINE_HEIGHT, places, top, bottom)


def _file(ink: Ink, height: int, places: Sequence[Place], top: int, bottom: int) -> str:
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    plot = WIDTH - NAMES_WIDTH + 8
    clip = f'<rect x="{NAMES_WIDTH - 8}" y="{top}" width="{plot}" height="{bottom - top}"/>'
    label = f"Timeline of a simulated run, {len(places)} lanes"
    return "\n".join(
        (
            f'<svg {NAMESPACE} class="picture" role="img" {size} aria-label="{label}">',
            f"<style>\n{part('picture.css')}\n</style>",
            part("patterns.svg"),
            f'<clipPath id="window">{clip}</clipPath>',
            f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
            ink.text(),
            "</svg>\n",
        )
    )


# -- what is in the picture -------------------------------------------------------------------


def _window(timeline: Timeline) -> tuple[int, int]:
    """All of it, unless there is a failure and too much came before it."""
    end_ns = max(timeline.end_ns, 1_000)
    if timeline.failure is None:
        return 0, end_ns
    starts = [arrow.sent_ns for arrow in timeline.arrows]
    items = [span.begin_ns for span in timeline.spans] + [p.at_ns for p in timeline.points]
    begins = (
        _begin_of_last(starts, MESSAGES_MAX, timeline.failed_ns),
        _begin_of_last(items, ITEMS_MAX, timeline.failed_ns),
    )
    return min(max(begins), end_ns - 1_000), end_ns


def _begin_of_last(times: Iterable[int], most: int, until_ns: int) -> int:
    before = sorted(at_ns for at_ns in times if at_ns <= until_ns)
    return before[-most] if len(before) > most else 0


def _lanes(timeline: Timeline, scale: Scale) -> tuple[list[Lane], int]:
    """Lanes, and how many runs there was no room for: the last that did something are shown."""
    seen: dict[LaneKey, int] = {}
    for span in timeline.spans:
        if span.lane[0] == RUN and scale.sees(span.begin_ns, span.end_ns):
            seen[span.lane] = span.end_ns
    runs = sorted(seen, key=lambda key: (-seen[key], key))
    shown = set(runs[:RUNS_MAX])
    lanes = [lane for lane in timeline.lanes if lane.key[0] != RUN or lane.key in shown]
    return lanes, sum(lane.key[0] == RUN for lane in timeline.lanes) - len(shown)


def _notes(begin_ns: int, end_ns: int, runs_left_out: int) -> list[str]:
    notes = []
    if begin_ns:
        notes.append(
            f"This picture begins at {seconds_text(begin_ns)}, and ends with the run at"
            f" {seconds_text(end_ns)}: the {seconds_text(begin_ns)} before it are left out."
        )
    if runs_left_out:
        notes.append(f"{runs_left_out} runs are not drawn: those that did nothing last.")
    return notes


# -- around the lanes -------------------------------------------------------------------------


def _caption(ink: Ink, timeline: Timeline) -> int:
    """Title and failure; returns where the ruler begins."""
    ink.write("caption", EDGE, 28, cut(timeline.title, WIDTH - 2 * EDGE, 18 * BOLD))
    ink.write("note", EDGE, 52, "  ·  ".join(facts_of(timeline)))
    y = 70
    if timeline.failure is not None:
        said = f"{timeline.failure.checker} at {seconds_text(timeline.failed_ns)}: "
        lines = _wrapped(said + timeline.failure.message, WIDTH - 2 * EDGE - 24)
        height = len(lines) * LINE_HEIGHT + 10
        ink.bar("failure-box", EDGE, y, WIDTH - 2 * EDGE, height, 5)
        ink.bar("failure-flag", EDGE, y, 5, height)
        for line in lines:
            ink.write("in-failure", EDGE + 16, y + 14, line)
            y += LINE_HEIGHT
        y += 18
    return y


def _wrapped(text: str, width: float) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if text_width(longer) > width and line:
            lines.append(line)
            longer = word
        line = cut(longer, width) or longer[:1]
    lines.append(line)
    if len(lines) > FAILURE_LINES_MAX:
        lines[FAILURE_LINES_MAX - 1 :] = [lines[FAILURE_LINES_MAX - 1] + " …"]
    return lines


def _ruler(ink: Ink, timeline: Timeline, scale: Scale, top: int, bottom: int) -> None:
    ink.write("heading", EDGE, top + 36, "VIRTUAL TIME")
    ink.raw('<g clip-path="url(#window)">')
    flag_left = scale.right
    if timeline.failure is not None:
        flag_left = _flag(ink, timeline, scale, top)
    for phase in timeline.phases:
        x0, x1 = scale.within(phase.begin_ns), scale.within(phase.end_ns)
        if x1 - x0 < 1:
            continue
        ink.bar("phase", x0, top + 24, x1 - x0, RULER_HEIGHT - 24)
        ink.path("phase-edge", f"M{number(x0)} {top + 24}V{bottom}")
        name = f"phase: {phase.name}"
        if max(x0, scale.left) + text_width(name) + 10 < min(x1, flag_left):
            ink.write("phase-name", max(x0, scale.left) + 5, top + 14, name)
    ticks = list(scale.ticks())
    ink.path("grid", "".join(f"M{number(x)} {top + RULER_HEIGHT}V{bottom}" for x, _ in ticks))
    ink.path("tick", "".join(f"M{number(x)} {top + 43}v7" for x, _ in ticks))
    _times(ink, scale, ticks, top)
    ink.raw("</g>")


def _times(ink: Ink, scale: Scale, ticks: Iterable[tuple[float, str]], top: int) -> None:
    """How long breaks are, and the times of those ticks that leave each other room."""
    taken: list[tuple[float, float]] = []
    breaks = [((mark.left + mark.right) / 2, mark.text, "break-name") for mark in scale.marks()]
    for mark in scale.marks():
        ink.bar("break", mark.left, top + 24, mark.right - mark.left, RULER_HEIGHT - 24)
    for x, text, look in chain(breaks, ((x, time, "time") for x, time in ticks)):
        half = text_width(text) / 2
        begin, end = x - half, x + half
        crossing = any(begin < right + 5 and end > left - 5 for left, right in taken)
        if begin > NAMES_WIDTH - 12 and end < WIDTH and not crossing:
            taken.append((begin, end))
            ink.write(look, x, top + 35, text, "middle")


def _flag(ink: Ink, timeline: Timeline, scale: Scale, top: int) -> float:
    """The checker's message on top of the red line; returns where it begins."""
    assert timeline.failure is not None
    x = scale.x(timeline.failed_ns)
    room = max(x - scale.left, scale.right - x) - 20
    said = f"{timeline.failure.checker}: {timeline.failure.message}"
    text = cut(said, min(room, 620), 11 * BOLD)
    width = text_width(text, 11 * BOLD) + 14
    left = x if scale.right - x > width else x - width
    ink.bar("failure-flag", left, top + 4, width, 19, 3)
    ink.write("on-failure", left + 7, top + 14, text)
    ink.path("failure-line", f"M{number(x)} {top + 4}V{top + RULER_HEIGHT}")
    return left


def _names(ink: Ink, places: Sequence[Place], top: int, bottom: int) -> None:
    ink.path("names-edge", f"M{NAMES_WIDTH - 8} {top}V{bottom}")
    for place in places:
        kind, node = place.lane.key
        if place.heads and kind in HEADINGS:
            ink.write("heading", EDGE, place.y - 11, HEADINGS[kind])
        middle = place.y + min(place.height / 2, 13)
        x = EDGE
        if kind == NODE:
            middle, x = place.bar_y + place.size.bar / 2, EDGE + 17
            ink.bar(f"swatch c{node}", EDGE, middle - 5, 10, 10, 3)
        room = NAMES_WIDTH - 16 - x
        title = "Faults" if kind == FAULTS else cut(place.lane.title, room * 0.66, 12.5)
        ink.write("title", x, middle, title)
        used = text_width(title, 13.4) + 6
        if subtitle := cut(place.lane.subtitle, room - used, 10.5):
            ink.write("subtitle", x + used, middle, subtitle)


# -- the lanes --------------------------------------------------------------------------------


def _content(
    ink: Ink, timeline: Timeline, scale: Scale, places: Sequence[Place], bottom: int
) -> list[str]:
    """Draws the lanes; returns what is to be noted about them."""
    strokes = Strokes(ink, scale, places)
    shown = {place.lane.key for place in places}
    bands = [band for band in timeline.bands if scale.sees(band.begin_ns, band.end_ns)]
    arrows = [a for a in timeline.arrows if scale.sees(a.sent_ns, a.received_ns)]
    arrows = [a for a in arrows if {(NODE, a.sender), (NODE, a.receiver)} <= shown]
    apart, dense = _apart(arrows)
    ink.raw('<g clip-path="url(#window)">')
    strokes.band_between(bands)
    strokes.density(dense)
    strokes.arrows(apart)
    x0, x1 = scale.within(0), scale.within(timeline.end_ns)
    for place in places:
        if place.lane.key[0] == FAULTS:
            strokes.fault_bars(bands, place)
        elif place.lane.key[0] != RUN:
            ink.bar("body", x0, place.y, x1 - x0, place.height, 5)
    strokes.band_lanes(bands)
    if timeline.failure is not None:
        top = places[0].y - places[0].size.first if places else 0
        ink.path("failure-line", f"M{number(scale.x(timeline.failed_ns))} {top}V{bottom}")
    strokes.spans(
        span
        for span in timeline.spans
        if span.lane in shown and scale.sees(span.begin_ns, span.end_ns)
    )
    strokes.points(
        point
        for point in timeline.points
        if point.lane in shown and scale.sees(point.at_ns, point.at_ns)
    )
    strokes.breaks(places[0].y if places else bottom, bottom)
    ink.raw("</g>")
    if not dense:
        return []
    kinds = ", ".join(dict.fromkeys(arrow.what for arrow in dense))
    share = f"{len(dense):,} of {len(arrows):,} messages"
    return [f"{share} are drawn as density below their sender ({kinds}): the page shows each."]


def _apart(arrows: Sequence[Arrow]) -> tuple[list[Arrow], list[Arrow]]:
    """(drawn as arrows, drawn as density): of what is too much the rare types stay arrows."""
    if len(arrows) <= ARROWS_MAX:
        return list(arrows), []
    kinds = Counter(arrow.what for arrow in arrows)
    rare, drawn = set(), 0
    for what, times in sorted(kinds.items(), key=lambda kind: (kind[1], kind[0])):
        drawn += times
        if drawn <= RARE_ARROWS_MAX:
            rare.add(what)
    return [a for a in arrows if a.what in rare], [a for a in arrows if a.what not in rare]
