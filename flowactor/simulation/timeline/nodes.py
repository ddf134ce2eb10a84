"""Reading what nodes did: lives, roles, entries, step bodies and what these did to the world."""

from typing import Final

from flowactor.simulation.timeline.facts import NODE, Lane, Point, Span, Value
from flowactor.simulation.timeline.rows import Rows
from flowactor.simulation.trace import Kind

__all__ = ["NodeReader"]

STEP_ROWS_MAX: Final = 6
STEP_STARTED: Final = "started"
STEP_FORMS: Final = {"completed": "completed", "cancelled": "cut short"}
"""What came of a step's body; every other word means that it failed."""

StepKey = tuple[Value, Value, Value]
"""(run id, step, attempt)."""


class NodeReader:
    """Reads the lines of one node.

    Args:
        node: its number.
    """

    def __init__(self, node: int) -> None:
        self._node: Final = node
        self._key: Final = (NODE, node)
        self._rows: Final = Rows(STEP_ROWS_MAX)
        self._steps: Final[dict[StepKey, tuple[int, int]]] = {}
        self._role: tuple[int, str, Value, Value] | None = None
        self._down: tuple[int, str] | None = None
        self._lived = False
        self.spans: Final[list[Span]] = []
        self.points: Final[list[Point]] = []

    def take(self, at_ns: int, kind: str, details: tuple[Value, ...]) -> None:
        """One more line; kinds that are not about nodes are ignored."""
        match kind:
            case Kind.STARTED:
                self._started(at_ns, details)
            case Kind.STOPPED:
                self._stopped(at_ns, details)
            case Kind.ROLE:
                self._take_role(at_ns, details)
            case Kind.STEP:
                self._take_step(at_ns, details)
            case Kind.COMMITTED | Kind.APPENDED | Kind.EFFECT:
                self._point(at_ns, kind, details)
            case _:
                return

    def finish(self, end_ns: int) -> Lane:
        """The run of the simulation is over: what lasts, lasts until here."""
        self._end_role(end_ns)
        if self._down:
            self._absence(end_ns)
        for key in list(self._steps):
            self._end_step(key, end_ns, "running", "not over at the end")
        return Lane(self._key, f"node {self._node}", "", len(self._rows))

    def _point(self, at_ns: int, kind: str, details: tuple[Value, ...]) -> None:
        self.points.append(Point(self._key, at_ns, kind, "", self._node, details))

    def _span(
        self, begin_ns: int, end_ns: int, kind: str, form: str, details: tuple[Value, ...], row: int
    ) -> None:
        self.spans.append(Span(self._key, row, begin_ns, end_ns, kind, form, self._node, details))

    def _started(self, at_ns: int, details: tuple[Value, ...]) -> None:
        if self._down is None and not self._lived:
            self._down = (0, "not started yet")
        if self._down:
            self._absence(at_ns)
        self._lived = True
        self._point(at_ns, Kind.STARTED, details)

    def _stopped(self, at_ns: int, details: tuple[Value, ...]) -> None:
        self._end_role(at_ns)
        for key in list(self._steps):
            self._end_step(key, at_ns, "cut short", "the node stopped")
        if self._down is None:
            self._down = (at_ns, str(details[0]) if details else "")
        self._lived = True

    def _absence(self, at_ns: int) -> None:
        assert self._down is not None
        begin_ns, why = self._down
        self._down = None
        if begin_ns < at_ns:
            self._span(begin_ns, at_ns, "absence", "down", (why,), 0)

    def _take_role(self, at_ns: int, details: tuple[Value, ...]) -> None:
        role, term, leader = (*details, "", "", "")[:3]
        known = self._role
        if known and (known[1], known[2]) == (role, term):
            self._role = (known[0], known[1], term, leader or known[3])
            return
        self._end_role(at_ns)
        self._role = (at_ns, str(role), term, leader)

    def _end_role(self, at_ns: int) -> None:
        if self._role:
            begin_ns, role, term, leader = self._role
            self._role = None
            self._span(begin_ns, at_ns, "role", role, (term, leader), 0)

    def _take_step(self, at_ns: int, details: tuple[Value, ...]) -> None:
        run_id, step, attempt, what = (*details, "", "", "", "")[:4]
        key = (run_id, step, attempt)
        if key not in self._steps:
            self._steps[key] = (at_ns, self._rows.take(at_ns))
        if what != STEP_STARTED:
            self._end_step(key, at_ns, STEP_FORMS.get(str(what), "failed"), str(what))

    def _end_step(self, key: StepKey, at_ns: int, form: str, outcome: str) -> None:
        begin_ns, row = self._steps.pop(key)
        self._rows.leave(row, at_ns)
        self._span(begin_ns, at_ns, "step", form, (*key, outcome), row)
