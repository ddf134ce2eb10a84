"""Reading a record line by line into what a timeline shows."""

from collections.abc import Sequence
from itertools import chain
from typing import Final

from flowactor.simulation.faults import Fault
from flowactor.simulation.timeline.facts import FAULTS, NODE, Band, Lane, Point, Span, Value
from flowactor.simulation.timeline.messages import MessageReader
from flowactor.simulation.timeline.nodes import NodeReader
from flowactor.simulation.timeline.runs import ClientReader, RunReader
from flowactor.simulation.timeline.world import WorldReader
from flowactor.simulation.trace import Detail, Kind, Line

__all__ = ["Reading"]

BYTES_SHOWN: Final = 8
RUN_KINDS: Final = frozenset({Kind.OPENED, Kind.OWNER, Kind.ADVANCED, Kind.CLOSED})
CLIENT_KINDS: Final = frozenset({Kind.ASKED, Kind.ANSWERED})
MESSAGE_KINDS: Final = frozenset({Kind.SENT, Kind.RECEIVED})
WORLD_KINDS: Final = frozenset({Kind.FAULT, Kind.PHASE, Kind.FAILED})


class Reading:
    """Sorts the lines of a record among those who understand them.

    Args:
        nodes: how many the run had.
        faults: of its scenario.
    """

    def __init__(self, nodes: int, faults: Sequence[Fault]) -> None:
        self.world: Final = WorldReader(nodes, faults)
        self.messages: Final = MessageReader()
        self._nodes: Final = {node: NodeReader(node) for node in range(1, nodes + 1)}
        self._runs: Final[dict[str, RunReader]] = {}
        self._clients: Final[dict[str, ClientReader]] = {}
        self.lines = 0
        self.last_ns = 0

    def take(self, line: Line) -> None:
        """One more line; a kind that nobody understands is passed over."""
        at_ns, node, kind, given = line
        details = tuple(plain(detail) for detail in given)
        self.lines += 1
        if self.world.over and kind == Kind.STOPPED:
            return  # taken down with the stage
        self.last_ns = max(self.last_ns, at_ns)
        if kind in MESSAGE_KINDS:
            self.messages.take(at_ns, node, kind, details)
        elif kind in WORLD_KINDS:
            self.world.take(at_ns, kind, details)
        elif kind in RUN_KINDS and details:
            self._run(str(details[0])).take(at_ns, kind, details[1:])
        elif kind in CLIENT_KINDS and details:
            self._client(str(details[0])).take(at_ns, kind, details[1:])
        elif node in self._nodes:
            self._nodes[node].take(at_ns, kind, details)

    def lanes(self, bands: Sequence[Band]) -> tuple[Lane, ...]:
        """Ends everything that lasts, and lists the lanes from top to bottom."""
        lanes = tuple(reader.finish(self.last_ns) for reader in self._readers())
        if not bands:
            return lanes
        rows = max(band.row for band in bands) + 1
        return (Lane((FAULTS, 0), "faults", "", rows), *lanes)

    def spans(self, bands: Sequence[Band]) -> tuple[Span, ...]:
        """All spans by their beginning, once the lanes are known."""
        told = chain.from_iterable(reader.spans for reader in self._readers())
        paused = (span for band in bands if band.kind == "pause" for span in pauses(band))
        return tuple(
            sorted(chain(told, paused), key=lambda span: (span.begin_ns, span.lane, span.row))
        )

    def points(self) -> tuple[Point, ...]:
        """All points by time."""
        told = chain.from_iterable(reader.points for reader in self._readers())
        return tuple(sorted(told, key=lambda point: (point.at_ns, point.lane)))

    def _readers(self) -> tuple[NodeReader | RunReader | ClientReader, ...]:
        return (*self._nodes.values(), *self._runs.values(), *self._clients.values())

    def _run(self, run_id: str) -> RunReader:
        if run_id not in self._runs:
            self._runs[run_id] = RunReader(len(self._runs) + 1, run_id)
        return self._runs[run_id]

    def _client(self, name: str) -> ClientReader:
        if name not in self._clients:
            self._clients[name] = ClientReader(len(self._clients) + 1, name)
        return self._clients[name]


def plain(detail: Detail) -> Value:
    """As people read it: bytes as hexadecimal digits, cut to what is enough to compare."""
    if isinstance(detail, bytes):
        return detail[:BYTES_SHOWN].hex()
    return "" if detail is None else detail


def pauses(band: Band) -> tuple[Span, ...]:
    """A stopped process is down for all the others, and yet alive."""
    return tuple(
        Span((NODE, node), 0, band.begin_ns, band.end_ns, "absence", "paused", node, ())
        for node in band.nodes
    )
