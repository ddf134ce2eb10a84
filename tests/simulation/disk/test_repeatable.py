"""The same seed, the same bytes on the disk, in whatever process and after whatever else."""

import subprocess
import sys

import pytest

from tests.simulation.disk.test_crashes import lives
from tests.storage.building import ENVIRONMENT

PROGRAM = """
import sys
from tests.simulation.disk.test_crashes import lives
for seed in map(int, sys.argv[1:]):
    print(seed, lives(seed, 4)[0].digest())
"""


def digests(seeds, hash_seed):
    """seed -> digest of the device, found by another process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, seeds)],
        env={**ENVIRONMENT, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.mark.processes
def test_same_seed_same_bytes():
    """Devices are equal to the last byte after lives with the same seed: in a process with another
    hash seed, in another order, and here after other tests.
    """
    here = {str(seed): lives(seed, 4)[0].digest() for seed in (2, 3, 1)}
    assert digests((3, 1, 2), "77") == here
    assert len(set(here.values())) == 3
