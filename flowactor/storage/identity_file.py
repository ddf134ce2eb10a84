"""Whose directory this is: read before anything else, written once.

A node that starts again learns from here which cluster it belongs to, which node it is, and where
its peers are. A directory of another node, another cluster or a newer flowactor is refused, because
a log that answers under a wrong name can elect two leaders.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import apsw
from attrs import field, frozen

from flowactor.errors import StorageCorrupt, StorageRefused
from flowactor.identity import ClusterId, NodeId
from flowactor.limits import STORAGE_VERSION
from flowactor.ports import Disk
from flowactor.storage.connecting import connected, transaction
from flowactor.storage.faults import KEEP, translated
from flowactor.storage.file_names import LOG_FILE

__all__ = ["IDENTITY_FILE", "Identity", "open_identity", "read_identity", "remember"]

IDENTITY_FILE: Final = "identity.db"
_COLUMNS: Final = "(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
_SCHEMA: Final = {name: f"TABLE {name} {_COLUMNS}" for name in ("identity", "fact")}


def _frozen_mapping(facts: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(sorted(facts.items())))


@frozen
class Identity:
    """Attributes:
    cluster, node: whose directory it is.
    created_ns: wall clock when it was first used.
    facts: what else its node wants to know at the next start, such as the addresses of its peers.
    """

    cluster: ClusterId
    node: NodeId
    created_ns: int
    facts: Mapping[str, str] = field(factory=dict, converter=_frozen_mapping)


def read_identity(disk: Disk) -> Identity | None:
    """Who this directory belongs to; None if it was never used.

    Raises:
        StorageRefused: written by a newer flowactor, or the identity is gone and the log is not.
        StorageCorrupt: the file is damaged.
    """
    if not disk.exists(IDENTITY_FILE):
        _refuse_orphan(disk)
        return None
    where = f"{disk.describe()}/{IDENTITY_FILE}"
    with translated(where):
        connection = _connect(disk)
        try:
            tables = _mapping(connection, "SELECT name, sql FROM sqlite_schema")
            # A crash before the first commit leaves an empty file: never used.
            if not tables:
                _refuse_orphan(disk)
                return None
            if tables != {name: f"CREATE {definition}" for name, definition in _SCHEMA.items()}:
                raise StorageCorrupt(f"{where} does not hold the tables of an identity: {KEEP}")
            rows = _mapping(connection, "SELECT key, value FROM identity")
            facts = _mapping(connection, "SELECT key, value FROM fact")
        finally:
            connection.close()
    try:
        version = int(rows["storage_version"])
        found = Identity(
            ClusterId(rows["cluster"]), NodeId(int(rows["node"])), int(rows["created_ns"]), facts
        )
    except (KeyError, ValueError, TypeError) as error:
        raise StorageCorrupt(f"{where} is damaged ({error!r}): {KEEP}") from error
    if version > STORAGE_VERSION:
        raise StorageRefused(
            f"{disk.describe()} was written with storage version {version}, this flowactor knows"
            f" up to {STORAGE_VERSION}: install the newer flowactor again"
        )
    return found


def open_identity(
    disk: Disk, cluster: ClusterId, node: NodeId, now_ns: int, facts: Mapping[str, str]
) -> Identity:
    """The directory's identity: made from the arguments on first use, checked against them later.

    ``facts`` are kept on first use only; see ``remember``. Returns what is on the disk.

    Raises:
        StorageRefused: it belongs to another cluster or node, or to a newer flowactor.
        StorageCorrupt: the file is damaged.
    """
    found = read_identity(disk)
    if found is None:
        fresh = Identity(cluster, node, now_ns, facts)
        _create(disk, fresh)
        return fresh
    if (found.cluster, found.node) != (cluster, node):
        raise StorageRefused(
            f"{disk.describe()} belongs to node {found.node} of cluster {found.cluster!r}, but this"
            f" is node {node} of cluster {cluster!r}: start that node here, or give this one a"
            " directory of its own"
        )
    return found


def remember(disk: Disk, facts: Mapping[str, str]) -> None:
    """Durably replace these facts of an identity that exists; others stay."""
    with translated(f"{disk.describe()}/{IDENTITY_FILE}"):
        connection = _connect(disk)
        try:
            with transaction(connection):
                connection.executemany("INSERT OR REPLACE INTO fact VALUES (?, ?)", facts.items())
        finally:
            connection.close()


def _mapping(connection: apsw.Connection, sql: str) -> dict[str, str]:
    rows: list[Any] = connection.execute(sql).fetchall()
    return dict(rows)


def _connect(disk: Disk) -> apsw.Connection:
    connection = connected(disk, IDENTITY_FILE)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
    connection.execute("PRAGMA synchronous = EXTRA").fetchall()
    return connection


def _create(disk: Disk, identity: Identity) -> None:
    rows = {
        "storage_version": STORAGE_VERSION,
        "cluster": identity.cluster,
        "node": identity.node,
        "created_ns": identity.created_ns,
    }
    with translated(f"{disk.describe()}/{IDENTITY_FILE}"):
        connection = _connect(disk)
        try:
            with transaction(connection):
                for definition in _SCHEMA.values():
                    connection.execute(f"CREATE {definition}")
                connection.executemany("INSERT INTO identity VALUES (?, ?)", rows.items())
                connection.executemany("INSERT INTO fact VALUES (?, ?)", identity.facts.items())
        finally:
            connection.close()


def _refuse_orphan(disk: Disk) -> None:
    if disk.exists(LOG_FILE):
        raise StorageRefused(
            f"{disk.describe()} holds a log ({LOG_FILE}) but not whose it is ({IDENTITY_FILE}):"
            f" restore that file; {KEEP}"
        )
