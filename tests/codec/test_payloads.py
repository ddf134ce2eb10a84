"""Payloads: strict, canonical, readable, and refused with the type and the place."""

import datetime as dt
import hashlib
import socket
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowactor.codec.payloads import (
    decode_arguments,
    decode_payload,
    encode_arguments,
    encode_payload,
    payload_from_json,
    payload_to_json,
)
from flowactor.errors import InvalidInput, UnencodableValue
from flowactor.limits import PAYLOAD_BYTES_MAX
from tests.codec.processes import output_elsewhere
from tests.codec.samples import (
    ORDER,
    TYPED,
    UNTYPED,
    Card,
    Cash,
    GiftCard,
    Item,
    Order,
    Plain,
    Tree,
)

WHERE = "result of step charge_card"


@pytest.mark.parametrize(("value", "hint"), TYPED)
def test_typed_values_round_trip(value: Any, hint: Any):
    """A value comes back equal, of its own type, and with the same bytes when written again."""
    data = encode_payload(value, hint, WHERE)
    back = decode_payload(data, hint, WHERE)
    assert back == value
    assert type(back) is type(value) or (hint is float and back == value)
    assert encode_payload(back, hint, WHERE) == data


@pytest.mark.parametrize("value", UNTYPED)
def test_untyped_values_round_trip(value: Any):
    """Without a hint the bytes say what they are."""
    data = encode_payload(value, None, WHERE)
    back = decode_payload(data, None, WHERE)
    assert back == value
    assert type(back) is type(value)
    assert encode_payload(back, Any, WHERE) == data


@pytest.mark.parametrize(("value", "hint"), TYPED)
def test_what_was_written_without_a_hint_is_read_with_one(value: Any, hint: Any):
    """A caller that knows only names may send to a function that has types."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        value = tuple(value)
    assert decode_payload(encode_payload(value, None, WHERE), hint, WHERE) == value


def test_golden_bytes():
    """The format is an address for ever: these bytes are in people's databases."""
    golden = {
        "plain": (encode_payload([1, "a", None, 1.5], list[Any], ""), "84016161f6f93e00"),
        "map": (
            encode_payload({"b": 1, "a": 2}, dict[str, int], ""),
            "a26161026162 01".replace(" ", ""),
        ),
        "set": (encode_payload({"b", "a"}, set[str], ""), "8261616162"),
        "class": (encode_payload(Item("x", 2), Item, ""), "a2646e616d65617866616d6f756e7402"),
        "union": (
            encode_payload(Card("1"), Card | Cash, ""),
            "d81b827818" + b"tests.codec.samples.Card".hex() + "a1666e756d6265726131",
        ),
        "tuple": (encode_payload((1,), None, ""), "d81b82657475706c658101"),
        "arguments": (encode_arguments(("a", 1), {"x": str, "y": int}, ""), "82616101"),
    }
    for name, (data, expected) in golden.items():
        assert data.hex() == expected, name


def test_canonical_bytes():
    """Equal values have equal bytes, whatever order they were built in."""
    one = Order("o", [], notes={"a": 1, "b": 2}, tags=frozenset(["x", "y", "z"]))
    two = Order("o", [], notes={"b": 2, "a": 1}, tags=frozenset(["z", "y", "x"]))
    assert encode_payload(one, Order, WHERE) == encode_payload(two, Order, WHERE)
    assert encode_payload(3, float, WHERE) == encode_payload(3.0, float, WHERE)


DIGEST = """
import hashlib
from tests.codec.samples import TYPED, UNTYPED
from flowactor.codec.payloads import encode_payload
parts = [encode_payload(value, hint, "") for value, hint in TYPED]
parts += [encode_payload(value, None, "") for value in UNTYPED]
parts.append(encode_payload({f"k{n}" for n in range(100)}, None, ""))
print(hashlib.sha256(b"".join(parts)).hexdigest())
"""


def test_bytes_do_not_depend_on_the_hash_seed():
    """A process with another hash seed writes the same bytes (rule canonical_bytes)."""
    parts = [encode_payload(v, h, "") for v, h in TYPED] + [
        encode_payload(v, None, "") for v in UNTYPED
    ]
    parts.append(encode_payload({f"k{n}" for n in range(100)}, None, ""))
    assert output_elsewhere(DIGEST) == hashlib.sha256(b"".join(parts)).hexdigest() + "\n"


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "hint", "text"),
    [
        (socket.SocketType, None, "a value of type type cannot be stored"),
        (object(), int, "a value of type object cannot be stored"),
        ([1, {"a": object()}], None, "$[1]['a']: a value of type object cannot be stored"),
        (Tree(1, [Tree(2, [object()])]), Tree, "$.children[0].children[0]: a value of type object"),
        ({"x": object}, dict[str, Any], "$['x']: a value of type type cannot be stored"),
        ((1, object()), tuple[int, Any], "$[1]: a value of type object cannot be stored"),
        (print, Card | Cash, "a value of type builtin_function_or_method cannot be stored"),
        ("\ud800", str, "cannot be stored: 'utf-8' codec can't encode"),
        (ValueError("x"), None, "a value of type ValueError cannot be stored"),
    ],
)
def test_unencodable_values_are_named(value: Any, hint: Any, text: str):
    """What cannot be stored is refused with its type and its place."""
    with pytest.raises(UnencodableValue) as raised:
        encode_payload(value, hint, WHERE)
    assert str(raised.value).startswith(f"{WHERE}: {text}")


def test_a_value_that_contains_itself_is_refused():
    """A cycle is no endless loop."""
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(UnencodableValue, match="contains itself"):
        encode_payload(cycle, None, WHERE)


def test_local_classes_need_a_hint():
    """Another process could not find a class that lives inside a function."""
    from attrs import frozen

    @frozen
    class Local:
        number: int

    assert decode_payload(encode_payload(Local(1), Local, WHERE), Local, WHERE) == Local(1)
    with pytest.raises(UnencodableValue, match="Local is defined inside a function"):
        encode_payload(Local(1), None, WHERE)


@pytest.mark.parametrize(
    ("value", "hint", "text"),
    [
        ("5", int, "expected int, got '5'"),
        (True, int, "expected int, got True"),
        (1.0, int, "expected int, got 1.0"),
        (1, str, "expected str, got 1"),
        (1, bool, "expected bool, got 1"),
        (1, None | Card, "expected tests.codec.samples.Card, got 1"),
        (None, Card, "expected tests.codec.samples.Card, got None"),
        (Cash(), Card, "expected tests.codec.samples.Card, got Cash(coins=[])"),
        (Item(3), Item, "$.name: expected str, got 3"),
        (Order("o", [Item("a"), Item(2)]), Order, "$.items[1].name: expected str, got 2"),
        (Plain(1.0, {"x": Item("a")}), Plain, "$.by_day"),
        ((1, 2, 3), tuple[int, int], "expected tuple[int, int], got (1, 2, 3)"),
        ([1], set[int], "expected set[int], got [1]"),
        ((1,), list[int], "expected list[int], got (1,)"),
        ("abc", list[str], "expected list[str], got 'abc'"),
        ([], dict[str, int], "expected dict[str, int], got []"),
        (
            "red",
            Item | Cash,
            "expected tests.codec.samples.Item | tests.codec.samples.Cash, got 'red'",
        ),
    ],
)
def test_values_that_do_not_fit_are_refused(value: Any, hint: Any, text: str):
    """Writing checks the type that was declared; nothing is coerced."""
    if text.startswith("$.by_day"):
        with pytest.raises(InvalidInput, match="expected date, got 'x'"):
            encode_payload(value, hint, WHERE)
        return
    with pytest.raises(InvalidInput) as raised:
        encode_payload(value, hint, WHERE)
    assert str(raised.value).startswith(f"{WHERE}: {text}")


HINTS = {"order": Order, "count": int}
GOOD = {"order_id": "o", "items": [{"name": "tea", "amount": 1}]}


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (
            {**GOOD, "items": [{"name": "tea", "amount": "x"}]},
            "$.order.items[0].amount: expected int, got 'x'",
        ),
        (
            {**GOOD, "items": [{"name": "tea", "amount": 0}]},
            "$.order.items[0]: 'amount' must be > 0",
        ),
        (
            {**GOOD, "items": "tea"},
            "$.order.items: expected list[tests.codec.samples.Item], got 'tea'",
        ),
        ({"items": []}, "$.order.order_id: the field 'order_id' is missing"),
        ({**GOOD, "colour": "green"}, "$.order.colour: expected one of 'red', 'blue', got 'green'"),
        ({**GOOD, "color": "red"}, "$.order: tests.codec.samples.Order has no field 'color'"),
        ({**GOOD, "placed": "yesterday"}, "$.order.placed: expected datetime, got 'yesterday'"),
        ({**GOOD, "payment": {"number": 3}}, "$.order.payment: expected "),
        (
            {**GOOD, "payment": {"$type": "Cash", "coins": ["x"]}},
            "$.order.payment.coins[0]: expected int, got 'x'",
        ),
        ({**GOOD, "payment": {"$type": "House"}}, "$.order.payment: expected "),
        (3, "$.order: expected tests.codec.samples.Order, got 3"),
    ],
)
def test_wrong_input_names_the_path(order: Any, text: str):
    """What a person typed wrong is told with the path of the field."""
    with pytest.raises(InvalidInput) as raised:
        payload_from_json([order, 1], HINTS, "arguments of ProcessOrder")
    assert str(raised.value).startswith(f"arguments of ProcessOrder: {text}")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "undecodable bytes"),
        (b"\xff", "undecodable bytes"),
        (b"\x01\x01", "undecodable bytes"),
        (b"\x9f\x01", "undecodable bytes"),
        (b"\x81" * 5000 + b"\x01", "undecodable bytes"),
        (b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", "undecodable bytes"),
        (b"\xa2\x01\x01\x01\x02", "undecodable bytes"),
        (b"\xd8\x1b\x01", "unknown kind of value"),
        (b"\xd8\x63\x01", "expected a value of a known kind"),
        (cbor2.dumps(cbor2.CBORTag(27, (1, 2))), "an object whose type has no name"),
        (cbor2.dumps(cbor2.CBORTag(27, ("os.system", "x"))), "the type 'os.system' is not known"),
        (cbor2.dumps(cbor2.CBORTag(27, ("subprocess.Popen", {"args": "x"}))), "is not known"),
        (b"\xf7", "expected a value of a known kind"),
    ],
)
def test_malformed_payloads_are_refused(data: bytes, text: str):
    """Whatever arrives: a typed error, never a crash, and nothing is executed for it."""
    with pytest.raises(InvalidInput, match=text):
        decode_payload(data, None, WHERE)


def test_too_large_payloads_are_refused():
    """K1: the limit is an error at the place of the call."""
    with pytest.raises(InvalidInput, match=f"are more than the {PAYLOAD_BYTES_MAX} allowed"):
        encode_payload(bytes(PAYLOAD_BYTES_MAX), None, WHERE)
    assert encode_payload(bytes(PAYLOAD_BYTES_MAX - 16), None, WHERE)


def test_subclasses_stay_what_they_are():
    """A value of a subclass is written with its name and must be one when it is read."""
    data = encode_payload([GiftCard("1", "x")], list[Card], WHERE)
    assert decode_payload(data, list[Card], WHERE) == [GiftCard("1", "x")]
    with pytest.raises(InvalidInput, match=r"expected tests\.codec\.samples\.Cash"):
        decode_payload(data, list[Cash], WHERE)


# -- arguments and JSON ---------------------------------------------------------------------------


def test_arguments():
    """Trailing arguments may be missing; too few and too many are told with the parameters."""
    data = encode_arguments((ORDER,), HINTS, WHERE)
    assert decode_arguments(data, HINTS, 1, WHERE) == (ORDER,)
    with pytest.raises(InvalidInput, match="1 argument given, the parameters are: order, count"):
        decode_arguments(data, HINTS, 2, WHERE)
    with pytest.raises(InvalidInput, match="3 arguments given"):
        decode_arguments(b"\x83\x01\x01\x01", HINTS, 1, WHERE)
    with pytest.raises(InvalidInput, match="expected an array of arguments"):
        decode_arguments(b"\x01", HINTS, 0, WHERE)
    with pytest.raises(InvalidInput, match=r"\$.count: expected int, got 'x'"):
        encode_arguments((ORDER, "x"), HINTS, WHERE)


def test_json_for_people():
    """A payload can be shown without its types, and what is shown can be given back as input."""
    shown = payload_to_json(encode_payload([ORDER], list[Order], WHERE))
    assert shown == [
        {
            "order_id": "o-1",
            "items": [{"name": "tea", "amount": 2}, {"name": "cup", "amount": 1}],
            "payment": {"$type": "tests.codec.samples.Card", "number": "4111"},
            "tags": ["new", "gift", "fragile"],
            "colour": "blue",
            "placed": "2024-02-29T12:30:15.250000+02:00",
            "notes": {
                "a": {"$type": "set", "$value": [3, 4]},
                "b": {"$type": "tuple", "$value": [1, 2]},
            },
        }
    ]
    back = payload_from_json(shown, {"order": Order}, WHERE)
    assert decode_arguments(back, {"order": Order}, 1, WHERE) == (ORDER,)


@pytest.mark.parametrize(
    ("source", "hint", "value"),
    [
        ('"eA=="', bytes, b"x"),
        ('{"1": "a"}', dict[int, str], {1: "a"}),
        ('{"true": "a"}', dict[bool, str], {True: "a"}),
        ("3", float, 3.0),
        ('{"number": "1"}', Card | Cash, Card("1")),
        ("[[1, 2]]", tuple[int, int], (1, 2)),
        ("null", int | None, None),
        ('"90.5s"', dt.timedelta, dt.timedelta(seconds=90.5)),
    ],
)
def test_json_input(source: str, hint: Any, value: Any):
    """JSON says less than CBOR: the hint decides what is meant."""
    data = payload_from_json(source, {"value": hint}, WHERE)
    assert decode_arguments(data, {"value": hint}, 1, WHERE) == (value,)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{", "not JSON"),
        ('"x"', "expected bytes as base64 text, got 'x'"),
        ("[1, 2]", "2 arguments given"),
    ],
)
def test_bad_json_is_refused(source: str, text: str):
    """Broken JSON, broken base64 and too many arguments are told apart."""
    with pytest.raises(InvalidInput, match=text):
        payload_from_json(source, {"value": bytes}, WHERE)


# -- any value ------------------------------------------------------------------------------------

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes(timezones=st.just(dt.UTC))
    | st.dates()
    | st.timedeltas()
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.builds(Item, st.text(), st.integers(1, 99))
)
keys = st.text() | st.integers() | st.tuples(st.integers(), st.text())
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
        | st.tuples(inner, inner)
        | st.frozensets(st.integers() | st.text(), max_size=4)
        | st.builds(Cash, st.lists(st.integers()))
    ),
    max_leaves=12,
)


@given(values)
def test_any_value_round_trips(value: Any):
    """Whatever is built of the supported parts comes back equal, with the same bytes."""
    data = encode_payload(value, None, WHERE)
    back = decode_payload(data, None, WHERE)
    assert back == value
    assert encode_payload(back, None, WHERE) == data
    payload_to_json(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes):
    """No input makes the decoder do anything but answer or raise InvalidInput."""
    for hint in (None, int, Order, list[Card | Cash], dict[str, Tree]):
        try:
            decode_payload(data, hint, WHERE)
        except InvalidInput:
            continue
