"""A real process, killed in the middle of group commits."""

import subprocess
import sys
from pathlib import Path

import pytest

from flowactor.storage import DirectoryDisk
from tests.storage.building import ENVIRONMENT, ONE, TWO, restored

COMMIT_FOR_EVER = Path(__file__).with_name("commit_for_ever.py")


@pytest.mark.processes
@pytest.mark.parametrize("acknowledged_before_kill", [1, 40, 1500])
def test_kill_loses_nothing_acknowledged(tmp_path, acknowledged_before_kill):
    """After ``kill -9`` every entry whose acknowledgement was printed is there, and nothing follows
    but entries that were under way.
    """
    command = [sys.executable, str(COMMIT_FOR_EVER), str(tmp_path / "node")]
    printed = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
        while len(printed) < acknowledged_before_kill:
            printed.append(process.stdout.readline())
        process.kill()
        printed += process.stdout.read().splitlines(keepends=True)
    # The last line may be torn by the kill; a whole one ends in a newline.
    whole = [line.split() for line in printed if line.endswith(b"\n")]
    for group in (ONE, TWO):
        last = max((int(index) for at, index in whole if int(at) == group), default=0)
        disk = DirectoryDisk(tmp_path / "node")
        first, second = restored(disk, group), restored(disk, group)
        disk.close()
        assert first == second
        found = [(entry.index, entry.data) for entry in first.entries]
        assert len(found) >= last
        assert found == [(index, b"%d" % index * 20) for index in range(1, len(found) + 1)]
