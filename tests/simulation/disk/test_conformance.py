"""The simulated disk passes the tests of the storage that run on any disk."""

from tests.storage.test_directory import (
    test_damaged_identity_is_reported,
    test_directory_of_another_node_is_refused,
    test_facts_can_be_replaced,
    test_identity_is_kept,
    test_newer_storage_version_is_refused,
)
from tests.storage.test_log_store import (
    test_checkpoint_keeps_everything,
    test_compacted_log_begins_where_it_was_cut,
    test_empty_persist_changes_nothing,
    test_every_kind_of_entry_comes_back,
    test_more_rows_than_one_statement_holds,
    test_new_log_is_empty,
    test_one_persist_may_append_cut_and_append,
    test_read_for_a_lagging_follower,
    test_restored_tail_fits_the_cache,
    test_truncation_replaces_the_tail,
    test_what_was_persisted_comes_back,
    test_wholly_compacted_log_goes_on,
    test_write_that_breaks_a_promise_is_refused,
)
from tests.storage.test_rules import (
    test_missing_entry_is_corruption,
    test_state_ahead_of_its_log_is_corruption,
)
from tests.storage.test_state_store import (
    test_close_flushes,
    test_groups_have_files_of_their_own,
    test_index_without_rows_is_flushed,
    test_large_flush_is_checkpointed,
    test_new_table_is_made,
    test_other_columns_are_refused,
    test_rows_under_way_stay_visible,
    test_value_of_a_wrong_type_poisons,
)

__all__ = [
    "test_checkpoint_keeps_everything",
    "test_close_flushes",
    "test_compacted_log_begins_where_it_was_cut",
    "test_damaged_identity_is_reported",
    "test_directory_of_another_node_is_refused",
    "test_empty_persist_changes_nothing",
    "test_every_kind_of_entry_comes_back",
    "test_facts_can_be_replaced",
    "test_groups_have_files_of_their_own",
    "test_identity_is_kept",
    "test_index_without_rows_is_flushed",
    "test_large_flush_is_checkpointed",
    "test_missing_entry_is_corruption",
    "test_more_rows_than_one_statement_holds",
    "test_new_log_is_empty",
    "test_new_table_is_made",
    "test_newer_storage_version_is_refused",
    "test_one_persist_may_append_cut_and_append",
    "test_other_columns_are_refused",
    "test_read_for_a_lagging_follower",
    "test_restored_tail_fits_the_cache",
    "test_rows_under_way_stay_visible",
    "test_state_ahead_of_its_log_is_corruption",
    "test_truncation_replaces_the_tail",
    "test_value_of_a_wrong_type_poisons",
    "test_what_was_persisted_comes_back",
    "test_wholly_compacted_log_goes_on",
    "test_write_that_breaks_a_promise_is_refused",
]
