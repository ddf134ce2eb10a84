"""The state machine of the management group: the committed log in, replies and notices out."""

from hashlib import blake2b
from typing import Any, TypeVar, assert_never, cast

from attrs import evolve, frozen

from flowactor.codec import records
from flowactor.identity import GroupId, NodeId, SessionId
from flowactor.machine.operations import Batch, ClientOperation, OpenSession
from flowactor.machine.replies import Done, Rejected, Reply
from flowactor.machine.sessions import Session, Sessions
from flowactor.management.groups import (
    advance,
    change_group,
    end_stillborn,
    follow_plan,
    found_cluster,
    report,
)
from flowactor.management.nodes import (
    admit,
    announce,
    bury_suspects,
    conclude_leaving,
    declare_liveness,
    next_burial_ns,
    pin,
    remove,
    settle_roles,
)
from flowactor.management.notices import (
    GroupsChanged,
    ManagementApplied,
    ManagementNotice,
    MovesChanged,
    NodesChanged,
    OperationIgnored,
    SettingsChanged,
    SlotsChanged,
)
from flowactor.management.operations import (
    AdmitNode,
    AdvanceMove,
    AnnounceMember,
    ChangeSettings,
    DeclareLiveness,
    FoundCluster,
    ManagementBody,
    ManagementOperation,
    ManagementRequest,
    PinNode,
    RemoveNode,
    ReportGroup,
)
from flowactor.management.replies import ManagementReply
from flowactor.management.settings import change_settings
from flowactor.management.slots import balance, next_overdue_ns, overdue_moves
from flowactor.management.state import (
    MANAGEMENT_GROUP,
    Group,
    Membership,
    Move,
    MoveId,
    Node,
    Report,
)
from flowactor.management.tables import read_clock_ns, read_topology, rows_of
from flowactor.ports import RowReader, RowWrite

__all__ = ["Management"]

K = TypeVar("K", bound=int)
V = TypeVar("V")


@frozen
class _Before:
    """The state before an entry, as far as notices need it: facts are replaced, never changed."""

    nodes: dict[NodeId, Node]
    groups: dict[GroupId, Group]
    reports: dict[GroupId, Report]
    moves: dict[MoveId, Move]
    slots_version: int
    others: tuple[Any, ...]


class Management:
    """Nodes, execution groups, slots and moves, as the log applied so far leaves them.

    Driven in the same way as ``flowactor.machine.Machine``; after each entry that changed something
    the planner has its say, so the state always is what the plan wants. Two machines that applied
    the same entries are equal, whatever happened between.

    Args:
        rows: the rows that earlier ``take_writes`` handed out; empty for a new cluster.

    Raises:
        StorageRefused: the rows are of a schema that this version does not know.
    """

    def __init__(self, rows: RowReader) -> None:
        self.topology = read_topology(rows)
        """For reading."""
        self._clock_ns = read_clock_ns(rows)
        self._sessions = Sessions(rows)
        fresh = rows.scan("settings") == []
        self._written = {} if fresh else self._rows()
        self._changed = False
        self._replies: list[tuple[SessionId, int, ManagementReply]] = []
        self._notices: list[ManagementNotice] = []

    # -- applying ---------------------------------------------------------------------------------

    def apply(self, index: int, term: int, batch: Batch) -> ManagementApplied:
        """Apply the committed log entry at ``index``, proposed in ``term``: first what has fallen
        due by its stamp, then its operations in order, then what the planner makes of that.
        """
        assert index > 0
        overdue = overdue_moves(self.topology, self._clock_ns)
        self._clock_ns = max(self._clock_ns, batch.stamp_ns)
        self._changed = True
        self._sessions.expire(self._clock_ns)
        before = self._remember()
        bury_suspects(self.topology, self._clock_ns)
        for operation in cast("tuple[ManagementOperation, ...]", batch.operations):
            self._perform(operation, term)
        is_overdue = overdue_moves(self.topology, self._clock_ns) != overdue
        if self._remember() != before or is_overdue:
            self._settle()
        self._note_changes(before)
        replies, self._replies = self._replies, []
        notices, self._notices = self._notices, []
        return ManagementApplied(tuple(replies), tuple(notices))

    def configured(self, index: int, voters: tuple[NodeId, ...]) -> ManagementApplied:  # noqa: ARG002
        """The members of group 0 changed. Its leader reports them, as those of any group; but who
        votes counts from here on: nobody may leave in between.
        """
        known = self.topology.reports.get(MANAGEMENT_GROUP)
        if known is None:
            return ManagementApplied((), ())
        learners = tuple(node for node in known.configuration.learners if node not in voters)
        members = Membership(tuple(sorted(voters)), learners)
        self.topology.reports[MANAGEMENT_GROUP] = evolve(known, configuration=members)
        self._changed = True
        return ManagementApplied((), (GroupsChanged((MANAGEMENT_GROUP,)),))

    def _perform(self, operation: ManagementOperation, term: int) -> None:
        topology = self.topology
        match operation:
            case ManagementRequest():
                self._perform_once(operation)
            case OpenSession(session):
                opened = self._sessions.open(operation, self._clock_ns)
                self._replies.append((session, 0, cast("ManagementReply", opened)))
            case AnnounceMember():
                self._note_ignored(operation, announce(topology, operation))
            case DeclareLiveness():
                reason = declare_liveness(topology, operation, term, self._clock_ns)
                self._note_ignored(operation, reason)
            case ReportGroup():
                self._note_ignored(operation, report(topology, operation))
            case AdvanceMove():
                self._note_ignored(operation, advance(topology, operation))
            case FoundCluster():
                self._note_ignored(operation, found_cluster(topology, operation))
            case _:
                assert_never(operation)

    def _perform_once(self, request: ManagementRequest) -> None:
        # Sessions look at the session, the sequence and what is acknowledged, never at the body,
        # and keep whatever record the reply is.
        admitted = self._sessions.admit(cast("ClientOperation", request), self._clock_ns)
        if isinstance(admitted, Session):
            reply = self._request(request.body)
            admitted.remember(request.sequence, cast("Reply", reply))
        else:
            reply = cast("ManagementReply", admitted)
        self._replies.append((request.session, request.sequence, reply))

    def _request(self, body: ManagementBody) -> ManagementReply:
        match body:
            case AdmitNode():
                return admit(self.topology, body)
            case RemoveNode():
                return remove(self.topology, body)
            case PinNode():
                return pin(self.topology, body)
            case ChangeSettings(changes):
                changed = change_settings(self.topology.settings, changes)
                if isinstance(changed, str):
                    return Rejected("InvalidInput", changed)
                before, self.topology.settings = self.topology.settings, changed
                return Done(changed=changed != before)
            case _:
                return change_group(self.topology, body, self._clock_ns)

    def _settle(self) -> None:
        """Let everything follow that follows from the state by itself."""
        end_stillborn(self.topology)
        follow_plan(self.topology)
        balance(self.topology, self._clock_ns)
        conclude_leaving(self.topology)
        settle_roles(self.topology)

    # -- notices ----------------------------------------------------------------------------------

    def _note_ignored(self, operation: ManagementOperation, reason: str) -> None:
        if reason:
            self._notices.append(OperationIgnored(type(operation).__name__, reason))

    def _remember(self) -> _Before:
        topology = self.topology
        return _Before(
            dict(topology.nodes),
            dict(topology.groups),
            dict(topology.reports),
            dict(topology.moves),
            topology.slots_version,
            (topology.settings, topology.feature_level),
        )

    def _note_changes(self, before: _Before) -> None:
        after = self._remember()
        if nodes := _differing(before.nodes, after.nodes):
            self._notices.append(NodesChanged(nodes))
        changed = {
            *_differing(before.groups, after.groups),
            *_differing(before.reports, after.reports),
        }
        if changed:
            self._notices.append(GroupsChanged(tuple(sorted(changed))))
        if moves := _differing(before.moves, after.moves):
            self._notices.append(MovesChanged(moves))
        if after.slots_version != before.slots_version:
            self._notices.append(SlotsChanged(after.slots_version))
        if after.others != before.others:
            self._notices.append(SettingsChanged())

    # -- reading ----------------------------------------------------------------------------------

    @property
    def clock_ns(self) -> int:
        """Log time: the highest stamp applied so far."""
        return self._clock_ns

    @property
    def next_due_ns(self) -> int | None:
        """When a suspect is given up, or a move is overdue; past until a batch is applied."""
        dues = next_burial_ns(self.topology), next_overdue_ns(self.topology, self._clock_ns)
        return min((due for due in dues if due is not None), default=None)

    # -- rows and digest --------------------------------------------------------------------------

    def take_writes(self) -> list[RowWrite]:
        """Every row that changed since the last call, once each. The reader given at construction
        must answer with these rows from here on.
        """
        if not self._changed:
            return []
        self._changed = False
        before, self._written = self._written, self._rows()
        writes = [RowWrite(*key, None) for key in before if key not in self._written]
        writes += [
            RowWrite(*key, values)
            for key, values in self._written.items()
            if before.get(key) != values
        ]
        return [*writes, *self._sessions.take_writes()]

    def _rows(self) -> dict[tuple[str, tuple[Any, ...]], tuple[Any, ...]]:
        rows = rows_of(self.topology, self._clock_ns)
        return {(table, key): values for table, key, values in rows}

    def digest(self) -> bytes:
        """32 bytes that are equal exactly if the states are."""
        state = (list(rows_of(self.topology, self._clock_ns)), self._sessions.digestible())
        return blake2b(records.encode_plain(state), digest_size=32).digest()


def _differing(before: dict[K, V], after: dict[K, V]) -> tuple[K, ...]:
    """The keys whose values are not the same, in order."""
    keys = sorted({*before, *after})
    return tuple(key for key in keys if before.get(key) != after.get(key))
