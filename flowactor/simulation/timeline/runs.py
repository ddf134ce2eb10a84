"""Reading runs and clients: a lane for each, in the order in which they came up."""

from typing import Final

from flowactor.simulation.timeline.facts import CLIENT, RUN, Lane, Point, Span, Value
from flowactor.simulation.timeline.rows import Rows
from flowactor.simulation.trace import Kind

__all__ = ["ClientReader", "RunReader"]

OPERATION_ROWS_MAX: Final = 6


class RunReader:
    """Reads the lines about one run. Several nodes may tell of one thing: the first counts.

    Args:
        number: its place among the runs.
        run_id: its id.
    """

    def __init__(self, number: int, run_id: str) -> None:
        self._key: Final = (RUN, number)
        self._run_id: Final = run_id
        self._title = run_id
        self._subtitle = ""
        self._owner: tuple[int, int, Value] | None = None
        self._position: Value = ""
        self._closed = False
        self.spans: Final[list[Span]] = []
        self.points: Final[list[Point]] = []

    def take(self, at_ns: int, kind: str, details: tuple[Value, ...]) -> None:
        """One more line, without its run id."""
        first, second, third, fourth = (*details, "", "", "", "")[:4]
        match kind:
            case Kind.OPENED:
                self._open(at_ns, str(first), str(second), third, fourth)
            case Kind.OWNER:
                self._take_owner(at_ns, first, second, third)
            case Kind.ADVANCED if first != self._position:
                self._position = first
                self._point(at_ns, kind, "", details)
            case Kind.CLOSED if not self._closed:
                self._closed = True
                self._point(at_ns, kind, str(first), details)
                self._end_owner(at_ns)
            case _:
                return

    def finish(self, end_ns: int) -> Lane:
        """The run of the simulation is over."""
        self._end_owner(end_ns)
        return Lane(self._key, self._title, self._subtitle, 0)

    def _point(self, at_ns: int, kind: str, form: str, details: tuple[Value, ...]) -> None:
        node = self._owner[1] if self._owner else 0
        self.points.append(Point(self._key, at_ns, kind, form, node, details))

    def _open(self, at_ns: int, workflow_id: str, name: str, owner: Value, index: Value) -> None:
        if self._subtitle:
            return
        self._title = workflow_id
        self._subtitle = f"{name} · {self._run_id}"
        if isinstance(owner, int) and owner and self._owner is None:
            self._owner = (at_ns, owner, "")
        self._point(at_ns, Kind.OPENED, "", (workflow_id, name, owner, index))

    def _take_owner(self, at_ns: int, owner: Value, epoch: Value, index: Value) -> None:
        if not isinstance(owner, int) or self._closed:
            return
        before = self._owner
        if before and before[1] == owner and before[2] in {"", epoch}:
            self._owner = (before[0], owner, epoch)
            return
        self._end_owner(at_ns)
        self._owner = (at_ns, owner, epoch)
        if before:
            self._point(at_ns, "moved", "", (before[1], owner, epoch, index))

    def _end_owner(self, at_ns: int) -> None:
        if self._owner:
            begin_ns, owner, epoch = self._owner
            details = (self._run_id, owner, epoch)
            self.spans.append(Span(self._key, 0, begin_ns, at_ns, "owner", "", owner, details))
            if self._closed:
                self._owner = None


class ClientReader:
    """Reads what one client asked, and what it heard.

    Args:
        number: the client's place among the clients.
        name: what it is called.
    """

    def __init__(self, number: int, name: str) -> None:
        self._key: Final = (CLIENT, number)
        self._name: Final = name
        self._rows: Final = Rows(OPERATION_ROWS_MAX)
        self._asked: Final[dict[Value, tuple[int, int, str, Value]]] = {}
        self.spans: Final[list[Span]] = []
        self.points: Final[list[Point]] = []

    def take(self, at_ns: int, kind: str, details: tuple[Value, ...]) -> None:
        """One more line, without its client."""
        number, second, third = (*details, "", "", "")[:3]
        known = self._asked.get(number)
        if kind == Kind.ASKED:
            begin_ns, row = known[:2] if known else (at_ns, self._rows.take(at_ns))
            self._asked[number] = (begin_ns, row, str(second), third or "")
        elif kind == Kind.ANSWERED and known:
            self._end(number, at_ns, "answered", second)

    def finish(self, end_ns: int) -> Lane:
        """The run of the simulation is over."""
        for number in list(self._asked):
            self._end(number, end_ns, "unanswered", "no answer")
        title = self._name if self._name.startswith("client") else f"client {self._name}"
        return Lane(self._key, title, "", len(self._rows))

    def _end(self, number: Value, at_ns: int, form: str, answer: Value) -> None:
        begin_ns, row, what, node = self._asked.pop(number)
        self._rows.leave(row, at_ns)
        details = (self._name, number, what, node, answer)
        colour = node if isinstance(node, int) else 0
        self.spans.append(Span(self._key, row, begin_ns, at_ns, "operation", form, colour, details))
