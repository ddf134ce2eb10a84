"""Types of users, in the shapes that payloads must carry."""

import dataclasses
import datetime as dt
import decimal
import enum
import typing
import uuid
from typing import Any, Generic, TypeVar

from attrs import define, field, frozen, validators

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mode(enum.StrEnum):
    FAST = "fast"


@frozen
class Card:
    number: str


@frozen
class Cash:
    coins: list[int] = field(factory=list)


@frozen
class GiftCard(Card):
    text: str = ""


@frozen
class Item:
    name: str
    amount: int = field(default=1, validator=validators.gt(0))


@frozen
class Order:
    order_id: str
    items: list[Item]
    payment: Card | Cash | None = None
    tags: frozenset[str] = frozenset()
    colour: Colour = Colour.RED
    placed: dt.datetime | None = None
    notes: dict[str, Any] = field(factory=dict)


@frozen
class Box(Generic[T]):
    content: T
    spare: list[T] = field(factory=list)


@define
class Tree:
    value: int
    children: "list[Tree]" = field(factory=list)
    parent: "Tree | None" = None


@dataclasses.dataclass
class Plain:
    ratio: float
    by_day: dict[dt.date, Item]


class Point(typing.NamedTuple):
    x: int
    y: int


class Options(typing.TypedDict):
    depth: int


UserId = typing.NewType("UserId", int)

MOMENT = dt.datetime(2024, 2, 29, 12, 30, 15, 250_000, tzinfo=dt.timezone(dt.timedelta(hours=2)))
ORDER = Order(
    "o-1",
    [Item("tea", 2), Item("cup")],
    Card("4111"),
    frozenset({"new", "gift", "fragile"}),
    Colour.BLUE,
    MOMENT,
    {"b": (1, 2), "a": {3, 4}},
)

TYPED: list[tuple[Any, Any]] = [
    (None, None),
    (True, bool),
    (-5, int),
    (2**80, int),
    (1.5, float),
    (3, float),
    ("é", str),
    (b"\x00", bytes),
    ([1, 2], list[int]),
    ((1, "a"), tuple[int, str]),
    ((1, 2, 3), tuple[int, ...]),
    ((), tuple[()]),
    ({"b", "a"}, set[str]),
    (frozenset({2, 1}), frozenset[int]),
    ({"b": 1, "a": [2]}, dict[str, Any]),
    ({1: Item("x")}, dict[int, Item]),
    ([1, 2], typing.Sequence[int]),
    ({"a": 1}, typing.Mapping[str, int]),
    (Colour.RED, Colour),
    (Level.HIGH, Level),
    (Mode.FAST, Mode),
    (MOMENT, dt.datetime),
    (MOMENT.replace(tzinfo=None), dt.datetime),
    (dt.date(2024, 1, 1), dt.date),
    (dt.time(1, 2, 3), dt.time),
    (dt.timedelta(days=-1, microseconds=7), dt.timedelta),
    (decimal.Decimal("1.50"), decimal.Decimal),
    (uuid.UUID(int=7), uuid.UUID),
    (ORDER, Order),
    (Card("1"), Card | Cash),
    (Cash([5]), Card | Cash),
    (GiftCard("1", "hi"), Card),
    (GiftCard("1", "hi"), Card | Cash),
    (None, Card | None),
    (Card("1"), Card | None),
    (5, int | str),
    ("5", int | str),
    (5, float | int),
    (MOMENT, str | dt.datetime),
    ("2024-01-01", str | dt.date),
    (Colour.RED, Colour | str),
    ("red", Colour | str),
    ([1], list[int] | dict[str, int]),
    ((1,), tuple[int] | list[int]),
    (Box(Item("x"), [Item("y")]), Box[Item]),
    (Tree(1, [Tree(2)], Tree(0)), Tree),
    (Plain(2.0, {dt.date(2024, 1, 1): Item("x")}), Plain),
    (Point(1, 2), Point),
    (Options(depth=3), Options),
    (UserId(3), UserId),
    ("a", typing.Literal["a", "b"]),
    (4, typing.Annotated[int, "four"]),
    ({Item("k"): 1}, dict[Item, int]),
    ({frozenset({1}): 2}, dict[frozenset[int], int]),
]
"""(value, hint): each comes back equal and of the same type."""

UNTYPED: list[Any] = [
    None,
    1,
    2.5,
    "x",
    b"y",
    [1, [2]],
    {"a": None},
    (1, (2, [3])),
    {1, 2},
    frozenset({"a"}),
    Colour.BLUE,
    Level.LOW,
    MOMENT,
    dt.date(2024, 1, 1),
    dt.timedelta(seconds=1.5),
    decimal.Decimal("0.1"),
    uuid.UUID(int=1),
    ORDER,
    [Card("1"), Cash([1])],
    {"k": Item("x")},
    {(1, 2): "pair"},
    {Item("x"): 1},
    Plain(1.0, {}),
    {1: 2, "1": 3},
]
"""Values that come back equal although nobody says what they are."""
