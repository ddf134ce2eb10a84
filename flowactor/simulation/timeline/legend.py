"""What the forms in a timeline mean; the colours are those of the nodes."""

from typing import Final

from flowactor.simulation.timeline.scale import text_width

__all__ = ["legend_html", "legend_svg"]

SPACE: Final = 16
MARK_ROOM: Final = 6

BOX: Final = 'y="-7" width="22" height="14" rx="3"'

KEYS: Final = (
    ("leader", 22, f'<rect class="role leader c1" {BOX}/>'),
    ("candidate", 22, f'<rect class="role candidate c1" {BOX}/>'),
    ("follower", 22, f'<rect class="role follower c1" {BOX}/>'),
    ("down", 22, f'<rect class="absence down" {BOX}/>'),
    ("paused", 22, f'<rect class="absence paused" {BOX}/>'),
    ("entry applied", 16, '<path class="applied c1" d="M2 -5v10M8 -5v10M14 -5v10"/>'),
    ("entry durable", 16, '<path class="durable c1" d="M2 -3v5M8 -3v5M14 -3v5"/>'),
    (
        "step",
        22,
        f'<rect class="step completed c1" {BOX}/>',
        '<path class="step-edge c1" d="M0 -7h2.5v14h-2.5z"/>',
    ),
    ("step failed", 9, '<path class="bad" d="M2 -3l6 6m0 -6l-6 6"/>'),
    ("step cut short", 9, '<path class="bad" d="M5 -8l-4 5l6 5l-4 6"/>'),
    ("effect in the world", 12, '<path class="effect" d="M6 -6l6 6l-6 6l-6 -6z"/>'),
    (
        "message",
        18,
        '<path class="message" d="M0 -6L16 5"/>',
        '<path class="head" d="M18 6.5l-6 -1l3 -4z"/>',
    ),
    (
        "vote",
        18,
        '<path class="message vote" d="M0 -6L16 5"/>',
        '<path class="head vote" d="M18 6.5l-6 -1l3 -4z"/>',
    ),
    (
        "lost",
        15,
        '<path class="message lost" d="M0 -6L11 2"/>',
        '<path class="cross" d="M9 -1l6 6m0 -6l-6 6"/>',
    ),
    ("new owner", 12, '<path class="moved c1" d="M6 -8l6 8l-6 8l-6 -8z"/>'),
    ("advance", 6, '<circle class="advanced c1" cx="3" cy="0" r="2.5"/>'),
)
"""(what it means, width of the mark, the mark as SVG around a middle at 0 ...)."""


def legend_svg(x: int, y: int) -> str:
    """On one line, from ``x`` on, with its middle at ``y``."""
    parts = [f'<g class="legend" transform="translate({x} {y})">']
    at = 0
    for text, width, *mark in KEYS:
        label = f'<text x="{width + MARK_ROOM}" y="0.5">{text}</text>'
        parts.append(f'<g transform="translate({at} 0)">{"".join(mark)}{label}</g>')
        at += round(width + MARK_ROOM + text_width(text) + SPACE)
    return "\n".join((*parts, "</g>"))


def legend_html() -> str:
    """As pieces of text that a page may break into lines."""
    return "".join(
        f'<span class="key"><svg width="{width}" height="18" viewBox="0 -9 {width} 18"'
        f' aria-hidden="true">{"".join(mark)}</svg>{text}</span>'
        for text, width, *mark in KEYS
    )
