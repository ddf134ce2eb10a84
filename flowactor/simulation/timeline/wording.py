"""How each kind of thing reads: on a bar that has little room, as a title, and field by field."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from attrs import frozen

from flowactor.simulation.timeline.facts import Value

__all__ = [
    "WORDING",
    "Wording",
    "counted",
    "fields_of",
    "labels_of",
    "length_text",
    "printable",
    "seconds_text",
    "title_of",
    "virtual_text",
]


PLACE: Final = re.compile(r"\{(form|[0-9]+)\}")
DAY_NS: Final = 86_400 * 10**9
MANY: Final = 100
"""From here on no decimals are told."""
UNITS: Final = ((DAY_NS, "d"), (3600 * 10**9, "h"), (60 * 10**9, "min"), (10**9, "s"))


@frozen
class Wording:
    """Templates name the details by number, and the form as ``{form}``.

    Attributes:
        title: one line that says it.
        fields: what each detail is; an empty name: not shown.
        labels: for a bar, from the longest to the shortest; the first that fits is taken.
    """

    title: str
    fields: tuple[str, ...]
    labels: tuple[str, ...] = ()


WORDING: Final[Mapping[str, Wording]] = MappingProxyType(
    {
        "role": Wording(
            "{form} of term {0}", ("term", "leader"), ("{form} · term {0}", "term {0}", "{0}")
        ),
        "absence": Wording("{form}", ("why",), ("{form}: {0}", "{form}")),
        "step": Wording(
            "step {1}, attempt {2}: {3}",
            ("run", "step", "attempt", "outcome"),
            ("{1} · attempt {2}", "{1} #{2}", "{1}"),
        ),
        "owner": Wording(
            "performed by node {1}",
            ("run", "owner", "epoch"),
            ("node {1} · epoch {2}", "node {1}", "{1}"),
        ),
        "operation": Wording(
            "{2}",
            ("client", "request", "asked", "node", "answer"),
            ("{2} → {4}", "{2}"),
        ),
        "fault": Wording("{0}", ("fault", "written"), ("{1}", "{0}")),
        "committed": Wording("applied entry {0}", ("entry", "term", "digest")),
        "appended": Wording("entries {0} to {1} are durable", ("first", "last", "term")),
        "effect": Wording("effect on {0}", ("ledger", "key", "entry")),
        "started": Wording("node started", ("applied", "last entry")),
        "opened": Wording("opened", ("workflow id", "type", "owner", "entry")),
        "advanced": Wording("advance to position {0}", ("position", "commands", "entry")),
        "moved": Wording("node {1} takes over from node {0}", ("from", "owner", "epoch", "entry")),
        "closed": Wording("{0}", ("status", "entry")),
        "message": Wording("{0}: {form}", ("message", "term", "number")),
    }
)
"""By kind of span, point and arrow."""


def title_of(kind: str, form: str, details: tuple[Value, ...]) -> str:
    """One line that says what it is."""
    return fill(WORDING[kind].title, form, details)


def labels_of(kind: str, form: str, details: tuple[Value, ...]) -> Iterator[str]:
    """What may be written on it, from the longest to the shortest; none with a hole in it."""
    there = {str(number) for number, value in enumerate(details) if value != ""} | {"form"}
    return (
        fill(template, form, details)
        for template in WORDING[kind].labels
        if there.issuperset(PLACE.findall(template))
    )


def fields_of(kind: str, details: tuple[Value, ...]) -> Iterator[tuple[str, Value]]:
    """(name, value) of each detail that is there."""
    return (
        (name, value)
        for name, value in zip(WORDING[kind].fields, details, strict=False)
        if value != ""
    )


def fill(template: str, form: str, details: tuple[Value, ...]) -> str:
    """The template with its places filled; what was not recorded is left empty."""

    def value(place: re.Match[str]) -> str:
        if place[1] == "form":
            return form
        number = int(place[1])
        return str(details[number]) if number < len(details) else ""

    return PLACE.sub(value, template)


def seconds_text(at_ns: int, digits: int = 3) -> str:
    """``1.234 s``: rounded down, by integers alone."""
    shown = abs(at_ns) // 10 ** (9 - digits)
    sign = "-" if at_ns < 0 else ""
    whole, part = divmod(shown, 10**digits)
    return f"{sign}{whole}.{part:0{digits}} s" if digits else f"{sign}{whole} s"


def length_text(length_ns: int) -> str:
    """``14 d``, ``1.5 h``: a length of time as short as it can be said, from seconds up."""
    unit_ns, name = next((unit for unit in UNITS if length_ns >= unit[0]), UNITS[-1])
    number = length_ns / unit_ns
    return f"{number:.0f} {name}" if number >= MANY else f"{number:.3g} {name}"


def virtual_text(length_ns: int) -> str:
    """How long a run was; one that took days says so, too."""
    days = f" ({length_text(length_ns)})" if length_ns >= DAY_NS else ""
    return f"{seconds_text(length_ns)}{days} of virtual time"


def counted(number: int, noun: str) -> str:
    """``1 fault``, ``1,234 faults``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def printable(text: str) -> str:
    """Without control characters and lone surrogates: neither XML nor a terminal may see them."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
