"""Histories: what happened, in an order that everybody agrees on, and enough to replay it."""

import pytest

from flowactor.codec import records
from flowactor.errors import MalformedDataError, StorageRefused
from flowactor.machine import TABLES, Machine
from flowactor.machine.commands import CompleteRun, SetVariable
from flowactor.machine.events import RunStarted, SignalReceived, StepCompleted
from flowactor.machine.history import KINDS, Arrived, Closed, HistoryRecord, Opened
from flowactor.machine.operations import (
    Advance,
    ClientOperation,
    InboxRef,
    SignalRun,
    WriteVariable,
    decode_batch,
    encode_batch,
)
from flowactor.machine.replies import RunStatus
from flowactor.machine.tables import history_length

KEY = ((), "s", 0)


def a_whole_run(group, make_step, name="w"):
    group.start(name, timeout=60)
    group.advance(make_step(), name=name)
    group.ask(SignalRun(name, "", "note", b"hello"))
    done = StepCompleted(KEY, 1, b"result")
    group.advance(
        SetVariable("x", b"1"), CompleteRun(b"end"), name=name, consumed=(done, InboxRef(2))
    )


def test_a_history_is_enough_to_replay(group, make_step):
    """From its rows alone come type, version, input, and each activation's events in the order of
    consumption beside the commands it made (invariant I24 starts from here).
    """
    a_whole_run(group, make_step)
    history = group.history()
    assert history[0] == Opened("w", "T", 1, 1, 60 * 10**9)
    assert history[-1] == Closed(RunStatus.COMPLETED, "")
    inbox = {fact.number: fact.event for fact in history if isinstance(fact, Arrived)}
    replayed = []
    for fact in history:
        if isinstance(fact, Advance):
            consumed = fact.consumed
            events = [
                inbox[item.number] if isinstance(item, InboxRef) else item for item in consumed
            ]
            replayed.append((fact.position, events, fact.commands))
    assert replayed == [
        (0, [RunStarted(b"input")], (make_step(),)),
        (
            1,
            [StepCompleted(KEY, 1, b"result"), SignalReceived("note", b"hello")],
            (SetVariable("x", b"1"), CompleteRun(b"end")),
        ),
    ]


def test_every_fact_has_a_place_of_its_own(group, make_step):
    """Rows are numbered without gap within a run; (log index, ordinal) orders the group, and leaves
    room for each thing an activation consumed and asked for.
    """
    for name in ("a", "b"):
        a_whole_run(group, make_step, name)
    signals = [SignalRun("a", "", "n", b""), SignalRun("b", "", "n", b"")]
    group.start("c")
    group.start("d")
    group.apply(
        *[
            ClientOperation("s", 100 + number, 1, SignalRun(name, "", "n", b""))
            for number, name in enumerate("cdcd")
        ]
    )
    assert [group.ask(body).code for body in signals] == ["AlreadyClosed"] * 2
    group.flush()
    rows = group.rows.scan("history")
    for name in "abcd":
        numbers = [row[1] for row in rows if row[0] == name]
        assert numbers == list(range(1, len(numbers) + 1))
        assert history_length(group.rows.get("runs", (name,))) == len(numbers)
    places = sorted((row[2], row[3]) for row in rows)
    assert len(set(places)) == len(places)
    by_place = {(row[2], row[3]): records.decode(row[-1]) for row in rows}
    for (index, ordinal), fact in by_place.items():
        if isinstance(fact, Advance):
            inside = len(fact.consumed) + len(fact.commands)
            later = [place[1] for place in places if place[0] == index and place[1] > ordinal]
            assert all(other > ordinal + inside for other in later)


def test_a_refused_operation_leaves_no_history(group):
    """Neither rejected requests nor stale advances are facts about a run."""
    group.start()
    before = group.history()
    group.advance(position=7)
    group.ask(SignalRun("nobody", "", "n", b""))
    assert group.history() == before


def test_history_leaves_memory_but_not_the_digest(group, make_group):
    """Two groups whose live state is equal again differ in digest if their histories do."""
    other = make_group()
    for node in other.voters:
        other.announce(node, ("T", 1))
    for each, value in ((group, b"x"), (other, b"y")):
        each.start()
        each.advance(SetVariable("v", value))
        each.advance(SetVariable("v", b"same"))
        each.flush()
    assert group.run() == other.run()
    assert group.machine.digest() != other.machine.digest()


def test_every_kind_of_record_has_its_word():
    """The column ``kind`` names each member of the union, each differently."""
    assert set(KINDS) == set(HistoryRecord.__args__)
    assert len(set(KINDS.values())) == len(KINDS)


def test_rows_fit_their_tables(group, make_step):
    """Every row has the declared number of columns, with values of the declared types."""
    types = {"INTEGER": int, "TEXT": str, "BLOB": bytes}
    tables = {table.name: table for table in TABLES}
    assert len(tables) == len(TABLES)
    a_whole_run(group, make_step)
    group.start("v")
    group.advance(make_step(), name="v")
    group.ask(WriteVariable("x", b"1"))
    for write in group.flush():
        table = tables[write.table]
        if write.values is not None:
            columns = table.key + table.columns
            values = write.key + write.values
            assert len(values) == len(columns)
            for (_, sql), value in zip(columns, values, strict=True):
                assert value is None or type(value) is types[sql]
        names = {name for name, _ in table.key + table.columns}
        assert all(names.issuperset(index) for index in table.indexes)


def test_nothing_to_write_is_nothing(group):
    """Without an apply in between, taking rows again gives none; an empty entry moves the clock."""
    group.flush()
    assert group.flush() == []
    group.apply(at=9)
    assert [write.table for write in group.flush()] == ["meta"]


def test_an_unknown_operation_stops_the_group_loudly():
    """A record of a newer version is an error at decoding, never skipped (``design.md``, D15)."""
    for operation in (records.encode_plain((9999, 1)), records.encode_plain("text")):
        with pytest.raises(MalformedDataError):
            decode_batch(encode_batch(0, [operation]))
    with pytest.raises(MalformedDataError, match="schema"):
        decode_batch(records.encode_plain((99, 0, ())))


def test_rows_of_another_schema_are_refused(group, make_rows):
    """A machine does not guess what a newer version's rows mean."""
    rows = make_rows()
    rows.tables["meta"] = {("machine",): (99, 0, b"")}
    with pytest.raises(StorageRefused, match="schema 99"):
        Machine(group.voters, rows)
