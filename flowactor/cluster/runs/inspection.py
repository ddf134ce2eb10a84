"""Looking at a group from outside: lists, histories, the stream of events.

Lists and events are SQL over the state file at its flushed index; a list flushes first, so it shows
what was acknowledged before it was asked for. Following events polls nothing: a follower that has
seen everything sleeps until the next flush.
"""

from typing import Final

import trio

from flowactor.cluster.group.actor import ExecutionGroup
from flowactor.cluster.protocol.requests import (
    EventPage,
    EventPlace,
    EventView,
    ExportHistory,
    FollowedEvents,
    FollowEvents,
    GetHistory,
    HistoryPart,
    ListRuns,
    RunPage,
    RunView,
    Value,
)
from flowactor.cluster.runs.instances import Instances
from flowactor.cluster.runs.views import HistoryRow, event_bytes, event_views, run_view
from flowactor.errors import InvalidInput, NotFound
from flowactor.identity import RunId
from flowactor.limits import PAGE_BYTES_MAX, PAGE_ITEMS_MAX, REQUEST_NUMBER_MAX
from flowactor.machine.replies import RunStatus
from flowactor.machine.state import RunSummary
from flowactor.machine.tables import LISTED
from flowactor.storage import StateFiles

__all__ = ["Inspection"]

_ROWS_READ: Final = 16
"""History rows read at once: each may hold megabytes, and decoding them holds up the node."""
_LAST_ORDINAL: Final = 2**31
"""More than an entry of the log has."""

_SELECT_SQL: Final = """
    SELECT h.number, h.run_id, r.workflow_id, h.log_index, h.ordinal, h.stamp_ns, h.node, h.data
    FROM history AS h JOIN runs AS r ON r.run_id = h.run_id
"""
_FOLLOW_SQL: Final = (
    _SELECT_SQL  # noqa: S608  # no outside text
    + """WHERE (h.log_index, h.ordinal) >= (?1, ifnull(
        (SELECT max(ordinal) FROM history WHERE log_index = ?1 AND ordinal <= ?2), ?2
    )) ORDER BY h.log_index, h.ordinal LIMIT ?3"""
)
"""From the row on that holds the fact at (log index, ordinal), as one row may hold many."""
_HISTORY_SQL: Final = _SELECT_SQL + "WHERE h.run_id = ? AND h.number > ? ORDER BY h.number LIMIT ?"
_NEWEST_SQL: Final = (
    _SELECT_SQL + "WHERE h.run_id = ? AND h.number < ? ORDER BY h.number DESC LIMIT ?"
)


class Inspection:
    """Answers what clients ask about a group, from this node's own state.

    Args:
        states: the rows of the group, to be searched.
    """

    def __init__(
        self,
        *,
        group: ExecutionGroup,
        instances: Instances,
        states: StateFiles,
    ) -> None:
        self._group: Final = group
        self._instances: Final = instances
        self._states: Final = states

    def run(self, summary: RunSummary) -> RunView:
        """One run with what is pending in it."""
        live = self._group.machine.runs.get(summary.run_id)
        return run_view(summary, live, self._instances.diverged(summary.run_id))

    def run_variable(self, summary: RunSummary, name: str) -> Value:
        """The committed value of a run's variable, also after the run is closed.

        Raises:
            NotFound: the run has set no such variable (yet); those it has are named.
        """
        variables = self._group.machine.run_variables(summary.run_id)
        if name not in variables:
            known = ", ".join(sorted(variables)) or "none"
            raise NotFound(f"run {summary.workflow_id} has no variable {name!r}; it has: {known}")
        return Value(variables[name])

    async def list_runs(self, asked: ListRuns) -> RunPage:
        """A page of runs, newest first.

        Raises:
            InvalidInput: no such status, or a page beyond its limits.
        """
        known = [status.value for status in RunStatus]
        if asked.status and asked.status not in known:
            raise InvalidInput(f"no status {asked.status!r}; there are: {', '.join(known)}")
        if not 0 < asked.limit <= PAGE_ITEMS_MAX or asked.offset < 0:
            raise InvalidInput(f"limit must be 1 to {PAGE_ITEMS_MAX}, offset 0 or more")
        await self._flushed()
        where = f"WHERE (?1 = '' OR status = ?1) AND (?2 = '' OR type = ?2) AND {LISTED}"
        choice = (asked.status, asked.workflow_type)
        select = self._states.current.select
        ((total,),) = select(f"SELECT count(*) FROM runs {where}", choice)  # noqa: S608  # no outside text
        rows = select(
            f"SELECT run_id FROM runs {where} ORDER BY started_ns DESC, run_id LIMIT ?3 OFFSET ?4",  # noqa: S608
            (*choice, asked.limit, asked.offset),
        )
        summaries = [self._group.machine.find("", RunId(run_id)) for (run_id,) in rows]
        return RunPage(tuple(run_view(summary) for summary in summaries if summary), total)

    async def history(self, summary: RunSummary, asked: GetHistory) -> EventPage:
        """Events of one run after the place asked for, or its newest; waits for the first of them
        while the run is open here.
        """
        deadline = trio.current_time() + asked.wait_ms / 1000
        while True:
            is_open = summary.run_id in self._group.machine.runs
            await self._flushed()
            page = _Page(asked.limit)
            if asked.newest:
                answer = await self._newest(summary.run_id, page)
            else:
                answer = await self._recorded(summary.run_id, asked.after, asked.offset, page)
            if answer.events or not is_open or trio.current_time() >= deadline:
                return answer
            with trio.move_on_at(deadline):
                await self._group.next_flush()

    async def _recorded(self, run_id: RunId, number: int, offset: int, page: "_Page") -> EventPage:
        while rows := self._rows(_HISTORY_SQL, run_id, number):
            for row in rows:
                for event in event_views(row, self._group.group):
                    fact = event.ordinal - row.ordinal + 1
                    if fact > offset:
                        if not page.take(event):
                            return page.ending_at(number, offset)
                        offset = fact
                number, offset = row.number, 0
            await trio.lowlevel.checkpoint()
        return page.ending_at(number, offset)

    async def _newest(self, run_id: RunId, page: "_Page") -> EventPage:
        number, group = REQUEST_NUMBER_MAX, self._group.group
        while rows := self._rows(_NEWEST_SQL, run_id, number):
            for row in rows:
                if not all(map(page.take, reversed(list(event_views(row, group))))):
                    return page.reversed()
                number = row.number
            await trio.lowlevel.checkpoint()
        return page.reversed()

    async def export(self, summary: RunSummary, asked: ExportHistory) -> HistoryPart:
        """Rows of one run's history as they are kept, as many bytes as fit a page."""
        await self._flushed()
        newest = self._rows(_NEWEST_SQL, summary.run_id, REQUEST_NUMBER_MAX)[0].number
        number, offset = asked.after, max(0, asked.offset)
        pieces: list[bytes] = []
        room = PAGE_BYTES_MAX
        while room and (rows := self._rows(_HISTORY_SQL, summary.run_id, number)):
            for row in rows:
                piece = row.data[offset : offset + room]
                pieces.append(piece)
                room -= len(piece)
                offset += len(piece)
                if offset < len(row.data) or len(pieces) == PAGE_ITEMS_MAX:
                    room = 0
                if offset >= len(row.data):
                    number, offset = row.number, 0
                if not room:
                    break
            await trio.lowlevel.checkpoint()
        return HistoryPart(
            summary.run_id, summary.started_ns, newest, tuple(pieces), number, offset
        )

    async def follow(self, asked: FollowEvents) -> FollowedEvents:
        """Events of all runs of this group after a place, in the order of the log; waits for the
        first.
        """
        deadline = trio.current_time() + asked.wait_ms / 1000
        known = {place.group: (place.index, place.ordinal) for place in asked.places}
        place = known.get(self._group.group, (0, 0))
        if asked.from_now:
            await self._flushed()
            place = (self._states.current.applied_index, _LAST_ORDINAL)
        while True:
            page = _Page(asked.limit)
            place = await self._after(place, page)
            if page.events or asked.from_now or trio.current_time() >= deadline:
                return FollowedEvents(page.events, (EventPlace(self._group.group, *place),))
            with trio.move_on_at(deadline):
                await self._group.next_flush()

    async def _after(self, place: tuple[int, int], page: "_Page") -> tuple[int, int]:
        """Put on the page what there is after a place, as far as it fits. Returns the place of the
        last row read: rows may show nothing, however many.
        """
        is_last = False
        while not is_last:
            rows = self._rows(_FOLLOW_SQL, *place)
            for row in rows:
                for event in event_views(row, self._group.group):
                    if (event.index, event.ordinal) > place:
                        if not page.take(event):
                            return place
                        place = (event.index, event.ordinal)
                place = max(place, (row.log_index, row.ordinal))
            is_last = len(rows) < _ROWS_READ
            if not is_last:
                await trio.lowlevel.checkpoint()
        return place

    def _rows(self, sql: str, *parameters: str | int) -> list[HistoryRow]:
        rows = self._states.current.select(sql, (*parameters, _ROWS_READ))
        return list(map(HistoryRow._make, rows))

    async def _flushed(self) -> None:
        """Return once everything applied so far is in the state file."""
        target = self._group.applied
        while self._states.current.applied_index < target:
            await self._group.next_flush()


class _Page:
    """Events for one answer: as many as it may have, and as a message carries, but at least one."""

    def __init__(self, limit: int) -> None:
        self._left = max(1, min(limit, PAGE_ITEMS_MAX))
        self._bytes_left = PAGE_BYTES_MAX
        self._events: list[EventView] = []

    def take(self, event: EventView) -> bool:
        """Add an event. Returns False if there is no room for it."""
        self._left -= 1
        self._bytes_left -= event_bytes(event)
        fits = self._left >= 0 and self._bytes_left >= 0
        if fits or not self._events:
            self._events.append(event)
            return True
        return False

    @property
    def events(self) -> tuple[EventView, ...]:
        return tuple(self._events)

    def ending_at(self, number: int, offset: int) -> EventPage:
        return EventPage(self.events, number, offset)

    def reversed(self) -> EventPage:
        """Of events that were taken from the newest on; there is no place to go on from."""
        return EventPage(tuple(reversed(self._events)), 0, 0)
