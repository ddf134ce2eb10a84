"""One simulated run as a picture before it is drawn: everything that can be shown, in order."""

from collections.abc import Iterable, Sequence
from typing import Final, Self

from attrs import frozen

from flowactor.simulation.faults import Fault
from flowactor.simulation.outcome import Failure
from flowactor.simulation.timeline.facts import Arrow, Band, Lane, Phase, Point, Span
from flowactor.simulation.timeline.reading import Reading
from flowactor.simulation.trace import Line

__all__ = ["Timeline"]

NANOSECONDS: Final = 1_000_000_000


@frozen(kw_only=True)
class Timeline:
    """What happened in one run.

    Attributes:
        title: what the run is called.
        seed: of its scenario, if it had one.
        nodes: how many there were.
        end_ns: virtual time at which it was over.
        lanes: from top to bottom: faults, nodes, runs, clients.
        spans, points: by time, those of one moment in the order of the record.
        arrows: messages, in the order in which they left.
        bands: faults that came to pass, in the order in which they began.
        phases: in order.
        failure: how it ended badly, if it did.
        lines: how many there were in the record.
    """

    title: str
    seed: int | None
    nodes: int
    end_ns: int
    lanes: tuple[Lane, ...]
    spans: tuple[Span, ...]
    points: tuple[Point, ...]
    arrows: tuple[Arrow, ...]
    bands: tuple[Band, ...]
    phases: tuple[Phase, ...]
    failure: Failure | None
    lines: int

    @classmethod
    def of(
        cls,
        lines: Iterable[Line],
        *,
        nodes: int,
        title: str,
        seed: int | None = None,
        faults: Sequence[Fault] = (),
        failure: Failure | None = None,
    ) -> Self:
        """Read the record of a run.

        Args:
            lines: of its trace, in order. Kinds that are missing are missing in the picture.
            nodes: how many nodes it had.
            title: what to call it.
            seed: of its scenario.
            faults: of its scenario: they tell which nodes a fault concerns.
            failure: what was wrong; otherwise the record may tell.
        """
        reading = Reading(nodes, faults)
        for line in lines:
            reading.take(line)
        failure = failure or reading.world.failure
        if failure is not None:
            reading.last_ns = max(reading.last_ns, round(failure.at_seconds * NANOSECONDS))
        end_ns = reading.last_ns
        bands = reading.world.bands(end_ns)
        return cls(
            title=title,
            seed=seed,
            nodes=nodes,
            end_ns=end_ns,
            lanes=reading.lanes(bands),
            spans=reading.spans(bands),
            points=reading.points(),
            arrows=reading.messages.finish(end_ns),
            bands=bands,
            phases=reading.world.phases(end_ns),
            failure=failure,
            lines=reading.lines,
        )

    @property
    def failed_ns(self) -> int:
        """When it failed, in virtual time; its end if it did not."""
        return self.end_ns if self.failure is None else round(self.failure.at_seconds * NANOSECONDS)
