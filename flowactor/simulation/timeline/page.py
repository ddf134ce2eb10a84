"""The page: one file that holds the run, the code that draws it, and nothing from anywhere else."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

from attrs import asdict

from flowactor.simulation.timeline.facts import LaneKey, Point, Span, covers
from flowactor.simulation.timeline.layout import geometry
from flowactor.simulation.timeline.legend import legend_html
from flowactor.simulation.timeline.model import Timeline, facts_of
from flowactor.simulation.timeline.parts import part
from flowactor.simulation.timeline.picture import render_svg
from flowactor.simulation.timeline.wording import WORDING, seconds_text

__all__ = ["render_html"]

SLOT: Final = re.compile(r"\{\{(\w+)\}\}")
FIGURE: Final = re.compile(r"-?\d[\d,.]*( s\b)?")


class Texts:
    """Texts by number, so that each is written once."""

    def __init__(self) -> None:
        self._numbers: Final[dict[str, int]] = {}

    def number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    def listed(self) -> list[str]:
        return list(self._numbers)


def render_html(timeline: Timeline) -> str:
    """The run as a page that needs nothing else: it can be mailed, or kept beside a seed.

    Where scripts are not allowed it shows the picture as ``render_svg`` draws it.
    """
    slots = {
        "title": escape(timeline.title),
        "facts": _facts(timeline),
        "failure": _failure(timeline),
        "still": render_svg(timeline),
        "data": _script_json(_data(timeline)),
        "patterns": part("patterns.svg"),
        "legend": legend_html(),
        "picture_css": part("picture.css"),
        "page_css": part("page.css"),
        "axis_js": part("axis.js"),
        "drawing_js": part("drawing.js"),
        "page_js": part("page.js"),
    }
    return SLOT.sub(lambda slot: slots[slot[1]], part("page.html"))


def _script_json(data: dict[str, Any]) -> str:
    """JSON that no parser of HTML can mistake for the end of the script, or for a comment."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _facts(timeline: Timeline) -> str:
    facts = (FIGURE.sub(r"<b>\g<0></b>", fact, count=1) for fact in facts_of(timeline))
    return "".join(f"<span>{fact}</span>" for fact in facts)


def _failure(timeline: Timeline) -> str:
    failure = timeline.failure
    if failure is None:
        return ""
    when = seconds_text(timeline.failed_ns)
    return (
        f'<div class="failure" role="alert"><b>{escape(failure.checker)}</b> at {when}: '
        f"{escape(failure.message)}</div>"
    )


# -- the run as compact data ------------------------------------------------------------------


def _data(timeline: Timeline) -> dict[str, Any]:
    texts, fates = Texts(), Texts()
    numbers = {lane.key: number for number, lane in enumerate(timeline.lanes)}
    arrows = _arrows(timeline, texts, fates)
    axis = timeline.axis
    failure = timeline.failure
    return {
        "end": timeline.end_ns,
        "breaks": {
            "length": axis.break_ns,
            "spans": [[gap.begin_ns, gap.end_ns] for gap in axis.breaks],
        },
        "failure": failure
        and {"checker": failure.checker, "message": failure.message, "at": timeline.failed_ns},
        "lanes": [
            {
                "kind": lane.key[0],
                "number": lane.key[1],
                "title": lane.title,
                "subtitle": lane.subtitle,
                "rows": lane.rows,
            }
            for lane in timeline.lanes
        ],
        "spans": [_spans(group, numbers, texts) for group in _by_row(timeline.spans)],
        "points": [_points(group, numbers, texts) for group in _by_kind(timeline.points)],
        "arrows": arrows,
        "bands": [
            {
                "begin": band.begin_ns,
                "end": band.end_ns,
                "kind": band.kind,
                "family": band.family,
                "source": band.source,
                "nodes": list(band.nodes),
                "row": band.row,
            }
            for band in timeline.bands
        ],
        "phases": [
            {"begin": phase.begin_ns, "end": phase.end_ns, "name": phase.name}
            for phase in timeline.phases
        ],
        "wording": {kind: asdict(wording) for kind, wording in WORDING.items()},
        "geometry": geometry(),
        "texts": texts.listed(),
        "fates": fates.listed(),
    }


def _by_row(spans: Iterable[Span]) -> list[list[Span]]:
    groups: defaultdict[tuple[LaneKey, int, str], list[Span]] = defaultdict(list)
    for span in sorted(spans, key=covers):
        groups[span.lane, span.row, span.kind].append(span)
    return list(groups.values())


def _by_kind(points: Iterable[Point]) -> list[list[Point]]:
    groups: defaultdict[tuple[LaneKey, str], list[Point]] = defaultdict(list)
    for point in points:
        groups[point.lane, point.kind].append(point)
    return list(groups.values())


def _spans(spans: Sequence[Span], numbers: dict[LaneKey, int], texts: Texts) -> dict[str, Any]:
    first = spans[0]
    return {
        "lane": numbers[first.lane],
        "row": first.row,
        "kind": first.kind,
        "at": _deltas(span.begin_ns for span in spans),
        "length": [span.end_ns - span.begin_ns for span in spans],
        "form": [texts.number(span.form) for span in spans],
        "node": [span.node for span in spans],
        "details": [span.details for span in spans],
    }


def _points(points: Sequence[Point], numbers: dict[LaneKey, int], texts: Texts) -> dict[str, Any]:
    first = points[0]
    return {
        "lane": numbers[first.lane],
        "kind": first.kind,
        "at": _deltas(point.at_ns for point in points),
        "form": [texts.number(point.form) for point in points],
        "node": [point.node for point in points],
        "details": [point.details for point in points],
    }


def _arrows(timeline: Timeline, texts: Texts, fates: Texts) -> dict[str, Any]:
    arrows = timeline.arrows
    return {
        "sender": [arrow.sender for arrow in arrows],
        "receiver": [arrow.receiver for arrow in arrows],
        "sent": _deltas(arrow.sent_ns for arrow in arrows),
        "delay": [arrow.received_ns - arrow.sent_ns for arrow in arrows],
        "fate": [fates.number(arrow.fate) for arrow in arrows],
        "what": [texts.number(arrow.what) for arrow in arrows],
        "term": [arrow.term for arrow in arrows],
        "number": [arrow.number for arrow in arrows],
    }


def _deltas(times: Iterable[int]) -> list[int]:
    """Each as the difference to the one before: short, for they are in order."""
    deltas, before = [], 0
    for at_ns in times:
        deltas.append(at_ns - before)
        before = at_ns
    return deltas
