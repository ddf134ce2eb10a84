"""Stand-alone replicated variables (scenario A-R7)."""

from flowactor.machine import Variable, VariableChanged
from flowactor.machine.operations import ClientOperation, CompareAndSet, WriteVariable
from flowactor.machine.replies import Done, Written


def test_a_variable_is_created_and_set(group):
    """42, then 100: versions count from 1 and the last value stands, before and after a flush."""
    assert group.ask(WriteVariable("v", b"42")) == Written(1)
    assert group.ask(WriteVariable("v", b"100")) == Written(2)
    assert group.machine.variable("v") == Variable(b"100", 2)
    group.flush()
    assert group.machine.variable("v") == Variable(b"100", 2)


def test_an_update_is_a_compare_and_set(group):
    """50 plus 10 by compare-and-set gives 60; a second writer with the old version is told."""
    group.ask(WriteVariable("v", b"50"))
    assert group.ask(CompareAndSet("v", 1, b"60")) == Written(2)
    refused = group.ask(CompareAndSet("v", 1, b"70"))
    assert refused.code == "VersionMismatch"
    assert "version 2" in refused.message
    assert group.machine.variable("v").value == b"60"


def test_compare_and_set_creates_only_what_is_not_there(group):
    """Expecting version 0 succeeds once."""
    assert group.ask(CompareAndSet("v", 0, b"1")) == Written(1)
    assert group.ask(CompareAndSet("v", 0, b"2")).code == "VersionMismatch"
    assert group.ask(CompareAndSet("", 0, b"2")).code == "InvalidInput"


def test_a_deleted_variable_does_not_exist(group):
    """Deleting is done once, also when the variable has long been a row; then it may be made."""
    group.ask(WriteVariable("v", b"1"))
    group.flush()
    assert group.ask(WriteVariable("v", None)) == Done()
    assert group.ask(WriteVariable("v", None)) == Done(changed=False)
    assert group.machine.variable("v") == Variable(None, 0)
    group.flush()
    assert group.machine.variable("v") == Variable(None, 0)
    assert group.ask(CompareAndSet("v", 0, b"2")) == Written(1)


def test_key_values_of_scenario_a_r16(group):
    """15 keys, two deleted: 13 remain with their values, whenever rows were taken."""
    for number in range(15):
        group.ask(WriteVariable(f"key{number}", f"value{number}".encode()))
        if number == 10:
            group.flush()
    for name in ("key5", "key10"):
        group.ask(WriteVariable(name, None))
    group.flush()
    rows = {name: value for _, name, value, _ in group.rows.scan("variables")}
    assert len(rows) == 13
    assert rows["key0"] == b"value0"
    assert rows["key14"] == b"value14"
    assert not rows.keys() & {"key5", "key10"}


def test_watchers_hear_of_each_changed_variable_once_per_entry(group):
    """Several writes of one entry are one notice with the last version; a deletion is version 0."""
    applied = group.apply(
        ClientOperation("s", 1, 1, WriteVariable("v", b"1")),
        ClientOperation("s", 2, 1, WriteVariable("v", b"2")),
        ClientOperation("s", 3, 1, WriteVariable("u", b"1")),
        ClientOperation("s", 4, 1, WriteVariable("u", None)),
    )
    assert applied.notices == (VariableChanged("v", 2), VariableChanged("u", 0))


def test_versions_in_memory_are_bounded(monkeypatch, group):
    """With more variables than are cached the cache is dropped at a flush, and versions go on."""
    monkeypatch.setattr("flowactor.machine.variables.VARIABLE_VERSIONS_CACHED_MAX", 9)
    for number in range(10):
        group.ask(WriteVariable(f"v{number}", b"1"))
    group.flush()
    assert group.machine._variables._versions == {}
    assert group.ask(WriteVariable("v0", b"2")) == Written(2)
    assert group.machine.variable("v0") == Variable(b"2", 2)
