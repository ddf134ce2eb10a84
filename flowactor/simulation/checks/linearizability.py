"""Linearizability: is there an order of the operations in which all their answers make sense?

The search is that of Wing and Gong in the form of Lowe ("Testing for linearizability", 2017, *just
in time*): it goes through the answers in the order in which they came, and lets an operation take
effect only when an answer needs it; what was seen before is remembered as (answer, operations that
took effect and are still open, state). Each key is a history of its own, for linearizability is
local (Herlihy and Wing 1990). It is depth first, without recursion, and needs no set order.

Four things keep it short, and none changes the verdict: what cannot change anything is placed as
soon as it fits; an open operation that would change nothing is left open, and so is one without
which the search was in the same place before; of open operations that ask for the same, the one
invoked first goes first; and a state too many steps from the next answer is not followed.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Final, Generic, Protocol, TypeVar

from attrs import evolve, frozen

from flowactor.errors import CallerError
from flowactor.simulation.checks.clients import (
    Deleted,
    Held,
    Mismatched,
    Operation,
    Wrote,
    by_key,
    describe,
)
from flowactor.simulation.failure import CheckFailed

__all__ = [
    "Model",
    "Register",
    "Undecided",
    "Violation",
    "check_linearizable",
    "find_violation",
]

CONFIGURATIONS_MAX: Final = 100_000
"""How many the search visits for one key; some seconds. Most histories need one per answer."""
EXPLAINING_MAX: Final = 3_000
"""How many it visits to find out what may be left out of a violation."""
COMPARISONS: Final = 100
"""With so many earlier ones in the same place, a configuration costs as much as one more."""
LINES_MAX: Final = 24
"""Operations shown of a violation."""

S = TypeVar("S")


class Model(Protocol[S]):
    """What one key is: a sequential specification. States are immutable and hashable."""

    def initial(self) -> S:
        """The state before every operation."""

    def step(self, state: S, operation: Operation) -> Sequence[S]:
        """The states there may be once ``operation`` has taken effect in ``state`` and was answered
        as it was. None: it cannot have been. Without an answer, any answer will do.
        """

    def changes(self, operation: Operation) -> bool:
        """False if ``operation``, answered as it was, can never change the state."""

    def distance(self, state: S, operation: Operation) -> int:
        """At least so many others must take effect in ``state`` before ``operation`` can be
        answered as it was; 0 if that is not known.
        """

    def simplified(self, history: Sequence[Operation]) -> Sequence[Operation]:
        """The same operations in the same places, with less to tell apart, where that makes no
        difference to whether they are linearizable. ``history`` itself will do.
        """


class Undecided(CallerError):
    """Too much was possible to look at all of it: too many operations of unknown outcome, or at
    once, on one key. Nothing is wrong with the history as far as was seen.
    """


@frozen
class Violation:
    """Why the operations of one key are not linearizable.

    Attributes:
        key: of all of them.
        operation: the first, in the order of answers, that fits into no order.
        prefix: it, and all that were invoked before its answer: the shortest prefix that is wrong.
            Of operations still under way there, the answers count that they got later.
        needed: of these, what cannot be left out: all that change something, and the reads without
            which an order could be found.
        states: what the key could be when that answer came, whatever the order; as texts.
        total: the number of operations there were.
    """

    key: str
    operation: Operation
    prefix: tuple[Operation, ...]
    needed: tuple[Operation, ...]
    states: tuple[str, ...]
    total: int

    def __str__(self) -> str:
        hidden = max(0, len(self.needed) - LINES_MAX)
        lines = [f"  ... {hidden} earlier ones"] if hidden else []
        lines += [
            describe(one) + ("   <-- fits nowhere" if one == self.operation else "")
            for one in self.needed[hidden:]
        ]
        return (
            f"{self.key!r}: no order of its operations explains their answers. The shortest prefix"
            f" that is wrong has {len(self.prefix)} of {self.total}; what matters of it:\n"
            + "\n".join(lines)
            + f"\n  when that answer came it was {' or '.join(self.states)}"
        )


def check_linearizable(
    operations: Iterable[Operation],
    model: "Model[Any] | None" = None,
    checker: str = "I18",
    configurations_max: int = CONFIGURATIONS_MAX,
) -> None:
    """All operations are linearizable, each key by itself.

    Args:
        operations: in any order; of any number of keys.
        model: what a key is; a ``Register`` if it is not given.
        checker: the name a failure goes by.
        configurations_max: how much may be tried for one key.

    Raises:
        CheckFailed: they are not; shows the shortest prefix of the first key that is wrong.
        Undecided: it would take too long to know.
    """
    model = Register() if model is None else model
    violation = find_violation(operations, model, configurations_max)
    if violation is not None:
        raise CheckFailed(checker, str(violation))


def find_violation(
    operations: Iterable[Operation],
    model: Model[S],
    configurations_max: int = CONFIGURATIONS_MAX,
) -> Violation | None:
    """The first key, in the order of keys, whose operations are not linearizable under ``model``.

    Raises:
        Undecided: it would take too long to know.
    """
    for key, history in by_key(operations).items():
        simplified = model.simplified(history)
        search = _Search(model, simplified, configurations_max)
        if not search.succeeds():
            return _explained(key, history, simplified, model, search)
    return None


# -- a register with versions ---------------------------------------------------------------------


class _Unread(Enum):
    """Stands for every value that nobody read: which of them it is makes no difference."""

    VALUE = "a value nobody read"

    def __repr__(self) -> str:
        return self.value


class Register:
    """A stand-alone variable as the machine keeps it: a value and a version, which counts writes.

    It does not exist at first: value None, version 0. A delete makes it so again, and versions
    begin at 1 once more. Requests and answers are those of ``checks.clients``; values are hashable.
    """

    def initial(self) -> Held:
        """A variable that is not there."""
        return Held(None, 0)

    def step(self, state: Held, operation: Operation) -> Sequence[Held]:
        """See ``Model``: one state, or none."""
        answer, arguments, version = operation.answer, operation.arguments, state.version
        match operation.what:
            case "read":
                return (state,) if answer is None or answer == state else ()
            case "write":
                after = Held(arguments[0], version + 1)
                return (after,) if answer is None or answer == Wrote(version + 1) else ()
            case "delete":
                fits = answer is None or answer == Deleted(changed=version > 0)
                return (Held(None, 0),) if fits else ()
            case "compare_and_set":
                expected, value = arguments
                if version == expected:
                    fits = answer is None or answer == Wrote(version + 1)
                    return (Held(value, version + 1),) if fits else ()
                fits = answer is None or answer in (Mismatched(version), Mismatched())
                return (state,) if fits else ()
            case other:
                raise AssertionError(f"a register knows no {other!r}")

    def changes(self, operation: Operation) -> bool:
        """See ``Model``."""
        return operation.what != "read" and not isinstance(operation.answer, Mismatched)

    def distance(self, state: Held, operation: Operation) -> int:
        """Versions go up one by one, or down by a delete."""
        match operation.answer:
            case Held(version=needed):
                if state == operation.answer:
                    return 0
                return needed - state.version if state.version < needed else needed + 1
            case Wrote(version=made):
                up = made - 1 - state.version
                return up if up >= 0 else made
            case _:
                return 0

    def simplified(self, history: Sequence[Operation]) -> Sequence[Operation]:
        """Values that nobody read become one value. A write of unknown outcome whose value was read
        at one version, and which nobody else wrote, was answered by that read.
        """
        versions: dict[Any, list[int]] = {}
        for operation in history:
            if isinstance(operation.answer, Held):
                known = versions.setdefault(operation.answer.value, [])
                if operation.answer.version not in known:
                    known.append(operation.answer.version)
        writers = Counter(one.arguments[-1] for one in history if one.arguments)
        return [_simplified(one, versions, writers) for one in history]


def _simplified(
    operation: Operation, versions: dict[Any, list[int]], writers: Counter[Any]
) -> Operation:
    if not operation.arguments:
        return operation
    *others, value = operation.arguments
    read_at = versions.get(value, ())
    if not read_at:
        return evolve(operation, arguments=(*others, _Unread.VALUE))
    if operation.returned_ns is None and len(read_at) == 1 and writers[value] == 1:
        return evolve(operation, answer=Wrote(read_at[0]))
    return operation


# -- the search -----------------------------------------------------------------------------------


@frozen
class _Candidate:
    """An operation under way.

    Attributes:
        bit: says, among those answered or among those never answered, that it took effect.
        changes: as the model says.
        twin: the bit of an earlier one that asks for the same and was never answered either, or 0.
    """

    bit: int
    operation: Operation
    changes: bool
    twin: int = 0


@frozen
class _Moment:
    """An answer came.

    Attributes:
        place: in the history, of the operation that was answered.
        now: that operation.
        answered: it and all others under way that were answered later, in the order of trial: what
            changes nothing comes first.
        open: under way and never answered, in the order of trial: what is rare first, then what is
            late, for most take effect soon or never.
        changing: the bits of those answered that may change something.
    """

    place: int
    now: _Candidate
    answered: tuple[_Candidate, ...]
    open: tuple[_Candidate, ...]
    changing: int


def _moments(model: Model[Any], history: Sequence[Operation]) -> list[_Moment]:
    """Every answer, in order. What was invoked at the moment of an answer was not yet after it. A
    bit is free again once its operation was answered.
    """
    events = [(one.invoked_ns, 0, place) for place, one in enumerate(history)]
    events += [
        (one.returned_ns, 1, place)
        for place, one in enumerate(history)
        if one.returned_ns is not None
    ]
    moments: list[_Moment] = []
    answered: dict[int, _Candidate] = {}
    opened: list[_Candidate] = []
    twins: dict[Any, int] = {}
    alike = Counter(_request(one) for one in history if one.returned_ns is None)
    free: list[int] = []
    for _, is_end, place in sorted(events):
        one = history[place]
        if is_end:
            now = answered.pop(place)
            ones = sorted([now, *answered.values()], key=lambda one: one.changes)
            left = sorted(opened, key=lambda one: (alike[_request(one.operation)], -one.bit))
            changing = sum(one.bit for one in ones if one.changes)
            moments.append(_Moment(place, now, tuple(ones), tuple(left), changing))
            free.append(now.bit)
        elif one.returned_ns is not None:
            bit = free.pop() if free else 1 << len(answered)
            answered[place] = _Candidate(bit, one, model.changes(one))
        elif model.changes(one):
            request, bit = _request(one), 1 << len(opened)
            opened.append(_Candidate(bit, one, changes=True, twin=twins.get(request, 0)))
            twins[request] = bit
    return moments


def _request(operation: Operation) -> tuple[Any, ...]:
    return operation.what, operation.arguments, operation.answer


_Configuration = tuple[int, int, int, S]
"""(number of the next answer, bits of the answered that took effect, of the open, state)"""


class _Search(Generic[S]):
    """One search through one history.

    Attributes:
        furthest: the first moment that no order gets past, once the search has failed.
        states: those that were possible there.
        visited: how many configurations it was in; it gives up beyond ``configurations_max``.
    """

    def __init__(
        self, model: Model[S], history: Sequence[Operation], configurations_max: int
    ) -> None:
        self._model: Final = model
        self._configurations_max: Final = configurations_max
        self._moments: Final = _moments(model, history)
        self._seen: Final[dict[tuple[int, int, S], list[int]]] = {}
        self.visited = 0
        self.furthest = -1
        self.states: dict[S, None] = {}

    @property
    def place(self) -> int:
        """Where in the history the operation stands whose answer nothing explains."""
        return self._moments[self.furthest].place

    def succeeds(self) -> bool:
        """Whether there is an order.

        Raises:
            Undecided: it gave up.
        """
        moments = self._moments
        waiting = [(0, 0, 0, self._model.initial())]
        while waiting:
            number, done, spent, state = waiting.pop()
            while number < len(moments) and done & moments[number].now.bit:
                done ^= moments[number].now.bit
                number += 1
            if number == len(moments):
                return True
            if number > self.furthest:
                self.furthest = number
                self.states.clear()
            if number == self.furthest:
                self.states[state] = None
            if self._is_new(number, done, spent, state):
                waiting += self._nexts(number, done, spent, state)
        return False

    def _is_new(self, number: int, done: int, spent: int, state: S) -> bool:
        """False if the search was here already, with as much left open or more."""
        before = self._seen.setdefault((number, done, state), [])
        if any(less & ~spent == 0 for less in before):
            return False
        self.visited += 1 + len(before) // COMPARISONS
        before.append(spent)
        if self.visited > self._configurations_max:
            raise Undecided(
                f"{self.visited} ways to order {len(self._moments)} answers were tried, and more"
                " are left: use more keys, or fewer operations of unknown outcome on one"
            )
        return True

    def _nexts(self, number: int, done: int, spent: int, state: S) -> list[_Configuration[S]]:
        """What may take effect next; the last of them is looked at first."""
        moment = self._moments[number]
        left = (moment.changing & ~done).bit_count() + len(moment.open) - spent.bit_count()
        if self._model.distance(state, moment.now.operation) > left:
            return []
        nexts: list[_Configuration[S]] = []
        step = self._model.step
        for one in moment.answered:
            if not one.bit & done:
                after = step(state, one.operation)
                if after and not one.changes:
                    return [(number, done | one.bit, spent, state)]
                nexts += [(number, done | one.bit, spent, new) for new in after]
        for one in moment.open:
            if not one.bit & spent and not one.twin & ~spent:
                after = step(state, one.operation)
                nexts += [(number, done, spent | one.bit, new) for new in after if new != state]
        nexts.reverse()
        return nexts


# -- what to say ----------------------------------------------------------------------------------


def _explained(
    key: str,
    history: Sequence[Operation],
    simplified: Sequence[Operation],
    model: Model[S],
    search: _Search[S],
) -> Violation:
    """Leaves out reads without which it is wrong all the same: all at once if that will do, else by
    halves, by quarters and so on, as long as that is not much work. What the model concludes from
    reads that are left out is not concluded.
    """
    last_ns = history[search.place].returned_ns
    assert last_ns is not None, "only an answer can be wrong"
    prefix = [place for place, one in enumerate(history) if one.invoked_ns <= last_ns]
    if not _fails(_searched(model, history, prefix, EXPLAINING_MAX)):
        prefix = list(range(len(history)))  # it was concluded from what was read later
    needed = prefix
    spare = [p for p in prefix if p != search.place and not model.changes(simplified[p])]
    size, effort = len(spare), EXPLAINING_MAX
    while size and effort > 0:
        left = []
        for first in range(0, len(spare), size):
            chunk = spare[first : first + size]
            fewer = [place for place in needed if place not in chunk]
            trial = _searched(model, history, fewer, effort)
            if effort > 0 and _fails(trial):
                needed = fewer
            else:
                left += chunk
            effort -= trial.visited
        spare, size = left, size // 2
    return Violation(
        key,
        history[search.place],
        tuple(history[place] for place in prefix),
        tuple(history[place] for place in needed),
        tuple(map(str, search.states)),
        len(history),
    )


def _searched(
    model: Model[S], history: Sequence[Operation], places: Sequence[int], effort: int
) -> _Search[S]:
    return _Search(model, model.simplified([history[place] for place in places]), effort)


def _fails(search: _Search[Any]) -> bool:
    try:
        return not search.succeeds()
    except Undecided:
        return False
