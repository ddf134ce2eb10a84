"""Step bodies at core depth: tasks of their own, each part of one life of a node."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Final, TypeVarTuple

import trio

from flowactor.identity import RunId
from flowactor.simulation.core.heap import Heap
from flowactor.simulation.world import World, at_place
from flowactor.workflow import step_info

if TYPE_CHECKING:
    from flowactor.simulation.core.life import Life

__all__ = ["Bodies", "BodiesOf", "Place", "ProcessDied"]

Ts = TypeVarTuple("Ts")

MOMENT_SECONDS_MAX: Final = 0.25
"""What a moment in a step body takes at most; most take a few milliseconds."""
LATE_ODDS: Final = (0.0, 0.0, 0.1, 0.5)
"""That a body begins late, in one run or another: in half of them none does."""
LATE_SECONDS_MAX: Final = 1.0
"""How late it begins at most; half of them by less than a tenth of that."""


class ProcessDied(BaseException):
    """Raised in code whose process is dead: whatever it would do, nobody would see it."""


class Place:
    """The process of one life, as step bodies know it."""

    def __init__(self, life: "Life", world: World, heap: Heap, chance: Random) -> None:
        self.world: Final = world
        self.node: Final = life.node
        self._life: Final = life
        self._heap: Final = heap
        self._chance: Final = chance

    def now_ns(self) -> int:
        """See ``Place``."""
        return self._heap.now_ns

    async def pause(self, seconds: float) -> None:
        """See ``Place``. Every pause takes a moment more, so that the process may die in it."""
        self._life.point(RunId(step_info().run_id))
        await trio.sleep(seconds + self._chance.random() ** 4 * MOMENT_SECONDS_MAX)
        await self._life.when_running()


class Bodies:
    """The tasks of step bodies, over all lives: the only ones there are.

    In some runs processes have so much else to do that now and then a body has its first moment
    only a while after it was started.

    Args:
        nursery: of all bodies.
        chance: says whether such things happen, and when.
    """

    def __init__(self, nursery: trio.Nursery, chance: Random) -> None:
        self._nursery: Final = nursery
        self._chance: Final = chance
        self._late_odds: Final = chance.choice(LATE_ODDS)
        self.running = 0

    def start(
        self, life: "Life", async_fn: Callable[[*Ts], Awaitable[object]], args: tuple[*Ts]
    ) -> None:
        """Run a body as part of this life."""
        self.running += 1
        with at_place(life.place):
            self._nursery.start_soon(self._run, life, self._delay(), async_fn, args)

    def _delay(self) -> float:
        """In seconds; 0: the body begins at once."""
        if self._chance.random() >= self._late_odds:
            return 0.0
        return self._chance.random() ** 4 * LATE_SECONDS_MAX

    async def _run(
        self,
        life: "Life",
        delay: float,
        async_fn: Callable[[*Ts], Awaitable[object]],
        args: tuple[*Ts],
    ) -> None:
        scope = trio.CancelScope()
        life.scopes[scope] = None
        try:
            with scope, suppress(ProcessDied):
                if delay:
                    await _be_late(life, delay)
                await async_fn(*args)
        finally:
            del life.scopes[scope]
            self.running -= 1
            life.poke()


class BodiesOf:
    """The nursery of step bodies of one life."""

    def __init__(self, life: "Life", bodies: Bodies) -> None:
        self._life: Final = life
        self._bodies: Final = bodies

    def start_soon(
        self,
        async_fn: Callable[[*Ts], Awaitable[object]],
        /,
        *args: *Ts,
        name: object = None,  # noqa: ARG002  # tasks are told apart by their run and step
    ) -> None:
        """See ``Tasks``."""
        self._bodies.start(self._life, async_fn, args)


async def _be_late(life: "Life", seconds: float) -> None:
    """Let so much time pass before the first moment of a body; a process that is stopped meanwhile
    is as late again when it goes on.

    Raises:
        ProcessDied: it has ended.
    """
    await trio.sleep(seconds)
    while life.paused:
        await life.when_running()
        await trio.sleep(seconds)
    await life.when_running()
