"""How a run's nodes keep house: when they cut their logs, how fast they send their state, and how
much may be under way.
"""

from random import Random
from typing import Final

from flowactor.cluster.group.compaction import Compaction
from flowactor.cluster.group.sending import Pace
from flowactor.simulation.checks.windows import Windows

__all__ = ["draw_compaction", "draw_pace", "draw_windows"]

CHUNK_BYTES: Final = 500


def draw_compaction(chance: Random) -> Compaction:
    """In some runs logs so short that who was away for a moment needs the state; in the others no
    run is long enough for it.
    """
    if chance.random() < 1 / 3:
        return Compaction()
    return Compaction(
        entries_max=chance.choice((4, 15, 50)),
        trailing_entries=chance.choice((0, 2, 10)),
        cache_bytes_max=chance.choice((0, 0, 2000)),
        held_times_max=chance.choice((1, 1, 4)),
    )


def draw_pace(chance: Random, chunk_bytes: int = CHUNK_BYTES) -> Pace:
    """So slow that there is time for something to happen in the middle of a transfer, as long as
    there are faults. Whoever follows a log that is cut early may never catch up at such a pace.
    """
    return Pace(
        chunk_bytes=chunk_bytes,
        window_bytes_max=chunk_bytes * chance.choice((1, 4)),
        tick_bytes_max=chunk_bytes * chance.choice((2, 8, 100)),
    )


def draw_windows(chance: Random) -> Windows:
    """In some runs limits so small that even a short run meets all of them."""
    if chance.random() < 2 / 3:
        return Windows()
    return Windows(
        append_bytes_max=chance.choice((200, 2000)),
        inflight_appends_max=chance.choice((1, 3)),
        inflight_bytes_max=chance.choice((2000, 6000)),
        uncommitted_bytes_max=chance.choice((3000, 20_000)),
        cache_bytes_max=chance.choice((0, 2000)),
    )
