"""What goes on and on, as plain iterators: left at any time, with nothing to close.

Each asks for a page when the last one is used up. Nothing is dropped while the reader is slow: the
cursor is the reader's, and what it has not taken is still in the cluster's history.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final, Generic, TypeVar

import trio
from attrs import frozen

from flowactor.client.caller import Caller, expect
from flowactor.cluster.protocol.requests import (
    EventPage,
    EventPlace,
    EventView,
    FollowedEvents,
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
    """Events of all runs after some places, for ever; or of what happens from now on.

    Each is told by the group in which it happened, in the order of that group's log; events of
    different groups come in the order of the groups' own times, as far as they are there yet.
    """

    def __init__(self, caller: Caller, after: Iterable[EventPlace], *, from_now: bool) -> None:
        self._caller = caller
        self._places = {place.group: place for place in after}
        self._ahead = tuple(self._places.values())  # where the page that is being read ends
        self._from_now = from_now
        self._page: deque[EventView] = deque()

    @property
    def places(self) -> tuple[EventPlace, ...]:
        """What has been read: begin another stream with it to go on from here."""
        return tuple(self._places.values())

    async def __anext__(self) -> EventView:
        await trio.lowlevel.checkpoint()
        while not self._page:
            body = FollowEvents(
                self._ahead, PAGE_EVENTS_MAX, int(POLL_SECONDS * 1000), self._from_now
            )
            answer = await self._caller.read(body, wait_seconds=POLL_SECONDS)
            page = expect(answer, FollowedEvents)
            self._from_now, self._ahead = False, page.places
            self._page.extend(page.events)
            if not page.events:
                self._reach(page.places)
        event = self._page.popleft()
        self._reach(
            (EventPlace(event.group, event.index, event.ordinal),) if self._page else self._ahead
        )
        return event

    def _reach(self, places: Iterable[EventPlace]) -> None:
        self._places.update((place.group, place) for place in places)


class RunEventStream(AsyncIterator[EventView]):
    """One run's history from its start; with ``follow`` then what happens, until it has ended."""

    def __init__(self, caller: Caller, workflow_id: str, run_id: str, *, follow: bool) -> None:
        self._caller = caller
        self._workflow_id = workflow_id
        self._run_id = run_id
        self._wait_seconds = POLL_SECONDS if follow else 0.0
        self._page: deque[EventView] = deque()
        self._place = (0, 0)
        self._last_kind = ""

    async def __anext__(self) -> EventView:
        await trio.lowlevel.checkpoint()
        if self._last_kind in TERMINAL_KINDS:
            raise StopAsyncIteration
        while not self._page:
            await self._turn_page()
            if not self._page and not self._wait_seconds:
                raise StopAsyncIteration
        event = self._page.popleft()
        self._run_id = event.run_id  # the id may get another run while this one is read
        self._last_kind = event.kind
        return event

    async def _turn_page(self) -> None:
        number, offset = self._place
        body = GetHistory(
            self._workflow_id,
            self._run_id,
            number,
            PAGE_EVENTS_MAX,
            offset=offset,
            wait_ms=int(self._wait_seconds * 1000),
        )
        answer = await self._caller.read(body, wait_seconds=self._wait_seconds)
        page = expect(answer, EventPage)
        self._page.extend(page.events)
        self._place = (page.next_after, page.next_offset)


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
