"""Reading what befell the world: faults, the phases of the run, and how it failed."""

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Final

from attrs import evolve

from flowactor.simulation.faults import Fault, end_of, kind_of, nodes_of, source_of
from flowactor.simulation.outcome import Failure
from flowactor.simulation.timeline.facts import Band, Phase, Value
from flowactor.simulation.timeline.rows import Rows
from flowactor.simulation.trace import Kind

__all__ = ["FAMILIES", "WorldReader"]

BAND_ROWS_MAX: Final = 8
HEALING: Final = "healing"
DONE: Final = "done"

FAMILIES: Final = {
    **dict.fromkeys(("crash", "power-cut", "pause", "wipe"), "process"),
    **dict.fromkeys(
        ("partition", "block", "slow-link", "loss", "duplicate", "reorder", "reset"), "network"
    ),
    **dict.fromkeys(("clock-offset", "clock-drift", "clock-jump"), "clock"),
    **dict.fromkeys(
        ("disk-slow", "disk-stall", "sync-error", "disk-full", "bit-flip", "misdirected-write"),
        "disk",
    ),
}
"""kind of fault -> what it is a fault of."""


class WorldReader:
    """Reads the lines of the world.

    Args:
        nodes: how many there are.
        faults: of the scenario.
    """

    def __init__(self, nodes: int, faults: Sequence[Fault]) -> None:
        self._all_nodes: Final = tuple(range(1, nodes + 1))
        self._faults: Final = tuple(faults)
        self._known: Final = {source_of(fault): fault for fault in faults}
        self._open: Final[defaultdict[str, deque[int]]] = defaultdict(deque)
        self._bands: Final[list[tuple[int, int | None, str, str]]] = []
        self._phases: Final[list[tuple[int, str]]] = []
        self.failure: Failure | None = None

    def take(self, at_ns: int, kind: str, details: tuple[Value, ...]) -> None:
        """One more line; kinds that are not about the world are ignored."""
        first, second, third = (*details, "", "", "")[:3]
        if kind == Kind.FAULT and third:
            self._open[str(second)].append(len(self._bands))
            self._bands.append((at_ns, None, str(first), str(second)))
        elif kind == Kind.FAULT and self._open[str(second)]:
            number = self._open[str(second)].popleft()
            begin_ns, _, word, source = self._bands[number]
            self._bands[number] = (begin_ns, at_ns, word, source)
        elif kind == Kind.PHASE:
            self._phases.append((at_ns, str(first)))
        elif kind == Kind.FAILED:
            self.failure = Failure(str(first), str(second), at_ns / 1e9)

    @property
    def over(self) -> bool:
        """Whether the last phase has ended: nodes that stop now stop because all do."""
        return bool(self._phases) and self._phases[-1][1] == DONE

    def phases(self, end_ns: int) -> tuple[Phase, ...]:
        """From the first to the last; each ends where the next begins."""
        ends = [at_ns for at_ns, _ in self._phases[1:]] + [end_ns]
        return tuple(
            Phase(begin_ns, until_ns, name)
            for (begin_ns, name), until_ns in zip(self._phases, ends, strict=False)
            if name != DONE and begin_ns < until_ns
        )

    def bands(self, end_ns: int) -> tuple[Band, ...]:
        """Faults that came to pass. A record that does not tell of faults is believed to have
        played those of the scenario.
        """
        healed = [at_ns for at_ns, name in self._phases if name in {HEALING, DONE}]
        last_ns = min([*healed, end_ns])
        told = self._bands or [self._planned(fault, last_ns) for fault in self._faults]
        bands, rows = [], Rows(BAND_ROWS_MAX)
        for begin_ns, until_ns, word, source in sorted(told, key=lambda band: band[0]):
            if begin_ns > end_ns:
                continue
            band = self._band(begin_ns, until_ns, word, source, last_ns)
            row = rows.take(begin_ns)
            rows.leave(row, max(band.end_ns, begin_ns + 1))
            bands.append(evolve(band, end_ns=min(band.end_ns, end_ns), row=row))
        return tuple(bands)

    def _planned(self, fault: Fault, last_ns: int) -> tuple[int, int | None, str, str]:
        until_ns = round(end_of(fault, last_ns / 1e9) * 1e9)
        return round(fault.at * 1e9), until_ns, kind_of(fault), source_of(fault)

    def _band(
        self, begin_ns: int, until_ns: int | None, word: str, source: str, last_ns: int
    ) -> Band:
        fault = self._known.get(source)
        if until_ns is None:
            lasts = last_ns if fault is None else round(end_of(fault, last_ns / 1e9) * 1e9)
            until_ns = max(begin_ns, lasts)
        nodes = nodes_of(fault) if fault else self._all_nodes
        family = FAMILIES.get(word, "process")
        return Band(begin_ns, until_ns, word, family, source or word, tuple(sorted(nodes)), 0)
