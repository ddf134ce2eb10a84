"""What goes on and on, as plain iterators: left at any time, with nothing to close.

Each asks for a page when the last one is used up. Nothing is dropped while the reader is slow: the
cursor is the reader's, and what it has not taken is still in the cluster's history.
"""

from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final, Generic, TypeVar

import trio
from attrs import frozen

from flowactor.client.caller import Caller, expect
from flowactor.cluster.requests import (
    EventPage,
    EventView,
    FollowEvents,
    GetHistory,
    VariableView,
    WatchVariable,
)
from flowactor.codec import payloads
from flowactor.machine.replies import RunStatus

__all__ = ["POLL_SECONDS", "TERMINAL_KINDS", "EventStream", "RunEventStream", "Versioned", "Watch"]

T = TypeVar("T")

POLL_SECONDS: Final = 10.0
"""How long a node holds one question before it says: nothing new."""
PAGE_EVENTS_MAX: Final = 500

TERMINAL_KINDS: Final = frozenset(status.value for status in RunStatus if not status.is_open)
"""The kinds of event that end a history."""


class EventStream(AsyncIterator[EventView]):
    """Events of all runs after a position, for ever; an index of -1 means from now on."""

    def __init__(self, caller: Caller, index: int, ordinal: int) -> None:
        self._caller = caller
        self._cursor = (index, ordinal)
        self._page: deque[EventView] = deque()

    async def __anext__(self) -> EventView:
        await trio.lowlevel.checkpoint()
        while not self._page:
            body = FollowEvents(*self._cursor, PAGE_EVENTS_MAX, int(POLL_SECONDS * 1000))
            page = expect(await self._caller.read(body, wait_seconds=POLL_SECONDS), EventPage)
            self._cursor = (page.next_index, page.next_ordinal)
            self._page.extend(page.events)
        return self._page.popleft()


class RunEventStream(AsyncIterator[EventView]):
    """One run's history from its start; with ``follow`` then what happens, until it has ended."""

    def __init__(self, caller: Caller, workflow_id: str, run_id: str, *, follow: bool) -> None:
        self._caller = caller
        self._workflow_id = workflow_id
        self._run_id = run_id
        self._follow = follow
        self._page: deque[EventView] = deque()
        self._place = (0, 0)
        self._last: EventView | None = None
        self._live: EventStream | None = None

    async def __anext__(self) -> EventView:
        await trio.lowlevel.checkpoint()
        if self._follow and self._last is not None and self._last.kind in TERMINAL_KINDS:
            raise StopAsyncIteration
        event = await self._recorded() if self._live is None else None
        while event is None:
            event = await self._next_live()
        self._last = event
        return event

    async def _recorded(self) -> EventView | None:
        """The next event of the history; None, once, when it is used up."""
        if not self._page:
            number, offset = self._place
            body = GetHistory(
                self._workflow_id, self._run_id, number, PAGE_EVENTS_MAX, offset=offset
            )
            page = expect(await self._caller.read(body), EventPage)
            self._page.extend(page.events)
            self._place = (page.next_index, page.next_ordinal)
        if self._page:
            event = self._page.popleft()
            self._run_id = event.run_id  # the id may get another run while this one is read
            return event
        if not self._follow:
            raise StopAsyncIteration
        last = self._last
        self._live = EventStream(self._caller, *((last.index, last.ordinal) if last else (0, 0)))
        return None

    async def _next_live(self) -> EventView | None:
        assert self._live is not None, "the history is read first"
        event = await anext(self._live)
        return event if event.run_id == self._run_id else None


@frozen
class Versioned(Generic[T]):
    """What a variable held at a version; ``value`` None with ``version`` 0: it does not exist."""

    value: T | None
    version: int


class Watch(AsyncIterator[Versioned[T]]):
    """A cluster variable's value now, then again after each change, for ever."""

    def __init__(self, caller: Caller, name: str, value_type: Any) -> None:
        self._caller = caller
        self._name = name
        self._type = value_type
        self._version = -1

    async def __anext__(self) -> Versioned[T]:
        await trio.lowlevel.checkpoint()
        while True:
            body = WatchVariable(self._name, self._version, int(POLL_SECONDS * 1000))
            answer = await self._caller.read(body, wait_seconds=POLL_SECONDS)
            view = expect(answer, VariableView)
            if view.version != self._version:
                self._version = view.version
                return versioned(view, self._type)


def versioned(view: VariableView, value_type: Any) -> Versioned[Any]:
    """A variable as its readers see it, decoded."""
    if view.value is None:
        return Versioned(None, 0)
    where = f"variable {view.name!r}"
    return Versioned(payloads.decode_payload(view.value, value_type, where), view.version)
