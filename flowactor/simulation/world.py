"""The world outside of the cluster: what steps do to it, and what survives every crash.

A step's effect on the world is the one thing that flowactor cannot take back, so a simulation keeps
its books: a *ledger* stands for a payment provider, a mail server, a shipping desk. The code of
steps reaches it through ``current_world``; the checks of a scenario are handed it.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final, Protocol

from attrs import frozen

from flowactor.errors import WorkflowMisuse
from flowactor.identity import describe_key
from flowactor.simulation.failure import CheckFailed
from flowactor.workflow import step_info

__all__ = ["Effect", "Ledger", "Place", "World", "at_place", "current_world"]


@frozen
class Effect:
    """One entry of a ledger.

    Attributes:
        key: the idempotency key that the caller gave, or an empty text.
        value: what was done, as the caller describes it.
        run_id, step, attempt: whose step did it.
        node: where it ran.
        at_ns: virtual time since the run of the simulation began.
    """

    key: str
    value: Any
    run_id: str
    step: str
    attempt: int
    node: int
    at_ns: int


class Place(Protocol):
    """Where code of a step runs: the process of one node, which may die at any ``await``."""

    @property
    def world(self) -> "World":
        """The world around it."""

    @property
    def node(self) -> int:
        """The node's number."""

    def now_ns(self) -> int:
        """Virtual time since the run of the simulation began."""

    async def pause(self, seconds: float) -> None:
        """Wait that long; None of it happens in a process that died meanwhile.

        Raises:
            BaseException: the process is dead. What its code does then, nobody sees.
        """


_PLACE: Final[ContextVar[Place]] = ContextVar("flowactor simulated place")


@contextmanager
def at_place(place: Place) -> Iterator[None]:
    """Code called in this context, and tasks started from it, run there."""
    token = _PLACE.set(place)
    try:
        yield
    finally:
        _PLACE.reset(token)


def _place(what: str) -> Place:
    place = _PLACE.get(None)
    if place is None:
        raise WorkflowMisuse(f"{what} works only in steps that run inside a simulation")
    return place


def current_world() -> "World":
    """The world of the simulation that the calling step runs in.

    Raises:
        WorkflowMisuse: it runs in none.
    """
    return _place("current_world()").world


class Ledger:
    """What was done to one thing outside, in order. It never forgets, whatever crashes.

    Args:
        name: what it stands for.
        told: called with each new entry and its number, from 1.
    """

    def __init__(self, name: str, told: Callable[["Ledger", Effect, int], None]) -> None:
        self.name: Final = name
        self.entries: Final[list[Effect]] = []
        self._told: Final = told
        self._first: Final[dict[str, int]] = {}

    async def record(self, value: Any = None, *, key: str = "", seconds: float = 0.0) -> int:
        """Do something to the world, from within a step. Returns the number of the entry.

        The process may die before it happens, and after it happened but before the step knows. With
        a ``key`` that was given before nothing is done again, and the number of the first entry
        comes back: so a provider behaves that takes idempotency keys.

        Args:
            value: what is done; kept as it is.
            key: the idempotency key, usually ``fa.step_info().idempotency_key``.
            seconds: how long it takes.

        Raises:
            WorkflowMisuse: not called from a step in a simulation.
        """
        place, info = _place(f"the ledger {self.name!r}"), step_info()
        await place.pause(seconds)
        number = self._first.get(key, 0) if key else 0
        if not number:
            step = describe_key(info.step)
            self.entries.append(
                Effect(key, value, info.run_id, step, info.attempt, place.node, place.now_ns())
            )
            number = len(self.entries)
            if key:
                self._first[key] = number
            self._told(self, self.entries[-1], number)
        await place.pause(0.0)
        return number

    @property
    def values(self) -> list[Any]:
        """What was done, in order."""
        return [effect.value for effect in self.entries]

    def check_each_step_once(self) -> None:
        """No step of any run did this more than once.

        Raises:
            CheckFailed: names the step, the attempts, and where they ran.
        """
        steps = Counter((effect.run_id, effect.step) for effect in self.entries)
        for (run_id, step), times in steps.items():
            if times > 1:
                found = [e for e in self.entries if (e.run_id, e.step) == (run_id, step)]
                listed = ", ".join(
                    f"attempt {e.attempt} on node {e.node} at {e.at_ns / 1e9:.3f} s" for e in found
                )
                raise CheckFailed(
                    f"ledger {self.name}",
                    f"step {step} of run {run_id} did it {times} times ({listed}). A step may be"
                    " executed again after a crash: pass key=fa.step_info().idempotency_key",
                )

    def check_each_value_once(self) -> None:
        """No value was recorded more than once.

        Raises:
            CheckFailed: names the value.
        """
        for number, effect in enumerate(self.entries):
            if any(effect.value == earlier.value for earlier in self.entries[:number]):
                raise CheckFailed(f"ledger {self.name}", f"{effect.value!r} happened twice")


class World:
    """All ledgers of one run, and the results of its workflows.

    Args:
        told: called with each new entry of a ledger and its number.
    """

    def __init__(self, told: Callable[[Ledger, Effect, int], None]) -> None:
        self._told: Final = told
        self._ledgers: Final[dict[str, Ledger]] = {}
        self._results: Final[dict[str, Any]] = {}
        self.results: Final[Mapping[str, Any]] = MappingProxyType(self._results)
        """workflow id -> what its run returned, or the error it raised; of those that ended."""

    def ledger(self, name: str) -> Ledger:
        """The ledger of this name; it is there from the first time it is asked for."""
        ledger = self._ledgers.get(name)
        if ledger is None:
            ledger = self._ledgers[name] = Ledger(name, self._told)
        return ledger

    @property
    def ledgers(self) -> Mapping[str, Ledger]:
        """Every ledger that was ever asked for."""
        return MappingProxyType(self._ledgers)

    @property
    def effects_ns(self) -> list[int]:
        """When there was a new entry in any ledger, in order."""
        return sorted(effect.at_ns for led in self._ledgers.values() for effect in led.entries)

    @property
    def failed(self) -> Mapping[str, int]:
        """The errors that runs ended with, and how many with each."""
        errors = (error for error in self._results.values() if isinstance(error, BaseException))
        return Counter(f"{type(error).__name__}: {error}" for error in errors)

    def ended(self, workflow_id: str, outcome: Any) -> None:
        """A run has ended; told by the simulator."""
        self._results[workflow_id] = outcome
