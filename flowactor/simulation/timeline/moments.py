"""A timeline told moment by moment, as a person would; without what goes on as usual."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from typing import Final

from attrs import frozen

from flowactor.simulation.timeline.facts import NODE, Lane, LaneKey, Point, Span
from flowactor.simulation.timeline.model import Timeline
from flowactor.simulation.timeline.wording import length_text

__all__ = ["DOWN", "PAUSED", "UP", "Moment", "moments_of"]

DOWN: Final = "down"
PAUSED: Final = "paused"
UP: Final = "up"


ORDER: Final = (
    *("absence", "started", "role", "operation", "opened", "moved"),
    *("step", "effect", "advanced", "closed"),
)
"""Of what happens at one moment, what leads to what."""


@frozen
class Moment:
    """One thing that happened.

    Attributes:
        at_ns: virtual time.
        text: the sentence that says it; empty: nothing is said, a node's state changes.
        shape: moments of one shape may be told together; empty: never.
        mark: what it is to the reader: fault, failure, break of the axis, or nothing special.
        node, state: the node whose state it changes, if any, and to what: a role, or one of
            ``DOWN``, ``PAUSED``, ``UP``.
    """

    at_ns: int
    text: str
    shape: str = ""
    mark: str = ""
    node: int = 0
    state: str = ""


def moments_of(timeline: Timeline) -> list[Moment]:
    """All of them by time, without messages and entries: these are as usual."""
    lanes = {lane.key: lane for lane in timeline.lanes}
    by_kind: defaultdict[str, list[Moment]] = defaultdict(list)
    for span in timeline.spans:
        by_kind[span.kind] += _span(span, lanes[span.lane], timeline)
    for point in timeline.points:
        by_kind[point.kind] += _point(point, lanes)
    told = (by_kind[kind] for kind in ORDER)
    world = chain(_breaks(timeline), _phases(timeline), _bands(timeline))
    return sorted(chain(world, *told, _failure(timeline)), key=lambda moment: moment.at_ns)


def _breaks(timeline: Timeline) -> Iterator[Moment]:
    for gap in timeline.axis.breaks:
        said = f"{length_text(gap.length_ns)} went by in which nothing happened"
        yield Moment(gap.end_ns, said, mark="break")


def _phases(timeline: Timeline) -> Iterator[Moment]:
    for phase in timeline.phases:
        yield Moment(phase.begin_ns, f"phase: {phase.name}")


def _bands(timeline: Timeline) -> Iterator[Moment]:
    for band in timeline.bands:
        yield Moment(band.begin_ns, f"FAULT {band.source}", mark="fault")
        if band.begin_ns < band.end_ns < timeline.end_ns:
            yield Moment(band.end_ns, f"fault ends: {band.source}", mark="fault")


def _failure(timeline: Timeline) -> Iterator[Moment]:
    if timeline.failure is not None:
        said = f"FAILED {timeline.failure.checker}: {timeline.failure.message}"
        yield Moment(timeline.failed_ns, said, mark="failure")


def _span(span: Span, lane: Lane, timeline: Timeline) -> Iterator[Moment]:
    begin_ns, end_ns, who = span.begin_ns, span.end_ns, lane.title
    over = end_ns < timeline.end_ns
    match span.kind:
        case "role":
            said = f"{who} is {span.form} of term {span.details[0]}"
            shape = f"{span.form} {span.details[0]}"
            yield Moment(begin_ns, said, shape, node=span.node, state=span.form)
        case "absence":
            said = "" if span.form == PAUSED else f"{who} is down: {span.details[0]}"
            yield Moment(begin_ns, said, node=span.node, state=span.form)
            if over:
                yield Moment(end_ns, "", node=span.node, state=UP)
        case "step":
            _, step, attempt, outcome = span.details
            said = f"{who}: step {step}, attempt {attempt}"
            yield Moment(begin_ns, f"{said} starts", "step starts")
            if span.form != "running":
                shape = "step ends" if span.form == "completed" else ""
                yield Moment(end_ns, f"{said}: {outcome}", shape)
        case "operation":
            _, request, asked, node, answer = span.details
            to = f" of node {node}" if node != "" else ""
            yield Moment(begin_ns, f"{who} asks{to} ({request}): {asked}", "asks")
            if span.form == "answered":
                yield Moment(end_ns, f"{who} hears ({request}): {answer}", "hears")
        case _:
            return


def _point(point: Point, lanes: dict[LaneKey, Lane]) -> Iterator[Moment]:
    who, details = lanes[point.lane].title, point.details
    match point.kind:
        case "started":
            yield Moment(point.at_ns, f"{who} starts", "starts", node=point.node, state=UP)
        case "effect":
            ledger, key = (*details, "", "")[:2]
            said = f"{who}: effect on {ledger}" + (f", key {key}" if key != "" else "")
            yield Moment(point.at_ns, said, "effect")
        case "opened":
            yield Moment(
                point.at_ns, f"run {who} ({details[1]}) opens on node {point.node}", "open"
            )
        case "moved":
            before, owner = details[:2]
            yield Moment(point.at_ns, f"run {who}: node {owner} takes over from node {before}")
        case "advanced":
            yield Moment(point.at_ns, f"run {who} advances to position {details[0]}", "advances")
        case "closed":
            yield Moment(point.at_ns, f"run {who} is {point.form}", f"closed {point.form}")
        case _:
            assert point.lane[0] == NODE
