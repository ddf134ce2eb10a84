"""The names things go by. Keys are tuples, never joined strings: rule *structured_keys*."""

from typing import NewType

__all__ = [
    "ClusterId",
    "GroupId",
    "NodeId",
    "RunId",
    "SessionId",
    "StepKey",
    "TimerKey",
    "describe_key",
]

ClusterId = NewType("ClusterId", str)
NodeId = NewType("NodeId", int)
"""1 and up; 0 means nobody."""
GroupId = NewType("GroupId", int)
"""0 is the management group, execution groups count from 1."""
RunId = NewType("RunId", str)
"""One execution, unique in the cluster; a workflow id has one open run at most."""
SessionId = NewType("SessionId", str)

StepKey = tuple[tuple[int, ...], str, int]
"""(scope path, name, occurrence in that scope), however branches interleave."""
TimerKey = StepKey


def describe_key(key: StepKey) -> str:
    """A step or timer key for people: ``charge_card``, ``charge_card#2``, ``0.1/charge_card``."""
    scope, name, occurrence = key
    prefix = ".".join(map(str, scope)) + "/" if scope else ""
    return f"{prefix}{name}" + (f"#{occurrence}" if occurrence else "")
