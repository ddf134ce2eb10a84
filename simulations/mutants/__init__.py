"""Every mutant there is, and the rules that they break."""

from typing import Final

from simulations.mutants.actors import ACTORS
from simulations.mutants.elections import ELECTIONS
from simulations.mutants.machine import MACHINE
from simulations.mutants.membership import MEMBERSHIP
from simulations.mutants.moves import MOVES
from simulations.mutants.mutant import CHANGING, DISKS, RESHAPING, Edit, Mutant, Rotted
from simulations.mutants.quiet import QUIET
from simulations.mutants.replication import REPLICATION
from simulations.mutants.storage import STORAGE

__all__ = [
    "CHANGING",
    "CONTROL",
    "CONTROLS",
    "DISKS",
    "MUTANTS",
    "RESHAPING",
    "RULES",
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
    Mutant(
        "none-on-disks",
        "-",
        "The same, of whole nodes on disks that fail.",
        (),
        by_hash_seed=True,
        scenario=DISKS,
    ),
)
"""Whatever is said of a mutant that was caught, these are not."""

MUTANTS: Final = (
    *ELECTIONS,
    *REPLICATION,
    *STORAGE,
    *MACHINE,
    *ACTORS,
    *MEMBERSHIP,
    *MOVES,
    *QUIET,
)
"""Each breaks one rule in one way."""

RULES: Final = (
    "vote_is_durable_before_reply",
    "term_durable_before_its_entries",
    "ack_only_durable",
    "commit_only_own_term",
    "commit_at_most_matched",
    "truncate_only_on_conflict",
    "quorum_arithmetic",
    "prevote_carries_term",
    "disruptive_server_ignored",
    "check_quorum_steps_down",
    "stalled_disk_loses_leadership",
    "readindex_waits_for_own_term",
    "transfer_times_out",
    "learner_votes_when_asked",
    "config_needs_own_term_commit",
    "no_campaign_with_unapplied_config",
    "self_removed_leader",
    "joint_left_only_when_committed",
    "snapshot_carries_config",
    "snapshot_resumes",
    "slow_follower_recovers",
    "inflight_bounded_in_bytes",
    "async_append_aba",
    "quiet_group_wakes",
    "proposal_once",
    "stale_epoch_refused",
    "transport_error_is_local",
    "restart_emits_nothing_twice",
    "followers_converge_figure7",
    "first_failed_sync_poisons",
    "torn_tail_vs_corruption",
    "applied_index_atomic",
    "recovery_idempotent",
    "disk_full_is_an_error",
    "canonical_bytes",
    "owner_epoch_compare_and_set",
    "new_owner_really_runs",
    "leader_waits_a_lease_before_reassigning",
    "failure_detected_on_idle_cluster",
    "effect_after_output_commit",
    "effect_recorded_once",
    "terminal_is_absorbing",
    "started_runs_found_by_scanning_state",
    "one_delivery_path",
    "waiter_registered_atomically",
    "errors_are_values",
    "structured_keys",
)
"""Of Raft, of storage, and of ownership and effects: each has a mutant at least."""
