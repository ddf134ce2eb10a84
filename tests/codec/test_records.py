"""Records: one encoding for each fact, and nothing but sound records out of hostile bytes."""

import importlib
import pkgutil
import typing
from typing import Any

import cbor2
import pytest
from attrs import evolve, fields, frozen
from hypothesis import given
from hypothesis import strategies as st

import flowactor
from flowactor.codec import records
from flowactor.errors import InvalidInput, MalformedDataError
from flowactor.machine.commands import ArmTimer, RetryRule, ScheduleStep, SetVariable
from flowactor.machine.events import Failure, StepCompleted
from flowactor.machine.operations import Advance, ClientOperation, InboxRef, OpenSession, SignalRun
from tests.codec.facts import FULL, GOLDEN, Everything, Leaf
from tests.codec.processes import output_elsewhere


@pytest.mark.parametrize(("value", "expected"), GOLDEN)
def test_golden_bytes(value: Any, expected: str):
    """These bytes are in logs and on wires: they may never change."""
    assert records.encode(value).hex() == expected
    assert records.decode(bytes.fromhex(expected)) == value


def test_every_kind_of_field_round_trips():
    """Plain fields, enums, records, unions, tuples and recursion come back equal."""
    value = Everything(
        *[getattr(FULL, f.name) for f in fields(Everything)][:-2], nested=FULL, site="s"
    )
    back = records.decode(records.encode(value))
    assert back == value
    assert back.site == "s"
    assert records.encode(back) == records.encode(value)


def all_layouts() -> list[Any]:
    for module in pkgutil.walk_packages(flowactor.__path__, "flowactor."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return [layout for _, layout in sorted(records._BY_TAG.items())]


def test_every_record_of_flowactor_has_a_layout():
    """Each field of each record is of a kind the codec knows, and tags are addresses below 9000."""
    for layout in all_layouts():
        if not layout.resolved:
            layout.resolve()
        assert len(layout.flat) == len(layout.names)
        assert layout.tag < 9000 or layout.cls.__module__.startswith("tests.")


SAMPLES = """
from flowactor.codec import records
from tests.codec.facts import FULL, GOLDEN
print(b"".join(records.encode(v) for v in [FULL, *(v for v, _ in GOLDEN)]).hex())
"""


def test_canonical_bytes():
    """A process with another hash seed writes the same bytes."""
    here = b"".join(records.encode(v) for v in [FULL, *(v for v, _ in GOLDEN)]).hex()
    assert output_elsewhere(SAMPLES) == here + "\n"


def test_fields_may_only_be_appended_with_defaults():
    """A decoder takes fewer fields than it knows, down to the required ones, and never more."""
    assert records.decode(cbor2.dumps((9001, 5))) == Leaf(5)
    for plain in ((9001,), (9001, 5, "a", "b")):
        with pytest.raises(MalformedDataError, match="Leaf: it has 2 fields"):
            records.decode(cbor2.dumps(plain))


def test_a_tag_belongs_to_one_class():
    """Two classes with one tag are a bug, found at import."""
    with pytest.raises(AssertionError, match="tag 9001 of Other belongs to Leaf"):

        @records.record(9001)
        @frozen
        class Other:
            pass

    with pytest.raises(AssertionError, match="int is no record"):
        records.encode(3)


def altered(**changes: Any) -> bytes:
    plain = list(records.to_plain(FULL))
    names = [f.name for f in fields(Everything)]
    for name, value in changes.items():
        plain[names.index(name) + 1] = value
    return cbor2.dumps(plain)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "undecodable"),
        (b"\xff", "undecodable"),
        (records.encode(Leaf(1))[:-1], "undecodable"),
        (records.encode(Leaf(1)) + b"\x00", "bytes follow"),
        (records.encode(Leaf(1)) + cbor2.dumps(b"one item"), "bytes follow"),
        (b"\x81" * 100 + b"\x01", "undecodable"),
        (b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", "undecodable"),
        (b"\x01", "not a record"),
        (b"\x80", "not a record"),
        (cbor2.dumps(("x", 1)), "not a record"),
        (cbor2.dumps((True, 1)), "not a record"),
        (cbor2.dumps(((1, 2),)), "not a record"),
        (cbor2.dumps((123456,)), "no record has the tag 123456"),
        (altered(flag=1), "Everything: flag: it cannot be of type int"),
        (altered(ratio=1), "Everything: ratio: it cannot be of type int"),
        (altered(data="x"), "Everything: data: it cannot be of type str"),
        (altered(kind="zz"), "Everything: kind: 'zz' is not a valid Kind"),
        (altered(leaf=None), "Everything: leaf: it cannot be of type NoneType"),
        (altered(leaf=(9002,)), "Everything: leaf: no record with the tag"),
        (altered(leaf=()), "Everything: leaf: no record with the tag"),
        (altered(leaf=(9001, "x")), "Leaf: number: it cannot be of type str"),
        (altered(either=(51, 1)), "Everything: either: no record with the tag"),
        (altered(mixed=5), "Everything: mixed: it cannot be of type int"),
        (altered(leaves=(5,)), "Everything: leaves: an element is of another type"),
        (altered(leaves=((51, 1),)), "Everything: leaves: no record with the tag"),
        (altered(key=((0, "x"), "n", 2)), "Everything: key: an element is of another type"),
        (altered(key=((0,), "n")), "Everything: key: 2 elements instead of 3"),
        (altered(key=((0,), 3, 2)), "Everything: key: an element is of another type"),
        (altered(pairs=(("a", "b"),)), "Everything: pairs: an element is of another type"),
        (altered(names=("a", 2)), "Everything: names: an element is of another type"),
    ],
)
def test_malformed_records_are_refused(data: bytes, text: str):
    """Every deviation is a typed error that says what is wrong; no half-read record comes out."""
    with pytest.raises(MalformedDataError, match=text):
        records.decode(data)


@pytest.mark.parametrize("data", [b"one item", b"x" * 300 + b"one item"])
def test_data_that_ends_like_the_mark_is_read_all_the_same(data: bytes):
    """How trailing bytes are found does not restrict what may be stored."""
    value = SetVariable("v", b"", site="s")
    value = SetVariable("v", records.encode_plain(data))
    assert records.decode(records.encode(value)) == value
    assert records.decode_plain(records.encode_plain(data)) == data


@pytest.mark.parametrize("count", [0, 1, 23, 24, 255, 256, 65535, 65536])
def test_join_writes_one_array(count: int):
    """Joining encoded items equals encoding the array, at every size of the head."""
    item = records.encode_plain(7)
    assert records.join([item] * count) == cbor2.dumps([7] * count)


# -- any record ------------------------------------------------------------------------------------

texts = st.text(max_size=5)
integers = st.integers(-(2**70), 2**70)
keys = st.tuples(st.lists(integers, max_size=3).map(tuple), texts, integers)
failures = st.recursive(
    st.builds(Failure, texts, texts, st.binary(max_size=5)),
    lambda inner: st.builds(
        Failure,
        texts,
        texts,
        st.binary(max_size=5),
        inner,
        st.lists(texts).map(tuple),
        st.booleans(),
    ),
    max_leaves=3,
)
rules = st.builds(RetryRule, integers, integers, integers, integers, st.lists(texts).map(tuple))
commands = st.one_of(
    st.builds(
        ScheduleStep, keys, texts, st.binary(), rules, integers, integers, st.booleans(), texts
    ),
    st.builds(ArmTimer, keys, integers, texts),
)
consumed = st.builds(InboxRef, integers) | st.builds(StepCompleted, keys, integers, st.binary())
facts = st.one_of(
    failures,
    commands,
    st.builds(
        Advance,
        texts,
        integers,
        integers,
        integers,
        st.lists(consumed).map(tuple),
        st.lists(commands).map(tuple),
    ),
    st.builds(
        ClientOperation,
        texts,
        integers,
        integers,
        st.builds(SignalRun, texts, texts, texts, st.binary()),
    ),
    st.builds(OpenSession, texts),
)


@given(facts)
def test_any_record_round_trips(value: Any):
    """Equal comes back, with the same bytes."""
    data = records.encode(value)
    back = records.decode(data)
    assert back == value
    assert records.encode(back) == data


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | integers
    | st.floats(allow_nan=False)
    | texts
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4).map(tuple),
    max_leaves=8,
)


@given(st.sampled_from([11, 20, 21, 50, 51, 52, 9001, 9003]), st.lists(plain_values, max_size=10))
def test_what_is_decoded_is_always_sound(tag: int, parts: list[Any]):
    """Arrays of any content are refused, or give a record that can be written again as it was."""
    data = cbor2.dumps((tag, *parts), canonical=True)
    try:
        value = records.decode(data)
    except MalformedDataError:
        return
    back = records.decode(records.encode(value))
    assert back == value
    for name, hint in typing.get_type_hints(type(value)).items():
        if hint in (int, str, bytes, bool):
            assert type(getattr(value, name)) is hint


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes):
    """No input makes the decoder do anything but answer or raise MalformedDataError."""
    try:
        records.decode(data)
    except MalformedDataError:
        return


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Leaf("x", 2), "Leaf: number: it cannot be of type str"),
        (Leaf(True, "t"), "Leaf: number: it cannot be of type bool"),
        (Leaf(1, None), "Leaf: .*: it cannot be of type NoneType"),
        (evolve(FULL, kind="x"), "Everything: kind: "),
        (evolve(FULL, leaf=None), "Everything: leaf: no NoneType belongs here"),
        (evolve(FULL, leaves=(5,)), "Everything: leaves: no int belongs here"),
        (evolve(FULL, leaves=None), "Everything: leaves: "),
        (evolve(FULL, key=((0, "x"), "n", 2)), "Everything: key: an element is of"),
        (evolve(FULL, names=["p"]), "Everything: names: it cannot be of type list"),
        (evolve(FULL, names=("a", 2)), "Everything: names: an element is of another"),
        (evolve(FULL, leaf=Leaf("x", "t")), "Leaf: number: it cannot be of type str"),
    ],
)
def test_nothing_is_encoded_that_cannot_be_decoded(value: object, text: str):
    """A caller's wrong type is an error where it is made, and never an entry of the log."""
    with pytest.raises(InvalidInput, match=text):
        records.encode(value)
