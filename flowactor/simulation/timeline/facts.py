"""What a timeline is made of: lanes, and on them spans, points and arrows in virtual time.

All of it is plain and ordered. How a thing looks is decided by its ``kind`` and ``form`` alone, how
it reads by ``wording``; so one set of facts serves the page, the picture and the text.
"""

from typing import Final

from attrs import frozen

__all__ = [
    "CLIENT",
    "FAULTS",
    "NODE",
    "RUN",
    "Arrow",
    "Band",
    "Lane",
    "LaneKey",
    "Phase",
    "Point",
    "Span",
    "Value",
    "covers",
]

Value = int | str
"""One detail: a number, or a text as people read it."""

LaneKey = tuple[str, int]
"""(kind of lane, its number): ``("node", 2)``."""

FAULTS: Final = "faults"
NODE: Final = "node"
RUN: Final = "run"
CLIENT: Final = "client"


@frozen
class Lane:
    """A horizontal lane.

    Attributes:
        key: which one.
        title: its name.
        subtitle: a second, smaller line; may be empty.
        rows: how many rows of overlapping spans it holds beside its first bar.
    """

    key: LaneKey
    title: str
    subtitle: str
    rows: int


@frozen
class Span:
    """Something that lasts.

    Attributes:
        lane, row: where. Spans of one kind in one row do not overlap, unless the lane was full.
        begin_ns, end_ns: virtual time.
        kind: what it is: role, absence, step, owner, operation or fault.
        form: which look of that kind: leader, failed, unanswered ...
        node: whose colour it has; 0 none.
        details: what there is to say, in the order of ``wording``.
    """

    lane: LaneKey
    row: int
    begin_ns: int
    end_ns: int
    kind: str
    form: str
    node: int
    details: tuple[Value, ...]


def covers(span: Span) -> bool:
    """Whether it is drawn over the others: that a node is away is seen whatever its role was."""
    return span.kind == "absence"


@frozen
class Point:
    """Something that happens at one moment; fields as of a ``Span``."""

    lane: LaneKey
    at_ns: int
    kind: str
    form: str
    node: int
    details: tuple[Value, ...]


@frozen
class Arrow:
    """A message.

    Attributes:
        sender, receiver: numbers of nodes.
        sent_ns: when it left.
        received_ns: when it came; for one that did not, when it would have, as messages went then.
        fate: received, again (a duplicate), lost, or under way at the end of the run.
        what: its type.
        term, number: as recorded.
    """

    sender: int
    receiver: int
    sent_ns: int
    received_ns: int
    fate: str
    what: str
    term: Value
    number: int


@frozen
class Band:
    """A fault, as long as it lasts.

    Attributes:
        begin_ns, end_ns: virtual time; equal for what happens at one moment.
        kind: the word for it (``crash``).
        family: process, network, clock or disk.
        source: as Python.
        nodes: the numbers of those it concerns.
        row: its row in the lane of faults.
    """

    begin_ns: int
    end_ns: int
    kind: str
    family: str
    source: str
    nodes: tuple[int, ...]
    row: int


@frozen
class Phase:
    """A phase of the run: faults, healing."""

    begin_ns: int
    end_ns: int
    name: str
