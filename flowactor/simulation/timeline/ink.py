"""SVG as text: the few elements that a timeline needs, with numbers as short as they can be."""

from html import escape
from typing import Final

from flowactor.simulation.timeline.wording import printable

__all__ = ["Ink", "number"]


def number(value: float) -> str:
    """With one decimal at most."""
    return f"{round(value * 10) / 10:g}" if abs(value) < 1e5 else str(round(value))


class Ink:
    """What has been drawn so far, in order."""

    def __init__(self) -> None:
        self._parts: Final[list[str]] = []

    def text(self) -> str:
        """All of it."""
        return "\n".join(self._parts)

    def raw(self, text: str) -> None:
        """An element as it is."""
        self._parts.append(text)

    def path(self, look: str, lines: str) -> None:
        """A path, if there is anything on it."""
        if lines:
            self._parts.append(f'<path class="{look}" d="{lines}"/>')

    def bar(
        self, look: str, x: float, y: float, width: float, height: float, radius: float = 0
    ) -> None:
        """A rectangle."""
        round_corners = f' rx="{number(radius)}"' if radius else ""
        self._parts.append(
            f'<rect class="{look}" x="{number(x)}" y="{number(y)}" width="{number(width)}"'
            f' height="{number(height)}"{round_corners}/>'
        )

    def dot(self, look: str, x: float, y: float, radius: float) -> None:
        """A circle."""
        self._parts.append(
            f'<circle class="{look}" cx="{number(x)}" cy="{number(y)}" r="{number(radius)}"/>'
        )

    def write(self, look: str, x: float, y: float, text: str, anchor: str = "") -> None:
        """A text on one line; its middle is at ``y``."""
        where = f' text-anchor="{anchor}"' if anchor else ""
        self._parts.append(
            f'<text class="{look}" x="{number(x)}" y="{number(y)}"{where}>'
            f"{escape(printable(text))}</text>"
        )
