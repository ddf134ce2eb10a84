"""What clients asked and heard, and what must hold of it whatever goes wrong inside.

Every check takes what was recorded and costs as much as sorting it. Versions say what is newer, and
a delete begins them anew; so I14 and I20 make no claim across a delete. The search for an order
(``linearizability``, I18) does, and implies both: these checks are the quick ones, and say what is
wrong in a line.
"""

from bisect import bisect_right
from collections.abc import Container, Iterable, Mapping
from itertools import accumulate
from math import inf
from typing import Any, Final

from attrs import frozen

from flowactor.machine.replies import Moved, Rejected, Reply
from flowactor.simulation.failure import CheckFailed

__all__ = [
    "Deleted",
    "Held",
    "Mismatched",
    "Operation",
    "RepliedOnce",
    "Wrote",
    "by_key",
    "check_acknowledged_everywhere",
    "check_fresh_reads",
    "check_no_phantoms",
    "check_session_order",
    "describe",
    "final_reads",
]


# -- the record -----------------------------------------------------------------------------------


@frozen
class Operation:
    """One thing that a client asked, and what it heard.

    Of variables these are known, with arguments -> answer:

    - ``read`` () -> ``Held``
    - ``write`` (value,) -> ``Wrote``
    - ``delete`` () -> ``Deleted``
    - ``compare_and_set`` (expected version, value) -> ``Wrote`` or ``Mismatched``

    An operation of which it is certain that it never took effect is left out of a record.

    Attributes:
        client: who asked, from 1.
        number: its count of what it asked, from 1: with ``client``, names the operation.
        key: what it is about; operations of different keys have nothing to do with each other.
        what, arguments: the request.
        invoked_ns: when it was asked.
        returned_ns: when the answer came; None: none came, and it may take effect at any time after
            it was asked, or never. Of two moments only their order counts, and what happens at one
            moment happens at once: neither was before the other.
        answer: what came.
    """

    client: int
    number: int
    key: str
    what: str
    arguments: tuple[Any, ...]
    invoked_ns: int
    returned_ns: int | None = None
    answer: Any = None

    def __attrs_post_init__(self) -> None:
        assert self.returned_ns is None or self.returned_ns >= self.invoked_ns, self


@frozen
class Held:
    """What a variable was: value None and version 0 if it did not exist."""

    value: Any
    version: int


@frozen
class Wrote:
    """A write took effect and made this version."""

    version: int


@frozen
class Deleted:
    """``changed`` is False if there was nothing to delete."""

    changed: bool


@frozen
class Mismatched:
    """A compare-and-set changed nothing: the variable was at ``version``, if that was told."""

    version: int | None = None


def by_key(operations: Iterable[Operation]) -> dict[str, list[Operation]]:
    """The operations of each key in the order in which they were asked; keys sorted."""
    found: dict[str, list[Operation]] = {}
    for operation in operations:
        found.setdefault(operation.key, []).append(operation)
    return {
        key: sorted(found[key], key=lambda one: (one.invoked_ns, one.client, one.number))
        for key in sorted(found)
    }


def describe(operation: Operation) -> str:
    """One line: who, when, what, and what came of it."""
    arguments = ", ".join(map(repr, operation.arguments))
    begun, ended = operation.invoked_ns / 1e9, "..."
    if operation.returned_ns is not None:
        ended = f"{operation.returned_ns / 1e9:.9f}"
    answer = "unknown" if operation.returned_ns is None else repr(operation.answer)
    client = operation.client
    who = f"client {client:<3}" if client >= 0 else f"node {-client:<5}"
    return (
        f"  {who} #{operation.number:<4} {begun:.9f} - {ended:<12} s"
        f"  {operation.what}({arguments}) -> {answer}"
    )


# -- what is newer --------------------------------------------------------------------------------


def check_fresh_reads(operations: Iterable[Operation]) -> None:
    """I14: a read answers at least what was acknowledged before it was asked.

    Raises:
        CheckFailed: names the read, and the write it missed.
    """
    for history in by_key(operations).values():
        for stretch in _stretches(history):
            _check_not_older("I14", stretch, [one for one in stretch if _wrote(one)])


def check_session_order(operations: Iterable[Operation]) -> None:
    """I20: what one client reads never goes back, and never misses what that client wrote.

    Raises:
        CheckFailed: names the read, and what its client knew already.
    """
    for history in by_key(operations).values():
        for stretch in _stretches(history):
            clients: dict[int, list[Operation]] = {}
            for one in stretch:
                clients.setdefault(one.client, []).append(one)
            for own in clients.values():
                _check_not_older("I20", own, own)


def _wrote(operation: Operation) -> bool:
    return isinstance(operation.answer, Wrote)


def _stretches(history: Iterable[Operation]) -> list[list[Operation]]:
    """The reads and writes that were answered, split where a delete may have come between: within
    a stretch a higher version is a newer one.
    """
    history = list(history)
    deletes = [one for one in history if one.what == "delete"]
    begins = [one.invoked_ns for one in deletes]
    ends = list(accumulate((_end_of(one) for one in deletes), max))
    stretches: list[list[Operation]] = [[] for _ in range(len(deletes) + 1)]
    for one in history:
        if one.returned_ns is not None and isinstance(one.answer, Held | Wrote):
            before = bisect_right(begins, one.returned_ns)
            if not before or ends[before - 1] < one.invoked_ns:
                stretches[before].append(one)
    return stretches


def _end_of(operation: Operation) -> float:
    """When it can no longer take effect."""
    return inf if operation.returned_ns is None else operation.returned_ns


def _check_not_older(
    checker: str, stretch: Iterable[Operation], sources: Iterable[Operation]
) -> None:
    """Every read of ``stretch`` has at least the version of all ``sources`` answered before it."""
    known = sorted(sources, key=_end_of, reverse=True)
    newest: Operation | None = None
    for read in stretch:
        if not isinstance(read.answer, Held):
            continue
        while known and _end_of(known[-1]) < read.invoked_ns:
            one = known.pop()
            if newest is None or one.answer.version > newest.answer.version:
                newest = one
        if newest is not None and read.answer.version < newest.answer.version:
            raise CheckFailed(
                checker,
                f"{read.key!r}: a read shows version {read.answer.version}, but version"
                f" {newest.answer.version} was known before it was asked\n"
                f"{describe(newest)}\n{describe(read)}",
            )


# -- what is there at all -------------------------------------------------------------------------


def check_no_phantoms(operations: Iterable[Operation]) -> None:
    """I20: what a read shows, somebody had asked to write before the read was answered; and no
    version is higher than the number of writes that were asked for by then.

    Raises:
        CheckFailed: names the read.
    """
    for history in by_key(operations).values():
        writes = [one for one in history if one.what in ("write", "compare_and_set")]
        begins = [one.invoked_ns for one in writes]
        first: dict[Any, int] = {}
        for one in writes:
            if not isinstance(one.answer, Mismatched):
                first.setdefault(one.arguments[-1], one.invoked_ns)
        for read in history:
            if isinstance(read.answer, Held) and read.answer.version:
                asked = bisect_right(begins, _end_of(read))
                if first.get(read.answer.value, inf) > _end_of(read):
                    _phantom(read, "nobody had asked to write that value")
                if read.answer.version > asked:
                    _phantom(read, f"only {asked} writes had been asked for")


def _phantom(read: Operation, why: str) -> None:
    raise CheckFailed("I20", f"{read.key!r}: {why}\n{describe(read)}")


# -- what is there for ever -----------------------------------------------------------------------


def check_acknowledged_everywhere(
    acknowledged: Iterable[tuple[str, int]], applied: Mapping[int, Container[tuple[str, int]]]
) -> None:
    """I17: after healing, every acknowledged command is in every replica.

    Args:
        acknowledged: (session, sequence) of commands whose client heard that they took effect.
        applied: node -> the commands that it applied.

    Raises:
        CheckFailed: names the first command that is missing, and where.
    """
    for command in acknowledged:
        missing = [node for node in sorted(applied) if command not in applied[node]]
        if missing:
            session, sequence = command
            raise CheckFailed(
                "I17",
                f"sequence {sequence} of session {session!r} was acknowledged, and is missing on"
                f" node {', '.join(map(str, missing))}",
            )


def final_reads(
    replicas: Mapping[int, Mapping[str, Held]], keys: Iterable[str], at_ns: int
) -> list[Operation]:
    """I17 for values: what every replica holds in the end, as reads to be added to a history, where
    they must fit like any other. The client of a read is minus the number of the node.

    Args:
        replicas: node -> key -> what it holds of the variables that exist.
        keys: what to look at: every key of the history.
        at_ns: after all answers of the history.
    """
    return [
        Operation(-node, number, key, "read", (), at_ns, at_ns, held.get(key, Held(None, 0)))
        for node, held in sorted(replicas.items())
        for number, key in enumerate(sorted(keys), 1)
    ]


# -- what happens once ----------------------------------------------------------------------------


class RepliedOnce:
    """I19: a command of a client, named by (session, sequence), is applied once.

    Told what the machines answer, it finds a second application by its reply: another version, a
    run that was there already. One that would change no reply is for other checks to find.
    """

    def __init__(self) -> None:
        self._replies: Final[dict[tuple[str, int], tuple[int, int, Reply]]] = {}

    def applied(self, node: int, index: int, replies: Iterable[tuple[str, int, Reply]]) -> None:
        """``node`` applied the entry at ``index``, and its machine answered so.

        Raises:
            CheckFailed: the same command had another reply before.
        """
        for session, sequence, reply in replies:
            if not sequence or (isinstance(reply, Rejected) and reply.code == "SessionExpired"):
                continue  # sessions are opened under 0; what is forgotten is refused, not applied
            if isinstance(reply, Moved):
                continue  # another group is asked
            first = self._replies.setdefault((session, sequence), (node, index, reply))
            if first[2] != reply:
                raise CheckFailed(
                    "I19",
                    f"sequence {sequence} of session {session!r} was answered twice:"
                    f" {first[2]} at entry {first[1]} on node {first[0]},"
                    f" {reply} at entry {index} on node {node}",
                )
