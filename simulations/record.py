"""What happened in a run, as stories ask for it: who led when, what clients heard, how it ended."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Final

from attrs import frozen

from flowactor.limits import NANOSECONDS
from flowactor.simulation.trace import Detail, Kind, Line

__all__ = ["Asked", "Led", "Owned", "Record"]


@frozen
class Led:
    """From this moment on a node led in this term."""

    at: float
    node: int
    term: int


@frozen
class Owned:
    """From this moment on a node performed a run."""

    at: float
    node: int
    epoch: int


@frozen
class Asked:
    """A request of a client. ``answer`` is empty if none came while the run lasted."""

    at: float
    client: int
    what: str
    answered_at: float = float("inf")
    answer: str = ""


class Record:
    """The whole record of one run. All times are in virtual seconds.

    Args:
        lines: of its trace.
    """

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines: Final = lines

    def _of(self, kind: str) -> Iterator[tuple[float, int, tuple[Detail, ...]]]:
        return (
            (at / NANOSECONDS, node, rest) for at, node, what, rest in self._lines if what == kind
        )

    @cached_property
    def roles(self) -> list[tuple[float, int, str, int]]:
        """(at, node, role, term), whenever one of them changed."""
        return [
            (at, node, str(rest[0]), _number(rest[1])) for at, node, rest in self._of(Kind.ROLE)
        ]

    @cached_property
    def leaders(self) -> list[Led]:
        """Every node that took the lead, in order."""
        led: dict[int, Led] = {}
        for at, node, role, term in self.roles:
            if role == "leader":
                led.setdefault(term, Led(at, node, term))
        return list(led.values())

    def term_at(self, at: float) -> int:
        """The highest term that any node knew then."""
        return max((term for when, _, _, term in self.roles if when <= at), default=0)

    def leader_at(self, at: float) -> int:
        """Who took the lead last before that; 0 if nobody had."""
        return next((led.node for led in reversed(self.leaders) if led.at <= at), 0)

    def last_commit(self, node: int, since: float, until: float) -> int:
        """The highest index that this node applied in that time; 0 if it applied none."""
        applied = self._of(Kind.COMMITTED)
        return max(
            (_number(rest[0]) for at, n, rest in applied if n == node and since < at <= until),
            default=0,
        )

    @cached_property
    def asked(self) -> list[Asked]:
        """What clients asked, in order."""
        answers = {
            (rest[0], rest[1]): (at, str(rest[2])) for at, _, rest in self._of(Kind.ANSWERED)
        }
        none = (float("inf"), "")
        return [
            Asked(at, _number(rest[0]), str(rest[2]), *answers.get((rest[0], rest[1]), none))
            for at, _, rest in self._of(Kind.ASKED)
        ]

    @cached_property
    def run_ids(self) -> dict[str, str]:
        """Workflow id -> id of its latest run."""
        return {str(rest[1]): str(rest[0]) for _, _, rest in self._of(Kind.OPENED)}

    @cached_property
    def closed(self) -> dict[str, tuple[float, str]]:
        """Workflow id -> when its latest run ended, and how."""
        ends = {rest[0]: (at, str(rest[1])) for at, _, rest in self._of(Kind.CLOSED)}
        return {name: ends[run_id] for name, run_id in self.run_ids.items() if run_id in ends}

    def owners(self, workflow_id: str) -> list[Owned]:
        """Who performed the latest run of this id, in order."""
        run_id = self.run_ids[workflow_id]
        opened = [
            Owned(at, _number(rest[3]), 1)
            for at, _, rest in self._of(Kind.OPENED)
            if rest[0] == run_id
        ]
        later = [
            Owned(at, _number(rest[1]), _number(rest[2]))
            for at, _, rest in self._of(Kind.OWNER)
            if rest[0] == run_id
        ]
        return [*opened, *later]

    def effects(self, ledger: str) -> list[tuple[float, int, str]]:
        """(at, node, key) of each entry of a ledger, in order; those that were asked for again
        once only.
        """
        return [
            (at, node, str(rest[1]))
            for at, node, rest in self._of(Kind.EFFECT)
            if rest[0] == ledger
        ]

    @cached_property
    def installed(self) -> list[tuple[float, int]]:
        """(at, node), whenever one took the state of another in place of entries that were gone."""
        return [(at, node) for at, node, _ in self._of(Kind.INSTALLED)]

    def started(self, node: int) -> list[float]:
        """When its processes were started."""
        return [at for at, n, _ in self._of(Kind.STARTED) if n == node]


def _number(detail: Any) -> int:
    assert isinstance(detail, int)
    return detail
