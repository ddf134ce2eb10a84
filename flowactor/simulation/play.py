"""The frame of every run, at both depths: faults, then healing, then rest, and what came of it."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Protocol

import trio
from attrs import field, frozen

from flowactor.limits import NANOSECONDS
from flowactor.simulation import healing
from flowactor.simulation.agenda import Agenda
from flowactor.simulation.healing import come_to_rest
from flowactor.simulation.outcome import Failure, Outcome
from flowactor.simulation.runtime import Runtime, collected_at_its_end, simulate
from flowactor.simulation.scenario import Act, Scenario
from flowactor.simulation.stage import Cast, Stage
from flowactor.simulation.trace import Kind, Trace

__all__ = ["Clients", "Cluster", "Play", "Time", "perform"]


class Cluster(Cast, healing.Cluster, Protocol):
    """All nodes of a run."""

    def open(self) -> None:
        """Start every process."""

    def close(self) -> None:
        """End those that are there."""


class Clients(healing.Clients, Protocol):
    """All clients of a run."""

    def begin(self, acts: Sequence[Act]) -> None:
        """Have every client do what it is to do, when it is to do it."""

    def heal(self, nodes: Collection[int]) -> None:
        """From now on these nodes answer; others may never."""


class Time(Agenda, healing.Time, Protocol):
    """Virtual time."""


@frozen
class Play:
    """A scenario at one depth.

    Attributes:
        stage: what both depths have in common.
        cluster, clients: who plays.
        time: of the run.
        count: how much has happened so far.
        waiting: see ``Outcome``; known at the good end of a run.
    """

    stage: Stage
    cluster: Cluster
    clients: Clients
    time: Time
    count: Callable[[], int]
    waiting: Counter[str] = field(factory=Counter, init=False)

    async def play(self) -> None:
        """From the beginning to the end.

        Raises:
            CheckFailed: something is not as it must be.
        """
        stage, scenario, healed = self.stage, self.stage.scenario, trio.Event()
        self.cluster.open()
        stage.enter(self.cluster)
        self.clients.begin(scenario.acts)
        self.time.at(round(scenario.seconds * NANOSECONDS), partial(self._heal, healed))
        try:
            await healed.wait()
            rest = await come_to_rest(
                self.cluster,
                self.clients,
                stage.judge,
                self.time,
                patience_seconds=scenario.healing_seconds,
                horizon_seconds=scenario.horizon_seconds,
            )
            rest.tell(stage.world, scenario.app)
            stage.leave()
            if rest.is_promised:
                self.waiting.update(stage.judge.runs.waiting())
        finally:
            self.cluster.close()

    def _heal(self, healed: trio.Event) -> None:
        self.clients.heal(self.stage.heal())
        healed.set()


Make = Callable[[Runtime, trio.Nursery, Trace], Play]


def perform(scenario: Scenario, make: Make, *, keep: bool) -> Outcome:
    """Play ``scenario`` in a run of its own, and say what came of it.

    Args:
        scenario: what to play.
        make: sets it up.
        keep: hold the lines of the record, for a timeline.

    Raises:
        Exception: the run could not even begin.
    """
    with collected_at_its_end():
        return _perform(scenario, make, Trace(keep=keep))


def _perform(scenario: Scenario, make: Make, trace: Trace) -> Outcome:
    begun: list[tuple[Play, Runtime]] = []

    async def main(runtime: Runtime) -> None:
        async with trio.open_nursery() as nursery:
            play = make(runtime, nursery, trace)
            begun.append((play, runtime))
            try:
                await play.play()
            except Exception as error:
                runtime.fail(error)  # which lets those end, too, that stand still
                raise
            nursery.cancel_scope.cancel()

    found: Exception | None = None
    try:
        simulate(main, seed=scenario.seed, deviations=scenario.deviations)
    except Exception as error:
        if not begun:
            raise
        found = error
    [(play, runtime)] = begun
    failure = None
    if found is not None:
        failure = Failure.of(found, runtime.failed_ns / NANOSECONDS)
        play.stage.judge.write(0, Kind.FAILED, failure.checker, failure.recorded)
    return Outcome(
        seed=scenario.seed,
        digest=trace.finish(),
        failure=failure,
        events=play.count(),
        virtual_seconds=runtime.time.now_ns / NANOSECONDS,
        marks=play.stage.marks.as_dict(),
        runs=len(play.stage.judge.runs.runs),
        waiting=dict(play.waiting),
        failed=play.stage.world.failed,
        effects=tuple(at_ns / NANOSECONDS for at_ns in play.stage.world.effects_ns),
        points=play.stage.points,
        lines=tuple(trace.lines),
    )
