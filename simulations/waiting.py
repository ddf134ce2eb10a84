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
}
"""name -> what it is about."""
