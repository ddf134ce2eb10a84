"""What can go wrong: every fault is a fact with a time, a target, and most with an end.

Times are seconds of virtual time from the start of a run; nodes count from 1. Written out as Python
a list of these is the whole description of a bad day, and that is how a failure is reported.

``until`` None means: until the faults of the run end (see ``scenario``). A node that is started
again finds on its disk what the fault left there.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from math import isfinite
from typing import Final

from attrs import AttrsInstance, fields_dict, frozen

from flowactor.errors import ConfigurationError

__all__ = [
    "DOWN",
    "KINDS",
    "BitFlip",
    "Block",
    "ClockDrift",
    "ClockJump",
    "ClockOffset",
    "Crash",
    "DiskFull",
    "DiskSlow",
    "DiskStall",
    "Duplicate",
    "Fault",
    "Loss",
    "MisdirectedWrite",
    "Partition",
    "Pause",
    "PowerCut",
    "Reorder",
    "Reset",
    "SlowLink",
    "SyncError",
    "Wipe",
    "check_faults",
    "end_of",
    "kind_of",
    "misfit",
    "nodes_of",
    "parse_kinds",
    "source_of",
]

# -- processes --------------------------------------------------------------------------------


@frozen
class Crash:
    """The process of ``node`` is killed, and started again at ``until``. What it had handed to the
    operating system stays.
    """

    node: int
    at: float
    until: float | None = None


@frozen
class PowerCut:
    """These machines lose power: of what they had not synced, every sector is there or not."""

    nodes: tuple[int, ...]
    at: float
    until: float | None = None


@frozen
class Pause:
    """The process of ``node`` is stopped as by SIGSTOP, and wakes at ``until``, late for all."""

    node: int
    at: float
    until: float | None = None


@frozen
class Wipe:
    """``node`` loses its disk and is started with an empty one. The cluster must refuse it."""

    node: int
    at: float
    until: float | None = None


# -- network ----------------------------------------------------------------------------------


@frozen
class Partition:
    """Two nodes can talk if they stand on one side together; a node may stand on several."""

    sides: tuple[tuple[int, ...], ...]
    at: float
    until: float | None = None


@frozen
class Block:
    """Nothing that ``source`` sends reaches ``target``; the other way is as it was."""

    source: int
    target: int
    at: float
    until: float | None = None


@frozen
class SlowLink:
    """What ``source`` sends to ``target`` takes up to ``seconds`` longer."""

    source: int
    target: int
    seconds: float
    at: float
    until: float | None = None


@frozen
class Loss:
    """This share of what ``source`` sends to ``target`` is lost; on a stream, sent again later."""

    source: int
    target: int
    odds: float
    at: float
    until: float | None = None


@frozen
class Duplicate:
    """This share of what ``source`` sends to ``target`` arrives twice; on a stream, unseen."""

    source: int
    target: int
    odds: float
    at: float
    until: float | None = None


@frozen
class Reorder:
    """Messages from ``source`` to ``target`` overtake each other; on streams, connections do."""

    source: int
    target: int
    at: float
    until: float | None = None


@frozen
class Reset:
    """All connections between the two break at this moment; what was under way is lost."""

    source: int
    target: int
    at: float


# -- clocks -----------------------------------------------------------------------------------


@frozen
class ClockOffset:
    """The wall clock of ``node`` is wrong by ``seconds`` meanwhile."""

    node: int
    seconds: float
    at: float
    until: float | None = None


@frozen
class ClockDrift:
    """The clocks of ``node`` run at ``rate`` times the true pace meanwhile."""

    node: int
    rate: float
    at: float
    until: float | None = None


@frozen
class ClockJump:
    """The wall clock of ``node`` leaps by ``seconds``, and stays so."""

    node: int
    seconds: float
    at: float


# -- disks ------------------------------------------------------------------------------------


@frozen
class DiskSlow:
    """Every write of ``node`` takes up to ``seconds`` longer."""

    node: int
    seconds: float
    at: float
    until: float | None = None


@frozen
class DiskStall:
    """No write of ``node`` finishes before ``until``."""

    node: int
    at: float
    until: float | None = None


@frozen
class SyncError:
    """The next sync of ``node`` fails, or all until ``until`` if ``lasting``. The node stops, and
    its supervisor starts it again a second later.
    """

    node: int
    at: float
    until: float | None = None
    lasting: bool = False


@frozen
class DiskFull:
    """The disk of ``node`` has no room for new data meanwhile."""

    node: int
    at: float
    until: float | None = None


@frozen
class BitFlip:
    """One bit that ``node`` has stored is another one from now on: ``place`` chooses which."""

    node: int
    place: float
    at: float


@frozen
class MisdirectedWrite:
    """One sector that ``node`` writes next lands where another was: ``place`` chooses where."""

    node: int
    place: float
    at: float


Fault = (
    Crash
    | PowerCut
    | Pause
    | Wipe
    | Partition
    | Block
    | SlowLink
    | Loss
    | Duplicate
    | Reorder
    | Reset
    | ClockOffset
    | ClockDrift
    | ClockJump
    | DiskSlow
    | DiskStall
    | SyncError
    | DiskFull
    | BitFlip
    | MisdirectedWrite
)

KINDS: Final[dict[str, type[Fault]]] = {
    "crash": Crash,
    "power-cut": PowerCut,
    "pause": Pause,
    "wipe": Wipe,
    "partition": Partition,
    "block": Block,
    "slow-link": SlowLink,
    "loss": Loss,
    "duplicate": Duplicate,
    "reorder": Reorder,
    "reset": Reset,
    "clock-offset": ClockOffset,
    "clock-drift": ClockDrift,
    "clock-jump": ClockJump,
    "disk-slow": DiskSlow,
    "disk-stall": DiskStall,
    "sync-error": SyncError,
    "disk-full": DiskFull,
    "bit-flip": BitFlip,
    "misdirected-write": MisdirectedWrite,
}
"""The words by which people ask for faults."""

DOWN: Final = (Crash, PowerCut, Wipe)
"""Faults that end a process."""

_KIND_OF: Final = {cls: word for word, cls in KINDS.items()}


def kind_of(fault: Fault) -> str:
    """The word for its kind, as in ``KINDS``."""
    return _KIND_OF[type(fault)]


def end_of(fault: Fault, last: float) -> float:
    """When it ends; ``last`` is when all do. What happens at one moment ends there."""
    if "until" not in fields_dict(type(fault)):
        return fault.at
    until: float | None = getattr(fault, "until", None)
    return last if until is None else until


def nodes_of(fault: Fault) -> tuple[int, ...]:
    """Every node it names, each once, in order."""
    match fault:
        case PowerCut(nodes=nodes):
            named = list(nodes)
        case Partition(sides=sides):
            named = [node for side in sides for node in side]
        case Block() | SlowLink() | Loss() | Duplicate() | Reorder() | Reset():
            named = [fault.source, fault.target]
        case _:
            named = [fault.node]
    return tuple(dict.fromkeys(named))


def parse_kinds(words: str) -> tuple[str, ...]:
    """Kinds from a list with commas; ``all`` and ``none`` are words too.

    Raises:
        ConfigurationError: a word that names no fault; lists those there are.
    """
    given = [word.strip() for word in words.split(",")]
    if given == ["all"]:
        return tuple(KINDS)
    if given == ["none"]:
        return ()
    for word in given:
        if word in {"all", "none"}:
            raise ConfigurationError(f"{word!r} stands alone: ask for it, or for kinds of fault")
        if word not in KINDS:
            said = f"there is no fault {word!r}" if word else "a name is missing"
            raise ConfigurationError(
                f"{said}: ask for all, or for none, or for some of {', '.join(KINDS)}"
            )
    return tuple(dict.fromkeys(given))


def check_faults(faults: Iterable[Fault], nodes: int) -> None:
    """Refuse a schedule that cannot be played on ``nodes`` nodes.

    Raises:
        ConfigurationError: names the fault, and what is wrong with it.
    """
    down: dict[int, list[tuple[float, float, Fault]]] = {}
    for fault in faults:
        wrong = _complaint(fault, nodes)
        if wrong:
            raise ConfigurationError(f"{source_of(fault)}: {wrong}")
        if isinstance(fault, (*DOWN, Pause)):
            for node in nodes_of(fault):
                down.setdefault(node, []).append((fault.at, end_of(fault, float("inf")), fault))
    for node, times in down.items():
        for (_, ends, one), (begins, _, other) in pairwise(sorted(times, key=lambda t: t[:2])):
            if begins < ends:
                raise ConfigurationError(
                    f"{source_of(other)} strikes node {node} while {source_of(one)} has it down:"
                    " begin it after the other ends, or drop one"
                )


def misfit(thing: AttrsInstance) -> str:
    """What a field of a fault or change holds in place of a number; empty if all is well."""
    for name, field in fields_dict(type(thing)).items():
        value = getattr(thing, name)
        for each in _leaves(value):
            if each is None and field.default is None:
                continue
            if field.type in _OF_NODES and not isinstance(each, int):
                return f"{name}={value!r}: {each!r} is not the number of a node"
            if field.type in _OF_NUMBERS and not isinstance(each, int | float):
                return f"{name}={value!r}: {each!r} is not a number"
    return ""


_OF_NODES: Final = (int, tuple[int, ...], tuple[tuple[int, ...], ...])
_OF_NUMBERS: Final = (float, float | None)


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, tuple):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _complaint(fault: Fault, nodes: int) -> str:
    if wrong := misfit(fault):
        return wrong
    for node in nodes_of(fault):
        if not 1 <= node <= nodes:
            return f"there is no node {node}, nodes are 1 to {nodes}"
    for name in fields_dict(type(fault)):
        value = getattr(fault, name)
        if isinstance(value, float) and not isfinite(value):
            return f"{name}={value} is no number to work with"
    if fault.at < 0:
        return "it begins before the run does"
    if end_of(fault, float("inf")) < fault.at or getattr(fault, "until", None) == fault.at:
        return "it ends before it begins"
    if isinstance(fault, Loss | Duplicate) and not 0 <= fault.odds <= 1:
        return "odds are between 0 and 1"
    if isinstance(fault, SlowLink | DiskSlow) and fault.seconds <= 0:
        return "its seconds must be more than 0"
    if isinstance(fault, ClockDrift) and fault.rate <= 0:
        return "a clock that stands still or runs backwards is no clock: its rate must be positive"
    if isinstance(fault, BitFlip | MisdirectedWrite) and not 0 <= fault.place < 1:
        return "place is at least 0 and less than 1"
    if isinstance(fault, Block | SlowLink | Loss | Duplicate | Reorder | Reset) and (
        fault.source == fault.target
    ):
        return "no link leads from a node to itself"
    if isinstance(fault, PowerCut) and not fault.nodes:
        return "it names no node"
    return ""


def source_of(fault: Fault) -> str:
    """The fault as Python that makes it again, without what is as usual."""
    parts = []
    for name, field in fields_dict(type(fault)).items():
        value = getattr(fault, name)
        if field.default != value:
            parts.append(f"{name}={value!r}")
    return f"{type(fault).__name__}({', '.join(parts)})"
