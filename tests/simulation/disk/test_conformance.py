"""The simulated disk, its workers and the log on it promise what those of every disk do; and what
storage is tested with on the file system holds on it too.
"""

import pytest

from flowactor.storage import LogStore
from flowactor.testing.conformance import (
    DiskConformance,
    LogStoreConformance,
    WorkerConformance,
    WorkerWorld,
)
from tests.simulation.disk.building import HeapAgenda, make_device, make_disk
from tests.storage.test_directory import (
    test_damaged_identity_is_reported,
    test_directory_of_another_node_is_refused,
    test_facts_can_be_replaced,
    test_identity_is_kept,
    test_newer_storage_version_is_refused,
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
    "TestSimulatedDisk",
    "TestSimulatedLog",
    "TestSimulatedWorkers",
    "test_close_flushes",
    "test_damaged_identity_is_reported",
    "test_directory_of_another_node_is_refused",
    "test_facts_can_be_replaced",
    "test_groups_have_files_of_their_own",
    "test_identity_is_kept",
    "test_index_without_rows_is_flushed",
    "test_large_flush_is_checkpointed",
    "test_missing_entry_is_corruption",
    "test_new_table_is_made",
    "test_newer_storage_version_is_refused",
    "test_other_columns_are_refused",
    "test_rows_under_way_stay_visible",
    "test_state_ahead_of_its_log_is_corruption",
    "test_value_of_a_wrong_type_poisons",
]


class TestSimulatedDisk(DiskConformance):
    """Real SQLite on a simulated device."""

    @pytest.fixture
    def open_disk(self):
        device = make_device()
        return lambda: make_disk(device)


class TestSimulatedLog(LogStoreConformance):
    """flowactor's log on it."""

    @pytest.fixture
    def open_log(self, disk):
        return lambda: LogStore.open(disk)


class World(WorkerWorld):
    """The workers of one disk, whose time goes on while somebody waits for them."""

    def __init__(self, disk, agenda):
        self.disk, self.agenda = disk, agenda

    def worker(self, name):
        return self.disk.worker(name)

    async def until(self, complete):
        self.agenda.run()
        assert complete(), "nothing is due any more"


class TestSimulatedWorkers(WorkerConformance):
    """Jobs that become events in virtual time."""

    @pytest.fixture
    def world(self):
        agenda = HeapAgenda()
        disk = make_disk(make_device(), agenda)
        yield World(disk, agenda)
        disk.close()
