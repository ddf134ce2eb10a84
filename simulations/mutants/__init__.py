"""Every mutant there is, and the rules that none can be made for yet."""

from typing import Final

from simulations.mutants.actors import ACTORS
from simulations.mutants.elections import ELECTIONS
from simulations.mutants.machine import MACHINE
from simulations.mutants.membership import MEMBERSHIP
from simulations.mutants.moves import MOVES
from simulations.mutants.mutant import CHANGING, RESHAPING, Edit, Mutant, Rotted
from simulations.mutants.quiet import QUIET
from simulations.mutants.replication import REPLICATION

__all__ = [
    "CHANGING",
    "CONTROL",
    "CONTROLS",
    "MUTANTS",
    "NOT_APPLICABLE",
    "RESHAPING",
    "Edit",
    "Mutant",
    "Rotted",
]

CONTROL: Final = Mutant("none", "-", "flowactor as it is: no seed may fail.", (), by_hash_seed=True)

CONTROLS: Final = (
    CONTROL,
    Mutant(
        "none-changing",
        "-",
        "The same, of whole nodes in clusters that change.",
        (),
        by_hash_seed=True,
        scenario=CHANGING,
    ),
    Mutant(
        "none-reshaping",
        "-",
        "The same, at core depth, where it changes who votes.",
        (),
        by_hash_seed=True,
        scenario=RESHAPING,
    ),
)
"""Whatever is said of a mutant that was caught, these are not."""

MUTANTS: Final = (*ELECTIONS, *REPLICATION, *MACHINE, *ACTORS, *MEMBERSHIP, *MOVES, *QUIET)
"""Each breaks one rule in one way."""

NOT_APPLICABLE: Final = {
    "transfer_times_out": "nobody asks for one at core depth, and elsewhere it would have to meet a"
    " voter that falls silent in that moment: tests of the core and of nodes have that",
    "snapshot_resumes": "nobody writes a chunk that is not the next one",
    "transport_error_is_local": "links are a model at core depth",
    "first_failed_sync_poisons": "the disk is a model at core depth",
    "torn_tail_vs_corruption": "the disk is a model at core depth",
    "recovery_idempotent": "the disk is a model at core depth",
    "disk_full_is_an_error": "the disk is a model at core depth",
}
"""Rules that no mutant here can break, and why."""
