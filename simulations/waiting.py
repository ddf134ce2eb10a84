"""Stories that cannot be played yet: what they need is not built."""

from collections.abc import Mapping
from typing import Final

from attrs import frozen

__all__ = ["WAITING", "Waiting"]


@frozen
class Waiting:
    """What will happen in the story, and what it waits for."""

    text: str
    needs: str


WAITING: Final[Mapping[str, Waiting]] = {
    "leader-removed-while-partitioned": Waiting(
        "The leader is removed while it is cut off: it must not count itself, and must not come"
        " back as if nothing had happened (scylladb#10618).",
        "membership",
    ),
    "single-server-bug-of-2015": Waiting(
        "Four nodes; one change of membership adds a node, another removes one, in two terms:"
        " without a committed entry of the own term two majorities do not meet (hydro#3192).",
        "membership",
    ),
    "snapshot-with-membership-change": Waiting(
        "A snapshot is installed while the membership changes: it has to carry the configuration"
        " (openraft#1808).",
        "membership and snapshots",
    ),
    "two-joiners": Waiting(
        "Two nodes join through the same one at the same moment, and get different numbers.",
        "membership",
    ),
}
"""name -> what it is about."""
