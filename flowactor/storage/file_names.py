"""What the files of a data directory are called, and which of them nobody needs any more.

A group's state is replaced by another file and never renamed: which one counts is its *generation*,
a number that ``log.db`` changes in the same transaction as the log. So there is no moment at which
log and state disagree, and whatever another generation has left behind can be deleted.
"""

import re
from collections.abc import Mapping
from typing import Final

from flowactor.identity import GroupId
from flowactor.ports import Disk

__all__ = [
    "LOG_FILE",
    "copy_file",
    "receipt_file",
    "remove_database",
    "remove_leftovers",
    "state_file",
]

LOG_FILE: Final = "log.db"
_BESIDE: Final = ("-journal", "-wal", "-shm")
_STATE: Final = re.compile(r"state-(\d+)(?:-(\d+))?\.db(?:-journal|-wal|-shm)?")
_INCOMING: Final = re.compile(r"incoming-(\d+)-(\d+)")
_COPY: Final = re.compile(r"copy-\d+-\d+-\d+\.db(?:-journal|-wal|-shm)?")


def state_file(group: GroupId, generation: int = 0) -> str:
    """The state of a group; generation 0 is the one that began with an empty log."""
    return f"state-{group}-{generation}.db" if generation else f"state-{group}.db"


def copy_file(group: GroupId, generation: int, number: int) -> str:
    """A copy of the state of that generation, to be sent; of no use to another process."""
    return f"copy-{group}-{generation}-{number}.db"


def receipt_file(group: GroupId, generation: int) -> str:
    """What has arrived of the state that is to become that generation."""
    return f"incoming-{group}-{generation}"


def remove_database(disk: Disk, name: str) -> None:
    """Delete a SQLite file that nobody has open, with what SQLite keeps beside it."""
    disk.remove(name)
    for suffix in _BESIDE:
        disk.remove(name + suffix)


def remove_leftovers(disk: Disk, generations: Mapping[GroupId, int]) -> list[str]:
    """At a start: delete copies, states that were replaced, and what was received in vain.

    Kept are the state of a group's generation and, while there is a receipt, the one after it: it
    can still be received to its end. Of groups that are not named nothing is touched but copies: a
    state whose log is gone is evidence.

    Args:
        disk: where.
        generations: ``LogStore.generations``.

    Returns: the names of what was deleted.
    """
    names = disk.names()
    leftovers = [name for name in names if _is_leftover(name, names, generations)]
    for name in leftovers:
        disk.remove(name)
    return leftovers


def _is_leftover(name: str, names: list[str], generations: Mapping[GroupId, int]) -> bool:
    state = _STATE.fullmatch(name)
    match = state or _INCOMING.fullmatch(name)
    if match is None:
        return _COPY.fullmatch(name) is not None
    group, generation = GroupId(int(match[1])), int(match[2] or 0)
    current = generations.get(group)
    if current is None or (state and generation == current):
        return False
    # Whatever is received for the next generation is worth keeping with its receipt only.
    return generation != current + 1 or receipt_file(group, generation) not in names
