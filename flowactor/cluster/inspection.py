"""Looking at a group from outside: lists, histories, the stream of events, the state of the
cluster.

Lists and events are SQL over the state file at its flushed index; a list flushes first, so it shows
what was acknowledged before it was asked for. Following events polls nothing: a follower that has
seen everything sleeps until the next flush.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import trio

from flowactor.cluster.group import GroupActor
from flowactor.cluster.instances import Instances
from flowactor.cluster.links import Links
from flowactor.cluster.requests import (
    ClusterView,
    EventPage,
    EventView,
    FollowEvents,
    GetHistory,
    GroupView,
    ListRuns,
    NodeView,
    RunPage,
    RunView,
    Value,
)
from flowactor.cluster.views import event_views, run_view
from flowactor.errors import InvalidInput, NotFound
from flowactor.identity import ClusterId, NodeId, RunId
from flowactor.limits import PAGE_BYTES_MAX, PAGE_ITEMS_MAX, REQUEST_NUMBER_MAX
from flowactor.machine.replies import RunStatus
from flowactor.machine.state import RunSummary

__all__ = ["Inspection"]

_EVENTS_SQL: Final = """
    SELECT h.run_id, r.workflow_id, h.log_index, h.ordinal, h.stamp_ns, h.node, h.data
    FROM history AS h JOIN runs AS r ON r.run_id = h.run_id
"""
_FOLLOW_SQL: Final = _EVENTS_SQL + "WHERE h.log_index >= ? ORDER BY h.log_index, h.ordinal LIMIT ?"
_HISTORY_SQL: Final = """
    SELECT number, run_id, ?, log_index, ordinal, stamp_ns, node, data
    FROM history WHERE run_id = ? AND
"""
_FORWARDS_SQL: Final = _HISTORY_SQL + "number >= ? ORDER BY number LIMIT ?"
_BACKWARDS_SQL: Final = _HISTORY_SQL + "number <= ? ORDER BY number DESC LIMIT ?"
_ROWS_READ: Final = 16
"""At once, of a history; each may hold megabytes."""
_MARKS_MAX: Final = 1000


class Inspection:
    """Answers what clients ask about a group and its cluster, from this node's own state.

    Args:
        version: of flowactor, shown in the status.
        links: the peers that are connected now.
    """

    def __init__(
        self,
        *,
        cluster: ClusterId,
        node: NodeId,
        version: str,
        addresses: Mapping[NodeId, str],
        group: GroupActor,
        instances: Instances,
        links: Links,
    ) -> None:
        self._cluster: Final = cluster
        self._node: Final = node
        self._version: Final = version
        self._addresses: Final = addresses
        self._group: Final = group
        self._instances: Final = instances
        self._links: Final = links
        # Where in a history the page before ended, so that the next one need not count from the
        # beginning: (run, events before the page) -> (row, events before that row).
        self._marks: Final[dict[tuple[RunId, int], tuple[int, int]]] = {}

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
        where = "WHERE (?1 = '' OR status = ?1) AND (?2 = '' OR type = ?2)"
        choice = (asked.status, asked.workflow_type)
        select = self._group.state.select
        ((total,),) = select(f"SELECT count(*) FROM runs {where}", choice)  # noqa: S608  # no outside text
        rows = select(
            f"SELECT run_id FROM runs {where} ORDER BY started_ns DESC, run_id LIMIT ?3 OFFSET ?4",  # noqa: S608
            (*choice, asked.limit, asked.offset),
        )
        summaries = [self._group.machine.find("", RunId(run_id)) for (run_id,) in rows]
        return RunPage(tuple(run_view(summary) for summary in summaries if summary), total)

    async def history(self, summary: RunSummary, asked: GetHistory) -> EventPage:
        """Events of one run after number ``asked.after``, or its newest."""
        await self._flushed()
        limit = max(1, min(asked.limit, PAGE_ITEMS_MAX))
        if asked.newest:
            page = self._newest(summary, limit)
        else:
            page = self._after(summary, max(0, asked.after), limit)
        return EventPage(tuple(page), *_cursor(page, 0, 0))

    def _after(self, run: RunSummary, after: int, limit: int) -> list[EventView]:
        begin, before = self._marks.get((run.run_id, after), (0, 0))
        reached = (begin, before)

        def events() -> Iterator[EventView]:
            nonlocal before, reached
            for number, views in self._rows(run, begin, _FORWARDS_SQL):
                reached = (number, before)
                yield from views[max(0, after - before) :]
                before += len(views)

        page = _fitting(events(), limit)
        if len(self._marks) >= _MARKS_MAX:
            self._marks.clear()
        self._marks[run.run_id, after + len(page)] = reached
        return page

    def _newest(self, run: RunSummary, limit: int) -> list[EventView]:
        rows = self._rows(run, REQUEST_NUMBER_MAX, _BACKWARDS_SQL)
        return _fitting((event for _, views in rows for event in reversed(views)), limit)[::-1]

    def _rows(self, run: RunSummary, row: int, sql: str) -> Iterator[tuple[int, list[EventView]]]:
        """Each row's number and events, from ``row`` on in the direction of ``sql``."""
        step = 1 if sql is _FORWARDS_SQL else -1
        while True:
            rows = self._group.state.select(sql, (run.workflow_id, run.run_id, row, _ROWS_READ))
            for number, *rest in rows:
                yield number, list(event_views(tuple(rest)))
            if len(rows) < _ROWS_READ:
                return
            row = rows[-1][0] + step

    async def follow(self, asked: FollowEvents) -> EventPage:
        """Events of all runs after the cursor, in the order of the log; waits for the first."""
        cursor = (asked.after_index, asked.after_ordinal)
        if asked.after_index < 0:
            await self._flushed()
            cursor = (self._group.state.applied_index + 1, -1)
        limit = max(1, min(asked.limit, PAGE_ITEMS_MAX))
        with trio.move_on_after(asked.wait_ms / 1000):
            while not (page := self._page(cursor, limit)):
                await self._group.next_flush()
            return EventPage(tuple(page), *_cursor(page, *cursor))
        return EventPage((), *cursor)

    def _page(self, cursor: tuple[int, int], limit: int) -> list[EventView]:
        """At most ``limit`` events after the cursor (one row may hold several of them)."""
        index, ordinal = cursor
        # Rows at the cursor's own log index may lie before it: skip those by reading past them.
        rows = self._group.state.select(_FOLLOW_SQL, (index, limit + max(0, ordinal) + 1))
        events = (event for row in rows for event in event_views(row))
        return _fitting((e for e in events if (e.index, e.ordinal) > cursor), limit)

    def cluster(self) -> ClusterView:
        """How the cluster looks from this node."""
        group, machine = self._group, self._group.machine
        status = group.progress()
        nodes = tuple(
            NodeView(
                node,
                address,
                reachable=node == self._node or self._links.connected(node),
                workflows=tuple(f"{name} v{version}" for name, version in known.workflows)
                if known
                else (),
                runs_owned=known.owned if known else 0,
            )
            for node, address in sorted(self._addresses.items())
            for known in (machine.nodes.get(node),)
        )
        lags = tuple(
            (peer, max(0, status.last_index - known.match_index)) for peer, known in status.peers
        )
        view = GroupView(
            group.group,
            status.role.value,
            status.term,
            status.leader,
            status.last_index,
            status.commit_index,
            group.applied,
            tuple(sorted(self._addresses)),
            lags,
        )
        return ClusterView(
            self._cluster, self._node, self._version, nodes, (view,), len(machine.runs)
        )

    async def _flushed(self) -> None:
        """Return once everything applied so far is in the state file."""
        target = self._group.applied
        while self._group.state.applied_index < target:
            await self._group.next_flush()


def _fitting(events: Iterable[EventView], limit: int) -> list[EventView]:
    """The first of these events: at most ``limit``, and as many as one message carries, at least
    one.
    """
    page: list[EventView] = []
    size = 0
    for event in events:
        size += len(event.payload) + len(event.detail)
        if page and size > PAGE_BYTES_MAX:
            break
        page.append(event)
        if len(page) >= limit:
            break
    return page


def _cursor(page: list[EventView], index: int, ordinal: int) -> tuple[int, int]:
    return (page[-1].index, page[-1].ordinal) if page else (index, ordinal)
