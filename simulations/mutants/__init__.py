"""Every mutant there is, and the rules that none can be made for yet."""

from typing import Final

from simulations.mutants.actors import ACTORS
from simulations.mutants.elections import ELECTIONS
from simulations.mutants.machine import MACHINE
from simulations.mutants.mutant import Edit, Mutant, Rotted
from simulations.mutants.replication import REPLICATION

__all__ = ["CONTROL", "MUTANTS", "NOT_APPLICABLE", "Edit", "Mutant", "Rotted"]

CONTROL: Final = Mutant("none", "-", "flowactor as it is: no seed may fail.", (), by_hash_seed=True)

MUTANTS: Final = (*ELECTIONS, *REPLICATION, *MACHINE, *ACTORS)
"""Each breaks one rule in one way."""

NOT_APPLICABLE: Final = {
    "config_needs_own_term_commit": "membership is not built",
    "no_campaign_with_unapplied_config": "membership is not built",
    "self_removed_leader": "membership is not built",
    "joint_left_only_when_committed": "membership is not built",
    "learner_votes_when_asked": "learners are not built",
    "transfer_times_out": "transfer of leadership is not built",
    "snapshot_carries_config": "snapshots are not built",
    "snapshot_resumes": "snapshots are not built",
    "quiet_group_wakes": "quiescence is not built",
    "transport_error_is_local": "links are a model at core depth",
    "first_failed_sync_poisons": "the disk is a model at core depth",
    "torn_tail_vs_corruption": "the disk is a model at core depth",
    "recovery_idempotent": "the disk is a model at core depth",
    "disk_full_is_an_error": "the disk is a model at core depth",
}
"""Rules that no mutant here can break, and why."""
