"""One simulated run as a picture before it is drawn: everything that can be shown, in order."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final, Self

from attrs import frozen

from flowactor.simulation.faults import Fault
from flowactor.simulation.outcome import Failure
from flowactor.simulation.timeline.axis import Axis, Quiet, quiet_stretches
from flowactor.simulation.timeline.facts import Arrow, Band, Lane, Phase, Point, Span
from flowactor.simulation.timeline.reading import Reading
from flowactor.simulation.timeline.wording import counted, virtual_text
from flowactor.simulation.trace import Line

__all__ = ["Timeline", "facts_of"]

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
        quiet: long stretches in which nothing happened, by time.
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
    quiet: tuple[Quiet, ...]
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
        lanes = reading.lanes(bands)
        spans, points = reading.spans(bands), reading.points()
        arrows, phases = reading.messages.finish(end_ns), reading.world.phases(end_ns)
        moments = chain(
            (0, end_ns),
            (point.at_ns for point in points),
            *((arrow.sent_ns, arrow.received_ns) for arrow in arrows),
            *((span.begin_ns, span.end_ns) for span in spans),
            *((band.begin_ns, band.end_ns) for band in bands),
            *((phase.begin_ns, phase.end_ns) for phase in phases),
        )
        return cls(
            title=title,
            seed=seed,
            nodes=nodes,
            end_ns=end_ns,
            lanes=lanes,
            spans=spans,
            points=points,
            arrows=arrows,
            bands=bands,
            phases=phases,
            quiet=quiet_stretches(moments),
            failure=failure,
            lines=reading.lines,
        )

    @property
    def axis(self) -> Axis:
        """That of the whole run."""
        return Axis.of(self.quiet, 0, self.end_ns)

    @property
    def failed_ns(self) -> int:
        """When it failed, in virtual time; its end if it did not."""
        return self.end_ns if self.failure is None else round(self.failure.at_seconds * NANOSECONDS)


def facts_of(timeline: Timeline) -> list[str]:
    """What the run was, for a heading: its seed and how much there was of everything."""
    seed = [] if timeline.seed is None else [f"seed {timeline.seed}"]
    return [
        *seed,
        counted(timeline.nodes, "node"),
        virtual_text(timeline.end_ns),
        counted(timeline.lines, "line"),
        counted(len(timeline.bands), "fault"),
    ]
