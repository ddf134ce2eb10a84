"""Exported histories against code that is unchanged, changed safely, or broken."""

import pytest

from flowactor.testing.replay import replay_histories
from tests.testing import recorded


@pytest.fixture(scope="module")
def histories(tmp_path_factory):
    return recorded.record(tmp_path_factory.mktemp("recorded"))


def test_unchanged_code_replays_everything(histories):
    """F6: a hundred histories."""
    report = replay_histories(recorded.UNCHANGED, histories.values())
    assert report.agrees
