"""What tests of whole nodes share."""

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.cluster.harness import OUTSIDE

MEMORY = Path("/dev/shm")
"""Where there are files that no disk has to sync, nodes write there: no test here cuts the power,
and what a kill leaves is the same.
"""
ROOM_BYTES_MIN = 1 << 30
"""Containers often have a small one."""


@pytest.fixture(autouse=True)
def _fresh_world():
    OUTSIDE.reset()


@pytest.fixture
def tmp_path(tmp_path):
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM_BYTES_MIN:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="flowactor-", dir=MEMORY) as folder:
        yield Path(folder)
