"""Bad days of a network (``traffic``): what connections promise, and that a seed repeats them."""

import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("traffic.py")
specification = spec_from_file_location("network_traffic", PROGRAM)
traffic = module_from_spec(specification)
specification.loader.exec_module(traffic)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("frames", [False, True], ids=["websocket", "frames"])
def test_connections_keep_their_promise_on_bad_days(seed: int, frames: bool) -> None:
    """What is read is what was sent, in order, up to an end or an error; every answer answers its
    own question; after calm nobody waits for who has left, and no kernel keeps what is over."""
    traffic.digest(seed, frames=frames)


def test_a_seed_is_the_same_day_in_every_process() -> None:
    """A process with other hashes, and this one after other days, see the same bytes at the same
    nanoseconds; another seed is another day."""
    seed = 5
    found = subprocess.run(
        [sys.executable, PROGRAM, str(seed)],
        env={**os.environ, "PYTHONHASHSEED": "77"},
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert found.split() == [traffic.digest(seed, frames=kind) for kind in (False, True)]
    assert traffic.digest(seed + 1, frames=True) not in found
