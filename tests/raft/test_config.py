"""Settings and restored facts are refused early when they cannot work."""

import pytest

from flowactor.errors import ConfigurationError, StorageCorrupt
from flowactor.raft import (
    ChangeConfiguration,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Restored,
)
from tests.raft.cluster import config


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"node": 0}, "count from 1"),
        ({"heartbeat_ticks": 0}, "must be positive"),
        ({"heartbeat_ticks": 10}, "below election_ticks_min"),
        ({"election_ticks_max": 10}, "votes split"),
        ({"inflight_appends_max": 0}, "inflight_appends_max"),
        ({"append_bytes_max": 0}, "append_bytes_max"),
        ({"inflight_bytes_max": 10, "append_bytes_max": 11}, "hold one append"),
        ({"uncommitted_bytes_max": 0}, "uncommitted_bytes_max"),
        ({"cache_bytes_max": -1}, "cache_bytes_max"),
    ],
)
def test_settings_that_cannot_work(settings, complaint):
    """The error names the setting, and the node it is for."""
    with pytest.raises(ConfigurationError, match=complaint):
        config(**settings)


def entries(*terms, first=1):
    return tuple(Entry(t, i, EntryKind.PAYLOAD, b"") for i, t in enumerate(terms, first))


@pytest.mark.parametrize(
    ("facts", "complaint"),
    [
        ({"first_index": 2}, "first_index"),
        ({"entries": entries(1, first=2)}, "gaps"),
        ({"entries": entries(2, 1)}, "terms fall"),
        ({"entries": entries(4)}, "the term is lower"),
        ({"entries": entries(1), "hard_state": HardState(3, 0, 2)}, "commit 2 beyond the end 1"),
        ({"applied": 1}, "applied 1 beyond the end 0"),
        ({"first_index": 5, "previous_index": 4, "applied": 3}, "are missing"),
    ],
)
def test_facts_that_contradict_each_other(facts, complaint):
    """A log and a hard state that no run of Raft leaves behind are called corrupt."""
    with pytest.raises(StorageCorrupt, match=complaint):
        Restored(**{"hard_state": HardState(3, 0, 0)} | facts)


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        (Configuration(), "there is no voter"),
        (Configuration((1, 2, 2)), "names a node twice"),
        (Configuration((1,), (1,)), "names a node twice"),
        (Configuration((0, 1)), "count from 1"),
        (Configuration((1,), outgoing=(2,)), "joint"),
    ],
)
def test_members_that_cannot_be_a_group(members, complaint):
    """A change is asked for with members that can be a group, or not at all."""
    with pytest.raises(ConfigurationError, match=complaint):
        ChangeConfiguration(1, members)
