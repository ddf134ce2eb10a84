"""The names things go by. Keys are tuples, never joined strings: rule *structured_keys*."""

from hashlib import blake2b
from typing import NewType

from flowactor.limits import SLOTS

__all__ = [
    "ClusterId",
    "GroupId",
    "NodeId",
    "RunId",
    "SessionId",
    "Slot",
    "StepKey",
    "TimerKey",
    "describe_key",
    "slot_of",
]

ClusterId = NewType("ClusterId", str)
NodeId = NewType("NodeId", int)
"""1 and up; 0 means nobody."""
GroupId = NewType("GroupId", int)
"""0 is the management group, execution groups count from 1."""
RunId = NewType("RunId", str)
"""One execution, unique in the cluster; a workflow id has one open run at most."""
SessionId = NewType("SessionId", str)
Slot = NewType("Slot", int)
"""0 up to ``limits.SLOTS``: what is placed in a group as a whole, and moves as a whole."""

StepKey = tuple[tuple[int, ...], str, int]
"""(scope path, name, occurrence in that scope), however branches interleave."""
TimerKey = StepKey


def describe_key(key: StepKey) -> str:
    """A step or timer key for people: ``charge_card``, ``charge_card#2``, ``0.1/charge_card``."""
    scope, name, occurrence = key
    prefix = ".".join(map(str, scope)) + "/" if scope else ""
    return f"{prefix}{name}" + (f"#{occurrence}" if occurrence else "")


def slot_of(name: str) -> Slot:
    """The slot of a workflow id or of a stand-alone variable: the same on every node, for ever."""
    digest = blake2b(name.encode(), digest_size=8).digest()
    return Slot(int.from_bytes(digest, "big") % SLOTS)
