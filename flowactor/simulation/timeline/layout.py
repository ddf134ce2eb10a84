"""How big things are, in pixels: the same for the page, which draws by itself, and the picture."""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from attrs import asdict, frozen

from flowactor.simulation.timeline.facts import CLIENT, FAULTS, NODE, RUN, Lane

__all__ = [
    "ARROWS_MAX",
    "LOST_LENGTH",
    "MARGIN",
    "NAMES_WIDTH",
    "RARE_ARROWS_MAX",
    "SIZES",
    "Place",
    "Size",
    "arrange",
    "geometry",
]

NAMES_WIDTH: Final = 196
"""Of the column with the names of lanes, and its edge."""
MARGIN: Final = 14
"""Right of everything."""
ARROWS_MAX: Final = 700
"""More messages than that in view are shown as density: nobody can tell them apart."""
RARE_ARROWS_MAX: Final = 150
"""Of types that are rare so many messages are drawn even then."""

LOST_LENGTH: Final = 24
"""Of a message that never came: it ends in the room between its lane and the next."""


@frozen
class Size:
    """The parts of a lane, from top to bottom.

    Attributes:
        first: room above the first lane of its kind.
        gap: room above each other one.
        pad: within, at the top and at the bottom.
        gutter: for the names of faults, where there are any.
        bar: the main bar.
        strip: of ticks and diamonds.
        row: each row of overlapping spans.
    """

    first: int
    gap: int
    pad: int
    gutter: int
    bar: int
    strip: int
    row: int


SIZES: Final[Mapping[str, Size]] = MappingProxyType(
    {
        FAULTS: Size(first=8, gap=0, pad=2, gutter=0, bar=0, strip=0, row=20),
        NODE: Size(first=28, gap=40, pad=4, gutter=14, bar=19, strip=15, row=18),
        RUN: Size(first=34, gap=2, pad=3, gutter=0, bar=16, strip=8, row=0),
        CLIENT: Size(first=30, gap=4, pad=3, gutter=0, bar=0, strip=0, row=19),
    }
)


def geometry() -> dict[str, Any]:
    """All of it as plain data, for the page."""
    return {
        "names": NAMES_WIDTH,
        "margin": MARGIN,
        "arrows": ARROWS_MAX,
        "rare": RARE_ARROWS_MAX,
        "lost": LOST_LENGTH,
        "lanes": {kind: asdict(size) for kind, size in SIZES.items()},
    }


@frozen
class Place:
    """Where a lane lies.

    Attributes:
        lane: which.
        heads: whether it is the first of its kind.
        y, height: all of it.
        gutter: height of the room for names of faults, within its top.
        bar_y, strip_y, rows_y: where its parts begin.
        size: of its kind.
    """

    lane: Lane
    heads: bool
    y: int
    height: int
    gutter: int
    bar_y: int
    strip_y: int
    rows_y: int
    size: Size

    @property
    def bottom(self) -> int:
        return self.y + self.height

    def row_y(self, row: int) -> int:
        """Where a bar in this row begins."""
        return self.rows_y + row * self.size.row + 1


def arrange(lanes: Iterable[Lane], struck: Collection[int], top: int) -> list[Place]:
    """The lanes below each other.

    Args:
        lanes: from top to bottom.
        struck: nodes that faults concern.
        top: where to begin.
    """
    places: list[Place] = []
    y, before = top, ""
    for lane in lanes:
        kind, number = lane.key
        size = SIZES[kind]
        gutter = size.gutter if kind == NODE and number in struck else 0
        y += size.gap if kind == before else size.first
        bar_y = y + size.pad + gutter
        strip_y = bar_y + size.bar
        rows_y = strip_y + size.strip
        height = rows_y + lane.rows * size.row + size.pad - y
        places.append(Place(lane, kind != before, y, height, gutter, bar_y, strip_y, rows_y, size))
        y += height
        before = kind
    return places
