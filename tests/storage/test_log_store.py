"""What any log store must do, on any disk. Damage and crashes are in ``test_rules.py``."""

import pytest

from flowactor.raft import EntryKind, HardState, Restored
from tests.storage.building import (
    EVERYTHING,
    ONE,
    TWO,
    append,
    entries,
    entry,
    opened_log,
    restored,
    state,
    write,
)


def test_new_log_is_empty(disk):
    """A group nobody has written for is restored as a new one."""
    assert restored(disk) == Restored()


def test_what_was_persisted_comes_back(disk):
    """Hard state and entries of several groups survive closing, each under its own group."""
    with opened_log(disk) as store:
        store.persist(
            [(ONE, append(3)), (TWO, write(entry(1, 5, b""), hard_state=state(5, vote=2)))]
        )
        store.persist([(ONE, write(entry(4, data=b"z"), hard_state=state(1, commit=3)))])
    one, two = restored(disk, ONE), restored(disk, TWO)
    assert one.entries == (*entries(1, 3), entry(4, data=b"z"))
    assert one.hard_state == state(1, commit=3)
    assert (two.entries, two.hard_state) == ((entry(1, 5, b""),), state(5, vote=2))


def test_every_kind_of_entry_comes_back(disk):
    """The kind of an entry is kept, and so is empty data."""
    written = tuple(
        type(entry(1))(1, index, kind, b"") for index, kind in enumerate(EntryKind, start=1)
    )
    with opened_log(disk) as store:
        store.persist([(ONE, write(*written, hard_state=state()))])
    assert restored(disk).entries == written


def test_truncation_replaces_the_tail(disk):
    """A write that cuts the log drops all from there, and what it appends takes its place."""
    with opened_log(disk) as store:
        store.persist([(ONE, append(10))])
        store.persist([(ONE, write(*entries(4, 5, 2), hard_state=state(2), cut=4))])
    assert restored(disk).entries == (*entries(1, 3), *entries(4, 5, 2))


def test_one_persist_may_append_cut_and_append(disk):
    """Writes of one group within one persist take effect in their order."""
    with opened_log(disk) as store:
        store.persist([(ONE, append(2))])
        store.persist(
            [
                (ONE, write(*entries(3, 9))),
                (ONE, write(*entries(2, 3, 2), hard_state=state(2), cut=2)),
                (ONE, write(entry(4, 2), hard_state=state(2, commit=3))),
            ]
        )
        expected = (entry(1), *entries(2, 4, 2))
        assert store.recover(ONE, 0, EVERYTHING).entries == expected
    assert restored(disk).entries == expected


def test_more_rows_than_one_statement_holds(disk):
    """A large write is one transaction over several statements."""
    with opened_log(disk) as store:
        store.persist([(ONE, append(500)), (TWO, append(130))])
    assert restored(disk, ONE).entries == entries(1, 500)
    assert restored(disk, TWO).entries == entries(1, 130)


def test_restored_tail_fits_the_cache(disk):
    """Everything above applied comes back, and below it only what the cache holds."""
    with opened_log(disk) as store:
        store.persist([(ONE, append(20, data=b"0123456789"))])
        some = store.recover(ONE, 15, 35)
        none_below = store.recover(ONE, 15, 9)
        everything = store.recover(ONE, 15, EVERYTHING)
    assert [item.index for item in some.entries] == list(range(13, 21))
    assert (some.previous_index, some.previous_term, some.applied) == (12, 1, 15)
    assert none_below.entries[0].index == 16
    assert everything.entries[0].index == 1


def test_read_for_a_lagging_follower(disk):
    """A read gives the term before, at least one entry, and no more than the bytes asked for."""
    with opened_log(disk) as store:
        store.persist([(ONE, append(5)), (ONE, write(*entries(6, 9, 2), hard_state=state(2)))])
        assert store.read(ONE, 1, 3, EVERYTHING) == (0, entries(1, 3))
        assert store.read(ONE, 6, 100, EVERYTHING) == (1, entries(6, 9, 2))
        assert store.read(ONE, 7, 9, 0) == (2, (entry(7, 2),))
        assert store.read(ONE, 1, 9, 2 * len(b"payload")) == (0, entries(1, 2))
        assert store.read(ONE, 10, 12, EVERYTHING) == (0, ())


def test_compacted_log_begins_where_it_was_cut(disk):
    """Compaction drops what is at or below an index and remembers the term there."""
    with opened_log(disk) as store:
        store.persist([(ONE, append(10)), (TWO, append(3))])
        store.compact(ONE, 6)
        store.compact(ONE, 4)
        assert store.read(ONE, 6, 10, EVERYTHING) == (0, ())
        assert store.read(ONE, 7, 8, EVERYTHING) == (1, entries(7, 8))
        store.persist([(ONE, write(entry(11)))])
    again = restored(disk, ONE, applied=6)
    assert (again.previous_index, again.previous_term) == (6, 1)
    assert again.entries == entries(7, 11)
    assert restored(disk, TWO).entries == entries(1, 3)


def test_wholly_compacted_log_goes_on(disk):
    """A log without any entry left still knows where the next one belongs."""
    with opened_log(disk) as store:
        store.persist([(ONE, append(3, term=4))])
        store.compact(ONE, 3)
    with opened_log(disk) as store:
        assert store.recover(ONE, 3, EVERYTHING).previous_term == 4
        store.persist([(ONE, write(entry(4, 4)))])
    assert restored(disk, applied=3).entries == (entry(4, 4),)


@pytest.mark.parametrize(
    "wrong",
    [
        write(entry(7)),
        write(entry(3)),
        write(entry(6, term=2)),
        write(hard_state=state(term=0)),
        write(hard_state=state(vote=2)),
        write(hard_state=state(commit=1)),
        write(hard_state=state(commit=6)),
        write(entry(2), cut=2),
    ],
    ids=[
        "gap",
        "overlap",
        "entry of a term that is not durable",
        "term goes back",
        "second vote in one term",
        "commit goes back",
        "commit beyond the end",
        "cut below commit",
    ],
)
def test_write_that_breaks_a_promise_is_refused(disk, wrong):
    """A write that a correct core cannot ask for stops it, and leaves the log as it was."""
    with opened_log(disk) as store:
        store.persist([(ONE, write(*entries(1, 5), hard_state=state(commit=2)))])
        before = store.recover(ONE, 0, EVERYTHING)
        with pytest.raises(AssertionError):
            store.persist([(TWO, append(1)), (ONE, wrong)])
        assert store.recover(ONE, 0, EVERYTHING) == before
        assert store.recover(TWO, 0, EVERYTHING) == Restored()


def test_empty_persist_changes_nothing(disk):
    """A write with nothing in it, and no write at all, are allowed."""
    with opened_log(disk) as store:
        store.persist([])
        store.persist([(ONE, write())])
    assert restored(disk).hard_state == HardState()


def test_checkpoint_keeps_everything(disk):
    """After a checkpoint the log is the same, is due for no other, and goes on."""
    with opened_log(disk) as store:
        store.persist([(ONE, append(64, data=bytes(80_000)))])
        assert store.checkpoint_due()
        store.checkpoint()
        assert not store.checkpoint_due()
        store.persist([(ONE, write(entry(65)))])
    assert restored(disk).entries[-2:] == (entry(64, data=bytes(80_000)), entry(65))
