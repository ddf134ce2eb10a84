"""The SQL that keeps a declared table: how it is made, checked, read and written."""

from typing import Any, Final

import apsw

from flowactor.errors import StorageRefused
from flowactor.ports import Table

__all__ = ["TableSql", "create"]

# ruff: noqa: S608  # only names that the machine declares are put into SQL, and they are quoted


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


class TableSql:
    """Statements of one table; SQLite's own cache keeps them prepared.

    Attributes:
        get: the row of one full key.
        key_width: number of key columns, which come first in every row.
    """

    def __init__(self, table: Table) -> None:
        self._table: Final = _name(table.name)
        self._keys: Final = [_name(column) for column, _ in table.key]
        self.key_width: Final = len(table.key)
        self._row: Final = f"({', '.join('?' * (len(table.key) + len(table.columns)))})"
        self._key: Final = f"({', '.join('?' * len(table.key))})"
        self._scans: Final = [self._scan(width) for width in range(self.key_width + 1)]
        self.get: Final = self._scans[-1]

    def scan(self, width: int) -> str:
        """The rows whose first ``width`` key columns are given, in key order."""
        return self._scans[width]

    def put(self, rows: int) -> str:
        """Write this many rows, over what was there."""
        return f"INSERT OR REPLACE INTO {self._table} VALUES {', '.join([self._row] * rows)}"

    def delete(self, rows: int) -> str:
        """Delete the rows of this many keys; those that do not exist are no error."""
        keys = ", ".join(self._keys)
        listed = ", ".join([self._key] * rows)
        return f"DELETE FROM {self._table} WHERE ({keys}) IN (VALUES {listed})"

    def _scan(self, width: int) -> str:
        where = " AND ".join(f"{column} = ?" for column in self._keys[:width]) or "TRUE"
        return f"SELECT * FROM {self._table} WHERE {where} ORDER BY {', '.join(self._keys)}"


def create(connection: apsw.Connection, table: Table, where: str) -> None:
    """Make ``table`` and its indexes if they are missing.

    Raises:
        StorageRefused: it exists with other columns.
    """
    declared = [(*column, 1) for column in table.key] + [(*column, 0) for column in table.columns]
    found = [
        (name, kind, int(bool(key)))
        for name, kind, key in connection.execute(
            "SELECT name, type, pk FROM pragma_table_info(?) ORDER BY cid", (table.name,)
        )
    ]
    if found and found != declared:
        raise StorageRefused(
            f"{where}: the table {table.name} has the columns {_listed(found)}, this flowactor"
            f" keeps {_listed(declared)}: install the flowactor that wrote it again"
        )
    columns = [f"{_name(name)} {kind}" for name, kind in table.key + table.columns]
    key = ", ".join(_name(name) for name, _ in table.key)
    # STRICT: a value of another type would come back changed on one node and not on another.
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {_name(table.name)}"
        f" ({', '.join(columns)}, PRIMARY KEY ({key})) WITHOUT ROWID, STRICT"
    )
    for index in table.indexes:
        connection.execute(
            f"CREATE INDEX IF NOT EXISTS {_name('_'.join((table.name, 'by', *index)))}"
            f" ON {_name(table.name)} ({', '.join(map(_name, index))})"
        )


def _listed(columns: list[tuple[Any, ...]]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind, _ in columns)
