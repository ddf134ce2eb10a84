"""The linearizability checker: histories whose verdict is known, and those that were made up."""

from itertools import permutations
from random import Random

import pytest
from attrs import evolve
from hypothesis import assume, given
from hypothesis import strategies as st

from flowactor.simulation.checks.clients import Deleted, Held, Mismatched, Operation, Wrote
from flowactor.simulation.checks.linearizability import (
    Register,
    Undecided,
    check_linearizable,
    find_violation,
)
from flowactor.simulation.failure import CheckFailed


def history(*rows):
    """Operations of clients, each from one row: client, invoked, returned, request, answer."""
    return [
        Operation(client, number, "x", request[0], request[1:], invoked, returned, answer)
        for number, (client, invoked, returned, request, answer) in enumerate(rows, 1)
    ]


def write(client, invoked, returned, value, version=None):
    return client, invoked, returned, ("write", value), version and Wrote(version)


def read(client, invoked, returned, value=None, version=0):
    return client, invoked, returned, ("read",), Held(value, version)


def swap(client, invoked, returned, expected, value, answer=None):
    return client, invoked, returned, ("compare_and_set", expected, value), answer


def delete(client, invoked, returned, changed=None):
    return client, invoked, returned, ("delete",), None if changed is None else Deleted(changed)


GOOD = {
    "nothing at all": [],
    "a read of what nobody wrote": [read(1, 0, 1)],
    "one after the other": [write(1, 0, 1, "a", 1), read(2, 2, 3, "a", 1)],
    "a read during a write sees it": [write(1, 0, 9, "a", 1), read(2, 2, 3, "a", 1)],
    "a read during a write does not see it": [write(1, 0, 9, "a", 1), read(2, 2, 3)],
    "two writes at once in either order": [
        write(1, 0, 9, "a", 2),
        write(2, 1, 8, "b", 1),
        read(3, 10, 11, "a", 2),
    ],
    "what happens at one moment is at once": [write(1, 0, 5, "a", 1), read(2, 5, 6)],
    "a write of unknown outcome that happened late": [
        write(1, 0, None, "a"),
        read(2, 10, 11),
        read(2, 20, 21, "a", 1),
    ],
    "a write of unknown outcome that never happened": [
        write(1, 0, None, "a"),
        write(2, 10, 11, "b", 1),
        read(2, 20, 21, "b", 1),
    ],
    "a write of unknown outcome that only its version shows": [
        write(1, 0, None, "a"),
        write(2, 10, 11, "b", 2),
    ],
    "of two swaps one succeeds": [
        swap(1, 0, 9, 0, "a", Mismatched(1)),
        swap(2, 0, 9, 0, "b", Wrote(1)),
    ],
    "a mismatch that does not say with what": [
        write(1, 0, 1, "a", 1),
        swap(2, 2, 3, 0, "b", Mismatched()),
    ],
    "a swap of unknown outcome that failed": [
        swap(1, 0, None, 7, "a"),
        write(2, 10, 11, "b", 1),
    ],
    "versions begin anew after a delete": [
        write(1, 0, 1, "a", 1),
        write(1, 2, 3, "b", 2),
        delete(1, 4, 5, changed=True),
        read(1, 6, 7),
        write(1, 8, 9, "c", 1),
        swap(1, 10, 11, 1, "d", Wrote(2)),
    ],
    "a delete of unknown outcome explains an old version": [
        write(1, 0, 1, "a", 1),
        delete(2, 2, None),
        write(1, 4, 5, "b", 2),
        write(1, 6, 7, "c", 1),
    ],
    "a delete and a write of unknown outcome explain what is read": [
        write(1, 0, 1, "a", 1),
        write(1, 2, 3, "b", 2),
        delete(2, 4, None),
        write(3, 4, None, "c"),
        read(1, 10, 11, "c", 1),
    ],
    "of two of unknown outcome the later is needed later": [
        write(1, 0, 1, "a", 1),
        swap(2, 2, None, 1, "s"),
        write(3, 3, None, "g"),
        write(1, 10, 11, "b", 3),
        write(1, 20, 21, "c", 5),
    ],
    "of two of unknown outcome the earlier is needed later": [
        write(1, 0, 1, "a", 1),
        write(3, 2, None, "g"),
        swap(2, 3, None, 1, "s"),
        write(1, 10, 11, "b", 3),
        write(1, 20, 21, "c", 5),
    ],
    "a delete of nothing": [delete(1, 0, 1, changed=False), read(1, 2, 3)],
    "an old value again": [
        write(1, 0, 1, "a", 1),
        write(1, 2, 3, "b", 2),
        write(1, 4, 5, "a", 3),
        read(2, 6, 7, "a", 3),
    ],
}

BAD = {
    "stale read": [
        write(1, 0, 1, "a", 1),
        write(1, 2, 3, "b", 2),
        read(2, 4, 5, "a", 1),
    ],
    "lost update": [
        write(1, 0, 1, "a", 1),
        swap(1, 2, 9, 1, "b", Wrote(2)),
        swap(2, 2, 9, 1, "c", Wrote(2)),
    ],
    "both create": [swap(1, 0, 9, 0, "a", Wrote(1)), swap(2, 1, 8, 0, "b", Wrote(1))],
    "split brain: two writers, each with its own versions": [
        write(1, 0, 1, "a", 1),
        write(2, 2, 3, "b", 1),
        read(1, 4, 5, "a", 1),
        read(2, 4, 5, "b", 1),
    ],
    "a value that nobody wrote": [write(1, 0, 1, "a", 1), read(2, 2, 3, "z", 1)],
    "a value from the future": [read(2, 0, 1, "a", 1), write(1, 2, 3, "a", 1)],
    "a value lost after it was read": [
        write(1, 0, None, "a"),
        read(2, 1, 2, "a", 1),
        read(2, 3, 4),
    ],
    "reads go back while the write is under way": [
        write(1, 0, 99, "a", 1),
        read(2, 1, 2, "a", 1),
        read(3, 3, 4),
    ],
    "two readers see two writes in two orders": [
        write(1, 0, 99, "a", 1),
        write(2, 0, 99, "b", 2),
        read(3, 1, 2, "a", 1),
        read(4, 3, 4, "b", 2),
        read(3, 5, 6, "a", 1),
    ],
    "a write of unknown outcome that shows up, vanishes and shows up again": [
        write(1, 0, 1, "a", 1),
        write(2, 2, None, "b"),
        read(3, 4, 5, "b", 2),
        write(1, 6, 7, "c", 3),
        read(3, 8, 9, "b", 4),
    ],
    "a write of unknown outcome that happened before it was asked": [
        read(3, 0, 1, "a", 1),
        write(1, 2, None, "a"),
    ],
    "a write acknowledged and forgotten": [write(1, 0, 1, "a", 1), read(1, 2, 3)],
    "a version that skips what nobody wrote": [write(1, 0, 1, "a", 1), write(1, 2, 3, "b", 3)],
    "a mismatch with the version it asked for": [
        write(1, 0, 1, "a", 1),
        swap(1, 2, 3, 1, "b", Mismatched(1)),
    ],
    "a mismatch for no reason": [
        write(1, 0, 1, "a", 1),
        swap(1, 2, 3, 1, "b", Mismatched()),
    ],
    "a swap of unknown outcome that cannot have happened": [
        write(1, 0, 1, "a", 1),
        swap(2, 2, None, 7, "b"),
        read(3, 10, 11, "b", 2),
    ],
    "a deleted value that comes back": [
        write(1, 0, 1, "a", 1),
        delete(1, 2, 3, changed=True),
        read(1, 4, 5, "a", 1),
    ],
    "a delete that found nothing though something was there": [
        write(1, 0, 1, "a", 1),
        delete(1, 2, 3, changed=False),
    ],
    "one write of unknown outcome seen as two": [
        write(1, 0, None, "a"),
        read(2, 1, 2, "a", 1),
        write(2, 3, 4, "b", 2),
        write(2, 5, 6, "c", 4),
    ],
}


@pytest.mark.parametrize("rows", GOOD.values(), ids=GOOD)
def test_good_history_passes(rows):
    """A history that some order explains is linearizable."""
    check_linearizable(history(*rows))


@pytest.mark.parametrize("rows", BAD.values(), ids=BAD)
def test_bad_history_fails(rows):
    """A history that no order explains is refused under the name of the invariant."""
    with pytest.raises(CheckFailed, match=r"^I18: 'x': no order of its operations") as caught:
        check_linearizable(history(*rows))
    assert caught.value.checker == "I18"


# -- made-up histories ----------------------------------------------------------------------------


REQUESTS = st.one_of(
    st.tuples(st.just("read")),
    st.tuples(st.just("delete")),
    st.tuples(st.just("write"), st.integers(1, 3)),
    st.tuples(st.just("compare_and_set"), st.integers(0, 3), st.integers(1, 3)),
)
"""Few values, so that the checker cannot tell writes apart by them."""
PLANS = st.lists(
    st.tuples(
        REQUESTS, st.integers(0, 30), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)
    ),
    max_size=25,
)
"""(request, when it is asked, how long until its effect, from there to the answer, its fate)"""


class Variable:
    """A variable that does at once what it is asked; what it answers is right by construction."""

    def __init__(self):
        self.value, self.version = None, 0

    def perform(self, what, *arguments):
        if what == "read":
            return Held(self.value, self.version)
        if what == "delete":
            changed = self.version > 0
            self.value, self.version = None, 0
            return Deleted(changed)
        if what == "compare_and_set":
            expected, *arguments = arguments
            if expected != self.version:
                return Mismatched(self.version)
        self.value, self.version = arguments[0], self.version + 1
        return Wrote(self.version)


def executed(plans):
    """The history of a variable on which every request took effect at its own moment. Of fates the
    first two lose the answer, and the first of them the request too.
    """
    variable, found = Variable(), []
    order = sorted(range(len(plans)), key=lambda number: plans[number][1] + plans[number][2])
    for number in order:
        (what, *arguments), asked, lasted, waited, fate = plans[number]
        answer = None if fate == 0 else variable.perform(what, *arguments)
        returned = None if fate <= 1 else asked + lasted + waited
        answer = None if fate <= 1 else answer
        found.append(
            Operation(number % 5, number, "x", what, tuple(arguments), asked, returned, answer)
        )
    return found


@given(plans=PLANS)
def test_what_was_executed_passes(plans):
    """A history of operations that took effect one at a time between question and answer passes,
    whatever of it is unknown.
    """
    check_linearizable(executed(plans))


@given(plans=PLANS, data=st.data())
def test_what_cannot_have_been_read_fails(plans, data):
    """One read of such a history that shows what nobody ever wrote makes it wrong, and is named."""
    operations = executed(plans)
    reads = [place for place, one in enumerate(operations) if isinstance(one.answer, Held)]
    assume(reads)
    place = data.draw(st.sampled_from(reads))
    wrong = data.draw(st.sampled_from([Held(99, 1), Held(1, 99), Held(None, 3), Held(2, 0)]))
    operations[place] = evolve(operations[place], answer=wrong)
    violation = find_violation(operations, Register())
    assert violation is not None
    assert violation.operation in violation.needed
    with pytest.raises(CheckFailed):
        check_linearizable(violation.needed)


def test_what_is_concluded_from_a_wrong_read_is_not_told_without_it():
    """A read of version 0 makes the write of its value, which was never answered, impossible. So a
    delete that found something is where it shows; without the read all is as it should be.
    """
    write = Operation(1, 1, "x", "write", (2,), 0, None, None)
    delete = Operation(2, 2, "x", "delete", (), 0, 1, Deleted(changed=True))
    for asked in (0, 2):
        read = Operation(3, 3, "x", "read", (), asked, 3, Held(2, 0))
        violation = find_violation([write, delete, read], Register())
        assert violation.operation == delete
        assert set(violation.needed) == {write, delete, read}


def linearizable_by_trial(operations):
    """Every subset of the unknown, in every order: the definition itself."""
    known = [one for one in operations if one.returned_ns is not None]
    unknown = [one for one in operations if one.returned_ns is None]
    for mask in range(1 << len(unknown)):
        chosen = known + [one for bit, one in enumerate(unknown) if mask >> bit & 1]
        if any(explains(order) for order in permutations(chosen)):
            return True
    return False


def explains(order):
    for place, later in enumerate(order):
        if any(
            earlier.invoked_ns > later.returned_ns
            for earlier in order[:place]
            if later.returned_ns is not None
        ):
            return False
    variable = Variable()
    for one in order:
        answer = variable.perform(one.what, *one.arguments)
        if isinstance(answer, Mismatched) and one.answer == Mismatched():
            continue
        if one.answer is not None and answer != one.answer:
            return False
    return True


ANSWERS = {
    "read": st.builds(Held, st.sampled_from([None, 1, 2, 3]), st.integers(0, 3)),
    "write": st.builds(Wrote, st.integers(1, 3)),
    "delete": st.builds(Deleted, st.booleans()),
    "compare_and_set": st.one_of(
        st.builds(Wrote, st.integers(1, 3)),
        st.builds(Mismatched, st.none() | st.integers(0, 3)),
    ),
}


@given(plans=PLANS.map(lambda plans: plans[:5]), data=st.data())
def test_the_verdict_is_that_of_the_definition(plans, data):
    """On small histories, some answers of which are made up, the search agrees with trying every
    order of every choice of what happened.
    """
    operations = executed(plans)
    for place, one in enumerate(operations):
        if one.answer is not None and data.draw(st.booleans()):
            operations[place] = evolve(one, answer=data.draw(ANSWERS[one.what]))
    assert (find_violation(operations, Register()) is None) == linearizable_by_trial(operations)


# -- keys, size, words ----------------------------------------------------------------------------


def test_each_key_is_judged_by_itself():
    """What happens to one key says nothing about another; the first wrong key is reported."""
    good, bad = history(*GOOD["one after the other"]), history(*BAD["stale read"])
    mixed = [evolve(one, key="z") for one in bad] + [evolve(one, key="y") for one in bad] + good
    violation = find_violation(mixed, Register())
    assert (violation.key, violation.total) == ("y", 3)


def crowd(size, clients, seed):
    """A busy key: ``clients`` ask without a pause, one in twenty never hears an answer."""
    random, idle, plans = Random(seed), [0] * clients, []
    for number in range(size):
        client = min(range(clients), key=lambda one: idle[one])
        asked = idle[client] + random.randrange(1, 20)
        lasted, waited = random.randrange(50), random.randrange(50)
        idle[client] = asked + lasted + waited
        request = random.choice(
            [("read",), ("write", number), ("compare_and_set", random.randrange(400), number)]
        )
        plans.append((request, asked, lasted, waited, random.randrange(40)))
    return executed(plans)


@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_operations_on_one_key(seed):
    """Ten clients at once on one key, with unknown outcomes: decided, right as well as wrong."""
    operations = crowd(1000, 10, seed)
    check_linearizable(operations)
    places = [
        place for place, one in enumerate(operations[500:], 500) if isinstance(one.answer, Held)
    ]
    wrong = operations[places[0]]
    operations[places[0]] = evolve(wrong, answer=Held(wrong.answer.value, 3))
    assert find_violation(operations, Register()) is not None


def test_ten_thousand_operations_do_not_exhaust_the_stack():
    """The search is a loop: a long history is no deeper than a short one."""
    check_linearizable(
        history(*(write(1, 2 * number, 2 * number + 1, "a", number) for number in range(1, 10_001)))
    )


def test_the_report_shows_the_shortest_prefix_and_what_matters_of_it():
    """Reads that are not needed are left out; the answer that fits nowhere is marked, and what the
    variable could be then is said.
    """
    rows = [write(1, 10 * n, 10 * n + 1, f"v{n}", n) for n in range(1, 4)]
    rows += [read(2, 10 * n + 2, 10 * n + 3, f"v{n}", n) for n in range(1, 4)]
    rows += [read(3, 40, 41, "v2", 2), write(1, 50, 51, "later", 4)]
    violation = find_violation(history(*rows), Register())
    assert (len(violation.prefix), len(violation.needed), violation.total) == (7, 4, 8)
    assert violation.operation.client == 3
    lines = str(violation).splitlines()
    assert "the shortest prefix that is wrong has 7 of 8" in lines[0].lower()
    assert [line.split()[1] for line in lines[1:5]] == ["1", "1", "1", "3"]
    assert lines[4].endswith("<-- fits nowhere")
    assert "Held(value='v3', version=3)" in lines[5]


def test_a_long_report_is_cut():
    """Of many operations that matter the last are shown, and how many there were."""
    rows = [write(1, 10 * n, 10 * n + 1, n, n) for n in range(1, 101)]
    violation = find_violation(history(*rows, read(2, 2000, 2001, 1, 1)), Register())
    lines = str(violation).splitlines()
    assert len(lines) < 30
    assert lines[1] == "  ... 77 earlier ones"


def test_too_much_to_decide_is_said():
    """A history with too many possibilities ends the search with an error of its own."""
    rows = [write(1, 0, None, number) for number in range(30)]
    rows += [read(2, 1, 1000, number, version) for number in range(30) for version in (5, 6)]
    rows += [read(3, 2000, 2001, "never", 40)]
    with pytest.raises(Undecided, match="fewer operations of unknown outcome"):
        check_linearizable(history(*rows), configurations_max=1000)


def test_the_verdict_does_not_depend_on_the_order_of_the_record():
    """Operations may be given in any order; the report is the same."""
    operations = crowd(200, 6, 1)
    place = next(p for p, one in enumerate(operations) if p > 100 and isinstance(one.answer, Held))
    operations[place] = evolve(operations[place], answer=Held(0, 2))
    shuffled = list(operations)
    Random(7).shuffle(shuffled)
    assert find_violation(shuffled, Register()) == find_violation(operations, Register())


# -- models of one's own --------------------------------------------------------------------------


class Queue:
    """A first-in, first-out queue: what a user's own model looks like."""

    def initial(self):
        return ()

    def step(self, state, operation):
        if operation.what == "put":
            return ((*state, operation.arguments[0]),)
        if operation.answer is None:
            return (state[1:],)
        return (state[1:],) if state[:1] == (operation.answer,) else ()

    def changes(self, operation):
        return True

    def distance(self, state, operation):
        return 0

    def simplified(self, history):
        return history


class Coin:
    """Nobody can tell what a toss leaves: a model in which one operation has two outcomes."""

    def initial(self):
        return "heads"

    def step(self, state, operation):
        if operation.what == "toss":
            return ("heads", "tails")
        return (state,) if operation.answer == state else ()

    def changes(self, operation):
        return operation.what == "toss"

    def distance(self, state, operation):
        return 0

    def simplified(self, history):
        return history


@pytest.mark.parametrize(
    ("taken", "right"), [(("a", "b"), True), (("b", "a"), True), ("bc", False)]
)
def test_a_model_of_ones_own(taken, right):
    """A queue, put to by two clients at once: their order is open, what was never put is not."""
    rows = [(1, 0, 9, ("put", "a"), "ok"), (2, 0, 9, ("put", "b"), "ok")]
    rows += [(3, 10 + n, 10 + n, ("take",), taken[n]) for n in range(2)]
    assert (find_violation(history(*rows), Queue()) is None) == right


def test_a_model_may_leave_the_outcome_open():
    """Of several next states the history chooses, and does so once."""
    toss, see = (1, 0, 1, ("toss",), "ok"), (2, 2, 3, ("see",), "tails")
    assert find_violation(history(toss, see), Coin()) is None
    violation = find_violation(history(toss, see, (2, 4, 5, ("see",), "heads")), Coin())
    assert violation.operation.answer == "heads"
