"""A scenario as Python: a script that repeats the run, to be read, pasted, kept and changed.

It says only what is not as usual, one fault and one act to a line, laid out as ``ruff format``
would, so that it can go into a file of the project as it is.
"""

import textwrap
from collections.abc import Callable, Iterable
from typing import Any, Final

from attrs import fields, has

from flowactor.limits import NANOSECONDS
from flowactor.simulation.changes import Change
from flowactor.simulation.faults import Fault
from flowactor.simulation.outcome import Failure
from flowactor.simulation.scenario import Act, Depth, Invariant, Scenario
from flowactor.simulation.strike import Strike
from flowactor.simulation.timeline.wording import seconds_text

__all__ = ["script_of", "source_of_value"]

WIDTH: Final = 100
INDENT: Final = "    "


def script_of(
    scenario: Scenario,
    *,
    app: str,
    depth: Depth,
    failure: Failure | None = None,
    strike: Strike | None = None,
) -> str:
    """The script: it defines ``SCENARIO``, ``DEPTH`` and, if there is one, ``STRIKE``, and run as a
    program it ends with the failure as its message, or with nothing if there is none.

    Args:
        scenario: whose checks, if it has any, stand at the top of importable modules; the others
            are named in a comment.
        app: where its app is, ``module:attribute``.
        depth: at which it is to be run.
        failure: what it ends with; the script tells it at the top.
        strike: what strikes it, in an exhaustive search.
    """
    imports = _Imports()
    lacking = [check for check in scenario.invariants if not _is_importable(check)]
    settings = _settings(scenario, app, depth, lacking, imports)
    lines = [f"SCENARIO = {_exploded('Scenario(', settings, ')', INDENT)}"]
    lines.append(f"DEPTH = Depth.{depth.name}")
    if strike is not None:
        imports.name(Strike)
        lines.append(f"STRIKE = {source_of_value(strike, used=len('STRIKE = '))}")
    struck = ", strike=STRIKE" if strike is not None else ""
    comments = [
        f"# It also had the check {_name_of(c)}, which cannot be imported." for c in lacking
    ]
    imports.add("flowactor.simulation.run", "simulate")
    imports.name(Depth)
    imports.name(Scenario)
    return "\n".join(
        [
            _docstring(scenario, app, failure),
            "",
            *imports.lines(),
            "",
            *comments,
            *lines,
            "",
            'if __name__ == "__main__":',
            f"    failure = simulate(SCENARIO, DEPTH{struck}).failure",
            '    raise SystemExit(f"{failure.checker}: {failure.message}" if failure else None)',
            "",
        ]
    )


def _settings(
    scenario: Scenario, app: str, depth: Depth, lacking: list[Invariant], imports: "_Imports"
) -> list[str]:
    """Arguments of ``Scenario``, as source, without those that are as usual."""
    module, _, attribute = app.partition(":")
    imports.add(module, attribute.partition(".")[0])
    for one in (*scenario.faults, *scenario.changes, *scenario.acts):
        imports.name(type(one))
    settings = [f"app={attribute}"]
    for field in fields(Scenario):
        value = getattr(scenario, field.name)
        if field.name in ("app", "invariants") or value == field.default:
            continue
        if depth is Depth.CORE and field.name in ("deviations", "sockets"):
            continue
        before = f"{field.name}="
        settings.append(before + source_of_value(value, INDENT, len(INDENT) + len(before) + 1))
    checks = [check for check in scenario.invariants if check not in lacking]
    for check in checks:
        imports.add(check.__module__, check.__qualname__.partition(".")[0])
    if checks:
        names = [check.__qualname__ for check in checks]
        flat = f"invariants={_tuple(names)}"
        fits = len(INDENT) + len(flat) + 1 <= WIDTH
        settings.append(flat if fits else _exploded("invariants=(", names, ")", 2 * INDENT))
    return settings


def _docstring(scenario: Scenario, app: str, failure: Failure | None) -> str:
    title = f"Seed {scenario.seed} of {app}"
    if failure is None:
        return f'"""{title}."""'
    when = seconds_text(round(failure.at_seconds * NANOSECONDS))  # as its timeline says
    told = f"{failure.checker}, at {when}: {' '.join(failure.message.split())}"
    safe = told.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    wrapped = textwrap.fill(safe, WIDTH, break_long_words=False, break_on_hyphens=False)
    return f'"""{title}.\n\n{wrapped}\n"""'


def _is_importable(check: Invariant) -> bool:
    name = getattr(check, "__qualname__", "<")
    return "<" not in name and getattr(check, "__module__", "__main__") != "__main__"


def _name_of(check: Invariant) -> str:
    return getattr(check, "__qualname__", type(check).__name__)


# -- values -------------------------------------------------------------------------------------


def source_of_value(value: Any, indent: str = "", used: int = 0) -> str:
    """Python that makes a fact or a plain value again, over several lines if one is too short.

    Args:
        value: an attrs object, or numbers, texts, truths, None, and lists, tuples, mappings and
            frozen sets of them.
        indent: of the line it begins on.
        used: columns of that line that are taken, before and after it.
    """
    flat = _flat(value)
    if used + len(flat) <= WIDTH:
        return flat
    inner = indent + INDENT

    def part(before: str, item: Any) -> str:
        return before + source_of_value(item, inner, len(inner) + len(before) + 1)

    opening, parts, closing = _parts(value, part)
    return _exploded(opening, parts, closing, inner) if parts else flat


def _flat(value: Any) -> str:
    opening, parts, closing = _parts(value, lambda before, item: before + _flat(item))
    if isinstance(value, tuple):
        return _tuple(parts)
    return opening + ", ".join(parts) + closing


def _parts(value: Any, part: Callable[[str, Any], str]) -> tuple[str, list[str], str]:
    """What opens it, its parts, what closes it; ``part`` takes what stands before a value."""
    if has(type(value)):
        given = [
            part(f"{field.name}=", getattr(value, field.name))
            for field in fields(type(value))
            if getattr(value, field.name) != field.default
        ]
        return f"{type(value).__name__}(", given, ")"
    match value:
        case str():
            return _text(value), [], ""
        case tuple():
            return "(", [part("", item) for item in value], ")"
        case list():
            return "[", [part("", item) for item in value], "]"
        case dict():
            return "{", [part(f"{_flat(key)}: ", item) for key, item in value.items()], "}"
        case frozenset() if not value:
            return "frozenset()", [], ""
        case frozenset() if len(value) > 3 and sorted(value) == list(range(len(value))):
            return f"frozenset(range({len(value)}))", [], ""
        case frozenset():
            return "frozenset(", [part("", set(value))], ")"
        case set():
            return "{", [part("", item) for item in sorted(value)], "}"
        case _:
            return repr(value), [], ""


def _tuple(parts: list[str]) -> str:
    return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"


def _text(value: str) -> str:
    """In double quotes, unless that needs more backslashes."""
    single = repr(value)
    if single.startswith('"') or value.count('"') > value.count("'"):
        return single
    return '"' + single[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'


def _exploded(opening: str, parts: Iterable[str], closing: str, inner: str) -> str:
    """One part to a line, each with its comma."""
    lines = "".join(f"\n{inner}{part}," for part in parts)
    return f"{opening}{lines}\n{inner.removesuffix(INDENT)}{closing}"


# -- imports ------------------------------------------------------------------------------------


class _Imports:
    """The names a script needs, by module."""

    def __init__(self) -> None:
        self._names: Final[dict[str, set[str]]] = {}

    def add(self, module: str, name: str) -> None:
        self._names.setdefault(module, set()).add(name)

    def name(self, cls: type[Fault | Change | Act | Scenario | Depth | Strike]) -> None:
        self.add(cls.__module__, cls.__name__)

    def lines(self) -> list[str]:
        """Those of flowactor first, then those of its user."""
        own = [module for module in sorted(self._names) if module.startswith("flowactor.")]
        others = [module for module in sorted(self._names) if module not in own]
        blank = [""] if own and others else []
        return [*map(self._line, own), *blank, *map(self._line, others)]

    def _line(self, module: str) -> str:
        names = sorted(self._names[module], key=lambda name: (_rank(name), name))
        line = f"from {module} import {', '.join(names)}"
        if len(line) <= WIDTH:
            return line
        return f"from {module} import {_exploded('(', names, ')', INDENT)}"


def _rank(name: str) -> int:
    """Constants, then classes, then the rest, as import sorters do."""
    if name.isupper() and len(name) > 1:
        return 0
    return 1 if name[0].isupper() else 2
