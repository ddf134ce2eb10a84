"""Whether every row of a log can still be found: asked once, when it is opened.

A checksum guards what a row says, and nobody misses a row that a wrong bit has hidden: in a key, in
the header of a record, in what a page says of its cells. At the end of a group that would be an
acknowledged entry lost, or a vote. So the whole file is looked at, in two ways:

- SQLite's ``quick_check`` knows pages and cells: what is used twice or by nobody, what is of the
  wrong type, what does not fit. It also guards what is written next, since a page that is wrongly
  called free would be given away.
- It does not know that indexes have no gaps. The rows of each group are counted here, and the ends
  are looked up once more as recovery looks them up, since a scan does not use the keys.

Payloads are not read; their checksums are verified whenever they are.
"""

from typing import Any

import apsw

from flowactor.errors import StorageCorrupt
from flowactor.storage.faults import KEEP

__all__ = ["refuse_hidden_rows"]


def refuse_hidden_rows(connection: apsw.Connection, where: str) -> None:
    """Read all pages of the log but those of long payloads: about 0.3 s for 100 MB of short
    entries in memory.

    Raises:
        StorageCorrupt: rows are missing or where they do not belong.
    """
    for (finding,) in _ask(connection, "PRAGMA quick_check(1)"):
        if finding != "ok":
            raise StorageCorrupt(f"{where} is damaged ({' '.join(finding.split())}): {KEEP}")
    starts: dict[Any, Any] = dict(_ask(connection, "SELECT grp, idx FROM start"))
    found = _ask(connection, "SELECT grp, count(*), min(idx), max(idx) FROM entry GROUP BY grp")
    for group, count, lowest, highest in found:
        start = starts.pop(group, 0)
        last = start + count - 1 if count > 1 else 0
        hard_states, looked_up = _ask(
            connection,
            "SELECT count(*) FROM entry WHERE grp = ?1 AND idx = 0"
            " UNION ALL SELECT max(idx) FROM entry WHERE grp = ?1",
            group,
        )
        if (hard_states, lowest, highest, looked_up) != ((1,), 0, last, (last,)):
            raise StorageCorrupt(
                f"{where}: rows of group {group} are missing or misplaced"
                f" ({count} rows with indexes {lowest} to {highest}, the log begins after {start});"
                f" {KEEP}"
            )
    if starts:
        raise StorageCorrupt(f"{where}: the rows of group {min(starts)} are missing; {KEEP}")


def _ask(connection: apsw.Connection, sql: str, *parameters: Any) -> list[Any]:
    rows: list[Any] = connection.execute(sql, parameters).fetchall()
    return rows
