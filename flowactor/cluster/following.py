"""Following what happens in all groups of a cluster as one stream.

Each group is asked for what comes after the place that the reader has reached in it; if none has
anything yet, all are waited for at once, and the first that has wakes the reader. A group that
cannot answer now holds up nobody: the reader's place in it stays where it is.
"""

from collections.abc import Awaitable, Callable, Iterable
from heapq import merge
from typing import Final

import trio
from attrs import evolve

from flowactor.cluster.protocol.requests import (
    Answer,
    EventView,
    FollowedEvents,
    FollowEvents,
    Request,
)
from flowactor.cluster.runs.service import refusal_of
from flowactor.cluster.runs.views import event_bytes
from flowactor.errors import FlowactorError, Unavailable
from flowactor.identity import GroupId
from flowactor.limits import PAGE_BYTES_MAX
from flowactor.machine.replies import Rejected

__all__ = ["Following"]

_LATE_SECONDS: Final = 0.5
"""A group whose nodes are frozen is not waited for any longer than this."""
_LOOK_SECONDS: Final = 1.0
"""So soon is a new group asked, too."""


class Following:
    """Merges what the groups tell.

    Args:
        groups: the execution groups there are.
        ask: has one of them answer; raises ``FlowactorError`` if it cannot.
    """

    def __init__(
        self,
        groups: Callable[[], Iterable[GroupId]],
        ask: Callable[[Request, GroupId], Awaitable[Answer]],
    ) -> None:
        self._groups: Final = groups
        self._ask: Final = ask

    async def follow(self, request: Request, asked: FollowEvents) -> Answer:
        """Events of all groups, or where to go on from."""
        deadline = trio.current_time() + asked.wait_ms / 1000
        answers = await self._ask_all(request, evolve(asked, wait_ms=0))
        while not asked.from_now and _is_quiet(answers) and trio.current_time() < deadline:
            left_ms = int((deadline - trio.current_time()) * 1000)
            answers = await self._ask_all(request, evolve(asked, wait_ms=left_ms))
        if asked.from_now and answers.keys() != set(self._groups()):
            # Of a group that has not said where it stands, everything would be told.
            return refusal_of(Unavailable("a group of the cluster cannot say what is new now"))
        return _merged(asked, answers)

    async def _ask_all(self, request: Request, asked: FollowEvents) -> dict[GroupId, Answer]:
        """What each group answered. With something to wait for, those that did until the first had
        events, or there were other groups.
        """
        groups = sorted(self._groups())
        answers: dict[GroupId, Answer] = {}
        with trio.move_on_after(asked.wait_ms / 1000 + _LATE_SECONDS):
            async with trio.open_nursery() as nursery:

                async def ask(group: GroupId) -> None:
                    onward = evolve(request, group=group, body=asked)
                    try:
                        answers[group] = await self._ask(onward, group)
                    except FlowactorError as error:
                        answers[group] = refusal_of(error)
                    told = asked.wait_ms and any(map(_events, answers.values()))
                    if told or len(answers) == len(groups):
                        nursery.cancel_scope.cancel()

                for group in groups:
                    nursery.start_soon(ask, group)
                while sorted(self._groups()) == groups:  # noqa: ASYNC110  # the end cancels this
                    await trio.sleep(_LOOK_SECONDS)
                nursery.cancel_scope.cancel()
        return answers


def _events(answer: Answer) -> tuple[EventView, ...]:
    return answer.events if isinstance(answer, FollowedEvents) else ()


def _is_quiet(answers: dict[GroupId, Answer]) -> bool:
    """Whether there is nothing to tell, and somebody who will say when there is."""
    told = [answer for answer in answers.values() if isinstance(answer, FollowedEvents)]
    return not any(map(_events, told)) and (bool(told) or not answers)


def _merged(asked: FollowEvents, answers: dict[GroupId, Answer]) -> Answer:
    """One answer of those of the groups: the oldest news first, as much as a message carries."""
    refused = [answer for answer in answers.values() if isinstance(answer, Rejected)]
    told = [answer for answer in answers.values() if isinstance(answer, FollowedEvents)]
    if refused and (asked.from_now or not told):
        return refused[0]
    places = {place.group: place for place in asked.places}
    pages: list[tuple[EventView, ...]] = []
    room, left = PAGE_BYTES_MAX, asked.limit
    for answer in sorted(told, key=_first_stamp):
        room -= sum(map(event_bytes, answer.events))
        left -= len(answer.events)
        if not any(pages) or (room >= 0 and left >= 0):
            pages.append(answer.events)
            places.update((place.group, place) for place in answer.places)
    events = merge(*pages, key=lambda event: event.stamp_ns)
    return FollowedEvents(tuple(events), tuple(places[group] for group in sorted(places)))


def _first_stamp(answer: FollowedEvents) -> int:
    return answer.events[0].stamp_ns if answer.events else 0
