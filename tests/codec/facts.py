"""Record classes with every kind of field, and encodings that may never change."""

import enum
from typing import Any

from attrs import field, frozen

from flowactor.cluster.protocol.requests import ExportHistory, HistoryPart
from flowactor.codec import records
from flowactor.identity import NodeId, RunId
from flowactor.machine.commands import RetryRule, SetVariable
from flowactor.machine.events import Failure, RunStarted, StepCompleted
from flowactor.machine.history import Arrived, Closed, Opened
from flowactor.machine.operations import Advance, InboxRef
from flowactor.machine.replies import RunStatus


class Kind(enum.Enum):
    A = "a"
    B = 2


@records.record(9001)
@frozen
class Leaf:
    number: int
    text: str = "t"


@records.record(9002)
@frozen
class Empty:
    pass


@records.record(9003)
@frozen
class Everything:
    flag: bool
    ratio: float
    data: bytes
    kind: Kind
    leaf: Leaf
    either: Leaf | Empty
    maybe: Leaf | None
    mixed: "Leaf | bytes | None"
    leaves: tuple[Leaf | Empty, ...]
    key: tuple[tuple[int, ...], str, int]
    pairs: tuple[tuple[str, int], ...]
    run: RunId
    names: tuple[str, ...] = ()
    nested: "Everything | None" = None
    site: str = field(default="", eq=False)


FULL = Everything(
    True,
    1.5,
    b"x",
    Kind.B,
    Leaf(1),
    Empty(),
    Leaf(2, "y"),
    b"raw",
    (Leaf(3), Empty()),
    ((0, 1), "n", 2),
    (("a", 1), ("b", 2)),
    RunId("r"),
    ("p", "q"),
)

GOLDEN: list[tuple[Any, str]] = [
    (Empty(), "8119232a"),
    (Leaf(5), "83192329056174"),
    (InboxRef(7), "82183307"),
    (
        StepCompleted(((0, 1), "charge", 2), 1, b"\x01"),
        "840b8382000166636861726765 02014101".replace(" ", ""),
    ),
    (RetryRule(1, 2000, 3, 4, ("E",)), "8614011907d003048161 45".replace(" ", "")),
    (
        Failure("m.E", "x", b"", Failure("m.F", "y")),
        "8701636d2e456178408701636d2e46617940f680f580f5",
    ),
    (Opened("w", "T", 1, NodeId(2), 0), "86184661776154010200"),
    (Arrived(1, RunStarted(b"\x80")), "83184701820a4180"),
    (Closed(RunStatus.COMPLETED, ""), "83184e69636f6d706c6574656460"),
    (ExportHistory("w", "", 3, 4), "8518d56177600304"),
    (HistoryPart(RunId("r"), 1, 2, (b"x",), 2, 0), "8718f1617201028141780200"),
    (
        Advance(RunId("r"), 1, 2, 3, (InboxRef(4),), (SetVariable("v", b"\x05"),)),
        "87183461720102038182183304818418196176410560",
    ),
]
