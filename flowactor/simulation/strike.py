"""One blow at one exact point of a run's history: what an exhaustive search is made of.

A *point* is a moment at which a fault could strike the owner of a run and mean something else than
at its neighbours. A simulated run counts them from 1, in the order in which they come up, whatever
run they are about, and says how many there were (``Outcome.points``):

- just before, and just after, a committed entry that concerns the run is applied at its owner;
- at the node where a step's body runs: just before it begins, at each ``await`` of it that waits,
  and just after it ended, before its result is proposed.

With a strike of point *k* nothing at all differs from the run without it until that point comes up:
no draw, no event, no digest. So a run struck at *k* reaches it for certain, and runs for 1 to
``points`` are all there are.
"""

from typing import Final

from attrs import frozen

from flowactor.errors import ConfigurationError

__all__ = ["STRIKES", "Strike"]

STRIKES: Final = {
    "owner-crash": "the node that owns the run is killed, and started again",
    "crash": "one certain node is killed, and started again; each node has its turn",
    "partition": "the node that owns the run is cut off from all others, and joined again",
}
"""kind -> what it does."""


@frozen
class Strike:
    """Strike exactly once, synchronously, at the moment of the point: nothing comes in between.

    Attributes:
        kind: one of ``STRIKES``.
        point: which, from 1. A run with fewer points is not struck.
        seconds: of virtual time until what was struck is mended.
        node: who is struck, for ``crash``; the others ask the point whose run it is about, and this
            is 0. A node that is down at that moment is left alone.

    Raises:
        ConfigurationError: something in it cannot be.
    """

    kind: str
    point: int
    seconds: float = 3.0
    node: int = 0

    def __attrs_post_init__(self) -> None:
        if self.kind not in STRIKES:
            raise ConfigurationError(
                f"there is no strike {self.kind!r}: choose from {', '.join(STRIKES)}"
            )
        if self.point < 1 or self.seconds <= 0:
            raise ConfigurationError(f"{self}: points count from 1, and it takes more than 0 s")
        if (self.node > 0) is not (self.kind == "crash"):
            raise ConfigurationError(f"{self}: crash, and only crash, names its node")
