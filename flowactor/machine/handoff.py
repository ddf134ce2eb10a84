"""The words of a hand-off: slots move, with all that is in them, from one group to another.

A *move* is numbered by whoever decides it, and numbers only grow: what a group knows of a slot is
never undone by an operation with a lower number. Each of these operations may come late, twice or
not at all; what it was decided on is checked when it is applied (``moving``).
"""

from hashlib import blake2b

from attrs import frozen

from flowactor.codec import records
from flowactor.codec.records import record
from flowactor.identity import GroupId, Slot

__all__ = [
    "ActivateSlots",
    "ExpectSlots",
    "ForgetSlots",
    "FreezeSlots",
    "ImportRows",
    "MoveOperation",
    "Progress",
    "ReleaseMove",
    "page_check",
]


@record(81)
@frozen
class FreezeSlots:
    """To the source: serve these slots no more, and keep what is in them as it is."""

    move: int
    slots: tuple[Slot, ...]
    source: GroupId
    target: GroupId


@record(82)
@frozen
class ExpectSlots:
    """To the target: pages of these slots will come."""

    move: int
    slots: tuple[Slot, ...]
    source: GroupId
    target: GroupId


@record(83)
@frozen
class Progress:
    """How much of a move has been copied. ``place`` is where the next page begins, ``check`` the
    digest of all pages so far.
    """

    pages: int = 0
    place: bytes = b""
    check: bytes = b""
    complete: bool = False


@record(84)
@frozen
class ImportRows:
    """To the target: one page. It counts only where ``after`` is what was copied before it."""

    move: int
    after: Progress
    rows: tuple[bytes, ...]
    then: Progress


@record(85)
@frozen
class ActivateSlots:
    """To the target: serve from here on what has come. The point of no return of a move."""

    move: int


@record(86)
@frozen
class ReleaseMove:
    """To the source and to the target: the move is given up, for good. The source serves again, the
    target is to forget what it was sent; where the move has not begun, it never will.
    """

    move: int
    slots: tuple[Slot, ...]


@record(87)
@frozen
class ForgetSlots:
    """To whoever holds rows of slots that it does not serve after the end of a move: delete the
    next portion of them.
    """

    move: int


MoveOperation = FreezeSlots | ExpectSlots | ImportRows | ActivateSlots | ReleaseMove | ForgetSlots


def page_check(after: Progress, rows: tuple[bytes, ...], place: bytes, complete: bool) -> bytes:
    """The digest of a page and, through ``after``, of all before it."""
    page = (after.pages, after.check, rows, place, complete)
    return blake2b(records.encode_plain(page), digest_size=16).digest()
